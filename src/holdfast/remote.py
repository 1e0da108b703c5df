"""The one HTTP session to a server: its address, its token, requests that are tried again, refusals as our errors.

Owns what is sent to a server; what is asked is the business of ``catalog/remote`` and ``store/signed``. The token goes
to the address that it was made for and nowhere else: redirects are never followed.

Example::

    server = Server("https://assets.example.com", token="hf_…")
    server.ask("GET", "whoami", WhoamiReply).name
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast
from urllib.parse import quote, urlencode, urlsplit

from urllib3.exceptions import HTTPError, LocationParseError, SSLError

from holdfast.connections import AGENT, jitter, never_left, pool_manager, reason, told_pause, tries
from holdfast.errors import AccessError, BusyError, HoldfastError, UnreachableError, UsageError, raised_elsewhere
from holdfast.formats.api import ErrorReply, decode_reply, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import urllib3
    from urllib3.response import BaseHTTPResponse

__all__ = ["Pushes", "Remote", "Server"]

#: Bytes of an answer that is read whole.
_LONGEST: Final = 256 * 1024 * 1024
_STEP: Final = 1024 * 1024
#: The status of whoever is not known, or not any more.
_WHO: Final = 401
#: Answers upon which a request that may be repeated is.
_AGAIN: Final = (429, 502, 503, 504)

Reply = TypeVar("Reply")

#: The push that was opened last in this thread, or in the one that its work is of, and among which pushes.
_opened_here: ContextVar[tuple[Pushes, str] | None] = ContextVar("holdfast_push", default=None)


class Server:
    """One server. Safe to use from several threads. Without a token only what is open to anybody answers.

    ``tokens`` tells the token to use by now: it is asked once the server takes the old one no more, for what runs longer than a token lives.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        ca: str | None = None,
        pause: Callable[[float], None] = time.sleep,
        tokens: Callable[[], str | None] = lambda: None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.query:
            raise UsageError(f"{url!r} is no server's address", subject=url, hint="it reads like https://host")
        self.url = url.rstrip("/")
        self.ca = ca
        self._token = token
        self._tokens = tokens
        self._pause = pause
        self._pool: urllib3.PoolManager | None = None
        self._lock = threading.Lock()
        self._is_known = False
        #: Requests sent, tries included: what a test counts.
        self.requests = 0

    def __repr__(self) -> str:
        return f"Server({self.url!r})"

    def ask(
        self,
        method: str,
        route: str,
        reply: type[Reply],
        *,
        query: Mapping[str, object] | None = None,
        body: Any = None,
        again: bool = True,
    ) -> Reply:
        """The answer to a request. ``again``: it may be sent twice, for the second time does nothing new.

        Raises:
            HoldfastError: what the server refused; UnreachableError where it did not answer.
        """
        data = None if body is None else encode(body)
        headers = {"Content-Type": "application/json"} if data is not None else {}
        with self.open(method, route, query=query, body=data, headers=headers, again=again) as answer:
            raw = _read(answer, self.url)
        found = decode_reply(raw or b"null", reply)
        if found is None and reply is not type(None):
            raise UnreachableError(
                f"{self.url} answers {route} with something that this program does not read",
                subject=self.url,
                hint="is it a Holdfast server, and one of this release or a later one?",
            )
        return cast(Reply, found)

    def address(self, route: str, query: Mapping[str, object] | None = None) -> str:
        """The URL of a route."""
        return f"{self.url}/api/v1/{route}{_query(query)}"

    def authorization(self) -> dict[str, str]:
        """The header that says who asks; for this server's own address alone."""
        return {} if self._token is None else {"Authorization": f"Bearer {self._token}"}

    def is_signed_in_anew(self, sent: Mapping[str, str]) -> bool:
        """Whether there is another token than the one in these headers of a refused request; it is used from now on.

        Another thread, whose request was refused as well, may have found it first.
        """
        if _who(sent) == _who(self.authorization()):
            self._token = self._tokens() or self._token
        return _who(sent) != _who(self.authorization())

    @contextmanager
    def open(
        self,
        method: str,
        route: str,
        *,
        query: Mapping[str, object] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        again: bool = True,
    ) -> Iterator[BaseHTTPResponse]:
        """A successful answer whose body is still to be read. ``body`` is bytes, or blocks of a length that the headers tell."""
        url = self.address(route, query)
        sent = {"User-Agent": AGENT, "Accept-Encoding": "gzip", **(headers or {}), **self.authorization()}
        answer = self._answered(method, url, body, sent, again=again)
        if answer.status == _WHO and (body is None or isinstance(body, bytes)) and self.is_signed_in_anew(sent):
            answer.drain_conn()
            answer.release_conn()
            answer = self._answered(method, url, body, sent | self.authorization(), again=again)
        try:
            self._check(answer)
            yield answer
        except BaseException as error:
            answer.close()
            if isinstance(error, HTTPError | OSError) and not isinstance(error, HoldfastError):
                raise self._unreachable(error) from error
            raise
        finally:
            answer.release_conn()

    def _answered(self, method: str, url: str, body: Any, headers: dict[str, str], *, again: bool) -> BaseHTTPResponse:
        """The first answer that is worth more than another try."""
        attempt, most = 0, tries(known=self._is_known)
        while True:
            attempt += 1
            last = attempt == most or not again
            try:
                self.requests += 1
                answer = self._connections().request(
                    method, url, body=body, headers=headers, redirect=False, preload_content=False
                )
            except HoldfastError:  # of whoever gives the body
                raise
            except (HTTPError, OSError) as error:
                # A request that never left may be sent again whatever it is.
                if (last and not (never_left(error) and attempt < most)) or isinstance(error, SSLError):
                    raise self._unreachable(error) from error
                wait = jitter(attempt)
            else:
                if last or answer.status not in _AGAIN:
                    self._is_known |= answer.status not in _AGAIN  # else a proxy may have answered in its place
                    return answer
                wait = told_pause(answer.headers, attempt)
                answer.drain_conn()
                answer.release_conn()
            self._pause(wait)

    def _connections(self) -> urllib3.PoolManager:
        with self._lock:
            if self._pool is None:
                self._pool = pool_manager(self.ca, tls=urlsplit(self.url).scheme == "https")
            return self._pool

    def _unreachable(self, error: Exception) -> UnreachableError:
        hint = "is the address right, and the server running?"
        if "certificate verify failed" in str(error):
            hint = "its certificate is not trusted: SSL_CERT_FILE names a file with your own authority"
        elif isinstance(error, LocationParseError):
            hint = "it reads like https://host"
        return UnreachableError(f"no answer from {self.url}: {reason(error)}", subject=self.url, hint=hint)

    def _check(self, answer: BaseHTTPResponse) -> None:
        if not 200 <= answer.status < 300:
            raise self._refused(answer)

    def _refused(self, answer: BaseHTTPResponse) -> HoldfastError:
        if 300 <= answer.status < 400:
            place = answer.headers.get("Location", "another address")
            return UnreachableError(
                f"{self.url} sends us to {place.partition('?')[0]}, which is not followed with a token",
                subject=self.url,
                hint="name the server by the address at which it answers",
            )
        reply = decode_reply(_read(answer, self.url), ErrorReply)
        if answer.status == _WHO:
            message = reply.error.message if reply is not None else "not signed in"
            return AccessError(f"{self.url}: {message}", subject=self.url, hint=f"asset login {self.url}")
        if reply is not None:
            told = reply.error
            return raised_elsewhere(told.kind, told.message, name=told.name, subject=told.subject, hint=told.hint)
        if answer.status == 429:
            return BusyError(f"{self.url} is asked too much", subject=self.url, hint="try again later")
        return UnreachableError(
            f"{self.url} answers with status {answer.status}, and not as a Holdfast server",
            subject=self.url,
            hint="is the address right? A project's is SERVER/PROJECT",
        )


class Pushes:
    """Which push writes which keys: a server asks for it, and the seam for bytes does not tell.

    Of pushes in several threads each writes as itself: the threads of an engine are of the thread that they work for.
    """

    def __init__(self) -> None:
        self._last: str | None = None
        self._below: dict[str, str] = {}

    def opened(self, push: str) -> None:
        """A push begins: it writes what is under nobody's claim."""
        self._last = push
        _opened_here.set((self, push))

    def claimed(self, prefix: str, push: str) -> None:
        """A push has a number now: what lies under it is this push's."""
        self._below[prefix] = push

    def of(self, key: str) -> str | None:
        """The push that writes this key."""
        piece = key
        while piece:
            if piece in self._below:
                return self._below[piece]
            piece = piece.rpartition("/")[0]
        here = _opened_here.get()
        return here[1] if here is not None and here[0] is self else self._last


@dataclass(frozen=True, slots=True)
class Remote:
    """One project on a server: what catalog and store of a client have in common."""

    server: Server
    name: str
    pushes: Pushes

    @property
    def url(self) -> str:
        """The project's URL, by which the client knows the store."""
        return f"{self.server.url}/{self.name}"

    def route(self, route: str) -> str:
        """A route of the project as one of the server."""
        return f"projects/{quote(self.name, safe='')}/{route}"

    def ask(
        self,
        method: str,
        route: str,
        reply: type[Reply],
        *,
        query: Mapping[str, object] | None = None,
        body: Any = None,
        again: bool = True,
    ) -> Reply:
        """As :meth:`Server.ask`, of the project."""
        return self.server.ask(method, self.route(route), reply, query=query, body=body, again=again)


def _query(query: Mapping[str, object] | None) -> str:
    given = {name: _text(value) for name, value in (query or {}).items() if value is not None}
    return f"?{urlencode(given, quote_via=quote)}" if given else ""


def _text(value: object) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _read(answer: BaseHTTPResponse, subject: str) -> bytes:
    """The body, if it is of a sane length."""
    pieces: list[bytes] = []
    length = 0
    while piece := answer.read(_STEP, decode_content=True):
        pieces.append(piece)
        length += len(piece)
        if length > _LONGEST:
            raise UnreachableError(f"the answer of {subject} has no end", subject=subject)
    return b"".join(pieces)


def _who(headers: Mapping[str, str]) -> str | None:
    return headers.get("Authorization")
