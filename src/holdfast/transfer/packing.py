"""Turns a walked folder into packs, pages and a root: the push of layout ``packs`` up to its claim (design §3, FORMAT.md §9).

Whatever the last push of this folder left unchanged is not read; whatever the store has already is not sent. Entries leave in
the order of the manifest, each once the containers that it needs have their names. Memory holds one open container, those
on their way, and the entries that wait for them.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from holdfast.cache.blocks import Stamp, read_part, read_small, reading
from holdfast.cache.tree import check_source_link
from holdfast.errors import SourceChangedError, UsageError
from holdfast.formats.codec import pack
from holdfast.formats.container import PACK
from holdfast.formats.pages import INLINE
from holdfast.model.chunk import CODEC_NONE, Chunk, Placed
from holdfast.model.digest import Hasher, raw_digest_of
from holdfast.model.manifest import PERMISSIONS
from holdfast.transfer.chunking import SINGLE, Buffers, cut, profile_of
from holdfast.transfer.containers import ContainerWriter
from holdfast.transfer.dedup import Index, Pending, Prober, Runs
from holdfast.transfer.manifests import opened
from holdfast.transfer.order import Beside, Found, changed, in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from _typeshed import ReadableBuffer

    from holdfast.cache.stats import Walked
    from holdfast.formats.root import Page
    from holdfast.formats.stats import DirTable
    from holdfast.transfer.containers import Container
    from holdfast.transfer.engine import Engine
    from holdfast.transfer.paging import PageWriter

__all__ = ["Earlier", "Packing"]

_FILE, _DIR, _LINK = b"fdl"
_KINDS: Final = {stat.S_IFREG >> 12: _FILE, stat.S_IFDIR >> 12: _DIR, stat.S_IFLNK >> 12: _LINK}
#: Kind and permissions where an entry does not tell.
_SHOWN: Final = {_FILE: (stat.S_IFREG, 0o644), _DIR: (stat.S_IFDIR, 0o755), _LINK: (stat.S_IFLNK, 0o777)}
#: Entries that wait for one whose run of chunks may go on, at most: that is then stored again, rather than keeping all of them in memory.
_MANY: Final = 4096


@dataclass(slots=True)
class Earlier:
    """What is known before: the tables of the last push of this folder, the manifest that it made, and chunks of any version.

    ``pages`` are those of that manifest, where the tables were made of it: then an entry of equal numbers is that of the manifest.
    """

    tables: Mapping[str, DirTable] = field(default_factory=dict)
    entries: Iterator[Placed] = field(default_factory=lambda: iter(()))
    index: Index = field(default_factory=Index)
    pages: Iterator[tuple[Page, bytes]] | None = None


class Packing:
    """One folder into the containers of one version. ``send`` gets the packs, ``pages`` the entries in order."""

    def __init__(
        self,
        walked: Walked,
        earlier: Earlier,
        condemned: frozenset[str],
        engine: Engine,
        send: Callable[[Container], None],
        pages: PageWriter,
    ) -> None:
        self._walked = walked
        self._beside = Beside(earlier.entries)
        self._before = earlier.tables
        self._earlier_pages = earlier.pages
        self._index = earlier.index
        self._refused = frozenset(map(bytes.fromhex, condemned))
        self._engine = engine
        self._packs = ContainerWriter(PACK, send, condemned)
        self._pages = pages
        self._runs = Runs(self._store)
        self._prober = Prober()
        self._buffers = Buffers()
        #: What cannot leave yet. A Placed is an earlier entry, kept as it is; a page one in which nothing changed.
        self._waiting: deque[Pending | Placed | tuple[Page, bytes]] = deque()
        #: What was read, by directory.
        self.read: dict[str, list[str]] = {}

    def run(self) -> None:
        """Pack everything.

        Raises:
            SourceChangedError: a file is not what was walked.
            UsageError: an entry that cannot be kept, by name.
        """
        if self._earlier_pages is None or self._refused:
            for found in in_order(self._walked.tables, self._before):
                self._one(found, self._beside.at(found.path))
        else:
            self._by_page(self._earlier_pages)
        self._runs.end()
        self._packs.close()
        self._drain()
        assert not self._waiting  # noqa: S101 - every container is closed, so every entry can leave

    def _by_page(self, pages: Iterator[tuple[Page, bytes]]) -> None:
        """Go through an earlier manifest, whose pages are as they were where nothing changed between one and the next."""
        changes = deque(changed(self._walked.tables, self._before))
        for page, end in _with_ends(pages):
            here = _until(changes, end)
            if here:
                self._touched(page, here)
            else:
                self._waiting.append(page)
                self._engine.progress.advance(page[0].size)
                self._drain()
        for _, found in changes:  # of a version that held nothing
            if found is not None:
                self._one(found, None)

    def _touched(self, page: tuple[Page, bytes], changes: list[tuple[bytes, Found | None]]) -> None:
        """A page in which, or behind which, something changed."""
        kept = {entry.path: entry for entry in opened(*page)}
        found = dict(changes)
        for path in sorted(kept.keys() | found.keys()):
            now = found[path] if path in found else _as_it_was(kept[path])
            if now is not None:
                self._one(now, kept.get(path))

    # one entry

    def _one(self, found: Found, earlier: Placed | None) -> None:
        if found.clean and earlier is not None and earlier.kind == _kind(found.mode):
            self._keep(found, earlier)
        else:
            self._take(found)
        if self._packs.full:
            self._packs.close()
        if self._waiting:
            self._drain()

    def _keep(self, found: Found, earlier: Placed) -> None:
        """An entry that is as it was: its chunks are there, and it is not read unless they are too scattered."""
        content = earlier.content
        plain, kept = isinstance(content, bytes), True
        if earlier.mtime != found.mtime or (earlier.mode != found.mode & PERMISSIONS and earlier.kind != _LINK):
            mode = None if earlier.kind == _LINK else found.mode & PERMISSIONS
            earlier = earlier._replace(mode=mode, mtime=found.mtime)  # a version of equal content, pushed elsewhere
            kept = False
        if kept and (plain or self._goes_on(content)):
            if earlier.kind == _DIR:
                self._imply(earlier.path)
            if self._waiting:
                self._waiting.append(earlier)
            else:
                self._pages.add(earlier, kept=True)
        elif isinstance(content, bytes):
            self._leave(Pending(earlier))
        elif self._refused and any(chunk.pack in self._refused for chunk in content):
            self._take(found)
            return
        else:
            self._keep_chunks(found, earlier, content)
        self._engine.progress.advance(earlier.size)

    def _goes_on(self, content: bytes | tuple[Chunk, ...]) -> bool:
        """Whether it is one chunk that goes on a run which is worth its range: nearly every file of a folder hardly changed."""
        return isinstance(content, tuple) and len(content) == 1 and self._runs.goes_on(content[0])

    def _keep_chunks(self, found: Found, earlier: Placed, content: tuple[Chunk, ...]) -> None:
        pending = Pending(earlier, len(content))
        start = 0
        for index, chunk in enumerate(content):
            self._runs.hit(pending, index, chunk, self._loader(found, start, chunk))
            start += chunk.raw
        self._leave(pending)

    def _loader(self, found: Found, start: int, chunk: Chunk) -> Callable[[], ReadableBuffer]:
        path = self._walked.path(found.directory, found.name)

        def load() -> bytes:
            self.read.setdefault(found.directory, []).append(found.name)
            return read_part(path, start, chunk.raw, chunk.digest)

        return load

    def _take(self, found: Found) -> None:
        """An entry that is new or changed."""
        mode, mtime = found.mode & PERMISSIONS, found.mtime
        if stat.S_ISDIR(found.mode):
            self._leave(Pending(Placed(found.path, _DIR, mode, mtime)))
            return
        self.read.setdefault(found.directory, []).append(found.name)
        path = self._walked.path(found.directory, found.name)
        if stat.S_ISLNK(found.mode):
            target = check_source_link(found.path.decode(), path)
            self._leave(Pending(Placed(found.path, _LINK, None, mtime, target=target)))
        elif not stat.S_ISREG(found.mode):
            raise UsageError(
                f"{found.path.decode()!r} is a device, fifo or socket, which an asset cannot hold",
                subject=found.path.decode(),
            )
        elif found.size <= SINGLE:
            data = read_small(path, Stamp(found.size, found.mtime, found.inode))
            if found.size <= INLINE:
                self._leave(Pending(Placed.inline(found.path, mode, mtime, data)))
                self._engine.progress.advance(found.size)
            else:
                self._single(found, data)
        else:
            self._large(found, path)

    def _single(self, found: Found, data: bytes) -> None:
        digest = raw_digest_of(data)
        entry = Placed(found.path, _FILE, found.mode & PERMISSIONS, found.mtime, found.size, digest, ())
        pending = Pending(entry, 1)
        self._chunk(pending, 0, data, digest)
        self._leave(pending)

    def _large(self, found: Found, path: str) -> None:
        profile = profile_of(found.name, found.size)
        hasher = Hasher()
        entry = Placed(found.path, _FILE, found.mode & PERMISSIONS, found.mtime, found.size, b"", ())
        pending = Pending(entry)
        stamp = Stamp(found.size, found.mtime, found.inode)
        with (
            reading(path, stamp) as fill,
            self._engine.ahead(cut(fill, found.size, profile, self._buffers)) as blocks,
            self._engine.behind(hasher.update) as hash_behind,
        ):
            for block, lengths in blocks:
                hash_behind(block)
                self._block(pending, block, lengths)
        pending.entry = entry._replace(digest=hasher.digest())
        self._leave(pending)

    def _block(self, pending: Pending, block: memoryview, lengths: list[int]) -> None:
        first = len(pending.chunks)
        pending.chunks.extend([None] * len(lengths))
        starts = accumulate(lengths, initial=0)
        pieces = [block[start : start + length] for start, length in zip(starts, lengths, strict=False)]
        digests = [raw_digest_of(piece) for piece in pieces]
        new = sum(len(piece) for piece, digest in zip(pieces, digests, strict=True) if not self._index.find(digest))
        copied = new * 2 < len(block)  # else a few chunks that wait in their pack would keep the whole block in memory
        for index, (piece, digest) in enumerate(zip(pieces, digests, strict=True), first):
            self._chunk(pending, index, piece, digest, copied=copied)
            if self._packs.full:
                self._packs.close()

    def _chunk(
        self, pending: Pending, index: int, data: ReadableBuffer, digest: bytes, *, copied: bool = False
    ) -> None:
        found = self._index.find(digest)
        if found is None:
            self._put(pending, index, bytes(memoryview(data)) if copied else data, digest)
            return
        if len(found.pack) < len(digest):  # of a container of this very push
            pending.last = max(pending.last, int.from_bytes(found.pack, "big"))
        held = bytes(memoryview(data))
        self._engine.progress.advance(len(held))
        self._runs.hit(pending, index, found, lambda: held)

    def _store(self, pending: Pending, index: int, data: ReadableBuffer) -> None:
        self._put(pending, index, data, raw_digest_of(data))

    def _put(self, pending: Pending, index: int, data: ReadableBuffer, digest: bytes) -> None:
        raw = len(memoryview(data))
        ending = os.path.splitext(pending.entry.path)[1].decode(errors="replace")
        codec = self._prober.codec(ending, data)
        stored = data
        if codec != CODEC_NONE:
            stored = pack(data, codec)
            if len(stored) >= raw:
                stored, codec = data, CODEC_NONE
        size = len(memoryview(stored))
        packs = self._packs
        packs.make_room(size)
        number = packs.number
        chunk = Chunk(packs.provisional, packs.add(stored, size, raw, codec, digest), size, raw, codec, digest)
        pending.last = max(pending.last, number)
        pending.chunks[index] = chunk
        self._index.add(chunk)

    # leaving, in order

    def _leave(self, pending: Pending) -> None:
        """The entry is complete; it goes to the pages when those before it have gone and its packs have names."""
        if pending.entry.kind == _DIR:
            self._imply(pending.entry.path)
        if self._waiting or pending.undecided or pending.last >= 0:
            self._waiting.append(pending)
        else:
            self._emit(pending)

    def _imply(self, path: bytes) -> None:
        """Say of a directory whether what lies in it implies it."""
        self._pages.implied(path, implied=self._is_implied(path))

    def _is_implied(self, path: bytes) -> bool:
        return bool(self._walked.tables[path.decode()].names)

    def _drain(self) -> None:
        waiting, number = self._waiting, self._packs.number
        while waiting:
            first = waiting[0]
            if isinstance(first, Placed):
                self._pages.add(first, kept=True)
            elif isinstance(first, tuple):
                self._pages.untouched(*first, is_implied=self._is_implied)
            elif first.undecided and len(waiting) > _MANY:
                self._runs.end()
                continue
            elif first.undecided or first.last >= number:
                return
            else:
                self._emit(first)
            waiting.popleft()

    def _emit(self, pending: Pending) -> None:
        entry = pending.entry
        if not pending.chunks:
            self._pages.add(entry, kept=False)
            return
        final = self._packs.final
        chunks = []
        for chunk in pending.chunks:
            if chunk is None:
                raise SourceChangedError(
                    f"{entry.path.decode()} changed while it was pushed", subject=entry.path.decode()
                )
            chunks.append(chunk if len(chunk.pack) == 32 else chunk._replace(pack=final(chunk.pack)))
        self._pages.add(entry._replace(content=tuple(chunks)), kept=False)


def _with_ends(pages: Iterable[tuple[Page, bytes]]) -> Iterator[tuple[tuple[Page, bytes], bytes | None]]:
    """Each page, and where the next one begins; None behind the last."""
    before = None
    for page in pages:
        if before is not None:
            yield before, page[0].first
        before = page
    if before is not None:
        yield before, None


def _until(changes: deque[tuple[bytes, Found | None]], end: bytes | None) -> list[tuple[bytes, Found | None]]:
    """Take the changes before a path; all where there is none."""
    taken = []
    while changes and (end is None or changes[0][0] < end):
        taken.append(changes.popleft())
    return taken


def _as_it_was(entry: Placed) -> Found:
    """An entry of a manifest as a mount shows it."""
    directory, _, name = entry.path.decode().rpartition("/")
    kind, rights = _SHOWN[entry.kind]
    mode = kind | (rights if entry.mode is None else entry.mode)
    return Found(entry.path, directory, name, mode, entry.size, entry.mtime or 0, 0, clean=True)


def _kind(mode: int) -> int:
    return _KINDS.get(mode >> 12, 0)
