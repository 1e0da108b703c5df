"""Calls that may never come back, each in a child process with a deadline.

A thread that waits for a hung mount keeps its process from ending; a child can be left alone. It is forked, so the caller must have
no other threads. What it returns comes back as JSON. Example: ``Child(lambda: os.statvfs(path).f_files).result(5.0)``.
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Child", "LateError"]


#: Children that were killed and did not end at once: each is reaped when another one is started or given up.
_given_up: set[int] = set()


class LateError(Exception):
    """The call has not come back in time."""


class Child:
    """One call under way. It is over when :meth:`poll` says so; one that is late may be given up, and is waited for by nobody."""

    def __init__(self, call: Callable[[], object]) -> None:
        _bury()
        self.started = time.monotonic()
        reading, writing = os.pipe2(os.O_CLOEXEC)
        self._pid = os.fork()
        if self._pid == 0:
            _run(call, reading, writing)
        os.close(writing)
        self._pipe: int | None = reading
        self._text = b""

    @property
    def age(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self.started

    def poll(self, seconds: float = 0.0) -> bool:
        """Whether it has come back; waits so long for that."""
        deadline = time.monotonic() + seconds
        while self._pipe is not None:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self._pipe], [], [], left)[0]:
                return False
            piece = os.read(self._pipe, 65536)
            self._text += piece
            if not piece:
                os.close(self._pipe)
                self._pipe = None
                with suppress(ChildProcessError):
                    os.waitpid(self._pid, 0)
        return True

    def result(self, seconds: float) -> Any:
        """What the call returned, or the OSError that it raised.

        Raises:
            LateError: it has not come back in so many seconds; it is given up.
        """
        if not self.poll(seconds):
            self.give_up()
            raise LateError
        try:
            value = json.loads(self._text)
        except ValueError:
            raise OSError(errno.EIO, "the child ended without an answer") from None
        if "error" in value:
            raise OSError(*value["error"])
        return value["result"]

    def give_up(self) -> None:
        """Kill it, and do not wait: it may sit in the kernel until the mount is aborted."""
        if self._pipe is None:
            return  # it was reaped, and another may have its number
        os.close(self._pipe)
        self._pipe = None
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        _given_up.add(self._pid)
        _bury()


def _bury() -> None:
    """Reap what was given up and has ended since."""
    for pid in [*_given_up]:
        with suppress(ChildProcessError):
            if os.waitpid(pid, os.WNOHANG)[0] == 0:
                continue
        _given_up.discard(pid)


def _run(call: Callable[[], object], reading: int, writing: int) -> None:
    """Be the child: nothing of the parent's must run in it, neither its handlers nor what it does at its end."""
    code = 1
    try:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.close(reading)
        try:
            answer: dict[str, object] = {"result": call()}
        except OSError as error:
            answer = {"error": [error.errno or errno.EIO, error.strerror or str(error)]}
        with open(writing, "w", encoding="utf-8") as pipe:
            json.dump(answer, pipe)
        code = 0
    finally:
        os._exit(code)
