"""Figures to tables: medians, their spread, and ratios."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.contenders import find

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["OURS", "Figure", "machine", "table", "versions"]

OURS = "holdfast"


@dataclass
class Figure:
    """What one contender needed for one deed, round by round."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    rss: list[float] = field(default_factory=list)
    requests: list[float] = field(default_factory=list)
    server_cpu: list[float] = field(default_factory=list)
    failure: str | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.seconds) if self.seconds else float("nan")


def table(title: str, figures: dict[str, Figure]) -> str:
    """One deed, a line for each contender; ratios are to ours (how many times as long)."""
    ours = figures.get(OURS)
    lines = [
        f"### {title}\n",
        "| | seconds | least … most | times ours | client CPU s | peak MiB | requests | server CPU s |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, figure in figures.items():
        if figure.failure or not figure.seconds:
            lines.append(f"| {name} | failed: {figure.failure} | | | | | | |")
            continue
        ratio = f"{figure.median / ours.median:.2f}" if ours and ours.seconds else ""
        spread = f"{_time(min(figure.seconds))} … {_time(max(figure.seconds))}"
        shown = f"**{name}**" if name == OURS else name
        lines.append(
            f"| {shown} | {_time(figure.median)} | {spread} | {ratio} | {_number(figure.cpu, 2)} | "
            f"{_number([value / 2**20 for value in figure.rss], 0)} | {_number(figure.requests, 0)} | {_number(figure.server_cpu, 2)} |"
        )
    return "\n".join(lines) + "\n"


def _time(seconds: float) -> str:
    return f"{seconds:.3f}" if seconds < 1 else f"{seconds:.2f}"


def _number(values: Sequence[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f}" if values else ""


def machine(load: Iterable[float]) -> str:
    """The machine, and how busy it was while it was measured."""
    with open("/proc/meminfo") as file:
        memory = int(file.readline().split()[1]) / 2**20
    loads = sorted(load)
    busy = f"{loads[0]:.1f} … {loads[-1]:.1f}" if loads else "unknown"
    system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    return (
        f"{os.cpu_count()} cores ({_processor()}), {memory:.0f} GiB RAM, {system}, Linux {platform.release()}, "
        f"Python {platform.python_version()}; runnable processes of others before each turn: {busy}"
    )


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
