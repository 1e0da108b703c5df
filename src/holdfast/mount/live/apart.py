"""One run of a mounter as root: it mounts where nobody else can come, and the mount is shown at its directory by that one's descriptor.

A mounter is given a path, and who may write to a directory above it could turn that into a link at the moment at which root mounts there.
So it gets a path of root's own. What is asked of the mount goes by a descriptor of it, too, and it is taken away by its device, wherever it
is by then.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from holdfast.disk import local_errors
from holdfast.errors import ConflictError
from holdfast.mount.live.parts import bind, make_own
from holdfast.mount.live.worker import START, Worker, take_away
from holdfast.mount.reaching import opened
from holdfast.mount.registry import name_of
from holdfast.mount.table import detach, mounted_at, mounts

if TYPE_CHECKING:
    from holdfast.mount.live.plan import Plan
    from holdfast.mount.live.underneath import Underneath
    from holdfast.mount.table import Mounted

__all__ = ["Apart", "place_for", "remove_place"]

#: Where root's mounters mount. It is in memory: nothing that goes through root's files, to save or to delete them, comes upon a bucket.
_PLACES: Final = "/run/holdfast"


def place_for(directory: str) -> str:
    """Where the mounter mounts what is shown at this directory. Pure."""
    return f"{_PLACES}/{name_of(directory)}"


def remove_place(place: str) -> None:
    """Take away what a run that was killed left there."""
    take_away(place)
    with suppress(OSError):
        os.rmdir(place)


class Apart(Worker):
    """The mounter, and its mount as it is shown at the directory ``below``."""

    def __init__(self, name: str, plan: Plan, below: Underneath, log: Path) -> None:
        self._below, self._root, self._device = below, -1, -1
        remove_place(plan.apart)
        with local_errors(Path(_PLACES)):
            make_own(_PLACES)
            make_own(plan.apart)
        super().__init__(name, [plan.program, *plan.arguments], plan.environment(), plan.apart, log)

    def is_own(self, mounted: Mounted) -> bool:
        """Whether this is its mount: directories above two mounts may have changed places."""
        return mounted.is_fuse and (mounted.major, mounted.device) == (0, self._device)

    @property
    def reached(self) -> str:
        """A path by which nobody can turn us elsewhere, in this process and its children."""
        return f"/proc/self/fd/{self._root}" if self._root >= 0 else self.directory

    @property
    def asked(self) -> str:
        """The same."""
        return self.reached

    def wait(self, seconds: float = START) -> None:
        """Wait until it has mounted. Raises as :meth:`.worker.Worker.wait`."""
        super().wait(seconds)
        with opened(self.directory) as root:
            self._root = os.dup(root)

    def show(self) -> None:
        """Have the mount appear at the directory, and nowhere else.

        Raises:
            ConflictError: the directory is no longer where it was: somebody moved it, or put a link in its path.
            OSError: the kernel refuses.
        """
        mounted = mounted_at(self.directory)
        if mounted is None:
            return  # it has ended meanwhile, which is told of it
        self._device = mounted.device
        bind(self._root, self._below.descriptor)
        detach(self.directory)
        with suppress(OSError):
            os.rmdir(self.directory)
        there = mounted_at(self._below.directory)
        if there is None or not self.is_own(there):
            raise ConflictError(
                f"{self._below.directory} was moved, or a link put in its path, while it was mounted",
                subject=self._below.directory,
                hint="somebody who may write to a directory above it did that: find out who",
            )

    def _own(self) -> Mounted | None:
        if self._device < 0:
            return mounted_at(self.directory)
        return next(filter(self.is_own, mounts()), None)

    def _take_away(self) -> None:
        """Take the mount away wherever it is, and let go of it, so that the mounter sees its end."""
        if self._device >= 0:
            for each in filter(self.is_own, reversed(mounts())):
                detach(each.dir)
        if self._root >= 0:
            os.close(self._root)
        self._root = self._device = -1
        remove_place(self.directory)
