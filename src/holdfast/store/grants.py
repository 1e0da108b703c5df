"""Leave to read and to write objects, as a server grants it: asked for in batches, ahead of their use, and again before it expires.

Owns which key is asked for when. A grant is a signed URL, or says that the bytes go through the server, which then gets the token
(nobody else does).
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from holdfast.errors import HoldfastError, UnreachableError
from holdfast.formats.api import BATCH, Grant, GrantsReply, KeysRequest, UploadsRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from holdfast.formats.api import Upload
    from holdfast.remote import Remote

__all__ = ["Grants", "Leave"]

#: A grant is renewed when so many seconds of it are left, or a quarter of them where it is short.
_MARGIN: Final = 60.0
#: The next batch is asked for when so many grants of the last are unused.
_AHEAD: Final = BATCH // 4


@dataclass(frozen=True, slots=True)
class Leave:
    """Leave to send one request: where to, with which headers. ``streamed``: it goes through the server."""

    key: str
    url: str = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    renew: float
    streamed: bool
    tls: bool
    address: tuple[str, int]
    authority: str
    path: str = field(repr=False)

    def head(self, method: str, extra: str = "") -> bytes:
        """The head of the request, up to the empty line."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        return f"{method} {self.path} HTTP/1.1\r\nHost: {self.authority}\r\n{lines}{extra}\r\n".encode("latin-1")


class Grants:
    """The grants of one project. Safe to use from several threads, of which one asks at a time."""

    def __init__(self, remote: Remote, clock: Callable[[], float] = time.time) -> None:
        self._remote = remote
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, Leave] = {}
        self._unused: dict[str, None] = {}
        self._expected: dict[str, None] = {}
        self._ahead: threading.Thread | None = None
        #: Whether the server has said that reads go through it: then nobody is asked for leave.
        self.streams = False

    def offer(self, grants: Sequence[Grant], now: float) -> None:
        """Grants that came with another answer, and the server's time then."""
        if grants:
            with self._lock:
                self._remember(grants, now)

    def expect(self, keys: Iterable[str]) -> None:
        """Keys that will be read soon."""
        with self._lock:
            moment = self._clock()
            self._known = {key: leave for key, leave in self._known.items() if leave.renew > moment}
            self._expected |= dict.fromkeys(key for key in keys if key not in self._known)

    def of(self, key: str) -> Leave:
        """Leave to read a key; with it the next keys that are expected are asked for."""
        if self.streams:
            return self.through_server(key)
        with self._lock:
            leave = self._fresh(key)
            if leave is None:
                self._ask(self._batch(key))
                leave = self._known[key]
            self._unused.pop(key, None)
            if self._expected and len(self._unused) <= _AHEAD and (self._ahead is None or not self._ahead.is_alive()):
                self._ahead = threading.Thread(target=self._ask_ahead, daemon=True)
                self._ahead.start()
            return leave

    def renewed(self, key: str) -> Leave:
        """New leave for a key whose old one was refused."""
        with self._lock:
            self._known.pop(key, None)
        return self.of(key)

    def to_write(self, push: str, uploads: Sequence[Upload]) -> list[Leave]:
        """Leave for a push to create objects of these lengths; not kept, for each is used once."""
        leaves: list[Leave] = []
        for start in range(0, len(uploads), BATCH):
            body = UploadsRequest(push, list(uploads[start : start + BATCH]))
            reply = self._remote.ask("POST", "uploads", GrantsReply, body=body)
            leaves += [
                self.leave(grant, reply.now) if grant.url is not None else self.through_server(grant.key, push)
                for grant in reply.grants
            ]
        return leaves

    def through_server(self, key: str, push: str | None = None) -> Leave:
        """Leave to read or, for a push, to create an object through the server."""
        server, query = self._remote.server, {"key": key, "push": push}
        url = server.address(self._remote.route("objects"), query)
        return leave_of(key, url, server.authorization(), 0.0, streamed=True)

    def is_fresh(self, leave: Leave) -> bool:
        """Whether there is time enough left to begin what it is for."""
        return leave.streamed or self._clock() < leave.renew

    def _fresh(self, key: str) -> Leave | None:
        leave = self._known.get(key)
        return leave if leave is not None and self.is_fresh(leave) else None

    def _batch(self, *first: str) -> list[str]:
        """What to ask for: this key, those whose unused grants are over, and the next that are expected."""
        stale = (key for key in self._unused if self._fresh(key) is None)
        found: dict[str, None] = dict.fromkeys(first)
        for key in (*stale, *self._expected):
            if len(found) == BATCH:
                break
            found[key] = None
        return list(found)

    def _ask(self, keys: list[str]) -> None:
        reply = self._remote.ask("POST", "downloads", GrantsReply, body=KeysRequest(keys))
        if [grant.key for grant in reply.grants] != keys:
            raise UnreachableError(f"{self._remote.server.url} grants what was not asked for", subject=keys[0])
        self._remember(reply.grants, reply.now)

    def _ask_ahead(self) -> None:
        """In a thread of its own, while the last grants are used; what fails is asked for again by whoever needs it."""
        with suppress(HoldfastError), self._lock:
            if self._expected:
                self._ask(self._batch())

    def _remember(self, grants: Sequence[Grant], now: float) -> None:
        offset = self._clock() - now
        for grant in grants:
            self._known[grant.key] = self.leave(grant, now, offset)
            self._unused[grant.key] = None
            self._expected.pop(grant.key, None)
        self.streams = self.streams or grants[-1].url is None

    def leave(self, grant: Grant, now: float, offset: float | None = None) -> Leave:
        """A grant as leave to send a request; ``offset`` is how far this machine's clock is ahead of the server's."""
        offset = self._clock() - now if offset is None else offset
        if grant.url is None:
            return self.through_server(grant.key)
        lasts = grant.expires - now
        return leave_of(grant.key, grant.url, grant.headers, grant.expires - min(_MARGIN, lasts / 4) + offset)


def leave_of(key: str, url: str, headers: dict[str, str], renew: float, *, streamed: bool = False) -> Leave:
    """Leave by a URL.

    Raises:
        UnreachableError: it is no URL that a request could be sent to.
    """
    parts = urlsplit(url)
    plain = url.isascii() and url.isprintable() and " " not in url
    clean = all(f"{name}{value}".isprintable() for name, value in headers.items())
    if not (plain and clean) or parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise UnreachableError(f"the server grants {key} by a URL that is none", subject=key)
    tls = parts.scheme == "https"
    address = parts.hostname, parts.port or (443 if tls else 80)
    path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    return Leave(key, url, headers, renew, streamed, tls, address, parts.netloc, path)
