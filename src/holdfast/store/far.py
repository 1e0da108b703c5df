"""Something on a server that is opened when it is first asked, and not asked again for a while after nobody answered.

Through a mount much is done without the server. Each question would wait for one that is down; only the first does.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from holdfast.errors import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Far"]

T_co = TypeVar("T_co", covariant=True)
R = TypeVar("R")

#: So long a server that did not answer is left alone, in seconds.
_PAUSE: Final = 30.0


class Far(Generic[T_co]):
    """What ``open_`` opens. Safe to use from several threads. ``beside`` is another part of the same server, silent when that is."""

    def __init__(
        self, open_: Callable[[], T_co], clock: Callable[[], float] = time.monotonic, beside: Far[Any] | None = None
    ) -> None:
        self._open = open_
        self._clock = clock
        self._lock = threading.Lock()
        self._opened: T_co | None = None
        #: Until when it is left alone, and why; at most one.
        self.silent: list[tuple[float, UnreachableError]] = [] if beside is None else beside.silent

    def ask(self, call: Callable[[T_co], R]) -> R:
        """The answer.

        Raises:
            UnreachableError: nobody answers, or nobody did a moment ago.
        """
        for until, why in self.silent[:]:
            if self._clock() < until:
                raise UnreachableError(why.message, subject=why.subject, hint=why.hint)
        try:
            return call(self.opened())
        except UnreachableError as error:
            self.silent[:] = [(self._clock() + _PAUSE, error)]
            raise

    def opened(self) -> T_co:
        """What is asked; opened now where it was not before."""
        with self._lock:
            if self._opened is None:
                self._opened = self._open()
            return self._opened
