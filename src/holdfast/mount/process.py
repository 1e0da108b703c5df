"""Processes that others look after: which one it is, whether it lives, and how it is ended.

A process is a number and the moment it started, on one boot of the machine: a number that was used again is not taken for it.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass

from holdfast.cache.owners import birth, boot

__all__ = ["Process"]


@dataclass(frozen=True, slots=True)
class Process:
    """A process by number, start and boot. Example: ``Process.of(os.getpid()).lives``."""

    pid: int
    start: str
    boot: str

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process that has this number now."""
        return cls(pid, birth(pid), boot())

    @property
    def lives(self) -> bool:
        """Whether it runs; one that ended and was not waited for does not."""
        return bool(self.start) and self.boot == boot() and birth(self.pid) == self.start

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; nothing where it is gone, though another may have its number at that very moment."""
        with suppress(ProcessLookupError):
            handle = os.pidfd_open(self.pid)
            try:
                if self.lives:
                    signal.pidfd_send_signal(handle, number)
            finally:
                os.close(handle)

    def ended(self, seconds: float) -> bool:
        """Wait until it is gone; False where it is not in time."""
        deadline = time.monotonic() + seconds
        while self.lives:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def end(self, seconds: float) -> bool:
        """End it: politely, and after these seconds not. False where even that did not help."""
        self.send(signal.SIGTERM)
        if self.ended(seconds):
            return True
        self.send(signal.SIGKILL)
        return self.ended(5.0)
