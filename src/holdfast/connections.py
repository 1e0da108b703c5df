"""HTTP connections as every client of ours has them: TLS that is always verified, patience, and when to try again.

Whom they lead to is the caller's business: a server of ours (``remote``), a bucket's URL (``store/granted``), or one that is neither.
"""

from __future__ import annotations

import random
import re
import ssl
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import urllib3
from urllib3.exceptions import HTTPError, MaxRetryError, NewConnectionError

from holdfast.errors import UnreachableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "AGENT",
    "CONNECT",
    "foreign",
    "jitter",
    "never_left",
    "pool_manager",
    "reason",
    "tls_context",
    "told_pause",
    "tries",
]

#: Seconds until a server is held to be unreachable, and silences that are waited out.
CONNECT: Final = 5.0
_SILENCE: Final = 120.0
#: How often a request is sent, and one to somebody who has answered before: that many take a quarter of a minute.
_TRIES, _PATIENT = 4, 7
_LONGEST_PAUSE: Final = 20.0
AGENT: Final = "holdfast"
_STEP: Final = 1024 * 1024
#: What urllib3 begins with: the connection or pool as an object, with its address in memory or its arguments, by release.
_OBJECT: Final = re.compile(r"^(?:.*>|HTTPS?Connection(?:Pool)?\([^)]*\)): ")


def pool_manager(ca: str | None = None, *, silence: float = _SILENCE, tls: bool = True) -> urllib3.PoolManager:
    """Connections that are kept, verified by the machine's authorities, or those in the file (or folder) ``ca``.

    Without ``tls`` it is for addresses that begin with http: no authorities are read, which takes longer than a request.

    Raises:
        UsageError: there is no such file, or none of certificates.
    """
    return urllib3.PoolManager(
        num_pools=16,
        maxsize=64,
        block=False,
        retries=False,
        timeout=urllib3.Timeout(connect=CONNECT, read=silence),
        ssl_context=tls_context(ca) if tls else None,
    )


@lru_cache(4)
def tls_context(ca: str | None) -> ssl.SSLContext:
    """Certificates and host names are checked. The same for all connections of this process: to read the authorities takes long."""
    import os

    try:
        folder = ca is not None and os.path.isdir(ca)
        return ssl.create_default_context(cafile=None if folder else ca, capath=ca if folder else None)
    except OSError as error:
        hint = "see SSL_CERT_FILE, REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE"
        raise UsageError(f"cannot read the certificates in {ca}: {error}", subject=ca, hint=hint) from error


def foreign(
    pool: urllib3.PoolManager,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    longest: int = _STEP,
) -> tuple[int, bytes]:
    """Status and body of one request to a server that is none of ours; no redirect is followed, and nothing is tried again.

    Raises:
        UnreachableError: it does not answer, or without end.
    """
    sent = {"User-Agent": AGENT, "Accept": "application/json", **(headers or {})}
    try:
        answer = pool.request(method, url, body=body, headers=sent, redirect=False, preload_content=False)
        try:
            data = answer.read(longest + 1, decode_content=True)
        finally:
            answer.close()
    except (HTTPError, OSError) as error:
        raise UnreachableError(f"no answer from {url}: {reason(error)}", subject=url) from error
    if len(data) > longest:
        raise UnreachableError(f"the answer of {url} has no end", subject=url)
    return answer.status, data


def told_pause(headers: Mapping[str, str], attempt: int) -> float:
    """Seconds before another try, as an answer asks for; where it asks for none, a moment."""
    after = headers.get("Retry-After", "")
    return min(float(after), _LONGEST_PAUSE) + jitter(1) if after.isdigit() else jitter(attempt)


def tries(*, known: bool) -> int:
    """How often to send a request: whoever has answered before may be being started anew, which takes some seconds."""
    return _PATIENT if known else _TRIES


def jitter(attempt: int) -> float:
    """Seconds before another try."""
    return random.uniform(0.05, 0.2) * (1 << attempt)  # noqa: S311 - jitter, no secret


def never_left(error: BaseException) -> bool:
    """Whether a request was not sent at all, and so may be sent again whatever it is."""
    return isinstance(error, NewConnectionError) or isinstance(getattr(error, "reason", None), NewConnectionError)


def reason(error: BaseException) -> str:
    """The cause in a few words, without an object's address."""
    inner = error.reason if isinstance(error, MaxRetryError) and error.reason is not None else error
    text = _OBJECT.sub("", str(inner)) or type(inner).__name__
    return text.removeprefix("Failed to establish a new connection: ")
