"""Manifests of layout ``packs`` on this machine: what was pushed or fetched from here, for comparison and deduplication.

One file a version, named by the digest of its root: the pages as they are stored, one behind the other, then the root, then the
BLAKE3 of all pages, then the root's length in eight bytes. It is checked when it is opened, so a damaged file is only a missing one; what was
opened can be read to its end, whoever trims it meanwhile.
"""

from __future__ import annotations

import os
import secrets
import time
import weakref
from contextlib import suppress
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from holdfast.errors import IntegrityError
from holdfast.formats import layout
from holdfast.formats.root import decode_root
from holdfast.model.digest import Hasher, digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from holdfast.formats.root import Page, Root

__all__ = ["LocalManifest", "Manifests", "Recorder"]

_LENGTH: Final = 8
_DIGEST: Final = 32
_STEP: Final = 1024 * 1024
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
        self._hasher = Hasher()

    def add(self, stored: bytes) -> None:
        """The next page."""
        if self._wanted:
            try:
                self._opened().write(stored)
                self._hasher.update(stored)
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
            file.write(root + self._hasher.digest() + len(root).to_bytes(_LENGTH, "little"))
            file.close()
            self._path.replace(self._folder / f"{digest_of(root)}.{version}")
        except OSError:
            self.discard()
        self._file, self._wanted = None, False

    def discard(self) -> None:
        """Forget it."""
        self._wanted = False
        if self._file is not None:
            with suppress(OSError):  # of a full disk: closing writes what is left
                self._file.close()
            self._file = None
            with suppress(OSError):
                self._path.unlink(missing_ok=True)


class LocalManifest:
    """A manifest on this machine. ``size`` is the length of its pages, ``length`` that of its root behind them."""

    def __init__(self, path: Path, descriptor: int, root: Root, length: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self.root = root
        self._size = sum(page.stored for page in root.pages)
        self._length = length
        self._places: dict[bytes, int] = {}
        self.digest, _, self.version = path.name.partition(".")
        weakref.finalize(self, os.close, descriptor)

    @classmethod
    def open(cls, path: Path) -> LocalManifest | None:
        """Read the root; None where the file is not there, or is damaged."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except (OSError, ValueError):
            return None
        try:
            found = _read_root(descriptor, path.name.partition(".")[0])
        except (OSError, IntegrityError):
            found = None
        if found is None:
            os.close(descriptor)
            return None
        return cls(path, descriptor, *found)

    def data(self) -> bytes:
        """The bytes of the root."""
        return os.pread(self._descriptor, self._length, self._size)

    def pages(self) -> Iterator[tuple[Page, bytes]]:
        """Each page and its stored bytes, in order."""
        with suppress(OSError):
            os.utime(self._path)
        start = 0
        for page in self.root.pages:
            yield page, os.pread(self._descriptor, page.stored, start)
            start += page.stored

    def stored(self, page: Page) -> bytes:
        """The stored bytes of one page."""
        if not self._places:
            starts = accumulate((found.stored for found in self.root.pages), initial=0)
            self._places = {found.digest: start for found, start in zip(self.root.pages, starts, strict=False)}
        return os.pread(self._descriptor, page.stored, self._places[page.digest])


def _read_root(descriptor: int, digest: str) -> tuple[Root, int] | None:
    """The root and its length, if it has this digest and the pages are those that were written with it."""
    size = os.fstat(descriptor).st_size - _DIGEST - _LENGTH
    if size < 0:
        return None
    tail = os.pread(descriptor, _DIGEST + _LENGTH, size)
    length = int.from_bytes(tail[_DIGEST:], "little")
    if length > size:
        return None
    data = os.pread(descriptor, length, size - length)
    if digest_of(data) != digest:
        return None
    root = decode_root(data, digest)
    end = size - length
    hasher = Hasher()
    for start in range(0, end, _STEP):
        hasher.update(os.pread(descriptor, min(_STEP, end - start), start))
    whole = sum(page.stored for page in root.pages) == end and hasher.digest() == tail[:_DIGEST]
    return (root, length) if whole else None
