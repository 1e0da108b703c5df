"""The cache keeps to its size while versions are fetched, to the disk's free space, and loses nothing that cannot be fetched again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from holdfast.failpoint import POINTS
from tests import forking
from tests.e2e.driver import Runner, Shop, finished, flat, lay

SIZE = 10_000
NAME = "quota/asset"


def content(number: int) -> dict[str, bytes]:
    return {"a": b"%d" % number * (SIZE - 1000), "sub/b": b"b" * 1000}


class Cache:
    """A store of five versions of one size, each in its own asset, and an assets folder with a limit."""

    def __init__(self, shop: Shop, runner: Runner, assets: Path) -> None:
        self.shop, self.runner, self.assets = shop, runner, assets

    def limit(self, size: int | None) -> None:
        self.runner.env.pop("HOLDFAST_CACHE_MAX_SIZE", None)
        if size is not None:
            self.runner.env["HOLDFAST_CACHE_MAX_SIZE"] = str(size)

    def fetch(self, *numbers: int, code: int = 0, **options) -> list:
        """Each in a process of its own; the answers."""
        steps = [["fetch", f"{NAME}{number}:0.0", options] for number in numbers]
        return [finished(self.runner.start(self.shop.url, self.assets, step), code=code)[-1] for step in steps]

    def age(self, *numbers: int) -> None:
        """Make these the longest unused, in this order."""
        for order, number in enumerate(numbers):
            (record,) = self.assets.glob(f".holdfast/versions/*asset{number}/0.0.json")
            os.utime(record, (1_000_000 + order, 1_000_000 + order))

    @property
    def here(self) -> list[int]:
        return [n for n in range(6) if (self.assets / f"{NAME}{n}" / "0.0" / ".SUCCESS").exists()]

    def asset(self, *args: str, code: int = 0):
        """What the command answers in JSON."""
        words = [*args, "--json", "--assets-dir", self.assets]
        env = self.runner.env | {"HOLDFAST_STORE": self.shop.url}
        done = forking.run("holdfast.cli", words, env=env)
        assert done.returncode == code, done
        return json.loads(done.stdout)


@pytest.fixture
def cache(tmp_path):
    """Five versions of 10,000 bytes in the store, a cache for three."""
    (tmp_path / "store").mkdir()
    shop, runner = Shop((tmp_path / "store").as_uri(), tmp_path), Runner(tmp_path / "home")
    repository = shop.open()
    for number in range(5):
        repository.push(lay(shop.fresh("source"), content(number)), f"{NAME}{number}")
    cache = Cache(shop, runner, shop.fresh("cache"))
    cache.limit(3 * SIZE)
    yield cache
    runner.close()


def test_fetch__longest_unused_go(cache):
    """A fetch beyond `cache.max_size` removes the longest unused versions, and no more of them than it needs."""
    cache.fetch(0, 1, 2)
    cache.age(1, 2, 0)
    cache.fetch(3)
    assert cache.here == [0, 2, 3]
    cache.fetch(2)  # used again
    cache.fetch(4)
    assert cache.here == [2, 3, 4]
    assert flat(cache.assets / f"{NAME}4" / "0.0") == content(4)
    assert list(cache.assets.glob(".holdfast/doomed/*")) == []


def test_fetch__exact_fit(cache):
    """What just fits removes nothing."""
    cache.fetch(0, 1, 2)
    assert cache.here == [0, 1, 2]


def test_fetch__pinned_stay(cache):
    """Pinned versions stay, though they are the longest unused."""
    cache.fetch(0, 1, 2)
    cache.age(0, 1, 2)
    assert cache.asset("cache", "pin", f"{NAME}0") == {"pinned": [f"{NAME}0:0.0"], "dry_run": False}
    cache.fetch(3)
    assert cache.here == [0, 2, 3]


def test_fetch__cannot_fit(cache):
    """A fetch that cannot fit, whatever is removed, fails before it writes, and nothing is removed."""
    cache.fetch(0, 1)
    cache.asset("cache", "pin", f"{NAME}0", f"{NAME}1")
    cache.limit(2 * SIZE + 10)
    (answer,) = cache.fetch(2, code=1)
    assert answer["error"] == "local"
    assert "pinned" in answer["hint"]
    cache.limit(SIZE - 1)
    (answer,) = cache.fetch(2, code=1)
    assert "more than cache.max_size" in answer["message"]
    assert cache.here == [0, 1]
    assert [
        path for path in cache.assets.rglob("*asset2*") if "leases" not in str(path) and "locks" not in str(path)
    ] == []


def test_fetch__own_work_stays(cache):
    """A version that was never pushed does not go for the quota, marked or not, nor does one that was changed since it was fetched."""
    for name, marker in (("mine/marked", True), ("mine/plain", False)):
        own = lay(cache.assets / name / "0.1", {"work": b"w" * SIZE})
        if marker:
            (own / ".SUCCESS").touch()
    cache.fetch(0, 1, 2)
    cache.age(0, 1, 2)
    (cache.assets / f"{NAME}0/0.0/a").write_bytes(b"my work")
    (cache.assets / f"{NAME}1/0.0/notes.txt").write_text("my notes")
    cache.fetch(3)
    assert cache.here == [0, 1, 3]
    assert (cache.assets / f"{NAME}0/0.0/a").read_bytes() == b"my work"
    assert (cache.assets / "mine/marked/0.1/work").exists()
    assert (cache.assets / "mine/plain/0.1/work").exists()


def test_fetch__touched_but_equal_goes(cache):
    """A copy whose files were only copied or given other rights is as it was fetched."""
    for layout in ("tree", "file", "packs"):
        source = lay(cache.shop.fresh("source"), content(7))
        cache.shop.open().push(source / "a" if layout == "file" else source, f"quota/{layout}", layout=layout)
        path = Path(
            finished(cache.runner.start(cache.shop.url, cache.assets, ["fetch", f"quota/{layout}"]))[-1]["path"]
        )
        time.sleep(0.05)
        os.utime(path if layout == "file" else path / "a")
    value = cache.asset("cache", "prune", "--max-size", "0")
    assert (value["removed"], value["kept"]) == ([f"quota/{layout}:0.0" for layout in ("tree", "file", "packs")], [])


def test_fetch__in_use_stay(cache):
    """A version that a running process has in use stays, for fetches and for `cache prune`, and goes once that process is gone."""
    cache.fetch(0, 1, 2)
    cache.age(0, 1, 2)
    code = (
        "import sys; from holdfast.cache.assets import AssetsDir\n"
        f"with AssetsDir(sys.argv[1]).leases.hold({NAME!r} + '0', '0.0'):\n    print('ok', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(cache.assets)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as user:
        assert user.stdout.readline() == "ok\n"
        cache.fetch(3)
        assert cache.here == [0, 2, 3]
        assert cache.asset("cache", "prune", f"{NAME}0:0.0", code=1)["error"]["kind"] == "busy"
        assert [entry["in_use"] for entry in cache.asset("cache", "list")] == [True, False, False]
        user.kill()
        user.communicate()
    cache.fetch(4)
    assert cache.here == [2, 3, 4]


def test_fetch__several_specs(cache):
    """Of several specs in one command none makes room for itself at the cost of another."""
    cache.fetch(0)
    specs = [f"{NAME}{number}:0.0" for number in (1, 2, 3)]
    assert [Path(found["path"]).exists() for found in cache.asset("fetch", *specs)] == [True] * 3
    cache.limit(2 * SIZE)
    found = cache.asset("fetch", *specs, f"{NAME}4:0.0", code=1)
    assert [("error" in answer) for answer in found] == [False, False, False, True]
    assert all(Path(answer["path"]).exists() for answer in found[:3])


def test_fetch__force_replaces(cache):
    """Fetching a version anew needs room for it once, not for its old copy too."""
    cache.fetch(0, 1, 2)
    cache.fetch(0, force=True)
    assert cache.here == [0, 1, 2]


@pytest.mark.parametrize("limited", [True, False])
def test_fetch__disk(cache, limited):
    """A fetch leaves the disk the free space that `cache.keep_free` says; without a quota nothing is removed for it."""
    cache.limit(3 * SIZE if limited else None)
    cache.fetch(0)
    cache.runner.env["HOLDFAST_CACHE_KEEP_FREE"] = "1000T"
    (answer,) = cache.fetch(1, code=1)
    assert answer["error"] == "local"
    assert "cache.keep_free" in answer["hint"]
    assert cache.here == [0]
    assert not list(cache.assets.rglob("*.part"))


def test_parts__count_and_go(cache):
    """Parts that were fetched alone count, are listed, and go as whole versions do."""
    cache.shop.open().push(lay(cache.shop.fresh("source"), content(5)), "quota/tree", layout="tree")
    (found,) = finished(cache.runner.start(cache.shop.url, cache.assets, ["fetch", "quota/tree:0.0[a]"]))
    part = cache.assets / ".holdfast/parts"
    assert Path(found["path"]).is_relative_to(part)
    (entry,) = cache.asset("cache", "list")
    assert (entry["kind"], entry["bytes"]) == ("part", SIZE - 1000)
    cache.fetch(0, 1, 2)
    assert not Path(found["path"]).exists()
    assert cache.here == [0, 1, 2]
    assert [path.name for path in part.rglob("*") if path.is_file()] == []


def test_prune__leftovers(cache):
    """`cache prune` cleans up what killed commands left once nobody goes on with it, and never what was moved aside."""
    cache.runner.kill(cache.shop.url, cache.assets, ["fetch", f"{NAME}0:0.0"], failpoint="fetch.verified")
    (left,) = cache.assets.rglob("*.part")
    aside = cache.assets / ".holdfast/aside/n/1.0.1"
    aside.mkdir(parents=True)
    assert cache.asset("cache", "prune", "--max-size", "1G")["leftovers"] == []
    old = time.time() - 2 * 86_400
    for path in (*left.rglob("*"), left):
        os.utime(path, (old, old))
    assert cache.asset("cache", "prune", "--max-size", "1G", "--dry-run")["leftovers"] == [str(left)]
    assert cache.asset("cache", "prune", "--max-size", "1G")["leftovers"] == [str(left)]
    assert (left.exists(), aside.exists()) == (False, True)


@pytest.mark.parametrize("point", [point for point in POINTS if point.startswith("evict.")])
def test_evict__killed(cache, point):
    """An eviction that is killed at any step leaves no half version, and the next one cleans up and goes on."""
    cache.fetch(0, 1, 2)
    cache.age(0, 1, 2)
    cache.runner.kill(cache.shop.url, cache.assets, ["fetch", f"{NAME}3:0.0"], failpoint=point)
    for number in cache.here:
        assert flat(cache.assets / f"{NAME}{number}" / "0.0") == content(number)
    cache.fetch(3, 4)
    assert {3, 4} <= set(cache.here)
    assert len(cache.here) <= 3
    cache.fetch(0)
    assert flat(cache.assets / f"{NAME}0/0.0") == content(0)
    cache.asset("cache", "prune")
    assert list(cache.assets.glob(".holdfast/doomed/*")) == []


def test_fetch__beside_each_other(cache):
    """Fetches of different versions at once keep to the quota together, and all of them succeed."""
    cache.limit(2 * SIZE)
    running = [cache.runner.start(cache.shop.url, cache.assets, ["fetch", f"{NAME}{n}:0.0"]) for n in range(5)]
    most = 0
    while any(process.poll() is None for process in running):
        most = max(most, len(cache.here))
        time.sleep(0.002)
    assert [finished(process)[-1]["from_cache"] for process in running] == [False] * 5
    assert most <= 3
    assert len(cache.here) <= 2


CROWD = 80
#: What a file system does whose ``flock`` succeeds and locks nothing (huggingface_hub#4306).
LIAR = "import fcntl\nfcntl.flock = lambda *_: None\n"


def lying(cache: Cache) -> None:
    """Let ``flock`` lock nothing in every process that is started."""
    liar = cache.shop.fresh("liar")
    (liar / "sitecustomize.py").write_text(LIAR)
    cache.runner.env["PYTHONPATH"] = str(liar)
    probe = [sys.executable, "-c", "import fcntl; print(fcntl.flock(None))"]
    assert subprocess.run(probe, env=cache.runner.env, capture_output=True, text=True, check=True).stdout == "None\n"


@pytest.mark.parametrize("flock", ["works", "locks nothing"])
def test_fetch__eighty_at_once(cache, flock):
    """Eighty processes that fetch one cold asset at once download it once, even where `flock` locks nothing, and stay in the quota."""
    large = {"weights": os.urandom(8 << 20), **{f"small/{n}": b"%d" % n * 100 for n in range(50)}}
    size = sum(map(len, large.values()))
    cache.shop.open().push(lay(cache.shop.fresh("source"), large), "quota/crowd")
    cache.fetch(0, 1)
    cache.limit(size + SIZE)
    if flock != "works":
        lying(cache)
    gate = ["wait", cache.shop.fresh("gate"), CROWD]
    running = [
        cache.runner.start(cache.shop.url, cache.assets, gate, ["fetch", "quota/crowd:0.0"]) for _ in range(CROWD)
    ]
    answers = [finished(process)[-1] for process in running]
    assert {answer["path"] for answer in answers} == {str(cache.assets / "quota/crowd/0.0")}
    assert flat(cache.assets / "quota/crowd/0.0") == large
    assert sum(answer["downloaded_bytes"] for answer in answers) <= 1.1 * size
    assert sum(entry["bytes"] for entry in cache.asset("cache", "list")) <= size + SIZE
    assert not list(cache.assets.rglob("*.part"))
    assert [*cache.assets.glob(".holdfast/locks/*/.*.queue/*"), *cache.assets.glob(".holdfast/leases/*/*")] == []


#: Fetches at random, and whatever it then has in use it finds whole, until it has done so often enough.
READER = """
import random, sys
from pathlib import Path
import holdfast
from tests.e2e.driver import flat
from tests.e2e.test_cache_quota import NAME, content
store, assets, seed = sys.argv[1:]
repository, dice, seen = holdfast.open(store, assets_dir=assets), random.Random(seed), 0
while seen < 25:
    number = dice.randrange(5)
    repository.fetch(f"{NAME}{number}:0.0")
    with repository.assets.leases.hold(f"{NAME}{number}", "0.0"):
        if repository.assets.is_complete(f"{NAME}{number}", "0.0"):
            assert flat(repository.assets.path_of(f"{NAME}{number}", "0.0")) == content(number)
            seen += 1
"""


@pytest.mark.parametrize("flock", ["works", "locks nothing"])
def test_evict__beside_readers(cache, flock):
    """What a process has in use stays whole while others fetch and evict without a pause."""
    cache.limit(4 * SIZE)
    if flock != "works":
        lying(cache)
    env = cache.runner.env | {"PYTHONPATH": os.pathsep.join([cache.runner.env.get("PYTHONPATH", ""), *sys.path])}
    command = [sys.executable, "-c", READER, cache.shop.url, str(cache.assets)]
    readers = [subprocess.Popen([*command, str(n)], env=env, stderr=subprocess.PIPE, text=True) for n in range(3)]
    errors = [reader.communicate(timeout=120)[1] for reader in readers]
    assert [reader.returncode for reader in readers] == [0] * 3, errors
    assert len(cache.here) <= 4
    for number in cache.here:
        assert flat(cache.assets / f"{NAME}{number}/0.0") == content(number)


def test_fetch__killed_without_flock(cache):
    """Where `flock` locks nothing a fetch that was killed is taken over, too, and only what it had not done is downloaded."""
    lying(cache)
    steps = ["fetch", f"{NAME}0:0.0"]
    for _ in range(3):
        cache.runner.kill(cache.shop.url, cache.assets, steps, failpoint="fetch.verified")
    running = [cache.runner.start(cache.shop.url, cache.assets, steps) for _ in range(5)]
    answers = [finished(process)[-1] for process in running]
    assert [answer["from_cache"] for answer in answers].count(False) == 1
    assert flat(cache.assets / f"{NAME}0/0.0") == content(0)
    assert not list(cache.assets.rglob("*.part"))
