"""The benchmark: makes its data, starts its server, gives every contender the same work in turn, prints tables.

    python -m bench [--only WHAT ...] [--million] [--with CONTENDER ...] [--rounds N] [--size full|small] [--write] [--keep]

WHAT is one of: small large local-small local-large start (every layout and peer), packs-small packs-large packs-million
packs-s3-small packs-s3-large (the numbers that issue 3 asks for; packs-million runs only where it is named, or with
``--million``, which has mounts mount as many files, too), door (the server: ``bench/door.py``), mounts (``bench/mounts.py``), sites (``bench/sites.py``). In every round each contender pushes into a store of its own that nobody has used, then fetches, with nothing
remembered, into an empty folder; its copy is compared with the source. Before each turn memory is warmed, what it reads is
read once, and everything is synced, outside the clock. A figure is the median of the rounds; who fails gets only one, and so
does, but for packs, who takes four times as long as ours. What was made is removed at the very end (``--keep``: later), because
ext4 is slow to create files for a minute after many were deleted.
"""

from __future__ import annotations

import argparse
import fcntl
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from bench.contender import ROOT, Contender
from bench.contenders import CONTENDERS
from bench.door import measure_door
from bench.mounts import measure_mounts
from bench.packs import PACKS
from bench.report import OURS, Figure, Figures, table
from bench.results import Results, about, loads
from bench.runner import Bench, there_and_back
from bench.server import gateway
from bench.sites import measure_sites
from bench.start import measure_start
from bench.work import Work

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_PLACE: Final = ROOT / ".bench"
_RESULTS: Final = ROOT / "bench" / "RESULTS.md"
_WORK: Final = {
    "full": {"small": Work("small", 5000, 8192, layout="tree"), "large": Work("large", 0, 1 << 30)},
    "small": {"small": Work("small", 500, 8192, layout="tree"), "large": Work("large", 0, 64 << 20)},
}
_EVERY: Final = ("small", "large", "local-small", "local-large", "start", "door", "mounts", "sites")
#: Assets, and what is fetched.
_DOOR: Final = {
    "full": (
        10_000,
        [
            Work("door-file", 0, 256 << 20),
            Work("door-packs", 3000, 8192),
            Work("door-tree", 3000, 8192, layout="tree"),
        ],
    ),
    "small": (200, [Work("door-file", 0, 16 << 20), Work("door-packs", 100, 8192)]),
}
_OPT_IN: Final = "packs-million"
_KINDS: Final = (*_EVERY, *PACKS)


def _compare(bench: Bench, what: str, size: str, chosen: Sequence[Contender]) -> list[str]:
    """One work of all contenders; two tables."""
    work = _WORK[size][what.removeprefix("local-")]
    kind, where = ("folder", "a local store") if what.startswith("local-") else ("bucket", "a Ceph object gateway")
    figures = bench.compare(work, kind, chosen, there_and_back, _settled)
    found = {deed: figures.get(deed, {}) for deed in ("push", "fetch")}
    return [
        table(f"{work.title}: push to {where}", found["push"]),
        table(f"{work.title}: fetch from {where}", found["fetch"]),
        *(_goal(deed, found[deed]) for deed in found),
    ]


def _settled(name: str, figures: Figures) -> bool:
    """Whether another round cannot change the picture: it takes more than four times as long as ours."""
    pairs = [(found[name].median(), found.get(OURS, Figure()).median()) for found in figures.values() if name in found]
    return bool(pairs) and all(own and ours and own > 4 * ours for own, ours in pairs)


def _goal(deed: str, figures: dict[str, Figure]) -> str:
    probe, ours = (figures.get(name, Figure()).median() for name in ("raw probe", OURS))
    if not (probe and ours):
        return ""
    return f"{deed}: ours reaches {probe / ours:.2f} of the raw probe's ceiling, whole process, start-up included.\n"


def _measure(what: str, bench: Bench, asked: argparse.Namespace, chosen: Sequence[Contender], into: Results) -> None:
    """One section of the results; works with buckets have a server of their own, which holds some gigabytes at most."""
    work = PACKS[what].works[asked.size] if what in PACKS else _WORK[asked.size].get(what.removeprefix("local-"))
    if work:
        work.make(bench.place / "data")
    load, bench.loads = loads(), []
    bucket = what in ("small", "large", "door", "mounts", "sites") or (what in PACKS and PACKS[what].kind == "bucket")
    with gateway(bench.turns / f"server-{what}") if bucket else nullcontext() as bench.server:
        if what in PACKS:
            into.goals[what], tables = PACKS[what].measure(bench, asked.size, chosen)
        elif what == "start":
            tables = [measure_start(bench, chosen)]
        elif what == "mounts":
            tables = measure_mounts(bench, asked.size, million=asked.million)
        elif what == "sites":
            tables = measure_sites(bench, asked.size)
        elif what == "door":
            tables = measure_door(bench, *_DOOR[asked.size])
        else:
            tables = _compare(bench, what, asked.size, chosen)
    into.add(what, about(bench.rounds, asked.size, load, bench.loads), tables)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=_KINDS, metavar="WHAT", help=" ".join(_KINDS))
    parser.add_argument(
        "--million", action="store_true", help=f"{_OPT_IN} and the mount of as many files, too, which takes minutes"
    )
    parser.add_argument("--with", nargs="+", dest="names", metavar="NAME", help="these contenders only")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", choices=sorted(_WORK), default="full", help="small: a quick run")
    parser.add_argument("--keep", action="store_true", help="leave what was made to be removed by a later run")
    parser.add_argument(
        "--write",
        action="store_true",
        help="write what was measured into bench/RESULTS.md, as a whole run always does; with --size small into .bench/RESULTS.md",
    )
    asked = parser.parse_args()
    asked.whole = asked.size == "full" and not asked.only and not asked.names
    asked.only = [
        what
        for what in _KINDS
        if what in (asked.only or set(_KINDS) - {_OPT_IN}) or (asked.million and not asked.only and what == _OPT_IN)
    ]
    return asked


@contextmanager
def _alone() -> Iterator[None]:
    """Two runs at once would measure each other, and the first to end would remove what the other has made."""
    _PLACE.mkdir(exist_ok=True)
    with (_PLACE / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit("bench: another run is at work in .bench")
        yield


def _fresh_place() -> Bench:
    """A folder that no earlier run has used; on ext4 its folders are spread over the disk, away from what was just deleted."""
    turns = _PLACE / f"turns-{time.time_ns() // 10**6}"
    turns.mkdir(parents=True)
    subprocess.run(["chattr", "+T", str(turns)], check=False, capture_output=True)
    return Bench(_PLACE, turns, 1)


def main() -> int:
    """Run what the command line asks for."""
    asked = _arguments()
    with _alone():
        return _run(asked)


def _run(asked: argparse.Namespace) -> int:
    results = Results()
    missing = [text for one in CONTENDERS if (text := one.missing())]
    for text in missing:
        print(f"skipped {text}")
    chosen = tuple(one for one in CONTENDERS if not one.missing() and (not asked.names or one.name in asked.names))
    bench = replace(_fresh_place(), rounds=asked.rounds)
    begun = time.monotonic()
    try:
        for what in asked.only:
            print(f"--- {what}", flush=True)
            _measure(what, bench, asked, chosen, results)
            if asked.write or asked.whole:
                path = _RESULTS if asked.size == "full" else _PLACE / "RESULTS.md"
                path.write_text(results.text(_PLACE, missing, path.read_text() if path.exists() else ""))
        print(f"\n{time.monotonic() - begun:.0f} s in all\n\n{results.text(_PLACE, missing)}")
    finally:
        for old in [] if asked.keep else [*_PLACE.glob("turns*"), _PLACE / "server"]:
            shutil.rmtree(old, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
