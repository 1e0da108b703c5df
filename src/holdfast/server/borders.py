"""Which keys a client may name: what it reads, and what its push may write. Pure, but for the claim that is asked for.

Reads go to any key of the project's own store. Writes go to packs and pages, which are small enough for a write that only creates, to what
a push stages, and to data under the push's own claim; never to a meta, a list, a record or a claim, which have routes of their own. Everything else is one and the same refusal.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from holdfast.errors import AccessError, UsageError
from holdfast.formats import layout
from holdfast.model.version import is_text
from holdfast.store.base import SMALL
from holdfast.store.keys import checked_key

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["checked_prefix", "data_version", "key_of_url", "readable", "writable"]

_HEX: Final = re.compile(r"[0-9a-f]{64}\Z")
_SCHEMES: Final = {"gcs": "gs", "azure": "az"}
_MOST_DECODED: Final = 4


def readable(key: str) -> str:
    """The key, if it is one of a store.

    Raises:
        AccessError: it is none.
    """
    try:
        return checked_key(key)
    except UsageError:
        raise _refused() from None


def checked_prefix(prefix: str) -> str:
    """A prefix to list: a key, or nothing."""
    return readable(prefix) if prefix else ""


def writable(key: str, size: int, push: str, name: str, claims: Callable[[str], bool]) -> str:
    """The key, if this push of this asset may write so many bytes there; ``claims`` says whether a version is claimed by it.

    Raises:
        AccessError: it may not.
        UsageError: a length that no object has, or that none which every push may write can have.
    """
    readable(key)
    if size < 0:
        raise UsageError(f"{key} cannot have {size} bytes", subject=key)
    if key.startswith(f"{layout.OWN}/"):
        if not (_is_named(key, layout.PACKS) or _is_named(key, layout.PAGES) or _is_staged(key, push)):
            raise _refused()
        if size > SMALL and not _is_staged(key, push):
            raise UsageError(f"{key} cannot have {size} bytes, but {SMALL} at most", subject=key)
        return key
    version = data_version(key, name)
    if version is None or not claims(version):
        raise _refused()
    return key


def data_version(key: str, name: str) -> str | None:
    """The version that a data key of this asset belongs to; None where it is no data of it."""
    if not key.startswith(f"{name}/"):
        return None
    version = key[len(name) + 1 :].partition("/")[0]
    return version if is_text(version) else None


def key_of_url(url: str, store: str) -> str:
    """The key of an object by its bucket URL, inside a store's URL; ``gcs`` is ``gs``.

    Raises:
        AccessError: it lies elsewhere, or would once somebody decoded it.
    """
    base, asked = _spelled(store), _spelled(url)
    key = asked.removeprefix(base + "/")
    if key == asked:
        raise _refused()
    decoded = key
    for _ in range(_MOST_DECODED):
        readable(decoded)
        before, decoded = decoded, unquote(decoded)
        if decoded == before:
            return key
    raise _refused()


def _spelled(url: str) -> str:
    scheme, found, rest = url.partition("://")
    return f"{_SCHEMES.get(scheme.lower(), scheme.lower())}{found}{rest}".rstrip("/")


def _is_named(key: str, prefix: str) -> bool:
    """Whether it is that of a pack or a pages object: below the prefix, under the first two letters of its name."""
    if not key.startswith(f"{prefix}/"):
        return False
    short, _, name = key[len(prefix) + 1 :].partition("/")
    return _HEX.match(name) is not None and short == name[:2]


def _is_staged(key: str, push: str) -> bool:
    piece = key.removeprefix(layout.staged_prefix(push) + "/")
    return piece != key and "/" not in piece


def _refused() -> AccessError:
    return AccessError("not allowed")
