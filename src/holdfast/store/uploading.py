"""Creating objects through a server: large ones in parts or in one stream, and what to do with what is there already.

An object that a killed push has left under its claim is kept where it is the same, byte for byte, and never written over.
"""

from __future__ import annotations

import hashlib
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from holdfast.errors import (
    AlreadyExistsError,
    HoldfastError,
    IntegrityError,
    NotFoundError,
    ObjectNotFoundError,
    UnsupportedError,
)
from holdfast.formats.api import ObjectStat, PartsDone, PartsReply, PartsRequest, decode_reply
from holdfast.store.base import ObjectInfo
from holdfast.store.parts import PART, Feed, blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from typing import BinaryIO

    from _typeshed import ReadableBuffer

    from holdfast.remote import Remote
    from holdfast.store.base import Store
    from holdfast.store.granted import Granted
    from holdfast.store.grants import Grants, Leave

__all__ = ["Uploading"]

#: Parts on their way at a time, and leaves for parts asked for at a time.
_AT_ONCE: Final = 4
_LEAVES: Final = 100


class Uploading:
    """Writes for one project. ``store`` reads what is there already; ``signs`` says whether the server signs uploads."""

    def __init__(self, store: Store, remote: Remote, grants: Grants, granted: Granted, *, signs: bool) -> None:
        self._store = store
        self._signs = signs
        self._remote = remote
        self._grants = grants
        self._granted = granted

    def kept(self, key: str, data: memoryview) -> ObjectInfo:
        """The object that is there, if it is this one.

        Raises:
            AlreadyExistsError: it is another one.
        """
        info = self._store.head(key)
        if info.size == data.nbytes:
            md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
            if info.etag == md5 or bytes(self._store.get(key).data) == data:
                return info
        raise _another(key, info.size, data.nbytes)

    def send(self, key: str, source: BinaryIO, size: int, seen: Callable[[ReadableBuffer], None]) -> ObjectInfo:
        """Create an object from a file, unless the same one is there."""
        try:
            found = self._store.head(key)
        except ObjectNotFoundError:
            found = None
        if found is not None:
            return self._compared(key, found, source, size, seen)
        if size <= PART:
            return self._store.put(key, b"".join(blocks(source, size, PART, seen, key)))
        push = self._remote.pushes.of(key)
        parts = self._parts(push, key, size) if push is not None and self._signs else None
        if parts is not None:
            return parts.send(source, seen)
        return self._streamed(key, push, source, size, seen)

    def _parts(self, push: str, key: str, size: int) -> _Parts | None:
        """An upload in parts that the server has begun; None where it says that it cannot."""
        with suppress(UnsupportedError, NotFoundError):
            return _Parts(self._remote, self._grants, self._granted, push, key, size)
        return None

    def _compared(
        self, key: str, info: ObjectInfo, source: BinaryIO, size: int, seen: Callable[[ReadableBuffer], None]
    ) -> ObjectInfo:
        """Read it again beside the source: an upload that a kill has cut short costs no second one."""
        if info.size != size:
            raise _another(key, info.size, size)
        start = 0
        for block in blocks(source, size, PART, seen, key):
            there = self._store.get_range(key, start, len(block))
            if bytes(there.data) != block:
                raise _another(key, info.size, size)
            start += len(block)
        return info

    def _streamed(
        self, key: str, push: str | None, source: BinaryIO, size: int, seen: Callable[[ReadableBuffer], None]
    ) -> ObjectInfo:
        """In one request through the server, which shows it only once it is whole."""
        feed = Feed(blocks(source, size, PART, seen, key))
        query = {"key": key, "push": push}
        headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
        try:
            with self._remote.server.open(
                "PUT", self._remote.route("objects"), query=query, body=feed, headers=headers, again=False
            ) as answer:
                told = decode_reply(answer.read(), ObjectStat)
        except HoldfastError:
            if feed.failure is not None:
                raise feed.failure from None
            raise
        return _checked(key, size, told)


class _Parts:
    """One object in parts."""

    def __init__(self, remote: Remote, grants: Grants, granted: Granted, push: str, key: str, size: int) -> None:
        self._remote = remote
        self._grants = grants
        self._granted = granted
        self._push, self._key, self._size = push, key, size
        self._leaves: dict[int, Leave] = {}
        self._upload: str | None = None
        self._part = self._ask([]).part
        self._count = -(-size // self._part)

    def send(self, source: BinaryIO, seen: Callable[[ReadableBuffer], None]) -> ObjectInfo:
        """Every part, a few at a time, and then the whole of them."""
        pieces = blocks(source, self._size, self._part, seen, self._key)
        tags = list(self._tags(pieces))
        body = PartsDone(self._push, self._key, self._size, self._upload or "", tags)
        return _checked(self._key, self._size, self._remote.ask("POST", "parts/complete", ObjectStat, body=body))

    def _tags(self, pieces: Iterator[bytes]) -> Iterator[str]:
        window: deque[Future[str]] = deque()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            try:
                for number, piece in enumerate(pieces, 1):
                    window.append(pool.submit(self._put, self._leave(number), piece))
                    if len(window) == _AT_ONCE:
                        yield window.popleft().result()
                while window:
                    yield window.popleft().result()
            finally:
                for future in window:
                    future.cancel()

    def _put(self, leave: Leave, piece: bytes) -> str:
        return self._granted.put(leave, piece).etag or ""

    def _leave(self, number: int) -> Leave:
        """Leave to send a part, which is begun at once: on a slow line those that were given together are over before the last is used."""
        leave = self._leaves.pop(number, None)
        if leave is None or not self._grants.is_fresh(leave):
            self._ask(list(range(number, min(number + _LEAVES, self._count + 1))))
            leave = self._leaves.pop(number)
        return leave

    def _ask(self, numbers: list[int]) -> PartsReply:
        body = PartsRequest(self._push, self._key, self._size, self._upload, numbers)
        reply = self._remote.ask("POST", "parts", PartsReply, body=body)
        self._upload = reply.upload
        self._leaves |= {int(grant.key): self._grants.leave(grant, reply.now) for grant in reply.grants}
        return reply


def _checked(key: str, size: int, told: ObjectStat | None) -> ObjectInfo:
    if told is None or told.size != size:
        length = "an unknown number of" if told is None else told.size
        raise IntegrityError(f"{key} has {length} bytes on the server, {size} were sent", subject=key)
    return ObjectInfo(key, told.size, told.version, told.modified, told.etag)


def _another(key: str, there: int, ours: int) -> AlreadyExistsError:
    differ = f"{there} bytes instead of {ours}" if there != ours else "other bytes"
    return AlreadyExistsError(
        f"{key} is there already, with {differ}, and is never written over",
        subject=key,
        hint="push again: it gets another number",
    )
