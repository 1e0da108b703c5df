"""What is moved: the data, made once and kept in ``.bench/data``, and the check that a copy of it is right."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from blake3 import blake3

if TYPE_CHECKING:
    from pathlib import Path

_STEP: Final = 16 * 1024 * 1024


@dataclass(frozen=True)
class Work:
    """A tree of equal files, or (``count`` 0) one large file."""

    name: str
    count: int
    size: int

    @property
    def title(self) -> str:
        return f"{self.count:,} files of {_size(self.size)}" if self.count else f"one file of {_size(self.size)}"

    @property
    def bytes(self) -> int:
        return max(1, self.count) * self.size

    def make(self, folder: Path) -> Path:
        """The data's path; made where it is not there yet."""
        path = folder / f"{self.name}-{self.count}-{self.size}"
        if path.exists():
            return path
        temporary = folder / f"{path.name}.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        if not self.count:
            temporary.rmdir()
            with temporary.open("wb") as file:
                for start in range(0, self.size, _STEP):
                    file.write(os.urandom(min(_STEP, self.size - start)))
        for number in range(self.count):
            place = temporary / f"part-{number // 100:03}"
            place.mkdir(exist_ok=True)
            (place / f"record-{number:05}.bin").write_bytes(os.urandom(self.size))
        temporary.rename(path)
        return path


def same(source: Path, copy: Path) -> bool:
    """Whether the copy holds the source's files, byte for byte, and no others but markers."""
    if source.is_file():
        return copy.is_file() and _digest(source) == _digest(copy)
    names = {path.relative_to(source) for path in source.rglob("*") if path.is_file()}
    found = {path.relative_to(copy) for path in copy.rglob("*") if path.is_file() and path.name != ".SUCCESS"}
    return names == found and all((source / name).read_bytes() == (copy / name).read_bytes() for name in names)


def _digest(path: Path) -> bytes:
    return blake3(max_threads=2).update_mmap(path).digest()


def _size(count: int) -> str:
    for unit in ("GiB", "MiB", "KiB"):
        factor = {"GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10}[unit]
        if count >= factor and count % factor == 0:
            return f"{count // factor} {unit}"
    return f"{count} bytes"
