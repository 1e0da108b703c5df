"""This web server's own log: the packs and the head that it writes, and how they are kept small (FORMAT.md §12.1).

Packs first, then the head that names them, then what no head names any more: killed at any step, the log is what it was or what it
is to be, and what is left over goes when the server starts again.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from holdfast.catalog.swap import create_once, read_or_none
from holdfast.errors import ConflictError, HoldfastError, ObjectNotFoundError, UnreachableError
from holdfast.failpoint import reach
from holdfast.formats import layout
from holdfast.formats.records import stamp
from holdfast.formats.sync import Head, decode_head, encode_head
from holdfast.sites.logs import Log, still_mine
from holdfast.sites.recording import Recorder, victims
from holdfast.store.base import CREATE, Replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from holdfast.formats.sync import ChangeRecord, PackRecord, PieceRecord
    from holdfast.sites.changes import Change
    from holdfast.sites.logs import Logs
    from holdfast.sites.recording import PackDraft

__all__ = ["OwnLog"]


class OwnLog:
    """This server's own log: the only one that it writes. ``now`` tells microseconds by the store's clock."""

    def __init__(self, logs: Logs, node: str, now: Callable[[], int]) -> None:
        self._now = now
        self._logs = logs
        self._node = node
        self._run = secrets.token_hex(8)
        self._started = False

    @property
    def log(self) -> Log | None:
        """As it stands in the store; None where there is none yet."""
        return self._logs.known.get(self._node)

    def check(self) -> None:
        """Raise ConflictError where another process writes this log."""
        log = self.log
        if self._started and log is not None and log.head.run != self._run:
            raise ConflictError(
                f"{log.head.who} syncs as {self._node} too",
                subject=self._node,
                hint="a copied machine: remove the folder sync in its state folder, and it gets a name of its own",
            )

    def write(self, drafts: Iterable[PackDraft], *, without: frozenset[str] = frozenset()) -> None:
        """Put these packs, and swap a head that names them and no pack of ``without``, which are then removed.

        Raises:
            ConflictError: another process writes this log.
        """
        written: dict[str, list[ChangeRecord]] = {}
        records: list[PackRecord] = []
        for draft in drafts:
            records.append(self._put(draft))
            written[draft.name] = draft.changes
            reach("sync.pack-written")
        reach("sync.packs-written")
        log = self.log
        before = () if log is None else tuple(each for each in log.head.packs if each.name not in without)
        repository = self._logs.repository
        head = Head(
            1,
            self._node,
            repository.who,
            self._run,
            1 if log is None else log.head.beat + 1,
            stamp(datetime.fromtimestamp(self._now() / 1_000_000, UTC)),
            (*before, *records),
        )
        version = self._swap(head, None if log is None else log.version)
        packs = {} if log is None else {name: each for name, each in log.packs.items() if name not in without}
        new = Log(head, version, packs | written)
        new.settle(log)
        self._logs.known[self._node] = new
        self._started = True
        reach("sync.published")
        if without:
            self.sweep(without)

    def _put(self, draft: PackDraft) -> PackRecord:
        data, record = draft.finish()
        create_once(
            self._logs.store,
            self._logs.repository.clock,
            layout.sync_pack_key(self._logs.site, self._node, draft.name),
            data,
        )
        return record

    def _swap(self, head: Head, version: str | None) -> str:
        key, data = layout.sync_head_key(self._logs.site, self._node), encode_head(head)
        for attempt in range(4):
            try:
                return self._logs.store.put(key, data, CREATE if version is None else Replace(version)).version
            except (ConflictError, ObjectNotFoundError, UnreachableError) as error:
                found = read_or_none(self._logs.store, key)
                if found is not None and bytes(memoryview(found.data)) == data:
                    return found.info.version
                there = None if found is None else decode_head(found.data, key)
                if there is not None and there.run != self._run and found is not None and found.info.version != version:
                    self._logs.read(self._node)
                    self.check()
                    raise ConflictError(f"{there.who} wrote {key}", subject=key, hint="it is tried again") from error
                if attempt == 3:
                    raise
                version = None if found is None else found.info.version
        raise AssertionError  # the loop returns or raises

    def sweep(self, names: frozenset[str] | None = None) -> None:
        """Remove these packs; None: all that the head does not name, which a process left that was killed."""
        store = self._logs.store
        prefix = layout.sync_packs(self._logs.site, self._node)
        if names is None:
            named = frozenset[str]() if self.log is None else frozenset(each.name for each in self.log.head.packs)
            names = frozenset(info.key.rpartition("/")[2] for info in store.list(prefix)) - named
        for name in sorted(names):
            try:
                store.delete(layout.sync_pack_key(self._logs.site, self._node, name))
            except HoldfastError as error:  # they are only in the way, and tried again when this server starts again
                self._logs.repository.engine.progress.warn(f"{prefix}/{name} could not be removed: {error.message}")
                return

    def beat(self) -> None:
        """Say that this server lives."""
        self.write(())

    def tidy(self, horizon: int) -> bool:
        """Join small packs and write anew what is mostly over; whether there was anything to do.

        Deletions from before ``horizon``, in microseconds, are forgotten where no log has anything of what they deleted.
        """
        log = self.log
        if log is None:
            return False
        others = {node: each.changes for node, each in self._logs.known.items() if node != self._node}
        staying = still_mine(log.changes, self._node, others)
        chosen = victims(log.head.packs, _alive(log, staying))
        if not chosen:
            return False
        moved = {
            path: placed
            for path, placed in log.placed.items()
            if path in staying
            and (placed.pack in chosen or any(piece.pack in chosen for piece in placed.record.pieces))
        }
        over = {path for path, placed in moved.items() if _is_over(path, placed.change, horizon, log, others, chosen)}
        kept = [placed.record for path, placed in moved.items() if path not in over]
        self.write(Recorder().copies((each, self._pieces(each, chosen)) for each in kept), without=chosen)
        return True

    def _pieces(self, record: ChangeRecord, chosen: frozenset[str]) -> list[tuple[bytes | None, PieceRecord]]:
        """The stored bytes of the pieces that lie in the packs chosen."""
        return [
            (bytes(memoryview(self._logs.stored(self._node, piece))) if piece.pack in chosen else None, piece)
            for piece in record.pieces
        ]


def _alive(log: Log, staying: Mapping[str, Change]) -> dict[str, int]:
    """How many bytes of each pack are still needed, its changes by their number."""
    alive: dict[str, int] = {}
    each_change = {record.name: record.stored // max(1, len(log.packs[record.name])) + 1 for record in log.head.packs}
    for path in staying:
        placed = log.placed[path]
        alive[placed.pack] = alive.get(placed.pack, 0) + each_change[placed.pack]
        for piece in placed.record.pieces:
            alive[piece.pack] = alive.get(piece.pack, 0) + piece.stored
    return alive


def _is_over(
    path: str,
    change: Change,
    horizon: int,
    log: Log,
    others: Mapping[str, Mapping[str, Change]],
    chosen: frozenset[str],
) -> bool:
    """Whether a deletion may be forgotten: it is old, and nothing it deleted stands anywhere."""
    if change.content is not None or change.at >= horizon:
        return False
    mine = any(each.path == path for name, records in log.packs.items() if name not in chosen for each in records)
    return not mine and not any(path in other for other in others.values())
