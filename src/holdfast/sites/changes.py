"""What a web server says of one path of a webroot: a change, and how two of them compare. Pure values.

Changes of one path are in one total order, the same on every server, so the greatest of them is what all come to (:func:`newest`).
An edit has a ``stamp``: microseconds since 1970 by the store's clock, and always more than that of what it was made from, so a clock
that is wrong makes no old content win. A deletion comes just behind the change that it deletes, so whatever was written without
knowing of it, and is newer than what was deleted, beats it. What lay there before a server ever synced has stamp 0 and is
beaten by every edit.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from holdfast.model.digest import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from holdfast.model.manifest import Kind

__all__ = ["Change", "Content", "deletion", "edit", "first", "newest", "succeeds"]

#: Beyond so many servers whose changes went into one, the oldest are forgotten: then a replaced file is kept once too often.
_MOST_SEEN: Final = 32


@dataclass(frozen=True, slots=True)
class Content:
    """What lies at a path: ``size`` in bytes and the BLAKE3 hex of files, ``mode`` the nine bits, ``mtime`` in nanoseconds."""

    kind: Kind
    mode: int = 0
    digest: str | None = None
    target: str | None = None
    size: int = 0
    mtime: int | None = None

    @property
    def identity(self) -> tuple[str, int, str | None, str | None]:
        """By which a change is told; times do not count."""
        return self.kind, self.mode, self.digest, self.target

    def same_bytes(self, other: Content | None) -> bool:
        """Whether nothing is lost where the other takes its place."""
        return other is not None and (self.kind, self.digest, self.target) == (other.kind, other.digest, other.target)


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a path: its content, or None where it was deleted.

    ``stamp`` and ``node`` say when and by which server; of a deletion they are those of what it deletes, and ``at`` is its own
    time. ``seen`` has the newest stamp of each server that went into it. ``clash`` marks a deletion that nobody asked for: a file
    and a folder had one name.
    """

    content: Content | None
    stamp: int
    node: str
    seen: Mapping[str, int] = field(default_factory=dict)
    at: int = 0
    clash: bool = False

    @property
    def rank(self) -> tuple[int, str, bool, str]:
        """The total order. What was there before anybody synced is one rank, and one deletion takes all of it."""
        return self.stamp, self.node if self.stamp else "", self.content is None, self.node


def first(content: Content) -> Change:
    """What a server had before it synced; of equal content it is the same on each."""
    return Change(content, 0, "=" + digest_of(repr(content.identity).encode())[:16])


def edit(content: Content, base: Change | None, *, node: str, when: int, after: int = 0) -> Change:
    """What this server made of ``base`` at ``when``, as it thinks; later than the stamp ``after`` in any case."""
    stamp = max(when, 1, after + 1, 0 if base is None else base.stamp + 1)
    return Change(content, stamp, node, _seen(base))


def deletion(base: Change, *, when: int, clash: bool = False) -> Change:
    """The deletion of ``base``, the same whoever makes it."""
    return Change(None, base.stamp, base.node, dict(base.seen) if clash else _seen(base), at=when, clash=clash)


def newest(changes: Iterable[Change | None]) -> Change | None:
    """The greatest; None of none. Of two deletions of one content, that which somebody asked for."""
    found: Change | None = None
    for change in changes:
        if change is None:
            continue
        if found is None or change.rank > found.rank:
            found = change
        elif change.rank == found.rank and found.clash and not change.clash:
            found = replace(change, at=max(change.at, found.at))
    return found


def succeeds(later: Change, earlier: Change) -> bool:
    """Whether the later was made from the earlier, directly or not: then what the earlier said is not lost but over."""
    return later.seen.get(earlier.node, -1) >= earlier.stamp


def _seen(base: Change | None) -> dict[str, int]:
    if base is None:
        return {}
    if base.clash:  # nobody saw what it deleted
        return dict(base.seen)
    seen = {**base.seen, base.node: max(base.stamp, base.seen.get(base.node, 0))}
    if len(seen) > _MOST_SEEN:
        seen = dict(sorted(seen.items(), key=lambda item: item[1])[-_MOST_SEEN:])
    return seen
