"""What need not be stored again: chunks that are there already, where a fetch can read them in runs (FORMAT.md §9.4). Pure.

A version put together of crumbs from a hundred packs would be small to store and slow to fetch. So what is there is referred to
only in runs that are worth a range request: 8 chunks or 1 MiB that one range can read; else it is stored once more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from holdfast.formats.codec import choose

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from _typeshed import ReadableBuffer

    from holdfast.model.chunk import Chunk, Placed

__all__ = ["GAP", "Index", "Pending", "Prober", "Runs"]

#: Ranges with at most so many bytes between them are read as one.
GAP: Final = 256 * 1024
_CHUNKS: Final = 8
_BYTES: Final = 1024 * 1024
#: More chunks than this are not remembered: 2 million take some 500 MB.
_MOST: Final = 2_000_000


class Index:
    """Chunks by digest. ``fill`` is asked for those of other versions once a chunk is looked for."""

    def __init__(self, fill: Callable[[Index], None] | None = None) -> None:
        self._chunks: dict[bytes, Chunk] = {}
        self._unread: dict[bytes, Callable[[], Iterable[Chunk]]] = {}
        self._fill = fill

    def add(self, chunk: Chunk) -> None:
        """Remember a chunk; of two with one digest, the first."""
        if len(self._chunks) < _MOST:
            self._chunks.setdefault(chunk.digest, chunk)

    def add_all(self, digests: Iterable[bytes], read: Callable[[], Iterable[Chunk]]) -> None:
        """Remember that ``read`` gives chunks of these digests: it is asked once one of them is looked for."""
        known, unread = self._chunks, self._unread
        if len(known) + len(unread) < _MOST:
            for digest in digests:
                unread.setdefault(digest, read)

    def find(self, digest: bytes) -> Chunk | None:
        """Where a chunk of this digest is."""
        if self._fill is not None:
            fill, self._fill = self._fill, None
            fill(self)
        if digest not in self._chunks and (read := self._unread.pop(digest, None)) is not None:
            for chunk in read():
                self.add(chunk)
        return self._chunks.get(digest)


class Pending:
    """A file's entry in the making: its chunks, some of them not decided yet. ``last`` is the youngest container that it needs."""

    __slots__ = ("chunks", "entry", "last", "undecided")

    def __init__(self, entry: Placed, count: int = 0) -> None:
        self.entry = entry
        self.chunks: list[Chunk | None] = [None] * count
        self.undecided = 0
        self.last = -1


class Runs:
    """Decides for each chunk that is there already whether it is referred to; ``store`` stores it again."""

    def __init__(self, store: Callable[[Pending, int, ReadableBuffer], None]) -> None:
        self._store = store
        self._pack = b""
        self._start = self._end = 0
        self._worth = False
        self._bytes = 0
        self._waiting: list[tuple[Pending, int, Chunk, Callable[[], ReadableBuffer]]] = []

    def goes_on(self, chunk: Chunk) -> bool:
        """Take the next hit, if it goes on a run that is worth its range already; else say no, and it must be given to ``hit``."""
        if not self._worth or chunk.pack != self._pack or not self._start <= chunk.offset <= self._end + GAP:
            return False
        self._end = max(self._end, chunk.offset + chunk.stored)
        return True

    def hit(self, pending: Pending, index: int, chunk: Chunk, load: Callable[[], ReadableBuffer]) -> None:
        """Take the next hit. ``load`` gets its raw bytes, if they are needed."""
        if self.goes_on(chunk):
            pending.chunks[index] = chunk
            return
        if chunk.pack == self._pack and self._start <= chunk.offset <= self._end + GAP:
            self._end = max(self._end, chunk.offset + chunk.stored)
        else:
            self.end()
            self._pack, self._start, self._end = chunk.pack, chunk.offset, chunk.offset + chunk.stored
        pending.undecided += 1
        self._waiting.append((pending, index, chunk, load))
        self._bytes += chunk.stored
        if len(self._waiting) >= _CHUNKS or self._bytes >= _BYTES:
            self._accept()

    def _accept(self) -> None:
        self._worth = True
        for pending, index, chunk, _ in self._waiting:
            pending.chunks[index] = chunk
            pending.undecided -= 1
        self._waiting.clear()

    def end(self) -> None:
        """The run is over: what was not worth a range is stored again."""
        waiting, self._waiting = self._waiting, []
        self._worth, self._bytes, self._pack = False, 0, b""
        for pending, index, _, load in waiting:
            self._store(pending, index, load())
            pending.undecided -= 1


class Prober:
    """Which codec pays for files of one ending: tried on a sample now and then, less often where nothing pays."""

    _AGAIN: Final = 32
    _SELDOM: Final = 256
    _SAMPLE: Final = 16 * 1024

    def __init__(self) -> None:
        self._known: dict[str, list[int]] = {}  # ending → codec, uses left, uses after the next trial

    def codec(self, ending: str, data: ReadableBuffer) -> int:
        """The codec to use for these bytes."""
        known = self._known.get(ending)
        if known is None:
            known = self._known[ending] = [0, 0, 1]
        if known[1] <= 0:
            codec = choose(memoryview(data)[: self._SAMPLE])
            if codec:
                known[:] = [codec, self._AGAIN, 1]
            else:
                known[:] = [0, known[2], min(known[2] * 2, self._SELDOM)]
        known[1] -= 1
        return known[0]
