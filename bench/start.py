"""How long the small things take, as whole processes: the version, and a pinned spec that is here already."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.contender import Task
from bench.contenders import CONTENDERS
from bench.report import Figure, table
from bench.work import Work

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.contender import Contender
    from bench.runner import Bench

_TIMES = 5


def measure_start(bench: Bench, chosen: Sequence[Contender]) -> str:
    """Tables of both, several times a round; the store is a folder, which a cached fetch never looks into."""
    source = Work("tiny", 20, 1024).make(bench.place / "data")
    cached: dict[str, Figure] = {}
    said: dict[str, Figure] = {}
    ready: list[tuple[str, list[str], dict[str, str]]] = []
    for one in CONTENDERS:
        if one.name not in ("holdfast", "modelkit") or one not in chosen:
            continue
        folder = bench.turns / f"start-{one.name}"
        folder.mkdir(parents=True)
        task = Task(Work("tiny", 20, 1024), source, folder, None, {})
        one.prepare(task)
        for command in (one.push(task), one.fetch(task)):
            bench.measure(command, one.env(task), Figure())
        ready.append((one.name, one.fetch(task), dict(one.env(task))))
    for _ in range(bench.rounds * _TIMES):
        for name, command, env in ready:
            bench.measure(command, env, cached.setdefault(name, Figure()))
            option = ["--version"] if name == "holdfast" else ["--help"]
            bench.measure([command[0], *option], env, said.setdefault(name, Figure()))
    first = table("A pinned, cached spec, whole process", cached)
    return first + "\n" + table("`asset --version` (modelkit, which has none: `--help`), whole process", said)
