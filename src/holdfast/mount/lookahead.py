"""Has the kernel learn names before they are asked for, by a process that lists directories of the mount while its worker answers.

Never by the worker itself: a thread that waits for its own mount cannot be ended. What cannot be listed is only slower.

Example::

    ahead = LookAhead("/mnt/x", view.path)
    ahead.hit(node, position)       # after each name that was asked for and found
"""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from holdfast.mount import lister
from holdfast.mount.streaks import Streaks

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.mount.streaks import Window

__all__ = ["LookAhead"]

#: Seconds that the process stays without work.
_IDLE: Final = 10.0


class LookAhead:
    """Of the mount at a directory; ``path_of`` tells where in it a directory lies, None where it is not shown any more."""

    def __init__(self, directory: str, path_of: Callable[[int], bytes | None]) -> None:
        self._directory = directory
        self._path_of = path_of
        self._streaks = Streaks()
        self._windows: queue.SimpleQueue[Window] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def hit(self, node: int, position: int) -> None:
        """A name was asked for in a directory, whose listing from ``position`` on begins with it. Never waits."""
        window = self._streaks.hit(node, position, time.monotonic())
        if window is None:
            return
        self._windows.put(window)
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="holdfast-lookahead", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the machine has no more threads: with the next window, perhaps
                self._streaks.end(self._windows.get(), window.position)
                return
            self._thread = thread

    def _run(self) -> None:
        while True:
            try:
                window = self._windows.get(timeout=_IDLE)
            except queue.Empty:
                self._stop()
                window = self._windows.get()
            reached = window.position
            with suppress(OSError, ValueError):
                reached = self._listed(window)
            self._streaks.end(window, reached)

    def _listed(self, window: Window) -> int:
        """Have a window listed; the position that was reached."""
        path = self._path_of(window.node)
        if path is None:
            return window.position
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", lister.__file__, self._directory],
                cwd="/",
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        assert self._process.stdin is not None  # noqa: S101 - they are pipes
        assert self._process.stdout is not None  # noqa: S101
        try:
            self._process.stdin.write(b"%d %d %d %s\n" % (*window, path.hex().encode()))
            self._process.stdin.flush()
            return int(self._process.stdout.readline())
        except (OSError, ValueError):
            self._stop()
            raise

    def _stop(self) -> None:
        """End the process, which ends by itself when its input does."""
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(1.0)
