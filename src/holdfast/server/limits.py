"""How often one may try: attempts per key within a window, in memory of a bounded size."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from holdfast.errors import BusyError

if TYPE_CHECKING:
    from holdfast.catalog.base import Clock

__all__ = ["Attempts", "TooManyError"]

#: Keys that are remembered; the one that was tried longest ago is forgotten first.
_KEYS: Final = 10_000


class TooManyError(BusyError):
    """Too many attempts; answered with 429."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("too many attempts", hint=f"try again in {int(retry_after) + 1} s")
        self.retry_after = retry_after


class Attempts:
    """At most so many failed attempts with one key within so many seconds."""

    def __init__(self, most: int, window: float, clock: Clock) -> None:
        self._most = most
        self._window = window
        self._clock = clock
        self._tries: OrderedDict[str, list[float]] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, *keys: str) -> None:
        """Count an attempt with each of the keys.

        Raises:
            TooManyError: one of them has had enough of them; the attempt is not counted.
        """
        now = self._clock.since_boot()
        with self._lock:
            for key in keys:
                tries = [moment for moment in self._tries.get(key, ()) if now - moment < self._window]
                if len(tries) >= self._most:
                    raise TooManyError(self._window - (now - tries[0]))
            for key in keys:
                self._tries[key] = [m for m in self._tries.get(key, ()) if now - m < self._window] + [now]
                self._tries.move_to_end(key)
            while len(self._tries) > _KEYS:
                self._tries.popitem(last=False)

    def forget(self, key: str) -> None:
        """It was the right one: what went before does not count."""
        with self._lock:
            self._tries.pop(key, None)

    def take_back(self, key: str) -> None:
        """It was the right one: that attempt does not count; those before it, which may have been of others, do."""
        with self._lock:
            if self._tries.get(key):
                self._tries[key].pop()
