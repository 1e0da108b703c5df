"""The logs of the web servers that sync a site's webroots, in a store (FORMAT.md §12.1).

Each server writes its own log and reads those of the others. A log is a head, which is swapped, and packs of changes with the bytes of
their files, which never change. It holds what this server said and nothing newer has been said of: so it is as large as its
part of the tree, and what is over goes when packs are joined. A server never writes into the log of another.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from holdfast.catalog.swap import read_or_none
from holdfast.errors import IntegrityError, ObjectNotFoundError
from holdfast.formats import layout
from holdfast.formats.codec import unpack
from holdfast.formats.sync import Head, decode_changes, decode_head
from holdfast.model.digest import raw_digest_of
from holdfast.sites.recording import change_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from _typeshed import ReadableBuffer

    from holdfast.errors import HoldfastError
    from holdfast.formats.sync import ChangeRecord, PackRecord, PieceRecord
    from holdfast.repository import Repository
    from holdfast.sites.changes import Change

__all__ = ["Log", "Logs", "Placed", "still_mine"]

#: Packs up to this length are read whole: their files come with them.
_WHOLE: Final = 1024 * 1024
#: Bytes of such packs that are kept until the files in them are laid out.
_HELD: Final = 64 * 1024 * 1024
#: A pack is read whole where more than this share of it is needed.
_MUCH: Final = 0.25


@dataclass(frozen=True, slots=True)
class Placed:
    """A change, the record that says it, and the pack in which that stands."""

    change: Change
    record: ChangeRecord
    pack: str


@dataclass(slots=True)
class Log:
    """One server's log as it was last read: its head, the version of that object, and the newest of each path."""

    head: Head
    version: str
    packs: dict[str, list[ChangeRecord]] = field(default_factory=dict)
    placed: dict[str, Placed] = field(default_factory=dict)
    changes: dict[str, Change] = field(default_factory=dict)

    def settle(self, before: Log | None = None) -> None:
        """Find the newest of each path: in a later pack, where two are equal. What only grew since ``before`` is not read again."""
        known = 0
        if before is not None and self.head.packs[: len(before.head.packs)] == before.head.packs:
            known, self.placed, self.changes = len(before.head.packs), before.placed, before.changes
        for record in self.head.packs[known:]:
            for each in self.packs[record.name]:
                change = change_of(each)
                there = self.changes.get(each.path)
                if there is None or change.rank >= there.rank:
                    self.placed[each.path] = Placed(change, each, record.name)
                    self.changes[each.path] = change

    def start_of(self, pack: str) -> int:
        """Where the bytes of files begin in a pack."""
        return next((each.stored for each in self.head.packs if each.name == pack), 0)


def still_mine(log: Mapping[str, Change], node: str, others: Mapping[str, Mapping[str, Change]]) -> dict[str, Change]:
    """What of a server's log is to stay: what nobody said anything newer of, and of equals the first server's."""
    mine = {}
    for path, change in log.items():
        for name, other in others.items():
            there = other.get(path)
            if there is None or there.rank < change.rank:
                continue
            if there.rank > change.rank or (there.clash, name) < (change.clash, node):
                break
        else:
            mine[path] = change
    return mine


class Logs:
    """All logs of a site in one store; what was read is kept until its head is another one."""

    def __init__(self, repository: Repository, site: str) -> None:
        self.repository = repository
        self.store = repository.store
        self.site = site
        self.known: dict[str, Log] = {}
        self.wrong: dict[str, HoldfastError] = {}
        self._bytes: dict[str, ReadableBuffer] = {}
        self._whole: set[str] = set()

    def refresh(self) -> bool:
        """Look at all heads, and read what is new; whether anything was. A log that cannot be read stays as it was, see ``wrong``.

        Raises:
            UnreachableError, AccessError, BucketNotFoundError: as the store.
        """
        prefix = layout.sync_heads(self.site)
        found = {layout.decode_name(info.key.rpartition("/")[2]): info for info in self.store.list(prefix)}
        changed = bool(self.known.keys() - found.keys())
        for gone in self.known.keys() - found.keys():
            del self.known[gone]
        self.wrong = {name: error for name, error in self.wrong.items() if name in found}
        for name, info in found.items():
            known = self.known.get(name)
            if known is not None and known.version == info.version and name not in self.wrong:
                continue
            try:
                changed |= self.read(name)
                self.wrong.pop(name, None)
            except IntegrityError as error:
                self.wrong[name] = error
        return changed

    def read(self, node: str) -> bool:
        """Read the log of one server anew; whether it is another one.

        Raises:
            IntegrityError: it is damaged, or of another server.
        """
        key = layout.sync_head_key(self.site, node)
        for _ in range(3):  # its server may just now replace packs that the head named
            found = read_or_none(self.store, key)
            if found is None:
                return self.known.pop(node, None) is not None
            head = decode_head(found.data, key)
            if head.node != node:
                raise IntegrityError(f"{key} is the log of {head.node!r}", subject=key)
            known = self.known.get(node)
            try:
                log = Log(head, found.info.version, self._packs(head, known))
            except ObjectNotFoundError:
                continue
            same = known is not None and known.head.packs == head.packs
            if same and known is not None:
                known.head, known.version = head, found.info.version
                return False
            log.settle(known)
            self.known[node] = log
            return True
        raise IntegrityError(f"{key} names packs that are not there", subject=key)

    def _packs(self, head: Head, known: Log | None) -> dict[str, list[ChangeRecord]]:
        before = {} if known is None else known.packs
        return {
            record.name: before[record.name] if record.name in before else self._changes(head.node, record)
            for record in head.packs
        }

    def _changes(self, node: str, record: PackRecord) -> list[ChangeRecord]:
        key = layout.sync_pack_key(self.site, node, record.name)
        if record.size > _WHOLE:
            data = self.store.get_range(key, 0, record.stored).data
        else:
            data = self.store.get(key).data
            self._hold(key, data)
        return decode_changes(memoryview(data)[: record.stored], record, key)

    def _hold(self, key: str, data: ReadableBuffer) -> None:
        self._bytes[key] = data
        while len(self._bytes) > 1 and sum(memoryview(each).nbytes for each in self._bytes.values()) > _HELD:
            del self._bytes[next(iter(self._bytes))]

    def expect(self, places: Iterable[tuple[str, Placed]]) -> None:
        """Bytes of these will be read, in this order: packs of which much is needed are read whole."""
        needed: dict[tuple[str, str], int] = {}
        for node, placed in places:
            for piece in placed.record.pieces:
                needed[node, piece.pack] = needed.get((node, piece.pack), 0) + piece.stored
        for (node, pack), count in needed.items():
            size = next((each.size for each in self.known[node].head.packs if each.name == pack), 0)
            if count > _MUCH * size:
                self._whole.add(layout.sync_pack_key(self.site, node, pack))

    def release(self) -> None:
        """Whatever was to be laid out is: the bytes that came with changes may go."""
        self._bytes = {}
        self._whole = set()

    def remove(self, node: str) -> None:
        """Remove the log of a server that is no more: its head first, so that nobody reads what is no longer whole.

        Whoever has what it says, and finds it in no log any more, says it again.
        """
        self.store.delete(layout.sync_head_key(self.site, node))
        for info in list(self.store.list(layout.sync_packs(self.site, node))):
            self.store.delete(info.key)
        self.known.pop(node, None)

    def sweep(self, before: float) -> None:
        """Remove packs of servers that have no head, all from before this time of the store: what a removal left that was killed."""
        for prefix in self.store.list_level(layout.sync_packs(self.site, "").rstrip("/")).prefixes:
            if layout.decode_name(prefix.rpartition("/")[2]) not in self.known:
                infos = list(self.store.list(prefix))
                if all(info.modified < before for info in infos):
                    for info in infos:
                        self.store.delete(info.key)

    def changes(self) -> dict[str, dict[str, Change]]:
        """The changes in each log."""
        return {node: log.changes for node, log in self.known.items()}

    def place(self, path: str, change: Change) -> tuple[str, Placed] | None:
        """In whose log the bytes of a change lie, and where; None where no log has it any more."""
        for node, log in self.known.items():
            placed = log.placed.get(path)
            if placed is not None and placed.change.rank == change.rank:
                return node, placed
        return None

    def bytes_of(self, node: str, placed: Placed) -> Iterator[ReadableBuffer]:
        """The bytes of a file, piece by piece, each verified.

        Raises:
            IntegrityError: they are not what the change says.
            ObjectNotFoundError: their pack was replaced meanwhile: read the log again.
        """
        for piece in placed.record.pieces:
            yield self._piece(node, piece)

    def stored(self, node: str, piece: PieceRecord) -> ReadableBuffer:
        """A piece as it is stored, unverified."""
        key = layout.sync_pack_key(self.site, node, piece.pack)
        log = self.known.get(node)
        if log is None or not (start := log.start_of(piece.pack)):
            raise ObjectNotFoundError(f"{key} was replaced", subject=key)
        if key in self._whole and key not in self._bytes:
            self._hold(key, self.store.get(key).data)
        held = self._bytes.get(key)
        if held is not None:
            return memoryview(held)[start + piece.offset : start + piece.offset + piece.stored]
        return self.store.get_range(key, start + piece.offset, piece.stored).data

    def _piece(self, node: str, piece: PieceRecord) -> ReadableBuffer:
        key = layout.sync_pack_key(self.site, node, piece.pack)
        data = unpack(self.stored(node, piece), piece.codec, piece.raw, key)
        if raw_digest_of(data) != piece.digest:
            raise IntegrityError(f"{key} is damaged: a piece has another digest", subject=key)
        return data
