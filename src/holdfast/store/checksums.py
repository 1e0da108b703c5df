"""The checksums that an S3 store keeps of an object, beside its tag: asked for by a signed HEAD, for obstore does not tell them."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import urllib3

    from holdfast.store.presign import Presigner
    from holdfast.store.settings import BucketSettings

__all__ = ["checksums", "pool"]

_PREFIX: Final = "x-amz-checksum-"
_SECONDS: Final = 60


def checksums(presigner: Presigner, path: str, settings: BucketSettings) -> dict[str, str]:
    """By algorithm in lower case, in base64; nothing where the store has none, or does not answer."""
    import urllib3

    asked = {"x-amz-checksum-mode": "ENABLED"}
    url = presigner.url("HEAD", path, _SECONDS, asked)
    try:
        answer = pool(settings.connect_timeout, settings.read_timeout).request(
            "HEAD", url, headers=asked, redirect=False
        )
    except urllib3.exceptions.HTTPError:
        return {}
    if answer.status != 200:
        return {}
    found = {name.lower(): value for name, value in answer.headers.items() if name.lower().startswith(_PREFIX)}
    return {name.removeprefix(_PREFIX): value for name, value in found.items() if name != f"{_PREFIX}type"}


@lru_cache(8)
def pool(connect: float, read: float) -> urllib3.PoolManager:
    """Connections to stores, for requests that are signed by their URL."""
    import urllib3

    return urllib3.PoolManager(maxsize=16, retries=1, timeout=urllib3.Timeout(connect=connect, read=read))
