"""What a push sends, in any layout: its content hash, how its data is written under a claim, and what its meta says of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from holdfast.cache.tree import check_source, hash_file
from holdfast.model.digest import digest_of
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
        """The content hash; a source may have to read every file for it, so it is asked for where it decides something."""

    @property
    def files(self) -> int:
        """How many regular files it has."""

    @property
    def size(self) -> int:
        """The bytes of them all."""

    def unchanged(self, name: str, version: str, root: str | None) -> None:
        """A version has this content already, ``root`` is what its meta says: note what helps the next push."""


class Source(Judged, Protocol):
    """A file or directory that can be sent, and has been read by then."""

    @property
    def identity(self) -> str:
        """What two pushes of the same share, known before it is sent: that of a killed one, run again, goes on under its claim."""

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
    """Layouts file, tree and tar.gz: a manifest in memory, and where each file lies. ``scratch`` is for archives in the making.

    Digests that the manifest lacks are found while the files are sent, so that each is read once; or by :meth:`read`, before. ``by_stamps``:
    what tells it from another push is then that its files were not touched, and not their content.
    """

    manifest: Manifest
    scanned: dict[str, Scanned]
    layout: str
    store: Store
    engine: Engine
    scratch: Path
    root: str | None = None
    by_stamps: bool = False

    @property
    def content_hash(self) -> str:
        """The content hash."""
        self.read()
        return self.manifest.content_hash or ""

    @property
    def identity(self) -> str:
        """The content hash, or what tells that no file was touched."""
        if not self.by_stamps:
            return self.content_hash
        seen = [(entry.path, entry.kind, entry.mode, entry.target) for entry in self.manifest.entries]
        return digest_of(repr([*seen, *(self.scanned[entry.path].stamp for entry in self.manifest.files)]).encode())

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
        sent = upload.send(name, version, self.layout, self.manifest, self.scratch)
        self.manifest = self.manifest.with_digests(upload.found)
        return sent

    def read(self) -> None:
        """Hash every file, unless that was done."""
        if self.manifest.content_hash is not None:
            return
        files = self.manifest.files
        self.engine.progress.start("hash", self.size, len(files))
        try:
            # Hashing small files is work for cores, not for waiting: more threads than cores get into each other's way.
            hashed = self.engine.run(
                lambda entry: hash_file(self.scanned[entry.path], self.engine.progress.advance),
                files,
                at_once=os.cpu_count(),
            )
        finally:
            self.engine.progress.finish()
        self.manifest = self.manifest.with_digests(
            {entry.path: found.digest for entry, found in zip(files, hashed, strict=True) if found.digest}
        )

    def check(self) -> None:
        """Look at every file once more."""
        for item in self.scanned.values():
            if item.entry.kind == "file":
                check_source(item)

    def published(self, name: str, version: str) -> None:
        """Nothing is noted."""

    def unchanged(self, name: str, version: str, root: str | None) -> None:
        """Nothing is noted."""
