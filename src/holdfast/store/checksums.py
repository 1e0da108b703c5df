"""The checksums that an S3 store keeps of an object, beside its tag: asked for by a signed HEAD, for obstore does not tell them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from holdfast.errors import UnreachableError
from holdfast.store.calls import call

if TYPE_CHECKING:
    from holdfast.store.presign import Presigner
    from holdfast.store.settings import BucketSettings

__all__ = ["checksums"]

_PREFIX: Final = "x-amz-checksum-"
_SECONDS: Final = 60


def checksums(presigner: Presigner, path: str, settings: BucketSettings) -> dict[str, str]:
    """By algorithm in lower case, in base64; nothing where the store has none, or does not answer."""
    asked = {"x-amz-checksum-mode": "ENABLED"}
    url = presigner.url("HEAD", path, _SECONDS, asked)
    try:
        answer = call("HEAD", url, settings, headers=asked, retries=1)
    except UnreachableError:
        return {}
    if answer.status != 200:
        return {}
    found = {name.lower(): value for name, value in answer.headers.items() if name.lower().startswith(_PREFIX)}
    return {name.removeprefix(_PREFIX): value for name, value in found.items() if name != f"{_PREFIX}type"}
