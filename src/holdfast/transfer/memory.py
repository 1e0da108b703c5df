"""Memory for what is read in large ranges, used again and again.

A page that is fresh must be found and cleared, on a virtual machine even asked back from the host: that costs more than to receive, check and
give out the bytes. So the memory of a range that nobody holds any more serves the next one, uncleared.
"""

from __future__ import annotations

import ctypes
import mmap
import weakref
from collections import deque
from typing import Final

__all__ = ["Memory"]

#: Ranges of so many bytes at least are worth it, and of so many find room in a block; a block keeps all that it ever held,
#: so smaller ones would take much more memory than they have bytes.
_LEAST, _BLOCK = 3 * 1024 * 1024, 6 * 1024 * 1024
#: Blocks that wait for use, at most.
_SPARE: Final = 8


class Memory:
    """Blocks, each for one range at a time. Safe in threads."""

    def __init__(self) -> None:
        self._spare: deque[mmap.mmap] = deque(maxlen=_SPARE)
        self._shape = ctypes.c_char * (_BLOCK + mmap.PAGESIZE)

    def take(self, start: int, length: int) -> memoryview:
        """Writable bytes, of any content, for a range from ``start`` on; their block is free once no view of them is left.

        They lie to a page of memory as the range does to its object's, so that they can go to a disk as they are.
        """
        if not _LEAST <= length <= _BLOCK:
            return memoryview(bytearray(length))
        try:
            block = self._spare.pop()
        except IndexError:
            block = mmap.mmap(-1, ctypes.sizeof(self._shape), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        held = self._shape.from_buffer(block)
        weakref.finalize(held, self._spare.append, block).atexit = False
        skip = start % mmap.PAGESIZE
        return memoryview(held).cast("B")[skip : skip + length]
