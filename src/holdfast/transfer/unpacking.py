"""Fetches files out of packs: ranges planned over all chunks that are wanted, each chunk verified, each file written in place.

Fetching 20,000 small files is a few ranges: what lies side by side in a pack is read as one, gaps of up to 256 KiB with it.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from holdfast.cache.tree import finish_copy, prepare_copy
from holdfast.cache.work import sweep
from holdfast.disk import begin_write_back, local_errors
from holdfast.errors import IntegrityError, ObjectNotFoundError
from holdfast.failpoint import reach
from holdfast.formats import layout as keys
from holdfast.formats.codec import unpack
from holdfast.model.chunk import CODEC_NONE
from holdfast.model.digest import raw_digest_of
from holdfast.model.manifest import PERMISSIONS
from holdfast.store.base import Bulk, Expects, FillsFiles, OpensFiles
from holdfast.transfer.dedup import GAP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from typing import Self

    from _typeshed import ReadableBuffer

    from holdfast.cache.ranges import Ranges
    from holdfast.cache.reuse import Reuse
    from holdfast.model.chunk import Chunk, Placed
    from holdfast.model.manifest import Manifest
    from holdfast.store.base import Store
    from holdfast.transfer.engine import Engine

__all__ = ["PackRange", "Part", "Unpacking", "checked", "missing", "pack_ranges", "read_range"]

#: No range is longer than this, in bytes, unless one chunk is.
_RANGE: Final = 4 * 1024 * 1024
#: Ranges at a time: of large files of a store on this machine one is copied while another is checked, and more would wait for the file.
_AT_ONCE, _AT_ONCE_HERE = 4, 2
_TRIES: Final = 2
_WRITE: Final = 32 * 1024
_FILE: Final = ord("f")


class Part(NamedTuple):
    """A chunk that is wanted, and where its bytes go: into which file, from which byte on."""

    chunk: Chunk
    file: Placed
    start: int


@dataclass(frozen=True, slots=True)
class PackRange:
    """Bytes of one pack (hex name) that are read by one request, and the parts within, by offset."""

    pack: str
    start: int
    end: int
    parts: tuple[Part, ...]

    @property
    def straight(self) -> bool:
        """Whether these bytes, as they are, are a stretch of one file that has other chunks, too."""
        first = self.parts[0]
        ahead = first.start - first.chunk.offset
        if first.chunk.raw == first.file.size or first.chunk.offset != self.start:
            return False
        end = self.start
        for chunk, file, start in self.parts:
            if chunk.codec != CODEC_NONE or chunk.offset != end or start - end != ahead or file is not first.file:
                return False
            end += chunk.stored
        return end == self.end


def pack_ranges(parts: Sequence[Part], most: int = _RANGE, gap: int = GAP) -> list[PackRange]:
    """The ranges to read so that every part is read once, and few bytes that nobody wants. Pure."""
    ordered = sorted(parts, key=lambda part: (part.chunk.pack, part.chunk.offset))
    ranges: list[PackRange] = []
    group: list[Part] = []
    pack, start, end = b"", 0, 0
    for part in ordered:
        chunk = part.chunk
        stop = chunk.offset + chunk.stored
        near = chunk.pack == pack and chunk.offset <= end + gap and (stop - start <= most or stop <= end)
        if group and not near:
            ranges.append(PackRange(pack.hex(), start, end, tuple(group)))
            group = []
        if not group:
            pack, start, end = chunk.pack, chunk.offset, stop
        group.append(part)
        end = max(end, stop)
    if group:
        ranges.append(PackRange(pack.hex(), start, end, tuple(group)))
    return ranges


class Unpacking:
    """The files of one version, or some of them, into the directory ``copy``.

    ``resumed`` tells that an earlier run may have left some of it there. ``reuse`` knows what else is on this machine, ``ranges``
    what mounts have read of packs.
    """

    def __init__(self, store: Store, engine: Engine, copy: Path, reuse: Reuse, ranges: Ranges | None = None) -> None:
        self._store = store
        self._engine = engine
        self._copy = copy
        self._root = str(copy)
        self._reuse = reuse
        self._ranges = ranges
        self._moved = threading.Lock()
        self._local = threading.local()
        self._finished: set[bytes] = set()  # files that have their modes and times
        self.bytes = 0

    def run(self, entries: Sequence[Placed], manifest: Manifest) -> None:
        """Lay out these entries, sorted by path, which are those of the manifest.

        Raises:
            IntegrityError: a pack is missing, or a chunk is not what the manifest says; pack and file are named.
            LocalError: the disk refuses.
        """
        with local_errors(self._copy):
            resumed = sweep(self._copy, manifest)
            self._copy.mkdir(exist_ok=True)
            prepare_copy(self._root, manifest.entries)
            parts = list(self._parts(entries, resumed=resumed))
        parts = self._from_ranges(parts)
        ranges = pack_ranges(parts)
        if isinstance(self._store, Expects):
            self._store.expect(dict.fromkeys(keys.pack_key(wanted.pack) for wanted in ranges))
        here = isinstance(self._store, OpensFiles) and all(each.straight for each in ranges)
        self._engine.run(self._range, ranges, at_once=_AT_ONCE_HERE if here else _AT_ONCE)
        with local_errors(self._copy):
            finished = self._finished
            left = [e for e in manifest.entries if e.kind != "file" or e.path.encode() not in finished]
            finish_copy(self._root, left)

    def _parts(self, entries: Sequence[Placed], *, resumed: bool) -> Iterator[Part]:
        """What must be read; what is here already, in this copy or another, is put in its place on the way."""
        for entry in entries:
            if entry.kind != _FILE:
                continue
            path = self._path(entry)
            if isinstance(entry.content, bytes):
                self._whole(entry, entry.content)
            elif not self._reuse.place(entry, path):
                yield from self._missing(entry, path, resumed=resumed)

    def _from_ranges(self, parts: list[Part]) -> list[Part]:
        """Put in its place what mounts have read; what is left, for it is not there or not right."""
        ranges = self._ranges
        if ranges is None:
            return parts
        packs = {part.chunk.pack for part in parts}
        known = {pack for pack in packs if ranges.has(keys.pack_key(pack.hex()), 0, 0)}
        here = [part for part in parts if part.chunk.pack in known and self._is_in(ranges, part.chunk)]
        if not here:
            return parts
        wrong = self._engine.run(
            lambda each: self._range_here(ranges, each), pack_ranges(here, gap=0), at_once=_AT_ONCE_HERE
        )
        there = {id(part) for part in here} - {id(part) for some in wrong for part in some}
        return [part for part in parts if id(part) not in there]

    @staticmethod
    def _is_in(ranges: Ranges, chunk: Chunk) -> bool:
        return ranges.has(keys.pack_key(chunk.pack.hex()), chunk.offset, chunk.stored)

    def _range_here(self, ranges: Ranges, wanted: PackRange) -> Sequence[Part]:
        """Chunks out of the range cache into their places; all of them are asked for again where one is wrong."""
        data = ranges.read(keys.pack_key(wanted.pack), wanted.start, wanted.end - wanted.start)
        if data is None:
            return wanted.parts
        try:
            with local_errors(self._copy):
                self._place(wanted, data)
        except IntegrityError:
            return wanted.parts
        return ()

    def _missing(self, entry: Placed, path: str, *, resumed: bool) -> Iterator[Part]:
        """The chunks of a file that are not in its place yet; one chunk alone is written whole when it comes."""
        assert not isinstance(entry.content, bytes)  # noqa: S101 - such files are in the page
        present = _present(path, entry) if resumed else frozenset()
        if len(entry.content) > 1:
            descriptor = _writable(path)
            try:
                os.ftruncate(descriptor, entry.size)
            finally:
                os.close(descriptor)
        start = 0
        for chunk in entry.content:
            if start not in present and not self._reuse.chunk(chunk, path, start):
                yield Part(chunk, entry, start)
            else:
                self._engine.progress.advance(chunk.raw)
            start += chunk.raw

    def _whole(self, entry: Placed, data: ReadableBuffer) -> None:
        _write_file(self._path(entry), data, entry)
        self._finished.add(entry.path)  # sets may be added to from several threads

    def _path(self, entry: Placed) -> str:
        return f"{self._root}/{entry.path.decode()}"

    def _range(self, wanted: PackRange) -> None:
        """Read one range and put its chunks in their places; what comes out wrong is asked for once more."""
        for attempt in range(_TRIES):
            try:
                with local_errors(self._copy):
                    if attempt or not self._filled(wanted):
                        self._place(wanted, self._get(wanted))
            except IntegrityError:
                if attempt == _TRIES - 1:
                    raise
            else:
                reach("fetch.data-partly")
                return

    def _filled(self, wanted: PackRange) -> bool:
        """Where a range is one stretch of a large file, as it is: have the kernel put it there, then read it back and check it."""
        if not (isinstance(self._store, FillsFiles) and wanted.straight):
            return False
        key, first = keys.pack_key(wanted.pack), wanted.parts[0]
        length = wanted.end - wanted.start
        descriptor = os.open(self._path(first.file), os.O_RDWR)
        try:
            with missing(key, first):
                found = self._store.get_range_to(key, wanted.start, length, descriptor, first.start)
            if found is None:
                return False
            begin_write_back(descriptor, first.start, length)
            for part in wanted.parts:
                data = self._buffer(part.chunk.raw)
                if os.preadv(descriptor, [data], part.start) != len(data) or raw_digest_of(data) != part.chunk.digest:
                    raise _wrong(part, key)
        finally:
            os.close(descriptor)
        self._arrived(length)
        self._engine.moved(length)
        return True

    def _get(self, wanted: PackRange) -> memoryview:
        key = keys.pack_key(wanted.pack)
        with missing(key, wanted.parts[0]):
            data = self._read(key, wanted.start, wanted.end - wanted.start)
        self._arrived(len(data))
        return data

    def _arrived(self, count: int) -> None:
        with self._moved:
            self.bytes += count

    def _read(self, key: str, start: int, length: int) -> memoryview:
        """A range, into memory of this thread that is used again: new memory costs the kernel as much as the bytes in it."""
        return read_range(self._store, key, start, length, self._buffer)

    def _buffer(self, length: int) -> memoryview:
        buffer: memoryview | None = getattr(self._local, "buffer", None)
        if buffer is None or len(buffer) < length:
            buffer = self._local.buffer = memoryview(bytearray(max(length, _RANGE + GAP)))
        return buffer[:length]

    def _place(self, wanted: PackRange, data: memoryview) -> None:
        """Check every chunk of a range, then give it its place; chunks side by side in pack and file are written as one."""
        key = keys.pack_key(wanted.pack)
        with _LargeFiles(self._path, data) as large:
            for part in wanted.parts:
                chunk = part.chunk
                begin = chunk.offset - wanted.start
                raw = checked(data[begin : begin + chunk.stored], part, key)
                if chunk.raw == part.file.size:
                    self._whole(part.file, raw)
                elif chunk.codec == CODEC_NONE:
                    large.add(part, begin)
                else:
                    large.write(part.file, raw, part.start)
        self._engine.moved(sum(part.chunk.raw for part in wanted.parts))


class _LargeFiles:
    """Writes pieces of large files; those that follow one another in ``data`` and in their file are gathered."""

    def __init__(self, path_of: Callable[[Placed], str], data: memoryview) -> None:
        self._path_of = path_of
        self._data = data
        self._open: dict[bytes, int] = {}
        self._gathered: tuple[Placed, int, int, int] | None = None  # file, where it begins there, begin and end in data

    def add(self, part: Part, begin: int) -> None:
        """A chunk that stands in ``data`` as it is."""
        end = begin + part.chunk.raw
        if self._gathered is not None:
            file, start, first, last = self._gathered
            if file.path == part.file.path and last == begin and start + last - first == part.start:
                self._gathered = file, start, first, end
                return
            self._flush()
        self._gathered = part.file, part.start, begin, end

    def write(self, file: Placed, raw: ReadableBuffer, start: int) -> None:
        """Write a piece now, and let the disk begin with it."""
        descriptor = self._open.get(file.path)
        if descriptor is None:
            descriptor = self._open[file.path] = os.open(self._path_of(file), os.O_WRONLY)
        _write_at(descriptor, raw, start)
        begin_write_back(descriptor, start, memoryview(raw).nbytes)

    def _flush(self) -> None:
        if self._gathered is not None:
            file, start, first, last = self._gathered
            self._gathered = None
            self.write(file, self._data[first:last], start)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        try:
            if failed is None:
                self._flush()
        finally:
            for descriptor in self._open.values():
                os.close(descriptor)


def read_range(store: Store, key: str, start: int, length: int, room: Callable[[int], memoryview]) -> memoryview:
    """Bytes of an object, by the way that costs a store least; ``room`` gives memory for so many where it can fill ours."""
    if not isinstance(store, Bulk | OpensFiles):
        return memoryview(store.get_range(key, start, length).data).cast("B")
    buffer = room(length)
    if isinstance(store, Bulk):
        return memoryview(store.get_range_into(key, start, buffer).data).cast("B")
    file, _ = store.open_file(key)
    with file:
        return buffer[: os.preadv(file.fileno(), [buffer], start)]


@contextmanager
def missing(key: str, part: Part) -> Iterator[None]:
    """An object that is not there is lost data."""
    try:
        yield
    except ObjectNotFoundError as error:
        raise IntegrityError(
            f"{key} is missing, and with it bytes of {part.file.path.decode()!r}",
            subject=key,
            hint="the store has lost data: asset verify tells what else is missing",
        ) from error


def checked(stored: memoryview, part: Part, key: str) -> ReadableBuffer:
    """The raw bytes of a chunk, if they are what the manifest says."""
    chunk, path = part.chunk, part.file.path.decode(errors="replace")
    subject = f"{key} at {chunk.offset}, of {path!r}"
    if len(stored) != chunk.stored:
        raise IntegrityError(f"{subject}: the pack ends early", subject=key)
    raw = unpack(stored, chunk.codec, chunk.raw, subject)
    if raw_digest_of(raw) != chunk.digest:
        raise _wrong(part, key)
    return raw


def _wrong(part: Part, key: str) -> IntegrityError:
    path = part.file.path.decode(errors="replace")
    return IntegrityError(f"{key} at {part.chunk.offset}, of {path!r}: does not match its digest", subject=key)


def _writable(path: str) -> int:
    """Open a large file to be written; what a run left that was killed when all but the name was done may be read-only by now."""
    flags = os.O_RDWR | os.O_CREAT
    try:
        return os.open(path, flags, 0o600)
    except PermissionError:
        os.chmod(path, 0o600)
        return os.open(path, flags, 0o600)


def _present(path: str, entry: Placed) -> frozenset[int]:
    """Where in a file that an earlier run left chunks stand that are right."""
    assert not isinstance(entry.content, bytes)  # noqa: S101 - as the caller knows
    found = set()
    try:
        with open(path, "rb", buffering=0) as file:
            if len(entry.content) == 1 and os.fstat(file.fileno()).st_size != entry.size:
                return frozenset()  # it is written whole or not at all
            start = 0
            for chunk in entry.content:
                data = os.pread(file.fileno(), chunk.raw, start)
                if raw_digest_of(data) == chunk.digest and len(data) == chunk.raw:
                    found.add(start)
                start += chunk.raw
    except FileNotFoundError:
        return frozenset()
    return frozenset(found)


def _write_file(path: str, data: ReadableBuffer, entry: Placed) -> None:
    """Write a whole small file with its mode (through the umask) and time; what an earlier run left there goes first."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    mode = 0o666 if entry.mode is None else entry.mode & PERMISSIONS | 0o400
    try:
        descriptor = os.open(path, flags, mode)
    except FileExistsError:
        os.unlink(path)
        descriptor = os.open(path, flags, mode)
    try:
        view = memoryview(data).cast("B")
        while view:
            view = view[os.write(descriptor, view) :]
        if entry.mtime is not None:
            os.utime(descriptor, ns=(entry.mtime, entry.mtime))
    finally:
        os.close(descriptor)


def _write_at(descriptor: int, data: ReadableBuffer, start: int) -> None:
    view = memoryview(data).cast("B")
    while view:
        count = os.pwrite(descriptor, view[:_WRITE], start)
        view = view[count:]
        start += count
