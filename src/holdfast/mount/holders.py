"""Who uses a mount: processes with a file open below it, or working there. Links in the process table are read, never followed."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["Holder", "holders", "open_for_writing"]

_PROC = "/proc"


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that holds a mount, one of the paths by which it does, and its parent (0: unknown)."""

    pid: int
    name: str
    path: str
    parent: int = 0

    def __str__(self) -> str:
        return f"{self.name} (process {self.pid}) holds {self.path}"


def holders(directory: str, apart: Collection[str] = (), *, writing: bool = False) -> list[Holder]:
    """The processes that hold what is mounted at this directory, as far as this user may look; what lies at or below ``apart`` does not count.

    ``writing``: those alone that have a file open for writing.
    """
    found = []
    for pid in _pids():
        below = ((path, descriptor) for path, descriptor in _held(pid) if _is_below(path, directory))
        kept = ((path, descriptor) for path, descriptor in below if not any(_is_below(path, each) for each in apart))
        path = next((path for path, descriptor in kept if not writing or _may_write(pid, descriptor)), None)
        if path is not None:
            found.append(Holder(pid, _name(pid), path, _parent(pid)))
    return found


def open_for_writing(directory: str) -> list[str]:
    """The files below this directory that somebody has open for writing, sorted."""
    found = set()
    for pid in _pids():
        for path, descriptor in _held(pid):
            if _is_below(path, directory) and _may_write(pid, descriptor):
                found.add(path)
    return sorted(found)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir(_PROC) if name.isdecimal() and int(name) != os.getpid()]


def _held(pid: int) -> list[tuple[str, str | None]]:
    """Paths that a process holds, those of descriptors with their number."""
    links: list[tuple[str, str | None]] = [(f"{_PROC}/{pid}/{name}", None) for name in ("cwd", "root", "exe")]
    with suppress(OSError):
        links += [(f"{_PROC}/{pid}/fd/{number}", number) for number in os.listdir(f"{_PROC}/{pid}/fd")]
    with suppress(OSError):
        links += [(f"{_PROC}/{pid}/map_files/{name}", None) for name in os.listdir(f"{_PROC}/{pid}/map_files")]
    found = []
    for link, number in links:
        with suppress(OSError):
            found.append((os.readlink(link), number))
    return found


def _is_below(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def _may_write(pid: int, descriptor: str | None) -> bool:
    if descriptor is None:
        return False
    with suppress(OSError), open(f"{_PROC}/{pid}/fdinfo/{descriptor}", encoding="ascii") as info:
        for line in info:
            if line.startswith("flags:"):
                return int(line.split()[1], 8) & os.O_ACCMODE != os.O_RDONLY
    return False


def _parent(pid: int) -> int:
    with suppress(OSError, ValueError, IndexError), open(f"{_PROC}/{pid}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[1])
    return 0


def _name(pid: int) -> str:
    with suppress(OSError), open(f"{_PROC}/{pid}/comm", encoding="utf-8", errors="replace") as file:
        return file.read().strip()
    return "a process"
