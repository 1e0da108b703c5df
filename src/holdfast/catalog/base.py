"""The seam for names: what a catalog must answer and promise, and the values that it speaks.

A catalog knows which versions an asset has and publishes new ones in the order of design §3: claim, data (by others), meta,
list. Errors are those of :mod:`holdfast.errors`; a version is whole once :meth:`Catalog.publish` returned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from holdfast.errors import UnsupportedError
from holdfast.model.version import newest_first, newest_matching

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from holdfast.formats.convention import Meta
    from holdfast.formats.records import AssetRecord, Claim, StoreRecord
    from holdfast.model.result import AssetSummary
    from holdfast.model.version import VersionScheme

__all__ = ["Catalog", "Clock", "Distant", "Listed", "OpenPush", "Published", "Taken", "beside_the_bucket"]


class Clock(Protocol):
    """The time, given to those who need it."""

    def now(self) -> datetime:
        """This moment, with a time zone."""

    def sleep(self, seconds: float) -> None:
        """Wait."""

    def since_boot(self) -> float:
        """Seconds from some moment on; they go on while the machine sleeps, and nobody can set them."""


@dataclass(frozen=True, slots=True)
class Listed:
    """An asset's list: full versions newest first, and entries that no scheme reads, as they stood.

    ``token`` is the version of the list's object, None where there is no list; ``merged`` tells that another program's content
    was found beside the truth and is contained here, but not yet in the store's own order.
    """

    versions: tuple[str, ...]
    unknown: tuple[str, ...]
    scheme: VersionScheme
    token: str | None = None
    merged: bool = False

    def newest(self, partial: str | None = None) -> str | None:
        """The newest version, or the newest that the partial stands for."""
        return newest_matching(self.versions, partial, self.scheme)

    def ordered(self, versions: Iterable[str]) -> list[str]:
        """These versions newest first, then the unknown entries."""
        return [*newest_first(versions, self.scheme), *self.unknown]


@dataclass(frozen=True, slots=True)
class Published:
    """A version that is whole. ``id`` is what a tombstone of it names: the push's id, else a digest of the meta's bytes."""

    meta: Meta
    id: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Taken:
    """The numbers of an asset that are in use: with a meta, with data, with a claim."""

    metas: frozenset[str]
    data: frozenset[str]
    claims: frozenset[str]

    @property
    def all(self) -> frozenset[str]:
        """Every one of them."""
        return self.metas | self.data | self.claims


@dataclass(slots=True)
class OpenPush:
    """A push under way; ``limit`` in seconds from its start."""

    id: str
    name: str
    started: datetime
    renewed: datetime
    limit: float = 24 * 3600.0


class Catalog(Protocol):
    """Names to versions to metas."""

    def names(self, run: Callable[..., Iterable[object]] = map) -> Iterator[str]:
        """Every asset, sorted, found level by level; the files of versions are never listed. ``run`` may be a parallel map."""

    def listed(self, name: str) -> Listed:
        """The list of an asset; empty with token None where there is none."""

    def record(self, name: str) -> AssetRecord:
        """Aliases, tombstones, holds; empty where there are none."""

    def published(self, name: str, version: str) -> Published:
        """The meta of a version, listed or not; VersionNotFoundError where there is none."""

    def is_removed(self, name: str, version: str, record: AssetRecord) -> bool:
        """Whether the version has a tombstone that fits its meta; costs a read only where there is a tombstone."""

    def taken(self, name: str) -> Taken:
        """The numbers in use."""

    def written(self, name: str) -> dict[str, float]:
        """When the meta of each version was written, by the store's clock."""

    def store_record(self, *, create: bool = False) -> StoreRecord | None:
        """The store's own record; made where it is absent and ``create`` is set."""

    def store_now(self) -> datetime:
        """The time by the store's clock; needs the right to write."""

    def configure(self, key: str, value: str | None) -> StoreRecord:
        """Change a limit or default of the store."""

    def open_push(self, name: str, push_id: str, started: datetime) -> OpenPush:
        """Write the record of a push, begun at this moment (earlier, where it goes on after a kill)."""

    def renew(self, push: OpenPush) -> None:
        """Say that the push is alive, if it is time; ConflictError once it is past the store's limit."""

    def close_push(self, push: OpenPush) -> None:
        """Say that the push has ended."""

    def claim(self, push: OpenPush, version: str) -> None:
        """Take the number, create-only; AlreadyExistsError where another push has it."""

    def claim_of(self, name: str, version: str) -> Claim | None:
        """Who holds a number."""

    def check_claim(self, push: OpenPush, version: str) -> None:
        """ConflictError unless the claim is still this push's."""

    def publish(self, push: OpenPush, version: str, meta: Meta) -> Published:
        """Write the meta, create-only: the version is whole."""

    def enlist(self, name: str, versions: Sequence[str], *, rebuild: bool = False) -> Listed:
        """Swap whole versions into the list, and removed ones out of it; ``rebuild`` replaces a list that cannot be read."""

    def set_aliases(self, name: str, changes: Mapping[str, str | None]) -> AssetRecord:
        """Set or remove aliases."""

    def remove(self, name: str, versions: Sequence[str]) -> None:
        """Tombstones, then the list."""

    def withdraw(self, push: OpenPush, version: str) -> None:
        """Say for ever that this push's own version, which is whole by its meta, must not be used."""

    def change_record(self, name: str, change: Callable[[AssetRecord], AssetRecord]) -> AssetRecord:
        """Swap the record of an asset; the new one."""

    def restore(self, name: str, version: str) -> None:
        """Take a tombstone back and list the version again, within the undo window."""


@runtime_checkable
class Distant(Protocol):
    """What a catalog whose every answer costs a request offers beside: one question in the place of several."""

    def resolve(self, spec: str) -> tuple[str, Published]:
        """The full version that ``name[:version]`` names now, and its meta, if it was not removed: what a fetch begins with.

        Raises:
            AssetNotFoundError, VersionNotFoundError: with the nearest names.
        """

    def summaries(self, pattern: str | None) -> Iterator[AssetSummary]:
        """Every asset whose name fits the glob pattern, by name."""


def beside_the_bucket(catalog: Catalog, place: str, what: str) -> None:
    """Say, before anything is done, that what maintains a store is not done through a server.

    Raises:
        UnsupportedError: the catalog is a server's.
    """
    if isinstance(catalog, Distant):
        raise UnsupportedError(
            f"cannot {what} {place} through the server",
            subject=place,
            hint=f"with credentials for its bucket (asset project list tells its URL): asset {what} --store s3://BUCKET/PREFIX",
        )
