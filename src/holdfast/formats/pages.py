"""Manifest pages: a few hundred entries in columns (FORMAT.md §9.2).

Columns, because like compresses with like; cut by the paths, because then a page in which nothing changed is the same bytes in
the next version, and is found there by its digest.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple, TypeVar

import msgspec

from holdfast.errors import IntegrityError
from holdfast.formats.columns import FORMAT, Numbers, decode_columns, digests_in
from holdfast.formats.container import MOST
from holdfast.model.chunk import Chunk, Placed, canonical
from holdfast.model.digest import raw_digest_of
from holdfast.model.manifest import PERMISSIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = [
    "INLINE",
    "LARGEST_CHUNK",
    "LARGEST_PAGE",
    "MOST_ENTRIES",
    "Cutter",
    "Rows",
    "decode_chunks",
    "decode_page",
    "decode_rows",
    "decode_sums",
    "encode_page",
]

Result = TypeVar("Result")

#: Files of up to this many bytes stand in the page.
INLINE: Final = 256
#: No page unfolds to more bytes, nor do its paths together.
LARGEST_PAGE: Final = 32 * 1024 * 1024
#: No page has more entries, and no chunk more bytes, stored or raw.
MOST_ENTRIES: Final = 65_536
LARGEST_CHUNK: Final = 16 * 1024 * 1024
_LEAST, _CUT_MASK, _MOST, _BYTES = 64, 0xFF, 1024, 256 * 1024
_FILE, _DIR, _LINK = b"fdl"
_LATEST: Final = (1 << 63) - 1


_ROWS: Final = msgspec.Meta(max_length=MOST_ENTRIES)
_Ints = Annotated[list[int], _ROWS]
_Maybe = Annotated[list[int | None], _ROWS]
_Bytes = Annotated[list[bytes], _ROWS]


class _Page(msgspec.Struct, array_like=True):
    format: int
    count: int
    shared: _Ints
    rest: _Bytes
    kinds: bytes
    modes: _Maybe
    mtimes: _Maybe
    targets: Annotated[list[str], _ROWS]
    sizes: _Ints
    chunks: _Ints
    inline: _Bytes
    digests: bytes
    packs: bytes
    chunk_packs: Numbers
    chunk_offsets: Numbers
    chunk_stored: Numbers
    chunk_codecs: bytes
    chunk_raw: Numbers
    chunk_digests: bytes


class Cutter:
    """Collects entries, in order, into lists of one page each."""

    def __init__(self) -> None:
        self._entries: list[Placed] = []
        self._bytes = 0

    def add(self, entry: Placed) -> list[Placed] | None:
        """Take the next entry; the entries of a page where it is full with this one."""
        self._entries.append(entry)
        content = entry.content
        self._bytes += len(entry.path) + 48 + len(content) * (1 if isinstance(content, bytes) else 40)
        count = len(self._entries)
        if (count >= _LEAST and not zlib.crc32(entry.path) & _CUT_MASK) or count >= _MOST or self._bytes >= _BYTES:
            return self.rest()
        return None

    @property
    def is_empty(self) -> bool:
        """Whether the next entry begins a page."""
        return not self._entries

    def rest(self) -> list[Placed]:
        """What is left when all entries were given."""
        entries, self._entries, self._bytes = self._entries, [], 0
        return entries


def encode_page(entries: Sequence[Placed]) -> bytes:
    """The raw form of a page; to be compressed by :func:`holdfast.formats.codec.pack`."""
    files = [entry for entry in entries if entry.kind == _FILE]
    chunked = [entry for entry in files if not isinstance(entry.content, bytes)]
    lists = [entry.content for entry in chunked if not isinstance(entry.content, bytes)]
    chunks = [chunk for content in lists for chunk in content]
    several = [chunk for content in lists if len(content) > 1 for chunk in content]
    packs = {name: index for index, name in enumerate(dict.fromkeys(chunk.pack for chunk in chunks))}
    shared, rest = _prefixes(entries)
    return msgspec.msgpack.encode(
        _Page(
            format=FORMAT,
            count=len(entries),
            shared=shared,
            rest=rest,
            kinds=bytes([entry.kind for entry in entries]),
            modes=[entry.mode for entry in entries],
            mtimes=_deltas([entry.mtime for entry in entries]),
            targets=[entry.target or "" for entry in entries if entry.kind == _LINK],
            sizes=[entry.size for entry in files],
            chunks=[0 if isinstance(entry.content, bytes) else len(entry.content) for entry in files],
            inline=[entry.content for entry in files if isinstance(entry.content, bytes)],
            digests=b"".join([entry.digest for entry in chunked]),
            packs=b"".join(packs),
            chunk_packs=[packs[chunk.pack] for chunk in chunks],
            chunk_offsets=_gaps(chunks),
            chunk_stored=[chunk.stored for chunk in chunks],
            chunk_codecs=bytes([chunk.codec for chunk in chunks]),
            chunk_raw=[chunk.raw for chunk in several],
            chunk_digests=b"".join([chunk.digest for chunk in several]),
        )
    )


def _prefixes(entries: Sequence[Placed]) -> tuple[list[int], list[bytes]]:
    shared, rest, before = [], [], b""
    for entry in entries:
        path = entry.path
        most = min(len(path), len(before))
        count = before.rfind(b"/") + 1
        if count > most or path[:count] != before[:count]:
            count = 0
        while count < most and path[count] == before[count]:
            count += 1
        shared.append(count)
        rest.append(path[count:])
        before = path
    return shared, rest


def _deltas(times: Sequence[int | None]) -> list[int | None]:
    result: list[int | None] = []
    before = 0
    for time in times:
        if time is None:
            result.append(None)
        else:
            result.append(time - before)
            before = time
    return result


def _gaps(chunks: Iterable[Chunk]) -> list[int]:
    result = []
    pack, end = b"", 0
    for chunk in chunks:
        result.append(chunk.offset - end if chunk.pack == pack else chunk.offset)
        pack, end = chunk.pack, chunk.offset + chunk.stored
    return result


def decode_page(data: bytes, subject: str) -> list[Placed]:
    """The entries of a page in its raw form. Paths are checked by whoever makes a manifest of them.

    Raises:
        IntegrityError: columns that do not fit each other, numbers that cannot be, a kind or format that is unknown.
    """
    return _decoded(data, subject, _entries)


class Rows(NamedTuple):
    """What ``stat`` shows of the entries of a page, a column each: a third of the time and memory that whole entries take.

    ``kinds`` are ``f``, ``d``, ``l`` as bytes, ``mtimes`` nanoseconds since 1970, ``sizes`` in bytes (0 but for files), ``targets``
    those of the links among them, in order.
    """

    paths: list[bytes]
    kinds: bytes
    modes: Sequence[int | None]
    mtimes: Sequence[int | None]
    sizes: Sequence[int]
    targets: list[str]


def decode_rows(data: bytes, subject: str) -> Rows:
    """What ``stat`` shows of the entries of a page in its raw form. Paths are checked by whoever shows them.

    Raises:
        IntegrityError: as :func:`decode_page`.
    """
    return _decoded(data, subject, _rows)


class Sums(NamedTuple):
    """What a version takes from a page that it has as it is: its part of what the content hash covers, and the packs that it needs."""

    canonical: bytes
    packs: list[bytes]


def decode_sums(data: bytes, subject: str, is_implied: Callable[[bytes], bool]) -> Sums:
    """That of a page in its raw form: quicker than its entries. ``is_implied``: whether something lies in a directory.

    Raises:
        IntegrityError: as :func:`decode_page`.
    """
    return _decoded(data, subject, lambda page: _sums(page, is_implied))


def decode_chunks(data: bytes, subject: str) -> list[Chunk]:
    """The chunks alone of a page in its raw form.

    Raises:
        IntegrityError: as :func:`decode_page`.
    """
    return _decoded(data, subject, _all_chunks)


def decode_digests(data: bytes, subject: str) -> list[bytes]:
    """The digests alone of the chunks of a page in its raw form, in no certain order.

    Raises:
        IntegrityError: as :func:`decode_page`.
    """
    return _decoded(data, subject, _all_digests)


def _decoded(data: bytes, subject: str, take: Callable[[_Page], Result]) -> Result:
    page = decode_columns(data, _Page, subject)
    problem = _problem(page)
    if problem:
        raise IntegrityError(f"{subject}: {problem}", subject=subject)
    try:
        return take(page)
    except (IndexError, StopIteration, RuntimeError, UnicodeDecodeError):
        raise IntegrityError(f"{subject}: its columns do not fit each other", subject=subject) from None


def _problem(page: _Page) -> str:
    """What is wrong with the columns as a whole."""
    files, links = page.kinds.count(_FILE), page.kinds.count(_LINK)
    inline = page.chunks.count(0)
    count = len(page.chunk_packs)
    if not page.count == len(page.shared) == len(page.rest) == len(page.kinds) == len(page.modes) == len(page.mtimes):
        return "its columns differ in length"
    if links != len(page.targets) or not files == len(page.sizes) == len(page.chunks) or inline != len(page.inline):
        return "its columns differ in length"
    if files + links + page.kinds.count(_DIR) != page.count:
        return "an entry of a kind that does not exist"
    if len(page.digests) != 32 * (files - inline) or len(page.packs) % 32:
        return "its columns differ in length"
    if not count == len(page.chunk_offsets) == len(page.chunk_stored) == len(page.chunk_codecs) == sum(page.chunks):
        return "its columns differ in length"
    several = sum(number for number in page.chunks if number > 1)
    if len(page.chunk_raw) != several or len(page.chunk_digests) != 32 * several:
        return "its columns differ in length"
    numbers = (page.shared, page.sizes, page.chunks, page.chunk_packs, page.chunk_stored, page.chunk_raw)
    if min((min(column) for column in numbers if column), default=0) < 0:
        return "a negative number"
    if any(mode is not None and not 0 <= mode <= PERMISSIONS for mode in set(page.modes)):
        return "permission bits that do not exist"
    return ""


def _entries(page: _Page) -> list[Placed]:
    targets, sizes, counts = iter(page.targets), iter(page.sizes), iter(page.chunks)
    inline, digests, chunks = iter(page.inline), iter(digests_in(page.digests)), _Chunks(page)
    result = []
    path, mtime, length = b"", 0, 0
    for shared, rest, kind, mode, delta in zip(
        page.shared, page.rest, page.kinds, page.modes, page.mtimes, strict=True
    ):
        if shared > len(path):
            raise IndexError
        path = path[:shared] + rest
        length += len(path)
        if length > LARGEST_PAGE:
            raise IndexError
        if delta is not None:
            mtime += delta
            if not -_LATEST <= mtime <= _LATEST:
                raise IndexError
        when = None if delta is None else mtime
        if kind != _FILE:
            result.append(Placed(path, kind, mode, when, target=next(targets) if kind == _LINK else None))
            continue
        size, count = next(sizes), next(counts)
        if count:
            digest = next(digests)
            content = chunks.take(count, size, digest)
            result.append(Placed(path, kind, mode, when, size, digest, content))
        else:
            data = next(inline)
            if len(data) != size:
                raise IndexError
            result.append(Placed(path, kind, mode, when, size, raw_digest_of(data), data))
    b"\n".join([entry.path for entry in result]).decode()
    return result


def _rows(page: _Page) -> Rows:
    paths: list[bytes] = []
    mtimes: list[int | None] = []
    path, mtime, length = b"", 0, 0
    for shared, rest, delta in zip(page.shared, page.rest, page.mtimes, strict=True):
        if shared > len(path):
            raise IndexError
        path = path[:shared] + rest
        length += len(path)
        if length > LARGEST_PAGE:
            raise IndexError
        paths.append(path)
        if delta is None:
            mtimes.append(None)
        else:
            mtime += delta
            mtimes.append(mtime)
    known = [when for when in mtimes if when is not None]
    if max(known, default=0) > _LATEST or min(known, default=0) < -_LATEST:
        raise IndexError
    b"\n".join(paths).decode()
    sizes = page.sizes
    if len(sizes) < page.count:
        found = iter(sizes)
        sizes = [next(found) if kind == _FILE else 0 for kind in page.kinds]
    return Rows(paths, page.kinds, page.modes, mtimes, sizes, page.targets)


def _sums(page: _Page, is_implied: Callable[[bytes], bool]) -> Sums:
    rows, targets, counts = _rows(page), iter(page.targets), iter(page.chunks)
    inline, digests = iter(page.inline), iter(digests_in(page.digests))
    texts = []
    for path, kind, mode in zip(rows.paths, rows.kinds, rows.modes, strict=True):
        if kind == _FILE:
            texts.append(
                canonical(path, kind, mode, next(digests) if next(counts) else raw_digest_of(next(inline)), None)
            )
        elif kind == _LINK:
            texts.append(canonical(path, kind, mode, b"", next(targets)))
        elif not is_implied(path):
            texts.append(canonical(path, kind, mode, b"", None))
    return Sums(b"".join(texts), digests_in(page.packs))


def _all_chunks(page: _Page) -> list[Chunk]:
    digests, chunks = iter(digests_in(page.digests)), _Chunks(page)
    found: list[Chunk] = []
    for size, count in zip(page.sizes, page.chunks, strict=True):
        if count:
            found += chunks.take(count, size, next(digests))
    return found


def _all_digests(page: _Page) -> list[bytes]:
    files = digests_in(page.digests)
    if not page.chunk_digests:
        return files
    single = [digest for digest, count in zip(files, filter(None, page.chunks), strict=True) if count == 1]
    return single + digests_in(page.chunk_digests)


class _Chunks:
    """The chunks of a page, taken file by file."""

    def __init__(self, page: _Page) -> None:
        self._packs = digests_in(page.packs)
        self._rows = zip(page.chunk_packs, page.chunk_offsets, page.chunk_stored, page.chunk_codecs, strict=True)
        self._raw, self._digests = iter(page.chunk_raw), iter(digests_in(page.chunk_digests))
        self._pack, self._end = -1, 0

    def take(self, count: int, size: int, digest: bytes) -> tuple[Chunk, ...]:
        """The chunks of the next file."""
        if count == 1:
            return (self._next(size, digest),)
        chunks = tuple([self._next(next(self._raw), next(self._digests)) for _ in range(count)])
        if sum(chunk.raw for chunk in chunks) != size:
            raise IndexError
        return chunks

    def _next(self, raw: int, digest: bytes) -> Chunk:
        pack, gap, stored, codec = next(self._rows)
        offset = self._end + gap if pack == self._pack else gap
        if offset < 0 or offset + stored > MOST or max(stored, raw) > LARGEST_CHUNK:
            raise IndexError
        self._pack, self._end = pack, offset + stored
        return Chunk(self._packs[pack], offset, stored, raw, codec, digest)
