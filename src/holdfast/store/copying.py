"""A local file into another one, every byte shown to somebody: how a directory store takes large objects.

Owns one trick and its way back. Where the system can, bytes are copied inside the kernel by a thread that runs one step ahead,
and what is shown is *read back from the copy*, so that what was hashed is what is stored, whatever happened to the source
meanwhile. Elsewhere (other systems, across file systems, sources that are no plain files) bytes are read, shown and written.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from typing import TYPE_CHECKING, Final

from holdfast.disk import begin_write_back
from holdfast.errors import SourceChangedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import BinaryIO

    from _typeshed import ReadableBuffer

__all__ = ["STEP", "copy_range", "copy_shown", "show", "steps", "write_all", "write_pieces"]

#: Bytes that the kernel copies at a time, and so how far the copy is ahead of what was shown.
_AHEAD: Final = 8 * 1024 * 1024
#: Bytes shown at a time. More of them fall out of the cores' caches before they are hashed, or written.
STEP: Final = 256 * 1024
#: Bytes a write. With more of them (128 KiB already) the kernel looks for large pieces of memory, which took virtual machines up
#: to ten times as long.
_WRITE: Final = 32 * 1024
#: Pieces a write, at most.
_BATCH: Final = 256
#: What says that these two files cannot be copied by the kernel; the first step says so, before anything was shown.
_CANNOT: Final = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.EPERM, errno.ETXTBSY}


def copy_shown(source: BinaryIO, target: BinaryIO, size: int, seen: Callable[[ReadableBuffer], None]) -> None:
    """Copy exactly ``size`` bytes, from where the source stands to where the target stands, which is its end.

    ``seen`` gets every stored byte once, in order.

    Raises:
        SourceChangedError: the source ends earlier, or goes on.
    """
    if not (_is_plain(source) and size > _AHEAD and _copy_in_kernel(source, target, size, seen)):
        for piece in steps(source, size, seen):
            write_all(target, piece)
    if source.read(1):
        raise SourceChangedError("the source is longer than it was")


def copy_range(source: int, start: int, target: int, offset: int, length: int) -> bool:
    """Have the kernel copy bytes from one open file into another; False where it cannot, or the source ends before."""
    if not hasattr(os, "copy_file_range"):
        return False
    done = 0
    while done < length:
        try:
            count = os.copy_file_range(source, target, length - done, start + done, offset + done)
        except OSError as error:
            if error.errno in _CANNOT:
                return False
            raise
        if not count:
            return False
        done += count
    return True


def show(file: int, begin: int, end: int, buffer: memoryview, seen: Callable[[memoryview], None]) -> None:
    """Read back what was put into a file, piece by piece, through a buffer that stays in the processor's cache.

    Raises:
        SourceChangedError: the file ends before.
    """
    while begin < end:
        count = os.preadv(file, [buffer[: end - begin]], begin)
        if not count:
            raise SourceChangedError("the copy in the making was cut off")
        seen(buffer[:count])
        begin += count


def write_all(file: BinaryIO, data: ReadableBuffer) -> None:
    """Write all of it to an unbuffered file, in pieces that are cheap."""
    view = memoryview(data).cast("B")
    while view:
        view = view[file.write(view[:_WRITE]) :]


def write_pieces(file: BinaryIO, pieces: Iterable[ReadableBuffer]) -> Iterator[int]:
    """Write pieces one behind the other to an unbuffered file, small ones together; how many bytes have been written so far."""
    batch: list[ReadableBuffer] = []
    waiting = done = 0
    for piece in pieces:
        view = memoryview(piece).cast("B")
        if waiting + len(view) <= _WRITE and len(batch) < _BATCH:
            batch.append(view)
            waiting += len(view)
            continue
        _write_batch(file, batch, waiting)
        done += waiting
        batch, waiting = [], 0
        for begin in range(0, len(view), _AHEAD):
            part = view[begin : begin + _AHEAD]
            write_all(file, part)
            done += len(part)
            yield done
    _write_batch(file, batch, waiting)
    yield done + waiting


def _write_batch(file: BinaryIO, batch: list[ReadableBuffer], size: int) -> None:
    written = os.writev(file.fileno(), batch) if batch else 0
    if written < size:
        write_all(file, memoryview(b"".join(batch))[written:])


def _is_plain(source: BinaryIO) -> bool:
    """Whether the kernel may read past Python: an unbuffered, regular file."""
    return (
        hasattr(os, "copy_file_range")
        and isinstance(source, io.FileIO)
        and stat.S_ISREG(os.fstat(source.fileno()).st_mode)
    )


def _copy_in_kernel(source: BinaryIO, target: BinaryIO, size: int, seen: Callable[[ReadableBuffer], None]) -> bool:
    """The trick; False where the system refuses it, with nothing shown."""
    here, there = source.fileno(), target.fileno()
    start, shift = source.tell(), target.tell()

    def copy(begin: int) -> None:
        end = min(begin + _AHEAD, size)
        done = begin
        while done < end:
            count = os.copy_file_range(here, there, end - done, start + done, shift + done)
            if not count:
                raise SourceChangedError(f"the source ended {size - done} bytes early")
            done += count
        begin_write_back(there, shift + begin, end - begin)

    buffer = memoryview(bytearray(STEP))
    try:
        copy(0)
    except OSError as error:
        if error.errno in _CANNOT:
            return False
        raise
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as ahead:
        for begin in range(0, size, _AHEAD):
            end = min(begin + _AHEAD, size)
            following = ahead.submit(copy, end) if end < size else None
            try:
                show(there, shift + begin, shift + end, buffer, seen)
            finally:
                if following is not None:
                    following.result()
    source.seek(start + size)
    target.seek(shift + size)
    return True


def steps(source: BinaryIO, size: int, seen: Callable[[ReadableBuffer], None]) -> Iterator[memoryview]:
    """Exactly ``size`` bytes of the source, in pieces of one buffer, each shown before it is given out.

    Raises:
        SourceChangedError: the source ends earlier.
    """
    buffer = memoryview(bytearray(min(STEP, size + 1)))
    left = size
    while left:
        count = source.readinto(buffer[: min(left, len(buffer))])  # type: ignore[attr-defined]
        if not count:
            raise SourceChangedError(f"the source ended {left} bytes early")
        seen(buffer[:count])
        yield buffer[:count]
        left -= count
