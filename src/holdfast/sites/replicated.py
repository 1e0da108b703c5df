"""What a run that copies a bucket is told, what it has done so far, and what it tells at its end: values, and a count for many threads."""

from __future__ import annotations

import errno
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from holdfast.errors import LocalError
from holdfast.sites.values import MaxDelete

if TYPE_CHECKING:
    from holdfast.errors import HoldfastError
    from holdfast.formats.copies import PairsRecord

__all__ = ["Count", "Failed", "Orders", "Replicated", "lag_of"]

#: After so many failures there is something wrong with more than single objects.
_PATIENCE: Final = 100


@dataclass(frozen=True, slots=True)
class Orders:
    """How it is done: what a deletion is, how many are believed or all undone, how long the copy keeps them, in seconds."""

    two_way: bool = False
    limit: MaxDelete = field(default_factory=MaxDelete)
    keep_deleted: float = 30 * 86400.0
    allow_deletes: bool = False
    undo_deletes: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """A key that could not be dealt with, and why."""

    key: str
    message: str


@dataclass(frozen=True, slots=True)
class Replicated:
    """One bucket and one copy: how many objects went to the copy, came back from it, were removed there or here; and what is left.

    ``state`` is ``whole``, ``partly`` (some failed or were being written) or ``stopped`` (deletions are withheld, ``reasons`` say why).
    ``kept`` were put aside, ``expired`` thrown away. ``lag`` are the seconds since both sides were last equal, None where never.
    ``problem`` is the kind of error for which a store could not be used; the state is ``failed`` then.
    """

    bucket: str
    copy: str
    state: str
    objects: int
    sent: int = 0
    brought: int = 0
    removed: int = 0
    kept: int = 0
    compared: int = 0
    moving: int = 0
    withheld: int = 0
    expired: int = 0
    bytes: int = 0
    reasons: tuple[str, ...] = ()
    failed: tuple[Failed, ...] = ()
    lag: float | None = None
    seconds: float = 0.0
    problem: str | None = None


def lag_of(record: PairsRecord | None, now: float) -> float | None:
    """Seconds since both sides were last known to be equal."""
    return None if record is None or not record.whole else max(0.0, now - record.whole)


class Count:
    """What was done so far, by all threads."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        self.failed: list[Failed] = []
        self._lock = threading.Lock()

    def add(self, what: str, amount: int = 1) -> None:
        """So many more."""
        with self._lock:
            self.done[what] += amount

    def fail(self, key: str, error: HoldfastError) -> bool:
        """One that failed; whether there are so many that the others would fail too."""
        with self._lock:
            self.failed.append(Failed(key, error.message))
            return len(self.failed) >= _PATIENCE or _is_full(error)

    @property
    def pending(self) -> int:
        """Keys that the next run has to deal with again."""
        return len(self.failed) + self.done["moving"]


def _is_full(error: HoldfastError) -> bool:
    """Whether the next object would fail as well: the disk, not the name, is at fault."""
    cause = error.__cause__
    full = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
    return isinstance(error, LocalError) and isinstance(cause, OSError) and cause.errno in full
