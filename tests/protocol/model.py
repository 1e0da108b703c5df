"""The model: a store with its own clock, what must always be true of it, and the rules that a negative variant takes away.

Times are hours by the store's clock. An object of a pack is named by its content (a letter) and a salt; a version needs some.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

from holdfast.collecting import Limits, PushSeen, Stored
from holdfast.formats.records import AssetRecord, CondemnedVersion, Tombstone

HOUR = 3600.0
LIMITS = Limits(push_limit=24 * HOUR, grace=48 * HOUR, undo=168 * HOUR)
LOWERED = Limits(push_limit=1 * HOUR, grace=2 * HOUR, undo=168 * HOUR)
#: Who has a wrong clock is so far ahead.
SKEW = 400 * HOUR


@dataclass(frozen=True)
class Rules:
    """The protocol, rule by rule; each is taken away once."""

    reread_lists: bool = True
    avoid_condemned_names: bool = True
    grace: bool = True
    mark_again: bool = True
    open_pushes_count: bool = True
    unlisted_are_roots: bool = True
    meta_before_data: bool = True
    root_create_only: bool = True
    repair_takes_claim_first: bool = True
    repair_reads_record_again: bool = True
    check_lateness: bool = True
    late_check_reads_lists: bool = True
    late_check_reads_claim: bool = True
    store_clock: bool = True
    stop_at_unreadable: bool = True
    match_meta_id: bool = True
    final_tombstones: bool = True
    keep_numbers: bool = True
    undo_window: bool = True

    def without(self, rule: str) -> Rules:
        """These rules but for one."""
        return replace(self, **{rule: False})


class ViolatedError(AssertionError):
    """Data was lost."""


@dataclass(frozen=True)
class Meta:
    """A version's meta. ``needs`` stands for what its root tells; a foreign one needs nothing but its own data."""

    push: str
    needs: frozenset[str] = frozenset()
    readable: bool = True


@dataclass(frozen=True)
class CondemnedList:
    """As :class:`holdfast.catalog.condemned.CondemnedList`."""

    epoch: str
    written: float
    names: frozenset[str]
    versions: tuple[CondemnedVersion, ...]
    done: bool = False


@dataclass
class World:
    """One store with one asset. Every method is one request: whole, or not at all."""

    rules: Rules = field(default_factory=Rules)
    now: float = 0.0
    limits: Limits = LIMITS
    objects: dict[str, float] = field(default_factory=dict)
    metas: dict[str, Meta] = field(default_factory=dict)
    data: dict[str, tuple[str, float]] = field(default_factory=dict)
    claims: dict[str, str] = field(default_factory=dict)
    listed: tuple[str, ...] = ()
    record: AssetRecord = field(default_factory=AssetRecord)
    changes: int = 0
    lists: dict[str, CondemnedList] = field(default_factory=dict)
    pushes: dict[str, PushSeen] = field(default_factory=dict)
    #: Whose meta came late, and who has not found out yet.
    doubtful: set[str] = field(default_factory=set)
    acknowledged: dict[str, Meta] = field(default_factory=dict)
    landed: dict[str, set[str]] = field(default_factory=dict)
    epochs: int = 0
    withdrawn: set[tuple[str, str]] = field(default_factory=set)

    # what a test lays out

    def put_version(self, version: str, push: str, *needs: str, **more: Any) -> None:
        """A version of old, with everything that it needs."""
        when = -2000 * HOUR
        for name in needs:
            self.objects.setdefault(name, when)
        self.claims[version] = push
        self.data[version] = push, when
        self.metas[version] = Meta(push, frozenset(needs), **more)
        self.landed[version] = {push}
        self.listed = (version, *self.listed)

    def put_tombstone(self, version: str, hours: float) -> None:
        """A removal so many hours ago."""
        stone = Tombstone(self.metas[version].push, text(self.now - hours * HOUR), "remover")
        self.record = AssetRecord(tombstones=self.record.tombstones | {version: stone})
        self.listed = tuple(each for each in self.listed if each != version)

    # requests

    def create_object(self, name: str) -> None:
        """A pack, create-only; that it is there already is as good."""
        self.objects.setdefault(name, self.now)

    def create_claim(self, version: str, push: str) -> bool:
        """A claim, create-only; a lost answer is settled by reading."""
        return self.claims.setdefault(version, push) == push

    def create_root(self, version: str, push: str) -> bool:
        """A root, create-only; one's own may be there already."""
        if self.rules.root_create_only and self.data.get(version, (push,))[0] != push:
            return False
        self.data[version] = push, self.now
        return True

    def create_meta(self, version: str, meta: Meta, *, late: bool) -> bool:
        """A meta, create-only."""
        if version in self.metas:
            return self.metas[version] == meta
        self.metas[version] = meta
        self.landed.setdefault(version, set()).add(meta.push)
        if late:
            self.doubtful.add(version)
        return True

    def overwrite(self, version: str, push: str) -> None:
        """Another program pushes under this number, without any condition."""
        self.data[version] = push, self.now
        self.metas[version] = Meta(push)

    def delete_meta(self, version: str) -> None:
        """Gone; only a final tombstone of just this meta allows it."""
        meta = self.metas.pop(version, None)
        stone = self.record.tombstones.get(version)
        if meta is not None and (stone is None or stone.meta != meta.push):
            raise ViolatedError(f"the meta of {version}, which nobody removed, was deleted")

    def swap_record(self, seen: int, record: AssetRecord) -> bool:
        """Compare and swap of the asset's record."""
        if seen != self.changes:
            return False
        self.record, self.changes = record, self.changes + 1
        return True

    def write_list(self, names: frozenset[str], versions: tuple[CondemnedVersion, ...]) -> None:
        """A condemned list."""
        self.epochs += 1
        epoch = f"e{self.epochs}"
        self.lists[epoch] = CondemnedList(epoch, self.now, names, versions)

    def condemned(self) -> frozenset[str]:
        """All names that were ever condemned."""
        return frozenset(name for each in self.lists.values() for name in each.names)

    def stored(self) -> list[Stored]:
        """A listing of the packs."""
        return [Stored(name, written) for name, written in sorted(self.objects.items())]

    # what must be true at any moment

    def check(self) -> None:
        """Raise if something is lost; independent of the rules that the actors follow."""
        for version, meta in self.metas.items():
            if version not in self.data and version not in self.doubtful and (version, meta.push) not in self.withdrawn:
                raise ViolatedError(f"{version} has a meta and no data")
            if self._is_gone(version, meta) or version in self.doubtful:
                continue
            if self.data[version][0] != meta.push:
                raise ViolatedError(f"the data of {version} is not its own")
            missing = sorted(meta.needs - self.objects.keys())
            if missing:
                raise ViolatedError(f"{version} needs {missing}, which is gone")
        for version, stone in self.record.tombstones.items():
            if version not in self.metas and version in self.landed and not self._is_over(version, stone):
                raise ViolatedError(f"{version} could be restored, and its meta is gone")
        for version, meta in self.acknowledged.items():
            stone = self.record.tombstones.get(version)
            if self.metas.get(version) != meta and (stone is None or stone.meta != meta.push):
                raise ViolatedError(f"{version}, which was pushed, is gone")
        for version, pushes in self.landed.items():
            if len(pushes) > 1:
                raise ViolatedError(f"the number {version} was used twice: {sorted(pushes)}")

    def _is_gone(self, version: str, meta: Meta) -> bool:
        """Whether an expired tombstone names this very meta: by time, or withdrawn by its own push."""
        stone = self.record.tombstones.get(version)
        return stone is not None and stone.meta == meta.push and self._is_over(version, stone)

    def _is_over(self, version: str, stone: Tombstone) -> bool:
        return self.now - seconds(stone.at) > self.limits.undo or (version, stone.meta) in self.withdrawn


@cache
def seconds(at: str) -> float:
    """A moment of a record as hours are counted here."""
    return datetime.fromisoformat(at).timestamp()


def text(seconds: float) -> str:
    """A moment as it stands in records."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()
