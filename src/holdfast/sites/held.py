"""Copies of directories that were moved aside before a bucket was mounted in their place: moved, listed, brought back.

They lie beside the webroot in a folder of the operator's, which he alone can enter and nobody serves. A directory changes places with an
empty one at once, whole, with its hidden files, and reached piece by piece from a folder that only the operator writes. None is deleted here.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.errors import ConflictError, LocalError
from holdfast.failpoint import reach
from holdfast.sites.attaching import aside_name, directory_of
from holdfast.sites.paths import Below

if TYPE_CHECKING:
    from holdfast.sites.attaching import Spot

__all__ = ["Held", "bring_back", "fresh_name", "held_in", "is_empty", "make_folder", "move_aside", "refuse_to_move"]


@dataclass(frozen=True, slots=True)
class Held:
    """A moved-aside copy: of which directory, its name in which folder."""

    directory: str
    folder: str
    name: str

    @property
    def path(self) -> str:
        """Where it lies."""
        return f"{self.folder}/{self.name}"

    def size(self) -> tuple[int, int]:
        """How many files it has, and their bytes."""
        files, total = 0, 0
        with Below(self.folder) as below:
            for met in below.walk(self.name):
                if met.kind != "dir":
                    files, total = files + 1, total + met.status.st_size
        return files, total


def held_in(folder: str) -> list[Held]:
    """The moved-aside copies in a folder that hold anything, the oldest first.

    Raises:
        ConflictError: the folder is not one that its owner alone can enter.
    """
    if not _is_there(folder):
        return []
    found = []
    with Below(folder) as below:
        for name in sorted(os.listdir(folder), key=lambda name: name.rpartition("~")[2]):
            directory = directory_of(name)
            if directory is not None and any(True for _ in below.walk(name)):
                found.append(Held(directory, folder, name))
    return found


def fresh_name(directory: str) -> str:
    """A name that no other copy has."""
    return aside_name(directory, time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()), secrets.token_hex(3))


def is_empty(spot: Spot) -> bool | None:
    """Whether the directory is empty; None where there is none.

    Raises:
        LocalError: a piece of its path is a link, or no directory.
        ConflictError: something is mounted on the way.
    """
    with Below(spot.root) as root:
        if root.look(spot.path) is None:
            return None
        with root.directory(spot.path) as descriptor:
            return not os.listdir(descriptor)


def move_aside(spot: Spot, name: str) -> str:
    """Put an empty directory in the place of one, as root a closed one, and that one aside under this name; where it is now.

    Raises:
        ConflictError: nothing outside of the served tree lies on the same file system.
        LocalError: the disk refuses, or a link stands in the path. Nothing was moved.
    """
    make_folder(spot.held)
    with Below(spot.root) as root, Below(spot.held) as held:
        status = root.look(spot.path)
        if status is None:
            raise LocalError(f"{spot.place} is gone", subject=spot.place, hint="run it again")
        is_root = os.geteuid() == 0
        held.make(name, 0 if is_root else stat.S_IMODE(status.st_mode))
        if is_root:
            held.own(name, status.st_uid, status.st_gid)
        reach("site.aside-made")
        _exchange(root, spot, held, name)
        reach("site.aside-exchanged")
    return f"{spot.held}/{name}"


def refuse_to_move(spot: Spot) -> None:
    """Raise where :func:`move_aside` would find no place for a directory; nothing is made.

    Raises:
        ConflictError: as that does.
    """
    folder = spot.held if _is_there(spot.held) else os.path.dirname(spot.held)
    with Below(spot.root) as root, Below(folder) as held:
        status = root.look(spot.path)
        if status is not None and status.st_dev != held.status.st_dev:
            raise _elsewhere(spot)


def bring_back(spot: Spot, held: Held) -> bool:
    """Put a moved-aside copy back in its place; False where that is not empty, and nothing was moved."""
    if is_empty(spot) is False:
        return False
    with Below(spot.root) as root, Below(held.folder) as folder:
        if root.look(spot.path) is None:
            folder.move(held.name, root, spot.path)
            return True
        _exchange(root, spot, folder, held.name)
        with suppress(LocalError):  # somebody wrote into it at that moment: then it is a copy that is held
            folder.remove_directory(held.name)
    return True


def _exchange(root: Below, spot: Spot, held: Below, name: str) -> None:
    try:
        root.exchange(spot.path, held, name)
    except LocalError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EXDEV:
            raise _elsewhere(spot) from error
        raise
    root.sync()
    held.sync()


def _elsewhere(spot: Spot) -> ConflictError:
    return ConflictError(
        f"{spot.held} is on another file system than {spot.place}: nothing can be moved there at once",
        subject=spot.place,
        hint=f"mount a file system of both at {Path(spot.held).parent}, or move {spot.place} away by hand",
    )


def _is_there(folder: str) -> bool:
    try:
        status = os.lstat(folder)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise LocalError(f"cannot read {folder}: {error.strerror}", subject=folder) from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise ConflictError(
            f"{folder} is no folder of yours that you alone can enter",
            subject=folder,
            hint="moved-aside media lie there: look who made it; chown it to yourself and chmod 700",
        )
    return True


def make_folder(folder: str) -> None:
    """Make a folder that its owner alone can enter, where there is none.

    Raises:
        ConflictError: there is one that others can enter, or own.
        LocalError: it cannot be made.
    """
    if not _is_there(folder):
        try:
            os.mkdir(folder, 0o700)
        except OSError as error:
            raise LocalError(f"cannot make {folder}: {error.strerror}", subject=folder) from error
        _is_there(folder)
