"""Our own small records: store, claim, push, asset, condemned (FORMAT.md §6). JSON; keys that we do not know are ignored."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from holdfast.errors import IntegrityError
from holdfast.formats.decoding import from_json

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "STORE_FORMAT",
    "AnyRecord",
    "AssetRecord",
    "Claim",
    "CondemnedRecord",
    "CondemnedVersion",
    "DoneRecord",
    "PushRecord",
    "StoreRecord",
    "Tombstone",
    "changed",
    "decode",
    "encode",
    "join_names",
    "moment",
    "split_names",
    "stamp",
]

#: The newest format of a store; a larger one is refused.
STORE_FORMAT: Final = 1

#: Bytes of the name of a pack or a pages object.
_NAME: Final = 32
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


class Tombstone(msgspec.Struct, frozen=True, omit_defaults=True):
    """A removed version: the id that its meta had (the push's, or a digest of the meta's bytes), when, by whom.

    ``final`` once a collector, or the push that withdrew its own version, has said that it cannot come back.
    """

    meta: str
    at: str
    who: str
    final: bool = False


class AssetRecord(msgspec.Struct, frozen=True):
    """``.holdfast/assets/<name>``: what is said of an asset beside its versions."""

    aliases: dict[str, str] = {}
    tombstones: dict[str, Tombstone] = {}
    holds: dict[str, str] = {}


class CondemnedVersion(msgspec.Struct, frozen=True):
    """A removed version whose objects may go: its meta's id as in the tombstone, and the layout that says what they are."""

    name: str
    version: str
    meta: str
    layout: str


class CondemnedRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """``.holdfast/gc/<epoch>``: what one run of a collector condemned. ``packs`` and ``pages`` are names of 32 bytes, joined.

    When it was written is told by the store's clock; ``at`` is for people.
    """

    format: int
    at: str
    who: str
    packs: bytes = b""
    pages: bytes = b""
    versions: tuple[CondemnedVersion, ...] = ()


class DoneRecord(msgspec.Struct, frozen=True):
    """``.holdfast/gc/<epoch>.done``: everything on that list was deleted, but for ``kept`` that were needed again."""

    at: str
    who: str
    deleted: int
    kept: int


AnyRecord = StoreRecord | Claim | PushRecord | AssetRecord | CondemnedRecord | DoneRecord
Record = TypeVar("Record", bound=AnyRecord)
Struct = TypeVar("Struct", bound=msgspec.Struct)


def encode(record: AnyRecord) -> bytes:
    """The record as JSON."""
    return msgspec.json.encode(record)


def decode(data: bytes | bytearray | memoryview, kind: type[Record], key: str) -> Record:
    """Read a record of this kind.

    Raises:
        IntegrityError: not JSON, or fields missing or of another kind; a store of a newer format.
    """
    try:
        record = from_json(data, kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise IntegrityError(f"{key}: {error}", subject=key) from None
    if isinstance(record, StoreRecord | CondemnedRecord) and record.format > STORE_FORMAT:
        raise IntegrityError(
            f"{key}: the store has format {record.format}, this program reads up to {STORE_FORMAT}: upgrade it",
            subject=key,
        )
    return record


def join_names(names: Iterable[str]) -> bytes:
    """Hex names of packs or pages objects as they stand in a condemned list, ascending."""
    return b"".join(sorted(map(bytes.fromhex, names)))


def split_names(joined: bytes, key: str) -> tuple[str, ...]:
    """The hex names again.

    Raises:
        IntegrityError: not whole names.
    """
    if len(joined) % _NAME:
        raise IntegrityError(f"{key}: names of {len(joined)} bytes together are not whole", subject=key)
    text = joined.hex()
    return tuple(text[start : start + 2 * _NAME] for start in range(0, len(text), 2 * _NAME))


def changed(record: Struct, **fields: object) -> Struct:
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
