"""URLs signed by us for an S3 bucket (signature version 4 in the query): what a server hands to its clients.

A signed PUT says ``If-None-Match: *`` and its length as signed headers, so it creates, never overwrites, and takes no other
length. Made on this machine alone, by the thousand: what all URLs of one second have in common is computed once.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from holdfast.store.signing import Moment, moment_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from holdfast.store.credentials import Credential

__all__ = ["CREATE_ONLY", "Presigner", "Site"]

#: The condition that a signed PUT carries.
CREATE_ONLY: Final = {"if-none-match": "*"}
_UNSIGNED: Final = "UNSIGNED-PAYLOAD"


@dataclass(frozen=True, slots=True)
class Site:
    """Where a bucket is, and who signs for it.

    ``origin`` is scheme and host, ``authority`` the Host header, ``base`` what stands before every key in a path. ``plain`` is
    False where a write needs more than a signature (a key of the store's, a checksum).
    """

    origin: str
    authority: str
    base: str
    region: str
    credentials: Callable[[], Credential]
    plain: bool


class Presigner:
    """Signs URLs for one site. Safe to use from several threads."""

    def __init__(self, site: Site, clock: Callable[[], float] = time.time) -> None:
        self.site = site
        self._clock = clock
        self._now = Moment(0, "", "", "", b"", "")

    def url(
        self,
        method: str,
        path: str,
        seconds: int,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> str:
        """A URL for the object at this path of the bucket; ``headers`` (names in lower case) must be sent with it as they are."""
        now = self._moment()
        sent = {"host": self.site.authority, **(headers or {})}
        names = ";".join(sorted(sent))
        asked = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"{now.access_key}/{now.scope}",
            "X-Amz-Date": now.date,
            "X-Amz-Expires": str(seconds),
            "X-Amz-SignedHeaders": names,
            **({"X-Amz-Security-Token": now.token} if now.token else {}),
            **(query or {}),
        }
        text = "&".join(sorted(f"{name}={quote(value, safe='~')}" for name, value in asked.items()))
        where = f"{self.site.base}/{quote(path, safe='/~')}"
        lines = "".join(f"{name}:{sent[name]}\n" for name in sorted(sent))
        digest = hashlib.sha256(f"{method}\n{where}\n{text}\n{lines}\n{names}\n{_UNSIGNED}".encode()).hexdigest()
        proof = hmac.digest(now.key, f"AWS4-HMAC-SHA256\n{now.date}\n{now.scope}\n{digest}".encode(), "sha256").hex()
        return f"{self.site.origin}{where}?{text}&X-Amz-Signature={proof}"

    def _moment(self) -> Moment:
        second, now = int(self._clock()), self._now
        if second != now.second:
            now = self._now = moment_of(second, self.site.region, self.site.credentials())
        return now
