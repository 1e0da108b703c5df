"""The bytes of a version's files. In packs: chunks, brought when they are read. In other layouts: whole files, for only a whole file can be verified.

Either has ``read`` and ``whole`` of an entry that :class:`holdfast.mount.nodes.Nodes` found.
"""

from __future__ import annotations

import os
import weakref
from array import array
from bisect import bisect_left, bisect_right
from contextlib import suppress
from itertools import accumulate
from typing import TYPE_CHECKING, Final, NamedTuple

from holdfast.errors import HoldfastError, IntegrityError
from holdfast.model.chunk import Chunk
from holdfast.mount.ahead import Ahead
from holdfast.mount.order import READ_AHEAD
from holdfast.mount.pieces import MEMORY, WHOLE, Raw
from holdfast.mount.sheets import Kept
from holdfast.transfer.unpacking import Part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.cache.wholes import Wholes
    from holdfast.model.chunk import Placed
    from holdfast.mount.base import Buffer
    from holdfast.mount.nodes import Place
    from holdfast.mount.pieces import Pieces
    from holdfast.mount.sheets import ListedSheets, PagedSheets
    from holdfast.mount.wholefiles import WholeFiles

__all__ = ["ListedContents", "PackedContents"]

_MIB: Final = 1024 * 1024
#: How far a large file is read ahead, and a pack of small ones; and how far apart reads may be that follow one another.
#: Of one file a quarter of the memory for chunks at most: what is read ahead must still be there when it is read.
_FIRST, _MOST, _SLACK = 8 * _MIB, MEMORY // 4, 2 * _MIB
_FIRST_SMALL, _MOST_SMALL, _SLACK_SMALL = _MIB // 4, 8 * _MIB, _MIB // 4
_BATCH: Final = 4 * _MIB
#: Small files are looked for on so many pages at a time.
_SHEETS: Final = 8
_SMALL, _PACKS = 256, 4096
#: What the chunks of files that are read may take of memory, in bytes; and what a file takes, and each chunk of it.
_STREAMS: Final = 96 * _MIB
_STREAM_BYTES, _CHUNK_BYTES = 1024, 64
#: Bytes of files in memory; an open file counts as a MiB.
_OPEN: Final = 192 * _MIB


class _Chunks:
    """The chunks of a file, in columns: a large one has a quarter of a million, and as tuples they take seven times the memory."""

    __slots__ = ("_codecs", "_digests", "_offsets", "_packs", "_raw", "_stored", "_which")

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self._packs = [*{chunk.pack: None for chunk in chunks}]
        which = {pack: number for number, pack in enumerate(self._packs)}
        self._which = array("I", [which[chunk.pack] for chunk in chunks])
        self._offsets = array("Q", [chunk.offset for chunk in chunks])
        self._stored = array("I", [chunk.stored for chunk in chunks])
        self._raw = array("I", [chunk.raw for chunk in chunks])
        self._codecs = bytes([chunk.codec for chunk in chunks])
        self._digests = b"".join([chunk.digest for chunk in chunks])

    def __getitem__(self, at: int) -> Chunk:
        pack, digest = self._packs[self._which[at]], self._digests[32 * at : 32 * at + 32]
        return Chunk(pack, self._offsets[at], self._stored[at], self._raw[at], self._codecs[at], digest)


class _Stream:
    """A file with chunks: where each begins, and who reads on. ``entry`` is without them."""

    __slots__ = ("ahead", "chunks", "entry", "is_made", "passed", "read_to", "starts", "whole")

    def __init__(self, entry: Placed) -> None:
        assert not isinstance(entry.content, bytes)  # noqa: S101 - such files are in the page
        self.entry = entry._replace(content=())
        self.chunks = _Chunks(entry.content)
        self.starts = array("Q", accumulate((chunk.raw for chunk in entry.content), initial=0))
        if self.starts.pop() != entry.size:
            raise IntegrityError(f"{entry.path!r}: its chunks do not add up to its size", subject=repr(entry.path))
        self.ahead = Ahead(_FIRST, _MOST, _SLACK, READ_AHEAD)
        self.passed = 0  # what lies before was let go of
        self.whole = False  # whether the kernel would like to read it itself
        self.read_to = 0
        self.is_made = False  # whether it is being put together

    def parts(self, start: int, end: int) -> list[Part]:
        """The chunks of some bytes."""
        first, last = bisect_right(self.starts, start) - 1, bisect_left(self.starts, end)
        return [Part(self.chunks[at], self.entry, self.starts[at]) for at in range(first, last)]

    def left_behind(self, place: int) -> list[Part]:
        """The chunks behind somebody who reads on and is at this place, once each."""
        begin, self.passed = max(min(self.passed, place), place - MEMORY, 0), place
        return self.parts(begin, place)[:-1] if begin < place else []


class _Small(NamedTuple):
    """The files of one chunk on a page, by pack and offset."""

    places: list[tuple[bytes, int]]
    parts: list[Part]


class PackedContents:
    """Files in packs. ``wholes`` is where large ones are put together, if anywhere."""

    def __init__(self, sheets: PagedSheets, pieces: Pieces, wholes: Wholes | None) -> None:
        self._sheets = sheets
        self._pieces = pieces
        self._wholes = wholes
        self._streams: Kept[Place, _Stream] = Kept(_STREAMS)
        self._packs: Kept[bytes, Ahead] = Kept(_PACKS)
        self._small: Kept[int, _Small] = Kept(_SMALL)

    def read(self, place: Place, offset: int, size: int) -> Buffer:
        """Bytes of a file."""
        stream = self._streams.get(place)  # first: to read its page again takes long
        if stream is None:
            entry = self._sheets.entries(place.sheet)[place.row]
            if isinstance(entry.content, bytes):
                return entry.content[offset : offset + size]
            if len(entry.content) == 1 and entry.size < WHOLE:
                return self._of_small(place, entry, entry.content[0], offset, size)
            stream = self._stream(place, entry)
        start, end = min(offset, stream.entry.size), min(offset + size, stream.entry.size)
        if start >= end:
            return b""
        wanted = stream.parts(start, end)
        span = stream.ahead.after(start, end)
        if span is not None and span[0] < stream.entry.size:
            self._pieces.ahead(stream.parts(span[0], min(span[1], stream.entry.size)))
            self._pieces.release(stream.left_behind(start - _SLACK))
        data = _joined(self._pieces.get(wanted), start - wanted[0].start, end - start)
        self._was_read(stream, start, end)
        return data

    def _stream(self, place: Place, entry: Placed) -> _Stream:
        """A file that is read from now on, kept."""
        stream = _Stream(entry)
        self._streams.put(place, stream, _STREAM_BYTES + _CHUNK_BYTES * len(stream.starts))
        return stream

    def _of_small(self, place: Place, entry: Placed, chunk: Chunk, offset: int, size: int) -> Buffer:
        """Bytes of a file of one chunk; where such files are read in the order of their pack, the next ones are read ahead."""
        if offset >= entry.size or size <= 0:
            return b""
        ahead = self._packs.get(chunk.pack)
        if ahead is None:
            ahead = Ahead(_FIRST_SMALL, _MOST_SMALL, _SLACK_SMALL)
            self._packs.put(chunk.pack, ahead, 1)
        span = ahead.after(chunk.offset, chunk.offset + chunk.stored)
        if span is not None:
            parts = self._neighbours(place.sheet, chunk.pack, *span)
            ahead.only(parts[-1].chunk.offset + parts[-1].chunk.stored if parts else span[0])
            self._pieces.ahead(parts)
        raw = self._pieces.get([Part(chunk, entry, 0)])[0]
        return raw.buffer[raw.start + offset : raw.start + min(offset + size, raw.length)]

    def _neighbours(self, sheet: int, pack: bytes, start: int, end: int) -> list[Part]:
        """The files of one chunk, on this page and those behind it, that lie between two places of a pack."""
        found: list[Part] = []
        last = min(sheet + _SHEETS, len(self._sheets.firsts))
        with suppress(HoldfastError):  # of a page that nobody asked for yet
            while sheet < last:
                small = self._on(sheet)
                found += small.parts[bisect_left(small.places, (pack, start)) : bisect_left(small.places, (pack, end))]
                if not small.places or small.places[-1] >= (pack, end):
                    break
                sheet += 1
        return found

    def _on(self, sheet: int) -> _Small:
        """The files of one chunk on a page."""
        small = self._small.get(sheet)
        if small is None:
            found = [
                Part(entry.content[0], entry, 0)
                for entry in self._sheets.entries(sheet)
                if not isinstance(entry.content, bytes) and len(entry.content) == 1
            ]
            found.sort(key=lambda part: (part.chunk.pack, part.chunk.offset))
            small = _Small([(part.chunk.pack, part.chunk.offset) for part in found], found)
            self._small.put(sheet, small, 1)
        return small

    # whole files, for the kernel

    def whole(self, place: Place) -> int | None:
        """A descriptor of the file, once it was read to its end and put together."""
        stream = self._streams.get(place)
        entry = self._sheets.entries(place.sheet)[place.row] if stream is None else stream.entry
        if self._wholes is None or isinstance(entry.content, bytes) or entry.size < WHOLE:
            return None
        digest = entry.digest.hex()
        found = self._wholes.open(digest)
        if found is None:
            stream = stream or self._stream(place, entry)
            if not stream.whole:
                stream.whole = True
                self._pieces.later(lambda: self._wholes is not None and self._wholes.verify(digest))
        return found

    def _was_read(self, stream: _Stream, start: int, end: int) -> None:
        """Put a file together once it was read from its start to its end, if the kernel would like to read it."""
        if start <= stream.read_to + _SLACK:
            stream.read_to = max(stream.read_to, end)
        if stream.whole and stream.read_to >= stream.entry.size:
            stream.read_to = 0
            if stream.is_made:
                return
            stream.is_made = True
            self._pieces.later(lambda: self._put_together(stream))

    def _put_together(self, stream: _Stream) -> None:
        wholes, digest = self._wholes, stream.entry.digest.hex()

        def fill(path: os.PathLike[str]) -> None:
            with open(path, "wb", buffering=0) as file:
                for start in range(0, stream.entry.size, _BATCH):
                    end = min(start + _BATCH, stream.entry.size)
                    parts = stream.parts(start, end)
                    view = memoryview(_joined(self._pieces.get(parts), start - parts[0].start, end - start))
                    while view:
                        view = view[file.write(view) :]

        try:
            if wholes is not None and not wholes.verify(digest):
                wholes.admit(digest, stream.entry.size, fill)
        finally:
            stream.is_made = False


class ListedContents:
    """Files of layouts without chunks: each is brought whole, verified, when it is first read."""

    def __init__(self, sheets: ListedSheets, files: WholeFiles) -> None:
        self._sheets = sheets
        self._files = files
        self._open: Kept[str, _Opened | bytes] = Kept(_OPEN)

    def read(self, place: Place, offset: int, size: int) -> Buffer:
        """Bytes of a file."""
        entry = self._sheets.entry(*place)
        digest = entry.digest or ""
        found = self._open.get(digest)
        if found is None or (isinstance(found, _Opened) and not found.is_unchanged()):
            brought = self._files.bring(entry)
            found = _Opened(brought) if isinstance(brought, int) else brought
            self._open.put(digest, found, len(found) if isinstance(found, bytes) else _MIB)
        if isinstance(found, bytes):
            return found[offset : offset + size]
        return os.pread(found.descriptor, size, offset)

    def moved(self, place: Place) -> float:
        """When something last came of a file that is on its way; 0: it is not."""
        return self._files.moved(self._sheets.entry(*place))

    def whole(self, place: Place) -> int | None:
        """A descriptor of the file, if it is here."""
        return self._files.wholes.open(self._sheets.entry(*place).digest or "") if self._files.wholes else None


class _Opened:
    """An open file, closed when nobody holds it any more."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._changed = os.fstat(descriptor).st_ctime_ns
        weakref.finalize(self, os.close, descriptor).atexit = False  # threads may still read

    def is_unchanged(self) -> bool:
        """Whether nobody wrote to it, nor removed it."""
        return os.fstat(self.descriptor).st_ctime_ns == self._changed


def _joined(raws: Sequence[Raw], skip: int, size: int) -> Buffer:
    """Bytes out of chunks that follow one another; copied only where they do not stand in one buffer."""
    pieces: list[memoryview] = []
    buffer, begin, end = raws[0].buffer, raws[0].start + skip, raws[0].start + raws[0].length
    for raw in raws[1:]:
        if raw.buffer is buffer and raw.start == end:
            end += raw.length
        else:
            pieces.append(buffer[begin:end])
            buffer, begin, end = raw.buffer, raw.start, raw.start + raw.length
    pieces.append(buffer[begin:end])
    if len(pieces) == 1:
        return pieces[0][:size]
    return memoryview(b"".join(pieces))[:size]
