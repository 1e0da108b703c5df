"""A folder of the user's that a copy is laid out in (``fetch --to``): what may go there, and how it gets in.

A folder that is there already stays the same folder, for somebody may stand in it or have mounted it: the copy is put together
inside of it and then moved in, file by file. What is not the copy's is never touched.
"""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.cache.inventory import tree_bytes
from holdfast.cache.tree import finish_copy, prepare_copy, read_file
from holdfast.cache.work import WorkDir, leftovers, open_work_dir, sweep
from holdfast.disk import local_errors, sync_file_system
from holdfast.errors import (
    AccessError,
    AlreadyExistsError,
    HoldfastError,
    IntegrityError,
    LocalError,
    UnreachableError,
    UsageError,
)
from holdfast.failpoint import reach
from holdfast.formats import layout
from holdfast.model.digest import Hasher
from holdfast.model.manifest import Entry, Manifest, parents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from holdfast.cache.tree import Scanned

__all__ = ["Target", "copy_files", "discarding", "trim"]


@dataclass(frozen=True, slots=True)
class Target:
    """The folder as the user names it, and the file's name where the copy is a file in it."""

    to: Path
    file_name: str | None = None

    @property
    def path(self) -> Path:
        """Where the copy is, in the user's words."""
        return self.to.absolute() if self.file_name is None else self.to.absolute() / self.file_name

    @property
    def _final(self) -> Path:
        root = Path(os.path.realpath(self.to))
        return root if self.file_name is None else root / self.file_name

    def refuse(self, *folders: Path | None) -> None:
        """Raise UsageError where the target lies in one of these folders, which are Holdfast's own."""
        for own in folders:
            if own is not None and self._final.is_relative_to(os.path.realpath(own)):
                where = f"{self.to} lies in {own}, which is Holdfast's own"
                raise UsageError(where, subject=str(self.to), hint="give another folder")

    def check(self, chosen: Manifest | None, *, force: bool) -> None:
        """Refuse to lay a copy out where something is; ``force`` replaces what the copy has too, and nothing else."""
        with local_errors(self._final):
            _check(self._final, chosen, directory=self.file_name is None, force=force)

    def check_room(self, chosen: Manifest | None) -> None:
        """Refuse what the disk cannot take, beside what an earlier run has left, before anything is written."""
        if chosen is None:
            return
        with local_errors(self._final, layout.meant):
            there = next(each for each in (self._final, *self._final.parents) if each.is_dir())
            disk = shutil.disk_usage(there)
            need = chosen.size - sum(tree_bytes(str(left)) for left, _ in leftovers(self._place))
        if need > disk.free and disk.total:  # else it is a file system that does not tell
            raise LocalError(
                f"No space left on device: {self.path} takes {chosen.size:,} bytes, and its disk has {disk.free:,} left",
                subject=str(self.path),
                hint="make room there, or give another --to",
            )

    @property
    def _place(self) -> Path:
        """What the work directory lies beside: the copy, or a name inside of the folder that is there."""
        final = self._final
        return final / layout.WORK_STEM if self.file_name is None and final.is_dir() else final

    def open(self, identity: str) -> WorkDir:
        """A work directory on the target's file system."""
        with local_errors(self._final, layout.meant):
            return open_work_dir(self._place, identity)

    def fill(self, work: WorkDir) -> None:
        """Give a finished copy its name, or move it into the directory that is there."""
        final = self._final
        with local_errors(final, layout.meant):
            try:
                sync_file_system(work.path)
                reach("fetch.before-rename")
                if work.copy.is_dir() and final.is_dir():
                    _move_in(work.copy, final)
                else:
                    work.copy.replace(final)
                reach("fetch.renamed")
            finally:
                shutil.rmtree(work.path, ignore_errors=True)


def _check(final: Path, chosen: Manifest | None, *, directory: bool, force: bool) -> None:
    """Refuse to lay a copy out where something is; ``force`` replaces what the copy has too, and nothing else."""
    if not os.path.lexists(final):
        return
    if final.is_dir() != directory:
        kind = "no directory" if directory else "a directory"
        raise AlreadyExistsError(f"{final} exists and is {kind}", subject=str(final), hint="give another --to")
    if directory and all(layout.is_work_dir(name) for name in os.listdir(final)):
        return
    if not force:
        hint = "--force replaces it, once the new copy is whole"
        raise AlreadyExistsError(f"{final} exists", subject=str(final), hint=hint)
    if not directory or chosen is None:
        return
    stranger = next(_strangers(final, _paths_of(chosen)), None)
    if stranger is not None:
        raise AlreadyExistsError(
            f"{final} has {stranger!r}, which is not among what is fetched",
            subject=str(final),
            hint="move it away: --force replaces only what it brings back",
        )


@contextmanager
def discarding(work: WorkDir) -> Iterator[None]:
    """Remove the work directory after an error, but keep it for the next try where only the store did not answer.

    One inside of a folder that was there goes in any case: the next push of that folder would take it along. An error of the
    disk names the place where something was to be in the end.
    """
    try:
        yield
    except BaseException as error:
        is_lasting = isinstance(error, HoldfastError) and not isinstance(error, AccessError | UnreachableError)
        if is_lasting or layout.is_work_dir(work.path.name):
            shutil.rmtree(work.path, ignore_errors=True)
        if isinstance(error, LocalError):
            error.message = layout.meant(error.message)
            error.subject = error.subject and layout.meant(error.subject)
        raise


def trim(copy: Path, found: Manifest, chosen: Manifest) -> None:
    """Remove from a copy in the making what is not chosen."""
    with local_errors(copy):
        for path in sorted(_paths_of(found).keys() - _paths_of(chosen).keys(), reverse=True):  # what is deepest first
            doomed = copy / path
            if doomed.is_dir() and not doomed.is_symlink():
                doomed.rmdir()
            else:
                doomed.unlink(missing_ok=True)
        finish_copy(str(copy), chosen.entries)


def copy_files(
    spec: str,
    files: list[Entry],
    items: Mapping[str, Scanned],
    chosen: Manifest,
    copy: Path,
    run: Callable[[Callable[[Entry], None], list[Entry]], object],
) -> None:
    """Copy scanned files, each checked where its digest is known, and make the directories and links beside them."""

    def one(entry: Entry) -> None:
        item = items.get(entry.path)
        target = copy if chosen.single else copy / entry.path
        target.unlink(missing_ok=True)
        hasher = Hasher()
        with open(target, "xb") as file:
            for piece in read_file(item) if item is not None and item.entry.kind == "file" else ():
                hasher.update(piece)
                file.write(piece)
        if item is None or entry.digest not in (None, hasher.hexdigest()):
            hint = "fetch it again with --force and without --offline"
            raise IntegrityError(f"the cached copy of {spec} was changed: {entry.path!r}", subject=spec, hint=hint)

    with local_errors(copy):
        sweep(copy, chosen)
        if not chosen.single:
            copy.mkdir(exist_ok=True)
            prepare_copy(str(copy), chosen.entries)
        run(one, files)
        entries = [replace(files[0], path=copy.name)] if chosen.single else chosen.entries
        finish_copy(str(copy.parent if chosen.single else copy), entries)


def _paths_of(manifest: Manifest) -> dict[str, bool]:
    """Every path that a copy of these entries has, directories that are only implied too; and whether it is a directory."""
    found = {parent: True for entry in manifest.entries for parent in parents(entry.path)}
    return found | {entry.path: entry.kind == "dir" for entry in manifest.entries}


def _strangers(directory: Path, ours: Mapping[str, bool], base: str = "") -> Iterator[str]:
    """The paths in a directory that are not ours, empty directories too; ``ours`` tells which of them are directories."""
    with os.scandir(directory) as found:
        items = sorted(found, key=lambda item: item.name)
    for item in items:
        path = base + item.name
        if not base and (
            layout.is_work_dir(path) or (path == layout.MARKER and item.stat(follow_symlinks=False).st_size == 0)
        ):
            continue
        is_dir = item.is_dir(follow_symlinks=False)
        if path not in ours or (is_dir and not ours[path]):
            yield path
        elif is_dir:
            yield from _strangers(Path(item.path), ours, path + "/")


def _move_in(copy: Path, directory: Path) -> None:
    """Move what is in the copy into a directory, name by name; files there are replaced, each at once, and no more."""
    with os.scandir(copy) as found:
        items = sorted(found, key=lambda item: item.name)
    for item in items:
        target = directory / item.name
        is_dir = item.is_dir(follow_symlinks=False)
        if is_dir and target.is_dir() and not target.is_symlink():
            status = item.stat()
            _move_in(Path(item.path), target)
            target.chmod(stat.S_IMODE(status.st_mode))
            os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
            continue
        if is_dir:
            target.unlink(missing_ok=True)
        os.replace(item.path, target)
