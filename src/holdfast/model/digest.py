"""BLAKE3 digests of bytes, streams and files already open.

Owns the one import of blake3. A digest is its lower-case hex text; where the algorithm is not plain from the place it
stands in, it is written ``blake3:<hex>`` (design §2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blake3 import blake3

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["PREFIX", "Hasher", "digest_of", "raw_digest_of"]

#: How a digest starts where its algorithm must be named.
PREFIX = "blake3:"


class Hasher:
    """A running BLAKE3 over bytes given in order."""

    __slots__ = ("_state",)

    def __init__(self) -> None:
        self._state = blake3()

    def copy(self) -> Hasher:
        """One that has taken the same bytes, and goes its own way."""
        other = Hasher()
        other._state = self._state.copy()
        return other

    def update(self, data: ReadableBuffer) -> None:
        """Take the next bytes; the interpreter lock is released while large pieces are hashed."""
        self._state.update(data)

    def hexdigest(self) -> str:
        """The digest of all bytes so far, 64 hex digits."""
        return self._state.hexdigest()

    def digest(self) -> bytes:
        """The digest of all bytes so far, 32 bytes."""
        return self._state.digest()


def digest_of(data: ReadableBuffer) -> str:
    """The BLAKE3 digest of these bytes, 64 hex digits."""
    return blake3(data).hexdigest()


def raw_digest_of(data: ReadableBuffer) -> bytes:
    """The BLAKE3 digest of these bytes as 32 bytes: chunks are too many for hexadecimal."""
    return blake3(data).digest()
