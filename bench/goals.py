"""The numbers to reach (issue 3): what each asks for, what was found, whether that is enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench.report import OURS, seconds_text

if TYPE_CHECKING:
    from bench.report import Figure, Figures

__all__ = ["Limit", "Row", "fast", "memory", "objects", "quick", "stored", "within"]

_MIB: Final = 1 << 20


@dataclass(frozen=True)
class Limit:
    """One number: ``what`` of ours in a deed is at most ``most``; as a ratio to a peer's where one is named.

    ``faster``: the number is how many times faster than the peer ours is, and is to be at least ``most``.
    """

    deed: str
    what: str
    most: float
    peer: str = ""
    faster: bool = False

    def judge(self, figures: Figures) -> tuple[str, bool | None]:
        """What was found, and whether it is enough; None where nothing was measured."""
        ours = _median(figures, self.deed, OURS, self.what)
        if ours is None:
            return "", None
        if not self.peer:
            return _shown(self.what, ours), ours <= self.most
        peer = _median(figures, self.deed, self.peer, self.what)
        if peer is None:
            return f"{self.peer} not measured", None
        ratio = peer / ours if self.faster else ours / peer
        text = f"{ratio:.2f} x {self.peer} ({_shown(self.what, peer)})"
        return text, ratio >= self.most if self.faster else ratio <= self.most


@dataclass(frozen=True)
class Row:
    """A line of the table: the work, the goal in the issue's words, and its numbers; ``deed``: whose seconds are shown."""

    work: str
    goal: str
    limits: tuple[Limit, ...]
    deed: str = ""

    def line(self, figures: Figures) -> str:
        """The line as Markdown."""
        seconds = _median(figures, self.deed, OURS, "seconds")
        parts, missed = [seconds_text(seconds)] if seconds is not None else [], []
        unknown = bool(self.deed) and seconds is None
        for limit in self.limits:
            text, enough = limit.judge(figures)
            if text and text not in parts:
                parts.append(text)
            if enough is False:
                missed.append(text.partition(" (")[0])
            unknown |= enough is None
        reach = f"**no**: {', '.join(missed)}" if missed else "not measured" if unknown else "yes"
        if failed := _failure(figures, {self.deed, *(limit.deed for limit in self.limits)}):
            reach = f"**failed**: {failed}"
        return f"| {self.work} | {self.goal} | {', '.join(parts) or '-'} | {reach} |"


def within(deed: str, peer: str, most: float) -> Limit:
    """At most so many times as long as a peer."""
    return Limit(deed, "seconds", most, peer)


def fast(deed: str, peer: str, least: float) -> Limit:
    """At least so many times as fast as a peer."""
    return Limit(deed, "seconds", least, peer, faster=True)


def quick(deed: str, seconds: float) -> Limit:
    """At most so many seconds, whole process."""
    return Limit(deed, "seconds", seconds)


def objects(deed: str, most: int) -> Limit:
    """At most so many new objects in the store."""
    return Limit(deed, "objects", most)


def stored(deed: str, most: int) -> Limit:
    """At most so many bytes more in the store."""
    return Limit(deed, "stored", most)


def memory(most: int) -> Limit:
    """At most so much memory in any deed of the work, in any round."""
    return Limit("", "rss", most)


def _median(figures: Figures, deed: str, name: str, what: str) -> float | None:
    if what == "rss":
        values = [value for found in figures.values() if name in found for value in found[name].rss]
        return max(values, default=None)
    figure: Figure | None = figures.get(deed, {}).get(name)
    return figure.median(what) if figure and not figure.failure else None


def _failure(figures: Figures, deeds: set[str]) -> str | None:
    ours = [figures[deed].get(OURS) for deed in figures if deed in deeds]
    return next((figure.failure for figure in ours if figure and figure.failure), None)


def _shown(what: str, value: float) -> str:
    if what == "seconds":
        return seconds_text(value)
    if what == "objects":
        return f"{value:.0f} new objects"
    return f"{value / _MIB:.0f} MiB" if what == "rss" else f"{value / _MIB:.2f} MiB stored"
