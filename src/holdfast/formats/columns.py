"""Reads tables that are one array of columns in msgpack: containers, pages, roots (FORMAT.md §9).

Owns what such bytes may do to a reader: every array is at most as long as its digests could fill the object, so that a few
bytes never become gigabytes, and whatever is wrong with them is one error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Protocol, TypeVar

import msgspec

from holdfast.errors import IntegrityError
from holdfast.formats.decoding import from_msgpack

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["FORMAT", "Numbers", "decode_columns", "digests_in"]

#: What the first column says.
FORMAT: Final = 1
#: Rows with a digest each, of which no object has more.
_ROWS: Final = 2 * 1024 * 1024
Numbers = Annotated[list[int], msgspec.Meta(max_length=_ROWS)]


class _Table(Protocol):
    format: int


T = TypeVar("T", bound=_Table)


def decode_columns(data: ReadableBuffer, kind: type[T], subject: str) -> T:
    """The table.

    Raises:
        IntegrityError: no msgpack, other columns, too long ones, text that is none, or a later format.
    """
    try:
        found = from_msgpack(data, kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise IntegrityError(f"{subject}: {error}", subject=subject) from None
    if found.format != FORMAT:
        raise IntegrityError(
            f"{subject}: format {found.format} is unknown to this program: upgrade it", subject=subject
        )
    return found


def digests_in(column: bytes) -> list[bytes]:
    """The digests that stand one behind the other."""
    return [column[at : at + 32] for at in range(0, len(column), 32)]
