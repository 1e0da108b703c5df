"""Starts workers, and keeps what a supervisor knows of one: a process, what it has said, and how long that is ago."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from holdfast.mount import control

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from holdfast.mount.order import Order

__all__ = ["Launched", "launch"]

#: Seconds for which a worker may give no sign of life, while it is still loading and later.
_LOADING: Final = 30.0
_SILENCE: Final = 5.0


class Launched:
    """A worker process that is not reaped yet. ``stage``: opening, ready, serving. ``killed`` is when it was, 0.0 before; ``is_deaf``: for it answers nobody."""

    def __init__(self, pid: int, end: socket.socket) -> None:
        self.pid = pid
        self.end = end
        self.stage = "opening"
        self.heard = time.monotonic()
        self.served_from = 0.0
        self.killed = 0.0
        self.is_deaf = False
        self.error: dict[str, Any] = {}
        self.totals = 0, 0
        self._handle = os.pidfd_open(pid)

    @property
    def silence(self) -> float:
        """Seconds since it was heard."""
        return time.monotonic() - self.heard

    @property
    def patience(self) -> float:
        """Seconds for which it may be silent."""
        return _LOADING if self.stage == "opening" else _SILENCE

    @property
    def served(self) -> float:
        """Seconds for which it has served."""
        return time.monotonic() - self.served_from if self.served_from else 0.0

    def kill(self) -> None:
        """End it at once; that it has ended is told by SIGCHLD. Whoever has its number after it is left alone."""
        self.killed = self.killed or time.monotonic()
        with suppress(OSError):
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def forget(self) -> None:
        """Give back what is kept of it."""
        self.end.close()
        os.close(self._handle)
        self._handle = -1


def launch(order: Order, directory: Path) -> Launched:
    """Start a worker and tell it what to serve.

    Raises:
        OSError: the machine lets none be started.
    """
    ours, theirs = control.pair()
    pid = os.fork()
    if pid == 0:
        _become_worker(theirs, directory)
    theirs.close()
    worker = Launched(pid, ours)
    control.send(ours, {"order": order.value()})
    return worker


def _become_worker(end: socket.socket, directory: Path) -> None:
    """In the child: run a worker's program."""
    try:
        end.set_inheritable(True)
        words = [sys.executable, "-P", "-m", "holdfast.mount.worker", str(end.fileno()), str(directory)]
        signal.set_wakeup_fd(-1)
        os.execv(sys.executable, words)  # noqa: S606 - no shell is wanted
    finally:
        os._exit(127)
