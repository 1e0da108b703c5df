"""When a worker that died is started again, and when a mount stops waiting for it: pure.

A worker that dies now and then is replaced at once. One that dies as soon as it serves, again and again, is most likely killed by what it
is asked: then the supervisor answers in its place, with errors, so that nobody hangs, and tries again more and more rarely.
"""

from __future__ import annotations

from typing import Final

__all__ = ["Restarts"]

#: A worker that has served for so many seconds did not die of its start.
_LIVED: Final = 1.0
#: Deaths in a row after which nobody waits any longer.
_PATIENCE: Final = 8
_FIRST_DELAY: Final = 0.2
_LONGEST_DELAY: Final = 30.0


class Restarts:
    """Counts the deaths of workers. ``total`` is how many there were."""

    def __init__(self) -> None:
        self.total = 0
        self._in_a_row = 0

    def died(self, served: float) -> float:
        """A worker died that had served for so many seconds (0: it never came to it); the seconds to wait before the next."""
        self.total += 1
        self._in_a_row = 1 if served >= _LIVED else self._in_a_row + 1
        over = self._in_a_row - _PATIENCE
        return 0.0 if over < 0 else min(_FIRST_DELAY * 2.0 ** min(over, 20), _LONGEST_DELAY)

    @property
    def gave_up(self) -> bool:
        """Whether requests are to be answered with errors until a worker serves again."""
        return self._in_a_row >= _PATIENCE
