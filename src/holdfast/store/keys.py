"""Which keys a store takes: the one rule that memory, disk and buckets share.

A key is pieces joined by ``/``, in any characters but control characters. Empty pieces, ``.`` and ``..`` are refused, because
object stores, file systems and the libraries between them disagree on what they mean; so is what is no text in UTF-8, and
more than 1024 bytes (the limit of S3 and GCS; names on a disk may be held to less).
"""

from __future__ import annotations

import re
from typing import Final

from holdfast.errors import UsageError

__all__ = ["MOST_BYTES", "checked_key", "checked_prefix"]

MOST_BYTES: Final = 1024
#: A search for each, because keys are checked by the thousand.
_NO_PIECE: Final = re.compile(r"(?:^|/)\.{0,2}(?:/|\Z)")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def checked_key(key: str) -> str:
    """The key as it is.

    Raises:
        UsageError: the key names nothing that every store could hold.
    """
    problem = _problem(key)
    if problem:
        raise UsageError(f"key {key!r} {problem}", subject=key)
    return key


def checked_prefix(prefix: str) -> str:
    """What keys below the prefix start with: the prefix and a slash, or nothing for ``""``."""
    return f"{checked_key(prefix)}/" if prefix else ""


def _problem(key: str) -> str | None:
    if _NO_PIECE.search(key):
        return "has an empty piece, '.' or '..'"
    if _CONTROL.search(key):
        return "has a control character"
    try:
        length = len(key.encode())
    except UnicodeEncodeError:
        return "is not text in UTF-8"
    return f"is longer than {MOST_BYTES} bytes" if length > MOST_BYTES else None
