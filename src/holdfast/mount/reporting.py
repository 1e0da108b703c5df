"""What a supervisor writes into its mount's record: the state at once, counters now and then.

A worker's counters begin at zero; those of its predecessors are added.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from holdfast.errors import LocalError
from holdfast.mount.process import Process
from holdfast.mount.registry import Record, State

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Reports"]

#: Seconds between two writes that tell of counters alone.
_PAUSE: Final = 2.0
#: What a worker counts: requests, reads, bytes read, late requests, bytes fetched.
_NOTHING: Final = (0, 0, 0, 0, 0)


class Reports:
    """Writes the state and the events of one mount. A full disk keeps nothing from being served, and is not told anywhere."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._state = State(supervisor=Process.of(os.getpid()))
        self._counts: dict[int, Sequence[int]] = {}
        self._before: Sequence[int] = _NOTHING
        self._is_changed = False
        self._written = 0.0
        self._health = self._trouble = ""

    def state(self, state: str, health: str = "") -> None:
        """The mount's state has changed."""
        self._health, self._trouble = health, ""
        self._change(state=state, health=health)
        self._write()

    def trouble(self, text: str) -> None:
        """Why reads fail at present; nothing where they do well."""
        if text != self._trouble:
            self._trouble = text
            self._change(health="; ".join(each for each in (self._health, text) if each))
            self._is_changed = True

    def worker(self, pid: int | None, restarts: int) -> None:
        """This worker serves now, None: nobody does."""
        self._before = self._sums()
        self._counts.clear()
        self._change(worker=None if pid is None else Process.of(pid), restarts=restarts)

    def counts(self, pid: int, counts: Sequence[int]) -> None:
        """What a worker has done since it began; nothing before it serves."""
        if len(counts) == len(_NOTHING) and self._counts.get(pid) != counts:
            self._counts[pid] = counts
            self._is_changed = True

    def event(self, event: str, text: str) -> None:
        """Something happened."""
        with suppress(LocalError):
            self._record.event(event, text)

    def tick(self) -> None:
        """Write what has changed, if the last time was a while ago."""
        if self._is_changed and time.monotonic() - self._written > _PAUSE:
            self._write()

    def _sums(self) -> tuple[int, ...]:
        return tuple(map(sum, zip(self._before, *self._counts.values(), strict=True)))

    def _change(self, **changes: object) -> None:
        from dataclasses import replace

        self._state = replace(self._state, **changes)  # type: ignore[arg-type]

    def _write(self) -> None:
        requests, reads, bytes_read, late, fetched = self._sums()
        more = {"requests": requests, "reads": reads, "late": late}
        self._change(bytes_read=bytes_read, bytes_fetched=fetched, more=more)
        with suppress(LocalError):
            self._record.write(self._state)
        self._is_changed = False
        self._written = time.monotonic()
