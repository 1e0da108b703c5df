"""The log of a web server that syncs (FORMAT.md §12.1): its head, JSON, and the changes in its packs, msgpack.

Whatever comes out of here is safe to lay out below a webroot: paths are relative and without ``..``, links lead nowhere else, modes have
nine bits, and there are files, folders and links alone.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from holdfast.errors import IntegrityError
from holdfast.formats.codec import pack, unpack
from holdfast.formats.container import MOST, PACK, encode_table
from holdfast.formats.decoding import from_json, from_msgpack
from holdfast.model.chunk import CODEC_ZSTD
from holdfast.model.digest import digest_of, raw_digest_of
from holdfast.model.manifest import PERMISSIONS, check_link, check_path

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed import ReadableBuffer

__all__ = [
    "MOST_PIECE",
    "ChangeRecord",
    "Head",
    "PackRecord",
    "PieceRecord",
    "decode_change",
    "decode_changes",
    "decode_head",
    "encode_change",
    "encode_changes",
    "encode_head",
    "encode_pack",
]

_FORMAT: Final = 1
_NODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")
_INITIAL: Final = re.compile(r"=[0-9a-f]{16}\Z")
_PACK: Final = re.compile(r"[0-9a-f]{16}\Z")
#: No piece of a file is longer, raw or stored.
MOST_PIECE: Final = 16 * 1024 * 1024
#: The changes of one pack take no more memory than this.
_MOST_CHANGES: Final = 256 * 1024 * 1024
_MOST_STAMP: Final = 1 << 62
_DIGEST: Final = 32


class PackRecord(msgspec.Struct, frozen=True):
    """One pack of a log: its name, its length, and of its first piece, the changes, both lengths and the BLAKE3 in hex."""

    name: str
    size: int
    stored: int
    raw: int
    digest: str


class Head(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a server's log consists of. ``run`` is new for each process; ``beat`` is one more each time it is written."""

    format: int
    node: str
    who: str
    run: str
    beat: int
    at: str
    packs: tuple[PackRecord, ...] = ()


class PieceRecord(msgspec.Struct, frozen=True, array_like=True):
    """Bytes of a file: the pack, how far behind its changes, lengths stored and raw, codec, and the BLAKE3 of the raw bytes."""

    pack: str
    offset: int
    stored: int
    raw: int
    codec: int
    digest: bytes


class ChangeRecord(msgspec.Struct, frozen=True, array_like=True):
    """One change: ``kind`` is ``f``, ``d``, ``l``, or empty for a deletion."""

    path: str
    stamp: int
    node: str
    seen: dict[str, int]
    at: int
    clash: bool
    kind: str
    mode: int = 0
    mtime: int | None = None
    size: int = 0
    digest: bytes = b""
    target: str = ""
    pieces: tuple[PieceRecord, ...] = ()


def encode_head(head: Head) -> bytes:
    """The head as JSON."""
    return msgspec.json.encode(head)


def decode_head(data: ReadableBuffer, key: str) -> Head:
    """Read it.

    Raises:
        IntegrityError: it is none, or of a newer format.
    """
    try:
        head = from_json(data, Head)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise IntegrityError(f"{key}: {error}", subject=key) from None
    if head.format > _FORMAT:
        raise IntegrityError(f"{key} has format {head.format}, this program reads up to {_FORMAT}", subject=key)
    for each in head.packs:
        fits = 0 < each.stored <= each.size <= MOST and 0 < each.raw <= _MOST_CHANGES
        if not _PACK.match(each.name) or not fits:
            raise IntegrityError(f"{key} names a pack that cannot be: {each.name!r}", subject=key)
    if not _NODE.match(head.node):
        raise IntegrityError(f"{key} is of a server that cannot be: {head.node!r}", subject=key)
    return head


def encode_changes(changes: Iterable[ChangeRecord]) -> tuple[bytes, int, str]:
    """The first piece of a pack as it is stored, its raw length, and its digest in hex."""
    data = msgspec.msgpack.encode([_FORMAT, tuple(changes)])
    return pack(data, CODEC_ZSTD), len(data), digest_of(data)


def encode_change(change: ChangeRecord) -> bytes:
    """One change as this machine keeps it for itself."""
    return msgspec.msgpack.encode(change)


def decode_change(data: ReadableBuffer) -> ChangeRecord:
    """Read it; what this machine wrote is not checked again."""
    return from_msgpack(data, ChangeRecord)


def encode_pack(
    name: str, changes: Iterable[ChangeRecord], pieces: list[tuple[bytes, int, int, bytes]]
) -> tuple[bytes, PackRecord]:
    """A pack: its changes, and behind them pieces (stored bytes, raw length, codec, digest)."""
    first, raw, digest = encode_changes(changes)
    all_pieces = [(first, raw, CODEC_ZSTD, bytes.fromhex(digest)), *pieces]
    _, tail = encode_table(
        [len(piece) for piece, *_ in all_pieces],
        [length for _, length, *_ in all_pieces],
        bytes(codec for _, _, codec, _ in all_pieces),
        b"".join(each for *_, each in all_pieces),
        magic=PACK,
    )
    data = b"".join([*(piece for piece, *_ in all_pieces), tail])
    return data, PackRecord(name, len(data), len(first), raw, digest)


def decode_changes(data: ReadableBuffer, record: PackRecord, key: str) -> list[ChangeRecord]:
    """The changes of a pack, each safe to be laid out.

    Raises:
        IntegrityError: they are not what the head says, or one of them cannot be.
    """
    raw = unpack(data, CODEC_ZSTD, record.raw, key)
    if raw_digest_of(raw).hex() != record.digest:
        raise IntegrityError(f"{key} is damaged: its changes have another digest", subject=key)
    try:
        number, changes = from_msgpack(raw, tuple[int, list[ChangeRecord]])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise IntegrityError(f"{key}: {error}", subject=key) from None
    if number > _FORMAT:
        raise IntegrityError(f"{key} has format {number}, this program reads up to {_FORMAT}", subject=key)
    for change in changes:
        _check(change, key)
    return changes


def _check(change: ChangeRecord, key: str) -> None:
    check_path(change.path)
    numbers = [change.stamp, change.at, change.size, *change.seen.values()]
    initial = bool(_INITIAL.match(change.node))
    if (
        change.kind not in ("f", "d", "l", "")
        or not (initial if change.stamp == 0 else _NODE.match(change.node))
        or not all(0 <= number < _MOST_STAMP for number in numbers)
        or change.mode & ~PERMISSIONS
        or (change.mtime is not None and abs(change.mtime) >= 1 << 63)
    ):
        raise IntegrityError(f"{key} has a change of {change.path!r} that cannot be", subject=change.path)
    if change.kind == "l":
        check_link(change.path, change.target)
    if change.kind == "f":
        _check_file(change, key)


def _check_file(change: ChangeRecord, key: str) -> None:
    whole = sum(piece.raw for piece in change.pieces) == change.size
    fit = all(
        _PACK.match(piece.pack)
        and 0 < piece.raw <= MOST_PIECE
        and 0 < piece.stored <= MOST_PIECE
        and 0 <= piece.offset < MOST
        and len(piece.digest) == _DIGEST
        for piece in change.pieces
    )
    if not whole or not fit or len(change.digest) != _DIGEST:
        raise IntegrityError(f"{key} has bytes of {change.path!r} that cannot be", subject=change.path)
