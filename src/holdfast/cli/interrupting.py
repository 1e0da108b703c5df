"""Ctrl-C is heard though the main thread waits in a library.

Python handles a signal between two steps of its own in the main thread. A library that waits there for a server which is silent,
as obstore does for up to half a minute, keeps it from that. So a thread of ours hears of each Ctrl-C at once, by the pipe that
:func:`signal.set_wakeup_fd` names, and ends the process where the main thread does not: at that moment the process may be killed, as
at any other.
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

__all__ = ["end_soon", "heard"]

#: Seconds in which the main thread must hear of a Ctrl-C, or have ended after the second one.
_GRACE: Final = 2.0
#: Seconds in which it must have ended after the first one: what is on its way is broken off, a mounter ended.
_PATIENCE: Final = 60.0
#: Seconds within which another Ctrl-C is the same: programs that hand signals on send it beside the terminal.
_SAME: Final = 0.5


@contextmanager
def heard(end: Callable[[], None]) -> Iterator[None]:
    """In the block Ctrl-C is a KeyboardInterrupt as ever; where that does not end it in time, ``end`` is called in another thread.

    Where somebody has Ctrl-C ignored, or handles it, nothing is changed; so it is with those who do in the block.
    """
    is_main = threading.current_thread() is threading.main_thread()  # no other has signals
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    watch = _Watch(end)
    before = signal.set_wakeup_fd(watch.writing, warn_on_full_buffer=False)
    signal.signal(signal.SIGINT, watch.interrupt)
    threading.Thread(target=watch.run, daemon=True).start()
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.set_wakeup_fd(before)
        os.close(watch.writing)


def end_soon(code: int) -> None:
    """End the process with this code, whatever its threads still wait for."""

    def leave() -> None:
        time.sleep(_GRACE)
        os._exit(code)

    threading.Thread(target=leave, daemon=True).start()


class _Watch:
    """Compares what was sent with what came of it."""

    def __init__(self, end: Callable[[], None]) -> None:
        self._reading, self.writing = os.pipe()
        os.set_blocking(self.writing, False)  # a signal waits for nobody
        self._heard = threading.Event()
        self._end = end

    def interrupt(self, _number: int, _frame: FrameType | None) -> None:
        """The main thread's handler."""
        self._heard.set()
        raise KeyboardInterrupt

    def run(self) -> None:
        """The thread's work, until the block is left."""
        try:
            if self._pressed() and (not self._heard.wait(_GRACE) or self._goes_on()) and self._responsible:
                self._end()
        finally:
            os.close(self._reading)

    def _goes_on(self) -> bool:
        """Whether the block goes on though Ctrl-C was heard, and came again."""
        for _ in self._read(_SAME):
            pass
        self._pressed(_PATIENCE)
        return all(self._read(_GRACE))

    def _pressed(self, seconds: float | None = None) -> bool:
        """Wait for Ctrl-C, so long, or until the block is left; whether it came."""
        return any(signal.SIGINT in numbers and self._responsible for numbers in self._read(seconds))

    def _read(self, seconds: float | None) -> Iterator[bytes]:
        """The numbers of the signals that come in so many seconds, and nothing where the block is left."""
        until = None if seconds is None else time.monotonic() + seconds
        while select.select([self._reading], [], [], None if until is None else max(0.0, until - time.monotonic()))[0]:
            numbers = os.read(self._reading, 64)
            yield numbers
            if not numbers:
                return

    @property
    def _responsible(self) -> bool:
        """Whether nobody else handles Ctrl-C by now."""
        return signal.getsignal(signal.SIGINT) == self.interrupt
