"""What must go so that something fits: pure decisions over what is here.

Example::

    >>> old, new = Held("a", 600, used=1.0), Held("b", 300, used=2.0)
    >>> choose([new, old], excess(held=900, need=200, limit=1000, free=10_000, keep_free=500)).doomed == (old,)
    True
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Held", "Plan", "choose", "excess", "least_free"]

#: What is left free on a disk where no setting says so: a share of it, and no more than this.
_SHARE: Final = 50
_MOST_FREE: Final = 1024**3


@dataclass(frozen=True, slots=True)
class Held:
    """One thing that takes ``bytes``: ``name`` is where it is, ``kept`` says why it may not go, ``used`` when it was last used (seconds since 1970)."""

    name: str
    bytes: int
    used: float
    kept: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What goes, longest unused first, and how many bytes are lacking even so."""

    doomed: tuple[Held, ...]
    lacking: int = 0


def choose(held: Iterable[Held], excess: int, *, as_far: bool = False) -> Plan:
    """The longest unused, as many as it takes to free so many bytes; where all would not do nothing, or all (``as_far``)."""
    doomed: list[Held] = []
    for item in sorted((item for item in held if not item.kept), key=lambda item: item.used):
        if excess <= 0:
            break
        doomed.append(item)
        excess -= item.bytes
    return Plan(tuple(doomed) if excess <= 0 or as_far else (), max(0, excess))


def excess(*, held: int, need: int, limit: int | None, free: int | None = None, keep_free: int = 0) -> int:
    """How many bytes must go before ``need`` more fit: under the limit, and on a disk that keeps some free."""
    over = 0 if limit is None else held + need - limit
    short = 0 if free is None else need + keep_free - free
    return max(over, short, 0)


def least_free(total: int, setting: int | None) -> int:
    """How many bytes of a disk of this size stay free."""
    return min(total // _SHARE, _MOST_FREE) if setting is None else setting
