"""What is to be done so that a bucket of media and its copy elsewhere hold the same: pure, from two listings and what was remembered.

A *pair* is an object that had the same bytes on both sides when it was last looked at. What has no pair was never on both sides, so it
is new and goes over; only what has one can have been deleted, and only while the other side still has just what the pair says. Deletions
go from the first store to the copy, and the other way only where web servers write to both: what a copy alone has lost is put back.
Before anything is overwritten or deleted, the copy keeps it. Example::

    plan = planned(pairs, first, copy, two_way=False, limit=MaxDelete())
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from holdfast.sites.values import MaxDelete

__all__ = ["Action", "Pair", "Plan", "Seen", "Side", "Work", "decide", "expired", "newer", "planned", "proves_equal"]

#: A tag that is an MD5 of the bytes; of others nothing is known but that they change with the bytes.
_MD5: Final = re.compile(r"[0-9a-f]{32}\Z")
#: A listing tells fractions of a second that a single look does not.
_SAME_SECOND: Final = 1.0
#: More deletions than a handful are withheld, however few, where they are most of what there was, in per cent.
_HANDFUL: Final = 5
_MOST: Final = 50.0


class Side(Enum):
    """The two stores: the first, which web servers mount, and the copy."""

    FIRST = "first"
    COPY = "copy"

    @property
    def other(self) -> Side:
        """The other one."""
        return Side.COPY if self is Side.FIRST else Side.FIRST


class Work(Enum):
    """What is done with a key: bytes go to a side, are compared, leave a side, or only the memory of them changes."""

    SEND = "send"
    COMPARE = "compare"
    REMOVE = "remove"
    REMEMBER = "remember"
    FORGET = "forget"


@dataclass(frozen=True, slots=True)
class Seen:
    """An object as a store tells it: its tag, size in bytes, and when it was modified, in seconds by the store's clock.

    The answer to a write does not tell when by that clock: it is 0 then, until the next listing does.
    """

    tag: str
    size: int
    modified: float

    def has_bytes_of(self, other: Seen) -> bool:
        """Whether the same store still has the same bytes."""
        return (self.tag, self.size) == (other.tag, other.size)

    def is_still(self, other: Seen) -> bool:
        """Whether nobody wrote it since, not even the same bytes."""
        return self.has_bytes_of(other) and (not other.modified or abs(self.modified - other.modified) < _SAME_SECOND)


@dataclass(frozen=True, slots=True)
class Pair:
    """The same bytes on both sides."""

    first: Seen
    copy: Seen


@dataclass(frozen=True, slots=True)
class Action:
    """One key's work: ``side`` is where bytes go or leave; ``first`` and ``copy`` are what the listings told."""

    work: Work
    key: str
    side: Side = Side.COPY
    first: Seen | None = None
    copy: Seen | None = None

    def at(self, side: Side) -> Seen | None:
        """What is there."""
        return self.first if side is Side.FIRST else self.copy


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done, what is not done and why, and how much: ``bytes`` is what goes over, ``known`` how many pairs there were."""

    actions: tuple[Action, ...]
    withheld: tuple[Action, ...]
    reasons: tuple[str, ...]
    known: int
    bytes: int


def decide(key: str, pair: Pair | None, first: Seen | None, copy: Seen | None, *, two_way: bool) -> Action | None:
    """What one key needs; None where both sides are as they were remembered."""
    if first is not None and copy is not None:
        return _both(key, pair, first, copy)
    if first is None and copy is None:
        return None if pair is None else Action(Work.FORGET, key)
    if first is not None:
        deleted = two_way and pair is not None and first.is_still(pair.first)
        return Action(Work.REMOVE, key, Side.FIRST, first) if deleted else Action(Work.SEND, key, Side.COPY, first)
    assert copy is not None  # noqa: S101 - one of them is there
    if pair is not None and copy.is_still(pair.copy):
        return Action(Work.REMOVE, key, Side.COPY, copy=copy)
    return Action(Work.SEND, key, Side.FIRST, copy=copy)


def _both(key: str, pair: Pair | None, first: Seen, copy: Seen) -> Action | None:
    if pair is None:
        work = Work.REMEMBER if proves_equal(first, copy) else Work.COMPARE
        return Action(work, key, Side.COPY, first, copy)
    same_first, same_copy = first.has_bytes_of(pair.first), copy.has_bytes_of(pair.copy)
    if same_first and same_copy:
        told = pair.first.modified and pair.copy.modified
        still = first.is_still(pair.first) and copy.is_still(pair.copy)
        return None if told and still else Action(Work.REMEMBER, key, Side.COPY, first, copy)
    if not same_first and not same_copy:
        work = Work.REMEMBER if proves_equal(first, copy) else Work.COMPARE
        return Action(work, key, Side.COPY, first, copy)
    return Action(Work.SEND, key, Side.FIRST if same_first else Side.COPY, first, copy)


def proves_equal(first: Seen, copy: Seen) -> bool:
    """Whether what the stores tell is proof of the same bytes; it hardly ever is between providers."""
    return first.size == copy.size and first.tag == copy.tag and _MD5.match(first.tag) is not None


def newer(first: Seen, copy: Seen) -> Side:
    """Which of two different objects under one key wins: the later one; at the same second the first store's."""
    return Side.COPY if copy.modified - first.modified >= _SAME_SECOND else Side.FIRST


def planned(
    pairs: Mapping[str, Pair],
    first: Mapping[str, Seen],
    copy: Mapping[str, Seen],
    *,
    two_way: bool,
    limit: MaxDelete,
    allow_deletes: bool = False,
    undo_deletes: bool = False,
) -> Plan:
    """Everything to do. Deletions are withheld where a side shows nothing at all, or where they are too many and not allowed.

    With ``undo_deletes`` what would be deleted on one side goes back to the other instead.
    """
    keys = sorted({*pairs, *first, *copy})
    decided = [
        action
        for key in keys
        if (action := decide(key, pairs.get(key), first.get(key), copy.get(key), two_way=two_way)) is not None
    ]
    if undo_deletes:
        decided = [_undone(each) if each.work is Work.REMOVE else each for each in decided]
    reasons = {
        side: reason
        for side, source in ((Side.COPY, first), (Side.FIRST, copy))
        if (reason := _why_not(side, decided, len(pairs), len(source), limit, allow=allow_deletes)) is not None
    }
    kept = tuple(each for each in decided if each.work is Work.REMOVE and each.side in reasons)
    actions = tuple(each for each in decided if not (each.work is Work.REMOVE and each.side in reasons))
    return Plan(actions, kept, tuple(reasons.values()), len(pairs), sum(map(_weight, actions)))


def _undone(action: Action) -> Action:
    """What brings back, to the side that lost it, what was to be removed from the other."""
    return Action(Work.SEND, action.key, action.side.other, action.first, action.copy)


def _why_not(
    side: Side, decided: Iterable[Action], known: int, shown: int, limit: MaxDelete, *, allow: bool
) -> str | None:
    """Why no deletion is carried out on a side; None where all are."""
    count = sum(each.work is Work.REMOVE and each.side is side for each in decided)
    where = "the first store" if side is Side.COPY else "the copy"
    if count and not shown:
        return f"{where} shows no object at all: none of {count} is deleted because of that"
    share = 100.0 * count / max(known, 1)
    said = f"{count} of {known} objects were deleted in {where}"
    if allow:
        return None
    if count > limit.objects and share > limit.percent:
        return f"{said}, more than {limit.percent:g} % and {limit.objects}"
    if count > _HANDFUL and share > max(limit.percent, _MOST):
        return f"{said}, which is most of them"
    return None


def _weight(action: Action) -> int:
    if action.work is Work.SEND:
        source = action.at(action.side.other)
        return 0 if source is None else source.size
    return 0


def expired(kept: Iterable[tuple[str, float]], now: float, seconds: float) -> list[str]:
    """The keys of what a copy need keep no longer: kept for so long, by the clock of the store, which ``now`` is of too."""
    return [key for key, since in kept if now - since > seconds]
