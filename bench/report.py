"""Figures to tables: medians, their spread, and ratios."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.contender import find

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["OURS", "Figure", "Figures", "machine", "seconds_text", "table", "versions"]

OURS = "holdfast"


@dataclass
class Figure:
    """What one contender needed for one deed, round by round."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    rss: list[float] = field(default_factory=list)
    requests: list[float] = field(default_factory=list)
    server_cpu: list[float] = field(default_factory=list)
    objects: list[float] = field(default_factory=list)
    stored: list[float] = field(default_factory=list)
    failure: str | None = None

    def median(self, what: str = "seconds") -> float | None:
        """The middle of the rounds; None where nothing was measured."""
        values = getattr(self, what)
        return float(statistics.median(values)) if values else None


#: Deed → contender → what it needed.
Figures = dict[str, dict[str, Figure]]


def table(title: str, figures: dict[str, Figure]) -> str:
    """One deed, a line for each contender; ratios are to ours (how many times as long)."""
    ours = figures.get(OURS, Figure()).median()
    counted = any(figure.objects for figure in figures.values())
    lines = [
        f"### {title}\n",
        "| | seconds | least … most | times ours | client CPU s | peak MiB | requests | server CPU s |"
        + (" new objects | MiB stored |" if counted else ""),
        "|---|---:|---:|---:|---:|---:|---:|---:|" + ("---:|---:|" if counted else ""),
    ]
    for name, figure in figures.items():
        lines.append(_line(f"**{name}**" if name == OURS else name, figure, ours, counted=counted))
    return "\n".join(lines) + "\n"


def _line(shown: str, figure: Figure, ours: float | None, *, counted: bool) -> str:
    median = figure.median()
    if figure.failure or median is None:
        return f"| {shown} | failed: {figure.failure} |" + " |" * (8 if counted else 6)
    cells = [
        shown,
        seconds_text(median, unit=""),
        f"{seconds_text(min(figure.seconds), unit='')} … {seconds_text(max(figure.seconds), unit='')}",
        f"{median / ours:.2f}" if ours else "",
        _number(figure.cpu, 2),
        _number([value / 2**20 for value in figure.rss], 0),
        _number(figure.requests, 0),
        _number(figure.server_cpu, 2),
    ]
    if counted:
        cells += [_number(figure.objects, 0), _number([value / 2**20 for value in figure.stored], 2)]
    return f"| {' | '.join(cells)} |"


def seconds_text(seconds: float, unit: str = " s") -> str:
    """A time with three figures that mean something."""
    return f"{seconds:.3f}{unit}" if seconds < 1 else f"{seconds:.2f}{unit}"


def _number(values: Sequence[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f}" if values else ""


def machine(place: Path) -> str:
    """The machine, and the file system on which everything happens."""
    with open("/proc/meminfo") as file:
        memory = int(file.readline().split()[1]) / 2**20
    system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    return (
        f"{os.cpu_count()} cores ({_processor()}), {memory:.0f} GiB RAM, {system}, Linux {platform.release()}, "
        f"Python {platform.python_version()}; files on {_file_system(place)}"
    )


def _file_system(place: Path) -> str:
    """Type, device and options of the mount that holds a path."""
    device = place.stat().st_dev
    with open("/proc/self/mountinfo") as file:
        for line in file:
            fields, _, rest = line.partition(" - ")
            if fields.split()[2] == f"{os.major(device)}:{os.minor(device)}":
                kind, source, _ = rest.split(maxsplit=2)
                return f"{kind} ({source}, {fields.split()[5]})"
    return "an unknown file system"


def _processor() -> str:
    with open("/proc/cpuinfo") as file:
        names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    return names[0] if names else platform.machine()


def versions() -> str:
    """The first line that each program says of its version."""
    found = []
    for name, option in (
        ("asset", "--version"),
        ("s5cmd", "version"),
        ("rclone", "version"),
        ("dvc", "--version"),
        ("restic", "version"),
    ):
        if program := find(name):
            done = subprocess.run([program, option], capture_output=True, text=True, check=False)
            text = (done.stdout or done.stderr).strip().splitlines()
            found.append(f"{name} {text[0].removeprefix(name).strip() if text else 'unknown'}")
    return ", ".join([*found, "modelkit 0.1.3"])
