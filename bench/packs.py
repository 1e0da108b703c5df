"""The works of issue 3, layout packs: what each contender does in them, and the numbers that ours is to reach."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.contenders import CONTENDERS, assets_of, fetch_ours
from bench.edits import appended, inserted
from bench.goals import Row, fast, memory, objects, quick, stored, within
from bench.report import OURS, table
from bench.runner import there_and_back
from bench.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.contender import Contender
    from bench.report import Figures
    from bench.runner import Bench, Turn

__all__ = ["PACKS", "Packs"]

_SYNCED: Final = "cp, sync"
_MIB: Final = 1 << 20
#: What must stay free on the disk.
_RESERVE: Final = 8 << 30


@dataclass(frozen=True)
class Packs:
    """A work: its data by ``--size``, who takes part, the script of a turn, the goals. ``once``: who has one round only."""

    name: str
    kind: str
    works: dict[str, Work]
    names: tuple[str, ...]
    script: Callable[[Turn], None]
    rows: tuple[Row, ...]
    once: tuple[str, ...] = ()

    def measure(self, bench: Bench, size: str, chosen: Sequence[Contender]) -> tuple[list[str], list[str]]:
        """Do the work; the lines of the goals, and a table for each deed."""
        work = self.works[size]
        if text := self._too_large(bench, work):
            return [f"| {row.work} | {row.goal} | - | not measured: {text} |" for row in self.rows], [
                f"Skipped: {text}.\n"
            ]
        figures = bench.compare(
            work,
            self.kind,
            self._contenders(chosen),
            self.script,
            lambda name, found: name in self.once and name in _seen(found),
        )
        where = "a Ceph object gateway" if self.kind == "bucket" else "a local store"
        tables = [table(f"{work.title}, {where}, layout packs: {deed}", found) for deed, found in figures.items()]
        return [row.line(figures) for row in self.rows], tables

    def _contenders(self, chosen: Sequence[Contender]) -> list[Contender]:
        """Those who take part, each on this kind of store; `cp` copies into a folder even beside a bucket."""
        return [
            replace(one, on=(self.kind,)) if one.name == _SYNCED else one for one in chosen if one.name in self.names
        ]

    def _too_large(self, bench: Bench, work: Work) -> str:
        """Why the disk does not hold everything that the turns make; copied as it is, a file takes a block at least."""
        rounds = bench.rounds if work.keep or not work.large else 1
        copies = 2 * work.bytes * rounds * (len(self.names) - len(self.once))
        need = copies + 2 * work.count * 4096 * len(self.once) + _RESERVE
        free = shutil.disk_usage(bench.place).free
        return f"needs {need >> 30} GiB of disk, {free >> 30} are free" if need > free else ""


def _seen(figures: Figures) -> set[str]:
    return {name for found in figures.values() for name in found}


# --- the scripts of a turn -------------------------------------------------------------------------------------------


def _many(turn: Turn) -> None:
    """Push, push again, fetch; then ten edits and a push."""
    turn.push("first push")
    if turn.one.versions:
        turn.push("unchanged push")
        _expect_nothing_new(turn)
    turn.fetch("fetch")
    turn.check(turn.one.fetched(turn.task) or Path())
    if turn.one.versions:
        with appended(turn.task.work, turn.task.source):
            turn.push("push after 10 edits")
            _check_second(turn)


def _two_large(turn: Turn) -> None:
    """Push and fetch; then 1 MiB more in the middle of one, and a push."""
    turn.push("first push")
    turn.fetch("fetch")
    turn.check(turn.one.fetched(turn.task) or Path())
    if turn.one.versions:
        with inserted(turn.task.work, turn.task.source):
            turn.push("push after insert")
            _check_second(turn)


def _million(turn: Turn) -> None:
    """Push, push again, and fetch one file of them all on a machine that has nothing."""
    turn.push("first push")
    if not turn.ours:
        return
    turn.push("unchanged push")
    _expect_nothing_new(turn)
    path = turn.task.work.path(turn.task.work.count // 2 + 7)
    printed = turn.fetch("fetch of one file", fetch_ours(f"0.0[{path}]")).split("\n")[0]
    if Path(printed).read_bytes() != (turn.task.source / path).read_bytes():
        raise RuntimeError(f"{printed} differs from the source")


def _expect_nothing_new(turn: Turn) -> None:
    if turn.ours and turn.figure.objects[-1]:
        raise RuntimeError(f"{turn.figure.objects[-1]} new objects, though nothing has changed")


def _check_second(turn: Turn) -> None:
    """Ours gives back the changed data; in the first round, outside the clock."""
    if turn.ours and turn.first:
        third = turn.task.on("third")
        turn.bench.run(fetch_ours("0.1"), turn.one.env(third))
        turn.check(assets_of(third, "third") / "0.1")


# --- the works -------------------------------------------------------------------------------------------------------


def _rgw(deed: str, goal: str) -> Row:
    limits = (fast(deed, "modelkit", 10), fast(deed, "s5cmd", 3), fast(deed, "rclone", 3))
    return Row(f"packs-s3-small: {deed}", goal, limits, deed)


def _least(name: str, limit: int, text: str = "≤ 256 MiB") -> Row:
    return Row(f"{name}: most memory in any of these", text, (memory(limit * _MIB),))


_SMALL: Final = Packs(
    "packs-small",
    "folder",
    {
        "full": Work("packs-small", 20_000, 4096, 1000),
        "small": Work("packs-small", 1000, 4096, 50),
    },
    (_SYNCED, "cp", OURS, "restic"),
    _many,
    (
        Row(
            "packs-small: first push",
            "≤ 0.5 x restic, about 0.8 s; ≤ 6 new objects",
            (within("first push", "restic", 0.5), objects("first push", 6)),
            "first push",
        ),
        Row("packs-small: unchanged push", "≤ 0.25 s whole process", (quick("unchanged push", 0.25),)),
        Row(
            "packs-small: push after 10 edits",
            "≤ 0.35 s, ≤ 5 new objects",
            (quick("push after 10 edits", 0.35), objects("push after 10 edits", 5)),
        ),
        Row(
            "packs-small: fetch into an empty cache",
            "≤ 0.4 x restic, ≤ 1.5 x `cp -r` (synced)",
            (within("fetch", "restic", 0.4), within("fetch", _SYNCED, 1.5)),
            "fetch",
        ),
        _least("packs-small", 256),
    ),
)
_LARGE: Final = Packs(
    "packs-large",
    "folder",
    {
        "full": Work("packs-large", 2, 1 << 30, 2, keep=True),
        "small": Work("packs-large", 2, 64 * _MIB, 2, keep=True),
    },
    (_SYNCED, OURS),
    _two_large,
    (
        Row("packs-large: first push", "≤ 1.15 x `cp` (synced)", (within("first push", _SYNCED, 1.15),), "first push"),
        Row("packs-large: fetch", "≤ 1.15 x `cp` (synced)", (within("fetch", _SYNCED, 1.15),), "fetch"),
        Row(
            "packs-large: push after 1 MiB inserted",
            "≤ 1.5 s, ≤ 2 MiB stored",
            (quick("push after insert", 1.5), stored("push after insert", 2 * _MIB)),
        ),
        _least("packs-large", 256),
    ),
)
_MILLION: Final = Packs(
    "packs-million",
    "folder",
    {
        "full": Work("packs-million", 1_000_000, 100, 1000),
        "small": Work("packs-million", 10_000, 100, 100),
    },
    (_SYNCED, OURS),
    _million,
    (
        Row("packs-million: first push", "works", (), "first push"),
        Row("packs-million: unchanged push", "≤ 6 s", (quick("unchanged push", 6),)),
        Row("packs-million: fetch of one file by sub-path", "≤ 0.3 s", (quick("fetch of one file", 0.3),)),
        _least("packs-million", 1024, "≤ 1 GiB"),
    ),
    once=(_SYNCED,),
)
_S3_SMALL: Final = Packs(
    "packs-s3-small",
    "bucket",
    {
        "full": Work("packs-s3-small", 5000, 8192, 100, "packs"),
        "small": Work("packs-s3-small", 500, 8192, 100, "packs"),
    },
    (_SYNCED, OURS, "modelkit", "s5cmd", "rclone"),
    there_and_back,
    (
        _rgw("push", "≥ 10 x modelkit, ≥ 3 x s5cmd and rclone"),
        _rgw("fetch", "≥ 10 x modelkit, ≥ 3 x s5cmd and rclone"),
        _least("packs-s3-small", 256),
    ),
)
_S3_LARGE: Final = Packs(
    "packs-s3-large",
    "bucket",
    {
        "full": Work("packs-s3-large", 1, 1 << 30, 1, "packs"),
        "small": Work("packs-s3-large", 1, 64 * _MIB, 1, "packs"),
    },
    ("raw probe", _SYNCED, OURS),
    there_and_back,
    (
        Row("packs-s3-large: push", "≥ 0.7 of the raw probe", (fast("push", "raw probe", 0.7),), "push"),
        Row("packs-s3-large: fetch, verified", "≥ 0.75 of the raw probe", (fast("fetch", "raw probe", 0.75),), "fetch"),
        _least("packs-s3-large", 256),
    ),
)

#: In the order of the issue's table.
PACKS: Final = {one.name: one for one in (_SMALL, _LARGE, _MILLION, _S3_SMALL, _S3_LARGE)}
assert {name for one in PACKS.values() for name in one.names} <= {one.name for one in CONTENDERS}
