"""Signature version 4, for requests that we send to an S3 bucket ourselves.

Owns what is signed and how. Where requests go and who is asked for credentials comes in as a :class:`Route`. The signature
stands in a header and covers the host, the date and the body's digest; ranges and conditions need no signature.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import ReadableBuffer

    from holdfast.store.credentials import Credential

__all__ = ["Moment", "Route", "Signer", "moment_of"]

_UNSIGNED: Final = "UNSIGNED-PAYLOAD"
_EMPTY: Final = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Route:
    """A bucket that can be spoken to without a library: plain HTTP, no proxy between.

    ``base`` is what stands before every key in a request's path, ``authority`` the Host header. ``credentials`` is asked at most
    once a second, so that renewed ones are used at once; None: requests are not signed. ``writes`` is False where a write needs
    more than a signature (a key of the store's, a checksum).
    """

    host: str
    port: int
    authority: str
    base: str
    region: str
    credentials: Callable[[], Credential] | None
    unsigned_payload: bool
    writes: bool


class Signer:
    """Heads of requests for one route. Safe to use from several threads."""

    def __init__(self, route: Route, clock: Callable[[], float] = time.time) -> None:
        self._route = route
        self._clock = clock
        self._now = Moment(0, "", "", "", b"", "")

    def head(self, method: str, path: str, extra: str = "", body: ReadableBuffer | None = None) -> bytes:
        """The head of a request for the object at this path of the bucket, with further header lines, up to the empty line."""
        where = f"{self._route.base}/{quote(path, safe='/~')}"
        lines = f"{method} {where} HTTP/1.1\r\nHost: {self._route.authority}\r\n{extra}"
        if body is not None:
            lines += f"Content-Length: {memoryview(body).nbytes}\r\n"
        if self._route.credentials is not None:
            lines += self._signature(method, where, self._digest(body))
        return f"{lines}\r\n".encode("ascii")

    def _digest(self, body: ReadableBuffer | None) -> str:
        if body is None:
            return _EMPTY
        return _UNSIGNED if self._route.unsigned_payload else hashlib.sha256(body).hexdigest()

    def _signature(self, method: str, where: str, digest: str) -> str:
        now = self._moment()
        names = "host;x-amz-content-sha256;x-amz-date"
        headers = f"host:{self._route.authority}\nx-amz-content-sha256:{digest}\nx-amz-date:{now.date}\n"
        lines = f"x-amz-content-sha256: {digest}\r\nx-amz-date: {now.date}\r\n"
        if now.token:
            names += ";x-amz-security-token"
            headers += f"x-amz-security-token:{now.token}\n"
            lines += f"x-amz-security-token: {now.token}\r\n"
        asked = hashlib.sha256(f"{method}\n{where}\n\n{headers}\n{names}\n{digest}".encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{now.date}\n{now.scope}\n{asked}"
        proof = hmac.digest(now.key, text.encode(), "sha256").hex()
        return (
            f"{lines}Authorization: AWS4-HMAC-SHA256 Credential={now.access_key}/{now.scope},"
            f"SignedHeaders={names},Signature={proof}\r\n"
        )

    def _moment(self) -> Moment:
        second = int(self._clock())
        if second != self._now.second:
            assert self._route.credentials is not None  # noqa: S101 - only signed requests come here
            self._now = moment_of(second, self._route.region, self._route.credentials())
        return self._now


@dataclass(frozen=True, slots=True)
class Moment:
    """What all signatures of one second have in common."""

    second: int
    date: str
    scope: str
    access_key: str
    key: bytes
    token: str


def moment_of(second: int, region: str, credential: Credential) -> Moment:
    """What the signatures of this second have in common."""
    date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
    scope = f"{date[:8]}/{region}/s3/aws4_request"
    key = b"AWS4" + credential["secret_access_key"].encode()
    for piece in scope.split("/"):
        key = hmac.digest(key, piece.encode(), "sha256")
    return Moment(second, date, scope, credential["access_key_id"], key, credential.get("token") or "")
