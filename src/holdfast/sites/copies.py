"""The copies of a site's buckets: every bucket of media in every place that the settings name, and what was put aside there.

One of several web servers does it, by a lease in the first store. A place that cannot be used keeps no other from being served.
Example::

    for done in Copies(plan, engine=Engine()).replicate(orders):
        print(done.bucket, done.copy, done.state, done.lag)
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from holdfast import wiring
from holdfast.catalog.swap import read_or_none
from holdfast.clock import since_boot
from holdfast.errors import (
    AccessError,
    AlreadyExistsError,
    ConflictError,
    HoldfastError,
    NotFoundError,
    ObjectNotFoundError,
    UnreachableError,
    UnsupportedError,
    UsageError,
)
from holdfast.formats.layout import SITE_MARK, branch_mark, copied_key, copied_trash
from holdfast.formats.sites import BucketMark, decode_record
from holdfast.sites.asking import PATIENCE, within
from holdfast.sites.buckets import bucket_settings, buckets_of_media, open_bucket, settings_of
from holdfast.sites.lease import Lease
from holdfast.sites.replicated import Orders, Replicated, lag_of
from holdfast.sites.replicating import Replica
from holdfast.sites.sides import Half
from holdfast.sites.stores import place_of
from holdfast.store.clock import seconds_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from holdfast.formats.copies import PairsRecord
    from holdfast.sites.plan import Plan
    from holdfast.sites.values import CopySettings
    from holdfast.store.base import ObjectInfo, Store
    from holdfast.transfer.engine import Engine

__all__ = ["Copies", "Kept", "orders_of"]

#: What the lease is called.
_WORK: Final = "copies"
#: Seconds for which a store's clock is known: to ask it is to write an object.
_ASKED: Final = 3600.0
#: When each store was asked, and how far its clock is ahead of :func:`since_boot`, by URL.
_clocks: dict[str, tuple[float, float]] = {}


@dataclass(frozen=True, slots=True)
class Kept:
    """What a copy put aside: an object's key, of which run, its size in bytes, and since when, in seconds by the store's clock."""

    bucket: str
    copy: str
    key: str
    run: str
    size: int
    since: float


def orders_of(plan: Plan, *, allow_deletes: bool = False, undo_deletes: bool = False, dry_run: bool = False) -> Orders:
    """What the settings say of every copy; whether it goes both ways is each copy's own."""
    return Orders(
        limit=plan.max_delete,
        keep_deleted=plan.keep_deleted,
        allow_deletes=allow_deletes,
        undo_deletes=undo_deletes,
        dry_run=dry_run,
    )


class Copies:
    """All copies of a site's buckets. ``asks``: the time is that of a store's clock, which is asked by a write; else this machine's.

    Raises:
        UsageError: the site has no bucket, or no place for copies.
    """

    def __init__(
        self, plan: Plan, *, engine: Engine, alive: Callable[[], None] = lambda: None, asks: bool = True
    ) -> None:
        self._plan = plan
        self._asks = asks
        self._engine = engine
        self._alive = alive
        self.buckets = buckets_of_media(plan)
        if not plan.copies:
            raise UsageError(
                "no place for copies is named", subject="copies", hint="[[copies]] with a url in the site's settings"
            )

    def replicate(self, orders: Orders) -> list[Replicated]:
        """Bring every copy to the state of its bucket, and back what is new there.

        Raises:
            BusyError: another server does it now.
        """
        found = []
        with self._leased(orders) as alive:
            for copy in self._plan.copies:
                found += [self._one(copy, bucket, orders, alive) for bucket in self.buckets]
        return found

    def status(self) -> list[Replicated]:
        """How every copy is, by what was remembered; nothing is listed. A store that does not answer is asked once, and waited for a moment."""
        found = []
        for copy in self._plan.copies:
            away: UnreachableError | None = None
            for bucket in self.buckets:
                try:
                    if away is not None:
                        raise away
                    record, lag = self._remembered(copy, bucket)
                except HoldfastError as error:
                    away = error if isinstance(error, UnreachableError) else away
                    found.append(_failed(copy, bucket, error))
                    continue
                found.append(_told(copy, bucket, record, lag))
        return found

    def pairs(self, copy: CopySettings, bucket: str) -> tuple[dict[str, int], float | None] | None:
        """What a copy had in common with its bucket when that was last looked at: sizes by key, and the seconds since it was whole.

        None where it was never looked at, or is of another bucket.

        Raises:
            UnreachableError: its store does not answer within a moment.
        """
        record, lag = self._remembered(copy, bucket)
        return None if record is None else ({row.key: row.copy_size for row in record.rows}, lag)

    def _remembered(self, copy: CopySettings, bucket: str) -> tuple[PairsRecord | None, float | None]:
        """What its store has of the last run, and the seconds since the copy was whole."""

        def asked() -> tuple[PairsRecord | None, float | None]:
            record = self._replica(copy, bucket, self._alive).status()
            return record, None if record is None else lag_of(record, self._now(copy))

        return within(PATIENCE, asked, copy.store.url)

    def kept(self) -> list[Kept]:
        """What the copies put aside, the newest first."""
        found = [each for copy in self._plan.copies for bucket in self.buckets for each in self._kept(copy, bucket)]
        return sorted(found, key=lambda each: (-each.since, each.key))

    def restore(self, path: str) -> Kept:
        """Put the newest that was put aside of a key back into its bucket; never over what is there.

        Raises:
            NotFoundError: no copy has it.
            AlreadyExistsError: there is an object under the key.
        """
        found = next((each for each in self.kept() if path in (each.key, f"{each.bucket}/{each.key}")), None)
        if found is None:
            hint = "asset site replicate --deleted lists what is"
            raise NotFoundError(f"no copy has put {path!r} aside", subject=path, hint=hint)
        copy = next(each for each in self._plan.copies if each.store.url == found.copy)
        first = Half(self._first(found.bucket), self._engine, shared=True)
        aside = Half(open_bucket(copy.store), self._engine, copied_trash(found.bucket, found.run), shared=False)
        info = aside.look(found.key)
        if info is None:
            raise NotFoundError(f"{path!r} is put aside no longer", subject=path)
        try:
            first.take(found.key, aside, info, None)
        except ConflictError as error:
            raise AlreadyExistsError(
                f"there is an object {found.key} in {found.bucket}", subject=found.key, hint="rename or delete it first"
            ) from error
        return found

    def _one(self, copy: CopySettings, bucket: str, orders: Orders, alive: Callable[[], None]) -> Replicated:
        try:
            marks = self._marks(bucket)
            if not orders.dry_run:
                self._put_marks(copy, bucket, marks)
            return self._replica(copy, bucket, alive).run(replace(orders, two_way=copy.two_way))
        except HoldfastError as error:
            return _failed(copy, bucket, error)

    def _marks(self, bucket: str) -> dict[str, bytes]:
        """The marks of the bucket, by key: the site's, and where it is a branch of a merged directory, that of the branch.

        One that a deployment marked as another site's is none of ours, whatever the settings say.
        """
        store = self._first(bucket)
        found = read_or_none(store, SITE_MARK)
        if found is None:
            return {}
        mark = decode_record(found.data, BucketMark, SITE_MARK)
        if mark.site != self._plan.site:
            hint = "name the bucket of this site in [buckets]"
            raise ConflictError(f"{bucket} belongs to the site {mark.site}", subject=bucket, hint=hint)
        marks = {SITE_MARK: bytes(found.data)}
        for key in self._branch_marks(bucket):
            if (branch := read_or_none(store, key)) is not None:
                marks[key] = bytes(branch.data)
        return marks

    def _branch_marks(self, bucket: str) -> list[str]:
        mounts = [mount.buckets for mount in self._plan.mounts if mount.branches and bucket in mount.buckets]
        return [branch_mark(buckets.index(bucket) + 1) for buckets in mounts]

    def _put_marks(self, copy: CopySettings, bucket: str, marks: dict[str, bytes]) -> None:
        """Have the copy say whose it is, as its bucket does: a mount of the copy is known by that."""
        store = open_bucket(copy.store)
        for key, mark in marks.items():
            there = read_or_none(store, copied_key(bucket, key))
            if there is None or bytes(there.data) != mark:
                store.put(copied_key(bucket, key), mark)

    def _now(self, copy: CopySettings) -> float:
        """The time by the clock of a copy's store, which is the same for every server. Who may not write there has his own.

        A process that stays asks it once an hour; how its own clock is set meanwhile is of no consequence.
        """
        if not self._asks:
            return time.time()
        url, now = copy.store.url, since_boot()
        asked, ahead = _clocks.get(url, (-_ASKED, 0.0))
        if now - asked >= _ASKED:
            try:
                ahead = seconds_now(open_bucket(copy.store)) - now
            except AccessError:
                ahead = time.time() - now
            _clocks[url] = now, ahead
        return now + ahead

    def _replica(self, copy: CopySettings, bucket: str, alive: Callable[[], None]) -> Replica:
        settings = bucket_settings(self._plan.stores[0], bucket)
        return Replica(
            open_bucket(settings),
            open_bucket(copy.store),
            bucket,
            engine=self._engine,
            place=place_of(settings),
            two_way=copy.two_way,
            alive=alive,
            now=lambda: self._now(copy),
        )

    def _first(self, bucket: str) -> Store:
        return open_bucket(bucket_settings(self._plan.stores[0], bucket))

    def _kept(self, copy: CopySettings, bucket: str) -> Iterator[Kept]:
        start = len(copied_trash(bucket)) + 1

        def told(info: ObjectInfo) -> Kept:
            run, _, key = info.key[start:].partition("/")
            return Kept(bucket, copy.store.url, key, run, info.size, info.modified)

        try:
            yield from map(told, open_bucket(copy.store).list(copied_trash(bucket)))
        except ObjectNotFoundError:
            return

    @contextmanager
    def _leased(self, orders: Orders) -> Iterator[Callable[[], None]]:
        """Nobody else does it meanwhile. Nothing rests on that: a store without conditions is no reason to have no copies."""
        if orders.dry_run:
            yield self._alive
            return
        try:
            repository = wiring.open_settings(settings_of(self._plan.stores[0]))
            lease = Lease.take(repository, self._plan.site, _WORK, seconds=self._plan.lease)
        except UnsupportedError:
            yield self._alive
            return

        def alive() -> None:
            self._alive()
            lease.check()

        with lease:
            yield alive


def _told(copy: CopySettings, bucket: str, record: PairsRecord | None, lag: float | None) -> Replicated:
    """What a record says of a copy."""
    if record is None:
        return Replicated(bucket, copy.store.url, "never", 0)
    state = "stopped" if record.withheld else "partly" if record.pending else "whole"
    return Replicated(
        bucket,
        copy.store.url,
        state,
        len(record.rows),
        moving=record.pending,
        withheld=record.withheld,
        lag=lag,
    )


def _failed(copy: CopySettings, bucket: str, error: HoldfastError) -> Replicated:
    return Replicated(bucket, copy.store.url, "failed", 0, reasons=(error.message,), problem=error.kind)
