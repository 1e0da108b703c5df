"""The list of directories to mount: ``images:media/videos``, ``/var/www/private``, ``merge=images4``, ``WHOLE-WEBROOT``. Pure.

A path is relative to the webroot, or absolute. ``merge=dirN`` spreads a directory over N buckets, 1 to 9, united by mergerfs.
There are no quotes: a name with a colon cannot be listed in a text, but in a list of ``site.toml``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["WHOLE", "Item", "parse_item", "split_list"]

#: The word for the whole webroot, and those that the original took for it at one time or another.
WHOLE: Final = "WHOLE-WEBROOT"
_WHOLES: Final = frozenset((WHOLE, "WHOLE", "webroot"))
_MERGE: Final = "merge="


@dataclass(frozen=True, slots=True)
class Item:
    """One directory: its path without slashes at the end (empty for the whole webroot), and over how many buckets it is spread."""

    path: str
    branches: int = 1
    merged: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether it is the whole webroot."""
        return not self.path

    @property
    def text(self) -> str:
        """As it is listed."""
        return f"{_MERGE}{self.path}{self.branches}" if self.merged else self.path or WHOLE


def split_list(text: str) -> tuple[str, ...]:
    """The items of a text."""
    return tuple(item for item in text.split(":") if item) if text.strip() else ()


def parse_item(text: str, *, webroot: str, legacy_dots: bool = False) -> Item | str:
    """The item, or why there is none."""
    if text in _WHOLES:
        return Item("")
    path, branches, merged = text, 1, text.startswith(_MERGE)
    if merged:
        path, digit = text[len(_MERGE) : -1], text[-1]
        if digit not in "123456789" or not path or path[-1:].isdigit():
            return f"{text!r} does not end in one digit, 1 to 9: so many buckets are merged"
        if path in _WHOLES:
            return f"{text!r}: the whole webroot is never spread over several buckets"
        branches = int(digit)
    if legacy_dots and "/" not in path:
        path = path.replace(".", "/")
    wrong = why_unusable(path)
    return f"{text!r} {wrong}" if wrong else Item(_inside(path, webroot), branches, merged)


def why_unusable(path: str) -> str | None:
    """Why this is no path of a directory; None where it may be one."""
    pieces = path.removeprefix("/").rstrip("/").split("/")
    if any(piece in ("", ".", "..") for piece in pieces):
        return "has an empty piece, '.' or '..'"
    if not path.isprintable():
        return "has characters that cannot be printed"
    return None


def overlaps(items: Sequence[Item], webroot: str) -> list[tuple[Item, Item]]:
    """The pairs of which one is, or lies in, the other."""
    places = [(item, place_of(item.path, webroot) + "/") for item in items]
    return [
        (one, other)
        for at, (one, here) in enumerate(places)
        for other, there in places[at + 1 :]
        if here.startswith(there) or there.startswith(here)
    ]


def place_of(path: str, webroot: str) -> str:
    """Where a directory lies on this machine."""
    if path.startswith("/"):
        return path
    return f"{webroot.rstrip('/')}/{path}" if path else webroot.rstrip("/")


def _inside(path: str, webroot: str) -> str:
    """An absolute path within the webroot as a relative one; without slashes at the end."""
    bare = path.rstrip("/")
    root = webroot.rstrip("/") + "/"
    return bare.removeprefix(root)
