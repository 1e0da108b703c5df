"""Packs and pages objects: pieces one behind the other, then a table of them, then a trailer (FORMAT.md §9.1).

The table alone tells everything about the pieces, so any index can be rebuilt from the objects; the object's name is the
digest of the table, so writing the same content again finds it there.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Final

import msgspec

from holdfast.errors import IntegrityError
from holdfast.formats.columns import FORMAT, Numbers, decode_columns, digests_in
from holdfast.model.digest import raw_digest_of

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["MOST", "PACK", "PAGES", "TRAILER", "Piece", "Table", "check_trailer", "decode_table", "encode_table"]

PACK: Final = b"HFPACK1\n"
PAGES: Final = b"HFPAGE1\n"
#: The length of the trailer in bytes.
TRAILER: Final = 48
#: No container is larger, in bytes.
MOST: Final = 64 * 1024 * 1024
_CODECS: Final = 4
_SALT_END: Final = 1 << 63


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece: where it lies, what it unfolds to, by which codec, and the digest of that (32 bytes)."""

    offset: int
    stored: int
    raw: int
    codec: int
    digest: bytes


class _Table(msgspec.Struct, array_like=True):
    format: int
    salt: int
    stored: Numbers
    raw: Numbers
    codecs: bytes
    digests: bytes


@dataclass(frozen=True, slots=True)
class Table:
    """What a container holds. ``name`` is the digest of the table (32 bytes)."""

    name: bytes
    salt: int
    pieces: tuple[Piece, ...]

    @property
    def size(self) -> int:
        """The length of all pieces, which is where the table begins."""
        return self.pieces[-1].offset + self.pieces[-1].stored if self.pieces else 0


def encode_table(
    stored: list[int], raw: list[int], codecs: bytes, digests: bytes, *, magic: bytes, salt: int = 0
) -> tuple[bytes, bytes]:
    """The name of a container of these pieces, and what stands behind them: table and trailer."""
    table = msgspec.msgpack.encode(_Table(FORMAT, salt, stored, raw, codecs, digests))
    name = raw_digest_of(table)
    return name, table + len(table).to_bytes(8, "little") + name + magic


def check_trailer(tail: ReadableBuffer, size: int, magic: bytes, key: str) -> int:
    """The length of the table, from the last bytes of an object of ``size`` bytes.

    Raises:
        IntegrityError: another magic, or a length that the object cannot have.
    """
    trailer = bytes(memoryview(tail)[-TRAILER:])
    if len(trailer) != TRAILER or trailer[-8:] != magic:
        raise IntegrityError(f"{key} does not end as a {_what(magic)} does", subject=key)
    length = int.from_bytes(trailer[:8], "little")
    if size > MOST or length > size - TRAILER:
        raise IntegrityError(f"{key}: its table cannot have {length} bytes", subject=key)
    return length


def decode_table(tail: ReadableBuffer, size: int, magic: bytes, key: str) -> Table:
    """The table of an object of ``size`` bytes, given its last bytes: trailer and table at least.

    Raises:
        IntegrityError: truncated, changed, not named by its table, or pieces that do not fill it.
    """
    view = memoryview(tail).cast("B")
    length = check_trailer(view, size, magic, key)
    if len(view) < length + TRAILER:
        raise IntegrityError(f"{key} is truncated", subject=key)
    data = view[len(view) - TRAILER - length : len(view) - TRAILER]
    name = bytes(view[len(view) - TRAILER + 8 : -8])
    if raw_digest_of(data) != name or name.hex() != key.rpartition("/")[2]:
        raise IntegrityError(f"{key}: the table is not the one that the object is named by", subject=key)
    return _checked(decode_columns(data, _Table, key), name, size - TRAILER - length, key)


def _checked(found: _Table, name: bytes, size: int, key: str) -> Table:
    count = len(found.stored)
    if not (len(found.raw) == len(found.codecs) == count and len(found.digests) == 32 * count):
        raise IntegrityError(f"{key}: the columns of its table differ in length", subject=key)
    if min([0, *found.stored, *found.raw]) < 0 or max(found.raw, default=0) > MOST or sum(found.stored) != size:
        raise IntegrityError(f"{key}: the lengths in its table do not add up", subject=key)
    if any(codec >= _CODECS for codec in found.codecs) or not 0 <= found.salt < _SALT_END:
        raise IntegrityError(f"{key}: a codec or salt that does not exist", subject=key)
    starts = accumulate(found.stored, initial=0)
    pieces = map(Piece, starts, found.stored, found.raw, found.codecs, digests_in(found.digests))
    return Table(name, found.salt, tuple(pieces))


def _what(magic: bytes) -> str:
    return "pack" if magic == PACK else "pages object"
