"""What a collector may condemn and delete, and which versions a prune removes: decided from what was read. Pure (design §3).

The rules, each of which the simulator under ``tests/protocol`` takes away once, to see data lost:

* A meta is a root unless its tombstone is *final* and names just this meta; a tombstone becomes final by a swap once the undo
  window is over, so that no restore can come in between.
* What is younger than the oldest open push, or than the limit of pushes and a tenth, is not condemned.
* A list is dealt with once it is older than the grace and no push lives that began before it was written, and only against
  a mark that began after that; what is needed again stays.
* A version's meta goes before its data.

Times are seconds since the epoch by the store's clock, lengths of time are seconds; names of packs and pages objects are hex.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from holdfast.formats.records import CondemnedVersion, changed, moment

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from holdfast.formats.records import AssetRecord, Tombstone

__all__ = [
    "Limits",
    "PushSeen",
    "Stored",
    "VersionSeen",
    "age_limit",
    "due_at",
    "finalized",
    "garbage",
    "is_alive",
    "is_ended",
    "is_left_over",
    "is_root",
    "may_delete",
    "old_data",
    "plan_prune",
    "removed",
    "survivors",
]

#: A push counts as alive for its limit and this much more (FORMAT.md §6).
_SLACK: Final = 1.1


@dataclass(frozen=True, slots=True)
class Limits:
    """The store's limits."""

    push_limit: float = 86400.0
    grace: float = 172800.0
    undo: float = 604800.0


@dataclass(frozen=True, slots=True)
class PushSeen:
    """The record of a push: when it was written, and by its own clock how long the push was under way then."""

    id: str
    name: str
    who: str
    written: float
    running: float
    limit: float
    closed: bool

    @property
    def began(self) -> float:
        """When the push began, by the store's clock: only a difference was taken from the other one."""
        return self.written - self.running


@dataclass(frozen=True, slots=True)
class VersionSeen:
    """A version that has a meta: the meta's id, and how its bytes lie in the store."""

    name: str
    version: str
    meta: str
    layout: str

    @property
    def spec(self) -> str:
        """Its name for people."""
        return f"{self.name}:{self.version}"


@dataclass(frozen=True, slots=True)
class Stored:
    """A pack or pages object that is there: its name, when it was written, and its bytes."""

    name: str
    written: float
    size: int = 0


# roots


def finalized(record: AssetRecord, now: float, limits: Limits, subject: str) -> AssetRecord:
    """The asset's record with every tombstone final whose undo window is over.

    Raises:
        IntegrityError: a tombstone's date is none.
    """

    def last(tombstone: Tombstone) -> Tombstone:
        over = now - moment(tombstone.at, subject).timestamp() > limits.undo
        return changed(tombstone, final=True) if over and not tombstone.final else tombstone

    return changed(record, tombstones={version: last(each) for version, each in record.tombstones.items()})


def is_root(meta: str, tombstone: Tombstone | None) -> bool:
    """Whether the version with this meta keeps what it needs: there is no tombstone, it is not final, or names another meta."""
    return tombstone is None or not tombstone.final or tombstone.meta != meta


def is_alive(push: PushSeen, now: float, limits: Limits) -> bool:
    """Whether the push may still be under way: by its own limit or the store's, whichever is larger, and a little more."""
    return not push.closed and now <= push.written + _SLACK * max(push.limit, limits.push_limit)


def is_ended(push: PushSeen, now: float, limits: Limits) -> bool:
    """Whether a push is over for so long that nobody asks for its record any more."""
    return not is_alive(push, now, limits) and now - push.written > limits.grace


# condemning


def is_left_over(push: PushSeen | None, written: float, now: float, limits: Limits) -> bool:
    """Whether what a push staged at this moment is nobody's any more; ``push`` is None where its record is gone.

    No version refers to what is staged: it is a copy's source for as long as its push is under way, and nothing else.
    """
    return now - written > limits.grace and (push is None or is_ended(push, now, limits))


def age_limit(now: float, limits: Limits, pushes: Iterable[PushSeen]) -> float:
    """What was written from this moment on is not condemned: a push that is not seen in any meta yet may have written it."""
    return min([now - _SLACK * limits.push_limit, *(push.began for push in pushes if is_alive(push, now, limits))])


def garbage(objects: Iterable[Stored], live: Collection[str], pending: Collection[str], limit: float) -> list[Stored]:
    """The objects to condemn: needed by no root, old enough, and on no list that is yet to be dealt with."""
    return [each for each in objects if each.written < limit and each.name not in live and each.name not in pending]


def removed(
    versions: Iterable[VersionSeen],
    tombstones: Mapping[tuple[str, str], Tombstone],
    pending: Collection[CondemnedVersion],
) -> list[CondemnedVersion]:
    """The versions to condemn: those that are no roots, and on no list that is yet to be dealt with."""
    found = [
        CondemnedVersion(each.name, each.version, each.meta, each.layout)
        for each in versions
        if not is_root(each.meta, tombstones.get((each.name, each.version)))
    ]
    return [each for each in found if each not in pending]


# deleting


def due_at(written: float, limits: Limits, pushes: Iterable[PushSeen], now: float) -> float:
    """When a list of this age may be dealt with: after the grace, and when every push that began before it has ended.

    The second holds where the store's limits were lowered while a push was under way, which goes by those that it began with.
    """
    ends = [
        push.written + _SLACK * max(push.limit, limits.push_limit)
        for push in pushes
        if is_alive(push, now, limits) and push.began <= written
    ]
    return max([written + limits.grace, *ends])


def survivors(names: Collection[str], live: Collection[str]) -> frozenset[str]:
    """The names on a list that the second mark met: they stay, and may be condemned anew once nobody needs them."""
    return frozenset(name for name in names if name in live)


def may_delete(condemned: CondemnedVersion, meta: str | None, tombstone: Tombstone | None) -> bool:
    """Whether the objects of a condemned version may go: the tombstone is final and names it, and nobody pushed anew.

    ``meta`` is the id of the meta that is there now, None where it went before.
    """
    if tombstone is None or not tombstone.final or tombstone.meta != condemned.meta:
        return False
    return meta in (None, condemned.meta)


def old_data(objects: Iterable[Stored], written: float) -> list[str]:
    """The keys below a condemned version that may go: what was written after the list is another program's new push."""
    return [each.name for each in objects if each.written < written]


# pruning


def plan_prune(
    versions: Sequence[str],
    pushed: Mapping[str, float],
    protected: Collection[str],
    now: float,
    *,
    keep_last: int | None,
    keep_within: float | None,
) -> list[str]:
    """The versions to remove, of those listed newest first: each that no rule keeps and no alias or hold names.

    Args:
        versions: the listed versions, newest first.
        pushed: when each was pushed; one that is missing here is kept.
        protected: versions that an alias or a hold names.
        now: the time by the store's clock.
        keep_last: so many of the newest are kept; None: this keeps none.
        keep_within: those pushed within so many seconds are kept; None: this keeps none.
    """
    newest = set(versions[: keep_last or 0])
    since = now if keep_within is None else now - keep_within
    young = {version for version, when in pushed.items() if keep_within is not None and when >= since}
    kept = newest | young | set(protected)
    return [version for version in versions if version not in kept and version in pushed]
