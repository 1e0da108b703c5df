"""Copies in the making: a directory of one process beside the final place, and how it takes that place (FORMAT.md §8).

What a dead process left is taken over by rename, which only one of several can win, and only where its process surely is gone:
same machine, same process namespace, no such process. Nothing here rests on locks.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - a field of a dataclass
from typing import TYPE_CHECKING, Final

from holdfast.cache.owners import is_dead, owner
from holdfast.disk import exchange
from holdfast.formats import layout
from holdfast.model.manifest import parents

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from holdfast.model.manifest import Manifest

__all__ = [
    "WorkDir",
    "close",
    "doomed_name",
    "leftovers",
    "lock_now",
    "open_work_dir",
    "place",
    "sweep",
    "work_dir",
    "write_whole",
]

#: How the identity of a work directory starts that is about to be installed, or was.
_CLOSED: Final = "closed-"
_KINDS: Final = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "link"}


@dataclass(frozen=True, slots=True)
class WorkDir:
    """Where a version is put together, beside its final place: ``copy`` is the file or directory to be."""

    path: Path

    @property
    def copy(self) -> Path:
        """The copy in the making."""
        return self.path / "copy"

    @property
    def scratch(self) -> Path:
        """A file for bytes that are not yet part of the copy (an archive)."""
        return self.path / "scratch"


def open_work_dir(final: Path, identity: str) -> WorkDir:
    """A directory of our own beside the final place; what a dead process of this machine left there is taken over.

    ``identity`` names the content: leftovers of another content are swept.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    mine = _name(final, identity)
    for left, found in leftovers(final):
        _take_over(left, mine, same=found == identity and not mine.exists())
    mine.mkdir(exist_ok=True)
    return WorkDir(mine)


@contextmanager
def work_dir(folder: Path, identity: str = "") -> Iterator[WorkDir]:
    """A place below a folder of ours, for as long as it is needed; what killed processes left there goes, or is gone on with (``identity``)."""
    work = open_work_dir(folder / "version", identity or os.urandom(6).hex())
    try:
        work.path.chmod(0o700)
        yield work
    finally:
        shutil.rmtree(work.path, ignore_errors=True)


def leftovers(final: Path) -> Iterator[tuple[Path, str]]:
    """What dead processes of this machine left beside a place, each with its identity."""
    try:
        names = os.listdir(final.parent)
    except FileNotFoundError:
        return
    for name in names:
        pieces = layout.work_pieces(name)
        if pieces is not None and pieces[0] == final.name and is_dead(pieces[2]):
            yield final.parent / name, pieces[1]


def sweep(copy: Path, manifest: Manifest) -> bool:
    """Remove whatever the version has not from a copy in the making, if a killed run left one: anybody may have put something there.

    Returns:
        Whether there is one.
    """
    if not os.path.lexists(copy):
        return False
    if manifest.single:
        _remove_unless("file", os.fspath(copy))
    elif _remove_unless("dir", os.fspath(copy)):
        kinds: dict[str, str] = {parent: "dir" for entry in manifest.entries for parent in parents(entry.path)}
        _sweep(os.fspath(copy), "", kinds | {entry.path: entry.kind for entry in manifest.entries})
    return True


def _sweep(directory: str, base: str, kinds: Mapping[str, str]) -> None:
    with os.scandir(directory) as found:
        names = [item.name for item in found]
    for name in names:
        kind, path = kinds.get(base + name), f"{directory}/{name}"
        if _remove_unless(kind, path) and kind == "dir":
            _sweep(path, f"{base}{name}/", kinds)


def _remove_unless(kind: str | None, path: str) -> bool:
    """Whether what is there is of this kind; it goes if it is not, and no link is followed."""
    mode = os.lstat(path).st_mode
    if kind is not None and kind == _KINDS.get(stat.S_IFMT(mode)):
        return True
    if stat.S_ISDIR(mode):
        shutil.rmtree(path)
    else:
        os.unlink(path)
    return False


def doomed_name(final: Path) -> Path:
    """A name for what is being removed; what a killed removal leaves is swept by the next fetch."""
    return _name(final, "removed")


def write_whole(path: Path, data: bytes) -> None:
    """Write a small file by rename, whoever else writes it, another thread too; what a process that died in this left is swept."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left, _ in leftovers(path):
        left.unlink(missing_ok=True)
    temporary = _name(path, f"record-{os.urandom(6).hex()}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _name(final: Path, identity: str) -> Path:
    return final.with_name(layout.work_name(final.name, identity, owner()))


def close(work: WorkDir, final: Path) -> WorkDir:
    """The work directory under a name that no later fetch goes on with, for an old copy is about to be exchanged into it."""
    if not os.path.lexists(final):
        return work
    return WorkDir(work.path.rename(_name(final, f"{_CLOSED}{os.urandom(6).hex()}")))


def place(copy: Path, final: Path, aside: Path | None) -> Path | None:
    """Give the copy its name; an old copy goes aside where a place for it is given, else where the copy was."""
    if not os.path.lexists(final):
        copy.rename(final)
        return None
    if aside is not None:  # somebody's own work: it is never where a leftover could be swept, not even for a moment
        aside.parent.mkdir(parents=True, exist_ok=True)
        final.rename(aside)
        copy.rename(final)
        return aside
    if copy.is_dir() or final.is_dir():
        if not exchange(copy, final):  # no exchange here: the name is away for a moment, the copies never are
            spare = copy.with_name("old")
            final.rename(spare)
            copy.rename(final)
            spare.rename(copy)
    else:
        copy.replace(final)
    return None


def lock_now(descriptor: int) -> None:
    """Lock a file, or raise OSError: BlockingIOError where another holds it; any other where there are no such locks."""
    try:
        import fcntl
    except ImportError:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP)) from None
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _take_over(left: Path, mine: Path, *, same: bool) -> None:
    """Rename is atomic: of several who want a leftover one gets it."""
    try:
        if same:
            left.rename(mine)
        else:
            shutil.rmtree(left, ignore_errors=True)
    except OSError:
        return
