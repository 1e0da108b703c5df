"""Carries out what :mod:`holdfast.sites.secondary` decides: brings a bucket of media and its copy to the same state, and remembers it.

Whatever is overwritten or deleted on either side is first put aside in the copy, where it stays for ``keep_deleted``. What both sides
have in common is remembered in the copy's store, by a conditional write: two that do this at a time are found out, and nothing rests on
its being right: without it, everything is new, nothing is deleted, and objects of both sides are compared. Example::

    done = Replica(first, copy, "www-example-com-assets-images", engine=engine).run(Orders(limit=MaxDelete()))
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Final

from holdfast.catalog.swap import read_or_none
from holdfast.errors import (
    AccessError,
    BucketNotFoundError,
    ConflictError,
    HoldfastError,
    ObjectNotFoundError,
    UnreachableError,
)
from holdfast.failpoint import reach
from holdfast.formats.copies import PairRow, PairsRecord, decode_pairs, encode_pairs
from holdfast.formats.layout import copied_key, copied_trash, copy_pairs_key
from holdfast.sites.replicated import Count, Replicated, lag_of
from holdfast.sites.secondary import Action, Pair, Plan, Seen, Side, Work, expired, newer, planned
from holdfast.sites.sides import WHOLE, Half, seen
from holdfast.store.base import CREATE, OVERWRITE, SMALL, Replace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from holdfast.sites.replicated import Orders
    from holdfast.store.base import ObjectInfo, PutMode, Store
    from holdfast.transfer.engine import Engine

__all__ = ["Replica"]

#: So many keys are dealt with between two looks at whether it is time to remember, and how often that is, in seconds.
_BATCH: Final = 1000
_REMEMBER_EVERY: Final = 30.0
#: What says that a store, and not one object, cannot be used.
_STORE_FAILS: Final = (UnreachableError, BucketNotFoundError, AccessError)


class Replica:
    """One bucket of media and one copy of it. ``place`` tells the first store from every other; ``alive`` stops it by raising.

    ``now`` tells the time by the clock of the copy's store, in seconds since the epoch: of when both sides were equal, other servers are told.
    """

    def __init__(
        self,
        first: Store,
        copy: Store,
        bucket: str,
        *,
        engine: Engine,
        place: str | None = None,
        two_way: bool = False,
        alive: Callable[[], None] = lambda: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._first = Half(first, engine, shared=True)
        self._copy = Half(copy, engine, copied_key(bucket, ""), shared=two_way)
        self._bucket = bucket
        self._engine = engine
        self._place = place or first.url
        self._alive = alive
        self._now = now
        self._run = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{secrets.token_hex(4)}"
        self._version: str | None = None
        self._pairs: dict[str, Pair] = {}
        self._record: PairsRecord | None = None

    def run(self, orders: Orders) -> Replicated:
        """Make both sides the same, as far as deletions are believed.

        Raises:
            UnreachableError, AccessError, BucketNotFoundError: a store cannot be used; what was done is remembered.
            ConflictError: another process does this at the same time.
        """
        begun, looked = time.monotonic(), self._now()
        self._load()
        first, copy = self._first.listed(), self._copy.listed()
        plan = planned(
            self._pairs,
            {key: seen(info) for key, info in first.items()},
            {key: seen(info) for key, info in copy.items()},
            two_way=orders.two_way,
            limit=orders.limit,
            allow_deletes=orders.allow_deletes,
            undo_deletes=orders.undo_deletes,
        )
        count = Count()
        gone = 0
        if not orders.dry_run:
            self._act(plan, first, copy, count, looked)
            gone = self._expire(orders.keep_deleted)
        return self._told(plan, count, gone, len(first), time.monotonic() - begun, dry=orders.dry_run)

    def status(self) -> PairsRecord | None:
        """What was remembered last; None where nothing was, or of another first store."""
        self._load()
        return self._record

    # what is remembered

    def _load(self) -> None:
        key = copy_pairs_key(self._bucket)
        found = read_or_none(self._copy.store, key)
        self._version = None if found is None else found.info.version
        record = None if found is None else decode_pairs(found.data, key)
        self._record = record if record is not None and record.first == self._place else None
        self._pairs = {} if self._record is None else {row.key: _pair(row) for row in self._record.rows}

    def _save(self, looked: float, count: Count, withheld: int, *, done: bool) -> None:
        before = self._record.whole if self._record is not None else 0.0
        whole = looked if done and not count.pending and not withheld else before
        rows = [_row(key, pair) for key, pair in sorted(self._pairs.items())]
        record = PairsRecord(1, self._place, looked, whole, count.pending, withheld, rows)
        key, data = copy_pairs_key(self._bucket), encode_pairs(record)
        try:
            self._version = self._copy.store.put(key, data, self._mode(len(data))).version
        except ConflictError as error:
            raise ConflictError(
                f"another process copies {self._bucket} to {self._copy.store.url} at the same time",
                subject=self._bucket,
                hint="nothing is lost; run it again when the other has ended",
            ) from error
        self._record = record
        reach("replicate.saved")

    def _mode(self, size: int) -> PutMode:
        promises = self._copy.store.promises()
        if size > SMALL or not (promises.create and promises.replace):
            return OVERWRITE
        return CREATE if self._version is None else Replace(self._version)

    # what is done

    def _act(
        self,
        plan: Plan,
        first: Mapping[str, ObjectInfo],
        copy: Mapping[str, ObjectInfo],
        count: Count,
        looked: float,
    ) -> None:
        small, large = _parted(plan.actions)
        self._engine.progress.start("copy", plan.bytes, len(plan.actions))
        remembered = time.monotonic()
        try:
            for batch, at_once in [*((each, None) for each in _batches(small)), *(([each], 1) for each in large)]:
                self._engine.run(
                    lambda action: self._tried(action, first.get(action.key), copy.get(action.key), count),
                    batch,
                    at_once=at_once,
                )
                if time.monotonic() - remembered > _REMEMBER_EVERY:
                    self._save(looked, count, len(plan.withheld), done=False)
                    remembered = time.monotonic()
        except HoldfastError:
            self._save(looked, count, len(plan.withheld), done=False)
            raise
        finally:
            self._engine.progress.finish()
        self._save(looked, count, len(plan.withheld), done=True)

    def _tried(self, action: Action, first: ObjectInfo | None, copy: ObjectInfo | None, count: Count) -> None:
        """One key; what is wrong with it alone keeps no other from being dealt with."""
        self._alive()
        try:
            pair = self._do(action, first, copy, count)
        except ObjectNotFoundError:
            if any(each is not None and each.size for each in (first, copy)):
                count.add("moving")
            # Else it is what a mounter makes for a folder: an empty object whose key, as listed, is none.
        except ConflictError:
            count.add("moving")  # somebody writes it at this moment: the next run sees what it came to
        except _STORE_FAILS:
            raise
        except HoldfastError as error:
            if count.fail(action.key, error):
                raise
        else:
            if pair is None:
                self._pairs.pop(action.key, None)
            else:
                self._pairs[action.key] = pair

    def _do(self, action: Action, first: ObjectInfo | None, copy: ObjectInfo | None, count: Count) -> Pair | None:
        """What is now the same on both sides; None where it is on none."""
        if action.work is Work.FORGET:
            return None
        if action.work is Work.REMEMBER:
            assert first is not None and copy is not None  # noqa: S101, PT018 - both were listed
            return Pair(seen(first), seen(copy))
        if action.work is Work.REMOVE:
            self._remove(action, count)
            return None
        if action.work is Work.SEND:
            source = copy if action.side is Side.FIRST else first
            assert source is not None  # noqa: S101 - it was listed
            return self._send(action.key, action.side, source, action.at(action.side), count)
        assert first is not None and copy is not None  # noqa: S101, PT018 - both were listed
        return self._compared(action.key, first, copy, count)

    def _compared(self, key: str, first: ObjectInfo, copy: ObjectInfo, count: Count) -> Pair:
        count.add("compared")
        same = first.size == copy.size and self._first.digest(key, first) == self._copy.digest(key, copy)
        if same:
            return Pair(seen(first), seen(copy))
        if newer(seen(first), seen(copy)) is Side.FIRST:
            return self._send(key, Side.COPY, first, seen(copy), count)
        return self._send(key, Side.FIRST, copy, seen(first), count)

    def _send(self, key: str, to: Side, source: ObjectInfo, there: Seen | None, count: Count) -> Pair:
        if there is not None:
            self._keep(key, to, there, count)
        written = self._half(to).take(key, self._half(to.other), source, there)
        count.add("bytes", source.size)
        self._engine.moved(source.size)
        reach("replicate.sent")
        if to is Side.COPY:
            count.add("sent")
            return Pair(written.source, written.target)
        count.add("brought")
        return Pair(written.target, written.source)

    def _remove(self, action: Action, count: Count) -> None:
        """Only what the other side, asked once more for this very key, has not; and only once the copy keeps it."""
        there = action.at(action.side)
        assert there is not None  # noqa: S101 - it was listed
        if self._half(action.side.other).look(action.key) is not None:
            raise ConflictError(f"{action.key} is there again", subject=action.key)
        self._keep(action.key, action.side, there, count)
        self._half(action.side).remove(action.key, there)
        count.add("removed")
        reach("replicate.removed")

    def _keep(self, key: str, side: Side, there: Seen, count: Count) -> None:
        aside = copied_trash(self._bucket, self._run, key)
        if side is Side.COPY:
            self._copy.keep(key, there, aside)
        else:
            info = self._first.look(key)
            if info is None or not seen(info).has_bytes_of(there):
                raise ConflictError(f"{key} was changed meanwhile", subject=key)
            self._copy.take(key, self._first, info, None, own=aside)
        count.add("kept")
        reach("replicate.kept")

    def _half(self, side: Side) -> Half:
        return self._first if side is Side.FIRST else self._copy

    def _expire(self, seconds: float) -> int:
        """Throw away what was kept long enough, by the store's clock, which has just written what is remembered."""
        store = self._copy.store
        now = store.head(copy_pairs_key(self._bucket)).modified
        keys = expired(((info.key, info.modified) for info in store.list(copied_trash(self._bucket))), now, seconds)
        for key in keys:
            self._alive()
            store.delete(key)
            reach("replicate.expired")
        return len(keys)

    def _told(self, plan: Plan, count: Count, gone: int, objects: int, seconds: float, *, dry: bool) -> Replicated:
        done = count.done
        state = "stopped" if plan.withheld else "partly" if count.pending else "whole"
        sends = [each for each in plan.actions if each.work is Work.SEND]
        to_copy = sum(each.side is Side.COPY for each in sends)
        return Replicated(
            self._bucket,
            self._copy.store.url,
            "planned" if dry else state,
            len(self._pairs) if state == "whole" and not dry else objects,
            sent=to_copy if dry else done["sent"],
            brought=len(sends) - to_copy if dry else done["brought"],
            removed=sum(each.work is Work.REMOVE for each in plan.actions) if dry else done["removed"],
            kept=done["kept"],
            compared=sum(each.work is Work.COMPARE for each in plan.actions) if dry else done["compared"],
            moving=done["moving"],
            withheld=len(plan.withheld),
            expired=gone,
            bytes=plan.bytes if dry else done["bytes"],
            reasons=plan.reasons,
            failed=tuple(sorted(count.failed, key=lambda each: each.key)),
            lag=lag_of(self._record, self._now()),
            seconds=round(seconds, 3),
        )


def _parted(actions: Sequence[Action]) -> tuple[list[Action], list[Action]]:
    """What many threads do, each with an object in memory, and what goes one after the other, in pieces: no set, for its order counts."""
    small: list[Action] = []
    large: list[Action] = []
    for action in actions:
        sizes = [each.size for each in (action.first, action.copy) if each is not None]
        (large if max(sizes, default=0) > WHOLE else small).append(action)
    return small, large


def _batches(actions: Sequence[Action]) -> list[Sequence[Action]]:
    return [actions[at : at + _BATCH] for at in range(0, len(actions), _BATCH)]


def _pair(row: PairRow) -> Pair:
    return Pair(
        Seen(row.first_tag, row.first_size, row.first_modified), Seen(row.copy_tag, row.copy_size, row.copy_modified)
    )


def _row(key: str, pair: Pair) -> PairRow:
    first, copy = pair.first, pair.copy
    return PairRow(key, first.tag, first.size, first.modified, copy.tag, copy.size, copy.modified)
