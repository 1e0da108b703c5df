"""What is moved: the data, made once and kept in ``.bench/data``, and the check that a copy of it is right."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from blake3 import blake3

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Work", "files_of", "same", "size_of", "warm"]

_STEP: Final = 16 * 1024 * 1024
#: From this size on a file is a large one: parts, ranges, its space given back between turns.
_LARGE: Final = 32 * 1024 * 1024


@dataclass(frozen=True)
class Work:
    """A tree of equal files of random bytes, or (``count`` 0) one large file.

    ``folder`` files lie in each folder; ``layout`` is the one that ours is told (empty: the store's default); ``keep``: what
    the turns made is removed at the very end only, large as it may be.
    """

    name: str
    count: int
    size: int
    folder: int = 100
    layout: str = ""
    keep: bool = False

    @property
    def title(self) -> str:
        """The work in words."""
        if self.count > 1:
            return f"{self.count:,} files of {size_of(self.size)}"
        return f"one file of {size_of(self.size)}{' in a folder' if self.count else ''}"

    @property
    def bytes(self) -> int:
        """All of them."""
        return max(1, self.count) * self.size

    @property
    def large(self) -> bool:
        """Whether it is about bytes and not about files."""
        return self.size >= _LARGE

    def path(self, number: int) -> str:
        """Where a file lies in the tree."""
        return f"part-{number // self.folder:03}/record-{number:05}.bin"

    def make(self, folder: Path) -> Path:
        """The data's path; made where it is not there yet."""
        path = folder / f"{self.name}-{self.count}-{self.size}"
        if path.exists():
            return path
        temporary = folder / f"{path.name}.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.parent.mkdir(parents=True, exist_ok=True)
        if not self.count:
            _fill(temporary, self.size)
        for number in range(self.count):
            if number % self.folder == 0:
                (temporary / self.path(number)).parent.mkdir(parents=True)
            _fill(temporary / self.path(number), self.size)
        temporary.rename(path)
        return path


def _fill(path: Path, size: int) -> None:
    with path.open("wb", buffering=0) as file:
        for start in range(0, size, _STEP):
            file.write(os.urandom(min(_STEP, size - start)))


def files_of(path: Path | str) -> Iterator[os.DirEntry[str]]:
    """Every file below a folder."""
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from files_of(entry.path)
            else:
                yield entry


def warm(path: Path) -> None:
    """Read all of it once, so that nobody waits for the disk who is not measured for it."""
    buffer = bytearray(1 << 20)
    names = (entry.path for entry in files_of(path)) if path.is_dir() else iter([str(path)] if path.exists() else [])
    for name in names:
        file = os.open(name, os.O_RDONLY)
        while os.readv(file, [buffer]):
            pass
        os.close(file)


def same(source: Path, copy: Path) -> bool:
    """Whether the copy holds the source's files, byte for byte, and no others but markers."""
    if source.is_file():
        return copy.is_file() and _digest(source) == _digest(copy)
    names = {path.relative_to(source) for path in source.rglob("*") if path.is_file()}
    found = {path.relative_to(copy) for path in copy.rglob("*") if path.is_file() and path.name != ".SUCCESS"}
    return names == found and all(_equal(source / name, copy / name) for name in names)


def _equal(one: Path, other: Path) -> bool:
    if one.stat().st_size >= _LARGE:
        return _digest(one) == _digest(other)
    return one.read_bytes() == other.read_bytes()


def _digest(path: Path) -> bytes:
    return blake3(max_threads=2).update_mmap(path).digest()


def size_of(count: int) -> str:
    """A size as people say it, exact."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= factor and count % factor == 0:
            return f"{count // factor} {unit}"
    return f"{count} bytes"
