"""What a collector reads before it decides: limits, pushes, lists, metas and what they need, and the objects that are there.

Every meta counts, listed or not: names are found by the lists, by the claims (which every version of ours has, for ever) and by
the records of assets. Whatever cannot be read is an error: nothing may be deleted on the word of half a survey (design §3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from holdfast import collecting
from holdfast.catalog.condemned import read_lists
from holdfast.collecting import Limits, PushSeen, Stored, VersionSeen
from holdfast.errors import IntegrityError, ObjectNotFoundError, VersionNotFoundError
from holdfast.failpoint import reach
from holdfast.formats import layout as keys
from holdfast.formats.records import PushRecord, decode, moment
from holdfast.freshness import needs_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.catalog.base import Catalog
    from holdfast.catalog.condemned import CondemnedList
    from holdfast.formats.records import AssetRecord, Tombstone
    from holdfast.store.base import ObjectInfo, Store
    from holdfast.transfer.engine import Engine

__all__ = ["Survey", "Surveyor"]

#: So many versions are read at a time: the names that they need are many, and most are the same from version to version.
_BATCH: Final = 256


@dataclass(frozen=True)
class Survey:
    """A store at one moment, ``now`` by its clock, taken before anything else was read.

    ``live`` are the names that roots need; ``versions`` all that have a meta; ``needed_by`` the specs of the roots that need
    the one object that was asked about.
    """

    now: float
    limits: Limits
    pushes: list[PushSeen]
    lists: list[CondemnedList]
    tombstones: dict[tuple[str, str], Tombstone]
    versions: list[VersionSeen]
    live: frozenset[str]
    packs: list[Stored]
    pages: list[Stored]
    finalized: tuple[str, ...]
    needed_by: tuple[str, ...] = ()

    @property
    def pending(self) -> list[CondemnedList]:
        """The lists that are not dealt with yet."""
        return [each for each in self.lists if not each.done]

    def due_at(self, each: CondemnedList) -> float:
        """When this list may be dealt with."""
        return collecting.due_at(each.written, self.limits, self.pushes, self.now)


class Surveyor:
    """Reads a store through its catalog, many requests at a time."""

    def __init__(self, store: Store, catalog: Catalog, engine: Engine) -> None:
        self._store = store
        self._catalog = catalog
        self._run = engine.run

    def survey(self, *, dry_run: bool = False, about: str | None = None) -> Survey:
        """Read everything; tombstones whose undo window is over are made final on the way, unless ``dry_run``.

        Args:
            dry_run: change nothing, and judge as if it had been done.
            about: a name of a pack or pages object; who needs it is told.

        Raises:
            IntegrityError: something cannot be read; nothing may be deleted.
        """
        record = self._catalog.store_record()
        limits = Limits(record.push_limit, record.grace, record.undo) if record else Limits()
        now = self._catalog.store_now().timestamp()
        pushes, lists = self._pushes(), self.lists()
        names = self._names()
        found = list(self._run(lambda name: self._final(name, now, limits, dry_run=dry_run), names))
        tombstones = {
            (n, v): t for n, (record, _) in zip(names, found, strict=True) for v, t in record.tombstones.items()
        }
        reach("collect.final")
        versions, live, needed_by = self._mark(names, tombstones, about)
        reach("collect.marked")
        return Survey(
            now=now,
            limits=limits,
            pushes=pushes,
            lists=lists,
            tombstones=tombstones,
            versions=versions,
            live=live,
            packs=list(self._stored(keys.PACKS)),
            pages=list(self._stored(keys.PAGES)),
            finalized=tuple(spec for _, specs in found for spec in specs),
            needed_by=needed_by,
        )

    def lists(self) -> list[CondemnedList]:
        """The condemned lists, the oldest first."""
        return read_lists(self._store, self._run)

    def _pushes(self) -> list[PushSeen]:
        """The records of pushes that are there."""
        found = self._run(self._push, self._store.list_level(keys.PUSHES).objects)
        return [each for each in found if each is not None]

    def _push(self, info: ObjectInfo) -> PushSeen | None:
        try:
            found = self._store.get(info.key)
        except ObjectNotFoundError:  # another collector swept it
            return None
        record = decode(memoryview(found.data), PushRecord, info.key)
        running = (moment(record.renewed, info.key) - moment(record.started, info.key)).total_seconds()
        closed = record.closed is not None
        limit = float(record.limit or 0)
        return PushSeen(record.id, record.name, record.who, found.info.modified, max(0.0, running), limit, closed)

    def _names(self) -> list[str]:
        """Every asset that has a list, a claim or a record."""
        claimed = self._store.list_level(keys.claims_prefix("")).prefixes
        recorded = [info.key for info in self._store.list_level(keys.ASSETS).objects]
        own = {keys.decode_name(key.rpartition("/")[2]) for key in (*claimed, *recorded)}
        return sorted(own.union(self._catalog.names(self._run)))

    def _final(self, name: str, now: float, limits: Limits, *, dry_run: bool) -> tuple[AssetRecord, list[str]]:
        """The asset's record with what is final, and the versions that were made so now."""
        key = keys.asset_key(name)
        before = self._catalog.record(name)
        after = collecting.finalized(before, now, limits, key)
        if after == before:
            return before, []
        fresh = [f"{name}:{v}" for v, t in after.tombstones.items() if t != before.tombstones[v]]
        if dry_run:
            return after, fresh
        return self._catalog.change_record(name, lambda it: collecting.finalized(it, now, limits, key)), fresh

    def _mark(
        self, names: list[str], tombstones: dict[tuple[str, str], Tombstone], about: str | None
    ) -> tuple[list[VersionSeen], frozenset[str], tuple[str, ...]]:
        metas = self._run(lambda name: self._candidates(name, tombstones), names)
        todo = [pair for found in metas for pair in found]
        versions: list[VersionSeen] = []
        live: set[str] = set()
        needed_by: list[str] = []
        for start in range(0, len(todo), _BATCH):
            batch = todo[start : start + _BATCH]
            for seen, needs in self._run(lambda pair: self._version(*pair, tombstones.get(pair)), batch):
                if seen is not None:
                    versions.append(seen)
                    live.update(needs)
                    needed_by += [seen.spec] if about in needs else []
        return versions, frozenset(live), tuple(needed_by)

    def _candidates(self, name: str, tombstones: dict[tuple[str, str], Tombstone]) -> list[tuple[str, str]]:
        """Whatever may have a meta: what a listing shows, what is listed, and every number that was claimed and is not removed.

        A listing that misses one name while another collector deletes in that directory must not cost a version.
        """
        taken, listed = self._catalog.taken(name), self._catalog.listed(name)
        claimed = {version for version in taken.claims if not _is_final(tombstones.get((name, version)))}
        return [(name, version) for version in sorted({*taken.metas, *listed.versions, *claimed})]

    def _version(
        self, name: str, version: str, tombstone: Tombstone | None
    ) -> tuple[VersionSeen | None, frozenset[str]]:
        """The version and the names that it needs: none where it is no root, or holds its bytes under its own keys."""
        try:
            published = self._catalog.published(name, version)
        except VersionNotFoundError:  # another collector was faster
            return None, frozenset()
        except IntegrityError as error:
            hint = "nothing is collected while a version cannot be read: a later release may read it"
            raise IntegrityError(error.message, subject=error.subject, hint=hint) from error
        seen = VersionSeen(name, version, published.id, published.meta.layout)
        if published.meta.layout != "packs" or not collecting.is_root(published.id, tombstone):
            return seen, frozenset()
        packs, pages = needs_of(self._store, name, version, published.meta)
        return seen, frozenset((*packs, *pages))

    def _stored(self, prefix: str) -> Iterator[Stored]:
        for info in self._store.list(prefix):
            yield Stored(info.key.rpartition("/")[2], info.modified, info.size)


def _is_final(tombstone: Tombstone | None) -> bool:
    return tombstone is not None and tombstone.final
