"""Collecting: deletes what no version needs any more, in the order of design §3; every rule is :mod:`holdfast.collecting`'s.

One run does what is due. It makes tombstones final whose undo window is over, marks what the roots need, deletes what lists
older than the grace have condemned and the mark has not met, and condemns what is garbage now. Everything is read before
anything is deleted, so that whatever cannot be read stops the run in time. It can be killed anywhere and run by several at once.

Example::

    collected = Collector(holdfast.open("s3://bucket/prefix")).run(dry_run=True)
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from holdfast import collecting
from holdfast.catalog.base import beside_the_bucket
from holdfast.collecting import Stored
from holdfast.errors import NotFoundError, ObjectNotFoundError, UsageError, VersionNotFoundError
from holdfast.failpoint import reach
from holdfast.formats import layout as keys
from holdfast.formats.records import CondemnedRecord, DoneRecord, encode, join_names, stamp
from holdfast.marking import Surveyor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.catalog.condemned import CondemnedList
    from holdfast.formats.records import CondemnedVersion
    from holdfast.marking import Survey
    from holdfast.repository import Repository

__all__ = ["Amount", "Collected", "Collector", "Explained", "Waiting"]

_FORMAT: Final = 1
#: So many names stand in one list: it must be written by one request.
_LONGEST_LIST: Final = 250_000
#: A name is given by so many of its hex digits at least.
_LEAST_DIGITS: Final = 6


@dataclass(frozen=True, slots=True)
class Amount:
    """What was, or would be, condemned or deleted; ``bytes`` of packs and pages objects."""

    versions: tuple[str, ...] = ()
    packs: int = 0
    pages: int = 0
    bytes: int = 0

    def __bool__(self) -> bool:
        return bool(self.versions or self.packs or self.pages)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A condemned list whose time has not come: since when, and until when by what is known now."""

    list: str
    since: str
    until: str
    versions: int
    objects: int


@dataclass(frozen=True, slots=True)
class Collected:
    """What a run did, or with ``dry_run`` would do. ``kept`` were condemned, and are needed again."""

    dry_run: bool
    versions: int
    objects: int
    expired: tuple[str, ...]
    deleted: Amount
    kept: int
    condemned: Amount
    waiting: tuple[Waiting, ...]


@dataclass(frozen=True, slots=True)
class Explained:
    """Why a pack or pages object is there: ``state`` is needed, young, garbage, condemned or collected."""

    hash: str
    kind: str
    state: str
    bytes: int | None
    written: str | None
    versions: tuple[str, ...] = ()
    pushes: tuple[str, ...] = ()
    since: str | None = None
    until: str | None = None


class Collector:
    """Collects the store of one repository. Needs the rights to read, list, write and delete."""

    def __init__(self, repository: Repository) -> None:
        beside_the_bucket(repository.catalog, repository.store.url, "collect")
        self._store = repository.store
        self._catalog = repository.catalog
        self._run = repository.engine.run
        self._who = repository.who
        self._surveyor = Surveyor(repository.store, repository.catalog, repository.engine)

    def run(self, *, dry_run: bool = False) -> Collected:
        """Do what is due, and condemn what is garbage.

        Raises:
            IntegrityError: a meta, root, record or list cannot be read; nothing was deleted.
        """
        survey = self._surveyor.survey(dry_run=dry_run)
        due = [each for each in survey.pending if survey.due_at(each) <= survey.now]
        deleted, kept = self._delete(survey, due, dry_run=dry_run)
        condemned = self._condemn(survey, dry_run=dry_run)
        if not dry_run:
            self._sweep_staged(survey)
            self._sweep_pushes(survey)
        waiting = [_waiting(survey, each) for each in survey.pending if each not in due]
        return Collected(
            dry_run, len(survey.versions), len(survey.live), survey.finalized, deleted, kept, condemned, tuple(waiting)
        )

    # deleting

    def _delete(self, survey: Survey, due: Sequence[CondemnedList], *, dry_run: bool) -> tuple[Amount, int]:
        sizes = {each.name: each.size for each in (*survey.packs, *survey.pages)}
        specs: list[str] = []
        packs: set[str] = set()
        pages: set[str] = set()
        kept = 0
        for each in due:
            stay = collecting.survivors(each.names, survey.live)
            going = self._delete_versions(each, dry_run=dry_run)
            gone_packs, gone_pages = ({*names} - stay for names in (each.packs, each.pages))
            if not dry_run:
                self._delete_objects([*map(keys.pack_key, gone_packs), *map(keys.pages_key, gone_pages)])
                self._finish(each, len(going) + len(gone_packs) + len(gone_pages), len(stay), survey.now)
            specs += [f"{v.name}:{v.version}" for v in going]
            packs |= gone_packs & sizes.keys()
            pages |= gone_pages & sizes.keys()
            kept += len(stay & sizes.keys())
        size = sum(sizes[name] for name in packs | pages)
        return Amount(tuple(dict.fromkeys(specs)), len(packs), len(pages), size), kept

    def _may_delete(self, condemned: CondemnedVersion) -> bool:
        """Read again, right before: another program may have pushed anew under the removed number."""
        tombstone = self._catalog.record(condemned.name).tombstones.get(condemned.version)
        try:
            meta = self._catalog.published(condemned.name, condemned.version).id
        except VersionNotFoundError:
            meta = None
        return collecting.may_delete(condemned, meta, tombstone)

    def _delete_versions(self, due: CondemnedList, *, dry_run: bool) -> list[CondemnedVersion]:
        """Those versions of a list that may be deleted, each looked at right before: the one before it may have taken an hour."""
        going = []
        for each in due.versions:
            if self._may_delete(each):
                going.append(each)
                if not dry_run:
                    self._delete_version(each, due.written)
        return going

    def _delete_version(self, version: CondemnedVersion, written: float) -> None:
        """Meta first: what has a meta is whole at any moment."""
        self._store.delete(keys.meta_key(version.name, version.version))
        reach("collect.meta-deleted")
        for key in collecting.old_data(self._data(version), written):
            self._store.delete(key)
            reach("collect.data-partly")

    def _data(self, version: CondemnedVersion) -> list[Stored]:
        """The objects that hold a version's bytes, or its root; under ``name`` their whole keys."""
        key = keys.data_key(version.name, version.version)
        if version.layout == "tree":
            found = list(self._store.list(key))
        else:
            try:
                found = [self._store.head(key)]
            except ObjectNotFoundError:
                found = []
        return [Stored(info.key, info.modified, info.size) for info in found]

    def _delete_objects(self, wanted: list[str]) -> None:
        """Plain deletes: nobody writes a condemned name, nor refers to it."""
        for key in wanted[:1]:
            self._store.delete(key)
            reach("collect.objects-partly")
        self._run(self._store.delete, wanted[1:])
        reach("collect.deleted")

    def _finish(self, each: CondemnedList, deleted: int, kept: int, now: float) -> None:
        record = DoneRecord(stamp(_moment(now)), self._who, deleted, kept)
        self._store.put(keys.gc_done_key(each.epoch), encode(record))
        reach("collect.done-written")

    # condemning

    def _condemn(self, survey: Survey, *, dry_run: bool) -> Amount:
        pending = frozenset(name for each in survey.pending for name in each.names)
        limit = collecting.age_limit(survey.now, survey.limits, survey.pushes)
        packs = collecting.garbage(survey.packs, survey.live, pending, limit)
        pages = collecting.garbage(survey.pages, survey.live, pending, limit)
        listed = frozenset(version for each in survey.pending for version in each.versions)
        versions = collecting.removed(survey.versions, survey.tombstones, listed)
        if not dry_run:
            for record in self._records(packs, pages, versions, survey.now):
                epoch = f"{_moment(survey.now):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
                self._store.put(keys.gc_key(epoch), encode(record))
                reach("collect.condemned")
        specs = tuple(f"{each.name}:{each.version}" for each in versions)
        return Amount(specs, len(packs), len(pages), sum(each.size for each in (*packs, *pages)))

    def _records(
        self, packs: list[Stored], pages: list[Stored], versions: list[CondemnedVersion], now: float
    ) -> list[CondemnedRecord]:
        """What is condemned as lists, of which each can be written by one request."""
        at, step = stamp(_moment(now)), _LONGEST_LIST
        most = max(len(packs), len(pages), len(versions))
        return [
            CondemnedRecord(
                _FORMAT,
                at,
                self._who,
                join_names(each.name for each in packs[start : start + step]),
                join_names(each.name for each in pages[start : start + step]),
                tuple(versions[start : start + step]),
            )
            for start in range(0, most, step)
        ]

    def _sweep_staged(self, survey: Survey) -> None:
        """What pushes out of a mounted bucket left behind."""
        pushes = {push.id: push for push in survey.pushes}
        for info in list(self._store.list(keys.STAGED)):
            push = pushes.get(keys.push_of_staged(info.key))
            if collecting.is_left_over(push, info.modified, survey.now, survey.limits):
                self._store.delete(info.key)

    def _sweep_pushes(self, survey: Survey) -> None:
        """The records of pushes that ended long ago: else every run would read more of them."""
        over = [push for push in survey.pushes if collecting.is_ended(push, survey.now, survey.limits)]
        self._run(lambda push: self._store.delete(keys.push_key(push.id)), over)

    # explaining

    def explain(self, name: str) -> Explained:
        """Why a pack or pages object is there, or what became of it.

        Args:
            name: its name, or enough of its first digits.

        Raises:
            NotFoundError: none of that name is there, nor was condemned.
            UsageError: no name, or several objects begin like this.
        """
        full = self._full_name(name.lower())
        survey = self._surveyor.survey(dry_run=True, about=full)
        kind = (
            "pack"
            if full in {*(p.name for p in survey.packs), *(p for c in survey.lists for p in c.packs)}
            else "pages"
        )
        there = next((each for each in (*survey.packs, *survey.pages) if each.name == full), None)
        lists = [each for each in survey.lists if full in each.names]
        pending = [each for each in lists if not each.done]
        since = _text(min(each.written for each in lists)) if lists else None
        size, written = (there.size, _text(there.written)) if there else (None, None)
        if full in survey.live:
            return Explained(full, kind, "needed", size, written, versions=survey.needed_by, since=since)
        if there is None:
            return Explained(full, kind, "collected", size, written, since=since)
        if pending:
            until = _text(min(survey.due_at(each) for each in pending))
            return Explained(full, kind, "condemned", size, written, since=since, until=until)
        return self._unneeded(survey, there, kind, since)

    def _unneeded(self, survey: Survey, there: Stored, kind: str, since: str | None) -> Explained:
        if there.written < collecting.age_limit(survey.now, survey.limits, survey.pushes):
            return Explained(there.name, kind, "garbage", there.size, _text(there.written), since=since)
        alive = [push for push in survey.pushes if collecting.is_alive(push, survey.now, survey.limits)]
        pushes = tuple(f"{push.name} by {push.who} ({push.id})" for push in alive if push.began <= there.written)
        until = _text(there.written + survey.now - collecting.age_limit(survey.now, survey.limits, ()))
        written = _text(there.written)
        return Explained(there.name, kind, "young", there.size, written, pushes=pushes, since=since, until=until)

    def _full_name(self, start: str) -> str:
        if len(start) < _LEAST_DIGITS or len(start) > 64 or set(start) - set("0123456789abcdef"):
            hint = f"{_LEAST_DIGITS} to 64 hex digits, as they stand in the key"
            raise UsageError(f"{start!r} is no name of a pack or pages object", subject=start, hint=hint)
        found = {
            info.key.rpartition("/")[2]
            for prefix in (keys.PACKS, keys.PAGES)
            for info in self._store.list(f"{prefix}/{start[:2]}")
        }
        found |= {name for each in self._surveyor.lists() for name in each.names}
        fitting = sorted(name for name in found if name.startswith(start))
        if not fitting:
            raise NotFoundError(f"no pack or pages object {start} is there, and none was condemned", subject=start)
        if len(fitting) > 1:
            raise UsageError(f"{len(fitting)} objects begin with {start}: give more digits", subject=start)
        return fitting[0]


def _waiting(survey: Survey, each: CondemnedList) -> Waiting:
    since, until = _text(each.written), _text(survey.due_at(each))
    return Waiting(each.epoch, since, until, len(each.versions), len(each.names))


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _text(seconds: float) -> str:
    return _moment(seconds).isoformat(timespec="seconds")
