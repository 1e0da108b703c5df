"""When a worker that died is started again, when a mount stops waiting for it, and when one gives way to another: pure.

A worker that dies now and then is replaced at once. One that dies as soon as it serves, again and again, is most likely killed by what it
is asked: then the supervisor answers in its place, with errors, so that nobody hangs, and tries again more and more rarely.
"""

from __future__ import annotations

from typing import Final

__all__ = ["Patience", "Restarts"]

#: A worker that has served for so many seconds did not die of its start.
_LIVED: Final = 1.0
#: Deaths in a row after which nobody waits any longer.
_PATIENCE: Final = 8
_FIRST_DELAY: Final = 0.2
_LONGEST_DELAY: Final = 30.0


class Patience:
    """A worker's with reads that do not come back. Once none of its threads can read any more, and for ``seconds`` not a byte has come, it ends:
    another worker is to take over, whose threads are free. It ends again each time that so much has passed without one.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: float | None = None
        self._fetched = 0

    def ends(self, now: float, *, exhausted: bool, fetched: int) -> bool:
        """Whether it ends now, with so many bytes fetched so far."""
        if not exhausted or fetched != self._fetched or self._since is None:
            self._since = now if exhausted else None
            self._fetched = fetched
            return False
        if now - self._since < self._seconds:
            return False
        self._since = now
        return True


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

    def replaced(self) -> None:
        """A worker is replaced that lives, and does no good."""
        self.total += 1

    @property
    def gave_up(self) -> bool:
        """Whether requests are to be answered with errors until a worker serves again."""
        return self._in_a_row >= _PATIENCE
