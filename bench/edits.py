"""What happens to the data between two pushes, and is undone after them, so that every turn begins with the same bytes."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.work import Work

__all__ = ["appended", "healed", "inserted"]

_LINE: Final = b"one more line\n"
_INSERT: Final = 1024 * 1024
_EDITS: Final = 10
_BLOCK: Final = 16 * 1024 * 1024


@contextmanager
def appended(work: Work, source: Path) -> Iterator[None]:
    """Ten files, spread over the tree, are a line longer."""
    paths = [source / work.path(number * (work.count // _EDITS)) for number in range(_EDITS)]
    before = [path.stat() for path in paths]
    for path in paths:
        with path.open("ab") as file:
            file.write(_LINE)
    try:
        yield
    finally:
        for path, found in zip(paths, before, strict=True):
            os.truncate(path, found.st_size)
            os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


@contextmanager
def inserted(work: Work, source: Path) -> Iterator[None]:
    """The first file has 1 MiB more in its middle; it is prepared once, beside the data, and linked to its place."""
    path, altered, aside = source / work.path(0), source.with_suffix(".inserted"), source.with_suffix(".aside")
    if not altered.exists():
        _insert(path, altered)
    path.rename(aside)
    os.link(altered, path)
    try:
        yield
    finally:
        path.unlink()
        aside.rename(path)


def healed(work: Work, source: Path) -> Path:
    """The data as it was made, whatever a run that was killed has left of its edits."""
    aside = source.with_suffix(".aside")
    if aside.exists():
        aside.replace(source / work.path(0))
    for number in range(0, work.count, max(1, work.count // _EDITS)):
        path = source / work.path(number)
        if path.stat().st_size > work.size:
            os.truncate(path, work.size)
    return source


def _insert(path: Path, altered: Path) -> None:
    temporary = altered.with_suffix(".tmp")
    left = path.stat().st_size // 2
    with path.open("rb") as old, temporary.open("wb") as new:
        while left:
            left -= new.write(old.read(min(left, _BLOCK)))
        new.write(os.urandom(_INSERT))
        shutil.copyfileobj(old, new, _BLOCK)
    temporary.rename(altered)
