"""Our own small records: store, claim, push, asset (FORMAT.md §6). JSON; keys that we do not know are ignored."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, TypeVar

import msgspec

from holdfast.errors import IntegrityError

__all__ = [
    "STORE_FORMAT",
    "AssetRecord",
    "Claim",
    "PushRecord",
    "StoreRecord",
    "Tombstone",
    "changed",
    "decode",
    "encode",
    "moment",
    "stamp",
]

#: The newest format of a store; a larger one is refused.
STORE_FORMAT: Final = 1

_HOUR = 3600
_DAY = 24 * _HOUR


class StoreRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """``.holdfast/store.json``: identity and limits, in seconds. ``origin`` is ``holdfast`` or ``modelkit`` and never changes."""

    format: int
    id: str
    origin: str
    created: str
    layout: str | None = None
    versioning: str | None = None
    push_limit: int = 24 * _HOUR
    grace: int = 48 * _HOUR
    undo: int = 7 * _DAY


class Claim(msgspec.Struct, frozen=True):
    """``.holdfast/claims/<name>/<version>``: who holds this number."""

    push: str
    name: str
    version: str
    who: str
    at: str


class PushRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """``.holdfast/pushes/<id>``: a push that is under way, or was; renewed while it is alive, for ``limit`` seconds at most."""

    id: str
    name: str
    who: str
    started: str
    renewed: str
    closed: str | None = None
    limit: int | None = None


class Tombstone(msgspec.Struct, frozen=True):
    """A removed version: the id that its meta had (the push's, or a digest of the meta's bytes), when, by whom."""

    meta: str
    at: str
    who: str


class AssetRecord(msgspec.Struct, frozen=True):
    """``.holdfast/assets/<name>``: what is said of an asset beside its versions."""

    aliases: dict[str, str] = {}
    tombstones: dict[str, Tombstone] = {}
    holds: dict[str, str] = {}


Record = TypeVar("Record", bound=StoreRecord | Claim | PushRecord | AssetRecord)


def encode(record: StoreRecord | Claim | PushRecord | AssetRecord) -> bytes:
    """The record as JSON."""
    return msgspec.json.encode(record)


def decode(data: bytes | bytearray | memoryview, kind: type[Record], key: str) -> Record:
    """Read a record of this kind.

    Raises:
        IntegrityError: not JSON, or fields missing or of another kind; a store of a newer format.
    """
    try:
        record = msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise IntegrityError(f"{key}: {error}", subject=key) from None
    if isinstance(record, StoreRecord) and record.format > STORE_FORMAT:
        raise IntegrityError(
            f"{key}: the store has format {record.format}, this program reads up to {STORE_FORMAT}: upgrade it",
            subject=key,
        )
    return record


def changed(record: Record, **fields: object) -> Record:
    """The record with other fields."""
    return msgspec.structs.replace(record, **fields)


def moment(text: str, subject: str) -> datetime:
    """A moment as it stands in a record.

    Raises:
        IntegrityError: it is none.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise IntegrityError(f"{subject}: {text!r} is no ISO date", subject=subject) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def stamp(moment: datetime) -> str:
    """A moment as it stands in records: ISO, UTC, to the microsecond."""
    return moment.astimezone(UTC).isoformat()
