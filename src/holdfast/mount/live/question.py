"""What a supervisor asks its mount, or a store through it, again and again: each time in a child, for a mount may hang."""

from __future__ import annotations

import errno
import time
from typing import TYPE_CHECKING

from holdfast.mount.children import Child
from holdfast.mount.live.judging import HUNG, UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Question"]


class Question:
    """A question asked in a child again and again; ``answer`` is 0, an errno, HUNG, or None before the first."""

    def __init__(self, ask: Callable[[], object], every: float, deadline: float) -> None:
        self._ask, self._every, self._deadline = ask, every, deadline
        self._child: Child | None = None
        self._next = 0.0
        self.answer: int | None = None
        self.text = ""
        self.failures = 0

    def tick(self) -> None:
        """Ask where it is time, and see whether there is an answer."""
        now = time.monotonic()
        if self._child is None and now >= self._next:
            self._child, self._next = Child(self._ask), now + self._every
        if self._child is None:
            return
        if self._child.poll():
            child, self._child = self._child, None
            try:
                child.result(0)
                self.answer, self.text = 0, ""
            except OSError as error:
                self.answer, self.text = error.errno or errno.EIO, error.strerror or str(error)
            self.failures = self.failures + 1 if self.answer in UNREADABLE else 0
        elif self._child.age > self._deadline:
            self.answer = HUNG

    def forget(self) -> None:
        """Begin anew, for what was asked is gone."""
        if self._child is not None:
            self._child.give_up()
        self._child, self._next, self.answer = None, time.monotonic() + self._every, None
        self.text, self.failures = "", 0
