"""What a copy of a bucket of media remembers of both sides (FORMAT.md §12): pairs of objects that had the same bytes. msgpack, zstd."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import zstandard

from holdfast.errors import IntegrityError
from holdfast.formats.decoding import from_msgpack

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["PairRow", "PairsRecord", "decode_pairs", "encode_pairs"]

_FORMAT: Final = 1
#: Bytes that a record may unfold to: some ten million objects.
_LARGEST: Final = 2 << 30


class PairRow(msgspec.Struct, frozen=True, array_like=True):
    """One object on both sides: the store's tag of it, its size in bytes, and when it was modified, in seconds, by the store's clock."""

    key: str
    first_tag: str
    first_size: int
    first_modified: float
    copy_tag: str
    copy_size: int
    copy_modified: float


class PairsRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """All pairs of a bucket, by key. ``first`` is the store that the copy is of: of another one, nothing here is true.

    ``looked`` is when both sides were last listed, ``whole`` when they were last found or made equal; seconds since the epoch, by the
    clock of the copy's store.
    ``pending`` objects were not copied then, ``withheld`` deletions not carried out.
    """

    format: int
    first: str
    looked: float
    whole: float = 0.0
    pending: int = 0
    withheld: int = 0
    rows: list[PairRow] = []


def encode_pairs(record: PairsRecord) -> bytes:
    """The record as msgpack, compressed."""
    return zstandard.compress(msgspec.msgpack.encode(record), 3)


def decode_pairs(data: ReadableBuffer, key: str) -> PairsRecord:
    """Read it.

    Raises:
        IntegrityError: it is none, unfolds to more than there can be, or is of a newer format.
    """
    try:
        view = memoryview(data)
        if not 0 <= zstandard.frame_content_size(view) <= _LARGEST:
            raise IntegrityError(f"{key} does not tell its length, or is larger than it can be", subject=key)
        record = from_msgpack(zstandard.ZstdDecompressor().decompress(view), PairsRecord)
    except (msgspec.MsgspecError, zstandard.ZstdError, UnicodeDecodeError, RecursionError) as error:
        raise IntegrityError(f"{key}: {error}", subject=key) from None
    if record.format > _FORMAT:
        raise IntegrityError(f"{key} has format {record.format}, this program reads up to {_FORMAT}", subject=key)
    return record
