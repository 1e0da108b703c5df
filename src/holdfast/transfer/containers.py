"""Builds packs and pages objects piece by piece and sends them, each once (FORMAT.md §9.1).

The name of an object is known only when it is closed; until then its pieces lie in an object of a provisional name, which
:meth:`ContainerWriter.final` turns into the real one.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from holdfast.errors import ConflictError, ObjectNotFoundError, UnreachableError
from holdfast.failpoint import reach
from holdfast.formats.container import MOST, PACK, encode_table
from holdfast.formats.layout import pack_key, pages_key
from holdfast.store.base import CREATE, OVERWRITE, TakesPieces

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import ReadableBuffer

    from holdfast.store.base import PutMode, Store

__all__ = ["FULL", "Container", "ContainerWriter", "Sender"]

#: A container is closed once so many bytes are in it, or so many pieces: of tiny ones the table is longer than they are.
FULL: Final = 40 * 1024 * 1024
_MOST_PIECES: Final = 256 * 1024
#: No more than so many bytes of pieces, that there is room for the table in what a container may have.
_ROOM: Final = MOST - 48 * _MOST_PIECES


@dataclass(slots=True)
class Container:
    """One object ready to be sent: ``size`` bytes, which hold ``raw`` bytes of files."""

    name: bytes
    key: str
    size: int
    raw: int
    pieces: list[ReadableBuffer]


@dataclass(slots=True)
class _Open:
    """One object in the making."""

    pieces: list[ReadableBuffer] = field(default_factory=list)
    stored: list[int] = field(default_factory=list)
    raw: list[int] = field(default_factory=list)
    codecs: bytearray = field(default_factory=bytearray)
    digests: bytearray = field(default_factory=bytearray)
    size: int = 0


class ContainerWriter:
    """Puts pieces into containers of one kind; ``send`` gets each that is full, ``condemned`` are the names not to be used (hex)."""

    def __init__(self, magic: bytes, send: Callable[[Container], None], condemned: frozenset[str]) -> None:
        self._magic = magic
        self._key = pack_key if magic == PACK else pages_key
        self._send = send
        self._condemned = condemned
        self._open = _Open()
        self._names: dict[bytes, bytes] = {}
        self.number = 0

    @property
    def provisional(self) -> bytes:
        """The name, for now, of the container that the next piece goes into: never that of a closed one."""
        return self.number.to_bytes(4, "big")

    def add(self, stored: ReadableBuffer, size: int, raw: int, codec: int, digest: bytes) -> int:
        """Put a piece of ``size`` stored bytes into the open container; its offset there."""
        container = self._open
        offset = container.size
        container.pieces.append(stored)
        container.stored.append(size)
        container.raw.append(raw)
        container.codecs.append(codec)
        container.digests += digest
        container.size = offset + size
        return offset

    @property
    def full(self) -> bool:
        """Whether it is time to close."""
        return self._open.size >= FULL or len(self._open.stored) >= _MOST_PIECES

    def make_room(self, size: int) -> None:
        """Close the open container if a piece of so many bytes would make it larger than a container may be."""
        if self._open.size + size > _ROOM or len(self._open.stored) >= _MOST_PIECES:
            self.close()

    def close(self) -> None:
        """Close and send the open container, if there is anything in it."""
        container = self._open
        if not container.stored:
            return
        name, tail = self._name(container)
        self._names[self.provisional] = name
        self.number += 1
        self._open = _Open()
        size = container.size + len(tail)
        raw = sum(container.raw) if self._magic == PACK else 0
        self._send(Container(name, self._key(name.hex()), size, raw, [*container.pieces, tail]))

    def _name(self, container: _Open) -> tuple[bytes, bytes]:
        codecs, digests, salt = bytes(container.codecs), bytes(container.digests), 0
        while True:
            name, tail = encode_table(container.stored, container.raw, codecs, digests, magic=self._magic, salt=salt)
            if name.hex() not in self._condemned:
                return name, tail
            salt = 1 + secrets.randbelow((1 << 63) - 1)  # design §3: a condemned name is never written again

    def final(self, name: bytes) -> bytes:
        """The real name of a container, given any name."""
        return self._names.get(name, name)


_STEP: Final = 128 * 1024
#: How often an object is sent whose answer does not come.
_TRIES: Final = 4


class Sender:
    """Writes containers into a store; counts what went there. Used from several threads."""

    def __init__(
        self,
        store: Store,
        spend: Callable[[int], None],
        advance: Callable[[int], None],
        alive: Callable[[], None],
    ) -> None:
        self._store = store
        self._spend = spend
        self._advance = advance
        self.alive = alive
        self.objects: list[int] = []

    def send(self, container: Container) -> None:
        """Write one object, create-only. One that is there already is the same: an earlier, killed push sent it, or another one.

        One of another length is damaged, for the name tells the length: it is written again, or nobody could ever push this.
        """
        self.alive()
        found = self._length(container)
        if found == container.size:
            self._advance(container.raw)
        else:
            self._put(container, CREATE if found is None else OVERWRITE)
        container.pieces.clear()
        reach("push.pack-written")

    def _put(self, container: Container, mode: PutMode) -> None:
        """A doubtful answer is settled by looking: what is there under this name is this object."""
        put = self._putting(container)
        for attempt in range(_TRIES):
            self._wait(container, told=attempt > 0)
            try:
                put(mode)
            except (ConflictError, UnreachableError):
                found = self._length(container)
                if found == container.size:
                    break
                if attempt == _TRIES - 1:
                    raise
                mode = CREATE if found is None else OVERWRITE
            else:
                break
        self.objects.append(container.size)

    def _putting(self, container: Container) -> Callable[[PutMode], object]:
        """How to put it: as the pieces that it is, or joined where the store wants it so."""
        store = self._store
        if isinstance(store, TakesPieces):
            return partial(store.put_pieces, container.key, container.pieces)
        data = b"".join(container.pieces)
        container.pieces.clear()  # memory for one copy of it, not for two
        return partial(store.put, container.key, data)

    def _wait(self, container: Container, *, told: bool) -> None:
        """Wait where the rate asks for it, and tell how far it is, in steps: a whole object is a long time on a slow line."""
        gone = 0
        for end in range(_STEP, container.size + _STEP, _STEP):
            self._spend(min(_STEP, container.size + _STEP - end))
            now = container.raw * min(end, container.size) // container.size
            if not told:
                self._advance(now - gone)
            gone = now

    def _length(self, container: Container) -> int | None:
        """How long what is there under this name is; None where nothing is."""
        try:
            return self._store.head(container.key).size
        except ObjectNotFoundError:
            return None
