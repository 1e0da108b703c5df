"""Requests with leave that a server has granted: a quick way for what goes well, and urllib3 for everything else.

The quick way answers None for whatever is not a plain success; the full one tries again, and knows what a refusal means. A signed
URL stands in no error. Nothing but what the grant says is sent along: no token reaches a bucket.
"""

from __future__ import annotations

import re
import threading
import time
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from urllib3.exceptions import HTTPError

from holdfast.connections import CONNECT, jitter, pool_manager, reason, tls_context, told_pause, tries
from holdfast.errors import (
    AccessError,
    AlreadyExistsError,
    BucketNotFoundError,
    ChangedError,
    HoldfastError,
    ObjectNotFoundError,
    UnreachableError,
    raised_elsewhere,
)
from holdfast.formats.api import ErrorReply, ObjectStat, decode_reply
from holdfast.store.base import Object, ObjectInfo
from holdfast.store.direct import info_told, range_info
from holdfast.store.many import Request, drive
from holdfast.store.wire import Kept, WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from _typeshed import ReadableBuffer
    from urllib3.response import BaseHTTPResponse

    from holdfast.formats.api import ErrorBody
    from holdfast.store.grants import Leave

__all__ = ["Granted"]

_SILENCE: Final = 30.0
_AGAIN: Final = (408, 409, 429, 500, 502, 503, 504)
#: Bytes of a refusal that are looked at.
_REFUSAL: Final = 16 * 1024
_CODE: Final = re.compile(rb"<Code>(\w{1,80})</Code>")
_PAST_END: Final = 416


class Granted:
    """Sends them. Safe to use from several threads. ``ca`` is the file of one's own certificate authority."""

    def __init__(self, ca: str | None = None, *, pause: Callable[[float], None] = time.sleep) -> None:
        self._ca = ca
        self._pause = pause
        self._lock = threading.Lock()
        self._kept: dict[tuple[tuple[str, int], bool], Kept] = {}
        self._pools: dict[bool, Any] = {}

    # the quick way

    def read_into(self, leave: Leave, start: int, view: memoryview, etag: str | None) -> ObjectInfo | None:
        """Fill the view from ``start``; None where that could not be done, then its content is undefined."""
        head = _range_head(leave, start, len(view), etag)
        with suppress(WireError):
            answer = self._connections(leave).receive(head, view)
            if answer.status == 200 and start == 0:  # all of it, and not more than was asked for
                return info_told(leave.key, answer, answer.length)
            return range_info(leave.key, start, len(view), answer)
        return None

    def read_to(
        self, leave: Leave, start: int, length: int, descriptor: int, offset: int, etag: str | None
    ) -> ObjectInfo | None:
        """As :meth:`read_into`, into a file from ``offset`` on, by the kernel alone."""
        head = _range_head(leave, start, length, etag)
        with suppress(WireError):
            answer = self._connections(leave).fill(head, descriptor, offset, length)
            return range_info(leave.key, start, length, answer)
        return None

    def get_many(self, leaves: Iterable[Leave], at_once: int) -> Iterator[tuple[str, Object | None]]:
        """Whole objects at addresses of one kind, in the order of answers; None for one to be asked for in the full way."""
        for request, answer, body in self._driven(((leave, leave.head("GET"), b"") for leave in leaves), at_once):
            found = None
            if answer is not None and answer.status == 200:
                with suppress(WireError):
                    found = Object(body, info_told(request, answer, answer.length))
            yield request, found

    def put_many(self, items: Iterable[tuple[Leave, ReadableBuffer]], at_once: int) -> Iterator[tuple[str, bool]]:
        """Create whole objects; False for one that is to be written in the full way."""
        heads = ((leave, leave.head("PUT", _length(leave, data)), data) for leave, data in items)
        for key, answer, _ in self._driven(heads, at_once):
            yield key, answer is not None

    def _driven(
        self, items: Iterable[tuple[Leave, bytes, ReadableBuffer]], at_once: int
    ) -> Iterator[tuple[str, Any, ReadableBuffer]]:
        """Over plain connections to the first one's address; what lies elsewhere, or behind TLS, is given back."""
        todo = iter(items)
        first = next(todo, None)
        if first is None:
            return
        others: list[str] = []

        def requests() -> Iterator[Request]:
            pending: tuple[Leave, bytes, ReadableBuffer] | None = first
            while pending is not None:
                leave, head, body = pending
                if leave.tls or leave.address != first[0].address:
                    others.append(leave.key)
                else:
                    yield Request(leave.key, head, body)
                pending = next(todo, None)

        for done in drive(first[0].address, requests(), at_once, connect=CONNECT, silence=_SILENCE):
            yield done.request.name, done.answer, done.body
            while others:
                yield others.pop(), None, b""
        while others:
            yield others.pop(), None, b""

    def _connections(self, leave: Leave) -> Kept:
        with self._lock:
            kept = self._kept.get((leave.address, leave.tls))
            if kept is None:
                tls = tls_context(self._ca) if leave.tls else None
                kept = self._kept[leave.address, leave.tls] = Kept(leave.address, CONNECT, _SILENCE, tls)
            return kept

    # the full way

    def get(self, leave: Leave, span: tuple[int, int] | None = None, etag: str | None = None) -> Object | None:
        """The object, or the bytes from the first to before the second; None where the range begins at its end or beyond.

        Raises:
            HoldfastError: it was refused, or nobody answered.
        """
        headers = {} if span is None else {"Range": f"bytes={span[0]}-{span[1] - 1}"}
        if etag is not None:
            headers["If-Match"] = f'"{etag}"'
        status, told, data = self._tried("GET", leave, headers)
        if status == _PAST_END:
            return None
        if status not in (200, 206):
            raise _refused("read", leave, status, data)
        size = len(data)
        if status == 206:
            size = int(told.get("Content-Range", "").rpartition("/")[2] or size)
        elif span is not None:  # a server that knows no ranges gives all of it
            data = data[span[0] : span[1]]
        return Object(data, _info(leave.key, size, told))

    def put(self, leave: Leave, data: ReadableBuffer) -> ObjectInfo:
        """Create an object, or a part of one.

        Raises:
            AlreadyExistsError: it is there already; perhaps by an earlier try of this very request.
        """
        size = memoryview(data).nbytes
        named = {name.lower() for name in leave.headers}
        headers = {} if "content-length" in named else {"Content-Length": str(size)}
        status, told, body = self._tried("PUT", leave, headers, data)
        if status not in (200, 201, 204):
            raise _refused("write", leave, status, body)
        if leave.streamed and (stat := decode_reply(body, ObjectStat)) is not None:
            return ObjectInfo(stat.key, stat.size, stat.version, stat.modified, stat.etag)
        return _info(leave.key, size, told)

    def _tried(
        self, method: str, leave: Leave, headers: dict[str, str], body: ReadableBuffer | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of the first answer that is worth no further try."""
        sent = {"Accept-Encoding": "identity", **headers, **leave.headers}
        # Our server has answered before, for it gave leave; whoever writes tries again itself.
        most = tries(known=method == "GET" and leave.streamed)
        for attempt in range(1, most + 1):
            pause = jitter(attempt)
            try:
                answer: BaseHTTPResponse = self._full(leave.tls).request(
                    method, leave.url, body=body, headers=sent, redirect=False, preload_content=False
                )
                try:
                    settled = answer.status not in _AGAIN or (leave.streamed and answer.status == 409)
                    if settled or attempt == most:
                        good = 200 <= answer.status < 300
                        data = answer.read(None if good else _REFUSAL, decode_content=False)
                        return answer.status, answer.headers, data
                    pause = told_pause(answer.headers, attempt)
                finally:
                    answer.close() if answer.status >= 300 else answer.release_conn()
            except (HTTPError, OSError) as error:
                if attempt == most:
                    hint = "the bucket's address must be reachable from here; the server can stream instead"
                    raise UnreachableError(
                        f"no answer from {leave.authority} for {leave.key}: {reason(error)}",
                        subject=leave.key,
                        hint="is the server running?" if leave.streamed else hint,
                    ) from None  # the cause may tell the signed URL
            self._pause(pause)
        raise AssertionError("unreachable")  # pragma: no cover - the last try answers or raises

    def _full(self, tls: bool) -> Any:
        with self._lock:
            if tls not in self._pools:
                self._pools[tls] = pool_manager(self._ca, silence=_SILENCE, tls=tls)
            return self._pools[tls]


def _range_head(leave: Leave, start: int, length: int, etag: str | None) -> bytes:
    extra = f"Range: bytes={start}-{start + length - 1}\r\n"
    return leave.head("GET", extra if etag is None else f'{extra}If-Match: "{etag}"\r\n')


def _length(leave: Leave, data: ReadableBuffer) -> str:
    named = any(name.lower() == "content-length" for name in leave.headers)
    return "" if named else f"Content-Length: {memoryview(data).nbytes}\r\n"


def _info(key: str, size: int, told: Mapping[str, str]) -> ObjectInfo:
    tag = told.get("ETag", "").removeprefix("W/").strip('"')
    try:
        modified = parsedate_to_datetime(told["Last-Modified"]).timestamp()
    except (KeyError, ValueError):
        modified = time.time()
    return ObjectInfo(key, size, tag, modified, tag or None)


def _refused(verb: str, leave: Leave, status: int, body: bytes) -> HoldfastError:
    """What a bucket's refusal means; of its text only the code is told. A server says itself what it means."""
    if leave.streamed and (reply := decode_reply(body, ErrorReply)) is not None:
        return _told_by_server(leave, status, reply.error)
    key, code = leave.key, _CODE.search(body)
    name = code[1].decode() if code else ""
    if status == 404:
        if name == "NoSuchBucket":
            return BucketNotFoundError(f"the bucket of {key} is not there", subject=key)
        return ObjectNotFoundError(f"no object {key}", subject=key)
    if status in (409, 412):
        if verb == "write":
            return AlreadyExistsError(f"{key} exists", subject=key)
        return ChangedError(f"{key} is another version by now, or gone", subject=key)
    told = f"{status} {name}".strip()
    if status in (400, 401, 403):
        hint = "is this machine's clock right, and the address the one that the server signed for?"
        return AccessError(f"{leave.authority} refuses to {verb} {key} ({told})", subject=key, hint=hint)
    bound = "a proxy before it bounds the size of requests: nginx by client_max_body_size" if status == 413 else None
    return UnreachableError(f"{leave.authority} answers {told} for {key}", subject=key, hint=bound)


def _told_by_server(leave: Leave, status: int, told: ErrorBody) -> HoldfastError:
    if told.kind == "not_found" and told.name is None:
        return ObjectNotFoundError(told.message, subject=leave.key)
    if status == 412 and told.kind == "conflict" and told.name is None:
        return ChangedError(told.message, subject=leave.key)
    return raised_elsewhere(told.kind, told.message, name=told.name, subject=told.subject or leave.key, hint=told.hint)
