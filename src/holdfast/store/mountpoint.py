"""Where a bucket is mounted: calls below it have a deadline, and what fails is said of the mount.

Knows of no keys: that is :mod:`holdfast.store.mount`.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from holdfast.errors import UnreachableError
from holdfast.store.deadline import LateError, within
from holdfast.store.filesystem import FileSystem, file_system_of

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MountPoint", "followed"]

T = TypeVar("T")

#: What says that the mount itself does not work.
_BROKEN: Final = frozenset(
    (
        errno.ENOTCONN,
        errno.ESTALE,
        errno.EIO,
        errno.ENODEV,
        errno.ENXIO,
        errno.ETIMEDOUT,
        errno.EHOSTDOWN,
        errno.ECONNABORTED,
    )
)
#: Reads that are larger take longer: so many bytes more for each second more.
_SLOWEST: Final = 256 * 1024


def followed(path: str, seconds: float) -> str:
    """The path with its links followed, as far as it exists; one where something is mounted has none, and is not touched.

    Raises:
        UnreachableError: that takes longer than it may.
    """
    path = os.path.normpath(path)
    if file_system_of(path).root == path:
        return path
    try:
        return within(seconds, lambda: os.path.realpath(path))
    except LateError:
        raise _hanging(path, seconds) from None


@dataclass(frozen=True, slots=True)
class MountPoint:
    """Where a bucket is mounted. ``seconds`` is how long one call may take."""

    url: str
    root: str
    folder: str
    seconds: float = 60.0

    @property
    def file_system(self) -> FileSystem:
        """What is mounted there."""
        return file_system_of(followed(self.root, self.seconds))

    def call(self, call: Callable[[], T], size: int = 0) -> T:
        """The result of a call below the mount, which moves so many bytes, or what it raises.

        Raises:
            UnreachableError: it does not come back in time, or the mount is broken.
        """
        seconds = self.seconds + size / _SLOWEST
        try:
            return within(seconds, call)
        except LateError:
            raise _hanging(self.root, seconds) from None
        except OSError as error:
            if error.errno in _BROKEN:
                raise self.broken(error.strerror or str(error)) from error
            raise

    def broken(self, reason: str, hint: str | None = None) -> UnreachableError:
        """The error for a mount that does not work."""
        return UnreachableError(
            f"the mount of {self.url} at {self.root} does not work: {reason}",
            subject=self.root,
            hint=hint or f"mount it again, or do without it: asset config unmount {self.url}",
        )

    def check(self) -> int:
        """The device of the mount, which changes when it is mounted or unmounted.

        Raises:
            UnreachableError: nothing is mounted there.
        """
        try:
            status = self.call(lambda: os.stat(self.root))
        except OSError as error:
            raise self.broken(error.strerror or str(error)) from error
        if not stat.S_ISDIR(status.st_mode):
            raise self.broken("it is no folder")
        return status.st_dev

    def is_empty(self) -> bool:
        """Whether nothing is mounted: the folder is an empty one of a disk."""
        return self.file_system.root != followed(self.root, self.seconds) and not self.call(
            lambda: os.listdir(self.root)
        )


def _hanging(path: str, seconds: float) -> UnreachableError:
    return UnreachableError(
        f"the mount at {path} has not answered for {seconds:.0f} s",
        subject=path,
        hint="mount it again; the setting mount_timeout says how long it is waited for",
    )
