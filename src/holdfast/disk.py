"""The operating system: the few calls that Python lacks, and its refusals made ours."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from holdfast.errors import LocalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = [
    "begin_write_back",
    "closed",
    "exchange",
    "local_errors",
    "mount_table",
    "move_new",
    "refusal",
    "refuse_unwritable",
    "sync_directory",
    "sync_file_system",
]

_AT_FDCWD = -100
_RENAME_NOREPLACE, _RENAME_EXCHANGE = 1, 2
#: What a system or a file system says that cannot rename in such a way.
_CANNOT = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
_SYNC_FILE_RANGE_WRITE = 2


@cache
def _system_call(name: str) -> Any:
    """The C library's function of this name, None where it has none."""
    return getattr(ctypes.CDLL(None, use_errno=True), name, None)


def begin_write_back(descriptor: int, start: int, length: int) -> None:
    """Let the disk begin with these bytes of a file, so that the sync at the end finds little to do; promises nothing."""
    sync_file_range = _system_call("sync_file_range")
    if sync_file_range is not None:
        span = ctypes.c_int64(start), ctypes.c_int64(length)
        sync_file_range(descriptor, *span, ctypes.c_uint(_SYNC_FILE_RANGE_WRITE))


def mount_table() -> str:
    """The kernel's table of mounts, a line a mount. Only the line feed ends one: other line ends of Unicode stand there as they are in a name.

    Raises:
        OSError: the system has none.
    """
    with open("/proc/self/mountinfo", "rb") as table:
        return os.fsdecode(table.read())


def sync_directory(path: Path) -> None:
    """Make the names in this directory durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file_system(path: Path) -> None:
    """Make everything written so far to the file system of this path durable; to all of them where it cannot be narrower."""
    syncfs = _system_call("syncfs")
    if syncfs is None:
        os.sync()
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if syncfs(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(path))
    finally:
        os.close(descriptor)


def exchange(one: Path, other: Path) -> bool:
    """Exchange two names at once; False where the system or the file system cannot."""
    renameat2 = _system_call("renameat2")
    if renameat2 is None:
        return False
    if renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _CANNOT:
        return False
    raise OSError(code, os.strerror(code), str(one), None, str(other))


def move_new(one: str, other: str, source: int, target: int) -> None:
    """Rename, between two open directories, and never over what has that name; where no file system call can promise that, what has it now.

    Raises:
        FileExistsError: something has it; nothing was moved.
    """
    renameat2 = _system_call("renameat2")
    if renameat2 is not None:
        if renameat2(source, os.fsencode(one), target, os.fsencode(other), _RENAME_NOREPLACE) == 0:
            return
        code = ctypes.get_errno()
        if code not in _CANNOT:
            raise OSError(code, os.strerror(code), other)
    if stat.S_ISDIR(os.stat(one, dir_fd=source, follow_symlinks=False).st_mode):
        os.mkdir(other, dir_fd=target)  # a directory takes the place of an empty one alone
        os.rename(one, other, src_dir_fd=source, dst_dir_fd=target)
        return
    try:
        os.link(one, other, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (*_CANNOT, errno.EPERM):
            raise
        if other in os.listdir(target):  # no way to have both at once here: to look first is the best there is
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), other) from error
        os.rename(one, other, src_dir_fd=source, dst_dir_fd=target)
        return
    os.unlink(one, dir_fd=source)


@contextmanager
def local_errors(path: Path, named: Callable[[str], str] = str) -> Iterator[None]:
    """Turn the operating system's refusals below this folder into LocalError, saying what to look at; ``named`` gives a path in the user's words."""
    try:
        yield
    except LocalError:
        raise
    except OSError as error:
        raise refusal(error, path, named) from error


def refuse_unwritable(path: Path) -> None:
    """Raise LocalError where a file cannot be made under this path, as far as is known without making one."""
    folder, number = path.parent, 0
    if not folder.is_dir():
        number = errno.ENOTDIR if folder.exists() else errno.ENOENT
    elif not os.access(folder, os.W_OK | os.X_OK):
        number = errno.EROFS if os.statvfs(folder).f_flag & os.ST_RDONLY else errno.EACCES
    if number:
        raise refusal(OSError(number, os.strerror(number), str(path)), folder)


def closed(error: PermissionError) -> LocalError:
    """What may not be looked at, for it is another user's."""
    where = os.fsdecode(error.filename)
    hint = "it may be another user's: look at its rights, or use another folder (for the cache: assets_dir)"
    return LocalError(f"{error.strerror}: {where}", subject=where, hint=hint)


def refusal(error: OSError, path: Path, named: Callable[[str], str] = str) -> LocalError:
    """What the operating system refused below this folder, saying what to look at; ``named`` as in :func:`local_errors`."""
    hint = {
        errno.ENOSPC: "free some space on this disk, or use another one (for the cache: assets_dir)",
        errno.EDQUOT: "the disk quota is used up",
        errno.EROFS: "the folder is read-only: use one that can be written (for the cache: assets_dir)",
        errno.EACCES: "the folder may not be written: look at its rights, or use another one (for the cache: assets_dir)",
    }.get(error.errno or 0)
    where = named(os.fsdecode(error.filename or path))
    return LocalError(f"{error.strerror or error}: {where}", subject=where, hint=hint)
