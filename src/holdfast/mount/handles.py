"""Which files of a mount are open, and how, in memory that outlives a worker.

The kernel reads a file itself (passthrough) or asks for its bytes (plain), and wants all who have it open at one time to do alike:
an OPEN that is answered otherwise fails. So a new worker must know what its predecessor answered. Every handle has a slot in a
buffer that the supervisor keeps, written before the reply and emptied at RELEASE. A slot counts its uses and the handle carries
the count, so that a RELEASE which is sent again does not take another's slot. An OPEN that is sent again leaves a slot behind:
its file keeps its way of being read until the mount ends, which is safe.

Example::

    handles = Handles(memoryview(bytearray(SIZE)))
    handle = handles.take(node, backing)
    unused = handles.give_back(handle)      # the backing id to close, once nobody has the file open
"""

from __future__ import annotations

import errno
import os
from struct import Struct
from typing import Final

__all__ = ["SIZE", "Handles"]

#: node (0: free), uses, backing id (0: plain).
_SLOT: Final = Struct("=QII")
_SLOTS: Final = 65536
#: Bytes of the buffer.
SIZE: Final = _SLOT.size * _SLOTS


class Handles:
    """The open files of a mount; callers hold a lock of their own."""

    def __init__(self, buffer: memoryview) -> None:
        """Take up what a predecessor left in this buffer; zeros: nothing."""
        self._buffer = buffer
        self._open: dict[int, tuple[int, int]] = {}
        self._free: list[int] = []
        for slot, (node, _, backing) in enumerate(_SLOT.iter_unpack(buffer)):
            if node:
                self._count(node, backing, 1)
            else:
                self._free.append(slot)
        self._free.reverse()

    def backing(self, node: int) -> int | None:
        """How a node is open: 0 plain, else its backing id; None where nobody has it open."""
        known = self._open.get(node)
        return None if known is None else known[0]

    def take(self, node: int, backing: int) -> int:
        """A handle for a node that is open this way, or not at all.

        Raises:
            OSError: ENFILE, too many files of this mount are open.
        """
        if not self._free:
            raise OSError(errno.ENFILE, os.strerror(errno.ENFILE))
        slot = self._free.pop()
        _, used, _ = _SLOT.unpack_from(self._buffer, slot * _SLOT.size)
        uses = (int(used) + 1) & 0xFFFFFFFF
        _SLOT.pack_into(self._buffer, slot * _SLOT.size, node, uses, backing)
        self._count(node, backing, 1)
        return uses << 32 | slot

    def give_back(self, handle: int) -> int | None:
        """Empty a handle's slot; the backing id that nobody uses any more, if any."""
        slot, uses = handle & 0xFFFFFFFF, handle >> 32
        if slot >= len(self._buffer) // _SLOT.size:
            return None
        node, used, backing = _SLOT.unpack_from(self._buffer, slot * _SLOT.size)
        if not node or used != uses:  # a predecessor has done it
            return None
        _SLOT.pack_into(self._buffer, slot * _SLOT.size, 0, used, 0)
        self._free.append(slot)
        return backing or None if self._count(node, backing, -1) == 0 else None

    def _count(self, node: int, backing: int, change: int) -> int:
        count = self._open.get(node, (backing, 0))[1] + change
        if count:
            self._open[node] = (backing, count)
        else:
            del self._open[node]
        return count
