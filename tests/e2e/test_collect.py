"""Collecting and pruning in real stores: what goes, when, and what never does; killed at every step."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING

import pytest

import holdfast
from holdfast.catalog.bucket import BucketCatalog
from holdfast.catalog.condemned import read_condemned, read_lists
from holdfast.clock import SystemClock
from holdfast.collect import Collector
from holdfast.config import load
from holdfast.errors import ConflictError, IntegrityError, NotFoundError, UsageError, VersionNotFoundError
from holdfast.failpoint import POINTS
from holdfast.formats import layout as keys
from holdfast.maintain import verify
from holdfast.wiring import open_on
from tests.e2e.driver import flat, lay
from tests.fakes import Call, FaultyStore

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.repository import Repository

COLLECT = [point for point in POINTS if point.startswith("collect.")]
DAY = 86400.0


class Store:
    """A directory store whose objects can be made older, a repository over it, and a source."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("store", "assets", "source", "home"):
            (folder / name).mkdir()
        self.path = folder / "store"
        self.repository = self.open()

    def open(self, assets: str = "assets") -> Repository:
        """A repository with this cache."""
        (self.folder / assets).mkdir(exist_ok=True)
        return holdfast.open(self.path.as_uri(), assets_dir=self.folder / assets)

    def push(self, word: str, name: str = "n/a", layout: str = "packs", **options) -> str:
        """Push a directory of incompressible files that only this word has, as another machine would."""
        dice = Random(word)
        content = {f"{number}.bin": dice.randbytes(9000) for number in range(20)}
        source = lay(self.folder / "sources" / word, content)
        repository = holdfast.open(self.path.as_uri(), assets_dir=self.folder / "assets")
        return repository.push(source, name, layout=layout, **options).version

    def age(self, days: float, *below: str) -> None:
        """Let so many days have passed by the store's clock for everything, or for what lies below these keys."""
        for root in below or ("",):
            for path in (self.path / root).rglob("*"):
                if path.is_file():
                    then = path.stat().st_mtime - days * DAY
                    os.utime(path, (then, then))
        for path in (self.path / keys.ASSETS).glob("*"):
            self._age_record(path, days)

    def _age_record(self, path: Path, days: float) -> None:
        """Removals are dated in the record itself, and its generations are the truth."""
        for each in [path, *(self.path / ".holdfast/gen/.holdfast/assets" / path.name).glob("*")]:
            record = json.loads(each.read_text())
            for stone in record["tombstones"].values():
                stone["at"] = (datetime.fromisoformat(stone["at"]) - timedelta(days=days)).isoformat()
            modified = each.stat().st_mtime
            each.write_text(json.dumps(record))
            os.utime(each, (modified, modified))

    def objects(self) -> set[str]:
        """The names of all packs and pages objects."""
        return {path.name for path in self.path.glob(".holdfast/pa*/*/*")}

    def collect(self, **options):
        """A run."""
        return Collector(self.open()).run(**options)

    def is_whole(self) -> bool:
        """Whether every listed version is, byte for byte."""
        return all(finding.ok for finding in verify(self.open("fresh"), deep=True))


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty one."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home" / "cache"))
    return Store(tmp_path)


def with_garbage(store: Store) -> set[str]:
    """0.0 was removed, and its undo window is over; what only it needed is returned."""
    store.push("first")
    alone = store.objects()
    store.push("second")
    store.repository.remove("n/a:0.0")
    store.age(10)
    return alone


def test_collect__waits_for_the_undo_window_and_the_grace(store: Store) -> None:
    """What a removed version alone needed is condemned when its undo window is over, and deleted after the grace, not before."""
    alone = with_garbage(store)
    store.age(-4)  # six days since
    assert not store.collect().condemned
    store.age(4)
    first = store.collect()
    assert (first.expired, first.condemned.versions, bool(first.deleted)) == (("n/a:0.0",), ("n/a:0.0",), False)
    assert first.condemned.packs + first.condemned.pages == len(alone)
    assert read_condemned(store.repository.store) == alone
    store.age(1.9)
    second = store.collect()
    assert (bool(second.deleted), bool(second.condemned), len(second.waiting)) == (False, False, 1)
    assert alone < store.objects()
    store.age(0.2)
    third = store.collect()
    assert third.deleted.versions == ("n/a:0.0",)
    assert not alone & store.objects()
    assert store.is_whole()
    assert not store.collect().deleted


def test_collect__number_stays_used(store: Store) -> None:
    """A collected version's meta and data are gone; its claim and tombstone stay, so its number is never used again."""
    with_garbage(store)
    store.collect()
    store.age(3)
    store.collect()
    left = {str(path.relative_to(store.path)) for path in store.path.glob("n/a/*")}
    assert left == {"n/a/0.1", "n/a/0.1.meta"}
    assert (store.path / keys.claim_key("n/a", "0.0")).exists()
    with pytest.raises(ConflictError, match="removed"):
        store.push("third", version="0.0")
    with pytest.raises(VersionNotFoundError):
        store.open("other").fetch("n/a:0.0")


@pytest.mark.parametrize("layout", ["tree", "tar.gz"])
def test_collect__other_layouts(store: Store, layout: str) -> None:
    """Removed versions of the other layouts are collected as well, and a single file; no other version's bytes go."""
    store.push("first", layout=layout)
    store.push("second", layout=layout)
    source = store.folder / "file.bin"
    source.write_bytes(b"file")
    store.repository.push(source, "n/f")
    store.repository.remove("n/a:0.0", "n/f:0.0")
    store.age(10)
    store.collect()
    store.age(3)
    assert set(store.collect().deleted.versions) == {"n/a:0.0", "n/f:0.0"}
    left = [str(path.relative_to(store.path)) for path in store.path.glob("n/**/*") if path.is_file()]
    assert not [key for key in left if key.startswith(("n/a/0.0", "n/f/0.0"))]
    assert store.is_whole()


def test_collect__restored_in_time(store: Store) -> None:
    """A version restored before its window was over is needed again, and nothing of it is collected."""
    store.push("first")
    store.repository.remove("n/a:0.0")
    store.age(5)
    store.repository.restore("n/a:0.0")
    store.age(5)
    for _ in range(3):
        assert not store.collect().condemned
        store.age(3)
    assert store.is_whole()


def test_collect__final_cannot_be_restored(store: Store) -> None:
    """Once a collector has said that a removal is final, no restore brings the version back, whatever its clock says."""
    with_garbage(store)
    store.collect()
    store.age(-10)
    with pytest.raises(ConflictError, match="cannot come back"):
        store.repository.restore("n/a:0.0")


def test_collect__unlisted_versions_are_roots(store: Store) -> None:
    """A version that no list names keeps what it needs: nothing is deleted because it is absent from a list."""
    store.push("first")
    for path in [store.path / "n/a.versions", *store.path.glob(".holdfast/gen/n/a.versions/*")]:
        path.unlink()
    store.age(10)
    assert not store.collect().condemned


def test_collect__condemned_names_are_written_anew(store: Store) -> None:
    """A push of content that is condemned writes it under another name, and outlives the deletion of the first."""
    alone = with_garbage(store)
    store.collect()
    version = store.push("first", version="0.7")
    assert version == "0.7"
    store.age(3)
    assert store.collect().deleted
    assert not alone & store.objects()
    assert store.is_whole()


def test_collect__needed_again_stays(store: Store) -> None:
    """What a version came to need after it was condemned stays when its time comes, and no other collector deletes it."""
    alone = with_garbage(store)
    repository = store.repository
    late = repository.catalog.published("n/a", "0.0").data.replace(b'"push":"', b'"push":"f')
    root = bytes(repository.store.get("n/a/0.0").data)
    store.collect()
    repository.store.put("n/a/0.9", root)  # a push that had read the lists just before
    repository.store.put("n/a/0.9.meta", late)
    repository.catalog.enlist("n/a", ["0.9"])
    store.age(3)
    done = store.collect()
    assert (done.kept, done.deleted.packs) == (len(alone), 0)
    assert alone <= store.objects()
    assert store.is_whole()
    repository.remove("n/a:0.9")
    store.age(10)
    assert store.collect().condemned.versions == ("n/a:0.9",)
    store.age(3)
    store.collect()
    assert not alone & store.objects()


def test_collect__spares_a_push_under_way(store: Store) -> None:
    """What is younger than the oldest open push, or than the limit of pushes and a tenth, is not condemned."""
    store.push("first")
    repository, orphan = store.repository, "ab" * 32
    catalog = BucketCatalog(repository.store, SystemClock(), "eve@elsewhere")
    repository.store.put(keys.pack_key(orphan), b"orphan")
    assert not store.collect().condemned
    store.age(1, ".holdfast/packs")
    assert not store.collect().condemned
    store.age(1, ".holdfast/packs")
    push = catalog.open_push("n/b", "e" * 32, datetime.now(UTC) - timedelta(days=3))
    assert not store.collect(dry_run=True).condemned
    catalog.close_push(push)
    assert store.collect(dry_run=True).condemned.packs == 1


def test_collect__waits_for_older_pushes_where_limits_were_lowered(store: Store) -> None:
    """A list is not dealt with while a push is alive that began before it: it goes by the limits that it began with."""
    with_garbage(store)
    repository = store.repository
    catalog = BucketCatalog(repository.store, SystemClock(), "eve@elsewhere")
    push = catalog.open_push("n/b", "e" * 32, datetime.now(UTC) - timedelta(hours=1))
    catalog.configure("push_limit", "60")
    catalog.configure("grace", "120")
    store.collect()
    store.age(0.01)
    assert not store.collect().deleted
    catalog.close_push(push)
    assert store.collect().deleted


@pytest.mark.parametrize("what", ["meta", "root", "another root", "no root", "list", "record", "push", "asset record"])
def test_collect__unreadable(store: Store, what: str) -> None:
    """A meta, root, list or record that cannot be read stops a run before anything is deleted or condemned."""
    with_garbage(store)
    store.push("other", name="n/b")
    store.collect()
    store.age(3)
    before = store.objects()
    spoilt = {
        "meta": store.path / "n/b/0.0.meta",
        "root": store.path / "n/b/0.0",
        "another root": store.path / "n/b/0.0",
        "no root": store.path / "n/b/0.0",
        "list": store.path / keys.gc_key("spoilt"),
        "record": store.path / keys.STORE,
        "push": next((store.path / keys.PUSHES).iterdir()),
        "asset record": store.path / keys.asset_key("n/b"),
    }[what]
    if what == "no root":
        spoilt.unlink()
    elif what == "another root":
        spoilt.write_bytes((store.path / "n/a/0.1").read_bytes())
    else:
        spoilt.write_bytes(b"{")
        for generation in (store.path / ".holdfast/gen" / spoilt.relative_to(store.path)).glob("*"):
            generation.write_bytes(b"{")
    with pytest.raises(IntegrityError):
        store.collect()
    assert store.objects() == before
    assert len(list((store.path / keys.GC).iterdir())) == (2 if what == "list" else 1)


def test_collect__pushed_anew_by_another_program(store: Store) -> None:
    """What another program pushed under a removed number outlives the collection of what was there before."""
    store.push("first", layout="tree")
    store.repository.remove("n/a:0.0")
    store.age(10)
    store.collect()
    store.age(3)
    (store.path / "n/a/0.0/new.txt").write_text("new")
    (store.path / "n/a/0.0.meta").write_text(
        '{"push_date": "2026-01-01T00:00:00+00:00", "is_directory": true, "contents": ["new.txt"]}'
    )
    assert not store.collect().deleted
    assert flat(store.open("other").fetch("n/a:0.0")) == {"new.txt": b"new"}


def test_collect__pushed_anew_while_another_version_goes(store: Store) -> None:
    """What another program pushes under a removed number while the version before it in the list is deleted lives on."""
    for word in ("first", "second"):
        store.push(word, layout="tree")
    for version in ("0.0", "0.1"):
        store.repository.remove(f"n/a:{version}")
    store.age(10)
    store.collect()
    store.age(3)
    begun: list[str] = []

    def push_anew(call: Call) -> None:
        if call.verb == "delete" and not begun:
            begun.append("0.1" if "0.0" in call.key else "0.0")
            (store.path / "n/a" / begun[0] / "new.txt").write_text("new")
            (store.path / f"n/a/{begun[0]}.meta").write_text(
                '{"push_date": "2026-01-01T00:00:00+00:00", "is_directory": true, "contents": ["new.txt"]}'
            )

    between = FaultyStore(store.repository.store, push_anew)
    gone = Collector(open_on(between, load({"assets_dir": store.folder / "assets"}))).run().deleted
    assert len(begun) == 1
    assert gone
    assert flat(store.open("other").fetch(f"n/a:{begun[0]}")) == {"new.txt": b"new"}


def test_collect__sweeps_records_of_old_pushes(store: Store) -> None:
    """Records of pushes that ended longer than the grace ago go; those of living ones stay."""
    store.push("first")
    store.age(1)
    store.collect()
    assert len(list((store.path / keys.PUSHES).iterdir())) == 1
    store.age(2)
    store.collect()
    assert not list((store.path / keys.PUSHES).iterdir())


def test_collect__sweeps_what_was_staged(store: Store) -> None:
    """What a push through a mount staged and nobody took goes once it is older than the grace and its push is over."""
    store.push("first")
    (record,) = (store.path / keys.PUSHES).iterdir()
    staged = [store.path / keys.staged_key(push, "1") for push in (record.name, "f" * 32)]
    for path in staged:
        path.parent.mkdir(parents=True)
        path.write_bytes(b"left")
    store.age(1)
    store.collect()
    assert all(path.exists() for path in staged)
    store.age(2)
    store.collect()
    assert not any(path.exists() for path in staged)


def test_collect__dry_run(store: Store) -> None:
    """A dry run says what a run would do, and changes nothing."""
    with_garbage(store)
    before = sorted(store.path.rglob("*"))
    dry = store.collect(dry_run=True)
    assert [p for p in sorted(store.path.rglob("*")) if "probe" not in p.parts] == [
        p for p in before if "probe" not in p.parts
    ]
    assert dry.condemned == store.collect().condemned
    store.age(3)
    dry = store.collect(dry_run=True)
    assert dry.deleted.versions == ("n/a:0.0",)
    assert dry.deleted == store.collect().deleted


def test_explain(store: Store) -> None:
    """An object's life is explained: needed by which versions, young, garbage, condemned since when and until when, collected."""
    store.push("first")
    (name, *_) = sorted(store.objects())
    store.push("second", alias="keep")
    explain = Collector(store.repository).explain
    assert (explain(name).state, explain(name[:8].upper()).versions) == ("needed", ("n/a:0.0",))
    store.repository.remove("n/a:0.0")
    assert explain(name).state == "needed"  # it can still be restored
    store.age(7.5, ".holdfast/gc")
    store.age(-7.5, ".holdfast/gc")
    assert explain(name).versions == ("n/a:0.0",)
    for path in store.path.glob(".holdfast/assets/*"):
        store._age_record(path, 8)
    assert explain(name).state == "young"
    store.age(10)
    assert explain(name).state == "garbage"
    store.collect()
    found = explain(name)
    assert found.state == "condemned"
    assert found.since is not None
    assert found.until is not None
    assert datetime.fromisoformat(found.until) - datetime.fromisoformat(found.since) == timedelta(days=2)
    store.age(3)
    store.collect()
    assert explain(name).state == "collected"
    with pytest.raises(NotFoundError):
        explain("ee" * 32)
    with pytest.raises(UsageError):
        explain("blake3:")


def test_collect__several_at_once(store: Store) -> None:
    """Several collectors at once do no harm, whatever each of them gets to."""
    alone = with_garbage(store)
    for days in (0.0, 3.0, 3.0):
        store.age(days)
        started = [run(store) for _ in range(4)]
        ended = [process.communicate(timeout=120) for process in started]
        assert [process.returncode for process in started] == [0] * 4, ended
    assert not alone & store.objects()
    assert all(each.done for each in read_lists(store.repository.store))
    assert store.is_whole()


@pytest.mark.parametrize("point", COLLECT)
def test_collect__killed(store: Store, point: str) -> None:
    """A collector killed at any step deletes nothing that is needed, and the next one finishes its work."""
    alone = with_garbage(store)
    store.push("tree", name="n/t", layout="tree")
    store.repository.remove("n/t:0.0")
    store.age(10)
    if point not in ("collect.final", "collect.marked", "collect.condemned"):
        store.collect()
        store.age(3)
    process = run(store, point)
    out, err = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, f"{point} was not reached: {out}{err}"
    assert store.is_whole()
    for _ in range(2):
        store.collect()
        assert store.is_whole()
        store.age(3)
    assert not alone & store.objects()
    assert not list(store.path.glob("n/*/0.0.meta"))
    assert not list(store.path.glob("n/*/0.0/*"))
    assert all(each.done for each in read_lists(store.repository.store))


def run(store: Store, point: str | None = None) -> subprocess.Popen[str]:
    """``asset collect`` as a process, to be killed at this point."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "XDG_CACHE_HOME")}
    env = kept | {"HOLDFAST_STORE": store.path.as_uri()} | ({"HOLDFAST_FAILPOINT": point} if point else {})
    return subprocess.Popen(
        [sys.executable, "-m", "holdfast.cli", "collect", "--json"],
        env=env, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_withdraw__killed(store: Store) -> None:
    """A push that was killed while it withdrew its version leaves one that is found nowhere and can never be restored."""
    program = (
        "import sys, holdfast\n"
        "repository = holdfast.open(sys.argv[1], assets_dir=sys.argv[2])\n"
        "from holdfast.catalog.base import OpenPush\n"
        "from datetime import UTC, datetime\n"
        "found = repository.catalog.published('n/a', '0.0')\n"
        "now = datetime.now(UTC)\n"
        "repository.catalog.withdraw(OpenPush(found.id, 'n/a', now, now), '0.0')\n"
    )
    store.push("first")
    command = [sys.executable, "-c", program, store.path.as_uri(), str(store.folder / "assets")]
    env = dict(os.environ) | {"HOLDFAST_FAILPOINT": "withdraw.tombstone-written"}
    assert subprocess.run(command, env=env, check=False).returncode == -signal.SIGKILL
    with pytest.raises(NotFoundError):
        store.open("other").fetch("n/a:0.0")
    with pytest.raises(ConflictError):
        store.repository.restore("n/a:0.0")
    assert store.push("first") == "0.1"


# prune


def test_prune(store: Store) -> None:
    """A prune removes what no rule keeps, and never what an alias or a hold names; all of it can be restored."""
    for number in range(5):
        store.push(f"{number}", alias="live" if number == 1 else None)
    repository = store.repository
    assert repository.prune("n/a", keep_last=2, dry_run=True) == ["n/a:0.2", "n/a:0.0"]
    assert repository.versions("n/a").versions == ("0.4", "0.3", "0.2", "0.1", "0.0")
    assert repository.prune("n/a", keep_last=2) == ["n/a:0.2", "n/a:0.0"]
    assert repository.versions("n/a").versions == ("0.4", "0.3", "0.1")
    assert repository.prune("n/a", keep_last=2) == []
    repository.restore("n/a:0.2")
    assert repository.prune("n/a", keep_within=60) == []
    store.age(10, "n/a")
    assert repository.prune("n/a", keep_within=11 * DAY, keep_last=1) == []
    assert repository.prune("n/a", keep_within=9 * DAY, keep_last=1) == ["n/a:0.3", "n/a:0.2"]
    assert store.is_whole()


@pytest.mark.parametrize("rules", [{}, {"keep_last": 0}, {"keep_within": -1.0}, {"keep_last": -1, "keep_within": 9.0}])
def test_prune__must_be_told_what_to_keep(store: Store, rules: dict) -> None:
    """A prune without a rule, or with one that keeps nothing, is refused."""
    store.push("first")
    with pytest.raises(UsageError):
        store.repository.prune("n/a", **rules)


def test_prune__unknown_asset(store: Store) -> None:
    """Pruning an asset that is not there is an error."""
    with pytest.raises(NotFoundError):
        store.repository.prune("n/z", keep_last=1)


# the command line


def test_commands(asset, monkeypatch: pytest.MonkeyPatch) -> None:
    """``prune`` and ``collect`` print what they do, as text or as one JSON document, and fail with the documented codes."""
    monkeypatch.setenv("HOME", str(asset.folder / "home"))
    repository = holdfast.open(asset.store, assets_dir=asset.assets_dir)
    for number in range(3):
        (asset.folder / "model" / "config.json").write_bytes(bytes([number]) * 1000)
        repository.push(asset.folder / "model", "nlp/bert", layout="packs")
    assert asset.ok("prune", "nlp/bert", "--keep-last", "1", "--dry-run").lines == [
        "nlp/bert:0.1 would be removed",
        "nlp/bert:0.0 would be removed",
    ]
    time.sleep(1.1)
    pruned = asset.ok("prune", "nlp/bert", "--keep-last", "2", "--keep-within", "1s", "--json").json
    assert pruned == {"removed": ["nlp/bert:0.0"], "dry_run": False}
    assert asset.ok("prune", "nlp/bert", "--keep-within", "2w", "--json").json["removed"] == []
    asset.error(2, "prune", "nlp/bert")
    asset.error(2, "prune", "nlp/bert", "--keep-within", "soon")
    asset.error(2, "prune", "nlp/bert:0.1", "--keep-last", "1")
    asset.error(3, "prune", "nlp/nobody", "--keep-last", "1")
    collected = asset.ok("collect", "--json", "--dry-run").json
    assert collected["dry_run"]
    assert collected["versions"] == 3
    assert set(collected) == {
        "dry_run", "versions", "objects", "expired", "deleted", "kept", "condemned", "waiting"
    }  # fmt: skip
    assert set(collected["deleted"]) == {"versions", "packs", "pages", "bytes"}
    assert "condemned: nothing" in asset.ok("collect").lines
    (pack, *_) = asset.folder.glob("store/.holdfast/packs/*/*")
    explained = asset.ok("collect", "--explain", pack.name, "--json").json
    assert (explained["kind"], explained["state"], explained["hash"]) == ("pack", "needed", pack.name)
    assert any("needed by nlp/bert" in line for line in asset.ok("collect", "--explain", pack.name[:12]).lines)
    asset.error(2, "collect", "--explain", "xyz")
    asset.error(3, "collect", "--explain", "0123456789")
    (asset.folder / "store/nlp/bert/0.1.meta").write_text("{")
    asset.error(5, "collect")


# every kind of store


@pytest.mark.parametrize("kind", ["ceph", "localstack", "azurite", "gcs_double"])
def test_collect__object_stores(request, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In object stores, too, removed versions go after the grace by the store's clock, and nothing else does."""
    service = request.getfixturevalue(kind)
    for name, value in (service.env | {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}).items():
        monkeypatch.setenv(name, value)
    (tmp_path / "assets").mkdir()
    repository = holdfast.open(service.fresh_store(), assets_dir=tmp_path / "assets")
    content = {"kept": b"k" * 1000, "large": Random(kind).randbytes(300_000)}
    for layout in ("packs", "tree"):
        source = lay(tmp_path / layout, content)
        repository.push(source, f"n/{layout}", layout=layout)
        (source / "large").write_bytes(Random(layout).randbytes(300_000))
        repository.push(source, f"n/{layout}", layout=layout)
    for key, value in (("push_limit", "1"), ("grace", "2"), ("undo", "0")):
        repository.catalog.configure(key, value)
    repository.remove("n/packs:0.0", "n/tree:0.0")
    time.sleep(2.5)
    condemned = Collector(repository).run().condemned
    assert condemned.versions == ("n/packs:0.0", "n/tree:0.0")
    assert condemned.packs
    time.sleep(3.5)
    deleted = Collector(repository).run().deleted
    assert deleted == condemned
    there = [info.key for info in repository.store.list("")]
    assert not [key for key in there if key.startswith(("n/packs/0.0", "n/tree/0.0"))]
    assert all(finding.ok for finding in verify(repository, deep=True))
    (tmp_path / "fresh").mkdir()
    fresh = holdfast.open(repository.store.url, assets_dir=tmp_path / "fresh")
    assert flat(fresh.fetch("n/packs")) == flat(fresh.fetch("n/tree")) | {"large": flat(tmp_path / "packs")["large"]}
    assert not Collector(repository).run(dry_run=True).condemned


# all at once


@pytest.mark.slow
def test_collect__beside_pushes_and_removals(store: Store) -> None:
    """While several push what others have just removed, collectors delete, and every version that is not removed stays whole."""
    busy(store, seconds=15)


@pytest.mark.soak
def test_collect__beside_pushes_and_removals_for_long(store: Store) -> None:
    """So for minutes."""
    busy(store, seconds=300)


def busy(store: Store, *, seconds: float) -> None:
    """Three that push, one that removes, two that collect, with limits of seconds; then everything is read."""
    repository = store.repository
    repository.catalog.store_record(create=True)
    for key, value in (("push_limit", "2"), ("grace", "4"), ("undo", "0")):
        repository.catalog.configure(key, value)
    end = time.monotonic() + seconds
    pushed: dict[str, dict[str, bytes]] = {}
    problems: list[BaseException] = []
    deleted: list[int] = []

    def work(number: int, act) -> None:
        mine, dice = store.open(f"cache-{number}"), Random(number)
        try:
            while time.monotonic() < end:
                try:
                    act(mine, dice)
                except (ConflictError, NotFoundError):
                    continue  # too slow for the limit, or removed by another
        except BaseException as error:  # carried to the test's thread
            problems.append(error)

    def push(mine: Repository, dice: Random) -> None:
        words = dice.sample(range(12), 3)
        content = {f"{word}/{part}": Random(f"{word} {part}").randbytes(3000) for word in words for part in range(9)}
        source = lay(store.folder / "sources" / str(dice.random()), content)
        made = mine.push(source, "n/a", layout="packs", unchanged=False)
        pushed[made.version] = content

    def remove(mine: Repository, dice: Random) -> None:
        time.sleep(0.3)
        listed = mine.versions("n/a").versions
        if len(listed) > 3:
            mine.remove(*(f"n/a:{version}" for version in dice.sample(listed[1:], 2)))

    def collect(mine: Repository, dice: Random) -> None:
        time.sleep(dice.random())
        done = Collector(mine).run()
        deleted.append(done.deleted.packs)

    acts = [push, push, push, remove, collect, collect]
    threads = [threading.Thread(target=work, args=(number, act)) for number, act in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    listed = repository.versions("n/a").versions
    fresh = store.open("fresh")
    for version in listed:
        assert flat(fresh.fetch(f"n/a:{version}")) == pushed.get(version, flat(fresh.fetch(f"n/a:{version}")))
    assert store.is_whole()
    assert len(pushed) > 5
    assert sum(deleted) > 0
