"""What a site keeps in its stores beside its backups (FORMAT.md §12). JSON; keys that we do not know are ignored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
import zstandard

from holdfast.errors import IntegrityError
from holdfast.formats.decoding import from_json

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = [
    "BranchMark",
    "BucketMark",
    "DeploymentRecord",
    "LeaseRecord",
    "MediaRecord",
    "MediaRow",
    "NodeRecord",
    "decode_lease",
    "decode_record",
    "encode_lease",
    "encode_record",
]

_FORMAT: Final = 1
#: No list of media unfolds to more bytes: some ten million objects.
_LARGEST: Final = 1 << 30


class LeaseRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who may do a piece of a site's work now: for ``seconds`` after the object was last written, by the store's clock.

    ``token`` grows with every holder; ``beat`` with every renewal, so that no two contents are the same. ``note`` is what the last
    holder that ended well said of its work.
    """

    format: int
    holder: str
    who: str
    token: int
    seconds: float
    taken: str
    beat: int = 0
    released: bool = False
    note: dict[str, str] = {}


class BucketMark(msgspec.Struct, frozen=True):
    """``.holdfast/site.json`` in a bucket of media: whose it is."""

    format: int
    site: str
    directory: str
    made: str


class BranchMark(msgspec.Struct, frozen=True):
    """``.holdfast/branch-<n>.json`` in a bucket: it is branch ``branch``, counted from 1, ``of`` so many of a merged directory."""

    format: int
    site: str
    directory: str
    branch: int
    of: int
    made: str


class MediaRow(msgspec.Struct, frozen=True, array_like=True):
    """An object as it was written and proven: its size, the store's tag, and the digest of its bytes."""

    size: int
    tag: str
    digest: str


class MediaRecord(msgspec.Struct, frozen=True):
    """What a deployment put into a bucket of media, by key; the entries that no object can be (links, empty directories) beside."""

    format: int
    bucket: str
    spec: str
    at: str
    objects: dict[str, MediaRow]
    others: list[list[str]] = []


class DeploymentRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which deployment a site has: ``state`` is preparing, online or offline; ``last_write`` of its media, once it is offline."""

    format: int
    id: str
    state: str
    who: str
    at: str
    spec: str
    buckets: list[str] = []
    last_write: float = 0.0


class NodeRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a web server said of its media: ``directories`` is directory → MOUNTED, or why not; ``left`` once it has detached."""

    format: int
    node: str
    deployment: str
    at: str
    directories: dict[str, str] = {}
    left: bool = False


AnyRecord = BucketMark | BranchMark | MediaRecord | DeploymentRecord | NodeRecord
Record = TypeVar("Record", bound=AnyRecord)


def encode_record(record: AnyRecord) -> bytes:
    """The record as JSON; a list of media in one zstd frame."""
    data = msgspec.json.encode(record)
    return zstandard.compress(data) if isinstance(record, MediaRecord) else data


def decode_record(data: ReadableBuffer, kind: type[Record], key: str) -> Record:
    """Read it.

    Raises:
        IntegrityError: it is none, or of a newer format.
    """
    try:
        if kind is MediaRecord:
            data = zstandard.ZstdDecompressor().decompress(bytes(data), max_output_size=_LARGEST)
        record = from_json(data, kind)
    except (msgspec.MsgspecError, zstandard.ZstdError, UnicodeDecodeError, RecursionError) as error:
        raise IntegrityError(f"{key}: {error}", subject=key) from None
    if record.format > _FORMAT:
        raise IntegrityError(f"{key} has format {record.format}, this program reads up to {_FORMAT}", subject=key)
    return record


def encode_lease(record: LeaseRecord) -> bytes:
    """The record as JSON."""
    return msgspec.json.encode(record)


def decode_lease(data: ReadableBuffer, key: str) -> LeaseRecord:
    """Read it.

    Raises:
        IntegrityError: it is none, or of a newer format.
    """
    try:
        record = from_json(data, LeaseRecord)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise IntegrityError(f"{key}: {error}", subject=key) from None
    if record.format > _FORMAT:
        raise IntegrityError(f"{key} has format {record.format}, this program reads up to {_FORMAT}", subject=key)
    return record
