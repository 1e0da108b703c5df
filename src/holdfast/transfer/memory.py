"""Memory for what is read in large ranges, used again and again.

A page that is fresh must be found and cleared, on a virtual machine even asked back from the host: that costs more than to receive, check and
give out the bytes. So the memory of a range that nobody holds any more serves the next one, uncleared. It lies in huge pages where the kernel
has them: a disk that takes the range directly, and the processor, have fewer pages to find.
"""

from __future__ import annotations

import ctypes
import mmap
import weakref
from collections import deque
from contextlib import suppress
from typing import Final, NamedTuple

__all__ = ["Memory"]

_MIB: Final = 1024 * 1024
#: Ranges of so many bytes at least are worth it, and of so many find room in a block; a block keeps all that it ever held,
#: so that smaller ones would take much more memory than they have bytes. Of each kind so many blocks wait for use, at most.
_LEAST, _BLOCKS, _SPARE = 3 * _MIB, (6 * _MIB, 10 * _MIB), 4
_HUGE: Final = 2 * _MIB


class _Kind(NamedTuple):
    """Blocks of one size."""

    shape: type[ctypes.Array[ctypes.c_char]]
    spare: deque[mmap.mmap]


class Memory:
    """Blocks, each for one range at a time. Safe in threads."""

    def __init__(self) -> None:
        self._kinds = [_Kind(ctypes.c_char * (size + mmap.PAGESIZE), deque(maxlen=_SPARE)) for size in _BLOCKS]

    def take(self, start: int, length: int) -> memoryview:
        """Writable bytes, of any content, for a range from ``start`` on; their block is free once no view of them is left.

        They lie to a page of memory as the range does to its object's, so that they can go to a disk as they are.
        """
        if not _LEAST <= length <= _BLOCKS[-1]:
            return memoryview(bytearray(length))
        kind = next(kind for kind, size in zip(self._kinds, _BLOCKS, strict=True) if length <= size)
        try:
            block = kind.spare.pop()
        except IndexError:
            block = _block(ctypes.sizeof(kind.shape))
        held = kind.shape.from_buffer(block)
        weakref.finalize(held, kind.spare.append, block).atexit = False
        skip = start % mmap.PAGESIZE
        return memoryview(held).cast("B")[skip : skip + length]


def _block(size: int) -> mmap.mmap:
    """Fresh memory; a whole number of huge pages is where they can be."""
    block = mmap.mmap(-1, -(-size // _HUGE) * _HUGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel without them
        block.madvise(mmap.MADV_HUGEPAGE)
    return block
