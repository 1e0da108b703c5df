"""What to read ahead of whoever reads on, and nothing ahead of who reads here and there. Pure.

>>> ahead = Ahead(first=8, most=32, slack=2)
>>> [ahead.after(0, 1), ahead.after(1, 2), ahead.after(2, 3), ahead.after(5, 8), ahead.after(500, 501)]
[None, (2, 10), None, (10, 24), None]
"""

from __future__ import annotations

__all__ = ["Ahead"]


class Ahead:
    """The reads of one file.

    Args:
        first: how far to read ahead once a second read follows the first, in bytes; it doubles whenever half of it was used.
        most: no further.
        slack: a read follows another where it begins so near to the other's end: kernels ask for several pieces at once.
        least: reads that follow one another are of somebody who reads on once they have more than so many bytes: that many, a kernel
            asks for around a place in a mapped file.
    """

    def __init__(self, first: int, most: int, slack: int, least: int = 0) -> None:
        self._first, self._most, self._slack, self._least = first, most, slack, least
        self._window = 0
        self._begin = 0  # of the first read of those that follow one another
        self._end = -1  # of the reads so far
        self._until = 0  # what was read ahead, or asked for

    def after(self, start: int, end: int) -> tuple[int, int] | None:
        """Which bytes to read ahead, now that these are read."""
        if self._end < 0 or abs(start - self._end) > self._slack:
            self._window, self._begin, self._end, self._until = 0, start, end, end
            return None
        self._end = max(self._end, end)
        if self._end - self._begin <= self._least:
            return None
        window = min(self._window * 2 or self._first, self._most)
        if self._until - self._end > self._window // 2:
            return None
        begin, self._until, self._window = max(self._until, self._end), self._end + window, window
        return (begin, self._until) if begin < self._until else None

    def only(self, until: int) -> None:
        """What was read ahead ends here already, for what follows is not known yet."""
        self._until = min(self._until, until)
