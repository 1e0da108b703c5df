"""What is on this machine already: other cached versions of the asset, whole files by digest and chunks by their place in them.

A local copy is anybody's to change, so whatever is taken from one is read back and checked before it counts.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from typing import TYPE_CHECKING, Final

from holdfast.model.digest import Hasher, raw_digest_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from holdfast.model.chunk import Chunk, Placed

__all__ = ["Reuse"]

_STEP: Final = 1024 * 1024
_FILE: Final = ord("f")
_FICLONE: Final = 0x40049409
#: Smaller files are as quickly read from a pack as looked for.
_LEAST: Final = 64 * 1024


class Reuse:
    """Files and chunks of local copies. Empty unless told of some."""

    def __init__(self) -> None:
        self._files: dict[bytes, str] = {}
        self._chunks: dict[bytes, tuple[str, int]] = {}
        self.bytes = 0

    def add(self, copy: Path, entries: Iterable[Placed]) -> None:
        """Another version's copy and its manifest."""
        for entry in entries:
            if entry.kind != _FILE or isinstance(entry.content, bytes) or entry.size < _LEAST:
                continue
            path = f"{copy}/{entry.path.decode()}"
            self._files.setdefault(entry.digest, path)
            start = 0
            for chunk in entry.content if len(entry.content) > 1 else ():
                self._chunks.setdefault(chunk.digest, (path, start))
                start += chunk.raw

    def place(self, entry: Placed, path: str) -> bool:
        """Put a file in its place from another copy, if there is one that has its digest."""
        source = self._files.get(entry.digest)
        if source is None:
            return False
        try:
            if os.stat(source).st_size != entry.size:
                return False
            _clone(source, path)
            if _digest(path) == entry.digest:
                self.bytes += entry.size
                return True
        except OSError:
            pass
        if os.path.lexists(path):
            os.unlink(path)
        return False

    def chunk(self, chunk: Chunk, path: str, start: int) -> bool:
        """Put a chunk in its place within a file, from another copy, if there is one that has it."""
        found = self._chunks.get(chunk.digest)
        if found is None:
            return False
        try:
            data = _read(found[0], found[1], chunk.raw)
            if raw_digest_of(data) != chunk.digest:
                return False
            with open(path, "r+b", buffering=0) as file:
                view = memoryview(data)
                while view:
                    count = os.pwrite(file.fileno(), view, start)
                    view, start = view[count:], start + count
        except OSError:
            return False
        self.bytes += chunk.raw
        return True


def _read(path: str, start: int, length: int) -> bytes:
    """A part of a file; a pipe that somebody put in its place is not waited for."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.pread(descriptor, length, start)
    finally:
        os.close(descriptor)


def _clone(source: str, target: str) -> None:
    """A copy that shares its blocks with the source, where the file system can; else a plain one."""
    with open(source, "rb") as one, open(target, "wb") as other:
        try:
            fcntl.ioctl(other.fileno(), _FICLONE, one.fileno())
        except OSError:
            shutil.copyfileobj(one, other, _STEP)


def _digest(path: str) -> bytes:
    hasher = Hasher()
    with open(path, "rb", buffering=0) as file:
        buffer = bytearray(_STEP)
        while count := file.readinto(buffer):
            hasher.update(memoryview(buffer)[:count])
    return hasher.digest()
