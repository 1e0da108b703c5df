"""Decodes JSON and msgpack into types, from any thread.

msgspec learns a type when it first decodes into it, and keeps on the class what it knows so far: a second thread that comes
meanwhile takes a half-filled table for a whole one and the process ends with a segmentation fault (seen with msgspec 0.22;
``tests/unit/test_decoding.py``). So types are learned here, one at a time, and their decoders kept.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["convert", "from_json", "from_msgpack", "learn"]

T = TypeVar("T")
_learning: Final = threading.Lock()
_json: Final[dict[Any, msgspec.json.Decoder[Any]]] = {}
_msgpack: Final[dict[Any, msgspec.msgpack.Decoder[Any]]] = {}


def from_json(data: ReadableBuffer, kind: type[T]) -> T:
    """What the JSON says, as this type.

    Raises:
        msgspec.MsgspecError: no JSON, or of another type.
        UnicodeDecodeError, RecursionError: text that is none; nested too deeply.
    """
    found: T = _json_decoder(kind).decode(data)
    return found


def from_msgpack(data: ReadableBuffer, kind: type[T]) -> T:
    """What the msgpack says, as this type; raises as ``from_json``."""
    decoder = _msgpack.get(kind)
    if decoder is None:
        with _learning:
            decoder = _msgpack.setdefault(kind, msgspec.msgpack.Decoder(kind))
    found: T = decoder.decode(data)
    return found


def convert(value: object, kind: type[T]) -> T:
    """A plain value as this type; raises ``msgspec.ValidationError`` where it is of another."""
    _json_decoder(kind)  # learns the type; what is learned is the same for all
    return msgspec.convert(value, kind)


def learn(*kinds: type[Any]) -> None:
    """Learn these types and all that are made of them, before others who use msgspec meet them."""
    for kind in kinds:
        _json_decoder(kind)
        learn(*kind.__subclasses__())


def _json_decoder(kind: type[Any]) -> msgspec.json.Decoder[Any]:
    decoder = _json.get(kind)
    if decoder is None:
        with _learning:
            decoder = _json.setdefault(kind, msgspec.json.Decoder(kind))
    return decoder
