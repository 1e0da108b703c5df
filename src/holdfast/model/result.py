"""What the client API answers: plain frozen values, the same that ``--json`` prints (interface.md §3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = [
    "AssetSummary",
    "AssetVersions",
    "Copied",
    "Difference",
    "Exported",
    "FetchOptions",
    "Fetched",
    "Finding",
    "NoProgress",
    "Progress",
    "PushOptions",
    "Pushed",
    "Shown",
    "Verified",
]

#: How a fetched version was checked: by our digests, by the store's own MD5 tag, or by length alone.
Verified = Literal["digest", "etag", "length"]


class PushOptions(TypedDict, total=False):
    """The options of a push; all may be left out.

    ``major`` follow the newest of this major · ``new_major`` start a major · ``version`` exactly this one · ``initial`` the first
    version of a new asset · ``only`` refuse unless the asset is new, or unless it exists · ``layout`` file, tree, tar.gz or packs ·
    ``exclude`` glob patterns of paths left out · ``inputs`` specs that it was made from · ``unchanged`` False always makes a
    version · ``beside`` directories that lie elsewhere, by the names under which they appear at the top (layout packs). One text
    for ``exclude`` or ``inputs`` is one pattern or spec.
    """

    major: str | None
    new_major: bool
    version: str | None
    initial: str | None
    parent: str | None
    message: str | None
    labels: Mapping[str, str]
    alias: str | None
    inputs: str | Sequence[str]
    layout: str | None
    exclude: str | Sequence[str]
    follow_links: bool
    only: Literal["new", "update"] | None
    dry_run: bool
    unchanged: bool
    listed: bool
    beside: Mapping[str, Path]


class FetchOptions(TypedDict, total=False):
    """The options of a fetch; all may be left out.

    ``to`` lay it out in this directory instead of the cache · ``include`` glob patterns of the files wanted, or one pattern ·
    ``offline`` ask no store · ``force`` download again, keeping the old copy until the new one is whole; with ``to``, which alone
    goes together with ``offline``, replace what is there.
    """

    to: Path | str | None
    include: str | Sequence[str]
    offline: bool
    force: bool


@dataclass(frozen=True, slots=True)
class Pushed:
    """A push: ``created`` is False where the newest version has the same hash (or for a dry run)."""

    name: str
    version: str
    spec: str
    created: bool
    hash: str
    layout: str
    files: int
    bytes: int
    uploaded_bytes: int = 0
    uploaded_objects: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Copied:
    """A version brought to another store: ``created`` is False where it was there with this hash already."""

    name: str
    version: str
    spec: str
    created: bool
    hash: str
    layout: str
    files: int
    bytes: int
    aliases: tuple[str, ...] = ()
    uploaded_bytes: int = 0
    uploaded_objects: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Exported:
    """A bundle that was written: the versions in it, its length in bytes, and what the other side must have already."""

    file: str
    versions: tuple[str, ...]
    objects: int
    bytes: int
    needs: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Fetched:
    """A fetched version: where it is, and what it is."""

    path: str
    from_cache: bool
    version: str
    name: str
    meta: dict[str, Any]
    object_name: str
    meta_object_name: str
    versions_object_name: str
    downloaded_bytes: int = 0
    seconds: float = 0.0
    verified: Verified = "digest"


@dataclass(frozen=True, slots=True)
class AssetSummary:
    """One line of a listing; ``problem`` says what is wrong with an asset that cannot be read."""

    name: str
    latest: str | None
    versions: int
    aliases: dict[str, str]
    bytes: int | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class AssetVersions:
    """The versions of an asset, newest first; ``unknown`` are listed entries that no scheme reads."""

    name: str
    versions: tuple[str, ...]
    aliases: dict[str, str]
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Shown:
    """Everything known of one version."""

    name: str
    version: str
    spec: str
    layout: str
    hash: str | None
    files: int | None
    bytes: int | None
    pushed: str
    who: str | None
    message: str | None
    parent: str | None
    labels: dict[str, str]
    inputs: tuple[str, ...]
    aliases: tuple[str, ...]
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Difference:
    """What changed from one side to the other, as sorted paths; bytes of the files added or changed, and removed."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    bytes_added: int
    bytes_removed: int

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


@dataclass(frozen=True, slots=True)
class Finding:
    """What verify or repair found: ``state`` is ok, repaired, or the kind of what is wrong; ``message`` says it in words."""

    subject: str
    state: str
    message: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing is left to do."""
        return self.state in ("ok", "repaired")


class Progress(Protocol):
    """Whoever wants to show how far a transfer is. Called from several threads."""

    def start(self, what: str, total: int | None, files: int) -> None:
        """A transfer of so many bytes (None: not known) in so many files begins."""

    def advance(self, count: int) -> None:
        """So many more bytes are through."""

    def warn(self, message: str) -> None:
        """Something that a person should know, and that is no error."""

    def finish(self) -> None:
        """The transfer has ended, well or not."""


class NoProgress:
    """Shows nothing."""

    def start(self, what: str, total: int | None, files: int) -> None:
        """Nothing."""

    def advance(self, count: int) -> None:
        """Nothing."""

    def warn(self, message: str) -> None:
        """Nothing."""

    def finish(self) -> None:
        """Nothing."""
