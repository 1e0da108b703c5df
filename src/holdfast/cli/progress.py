"""Progress and warnings on stderr: one line that is rewritten, with bytes, rate and time left; on a terminal only."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from typing import TYPE_CHECKING, TextIO

from holdfast.cli.output import human_size, human_time, printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.model.result import Progress

__all__ = ["LineProgress", "Warnings", "progress_for"]

#: Seconds between two drawings, and before the first rate is worth showing.
_INTERVAL = 0.1
_SETTLE = 0.5


class Warnings:
    """Shows no progress; warnings are lines."""

    def __init__(self, stream: TextIO, *, quiet: bool = False) -> None:
        self._stream = stream
        self._quiet = quiet

    def start(self, what: str, total: int | None, files: int) -> None:
        """Nothing."""

    def advance(self, count: int) -> None:
        """Nothing."""

    def warn(self, message: str) -> None:
        """A line of its own, unless nothing but failures is wanted."""
        if not self._quiet:
            self._stream.write(f"warning: {printable(message)}\n")
            self._stream.flush()

    def finish(self) -> None:
        """Nothing."""


class LineProgress(Warnings):
    """One line that is rewritten a few times a second. Safe to call from several threads."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stream)
        self._clock = clock
        self._lock = threading.Lock()
        self._what, self._files = "", 0
        self._total: int | None = None
        self._done, self._began, self._drawn, self._shown = 0, 0.0, 0.0, False

    def start(self, what: str, total: int | None, files: int) -> None:
        """A new line."""
        with self._lock:
            self._what, self._total, self._files = what, total, files
            self._done, self._began, self._drawn = 0, self._clock(), 0.0

    def advance(self, count: int) -> None:
        """Count, and draw where the last drawing is old enough."""
        with self._lock:
            self._done += count
            now = self._clock()
            if now - self._drawn >= _INTERVAL:
                self._drawn = now
                self._draw(self._line(now))

    def warn(self, message: str) -> None:
        """A line above."""
        with self._lock:
            self._clear()
            super().warn(message)

    def finish(self) -> None:
        """The line goes; what was done is said by the command."""
        with self._lock:
            self._clear()

    def _line(self, now: float) -> str:
        elapsed = now - self._began
        parts = [printable(self._what), human_size(self._done)]
        if self._total:
            parts[1] += f" of {human_size(self._total)} ({min(100, 100 * self._done // self._total)} %)"
        if self._files > 1:
            parts.append(f"{self._files} files")
        if elapsed >= _SETTLE and self._done:
            rate = self._done / elapsed
            parts.append(f"{human_size(rate)}/s")
            if self._total and self._total > self._done:
                parts.append(f"{human_time((self._total - self._done) / rate)} left")
        return "  ".join(parts)

    def _draw(self, line: str) -> None:
        width = shutil.get_terminal_size().columns - 1
        self._stream.write(f"\r\x1b[K{line[:width]}")
        self._stream.flush()
        self._shown = True

    def _clear(self) -> None:
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._shown = False


def progress_for(*, quiet: bool) -> Progress:
    """What suits this process's stderr."""
    if sys.stderr is None:
        from holdfast.model.result import NoProgress

        return NoProgress()
    if quiet or not sys.stderr.isatty():
        return Warnings(sys.stderr, quiet=quiet)
    return LineProgress(sys.stderr)
