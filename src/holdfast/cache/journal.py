"""The journal of pushes: what a killed push had claimed, so that the same push, run again, goes on under its own claim.

One small file a push, named by what makes two pushes the same. Its owner holds an exclusive ``flock`` on it while it lives; a
second, equal push that runs at the same time does not get the lock and simply is another push. Without locks, or room
on the disk, there is no journal, and a killed push costs a number: correctness never rests on this.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from holdfast.cache.work import lock_now
from holdfast.model.digest import digest_of

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

__all__ = ["Journal", "JournalEntry"]


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """The push's id, when it began, and the number it was about to claim."""

    push: str
    started: datetime
    version: str


class Journal:
    """The journal's file of one push; use as a context manager around it."""

    def __init__(self, directory: Path, *identity: str) -> None:
        self._path = directory / (digest_of("\0".join(identity).encode(errors="surrogateescape"))[:40] + ".json")
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:
            return self
        try:
            lock_now(descriptor)
        except OSError:
            os.close(descriptor)
        else:
            self._descriptor = descriptor
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def read(self) -> JournalEntry | None:
        """What a killed run of this push left, or None."""
        if self._descriptor is None:
            return None
        try:
            value = json.loads(os.pread(self._descriptor, 65536, 0))
            return JournalEntry(value["push"], datetime.fromisoformat(value["started"]), value["version"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, entry: JournalEntry) -> None:
        """Note, durably, what is about to be claimed; on a disk that is full a push does without."""
        if self._descriptor is None:
            return
        value = {"push": entry.push, "started": entry.started.isoformat(), "version": entry.version}
        with suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, json.dumps(value).encode(), 0)
            os.fsync(self._descriptor)

    def done(self) -> None:
        """The push has ended; there is nothing to go on with."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)  # who opened it before it goes reads nothing
            self._path.unlink(missing_ok=True)
