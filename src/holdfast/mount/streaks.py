"""Names that are asked for one after the other in one directory, and what to list of it ahead of them. Pure.

Each name that the kernel does not know costs a question, and who looks at many waits for each answer. A listing tells it two hundred at once.
So a directory in which many names were asked for in a short while is listed from there on, or, where they do not come in order,
from its start; a little at first, and twice as much each time that this did not do. Where names are asked for that were listed, the kernel
has no room for them: then more of them must be asked for until it is listed again.

Example::

    streaks = Streaks()
    streaks.hit(parent, position, now)      # None, and after some more a Window
    streaks.end(window, 2048)               # it was listed up to there; another may come
"""

from __future__ import annotations

import sys
from typing import Final, NamedTuple

__all__ = ["Streaks", "Window"]

#: So many names, each within so many seconds of the one before; and how many at most, where what was listed did not stay.
_NAMES, _PAUSE, _MOST_NAMES = 32, 0.02, 8192
#: Entries of a window: at first, and at most.
_FIRST, _MOST = 1024, 16_384
#: Directories that are watched at a time.
_WATCHED: Final = 256


class Window(NamedTuple):
    """Entries of a directory that are to be listed: from a position on, so many."""

    node: int
    position: int
    entries: int


class _Streak:
    """One directory: the names in a row and how many of them went back, what was listed last, and how far it is listed from its start."""

    __slots__ = ("at", "back", "end", "last", "names", "needed", "reached", "size", "start")

    def __init__(self) -> None:
        self.names = self.back = self.last = self.start = self.end = self.reached = 0
        self.needed, self.size = _NAMES, _FIRST
        self.at = 0.0


class Streaks:
    """The directories in which names are asked for. One window at a time; not for many threads at once, but for :meth:`end`."""

    def __init__(self) -> None:
        self._streaks: dict[int, _Streak] = {}
        self._is_listing = False

    def hit(self, node: int, position: int, now: float) -> Window | None:
        """A name was asked for in this directory, where a listing from ``position`` on begins with it; what to list now, if anything."""
        streak = self._streaks.get(node)
        if streak is None:
            if len(self._streaks) >= _WATCHED:
                self._streaks.clear()
            streak = self._streaks[node] = _Streak()
        if now - streak.at > _PAUSE:
            streak.names = streak.back = 0
        streak.at = now
        streak.names += 1
        streak.back += position < streak.last
        streak.last = position
        if streak.names < streak.needed or self._is_listing:
            return None
        self._is_listing = True
        return self._window(node, streak)

    def _window(self, node: int, streak: _Streak) -> Window:
        if streak.start <= streak.last < streak.end:  # listed, and forgotten by the kernel
            streak.needed = min(streak.needed * 2, _MOST_NAMES)
        is_ordered = streak.back * 4 < streak.names
        streak.names = streak.back = 0
        return Window(node, streak.last if is_ordered else streak.reached, streak.size)

    def end(self, window: Window, reached: int) -> None:
        """A window was listed up to this position; -1: to the end of its directory; its own position: not at all."""
        streak = self._streaks.get(window.node)
        if streak is not None:
            streak.start, streak.end = window.position, sys.maxsize if reached < 0 else reached
            streak.size = min(streak.size * 2, _MOST)
            if window.position <= streak.reached:
                streak.reached = max(reached, 0)
            streak.names = streak.back = 0
        self._is_listing = False
