"""The benchmark: makes its data, starts its server, gives every contender the same work in turn, prints tables.

    python -m bench [--only WHAT ...] [--with CONTENDER ...] [--rounds N] [--size full|small] [--write]

WHAT is one of: small large local-small local-large start. In every round each contender pushes into a store of its own that
nobody has used, then fetches into an empty folder; its copy is compared with the source. Between turns everything is synced and
removed, outside the clock. A figure is the median of the rounds; who fails, or takes four times as long as ours, gets only one.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bench.contenders import CONTENDERS, ROOT, Contender, Task
from bench.report import OURS, Figure, machine, table, versions
from bench.server import Gateway, gateway
from bench.start import measure_start
from bench.work import Work, same

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLACE: Final = ROOT / ".bench"
_WORK: Final = {
    "full": {"small": Work("small", 5000, 8192), "large": Work("large", 0, 1 << 30)},
    "small": {"small": Work("small", 500, 8192), "large": Work("large", 0, 64 << 20)},
}
_NOTE: Final = """\
* Other work may share the machine: compare within a table, and look at the spread before the median. The raw probe's time is that of its
  requests alone, at its best number of connections; the other columns of its line are that part of its whole run."""
#: Seconds that one command may take.
_PATIENCE: Final = 600
_KINDS: Final = ("small", "large", "local-small", "local-large", "start")


@dataclass
class Bench:
    """The run: where it works, the server, what was found."""

    size: str
    rounds: int
    chosen: tuple[Contender, ...]
    server: Gateway | None = None
    loads: list[float] = field(default_factory=list)
    turns: int = 0

    def measure(self, command: list[str], env: Mapping[str, str], figure: Figure) -> str:
        """Run a command to its end and note what it took; what it printed."""
        output = _PLACE / "output"
        full = {**os.environ, **(self.server.env if self.server else {}), **env}
        full["PATH"] = f"{ROOT / '.services/bench/bin'}:{full['PATH']}"
        self.loads.append(_running())
        requests, cpu = (self.server.requests(), self.server.cpu()) if self.server else (0, 0.0)
        runner = [sys.executable, "-I", "-S", str(ROOT / "bench" / "measure.py"), str(output), *command]
        found = json.loads(
            subprocess.run(runner, env=full, stdout=subprocess.PIPE, check=True, timeout=_PATIENCE).stdout
        )
        text = output.read_text(errors="replace")
        if found["status"] != 0:
            raise RuntimeError(f"{' '.join(command[:3])}: {text.strip()[-300:]}")
        figure.seconds.append(found["seconds"])
        figure.cpu.append(found["cpu"])
        figure.rss.append(found["rss"])
        if self.server:
            figure.requests.append(self.server.requests() - requests)
            figure.server_cpu.append(self.server.cpu() - cpu)
        return text

    def turn(self, one: Contender, work: Work, kind: str, figures: dict[str, dict[str, Figure]]) -> None:
        """One contender pushes and fetches."""
        self.turns += 1
        folder = _PLACE / "turns" / f"{self.turns:03}"
        folder.mkdir(parents=True)
        bucket = self.server.bucket(f"bench-{self.turns:03}") if self.server and kind == "bucket" else None
        source = work.make(_PLACE / "data")
        task = Task(work, source, folder, bucket, self.server.env if self.server else {})
        push, fetch = (figures[deed].setdefault(one.name, Figure()) for deed in ("push", "fetch"))
        try:
            one.prepare(task)
            _settle(work)
            pushed = self.measure(one.push(task), one.env(task), push)
            one.between(task)
            _settle(work)
            fetched = self.measure(one.fetch(task), one.env(task), fetch)
            copy = one.fetched(task)
            if copy is None:
                _take_probe(push, pushed)
                _take_probe(fetch, fetched)
            elif not same(source, copy):
                push.failure = fetch.failure = "its copy differs from the source"
        except (RuntimeError, subprocess.SubprocessError, OSError) as error:
            push.failure = fetch.failure = str(error).replace("\n", " ")
        finally:
            if not work.count:  # thousands of files deleted now would make ext4 slow to create the next ones
                shutil.rmtree(folder, ignore_errors=True)
                if bucket and self.server:
                    self.server.drop(bucket)
        print(f"  {one.name:10} push {_last(push)} fetch {_last(fetch)}", flush=True)

    def compare(self, work: Work, kind: str) -> list[str]:
        """All contenders in turn, round by round; two tables."""
        figures: dict[str, dict[str, Figure]] = {"push": {}, "fetch": {}}
        for number in range(self.rounds):
            print(f"{work.title}, {kind}, round {number + 1} of {self.rounds}", flush=True)
            for one in self.chosen:
                if kind in one.on and not _settled(one.name, figures):
                    self.turn(one, work, kind, figures)
        where = "a Ceph object gateway" if kind == "bucket" else "a local store"
        return [
            table(f"{work.title}: push to {where}", figures["push"]),
            table(f"{work.title}: fetch from {where}", figures["fetch"]),
            *(_goal(deed, figures[deed]) for deed in figures),
        ]


def _take_probe(figure: Figure, text: str) -> None:
    """The probe's own clock, of its best number of connections: the requests alone."""
    found = json.loads(text)
    figure.seconds[-1] = found["seconds"]
    share = found["share"]
    for values in (figure.cpu, figure.requests, figure.server_cpu):
        if values:
            values[-1] *= share


def _settled(name: str, figures: dict[str, dict[str, Figure]]) -> bool:
    """Whether another round cannot change the picture: it failed, or takes more than four times as long as ours."""
    own = [figures[deed].get(name, Figure()) for deed in figures]
    ours = [figures[deed].get(OURS, Figure()) for deed in figures]
    return any(one.failure for one in own) or all(
        one.median > 4 * our.median for one, our in zip(own, ours, strict=True)
    )


def _goal(deed: str, figures: dict[str, Figure]) -> str:
    probe, ours = figures.get("raw probe"), figures.get(OURS)
    if not (probe and ours and probe.seconds and ours.seconds):
        return ""
    return f"{deed}: ours reaches {probe.median / ours.median:.2f} of the raw probe's ceiling, whole process, start-up included.\n"


def _last(figure: Figure) -> str:
    return f"failed: {figure.failure}" if figure.failure else f"{figure.seconds[-1]:7.3f} s"


def _settle(work: Work) -> None:
    """Nobody pays for what another one wrote, nor for memory that a virtual machine has given back to its host meanwhile."""
    os.sync()
    count = 2 * work.bytes + (1 << 30)
    subprocess.run([sys.executable, "-I", "-S", "-c", f"len(bytes([120]) * {count})"], check=True)


def _running() -> float:
    """How many processes run or want to, but for this one."""
    with open("/proc/loadavg") as file:
        return float(file.read().split()[3].partition("/")[0]) - 1


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", nargs="+", choices=_KINDS, default=list(_KINDS), metavar="WHAT", help=" ".join(_KINDS)
    )
    parser.add_argument("--with", nargs="+", dest="names", metavar="NAME", help="these contenders only")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", choices=sorted(_WORK), default="full", help="small: a quick run")
    parser.add_argument("--write", action="store_true", help="write bench/RESULTS.md, which a whole run always does")
    asked = parser.parse_args()
    missing = [text for one in CONTENDERS if (text := one.missing())]
    for text in missing:
        print(f"skipped {text}")
    chosen = tuple(one for one in CONTENDERS if not one.missing() and (not asked.names or one.name in asked.names))
    shutil.rmtree(_PLACE / "turns", ignore_errors=True)
    shutil.rmtree(_PLACE / "server", ignore_errors=True)
    (_PLACE / "turns").mkdir(parents=True)
    # On ext4: spread the folders of the turns over the disk, away from what an earlier run has just deleted.
    subprocess.run(["chattr", "+T", str(_PLACE / "turns")], check=False, capture_output=True)
    begun = time.monotonic()
    bench, tables = Bench(asked.size, asked.rounds, chosen), []
    for kind in ("small", "large"):
        if kind in asked.only:  # each on a server of its own, which holds some gigabytes at most
            with gateway(_PLACE / "server" / kind) as bench.server:
                tables += bench.compare(_WORK[asked.size][kind], "bucket")
    bench.server = None
    for kind in ("small", "large"):
        if f"local-{kind}" in asked.only:
            tables += bench.compare(_WORK[asked.size][kind], "folder")
    if "start" in asked.only:
        tables.append(measure_start(bench, _PLACE))
    shutil.rmtree(_PLACE / "turns", ignore_errors=True)
    shutil.rmtree(_PLACE / "server", ignore_errors=True)
    head = [
        "# What the benchmark found\n",
        f"Written by `python -m bench` ({time.strftime('%Y-%m-%d')}, {asked.rounds} rounds, {time.monotonic() - begun:.0f} s).\n",
        "What each column means and how the work is done: `bench/__main__.py`.\n",
        f"* Machine: {machine(bench.loads)}.",
        f"* Programs: {versions()}.",
        _NOTE,
        *(f"* Skipped {text}." for text in missing),
        "",
    ]
    text = "\n".join([*head, *(part for part in tables if part)])
    print(f"\n{text}")
    whole = asked.size == "full" and len(asked.only) == len(_KINDS) and not asked.names
    if asked.write or whole:
        (ROOT / "bench" / "RESULTS.md").write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
