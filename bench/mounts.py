"""Mounted versions beside rclone mount, s3fs and plain disk: reads, names, deaths; all of one bucket and by one reader (``bench/reading.py``).

Cold is: nothing of it in any cache of the mounter's, and the kernel's caches dropped. "From the cache" is mounted anew with what the
mounter keeps on disk, the kernel's dropped. Needs root: caches are dropped and file systems are mounted.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from bench.contender import ROOT
from bench.packs import PACKS
from bench.runner import take_back_memory
from bench.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from bench.runner import Bench

__all__ = ["measure_mounts"]

_ASSET: Final = str(ROOT / ".venv" / "bin" / "asset")
_READER: Final = str(ROOT / "bench" / "reading.py")
_OURS, _DISK = "holdfast", "plain disk"
_WORKS: Final = {
    "full": (
        Work("mount-large", 1, 1 << 30),
        Work("mount-names", 10_000, 4096, folder=10_000),
        Work("mount-edits", 100_000, 1024),
    ),
    "small": (
        Work("mount-large", 1, 64 << 20),
        Work("mount-names", 1000, 4096, folder=1000),
        Work("mount-edits", 2000, 1024),
    ),
}
_RCLONE: Final = [
    "--read-only",
    "--vfs-cache-mode",
    "full",
    "--dir-cache-time",
    "24h",
    "--attr-timeout",
    "24h",
    "--vfs-cache-max-size",
    "20G",
    "--no-checksum",
]
#: Random reads by each of four readers; seconds of steady reading while workers die.
_READS, _STEADY = 200, 12

Found = dict[str, dict[str, list[float]]]


@dataclass
class _Place:
    """Where this measurement works."""

    bench: Bench
    folder: Path
    bucket: str
    env: dict[str, str]
    found: Found = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))

    @property
    def store(self) -> str:
        return f"s3://{self.bucket}/x"

    def asset(self, *words: str) -> str:
        done = subprocess.run(
            [_ASSET, "--store", self.store, *words], check=False, env=self.env, capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"asset {words[0]}: {done.stderr.strip()[-300:]}")
        return done.stdout

    def note(self, what: str, who: str, value: float) -> None:
        print(f"  {what:28} {who:12} {value:,.1f}", flush=True)
        self.found[what][who].append(value)


def measure_mounts(bench: Bench, size: str, *, million: bool) -> list[str]:
    """The tables; ``million``: of a version of a million files, too."""
    assert bench.server is not None
    folder = bench.turns / "mounts"
    home = folder / "home"
    (home / "assets").mkdir(parents=True)
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "HOLDFAST_ASSETS_DIR": str(home / "assets"),
        **bench.server.env,
    }
    place = _Place(bench, folder, bench.server.bucket("mounts"), env)
    large, names, edits = _WORKS[size]
    for work in (large, names):
        source = work.make(bench.place / "data")
        place.asset("push", str(source), f"bench/{work.name}", "--layout", "packs")
        if work.large or work is names:
            place.asset("push", str(source), f"plain/{work.name}", "--layout", "tree")
    _sequential(place, large)
    _probe(place, large)
    _names(place, names)
    _random(place, large)
    _deaths(place, names)
    _edits(place, edits)
    if million:
        _million(place, PACKS["packs-million"].works[size])
    return [_table(place.found)]


# --- who mounts --------------------------------------------------------------------------------------------------------


@contextmanager
def _ours(place: _Place, work: Work, *, cold: bool) -> Iterator[Path]:
    """A version, by us; ``cold``: on a machine that knows nothing of it."""
    if cold:
        shutil.rmtree(place.folder / "home", ignore_errors=True)
        (place.folder / "home" / "assets").mkdir(parents=True)
    target = place.folder / "ours"
    target.mkdir(exist_ok=True)
    place.asset("mount", f"bench/{work.name}:0.0", str(target))
    try:
        yield target
    finally:
        place.asset("unmount", str(target))


@contextmanager
def _rclone(place: _Place, work: Work, *, cold: bool) -> Iterator[Path]:
    target, cache = place.folder / "rclone", place.folder / "rclone-cache"
    if cold:
        shutil.rmtree(cache, ignore_errors=True)
    env = place.env | {
        "RCLONE_CONFIG": "",
        "RCLONE_CONFIG_X_TYPE": "s3",
        "RCLONE_CONFIG_X_PROVIDER": "Ceph",
        "RCLONE_CONFIG_X_ENV_AUTH": "true",
        "RCLONE_CONFIG_X_ENDPOINT": place.env["AWS_ENDPOINT_URL"],
    }
    source = f"X:{place.bucket}/x/plain/{work.name}/0.0"
    program = str(ROOT / ".services/bench/bin/rclone")
    with _running(target, [program, "mount", source, str(target), "--cache-dir", str(cache), *_RCLONE], env):
        yield target


@contextmanager
def _s3fs(place: _Place, work: Work, *, cold: bool) -> Iterator[Path]:
    target, cache, keys = place.folder / "s3fs", place.folder / "s3fs-cache", place.folder / "s3fs-keys"
    if cold:
        shutil.rmtree(cache, ignore_errors=True)
    keys.touch(0o600)
    keys.write_text(f"{place.env['AWS_ACCESS_KEY_ID']}:{place.env['AWS_SECRET_ACCESS_KEY']}\n")
    options = f"ro,passwd_file={keys},url={place.env['AWS_ENDPOINT_URL']},use_path_request_style,sigv4,use_cache={cache},complement_stat"
    source = f"{place.bucket}:/x/plain/{work.name}/0.0"
    with _running(target, ["s3fs", source, str(target), "-f", "-o", options], place.env):
        yield target


@contextmanager
def _running(target: Path, line: list[str], env: Mapping[str, str]) -> Iterator[None]:
    target.mkdir(exist_ok=True)
    with subprocess.Popen(line, env=dict(env), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 20
            while not target.is_mount():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{line[0]} does not mount")
                time.sleep(0.05)
            yield
        finally:
            subprocess.run(["umount", "-l", str(target)], check=False, capture_output=True)
            process.terminate()


@contextmanager
def _disk(place: _Place, work: Work, *, cold: bool) -> Iterator[Path]:  # noqa: ARG001 - as the others
    yield work.make(place.bench.place / "data")


_MOUNTERS: Final[dict[str, Callable[..., Any]]] = {_OURS: _ours, "rclone": _rclone, "s3fs": _s3fs, _DISK: _disk}


def _forget(what: int = 3, needs: int = 0) -> None:
    """Drop the kernel's caches; who is measured then needs so many bytes of memory, of which the host has none back."""
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as file:
        file.write(str(what))
    take_back_memory(needs)


def _read(deed: str, path: Path, *numbers: int) -> dict[str, float]:
    line = [sys.executable, "-I", "-S", _READER, deed, str(path), *map(str, numbers)]
    found: dict[str, float] = json.loads(
        subprocess.run(line, check=True, capture_output=True, text=True, timeout=600).stdout
    )
    return found


# --- what is measured ----------------------------------------------------------------------------------------------------


def _sequential(place: _Place, work: Work) -> None:
    """One large file, cold, from the cache, and once more."""
    for _ in range(place.bench.rounds):
        for who, mounted in _MOUNTERS.items():
            for cold in (True, False):
                with mounted(place, work, cold=cold) as root:
                    _forget(needs=3 * work.bytes)
                    rate = _read("sequential", root / work.path(0))["rate"] / 1e6
                    place.note("read, MB/s: cold" if cold else "read, MB/s: from the cache", who, rate)
                    if not cold:
                        place.note("read, MB/s: second", who, _read("sequential", root / work.path(0))["rate"] / 1e6)


def _probe(place: _Place, work: Work) -> None:
    """What raw sockets reach there; with half as many bytes, for the gateway's store is in memory, and bounded."""
    size = work.size // 2
    line = [sys.executable, "-m", "bench.probe", "put-parts", f"s3://{place.bucket}/probe", str(size), str(8 << 20)]
    for turn in range(place.bench.rounds + 1):
        done = subprocess.run(line, env=place.env, check=True, capture_output=True, text=True, cwd=ROOT, timeout=300)
        if turn:
            place.note("read, MB/s: cold", "raw probe", size / json.loads(done.stdout)["seconds"] / 1e6)
        line[3] = "get-ranges"


def _names(place: _Place, work: Work) -> None:
    """Ten thousand small files in one folder."""
    for _ in range(place.bench.rounds):
        for who, mounted in _MOUNTERS.items():
            with mounted(place, work, cold=True) as root:
                folder = root / os.path.dirname(work.path(0))
                names = place.folder / "names"
                names.write_text("\n".join(os.path.basename(work.path(number)) for number in range(work.count)))
                link = place.folder / "folder"
                link.unlink(missing_ok=True)
                link.symlink_to(folder)
                names.replace(f"{link}.names")
                for deed, what in (("stat", "stat/s"), ("list", "ls -l, entries/s")):
                    os.listdir(folder)  # what a mounter has to ask the store for is not what is measured
                    _forget(2)
                    place.note(f"{what}: cold", who, _read(deed, link if deed == "stat" else folder)["rate"])
                    place.note(f"{what}: warm", who, _read(deed, link if deed == "stat" else folder)["rate"])
                for what in ("first", "second"):
                    if who in (_OURS, _DISK):
                        place.note(f"open+read+close/s: {what}", who, _read("open", link)["rate"])


def _random(place: _Place, work: Work) -> None:
    for who in (_OURS, "rclone"):
        with _MOUNTERS[who](place, work, cold=True) as root:
            _forget()
            place.note(
                "random 64 KiB reads/s in 1 GiB", who, _read("random", root / work.path(0), 65536, 4, _READS)["rate"]
            )


def _deaths(place: _Place, work: Work) -> None:
    """Workers killed, five times, while files are read."""
    with _ours(place, work, cold=False) as root:
        link = place.folder / "folder"
        link.unlink(missing_ok=True)
        link.symlink_to(root / os.path.dirname(work.path(0)))
        line = [sys.executable, "-I", "-S", _READER, "steady", str(link), str(_STEADY)]
        with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as reader:
            for _ in range(5):
                time.sleep(_STEADY / 6)
                worker = next(
                    one["worker_pid"] for one in json.loads(place.asset("mounts", "--json")) if one["dir"] == str(root)
                )
                os.kill(worker, signal.SIGKILL)
            found = json.loads(reader.communicate()[0])
        place.note("killed five times: errors", _OURS, found["errors"])
        place.note("killed five times: worst ms", _OURS, found["worst"] * 1000)


def _edits(place: _Place, work: Work) -> None:
    """Three files of many changed in a writable mount, and pushed."""
    place.asset("push", str(work.make(place.bench.place / "data")), f"bench/{work.name}", "--layout", "packs")
    target = place.folder / "edited"
    target.mkdir(exist_ok=True)
    place.asset("mount", f"bench/{work.name}:0.0", str(target), "--writable")
    try:
        for _ in range(place.bench.rounds):
            for number in (1, work.count // 2, work.count - 1):
                (target / work.path(number)).write_bytes(os.urandom(2000))
            begun = time.monotonic()
            place.asset("push", str(target))
            place.note("push of 3 edits, s", _OURS, time.monotonic() - begun)
    finally:
        place.asset("unmount", str(target), "--discard")


def _million(place: _Place, work: Work) -> None:
    """A version of very many files: from the command to mount it until the first file is looked at, cold; and what it takes of memory then."""
    place.asset("push", str(work.make(place.bench.place / "data")), f"bench/{work.name}", "--layout", "packs")
    for _ in range(place.bench.rounds):
        _forget()
        begun = time.monotonic()
        with _ours(place, work, cold=True) as root:
            os.stat(root / work.path(work.count // 2))
            place.note(f"mount of {work.count:,} files and a stat, s", _OURS, time.monotonic() - begun)
            mounted = next(one for one in json.loads(place.asset("mounts", "--json")) if one["dir"] == str(root))
            place.note("… its memory, MiB", _OURS, sum(map(_most_memory, _family(mounted["worker_pid"]))) / (1 << 20))


def _family(worker: int) -> list[int]:
    """A worker and its supervisor."""
    with open(f"/proc/{worker}/stat") as file:
        return [worker, int(file.read().rpartition(")")[2].split()[1])]


def _most_memory(pid: int) -> int:
    """The most that a process ever held, in bytes."""
    with open(f"/proc/{pid}/status") as file:
        line = next(line for line in file if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


# --- what is shown -------------------------------------------------------------------------------------------------------

_GOALS: Final = {
    "read, MB/s: cold": "≥ 1.5 x rclone; ≥ 0.4 of the raw probe",
    "read, MB/s: from the cache": "≥ 0.6 (passthrough 0.9) of plain disk",
    "read, MB/s: second": "≥ 0.5 of the page cache",
    "stat/s: cold": "≥ 25,000",
    "stat/s: warm": "≥ 300,000",
    "ls -l, entries/s: cold": "≥ 100,000",
    "open+read+close/s: second": "≥ 100,000",
    "random 64 KiB reads/s in 1 GiB": "≥ 2 x rclone",
    "killed five times: errors": "0",
    "killed five times: worst ms": "< 1,000",
    "push of 3 edits, s": "≤ 2",
    "mount of 1,000,000 files and a stat, s": "≤ 1",
    "… its memory, MiB": "≤ 400",
}


def _table(found: Found) -> str:
    names = [_OURS, "rclone", "s3fs", _DISK, "raw probe"]
    lines = [f"| what | {' | '.join(names)} | goal |", "|---|" + "---:|" * len(names) + "---|"]
    for what, figures in found.items():
        cells = [f"{statistics.median(figures[name]):,.4g}" if name in figures else "" for name in names]
        lines.append(f"| {what} | {' | '.join(cells)} | {_GOALS.get(what, '')} |")
    return "### Mounted versions\n\n" + "\n".join(lines) + "\n"
