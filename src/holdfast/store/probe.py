"""Which conditional writes a store really keeps: found out by trying (design §3, "Conditions").

Some S3 clones ignore a condition without a word, some refuse it, one wants its ETags unquoted; no documentation or header says
so. :func:`probe` tries both conditions on a scratch key through a small writer and decides; the answer is kept for a day
in a file (:func:`remembered`, :func:`remember`), keyed by endpoint and bucket. Needs the right to write, none to delete.
"""

from __future__ import annotations

import json
import os
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from holdfast.errors import ConflictError, HoldfastError, UnsupportedError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["GOOD_FOR", "Conditions", "Scratch", "probe", "remember", "remembered"]

#: Seconds that an answer is kept: a server may be upgraded, or swapped for another, under the same name.
GOOD_FOR: Final = 24 * 3600.0
_IGNORED: Final = "it ignores the condition"
_REFUSED: Final = "it refuses them"


@dataclass(frozen=True, slots=True)
class Conditions:
    """What was found: whether each condition is kept, how the version is to be quoted, and the reason where one is not."""

    create: bool
    replace: bool
    etag_quotes: bool = True
    reason: str | None = None


class Scratch(Protocol):
    """The writes that the probe tries, on one scratch key. Each lost condition raises a ConflictError."""

    def create(self) -> str:
        """Create-only; the version written."""

    def replace(self, version: str, *, quotes: bool) -> str:
        """Replace this version; the version written."""

    def read(self) -> str:
        """The version that is there now."""

    def delete(self) -> None:
        """Remove the scratch key."""


def probe(scratch: Scratch) -> Conditions:
    """Try both conditions on a scratch key that nothing else uses.

    Raises:
        AccessError: the credentials may not write here, so nothing can be found out.
        UnreachableError, BucketNotFoundError: the store cannot be reached, or has no such bucket.
    """
    try:
        reason = _create(scratch)
        if reason:
            return Conditions(create=False, replace=False, reason=f"create-only writes: {reason}")
        return _replace(scratch)
    finally:
        _clean(scratch)


def _create(scratch: Scratch) -> str | None:
    """None where create-only is kept, else why not: it must work on a new key and be refused on an existing one."""
    try:
        scratch.create()
    except UnsupportedError:
        return _REFUSED
    except ConflictError:
        return "it refuses one on a new key"
    try:
        scratch.create()
    except ConflictError:
        return None
    except UnsupportedError:
        return _REFUSED
    return _IGNORED


def _replace(scratch: Scratch) -> Conditions:
    reason: str | None = None
    for quotes in (True, False):
        reason = _replace_quoted(scratch, quotes=quotes)
        if reason is None:
            return Conditions(create=True, replace=True, etag_quotes=quotes)
        if reason == _IGNORED:
            break
    return Conditions(create=True, replace=False, reason=f"replace-this-version writes: {reason}")


def _replace_quoted(scratch: Scratch, *, quotes: bool) -> str | None:
    """None where a replace of the version that is there works and one of an older version is refused."""
    old = scratch.read()
    try:
        scratch.replace(old, quotes=quotes)
    except ConflictError:
        return "it refuses the version that is there"
    except UnsupportedError:
        return _REFUSED
    try:
        scratch.replace(old, quotes=quotes)
    except ConflictError:
        return None
    return _IGNORED


def _clean(scratch: Scratch) -> None:
    # A push needs no right to delete; a scratch object of a few bytes stays, and a random name makes it harmless.
    with suppress(HoldfastError):
        scratch.delete()


def remembered(file: Path | None, place: str, now: float) -> Conditions | None:
    """The answer kept for this place, while it is good; an unreadable file counts as none."""
    if file is None:
        return None
    found: Any = _load(file).get(place)
    try:
        if not 0 <= now - found["at"] < GOOD_FOR:
            return None
        return Conditions(**found["conditions"])
    except (TypeError, KeyError):
        return None


def remember(file: Path | None, place: str, now: float, conditions: Conditions) -> None:
    """Keep the answer, replacing the file at once; where it cannot be written, the next process probes again."""
    if file is None:
        return
    known = {name: entry for name, entry in _load(file).items() if isinstance(entry, dict)}
    known[place] = {"at": now, "conditions": asdict(conditions)}
    beside = file.with_name(f".{file.name}.{secrets.token_hex(6)}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(json.dumps(known, indent=1, sort_keys=True), encoding="utf-8")
        os.replace(beside, file)
    except OSError:
        beside.unlink(missing_ok=True)


def _load(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
