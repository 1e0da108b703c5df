"""What is common to everything that a server and its clients say to each other: requests are strict, replies may grow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from holdfast.errors import UsageError
from holdfast.formats.decoding import from_json, learn

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["NotOfItsTypeError", "Reply", "Request", "decode_reply", "decode_request", "described", "encode"]


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a client sends; a field that the server does not know is an error, not a silence."""


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a server answers; a client ignores fields that it does not know."""


#: What is raised where a value is not of the type that it must be, by whoever converts it (the server's framework, too).
NotOfItsTypeError: Final = msgspec.ValidationError

_encoder = msgspec.json.Encoder()
Any_ = TypeVar("Any_")


def encode(value: Any) -> bytes:
    """The JSON of a request or reply."""
    return _encoder.encode(value)


def decode_request(data: ReadableBuffer, kind: type[Any_]) -> Any_:
    """A request of a type.

    Raises:
        UsageError: it is none.
    """
    try:
        return from_json(data, kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"the request is no {kind.__name__}: {error}") from None


def decode_reply(data: ReadableBuffer, kind: type[Any_]) -> Any_ | None:
    """A reply of a type, or None where it is none: the client then says what it got."""
    try:
        return from_json(data, kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def described(kind: type[Any]) -> dict[str, Any]:
    """The type, and those that it is made of, as JSON schemas by name; they refer to each other as an OpenAPI document does."""
    _, parts = msgspec.json.schema_components((kind,), ref_template="#/components/schemas/{name}")
    return parts


def learn_messages() -> None:
    """Learn every message that is known by now: a framework that decodes some itself meets none of them first."""
    learn(Request, Reply)
