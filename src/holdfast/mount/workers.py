"""Threads that read for a mount: what somebody waits for goes before what is read ahead, and a call that hangs holds up nobody else.

Reads of a store may never come back. Such a thread is lost, and another takes its place, up to a bound.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Workers"]

#: Threads that work at a time; so many of them read ahead; and so many more are started in place of such as hang.
_AT_ONCE, _AHEAD, _LOST = 12, 6, 48
#: A thread that has nothing to do ends after so many seconds.
_IDLE: Final = 20.0
#: How long the end waits for those that work, in seconds.
_MOMENT: Final = 2.0


class Workers:
    """A pool of threads. ``late`` is how many seconds a task may take before its thread counts as lost."""

    def __init__(self, late: float) -> None:
        self._late = late
        self._wanted = threading.Condition()
        self._urgent: deque[Callable[[], None]] = deque()
        self._ahead: deque[Callable[[], None]] = deque()
        self._begun: dict[int, tuple[float, bool]] = {}  # by thread: since when it works, and whether ahead
        self._idle = 0
        self._threads = 0
        self._closed = False

    def submit(self, task: Callable[[], None], *, urgent: bool) -> None:
        """Have a task done, which must not raise."""
        with self._wanted:
            if self._closed:
                return
            (self._urgent if urgent else self._ahead).append(task)
            self._wanted.notify()
            waiting = len(self._urgent) + min(len(self._ahead), max(0, _AHEAD - self._reading_ahead()))
            if waiting > self._idle and self._threads - min(self._lost(), _LOST) < _AT_ONCE:
                try:
                    threading.Thread(target=self._run, name="holdfast-reader", daemon=True).start()
                    self._threads += 1
                except (
                    RuntimeError
                ):  # the machine has no more; one that works takes the task, or the next call tries again
                    if urgent and not self._threads:
                        raise

    @property
    def is_exhausted(self) -> bool:
        """Whether so many threads are lost that no more are started in place of others."""
        with self._wanted:
            return self._lost() >= _LOST

    def _lost(self) -> int:
        late = time.monotonic() - self._late
        return sum(since < late for since, _ in self._begun.values())

    def _reading_ahead(self) -> int:
        late = time.monotonic() - self._late
        return sum(ahead and since >= late for since, ahead in self._begun.values())

    def _next(self) -> tuple[Callable[[], None], bool] | None:
        """The next task and whether it is one ahead; None where this thread is to end."""
        while not self._closed:
            if self._urgent:
                return self._urgent.popleft(), False
            if self._ahead and self._reading_ahead() < _AHEAD:
                return self._ahead.popleft(), True
            self._idle += 1
            is_wanted = self._wanted.wait(_IDLE)
            self._idle -= 1
            if not is_wanted and not self._urgent and not self._ahead:
                return None
        return None

    def _run(self) -> None:
        me = threading.get_ident()
        while True:
            with self._wanted:
                self._begun.pop(me, None)
                if self._closed:
                    self._wanted.notify_all()
                if self._ahead and self._idle:
                    self._wanted.notify()
                found = self._next()
                if found is None:
                    self._threads -= 1
                    return
                self._begun[me] = time.monotonic(), found[1]
            found[0]()

    def close(self) -> None:
        """Begin nothing more, and wait a moment for what has begun: what was read is then kept."""
        end = time.monotonic() + min(_MOMENT, self._late)
        with self._wanted:
            self._closed = True
            self._urgent.clear()
            self._ahead.clear()
            self._wanted.notify_all()
            while self._begun and time.monotonic() < end:
                self._wanted.wait(end - time.monotonic())
