"""Reads scanned files in whole pieces, and says so where a file is not what was scanned."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from holdfast.errors import HoldfastError, LocalError, SourceChangedError
from holdfast.formats.stats import signed
from holdfast.model.digest import raw_digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Stamp", "read_part", "read_small", "reading"]

_HINT: Final = "push again once nothing writes to it"


class Stamp(NamedTuple):
    """By what a change of a file is noticed. An inode of 0 is not known, and not compared."""

    size: int
    mtime: int
    inode: int


def read_small(path: str, stamp: Stamp) -> bytes:
    """All bytes of a small file.

    Raises:
        SourceChangedError: it is not what was scanned.
        LocalError: it may not be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            data = os.read(descriptor, stamp.size + 1)
            _check(path, stamp, descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _gone(path, error) from error
    if len(data) != stamp.size:
        raise _changed(path)
    return data


@contextmanager
def reading(path: str, stamp: Stamp) -> Iterator[Callable[[memoryview], None]]:
    """A function that fills a buffer with the next bytes of a large file.

    Raises:
        SourceChangedError: it ends early, or is not what was scanned, before or after.
    """
    try:
        with open(path, "rb", buffering=0) as file:

            def fill(view: memoryview) -> None:
                while view:
                    count = file.readinto(view)
                    if not count:
                        raise _changed(path)
                    view = view[count:]

            _check(path, stamp, file.fileno())
            yield fill
            _check(path, stamp, file.fileno())
    except OSError as error:
        raise _gone(path, error) from error


def read_part(path: str, offset: int, length: int, digest: bytes) -> bytes:
    """A part of a file, which must have this digest.

    Raises:
        SourceChangedError: it has not.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            data = os.pread(descriptor, length, offset)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _gone(path, error) from error
    if raw_digest_of(data) != digest:
        raise _changed(path)
    return data


def _check(path: str, stamp: Stamp, descriptor: int) -> None:
    status = os.fstat(descriptor)
    inode = signed(status.st_ino) if stamp.inode else 0
    if (status.st_size, status.st_mtime_ns, inode) != stamp:
        raise _changed(path)


def _gone(path: str, error: OSError) -> HoldfastError:
    if isinstance(error, PermissionError):
        return LocalError(f"{path} may not be read: {error.strerror}", subject=path)
    return SourceChangedError(f"{path} cannot be read any more: {error.strerror}", subject=path)


def _changed(path: str) -> SourceChangedError:
    return SourceChangedError(f"{path} changed while it was pushed", subject=path, hint=_HINT)
