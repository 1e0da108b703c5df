"""A bucket spoken to without a library in between, where that is possible: large ranges and many small objects.

Owns the requests for them and the way back to the full client: everything that is not a plain success here is asked for again
by :mod:`~holdfast.store.exchange`, with its retries, its renewed credentials and its plain errors. So there is no error here.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from holdfast.store.base import Object, ObjectInfo
from holdfast.store.many import Done, Request, drive
from holdfast.store.signing import Signer
from holdfast.store.wire import Answer, Kept, WireError, seconds_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from _typeshed import ReadableBuffer

    from holdfast.store.settings import BucketSettings
    from holdfast.store.signing import Route

__all__ = ["Direct", "info_told", "range_told"]


class Direct:
    """Requests over one route. ``path`` spells a key as the bucket does. Safe to use from several threads."""

    def __init__(self, route: Route, settings: BucketSettings, path: Callable[[str], str]) -> None:
        self._route = route
        self._settings = settings
        self._path = path
        self._signer = Signer(route)
        self._kept = Kept((route.host, route.port), settings.connect_timeout, settings.read_timeout)

    @property
    def writes(self) -> bool:
        """Whether small objects may be written this way."""
        return self._route.writes

    def read_into(self, key: str, start: int, view: memoryview, etag: str | None) -> ObjectInfo | None:
        """Fill the view from ``start``; None where that could not be done, then its content is undefined."""
        head = self._range_head(key, start, len(view), etag)
        with suppress(WireError):
            return range_info(key, start, len(view), self._kept.receive(head, view))
        return None

    def read_to(
        self, key: str, start: int, length: int, descriptor: int, offset: int, etag: str | None
    ) -> ObjectInfo | None:
        """As :meth:`read_into`, into a file from ``offset`` on, by the kernel alone."""
        head = self._range_head(key, start, length, etag)
        with suppress(WireError):
            return range_info(key, start, length, self._kept.fill(head, descriptor, offset, length))
        return None

    def _range_head(self, key: str, start: int, length: int, etag: str | None) -> bytes:
        extra = f"Range: bytes={start}-{start + length - 1}\r\n"
        if etag is not None:
            extra += f"If-Match: {etag}\r\n"
        return self._signer.head("GET", self._path(key), extra)

    def get_many(self, keys: Iterable[str], at_once: int) -> Iterator[tuple[str, Object | None]]:
        """Whole objects, in the order of answers; None for one that is to be asked for in another way."""
        for done in self._drive((self._get(key) for key in keys), at_once):
            found = None
            if done.answer is not None and done.answer.status == 200:
                with suppress(WireError):
                    found = Object(done.body, info_told(done.request.name, done.answer, done.answer.length))
            yield done.request.name, found

    def put_many(
        self, items: Iterable[tuple[str, ReadableBuffer]], at_once: int, md5_of: Callable[[str], str] | None = None
    ) -> Iterator[tuple[str, bool]]:
        """Write whole objects, overwriting; whether each was written, in the order of answers."""

        def put(key: str, data: ReadableBuffer) -> Request:
            md5 = None if md5_of is None else md5_of(key)
            return Request(key, self._signer.head("PUT", self._path(key), body=data, md5=md5), data)

        for done in self._drive((put(key, data) for key, data in items), at_once):
            yield done.request.name, done.answer is not None

    def _get(self, key: str) -> Request:
        return Request(key, self._signer.head("GET", self._path(key)))

    def _drive(self, requests: Iterator[Request], at_once: int) -> Iterator[Done]:
        settings = self._settings
        return drive(
            (self._route.host, self._route.port),
            requests,
            at_once,
            connect=settings.connect_timeout,
            silence=settings.read_timeout,
        )


def range_info(key: str, start: int, length: int, answer: Answer) -> ObjectInfo | None:
    """What an answer says of the object, if it is the range that was asked for.

    Raises:
        WireError: the answer does not tell.
    """
    begin, end, whole = range_told(answer)
    if answer.status != 206 or begin != start or end != start + answer.length:
        return None
    return info_told(key, answer, whole) if answer.length == min(length, whole - start) else None


def range_told(answer: Answer) -> tuple[int, int, int]:
    """First byte, the one after the last, and the size of the whole.

    Raises:
        WireError: the answer does not tell.
    """
    span, _, whole = answer.header(b"content-range").removeprefix(b"bytes ").partition(b"/")
    first, _, last = span.partition(b"-")
    if not (first.isdigit() and last.isdigit() and whole.isdigit()):
        raise WireError("no range")
    return int(first), int(last) + 1, int(whole)


def info_told(key: str, answer: Answer, size: int) -> ObjectInfo:
    """What an answer tells of the object.

    Raises:
        WireError: no strong tag, or bytes that are encoded.
    """
    quoted = answer.header(b"etag").decode("latin-1")
    if not quoted.startswith('"') or answer.header(b"content-encoding"):
        raise WireError("no strong tag, or bytes that are not the object's")
    etag = quoted.strip('"')
    return ObjectInfo(key, size, etag, seconds_of(answer.header(b"last-modified")), etag)
