"""The catalog of a store below a mount, with a server: the server is asked; where it does not answer, what the mount shows is read.

Only reading has a second way. Whatever is written, the server writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from holdfast.errors import AccessError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from holdfast.catalog.base import Catalog, Listed, OpenPush, Published, Taken
    from holdfast.catalog.remote import RemoteCatalog
    from holdfast.formats.convention import Meta
    from holdfast.formats.records import AssetRecord, Claim, StoreRecord
    from holdfast.model.result import AssetSummary
    from holdfast.store.far import Far

__all__ = ["MountedCatalog"]

T = TypeVar("T")


class MountedCatalog:
    """A :class:`~holdfast.catalog.base.Catalog` and :class:`~holdfast.catalog.base.Distant`.

    ``near`` reads below the mount; ``resolve`` and ``summaries`` answer from there what a catalog alone cannot.
    """

    def __init__(
        self,
        far: Far[RemoteCatalog],
        near: Catalog,
        resolve: Callable[[str], tuple[str, Published]],
        summaries: Callable[[str | None], Iterable[AssetSummary]],
    ) -> None:
        self._far = far
        self._near = near
        self._resolve = resolve
        self._summaries = summaries

    def _read(self, ask: Callable[[Catalog], T]) -> T:
        """The server's answer, else the mount's; where neither can be had, the server's refusal is told."""
        try:
            return self._far.ask(ask)
        except (UnreachableError, AccessError) as error:
            try:
                return ask(self._near)
            except UnreachableError:
                raise error from None

    # reading

    def resolve(self, spec: str) -> tuple[str, Published]:
        """One request, or some files of the mount."""
        try:
            return self._far.ask(lambda catalog: catalog.resolve(spec))
        except (UnreachableError, AccessError):
            return self._resolve(spec)

    def summaries(self, pattern: str | None) -> Iterator[AssetSummary]:
        """Every asset whose name fits."""
        try:
            found: Iterable[AssetSummary] = self._far.ask(lambda catalog: [*catalog.summaries(pattern)])
        except (UnreachableError, AccessError):
            found = self._summaries(pattern)
        yield from found

    def names(self, run: Callable[..., Iterable[object]] = map) -> Iterator[str]:
        """Every asset."""
        return iter(self._read(lambda catalog: [*catalog.names(run)]))

    def listed(self, name: str) -> Listed:
        """The list of an asset."""
        return self._read(lambda catalog: catalog.listed(name))

    def record(self, name: str) -> AssetRecord:
        """Aliases, tombstones, holds."""
        return self._read(lambda catalog: catalog.record(name))

    def published(self, name: str, version: str) -> Published:
        """The meta of a version."""
        return self._read(lambda catalog: catalog.published(name, version))

    def is_removed(self, name: str, version: str, record: AssetRecord) -> bool:
        """Whether the version has a tombstone that fits its meta."""
        return self._read(lambda catalog: catalog.is_removed(name, version, record))

    def taken(self, name: str) -> Taken:
        """The numbers in use."""
        return self._read(lambda catalog: catalog.taken(name))

    def written(self, name: str) -> dict[str, float]:
        """When the meta of each version was written."""
        return self._read(lambda catalog: catalog.written(name))

    def claim_of(self, name: str, version: str) -> Claim | None:
        """Who holds a number."""
        return self._read(lambda catalog: catalog.claim_of(name, version))

    def store_record(self, *, create: bool = False) -> StoreRecord | None:
        """The store's own record, which only the server makes."""
        if create:
            return self._far.ask(lambda catalog: catalog.store_record(create=True))
        return self._read(lambda catalog: catalog.store_record())

    # writing

    def store_now(self) -> datetime:
        """The server's clock."""
        return self._far.ask(lambda catalog: catalog.store_now())

    def configure(self, key: str, value: str | None) -> StoreRecord:
        """By the server."""
        return self._far.ask(lambda catalog: catalog.configure(key, value))

    def open_push(self, name: str, push_id: str, started: datetime) -> OpenPush:
        """By the server."""
        return self._far.ask(lambda catalog: catalog.open_push(name, push_id, started))

    def renew(self, push: OpenPush) -> None:
        """By the server."""
        self._far.ask(lambda catalog: catalog.renew(push))

    def close_push(self, push: OpenPush) -> None:
        """By the server, which removes what was left below the mount."""
        self._far.ask(lambda catalog: catalog.close_push(push))

    def claim(self, push: OpenPush, version: str) -> None:
        """By the server."""
        self._far.ask(lambda catalog: catalog.claim(push, version))

    def check_claim(self, push: OpenPush, version: str) -> None:
        """By the server."""
        self._far.ask(lambda catalog: catalog.check_claim(push, version))

    def publish(self, push: OpenPush, version: str, meta: Meta) -> Published:
        """The commit: the server looks for every object."""
        return self._far.ask(lambda catalog: catalog.publish(push, version, meta))

    def enlist(self, name: str, versions: Sequence[str], *, rebuild: bool = False) -> Listed:
        """By the server."""
        return self._far.ask(lambda catalog: catalog.enlist(name, versions, rebuild=rebuild))

    def set_aliases(self, name: str, changes: Mapping[str, str | None]) -> AssetRecord:
        """By the server."""
        return self._far.ask(lambda catalog: catalog.set_aliases(name, changes))

    def remove(self, name: str, versions: Sequence[str]) -> None:
        """By the server."""
        self._far.ask(lambda catalog: catalog.remove(name, versions))

    def withdraw(self, push: OpenPush, version: str) -> None:
        """By the server."""
        self._far.ask(lambda catalog: catalog.withdraw(push, version))

    def change_record(self, name: str, change: Callable[[AssetRecord], AssetRecord]) -> AssetRecord:
        """Refused: a function does not travel."""
        return self._far.ask(lambda catalog: catalog.change_record(name, change))

    def restore(self, name: str, version: str) -> None:
        """By the server."""
        self._far.ask(lambda catalog: catalog.restore(name, version))
