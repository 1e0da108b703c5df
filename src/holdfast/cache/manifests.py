"""Manifests of layout ``packs`` on this machine: what was pushed or fetched from here, for comparison and deduplication.

One file a version, named by the digest of its root: the pages as they are stored, one behind the other, then the root, then its
length in eight bytes. Pages are checked by their digests whenever they are read, so a damaged file is only a missing one.
"""

from __future__ import annotations

import os
import secrets
import time
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from holdfast.errors import IntegrityError
from holdfast.formats import layout
from holdfast.formats.root import decode_root
from holdfast.model.digest import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from holdfast.formats.root import Page, Root

__all__ = ["LocalManifest", "Manifests", "Recorder"]

_LENGTH: Final = 8
#: So many manifests of one asset are kept.
_KEPT: Final = 8
#: What a killed process left unfinished goes after so many seconds.
_STALE: Final = 86400.0


class Manifests:
    """The manifests of one store, under the state folder; ``place`` is the store's URL and endpoint."""

    def __init__(self, state: Path, place: str) -> None:
        self._folder = state / "manifests" / digest_of(place.encode())[:16]

    def find(self, name: str, version: str, root: str) -> LocalManifest | None:
        """The manifest of a version, whose root has this digest, if it is here and whole."""
        return LocalManifest.open(self._folder_of(name) / f"{root}.{version}")

    def known(self, name: str) -> list[LocalManifest]:
        """Every manifest of an asset, the last used first."""
        found = map(LocalManifest.open, self._newest(name))
        return [manifest for manifest in found if manifest is not None]

    def record(self, name: str) -> Recorder:
        """A manifest in the making."""
        return Recorder(self, self._folder_of(name))

    def _folder_of(self, name: str) -> Path:
        return self._folder / layout.encode_name(name)

    def _newest(self, name: str) -> list[Path]:
        try:
            found = [path for path in self._folder_of(name).iterdir() if not path.name.startswith(".")]
            return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)
        except OSError:
            return []

    def trim(self, name: str) -> None:
        """Forget all but the last used manifests of an asset, and what killed processes left."""
        try:
            left = self._folder_of(name).glob(".*.part")
            old = [path for path in left if path.stat().st_mtime < time.time() - _STALE]
            for path in [*self._newest(name)[_KEPT:], *old]:
                path.unlink(missing_ok=True)
        except OSError:
            return


class Recorder:
    """Writes one manifest: its pages in order, then its root. What cannot be written is not kept: this is only a cache."""

    def __init__(self, manifests: Manifests, folder: Path) -> None:
        self._manifests = manifests
        self._folder = folder
        self._path = folder / f".{secrets.token_hex(8)}.part"
        self._file: BinaryIO | None = None
        self._wanted = True

    def add(self, stored: bytes) -> None:
        """The next page."""
        if self._wanted:
            try:
                self._opened().write(stored)
            except OSError:
                self.discard()

    def _opened(self) -> BinaryIO:
        if self._file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = open(self._path, "wb")  # noqa: SIM115 - closed by keep or discard
        return self._file

    def keep(self, version: str, root: bytes) -> None:
        """All pages are there, and this version has them: keep it."""
        if not self._wanted:
            return
        try:
            file = self._opened()
            file.write(root + len(root).to_bytes(_LENGTH, "little"))
            file.close()
            self._path.replace(self._folder / f"{digest_of(root)}.{version}")
        except OSError:
            self.discard()
        self._file, self._wanted = None, False

    def discard(self) -> None:
        """Forget it."""
        self._wanted = False
        if self._file is not None:
            self._file.close()
            self._file = None
            self._path.unlink(missing_ok=True)


class LocalManifest:
    """A manifest on this machine."""

    def __init__(self, path: Path, root: Root) -> None:
        self._path = path
        self.root = root
        self._places: dict[bytes, int] = {}
        self.digest, _, self.version = path.name.partition(".")

    @classmethod
    def open(cls, path: Path) -> LocalManifest | None:
        """Read the root; None where the file is not there, or is damaged."""
        digest = path.name.partition(".")[0]
        try:
            with open(path, "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _LENGTH))
                length = int.from_bytes(file.read(_LENGTH), "little")
                if length > size - _LENGTH:
                    return None
                file.seek(size - _LENGTH - length)
                data = file.read(length)
            if digest_of(data) != digest:
                return None
            root = decode_root(data, digest)
            if sum(page.stored for page in root.pages) != size - length - _LENGTH:
                return None
        except (OSError, IntegrityError):
            return None
        return cls(path, root)

    def data(self) -> bytes:
        """The bytes of the root.

        Raises:
            OSError: the file went away.
        """
        start = sum(page.stored for page in self.root.pages)
        return self._path.read_bytes()[start:-_LENGTH]

    def pages(self) -> Iterator[tuple[Page, bytes]]:
        """Each page and its stored bytes, in order.

        Raises:
            OSError: the file went away.
        """
        os.utime(self._path)
        with open(self._path, "rb") as file:
            for page in self.root.pages:
                yield page, file.read(page.stored)

    def stored(self, page: Page) -> bytes:
        """The stored bytes of one page."""
        if not self._places:
            starts = accumulate((found.stored for found in self.root.pages), initial=0)
            self._places = {found.digest: start for found, start in zip(self.root.pages, starts, strict=False)}
        with open(self._path, "rb") as file:
            file.seek(self._places[page.digest])
            return file.read(page.stored)
