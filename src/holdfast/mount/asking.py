"""Whether a mount answers: a question to it, again and again, each in a child and with a deadline.

A worker's signs of life do not tell that its threads answer. The kernel keeps no answer to this question, and a worker answers it from memory.
Where the question hangs and the connection has nothing that waits, something on the way to the mount hangs, and not who serves it. Example::

    asking = Asking("/mnt/bert", 57, inherited=lambda: [])
    asking.begin()
    asking.tick()
    asking.is_late
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from holdfast.mount.children import Child
from holdfast.mount.table import has_waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Asking"]

#: Seconds between two questions, and until one counts as not answered.
_EVERY: Final = 5.0
_LATE: Final = 15.0
_DIE_WITH_PARENT: Final = 1


class Asking:
    """Asks the mount at a directory, which is the connection of this ``device`` (a minor number).

    ``inherited`` are descriptors that a child must not hold open, which may outlive its parent. ``proven`` is when there was an answer last, or this began.
    """

    def __init__(self, directory: str, device: int, inherited: Callable[[], Iterable[int]]) -> None:
        self._directory, self._device, self._inherited = directory, device, inherited
        self._child: Child | None = None
        self._next = 0.0
        self.proven = time.monotonic()

    def begin(self) -> None:
        """Somebody else serves: what was asked before tells nothing."""
        self.end()
        self._next = time.monotonic() + _EVERY

    def tick(self) -> None:
        """See whether there is an answer, and ask anew where it is time."""
        if self._child is not None and self._child.poll():
            self._child, self.proven = None, time.monotonic()
        if self._child is None and time.monotonic() > self._next:
            self._next = time.monotonic() + _EVERY
            with suppress(OSError):  # the machine has no more processes: later
                self._child = Child(self._ask)

    @property
    def is_late(self) -> bool:
        """Whether the answer is overdue, by whose fault it may be."""
        return self._child is not None and self._child.age > _LATE and has_waiting(self._device)

    def end(self) -> None:
        """Ask no more."""
        if self._child is not None:
            self._child.give_up()
            self._child = None

    def _ask(self) -> int:
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
        for number in self._inherited():
            with suppress(OSError):
                os.close(number)
        return os.statvfs(self._directory).f_namemax
