"""The entries of a manifest in a meta: a JSON list, compressed beyond 1 MiB (FORMAT.md §5).

Owns the one import of zstandard. Reading is bounded: a compressed list may not unfold beyond :data:`LARGEST`.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

import msgspec

from holdfast.errors import IntegrityError
from holdfast.formats.decoding import convert, from_json
from holdfast.model.manifest import PERMISSIONS, Entry

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["COMPRESS_FROM", "LARGEST", "decode_entries", "encode_entries", "is_digest"]

#: A list of this many bytes or more is compressed.
COMPRESS_FROM: Final = 1 << 20
#: No list unfolds to more than this many bytes.
LARGEST: Final = 1 << 30
#: No time of a file is further from the epoch than this, in nanoseconds.
_LATEST: Final = (1 << 63) - 1


class _Record(msgspec.Struct, omit_defaults=True):
    path: str
    kind: str = "file"
    size: int = 0
    mode: str | None = None
    mtime: int | None = None
    blake3: str | None = None
    target: str | None = None


def encode_entries(entries: Iterable[Entry]) -> dict[str, Any]:
    """``{"entries": [...]}`` or ``{"entries_zstd": base64}``, for the ``holdfast`` part of a meta."""
    records = [_to_record(entry) for entry in entries]
    data = msgspec.json.encode(records)
    if len(data) < COMPRESS_FROM:
        return {"entries": msgspec.Raw(data)}
    import zstandard

    return {"entries_zstd": base64.b64encode(zstandard.compress(data, 6)).decode()}


def decode_entries(plain: object, compressed: str | None) -> tuple[Entry, ...]:
    """The entries of a meta, from whichever form it has.

    Raises:
        IntegrityError: a field of the wrong kind, a digest that is none, a stream that is no zstd or unfolds too far.
    """
    try:
        if plain is not None:
            records = convert(plain, list[_Record])
        else:
            records = from_json(_unfold(compressed or ""), list[_Record])
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise IntegrityError(f"entries: {error}") from None
    return tuple(_to_entry(record) for record in records)


def _unfold(text: str) -> bytes:
    import zstandard

    data = base64.b64decode(text, validate=True)
    try:
        size = zstandard.frame_content_size(data)
        if not 0 <= size <= LARGEST:  # a frame that does not tell its size could be any
            raise IntegrityError(f"entries unfold to more than {LARGEST} bytes, or do not tell to how many")
        return zstandard.ZstdDecompressor().decompress(data, max_output_size=LARGEST)
    except zstandard.ZstdError as error:
        raise IntegrityError(f"entries: {error}") from None


def _to_record(entry: Entry) -> _Record:
    mode = None if entry.mode is None else f"{entry.mode & PERMISSIONS:03o}"
    return _Record(entry.path, entry.kind, entry.size, mode, entry.mtime, entry.digest, entry.target)


def _to_entry(record: _Record) -> Entry:
    if record.kind not in ("file", "dir", "link") or record.size < 0:
        raise IntegrityError(f"entry {record.path!r}: kind {record.kind!r}, size {record.size}", subject=record.path)
    if record.kind == "file" and (record.blake3 is None or not is_digest(record.blake3)):
        raise IntegrityError(f"entry {record.path!r} has no valid digest", subject=record.path)
    if record.mtime is not None and not -_LATEST <= record.mtime <= _LATEST:
        raise IntegrityError(f"entry {record.path!r} has a time that no file can have", subject=record.path)
    mode = None if record.mode is None else int(record.mode, 8) & PERMISSIONS
    kind = record.kind
    return Entry(record.path, kind, record.size, mode, record.mtime, record.blake3, record.target)  # type: ignore[arg-type]


def is_digest(text: str) -> bool:
    """Whether this is a BLAKE3 in hex."""
    return len(text) == 64 and not text.strip("0123456789abcdef")
