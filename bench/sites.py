"""A site over Ceph's gateway: hourly backups, deployments of media, changes between three web servers, mounters that die.

A backup is one of many small files, of which a few changed. A deployment copies images of 20 to 400 KiB into their bucket, and proves them
there; the backup that it reads lies in the bucket's provider and in a folder of this machine, and rclone copies the same images from a folder. The raw
probe sends as many objects of their average size. Images are on a server when they are read there. Needs root: buckets are mounted.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import defaultdict
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from bench.contender import ROOT, Task
from bench.contenders import CONTENDERS
from bench.report import Figure, seconds_text
from bench.stock import added, objects_of, stock
from bench.work import Work, warm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bench.runner import Bench

__all__ = ["measure_sites"]

_ASSET: Final = str(ROOT / ".venv" / "bin" / "asset")
_WEBROOT: Final = {"full": Work("site-webroot", 50_000, 2048), "small": Work("site-webroot", 2000, 2048)}
#: Images, and changes at once between servers.
_IMAGES: Final = {"full": 2000, "small": 200}
_CHANGES: Final = {"full": 1000, "small": 100}
_LEAST, _MOST = 20 << 10, 400 << 10
_EDITED, _SINGLE = 20, 5
_KILLED, _STOPPED = "killed", "stopped"
_ALONE: Final = "copying alone, s"


@dataclass
class _Place:
    """Where this measurement works, and what it found: by what, each round's figure."""

    bench: Bench
    folder: Path
    size: str
    found: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    timed: dict[str, Figure] = field(default_factory=dict)

    def note(self, what: str, value: float) -> None:
        """One figure of one round."""
        print(f"  {what:52} {value:,.3f}", flush=True)
        self.found[what].append(value)

    def measure(self, what: str, command: list[str], env: dict[str, str]) -> str:
        """Run a command, and note the seconds of the whole process; what it printed."""
        figure = self.timed.setdefault(what, Figure())
        os.sync()
        text = self.bench.measure(command, env, figure)
        self.note(f"{what}, s", figure.seconds[-1])
        return text


@dataclass
class _Site:
    """A site's folder: its settings, a machine's home and state."""

    place: _Place
    folder: Path
    name: str
    bucket: str

    def write(self, webroot: Path, text: str = "", *, near: bool = False) -> None:
        """Its settings; ``near``: a second store lies in a folder of this machine."""
        (self.folder / "home").mkdir(parents=True, exist_ok=True)
        stores = [f"s3://{self.bucket}/x"]
        if near:
            (self.folder / "near").mkdir(exist_ok=True)
            stores.append((self.folder / "near").as_uri())
        lines = [
            f'site_url = "{self.name}"',
            f'webroot = "{webroot}"',
            'application = "none"',
            'build = "hourly"',
            f'state = "{self.folder / "state"}"',
            text,
            *(f'[[stores]]\nurl = "{url}"' for url in stores),
        ]
        (self.folder / "site.toml").write_text("\n".join(lines) + "\n")

    @property
    def env(self) -> dict[str, str]:
        """What its programs see."""
        assert self.place.bench.server is not None
        home = self.folder / "home"
        own = {"HOME": str(home), "XDG_STATE_HOME": str(home / "state"), "HOLDFAST_ASSETS_DIR": str(home / "assets")}
        return {"PATH": os.environ["PATH"], **own, **self.place.bench.server.env}

    def line(self, *words: str) -> list[str]:
        """A command on it."""
        return [_ASSET, "site", *words, "--json", "--file", str(self.folder / "site.toml")]

    def run(self, *words: str) -> Any:
        """A command that is not timed, and must end well; its JSON."""
        return json.loads(self.place.bench.run(self.line(*words), self.env)[1])


def measure_sites(bench: Bench, size: str) -> list[str]:
    """The table."""
    assert bench.server is not None
    folder = bench.turns / "sites"
    folder.mkdir(parents=True)
    place = _Place(bench, folder, size)
    _backups(place)
    _deployments(place)
    _servers(place)
    _mounters(place)
    return [_table(place)]


# --- backups -----------------------------------------------------------------------------------------------------------


def _backups(place: _Place) -> None:
    """Twenty files of a webroot are written anew, then it is backed up."""
    assert place.bench.server is not None
    work = _WEBROOT[place.size]
    webroot = work.make(place.bench.place / "data")
    warm(webroot)
    site = _Site(place, place.folder / "backup", "backup.example.com", place.bench.server.bucket("site-backup"))
    site.write(webroot)
    site.run("backup", "--period", "hourly")
    task = Task(work, webroot, site.folder, site.bucket, place.bench.server.env)
    for _ in range(place.bench.rounds):
        time.sleep(1.1)  # versions are named by seconds
        for number in range(_EDITED):
            (webroot / work.path(number * (work.count // _EDITED))).write_bytes(os.urandom(work.size))
        before = stock(task)
        said = place.measure("hourly backup", site.line("backup", "--period", "hourly"), site.env)
        if json.loads(said)["state"] != "created":
            raise RuntimeError(f"no backup was made: {said}")
        place.note("hourly backup, new objects", added(before, stock(task))[0])


# --- deployments ---------------------------------------------------------------------------------------------------------


def _images(place: _Place) -> Path:
    """A webroot of images: as many of each size, between the least and the most, on a scale of ratios; the same sizes always."""
    count = _IMAGES[place.size]
    webroot = place.bench.place / "data" / f"site-images-{count}"
    if webroot.exists():
        return webroot
    making = webroot.with_suffix(".tmp")
    sizes = random.Random(6)
    for number in range(count):
        path = making / "images" / f"{number // 100:02}" / f"photo-{number:04}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(int(_LEAST * (_MOST / _LEAST) ** sizes.random())))
    making.rename(webroot)
    return webroot


def _deployments(place: _Place) -> None:
    """The same images by a deployment, by rclone and by the probe, in turn; each into a bucket that is new."""
    assert place.bench.server is not None
    webroot = _images(place)
    files = {str(path.relative_to(webroot / "images")): path for path in webroot.rglob("*.jpg")}
    mean = sum(path.stat().st_size for path in files.values()) // len(files)
    wanted = {key: hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() for key, path in files.items()}
    store = place.bench.server.bucket("site-deploy")
    rclone = next(one for one in CONTENDERS if one.name == "rclone")
    for number in range(place.bench.rounds):
        site = _Site(place, place.folder / f"deploy-{number}", f"d{number}.example.com", store)
        site.write(webroot, near=True)
        site.run("backup", "--period", "hourly")
        site.write(webroot, 'persist_assets_to_cloud = 1\ndirectories_to_mount = "images"', near=True)
        said = place.measure("deploy", site.line("deploy", "--from", "hourly"), site.env)
        place.note(f"deploy: {_ALONE}", _check(place, json.loads(said)["buckets"][0]["bucket"], wanted))
        if not rclone.missing():
            bucket = place.bench.server.bucket(f"site-rclone-{number}")
            task = Task(Work("site", len(files), mean), webroot / "images", place.folder / "rclone", bucket, site.env)
            place.measure("rclone copy", rclone.push(task), {**rclone.env(task), **site.env})
            place.note(f"rclone copy: {_ALONE}", _check(place, bucket, wanted, "data/"))
        bucket = place.bench.server.bucket(f"site-probe-{number}")
        probe = [sys.executable, "-m", "bench.probe", "put", f"s3://{bucket}/x", str(len(files)), str(mean)]
        text = place.bench.run(probe, {"PYTHONPATH": str(ROOT)})[1]
        place.bench.server.drop(bucket)
        place.note("raw probe, s", json.loads(text)["seconds"])


def _check(place: _Place, bucket: str, wanted: dict[str, str], prefix: str = "") -> float:
    """A bucket holds just the images, whole, by the server's own MD5. Then it goes: the server has room for a few of them.

    Returns the seconds between the first and the last of them, by the server's clock.
    """
    assert place.bench.server is not None
    images = [item for item in objects_of(bucket, place.bench.server.env) if not item["path"].startswith(".holdfast/")]
    if {item["path"]: (item["e_tag"] or "").strip('"') for item in images} != {
        f"{prefix}{key}": tag for key, tag in wanted.items()
    }:
        raise RuntimeError(f"{bucket} does not hold just the images")
    place.bench.server.drop(bucket)
    times = [item["last_modified"] for item in images]
    return (max(times) - min(times)).total_seconds()


# --- servers that sync -----------------------------------------------------------------------------------------------------


def _servers(place: _Place) -> None:
    """Changes on one of three web servers, until both others have them."""
    assert place.bench.server is not None
    store = place.bench.server.bucket("site-sync")
    sites = [_Site(place, place.folder / f"web{number}", "sync.example.com", store) for number in range(3)]
    for site in sites:
        (site.folder / "www").mkdir(parents=True)
        site.write(site.folder / "www", 'sync_webroots = 1\nweb_user = "root"')
    first, *others = (site.folder / "www" for site in sites)
    (first / "index.html").write_text("0")
    with ExitStack() as stack:
        for site in sites:
            stack.enter_context(_watching(site))
        _arrived(others, {"index.html": b"0"})
        for number in range(_SINGLE * place.bench.rounds):
            time.sleep(1 + number / 10)  # at no certain moment of theirs
            place.note("a change is on the others, s", _spread(first, others, {"index.html": b"%d" % (number + 1)}))
        for number in range(place.bench.rounds):
            time.sleep(2)
            changes = {f"part{each % 20}/f{each}": b"%d-%d" % (number, each) for each in range(_CHANGES[place.size])}
            place.note(f"{_CHANGES[place.size]:,} changes are on the others, s", _spread(first, others, changes))


@contextmanager
def _watching(site: _Site) -> Iterator[None]:
    line = [word for word in site.line("sync", "--watch") if word != "--json"]
    with (
        (site.folder / "said").open("w") as said,
        subprocess.Popen(line, env=site.env, stdout=said, stderr=said) as process,
    ):
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)


def _spread(first: Path, others: list[Path], changes: dict[str, bytes]) -> float:
    """Make changes, and wait until they have come; seconds since the first of them."""
    begun = time.monotonic()
    for path, data in changes.items():
        (first / path).parent.mkdir(exist_ok=True)
        (first / path).write_bytes(data)
    _arrived(others, changes)
    return time.monotonic() - begun


def _arrived(others: list[Path], changes: dict[str, bytes]) -> None:
    missing = [(root / path, data) for root in others for path, data in changes.items()]
    deadline = time.monotonic() + 120
    while missing:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{len(missing)} changes did not come")
        time.sleep(0.01)
        missing = [(path, data) for path, data in missing if not _holds(path, data)]


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.read_bytes() == data
    except OSError:
        return False


# --- mounters that die ----------------------------------------------------------------------------------------------------


def _mounters(place: _Place) -> None:
    """The mounter of a web server is killed, and stopped, while its images are read."""
    from tests.sites.attachments import Fleet

    assert place.bench.server is not None
    fleet = Fleet(place.bench.server.service, place.folder / "fleet")
    try:
        fleet.deploy()
        web = fleet.server("web")
        web.site("attach")
        with _Reader(web.webroot / "images" / "logo.png") as reader:
            for what, number in ((_KILLED, signal.SIGKILL), (_STOPPED, signal.SIGSTOP)) * place.bench.rounds:
                (mount,) = web.ok("mounts", "--json").json
                reader.began()
                os.kill(mount["worker_pid"], number)
                back, longest = reader.back()
                place.note(f"a mounter that was {what} is back, s", back)
                place.note(f"a mounter that was {what}: longest wait of a reader, s", longest)
                time.sleep(5)  # patience grows with deaths that follow one another
    finally:
        fleet.end()


class _Reader:
    """Reads a file over and over, in a thread of its own; opening it always asks the mounter."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ends = threading.Event()
        self._reads: list[tuple[float, float, bool]] = []  # begun, ended, whether it was read
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._since = 0.0

    def _run(self) -> None:
        while not self._ends.wait(0.02):
            begun = time.monotonic()
            try:
                good = bool(self._path.read_bytes())
            except OSError:
                good = False
            self._reads.append((begun, time.monotonic(), good))

    def began(self) -> None:
        """The mounter goes now."""
        self._since = time.monotonic()

    def back(self) -> tuple[float, float]:
        """Wait until reads that failed do well again; the seconds until then, and of the longest read."""
        deadline = self._since + 60
        while time.monotonic() < deadline:
            time.sleep(0.05)
            reads = [each for each in list(self._reads) if each[1] > self._since]
            failed = [number for number, each in enumerate(reads) if not each[2] or each[1] - each[0] > 1]
            if failed and (good := next((each for each in reads[failed[0] :] if each[2]), None)):
                return good[1] - self._since, max(end - begun for begun, end, _ in reads)
        raise RuntimeError("the mounter does not come back")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join(60)


# --- what is shown ---------------------------------------------------------------------------------------------------------


def _table(place: _Place) -> str:
    middle = {what: statistics.median(values) for what, values in place.found.items()}
    goals: dict[str, Callable[[], tuple[str, bool]]] = {
        "hourly backup, s": lambda: ("≤ 1", middle["hourly backup, s"] <= 1),
        "hourly backup, new objects": lambda: ("≤ 6", middle["hourly backup, new objects"] <= 6),
        "a change is on the others, s": lambda: ("≤ 2", max(place.found["a change is on the others, s"]) <= 2),
        "1,000 changes are on the others, s": lambda: ("≤ 10", middle["1,000 changes are on the others, s"] <= 10),
        f"a mounter that was {_KILLED} is back, s": lambda: (
            "≤ 5",
            middle[f"a mounter that was {_KILLED} is back, s"] <= 5,
        ),
        f"a mounter that was {_STOPPED} is back, s": lambda: (
            "≤ 15",
            middle[f"a mounter that was {_STOPPED} is back, s"] <= 15,
        ),
    }
    lines = [
        f"### A site: {_WEBROOT[place.size].title} with {_EDITED} changed; {_IMAGES[place.size]:,} images of 20 to 400 KiB; three web servers\n",
        "| what | median | least … most | client CPU s | goal | reach |",
        "|---|---:|---:|---:|---|---|",
    ]
    for what, values in place.found.items():
        goal, reach = goals[what]() if what in goals else ("", None)
        figure = place.timed.get(what.removesuffix(", s"))
        cpu = f"{statistics.median(figure.cpu):.2f}" if figure else ""
        spread = f"{_number(what, min(values))} … {_number(what, max(values))}"
        lines.append(
            f"| {what} | {_number(what, middle[what])} | {spread} | {cpu} | {goal} | "
            f"{'' if reach is None else 'yes' if reach else '**no**'} |"
        )
    for what, peer, least in (
        ("deploy", "rclone copy", 1.5),
        (f"deploy: {_ALONE}", "raw probe", 0.8),
        ("deploy", "raw probe", None),
    ):
        if f"{peer}, s" in middle:
            ratio = middle[f"{peer}, s"] / middle[f"{what.removesuffix(', s')}, s"]
            judged = ("", "") if least is None else (f"≥ {least}", "yes" if ratio >= least else "**no**")
            lines.append(
                f"| {what.removesuffix(', s')}: times as fast as {peer} | {ratio:.2f} | | | {' | '.join(judged)} |"
            )
    note = "rclone copies with `--transfers 32 --checkers 32 --s3-no-check-bucket`; what it sends it does not read back. Every figure but the probe's is of the whole process; what is of the copying alone lies between the first and the last image, by the server's clock. The probe's seconds are of its requests alone."
    return "\n".join(lines) + f"\n\n{note}\n"


def _number(what: str, value: float) -> str:
    return seconds_text(value, unit="") if what.endswith(", s") else f"{value:.0f}"
