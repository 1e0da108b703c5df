"""URLs signed by us for a bucket of S3 or Google (signature version 4 in the query): what a server hands to its clients.

A signed PUT says as signed headers that nothing may be there, and its length, so it creates, never overwrites, and takes no other
length. Made on this machine alone, by the thousand: what all URLs of one second have in common is computed once. Google's are proved
by the RSA key of a service account, which takes most of a millisecond each; who knows that art is given to us.

Example::

    Presigner(site).url("PUT", "prefix/key", 900, site.creating(5))
"""

from __future__ import annotations

import hashlib
import hmac
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import quote

from holdfast.store.signing import moment_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from holdfast.store.credentials import Credential

__all__ = ["GoogleSite", "Place", "Presigner", "Site", "Terms"]

_UNSIGNED: Final = "UNSIGNED-PAYLOAD"


@dataclass(frozen=True, slots=True)
class Terms:
    """What all signatures of one second have in common: the spelling of a brand, who signs, and how a text is proved."""

    brand: str
    algorithm: str
    date: str
    scope: str
    account: str
    token: str
    prove: Callable[[bytes], bytes]


class Place(Protocol):
    """Where a bucket is, and who signs for it.

    ``origin`` is scheme and host, ``authority`` the Host header, ``base`` what stands before every key in a path. ``plain`` is
    False where a write needs more than a signature (a key of the store's, a checksum).
    """

    @property
    def origin(self) -> str:
        """Scheme and host."""

    @property
    def authority(self) -> str:
        """The Host header."""

    @property
    def base(self) -> str:
        """What stands before every key."""

    @property
    def plain(self) -> bool:
        """Whether a write needs nothing but the signature."""

    def terms(self, second: int) -> Terms:
        """The terms of this second since the epoch."""

    def creating(self, size: int) -> dict[str, str]:
        """The headers of a PUT that only creates, and takes this length."""


@dataclass(frozen=True, slots=True)
class Site:
    """A bucket of S3; a :class:`Place`."""

    origin: str
    authority: str
    base: str
    region: str
    credentials: Callable[[], Credential]
    plain: bool

    def terms(self, second: int) -> Terms:
        """A key derived for the day proves by HMAC."""
        now = moment_of(second, self.region, self.credentials())

        def prove(text: bytes) -> bytes:
            return hmac.digest(now.key, text, "sha256")

        return Terms("Amz", "AWS4-HMAC-SHA256", now.date, now.scope, now.access_key, now.token, prove)

    def creating(self, size: int) -> dict[str, str]:
        """The length itself is a signed header."""
        return {"if-none-match": "*", "content-length": str(size)}


@dataclass(frozen=True, slots=True)
class GoogleSite:
    """A bucket of Google's; a :class:`Place`. ``prove`` signs by the service account's key: RSA, PKCS #1 v1.5, SHA-256."""

    origin: str
    authority: str
    base: str
    account: str
    prove: Callable[[bytes], bytes]
    plain: bool = True

    def terms(self, second: int) -> Terms:
        """Google's scope names no region."""
        date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
        scope = f"{date[:8]}/auto/storage/goog4_request"
        return Terms("Goog", "GOOG4-RSA-SHA256", date, scope, self.account, "", self.prove)

    def creating(self, size: int) -> dict[str, str]:
        """Google binds the length by a header of its own: that it keeps a signed Content-Length is nowhere said."""
        return {"x-goog-if-generation-match": "0", "x-goog-content-length-range": f"{size},{size}"}


class Presigner:
    """Signs URLs for one site. Safe to use from several threads."""

    def __init__(self, site: Place, clock: Callable[[], float] = time.time) -> None:
        self.site = site
        self._clock = clock
        self._now: tuple[int, Terms] | None = None

    def url(
        self,
        method: str,
        path: str,
        seconds: int,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> str:
        """A URL for the object at this path of the bucket; ``headers`` (names in lower case) must be sent with it as they are."""
        now = self._terms()
        sent = {"host": self.site.authority, **(headers or {})}
        names = ";".join(sorted(sent))
        start = f"X-{now.brand}-"
        asked = {
            f"{start}Algorithm": now.algorithm,
            f"{start}Credential": f"{now.account}/{now.scope}",
            f"{start}Date": now.date,
            f"{start}Expires": str(seconds),
            f"{start}SignedHeaders": names,
            **({f"{start}Security-Token": now.token} if now.token else {}),
            **(query or {}),
        }
        text = "&".join(sorted(f"{name}={quote(value, safe='~')}" for name, value in asked.items()))
        where = self._where(path)
        proof = _proof(now, method, f"{where}\n{text}", sent)
        return f"{self.site.origin}{where}?{text}&{start}Signature={proof}"

    def headers(self, method: str, path: str, headers: Mapping[str, str] | None = None) -> dict[str, str]:
        """These headers with those that sign them: not every server takes a URL that asks nothing of a bucket."""
        now = self._terms()
        start = f"x-{now.brand.lower()}-"
        sent = {f"{start}content-sha256": _UNSIGNED, f"{start}date": now.date, **(headers or {})}
        if now.token:
            sent[f"{start}security-token"] = now.token
        signed = {"host": self.site.authority, **sent}
        proof = _proof(now, method, f"{self._where(path)}\n", signed)
        names = ";".join(sorted(signed))
        credential = f"Credential={now.account}/{now.scope}, SignedHeaders={names}, Signature={proof}"
        return {**sent, "authorization": f"{now.algorithm} {credential}"}

    def _where(self, path: str) -> str:
        return f"{self.site.base}/{quote(path, safe='/~')}"

    def _terms(self) -> Terms:
        second, now = int(self._clock()), self._now
        if now is None or second != now[0]:
            now = self._now = (second, self.site.terms(second))
        return now[1]


def _proof(now: Terms, method: str, asked: str, sent: Mapping[str, str]) -> str:
    """The signature of what is asked (path and query, a line each) with these headers."""
    lines = "".join(f"{name}:{sent[name]}\n" for name in sorted(sent))
    text = f"{method}\n{asked}\n{lines}\n{';'.join(sorted(sent))}\n{_UNSIGNED}"
    digest = hashlib.sha256(text.encode()).hexdigest()
    return now.prove(f"{now.algorithm}\n{now.date}\n{now.scope}\n{digest}".encode()).hex()
