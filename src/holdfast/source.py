"""What a push sends, in any layout: its content hash, how its data is written under a claim, and what its meta says of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from holdfast.cache.tree import check_source
from holdfast.transfer.upload import Sent, Upload

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from holdfast.cache.tree import Scanned
    from holdfast.model.manifest import Manifest
    from holdfast.store.base import Store
    from holdfast.transfer.engine import Engine

__all__ = ["Judged", "ListedSource", "Source"]


class Judged(Protocol):
    """What is known of a source by its content hash: enough to say whether a version has it already. ``size`` in bytes."""

    @property
    def layout(self) -> str:
        """The layout that it is pushed in."""

    @property
    def content_hash(self) -> str:
        """The content hash of what was read."""

    @property
    def files(self) -> int:
        """How many regular files it has."""

    @property
    def size(self) -> int:
        """The bytes of them all."""

    def unchanged(self, name: str, version: str, root: str | None) -> None:
        """A version has this content already, ``root`` is what its meta says: note what helps the next push."""


class Source(Judged, Protocol):
    """A file or directory that was read and hashed, and can be sent."""

    @property
    def is_directory(self) -> bool:
        """Whether it is one."""

    @property
    def manifest(self) -> Manifest | None:
        """The entries, where meta holds them."""

    @property
    def root(self) -> str | None:
        """The digest of the object that lists the entries, where meta does not (hex)."""

    @property
    def needs(self) -> tuple[Collection[str], Collection[str]]:
        """The hex names of the packs and pages objects that the version relies on."""

    def send(self, name: str, version: str, alive: Callable[[], None]) -> Sent:
        """Write the version's data, under the claim. ``alive`` is called now and then, and stops it by raising."""

    def check(self) -> None:
        """SourceChangedError where a file that was read is not what it was."""

    def published(self, name: str, version: str) -> None:
        """The version is whole: note what helps the next push."""


@dataclass(slots=True)
class ListedSource:
    """Layouts file, tree and tar.gz: a manifest in memory, and where each file lies. ``scratch`` is for archives in the making."""

    manifest: Manifest
    scanned: dict[str, Scanned]
    layout: str
    store: Store
    engine: Engine
    scratch: Path
    root: str | None = None

    @property
    def content_hash(self) -> str:
        """The content hash of what was read."""
        return self.manifest.content_hash or ""

    @property
    def is_directory(self) -> bool:
        """Whether it is one."""
        return not self.manifest.single

    @property
    def files(self) -> int:
        """How many regular files it has."""
        return len(self.manifest.files)

    @property
    def size(self) -> int:
        """The bytes of them all."""
        return self.manifest.size

    @property
    def needs(self) -> tuple[Collection[str], Collection[str]]:
        """None: its objects are its own."""
        return (), ()

    def send(self, name: str, version: str, alive: Callable[[], None]) -> Sent:
        """Write the objects of the version."""
        upload = Upload(self.store, self.engine, self.scanned, alive)
        return upload.send(name, version, self.layout, self.manifest, self.scratch)

    def check(self) -> None:
        """Look at every file once more."""
        for item in self.scanned.values():
            if item.entry.kind == "file":
                check_source(item)

    def published(self, name: str, version: str) -> None:
        """Nothing is noted."""

    def unchanged(self, name: str, version: str, root: str | None) -> None:
        """Nothing is noted."""
