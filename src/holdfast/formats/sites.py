"""What a site keeps in its stores beside its backups (FORMAT.md §12): leases. JSON; keys that we do not know are ignored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from holdfast.errors import IntegrityError
from holdfast.formats.decoding import from_json

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["LeaseRecord", "decode_lease", "encode_lease"]

_FORMAT: Final = 1


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
