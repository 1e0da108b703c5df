"""Packs and pages objects as wholes: read, and proven against the table that they are named by (FORMAT.md §9.1)."""

from __future__ import annotations

import tempfile
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from holdfast.disk import local_errors
from holdfast.errors import IntegrityError, ObjectNotFoundError
from holdfast.formats.codec import unpack
from holdfast.formats.container import MOST, TRAILER, check_trailer, decode_table
from holdfast.model.digest import raw_digest_of
from holdfast.transfer.plan import ranges

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.formats.container import Piece, Table
    from holdfast.model.chunk import Chunk
    from holdfast.store.base import Store
    from holdfast.transfer.engine import Engine

__all__ = ["Spool", "prove", "read_container", "read_tail", "unfolded"]

#: So much of an object's end is asked for at first: the tables of most packs are shorter.
_TAIL: Final = 64 * 1024


def read_container(store: Store, engine: Engine, key: str) -> memoryview:
    """All bytes of a pack or pages object, by ranges side by side.

    Raises:
        IntegrityError: it is missing, changes its length, or is larger than any may be.
    """
    try:
        size = store.head(key).size
        if size > MOST:
            raise IntegrityError(f"{key} has {size} bytes, more than any pack", subject=key)
        data, at = bytearray(size), 0
        for found in engine.in_order(lambda part: store.get_range(key, *part), ranges(size)):
            piece = memoryview(found.data).cast("B")
            data[at : at + len(piece)] = piece
            at += len(piece)
            engine.spend(len(piece))
    except ObjectNotFoundError as error:
        raise IntegrityError(f"{key} is missing, though a version needs it", subject=key) from error
    if at != size or len(data) != size:
        raise IntegrityError(f"{key} is truncated", subject=key)
    return memoryview(data)


def prove(data: memoryview, key: str, magic: bytes) -> Table:
    """The table of a whole object, each of whose pieces unfolds to its digest.

    Raises:
        IntegrityError: the table is not the one that it is named by, or a piece is not what the table says.
    """
    table = decode_table(data, len(data), magic, key)
    for piece in table.pieces:
        unfolded(data[piece.offset : piece.offset + piece.stored], piece, f"{key} at {piece.offset}")
    return table


def unfolded(stored: memoryview, piece: Piece | Chunk, subject: str) -> memoryview:
    """The raw bytes of a piece.

    Raises:
        IntegrityError: they do not match its digest.
    """
    raw = unpack(stored, piece.codec, piece.raw, subject)
    if raw_digest_of(raw) != piece.digest:
        raise IntegrityError(f"{subject}: does not match its digest", subject=subject.partition(" ")[0])
    return memoryview(raw).cast("B")


def read_tail(store: Store, key: str, magic: bytes) -> tuple[int, bytes]:
    """The length of an object, and the end of it that holds table and trailer.

    Raises:
        IntegrityError: it is missing, or does not end as such objects do.
    """
    try:
        size = store.head(key).size
        tail = bytes(store.get_range(key, max(0, size - _TAIL), min(size, _TAIL)).data)
        needed = check_trailer(tail, size, magic, key) + TRAILER
        if needed > len(tail):
            tail = bytes(store.get_range(key, size - needed, needed).data)
    except ObjectNotFoundError as error:
        raise IntegrityError(f"{key} is missing, though a version needs it", subject=key) from error
    return size, tail[-needed:]


class Spool:
    """Bytes by name, in a file without a name. Safe to use from several threads."""

    def __init__(self, folder: Path) -> None:
        with local_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._file = cast(BinaryIO, tempfile.TemporaryFile(dir=folder))  # noqa: SIM115 - closed by close
        self._folder = folder
        self._places: dict[bytes, tuple[int, int]] = {}
        self._lock = threading.Lock()

    def put(self, name: bytes, data: bytes | memoryview) -> None:
        """Keep them; of two by one name, the first."""
        with self._lock, local_errors(self._folder):
            if name not in self._places:
                self._places[name] = self._file.seek(0, 2), len(data)
                self._file.write(data)

    def get(self, name: bytes) -> bytes | None:
        """What was kept under this name."""
        with self._lock, local_errors(self._folder):
            if name not in self._places:
                return None
            start, length = self._places[name]
            self._file.seek(start)
            return self._file.read(length)

    def close(self) -> None:
        """The file goes; what was not written yet nobody needs any more."""
        with suppress(OSError):
            self._file.close()
