"""Which store a mount of a bucket should show: the bucket itself, or a copy while that does not answer. Pure, on what was last known.

Nobody is asked here and nothing is waited for: a mount takes the choice as it stands. The bucket is left only once it has failed for a
while, and come back to only once it has been well for a while and has what was written to the copy. A copy that was never whole shows
less than there is, and is never chosen; one that no web server writes to is shown read-only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FIRST", "Choice", "Health", "choose", "is_to_move", "noted"]

#: The bucket itself; copies are numbered from 1 on, in the order of the settings.
FIRST: Final = 0


@dataclass(frozen=True, slots=True)
class Health:
    """How a place is: whether it answers and since when, in seconds since the epoch; of a copy whether it ever was whole.

    ``two_way``: web servers write there. ``behind``: it holds what the bucket has not got back yet.
    """

    ok: bool
    since: float
    whole: bool = True
    two_way: bool = False
    behind: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """The place to show, whether nothing may be written there, and why."""

    place: int
    read_only: bool
    why: str


def noted(before: Health | None, after: Health) -> Health:
    """What is known after another look: ``since`` stays while it is as it was."""
    if before is None or before.ok != after.ok:
        return after
    return Health(after.ok, min(before.since, after.since), after.whole, after.two_way, after.behind)


def choose(
    current: int, health: Sequence[Health], now: float, *, failover_after: float, failback_after: float
) -> Choice:
    """Where to show a bucket that is shown at ``current``; the first of ``health`` is the bucket's, the others the copies'."""
    first = health[FIRST]
    if current == FIRST or current >= len(health):
        if first.ok or now - first.since < failover_after:
            return Choice(
                FIRST, read_only=False, why="the bucket answers" if first.ok else "the bucket fails, not for long yet"
            )
        return _copy(health) or Choice(
            FIRST, read_only=False, why="the bucket fails, and so does every copy that was whole"
        )
    if first.ok and now - first.since >= failback_after and not health[current].behind:
        return Choice(FIRST, read_only=False, why="the bucket is well again")
    if health[current].ok:
        why = (
            "the bucket lacks what was written to the copy"
            if first.ok and health[current].behind
            else "the bucket fails"
        )
        return Choice(current, read_only=not health[current].two_way, why=why)
    if first.ok:
        return Choice(FIRST, read_only=False, why="the copy fails, and the bucket answers")
    return _copy(health) or Choice(current, read_only=not health[current].two_way, why="no place answers")


def is_to_move(shown: int | None, wanted: int, *, stands: bool) -> bool:
    """Whether a mount goes over to the place that is wanted: never one of the bucket that stands, nor what this server does not mount."""
    return shown is not None and shown != wanted and not (shown == FIRST and stands)


def _copy(health: Sequence[Health]) -> Choice | None:
    for place, each in enumerate(health):
        if place != FIRST and each.ok and each.whole:
            return Choice(place, read_only=not each.two_way, why="the bucket fails")
    return None
