"""When somebody is told of a site: once for each change of state of a backup, mount, sync or copy, and when one is overdue. Pure.

What was observed last is remembered; a notice comes of the difference. What is well at first is no news, what is not is. Example::

    known, told = observed({}, [Observation("backup", "hourly", FAILED, "no store answers")], now=100.0)
    told[0].level                               # ERROR; the same again tells nothing, and being well again is INFO
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["FAILED", "OK", "OVERDUE", "Known", "Notice", "Observation", "Subject", "observed", "overdue"]

OK: Final = "ok"
FAILED: Final = "failed"
OVERDUE: Final = "overdue"
#: What is observed: its kind (backup, mount, sync, replica, store) and its name.
Subject = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Observation:
    """How something is: ``ok`` or ``failed``, and in words."""

    kind: str
    name: str
    state: str
    message: str = ""

    @property
    def subject(self) -> Subject:
        """What it is of."""
        return self.kind, self.name


@dataclass(frozen=True, slots=True)
class Known:
    """What is remembered of a subject: its state, since when, what was said of it, and when it was last well; 0 where never.

    Times are seconds since the epoch. ``first`` is when it was first heard of.
    """

    state: str
    since: float
    message: str = ""
    last_ok: float = 0.0
    first: float = 0.0


@dataclass(frozen=True, slots=True)
class Notice:
    """What somebody is told: ``level`` is ERROR or INFO, ``was`` the state before; ``at`` in seconds since the epoch."""

    level: str
    kind: str
    name: str
    state: str
    was: str | None
    message: str
    at: float


def observed(
    known: Mapping[Subject, Known], observations: Iterable[Observation], now: float
) -> tuple[dict[Subject, Known], list[Notice]]:
    """What is known now, and what is told because of it."""
    after, told = dict(known), []
    for each in observations:
        before = after.get(each.subject)
        after[each.subject] = _next(before, each, now)
        if _is_news(before, each.state):
            level = "INFO" if each.state == OK else "ERROR"
            was = None if before is None else before.state
            told.append(Notice(level, each.kind, each.name, each.state, was, each.message, now))
    return after, told


def _is_news(before: Known | None, state: str) -> bool:
    return state != OK if before is None else state != before.state


def _next(before: Known | None, seen: Observation, now: float) -> Known:
    last_ok = now if seen.state == OK else before.last_ok if before is not None else 0.0
    if before is not None and before.state == seen.state:
        return replace(before, message=seen.message, last_ok=last_ok)
    return Known(seen.state, now, seen.message, last_ok, first=now if before is None else before.first)


def overdue(known: Mapping[Subject, Known], patience: Mapping[Subject, float], now: float) -> list[Observation]:
    """What has not been well for longer than it may take; ``patience`` in seconds. One that failed was told of already."""
    found = []
    for subject, seconds in patience.items():
        state = known.get(subject)
        if state is None or state.state == FAILED:
            continue
        since = state.last_ok or state.first
        if now - since > seconds:
            found.append(Observation(*subject, OVERDUE, f"nothing was heard of it for {_span(now - since)}"))
    return found


def _span(seconds: float) -> str:
    hours, minutes = divmod(int(seconds) // 60, 60)
    return f"{hours} h" if hours >= 3 else f"{hours * 60 + minutes} min"
