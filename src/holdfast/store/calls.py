"""Requests to S3 that its client does not make for us, signed by us: sent, and what their answers say.

They go where all others go: through the proxy that the environment names, if it names one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]
from xml.etree import ElementTree as ET

from holdfast.errors import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import urllib3

    from holdfast.store.settings import BucketSettings

__all__ = ["call", "each_text", "text_of"]


def call(
    method: str,
    url: str,
    settings: BucketSettings,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    seconds: float | None = None,
    retries: urllib3.Retry | int | bool = False,
) -> urllib3.BaseHTTPResponse:
    """The answer, whatever its status. ``seconds`` bounds a silence, where that is not the settings' ``read_timeout``.

    Raises:
        UnreachableError: there is none; the URL, which may sign for us, is not told.
    """
    import urllib3

    pool = _pool(_proxy(url))
    timeout = urllib3.Timeout(connect=settings.connect_timeout, read=seconds or settings.read_timeout)
    try:
        return pool.request(
            method, url, body=body, headers=headers or {}, redirect=False, retries=retries, timeout=timeout
        )
    except (urllib3.exceptions.HTTPError, OSError) as error:
        from holdfast.connections import reason

        raise UnreachableError(f"{settings.url} does not answer: {reason(error)}", subject=settings.url) from error


def text_of(answer: bytes, name: str) -> str | None:
    """The text of the first such element of an XML answer, whatever its namespace."""
    return next(each_text(answer, name), None)


def each_text(answer: bytes, name: str) -> Iterator[str | None]:
    """The texts of all such elements; none where the answer is no XML."""
    try:
        root = ET.fromstring(answer)  # noqa: S314 - the store's own answer; expat refuses what grows without end
    except ET.ParseError:
        return
    yield from (each.text for each in root.iter() if each.tag.rpartition("}")[2] == name)


def _proxy(url: str) -> str | None:
    """The proxy for a URL, by the environment's variables."""
    scheme, _, rest = url.partition("://")
    proxies = getproxies_environment()
    if proxy_bypass_environment(rest.partition("/")[0], proxies):
        return None
    return proxies.get(scheme) or proxies.get("all")


@lru_cache(8)
def _pool(proxy: str | None) -> urllib3.PoolManager:
    import urllib3

    return urllib3.PoolManager(maxsize=16) if proxy is None else urllib3.ProxyManager(proxy, maxsize=16)
