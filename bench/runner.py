"""Runs the turns: every contender does the same deeds in a fresh place, each deed is measured, what was made is checked."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bench.contender import ROOT, Command, Contender, Task
from bench.edits import healed
from bench.report import OURS, Figure, Figures
from bench.stock import added, stock
from bench.work import Work, same, warm

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from bench.server import Gateway

__all__ = ["Bench", "Turn", "there_and_back"]

#: Seconds that one command may take.
_PATIENCE: Final = 900


@dataclass
class Bench:
    """The run: where it works, the server, how often, and how busy the machine was."""

    place: Path
    turns: Path
    rounds: int
    server: Gateway | None = None
    loads: list[float] = field(default_factory=list)
    count: int = 0

    def measure(self, command: Command, env: Mapping[str, str], figure: Figure) -> str:
        """Run a command to its end and note what it took; what it printed."""
        self.loads.append(_running())
        requests, cpu = (self.server.requests(), self.server.cpu()) if self.server else (0, 0.0)
        found, text = self.run(command, env)
        figure.seconds.append(found["seconds"])
        figure.cpu.append(found["cpu"])
        figure.rss.append(found["rss"])
        if self.server:
            figure.requests.append(self.server.requests() - requests)
            figure.server_cpu.append(self.server.cpu() - cpu)
        return text

    def run(self, command: Command, env: Mapping[str, str]) -> tuple[dict[str, float], str]:
        """What a command took, and what it printed.

        Raises:
            RuntimeError: it failed.
        """
        output = self.turns / "output"
        full = {**os.environ, **(self.server.env if self.server else {}), **env}
        full["PATH"] = f"{ROOT / '.services/bench/bin'}:{full['PATH']}"
        runner = [sys.executable, "-I", "-S", str(ROOT / "bench" / "measure.py"), str(output), *command]
        done = subprocess.run(runner, env=full, stdout=subprocess.PIPE, check=True, timeout=_PATIENCE)
        found, text = json.loads(done.stdout), output.read_text(errors="replace")
        if found["status"] != 0:
            raise RuntimeError(f"{' '.join(command[:3])}: {text.strip()[-300:]}")
        return found, text

    def compare(
        self,
        work: Work,
        kind: str,
        contenders: Sequence[Contender],
        script: Callable[[Turn], None],
        enough: Callable[[str, Figures], bool],
    ) -> Figures:
        """All contenders in turn, round by round; ``enough``: another round of this one is not needed."""
        figures: Figures = {}
        for number in range(self.rounds):
            print(f"{work.title}, {kind}, round {number + 1} of {self.rounds}", flush=True)
            for one in contenders:
                if kind in one.on and not _failed(one.name, figures) and not enough(one.name, figures):
                    self.turn(one, work, kind, script, figures)
        return figures

    def turn(self, one: Contender, work: Work, kind: str, script: Callable[[Turn], None], figures: Figures) -> None:
        """One contender's turn, in a folder and a bucket that nobody has used."""
        self.count += 1
        folder = self.turns / f"{self.count:03}"
        folder.mkdir(parents=True)
        bucket = self.server.bucket(f"bench-{self.count:03}") if self.server and kind == "bucket" else None
        source = healed(work, work.make(self.place / "data"))
        turn = Turn(self, one, Task(work, source, folder, bucket, self.server.env if self.server else {}), figures)
        try:
            one.prepare(turn.task)
            script(turn)
        except (RuntimeError, ValueError, subprocess.SubprocessError, OSError) as error:
            turn.figure.failure = str(error).replace("\n", " ")
            print(f"  {one.name:10} {turn.deed} failed: {turn.figure.failure}", flush=True)
        finally:
            if work.large and not work.keep:  # many files deleted now would make ext4 slow to create the next ones
                shutil.rmtree(folder, ignore_errors=True)
                if bucket and self.server:
                    self.server.drop(bucket)


@dataclass
class Turn:
    """One contender in its place; ``deed`` is what it does at the moment."""

    bench: Bench
    one: Contender
    task: Task
    figures: Figures
    deed: str = ""

    @property
    def figure(self) -> Figure:
        """What is known of the deed, this round and earlier ones."""
        return self.figures.setdefault(self.deed, {}).setdefault(self.one.name, Figure())

    @property
    def ours(self) -> bool:
        """Whether Holdfast itself has its turn."""
        return self.one.name == OURS

    @property
    def first(self) -> bool:
        """Whether this is its first round; some checks are not repeated."""
        return len(self.figure.seconds) <= 1

    def push(self, deed: str) -> str:
        """Push the data as it is now, and count what it adds to the store."""
        self.deed = deed
        before = stock(self.task)
        text = self._timed(self.one.push(self.task), self.task, self.task.source)
        objects, stored = added(before, stock(self.task))
        self.figure.objects.append(objects)
        self.figure.stored.append(stored)
        return text

    def fetch(self, deed: str, command: Command | None = None) -> str:
        """Fetch what was pushed, or run a command, on a machine that has nothing yet."""
        self.deed = deed
        self.one.between(self.task)
        there = self.task.on("second")
        return self._timed(command or self.one.fetch(there), there, self.task.store)

    def check(self, copy: Path) -> None:
        """Compare a copy with the data.

        Raises:
            RuntimeError: it differs.
        """
        if not same(self.task.source, copy):
            raise RuntimeError("its copy differs from the source")

    def _timed(self, command: Command, task: Task, reads: Path) -> str:
        _settle(task.work, reads)
        text = self.bench.measure(command, self.one.env(task), self.figure)
        print(f"  {self.one.name:10} {self.deed:18} {self.figure.seconds[-1]:8.3f} s", flush=True)
        return text


def there_and_back(turn: Turn) -> None:
    """The plain script: push, fetch, compare; the probe has no copy, and tells the time itself."""
    pushed = turn.push("push")
    probe = turn.one.fetched(turn.task) is None
    if probe:
        _take_probe(turn.figure, pushed)
    fetched = turn.fetch("fetch")
    copy = turn.one.fetched(turn.task)
    if copy is None:
        _take_probe(turn.figure, fetched)
    else:
        turn.check(copy)


def _take_probe(figure: Figure, text: str) -> None:
    """The probe's own clock, of its best number of connections: the requests alone."""
    found = json.loads(text)
    figure.seconds[-1] = found["seconds"]
    share = found["share"]
    for values in (figure.cpu, figure.requests, figure.server_cpu):
        if values:
            values[-1] *= share
    figure.objects.clear()
    figure.stored.clear()


def _failed(name: str, figures: Figures) -> bool:
    return any(name in found and found[name].failure for found in figures.values())


def _settle(work: Work, reads: Path) -> None:
    """Nobody pays for what another one wrote, nor for memory that a virtual machine has given back to its host, nor for a cold disk."""
    take_back_memory(2 * work.bytes)
    warm(reads)
    os.sync()


def take_back_memory(count: int) -> None:
    """Touch so many bytes, and a GiB more: what is free has been given back to the host, and would be slow when it is first used again."""
    line = f"len(bytes([120]) * {count + (1 << 30)})"
    subprocess.run([sys.executable, "-I", "-S", "-c", line], check=True)


def _running() -> float:
    """How many processes run or want to, but for this one."""
    with open("/proc/loadavg") as file:
        return float(file.read().split()[3].partition("/")[0]) - 1
