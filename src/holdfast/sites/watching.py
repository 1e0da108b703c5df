"""Syncs again and again: how soon the next look comes, what stops it, and what is only told.

Rhythm: the heads of the others are asked for every ``interval`` seconds, and less often once nothing happened for ten minutes; the disk is
looked at when the kernel hints at a change, and every minute in any case. Without hints it is looked at with each question, but for no more
than a tenth of the time.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from holdfast.errors import AccessError, BucketNotFoundError, LocalError, UnreachableError
from holdfast.sites.webroot import QUIET

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.sites.hints import Hints
    from holdfast.sites.sync import Report, Syncer

__all__ = ["Rhythm", "once", "rehearse", "watch"]

#: Seconds between two questions to the store.
INTERVAL: Final = 0.5
#: After so many quiet seconds questions become rarer, down to one in so many intervals.
_PATIENCE: Final = 600.0
_SLOWEST: Final = 10.0
#: The disk is looked at at least so often.
_LOOK: Final = 60.0
#: How long a failure is waited out, at most.
_LONGEST: Final = 30.0
#: Without hints, a look may take this share of the time.
_SHARE: Final = 0.1
_ROUNDS: Final = 40


@dataclass(slots=True)
class Rhythm:
    """When what is next; pure but for the seconds that it is given, of a clock that nobody sets."""

    interval: float = INTERVAL
    hinted: bool = True
    active: float = 0.0
    looked: float = 0.0
    took: float = 0.0
    failures: int = 0

    def pause(self, now: float) -> float:
        """Seconds until the store is asked next."""
        if self.failures:
            return min(_LONGEST, self.interval * 2.0 ** min(self.failures, 10))
        quiet = now - self.active - _PATIENCE
        return self.interval if quiet <= 0 else min(_SLOWEST * self.interval, self.interval * (1 + quiet / 60))

    def looks(self, now: float) -> bool:
        """Whether the disk is to be looked at without a hint."""
        since = now - self.looked
        return since >= _LOOK or (not self.hinted and since >= self.took / _SHARE)


def once(syncer: Syncer, *, accept_deletes: bool = False) -> Report:
    """Sync until nothing is left to do here; files that are still being written are waited for, a little."""
    total = syncer.cycle(accept_deletes=accept_deletes)
    report = total
    for _ in range(_ROUNDS):
        if report.is_quiet:
            break
        time.sleep(QUIET if report.unsettled else 0)
        report = syncer.cycle(accept_deletes=accept_deletes)
        total.published += report.published
        total.laid += report.laid
        total.kept += report.kept
        total.deleted += report.deleted
        total.held, total.skipped, total.wrong, total.behind = report.held, report.skipped, report.wrong, report.behind
    total.unsettled = report.unsettled
    return total


def rehearse(syncer: Syncer, *, accept_deletes: bool = False) -> Report:
    """What :func:`once` would do; files that are still being written are waited for, a little."""
    report = syncer.rehearse(accept_deletes=accept_deletes)
    for _ in range(_ROUNDS):
        if not report.unsettled:
            break
        time.sleep(QUIET)
        report = syncer.rehearse(accept_deletes=accept_deletes)
    return report


def watch(
    syncer: Syncer, hints: Hints, rhythm: Rhythm, is_over: Callable[[], bool], told: Callable[[str], None]
) -> None:
    """Sync until ``is_over``; what can pass (a store that is away, a full disk) is told once, and tried again.

    Raises:
        ConflictError: another server has this one's name.
        UsageError: the settings cannot be.
    """
    watching = _Watching(syncer, hints, rhythm, told)
    while not is_over():
        watching.step()


class _Watching:
    """One run of :func:`watch`."""

    def __init__(self, syncer: Syncer, hints: Hints, rhythm: Rhythm, told: Callable[[str], None]) -> None:
        self._syncer = syncer
        self._hints = hints
        self._rhythm = rhythm
        self._told = told
        self._trouble: frozenset[str] = frozenset()
        self._again = True
        rhythm.active = syncer.repository.clock.since_boot()

    def step(self) -> None:
        """One question, and the wait after it."""
        clock, rhythm = self._syncer.repository.clock, self._rhythm
        began = clock.since_boot()
        look = self._again or rhythm.looks(began)
        try:
            report = self._syncer.cycle(look=look)
        except (UnreachableError, AccessError, BucketNotFoundError, LocalError) as error:
            rhythm.failures += 1
            self._again = True
            self._tell({f"{error.message}: it is tried again"})
        else:
            rhythm.failures = 0
            self._note(report, look, began)
        self._wait()

    def _note(self, report: Report, look: bool, began: float) -> None:
        now, rhythm = self._syncer.repository.clock.since_boot(), self._rhythm
        if look:
            rhythm.looked, rhythm.took = now, now - began
        if not report.is_quiet:
            rhythm.active = now
        self._again = report.unsettled
        self._hints.watch(self._syncer.folders)
        rhythm.hinted = self._hints.work
        held = (
            {f"{len(report.held)} deletions are held back: asset site sync --accept-deletes"} if report.held else set()
        )
        skipped = {f"not synced: {path}: {why}" for path, why in report.skipped.items()}
        self._tell(held | skipped | {f"{what}: {why}" for what, why in (report.wrong | report.behind).items()})

    def _tell(self, trouble: set[str]) -> None:
        for sentence in sorted(trouble - self._trouble):
            self._told(sentence)
        self._trouble = frozenset(trouble)

    def _wait(self) -> None:
        pause = self._rhythm.pause(self._syncer.repository.clock.since_boot())
        if self._hints.wait(QUIET if self._again and not self._rhythm.failures else pause):
            self._again = True
            time.sleep(QUIET)  # what was just written is not looked at before
