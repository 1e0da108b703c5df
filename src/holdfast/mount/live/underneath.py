"""The directory under a mount: closed while nothing is mounted there, so that nobody fills the local disk in place of the bucket.

It has no permission bits, which keeps out all users but root, and as root it is immutable as well (``chattr +i``) where its file system
knows that, which keeps out root, too. It is reached by a descriptor that was opened before the mount, so that it can be looked at and
changed while the mount covers it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
from contextlib import suppress
from typing import Final

from holdfast.errors import AlreadyExistsError, ConflictError, LocalError, NotFoundError
from holdfast.mount.reaching import opened
from holdfast.mount.table import mounted_at, mounts

__all__ = ["Underneath", "checked", "checked_over", "resolved"]

_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602
_IMMUTABLE: Final = 0x10
#: How much of what lies underneath is told.
_TOLD: Final = 20


def checked(directory: str) -> str:
    """The directory's path without links, where something may be mounted there.

    Raises:
        NotFoundError: there is no such directory.
        AlreadyExistsError: something is mounted there, or lies in it.
        ConflictError: it lies inside another mount that a program serves.
        LocalError: it cannot be read, or is no directory.
    """
    path = resolved(directory)
    if (there := mounted_at(path)) is not None:
        message = f"{there.source} ({there.type}) is mounted at {path} already"
        raise AlreadyExistsError(
            message, subject=path, hint=f"take it away first: umount {path} (umount -l where it is dead)"
        )
    above = next(
        (each for each in reversed(mounts()) if path.startswith(each.dir.rstrip("/") + "/") and each.is_fuse), None
    )
    if above is not None:
        message = f"{path} lies inside another mount, {above.source} at {above.dir}"
        raise ConflictError(message, subject=path, hint="choose a directory outside of it")
    try:
        names = os.listdir(path)
    except FileNotFoundError:
        raise NotFoundError(f"there is no directory {path}", subject=path, hint=f"mkdir -p {path}") from None
    except NotADirectoryError:
        raise LocalError(f"{path} is not a directory", subject=path) from None
    except OSError as error:
        raise LocalError(f"cannot read {path}: {error.strerror}", subject=path) from error
    if names:
        message = f"{path} is not empty: {', '.join(sorted(names)[:3])}{' ...' if len(names) > 3 else ''}"
        raise AlreadyExistsError(
            message, subject=path, hint="what lies there would be hidden: move it away, or choose another"
        )
    return path


def checked_over(directory: str) -> str:
    """As :func:`checked`, where a mount of ours was: what is left of it is taken away before another comes there, and what that covers or
    keeps closed is not looked at now.

    Raises:
        HoldfastError: as there.
    """
    path = resolved(directory)
    there = mounted_at(path)
    is_left = there.is_fuse if there is not None else os.path.isdir(path) and not os.access(path, os.R_OK)
    return path if is_left else checked(path)


def resolved(directory: str) -> str:
    """The absolute path with its links followed; what a FUSE mount covers is not touched, for it may hang."""
    path = os.path.abspath(directory)
    if _is_covered(path):
        return path
    path = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    return path if _is_covered(path) else os.path.realpath(path)


def _opened_in(folder: int, name: str) -> int:
    """A directory, open; one that is closed to its owner, who is not root, is opened to him first."""
    flags = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    with suppress(PermissionError):
        return os.open(name, os.O_RDONLY | flags, dir_fd=folder)
    held = os.open(name, os.O_PATH | flags, dir_fd=folder)
    try:
        os.chmod(f"/proc/self/fd/{held}", 0o700)
    finally:
        os.close(held)
    return os.open(name, os.O_RDONLY | flags, dir_fd=folder)


def _is_covered(path: str) -> bool:
    return any(each.is_fuse and f"{path}/".startswith(each.dir.rstrip("/") + "/") for each in mounts())


class Underneath:
    """A directory under a mount, held open. ``mode`` are the bits that it has while it is free."""

    def __init__(self, directory: str, mode: int | None = None) -> None:
        self.directory = directory
        above, _, name = directory.rpartition("/")
        with opened(
            above or "/"
        ) as folder:  # a link that was planted above since the path was looked at is not followed
            self._descriptor = _opened_in(folder, name)
        self.mode = stat.S_IMODE(os.fstat(self._descriptor).st_mode) if mode is None else mode

    @property
    def descriptor(self) -> int:
        """By which it is reached, also while a mount covers it."""
        return self._descriptor

    def close_it(self) -> None:
        """Keep everybody out while nothing is mounted."""
        with suppress(PermissionError):  # it is immutable already
            os.fchmod(self._descriptor, 0)
        self._set_immutable(on=True)

    def open_it(self) -> None:
        """Let its owner mount there: the program that mounts for ordinary users wants to be able to write."""
        self._set_immutable(on=False)
        with suppress(OSError):
            os.fchmod(self._descriptor, 0o700)

    def free(self) -> None:
        """As it was before the mount."""
        self._set_immutable(on=False)
        with suppress(OSError):
            os.fchmod(self._descriptor, self.mode)

    def loosen(self) -> None:
        """Without permission bits, but not immutable: it can be moved, and given some."""
        self._set_immutable(on=False)
        with suppress(OSError):
            os.fchmod(self._descriptor, 0)

    def names(self) -> list[str]:
        """What lies underneath, the first few; empty where it may not be read."""
        with suppress(OSError):
            return sorted(os.listdir(self._descriptor))[:_TOLD]
        return []

    def is_in_place(self) -> bool:
        """Whether the path still leads here. Only while nothing is mounted there."""
        try:
            status = os.lstat(self.directory)
        except OSError:
            return False
        mine = os.fstat(self._descriptor)
        return (status.st_dev, status.st_ino) == (mine.st_dev, mine.st_ino)

    def release(self) -> None:
        """Let go of it."""
        os.close(self._descriptor)

    def _set_immutable(self, *, on: bool) -> bool:
        """False where the file system knows no such flag, or this user may not set it."""
        flags = bytearray(8)
        try:
            fcntl.ioctl(self._descriptor, _GET_FLAGS, flags)
            (value,) = struct.unpack("l", flags)
            wanted = value | _IMMUTABLE if on else value & ~_IMMUTABLE
            if wanted != value:
                fcntl.ioctl(self._descriptor, _SET_FLAGS, struct.pack("l", wanted))
        except OSError as error:
            if error.errno in (errno.EPERM, errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.EACCES):
                return False
            raise
        return True
