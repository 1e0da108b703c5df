"""``RESULTS.md``: a table of goals and a section for each work; a run replaces what it measured and leaves the rest."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bench.packs import PACKS
from bench.report import machine, versions

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["Results", "about", "loads"]

_GOALS: Final = "Numbers to reach"
_NOTE: Final = """\
* Other work may share the machine: look at the load, and at the spread before the median; compare within a table only. The raw probe's
  time is that of its requests alone, at its best number of connections; the other columns of its line are that part of its whole run.
* New objects: without those that are swapped (`.versions`, `store.json`, `assets/`, `gen/`) and the closed record of the push; the bytes
  stored are with them. Peak memory is that of the largest process; ours is one process."""


@dataclass
class Results:
    """What this run found: the text of each section, and the goals' lines by work."""

    sections: dict[str, str] = field(default_factory=dict)
    goals: dict[str, list[str]] = field(default_factory=dict)

    def add(self, name: str, about: str, tables: Iterable[str]) -> None:
        """The section of one work; ``about`` says how and when it was measured."""
        self.sections[name] = "\n".join([f"{about}\n", *(text for text in tables if text)])

    def text(self, place: Path, skipped: Iterable[str], old: str = "") -> str:
        """The whole file; what was not measured now is taken from the old one."""
        kept = _sections(old)
        goals = _old_goals(kept.pop(_GOALS, "")) | self.goals
        sections = kept | self.sections
        head = [
            "# What the benchmark found\n",
            "Written by `python -m bench`. What each column means and how the work is done: `bench/__main__.py`.\n",
            f"* Machine: {machine(place)}.",
            f"* Programs: {versions()}.",
            _NOTE,
            *(f"* Skipped {text}." for text in skipped),
            f"\n## {_GOALS}\n",
            *_goal_lines(goals),
        ]
        return "\n".join(head) + "\n" + "".join(f"\n## {name}\n\n{sections[name].strip()}\n" for name in sections)


def loads() -> str:
    """The load average now."""
    return " ".join(f"{value:.2f}" for value in os.getloadavg())


def about(rounds: int, size: str, load: str, others: Iterable[float]) -> str:
    """How a section was measured."""
    found = sorted(others)
    busy = f"; runnable processes of others before each turn {found[0]:.0f} … {found[-1]:.0f}" if found else ""
    tiny = "" if size == "full" else f" **Size {size}: only tries the program.**"
    return (
        f"Measured {time.strftime('%Y-%m-%d %H:%M')}, rounds: {rounds}; load average at the start {load}{busy}.{tiny}"
    )


def _goal_lines(goals: dict[str, list[str]]) -> list[str]:
    lines = ["| work | goal | measured | reach |", "|---|---|---|---|"]
    for name, work in PACKS.items():
        lines += goals.get(name) or [f"| {row.work} | {row.goal} | - | not measured |" for row in work.rows]
    return lines


def _old_goals(section: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in section.splitlines():
        name = line.removeprefix("| ").partition(":")[0]
        if line.startswith("| ") and name in PACKS:
            found.setdefault(name, []).append(line)
    return found


def _sections(text: str) -> dict[str, str]:
    parts = f"\n{text}".split("\n## ")[1:]
    return {part.partition("\n")[0].strip(): part.partition("\n")[2] for part in parts}
