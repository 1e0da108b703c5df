"""Signature version 4, for requests that we send to an S3 bucket ourselves.

Owns what is signed and how. Where requests go and who is asked for credentials comes in as a :class:`Route`. The signature
stands in a header and covers the host, the date and the body's digest: its SHA-256, which both sides must compute for nothing else, or
its MD5 where the caller has that already, which the store computes and compares anyway. Ranges and conditions need no signature.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import ReadableBuffer

    from holdfast.store.credentials import Credential

__all__ = ["Moment", "Route", "Signer", "moment_of"]

_UNSIGNED: Final = "UNSIGNED-PAYLOAD"
#: A path that a URL spells as it is.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.\-~/]*")
_EMPTY: Final = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Route:
    """A bucket that can be spoken to without a library: plain HTTP, no proxy between.

    ``base`` is what stands before every key in a request's path, ``authority`` the Host header. ``credentials`` is asked at most
    once a second, so that renewed ones are used at once; None: requests are not signed. ``takes_md5``: the MD5 of a body may stand for it,
    where it is known. ``writes`` is False where a write needs more than a signature (a key of the store's, a checksum).
    """

    host: str
    port: int
    authority: str
    base: str
    region: str
    credentials: Callable[[], Credential] | None
    unsigned_payload: bool
    takes_md5: bool
    writes: bool


class Signer:
    """Heads of requests for one route. Safe to use from several threads."""

    def __init__(self, route: Route, clock: Callable[[], float] = time.time) -> None:
        self._route = route
        self._clock = clock
        self._now = Moment(0, "", "", "", b"", "")
        self._bodiless = self._now, _Terms("", "", "", b"")

    def head(
        self, method: str, path: str, extra: str = "", body: ReadableBuffer | None = None, md5: str | None = None
    ) -> bytes:
        """The head of a request for the object at this path of the bucket, with further header lines, up to the empty line.

        ``md5`` is that of the body, in hex.
        """
        where = f"{self._route.base}/{path if _PLAIN.fullmatch(path) else quote(path, safe='/~')}"
        lines = f"{method} {where} HTTP/1.1\r\nHost: {self._route.authority}\r\n{extra}"
        if body is not None:
            lines += f"Content-Length: {memoryview(body).nbytes}\r\n"
        if self._route.credentials is not None:
            lines += self._signature(method, where, *self._digests(body, md5))
        return f"{lines}\r\n".encode("ascii")

    def _digests(self, body: ReadableBuffer | None, md5: str | None) -> tuple[str, str]:
        """What stands for the body: its SHA-256, and its MD5 in base64, where that does instead."""
        if body is None:
            return _EMPTY, ""
        if self._route.unsigned_payload:
            return _UNSIGNED, ""
        if md5 is not None and self._route.takes_md5:
            return _UNSIGNED, b64encode(bytes.fromhex(md5)).decode()
        return hashlib.sha256(body).hexdigest(), ""

    def _signature(self, method: str, where: str, digest: str, md5: str) -> str:
        terms = self._terms(digest, md5)
        asked = hashlib.sha256(f"{method}\n{where}\n\n{terms.headers}".encode()).hexdigest()
        proof = hmac.digest(terms.key, f"{terms.text}{asked}".encode(), "sha256").hex()
        return f"{terms.lines}{proof}\r\n"

    def _terms(self, digest: str, md5: str) -> _Terms:
        """Kept for a second where there is no body: small objects are read by the thousand."""
        now = self._moment()
        if digest is not _EMPTY:
            return self._terms_at(now, digest, md5)
        known, terms = self._bodiless
        if known is not now:
            terms = self._terms_at(now, digest)
            self._bodiless = now, terms
        return terms

    def _terms_at(self, now: Moment, digest: str, md5: str = "") -> _Terms:
        names = "host;x-amz-content-sha256;x-amz-date"
        headers = f"host:{self._route.authority}\nx-amz-content-sha256:{digest}\nx-amz-date:{now.date}\n"
        lines = f"x-amz-content-sha256: {digest}\r\nx-amz-date: {now.date}\r\n"
        if md5:
            names = f"content-md5;{names}"
            headers = f"content-md5:{md5}\n{headers}"
            lines = f"Content-MD5: {md5}\r\n{lines}"
        if now.token:
            names += ";x-amz-security-token"
            headers += f"x-amz-security-token:{now.token}\n"
            lines += f"x-amz-security-token: {now.token}\r\n"
        credential = f"Credential={now.access_key}/{now.scope},SignedHeaders={names},Signature="
        return _Terms(
            headers=f"{headers}\n{names}\n{digest}",
            text=f"AWS4-HMAC-SHA256\n{now.date}\n{now.scope}\n",
            lines=f"{lines}Authorization: AWS4-HMAC-SHA256 {credential}",
            key=now.key,
        )

    def _moment(self) -> Moment:
        second = int(self._clock())
        if second != self._now.second:
            assert self._route.credentials is not None  # noqa: S101 - only signed requests come here
            self._now = moment_of(second, self._route.region, self._route.credentials())
        return self._now


class _Terms(NamedTuple):
    """What the signatures of requests have in common that differ in their method and path alone.

    ``headers`` ends the canonical request, ``text`` begins what is proved by ``key``, ``lines`` is sent before the proof.
    """

    headers: str
    text: str
    lines: str
    key: bytes


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
