"""Changes as they stand in a log, and packs in the making: which bytes go where. Pure but for the reading that it is given.

A pack takes the changes of one publication and the bytes of their files, up to :data:`FULL`; what is larger goes into several, and
the change stands in the last of them.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from holdfast.formats.codec import choose, pack
from holdfast.formats.sync import ChangeRecord, PieceRecord, encode_pack
from holdfast.model.digest import Hasher, raw_digest_of
from holdfast.sites.changes import Change, Content

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from _typeshed import ReadableBuffer

    from holdfast.formats.sync import PackRecord

__all__ = ["FULL", "STEP", "PackDraft", "Recorder", "change_of", "record_of", "victims"]

#: A pack is closed once so many bytes of files are in it.
FULL: Final = 32 * 1024 * 1024
#: Files are cut into pieces of so many bytes.
STEP: Final = 8 * 1024 * 1024
#: So many packs below this length are joined.
_SMALL: Final = 4 * 1024 * 1024
_MANY: Final = 16
#: A pack is written anew where less than this share of it is still said.
_WORTH: Final = 0.5
#: No more than so many bytes are written anew at a time.
_AT_ONCE: Final = 128 * 1024 * 1024
_SAMPLE: Final = 16 * 1024
_KINDS: Final = {"file": "f", "dir": "d", "link": "l"}
_NAMES: Final = {letter: kind for kind, letter in _KINDS.items()}


def record_of(path: str, change: Change, pieces: Sequence[PieceRecord] = ()) -> ChangeRecord:
    """A change as it is written."""
    content, seen = change.content, dict(change.seen)
    if content is None:
        return ChangeRecord(path, change.stamp, change.node, seen, change.at, change.clash, "")
    return ChangeRecord(
        path,
        change.stamp,
        change.node,
        seen,
        change.at,
        change.clash,
        _KINDS[content.kind],
        content.mode,
        content.mtime,
        content.size,
        bytes.fromhex(content.digest or ""),
        content.target or "",
        tuple(pieces),
    )


def change_of(record: ChangeRecord) -> Change:
    """A change as it was read and checked."""
    content = None
    if record.kind:
        kind = _NAMES[record.kind]
        content = Content(
            kind,  # type: ignore[arg-type]
            record.mode,
            record.digest.hex() if kind == "file" else None,
            record.target if kind == "link" else None,
            record.size,
            record.mtime,
        )
    return Change(content, record.stamp, record.node, record.seen, record.at, record.clash)


class PackDraft:
    """A pack in the making."""

    def __init__(self) -> None:
        self.name = secrets.token_hex(8)
        self.changes: list[ChangeRecord] = []
        self.size = 0
        self._pieces: list[tuple[bytes, int, int, bytes]] = []

    def add(self, stored: bytes, raw: int, codec: int, digest: bytes) -> PieceRecord:
        """Take a piece; where it lies, from the end of the changes."""
        at = self.size
        self._pieces.append((stored, raw, codec, digest))
        self.size += len(stored)
        return PieceRecord(self.name, at, len(stored), raw, codec, digest)

    def finish(self) -> tuple[bytes, PackRecord]:
        """The pack's bytes, and how the head names it; the pieces are given up."""
        data, record = encode_pack(self.name, self.changes, self._pieces)
        self._pieces = []
        return data, record


class Recorder:
    """Changes with the bytes of their files into drafts, each given out when it is full: memory holds one."""

    def __init__(self) -> None:
        self._open = PackDraft()
        self.skipped: list[str] = []

    def drafts(
        self, changes: Mapping[str, Change], read: Callable[[str, Change], Iterator[ReadableBuffer] | None]
    ) -> Iterator[PackDraft]:
        """The packs of these changes. ``read`` gives the bytes of a file in pieces up to :data:`STEP`, None where it cannot.

        A file whose bytes are not those of its change is left out, and told in ``skipped``.
        """
        for path, change in sorted(changes.items()):
            content = change.content
            if content is None or content.kind != "file":
                self._open.changes.append(record_of(path, change))
                continue
            pieces: list[PieceRecord] = []
            hasher = Hasher()
            source = read(path, change)
            for piece in source or ():
                hasher.update(piece)
                pieces.append(self._piece(piece))
                if self._open.size >= FULL:
                    yield self._close()
            if source is None or hasher.hexdigest() != content.digest:
                self.skipped.append(path)
            else:
                self._open.changes.append(record_of(path, change, pieces))
        if self._open.changes:
            yield self._close()

    def copies(
        self, records: Iterable[tuple[ChangeRecord, Sequence[tuple[bytes | None, PieceRecord]]]]
    ) -> Iterator[PackDraft]:
        """The packs of changes that stand in others, with the stored bytes of those pieces that are to come along."""
        for record, stored in records:
            pieces = []
            for data, piece in stored:
                pieces.append(self._open.add(data, piece.raw, piece.codec, piece.digest) if data is not None else piece)
                if self._open.size >= FULL:
                    yield self._close()
            self._open.changes.append(record_of(record.path, change_of(record), pieces))
        if self._open.changes:
            yield self._close()

    def _piece(self, data: ReadableBuffer) -> PieceRecord:
        view = memoryview(data)
        codec = choose(view[:_SAMPLE])
        stored = pack(view, codec)
        if len(stored) >= view.nbytes:
            codec, stored = 0, bytes(view)
        return self._open.add(stored, view.nbytes, codec, raw_digest_of(view))

    def _close(self) -> PackDraft:
        draft, self._open = self._open, PackDraft()
        return draft


def victims(packs: Sequence[PackRecord], alive: Mapping[str, int]) -> frozenset[str]:
    """Which packs are to be written anew; ``alive`` is how many of each one's bytes are still needed."""
    small = [each for each in packs if each.size < _SMALL]
    chosen = [each for each in packs if each.size >= _SMALL and alive.get(each.name, 0) < _WORTH * each.size]
    if len(small) >= _MANY:
        chosen += small
    taken: set[str] = set()
    total = 0
    for each in chosen:
        total += alive.get(each.name, 0)
        if total <= _AT_ONCE:
            taken.add(each.name)
    return frozenset(taken)
