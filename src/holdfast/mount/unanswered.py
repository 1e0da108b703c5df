"""The requests under way, in memory that outlives a worker: for kernels that do not send again what a dead one left (before Linux 6.9).

Its successor answers them with EIO, for nobody else ever would.
"""

from __future__ import annotations

from typing import Final

__all__ = ["SIZE", "Unanswered"]

_SLOTS: Final = 4096
#: Bytes of the memory.
SIZE: Final = 8 * _SLOTS


class Unanswered(dict[int, tuple[float, int]]):
    """A dictionary by request, of which ``[]=`` and ``pop`` write the requests' numbers into a buffer too; for many threads.

    ``left`` are those that a predecessor left there.
    """

    def __init__(self, buffer: memoryview) -> None:
        super().__init__()
        self._kept = buffer.cast("Q")
        self.left = [unique for unique in self._kept if unique]
        for slot in range(len(self._kept)):
            self._kept[slot] = 0
        self._free = list(range(len(self._kept)))
        self._slots: dict[int, int] = {}

    def __setitem__(self, unique: int, value: tuple[float, int]) -> None:
        if self._free:
            slot = self._free.pop()
            self._kept[slot] = unique
            self._slots[unique] = slot
        super().__setitem__(unique, value)

    def pop(self, unique: int, default: tuple[float, int] | None = None) -> tuple[float, int] | None:  # type: ignore[override]
        """The value of a request, which is under way no longer."""
        slot = self._slots.pop(unique, None)
        if slot is not None:
            self._kept[slot] = 0
            self._free.append(slot)
        return super().pop(unique, default)
