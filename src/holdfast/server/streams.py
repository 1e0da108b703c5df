"""Bytes that go through the server, where the store cannot sign: never more of an object in memory than one block.

Reading pins the version that the first block was of, so that nobody gets a mixture. Writing creates and never overwrites; what is
larger than the store takes in one conditional write goes under the push's own claim alone, where nobody else writes.
"""

from __future__ import annotations

import asyncio
import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from holdfast.errors import AlreadyExistsError, ChangedError, ObjectNotFoundError, SourceChangedError
from holdfast.formats import layout
from holdfast.server.alone import writing
from holdfast.server.borders import readable
from holdfast.server.reading import stat
from holdfast.store.base import CREATE, SMALL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from holdfast.catalog.base import OpenPush
    from holdfast.formats.api import ObjectStat
    from holdfast.server.access import OpenProject
    from holdfast.server.database import Database
    from holdfast.store.base import Object, ObjectInfo, Store

__all__ = ["Span", "Stream", "in_pieces", "open_stream", "parse_range", "write"]

_BLOCK: Final = 4 * 1024 * 1024
#: What is given to the connection at a time: it takes a number of them ahead of the client, however long they are.
_PIECE: Final = 128 * 1024
_RANGE: Final = re.compile(r"bytes=(\d{0,19})-(\d{0,19})\Z")
#: No object is so long, and not every file system can be asked for what lies there.
_BEYOND: Final = 1 << 43
#: So many objects are held whole on their way into a store, at most.
_whole: Final = threading.BoundedSemaphore(4)


@dataclass(frozen=True, slots=True)
class Span:
    """A range as it is asked for: from ``start`` to before ``end`` (None: the end); a negative start counts from the end."""

    start: int
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Stream:
    """An object, or a range of it, under way: ``start`` and ``length`` in bytes. ``length`` is -1 where nothing is in the range."""

    info: ObjectInfo
    start: int
    length: int
    blocks: Iterator[bytes]


def parse_range(text: str | None) -> Span | None:
    """The one range that a header asks for; None for none, several, or what is no range, upon which the whole is answered."""
    found = _RANGE.match(text.replace(" ", "")) if text else None
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        return Span(-int(last))
    if last and int(last) < int(first):
        return None
    return Span(int(first), int(last) + 1 if last else None)


def open_stream(store: Store, key: str, span: Span | None, version: str | None) -> Stream:
    """Begin to read; the first block is here when this returns, so that what is wrong is said before anything is sent.

    Raises:
        AccessError: a key that is none of the store's.
        ObjectNotFoundError: nothing is there.
        ChangedError: ``version`` is given and the object is another by now.
    """
    readable(key)
    wanted = span or Span(0)
    start = wanted.start
    if start < 0:
        start = max(0, store.head(key).size + start) if start else 0
        wanted = Span(start)
    if start >= _BEYOND:
        return Stream(store.head(key), start, -1, iter(()))
    length = _BLOCK if wanted.end is None else min(_BLOCK, wanted.end - start)
    first = _first(store, key, start, length, version)
    info = first.info
    end = info.size if wanted.end is None else min(wanted.end, info.size)
    if span is not None and start >= info.size:
        return Stream(info, start, -1, iter(()))
    return Stream(info, start, end - start, _blocks(store, first, start, end))


async def in_pieces(blocks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Blocks as a connection takes them: a client that does not read holds little more than one of them in memory."""
    while (block := await asyncio.to_thread(next, blocks, None)) is not None:
        for start in range(0, len(block), _PIECE):
            yield block[start : start + _PIECE]


def write(
    project: OpenProject,
    database: Database,
    allowed: Callable[[str, int], OpenPush],
    key: str,
    source: BinaryIO,
    size: int,
) -> ObjectStat:
    """Create an object from a file that holds it.

    Raises:
        AccessError: this push may not write it.
        AlreadyExistsError: something is there.
    """
    allowed(key, size)
    store = project.store
    if size <= SMALL:
        with writing(database, project.id, key), _whole:
            data = source.read(size + 1)
            if len(data) != size:
                raise SourceChangedError(f"{key} was sent with {len(data)} bytes, not {size}", subject=key)
            return stat(store.put(key, data, CREATE))
    with writing(database, project.id, key):
        try:
            store.head(key)
        except ObjectNotFoundError:
            return stat(store.put_file(key, source, size, lambda _: None))
    raise AlreadyExistsError(f"{key} exists", subject=key)


def _first(store: Store, key: str, start: int, length: int, version: str | None) -> Object:
    """Of a key that is replaced, its truth; of others just the block."""
    if not _is_replaced(key) or store.head(key).size > SMALL:  # a file of a tree may be named like a list
        return store.get_range(key, start, length, version=version)
    found = store.get(key)
    if version is not None and found.info.version != version:
        raise ChangedError(f"{key} is another version by now", subject=key)
    return type(found)(memoryview(found.data)[start : start + length], found.info)


def _is_replaced(key: str) -> bool:
    return key == layout.STORE or key.endswith(layout.VERSIONS_END) or key.startswith(f"{layout.ASSETS}/")


def _blocks(store: Store, first: Object, start: int, end: int) -> Iterator[bytes]:
    info, data, at = first.info, bytes(first.data)[: end - start], start
    del first  # nobody needs its bytes again, and the client may take long
    while True:
        at += len(data)
        yield data
        if at >= end:
            return
        data = bytes(store.get_range(info.key, at, min(_BLOCK, end - at), version=info.version).data)
        if not data:
            raise ChangedError(f"{info.key} ended early", subject=info.key)
