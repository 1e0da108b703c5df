"""Verify and repair of versions in packs: each kind of damage is found, named, and put right where that can be done."""

from __future__ import annotations

import random
import shutil
from typing import TYPE_CHECKING

import pytest

import holdfast
from holdfast.catalog.bucket import BucketCatalog
from holdfast.clock import SystemClock
from holdfast.config import load
from holdfast.errors import IntegrityError
from holdfast.formats.records import CondemnedRecord, encode, join_names
from holdfast.maintain import repair, verify, verify_cached
from holdfast.store.memory import MemoryStore
from holdfast.wiring import open_on
from tests.e2e.driver import flat, lay

if TYPE_CHECKING:
    from pathlib import Path


def content(seed: int) -> dict[str, bytes]:
    """Small files, one in the page, and a large one of several chunks."""
    made = random.Random(seed)
    files = {f"dir{i % 3}/file{i:03}.bin": made.randbytes(2000) for i in range(120)}
    return files | {"tiny": b"tiny", "large.bin": made.randbytes(3_000_000)}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A store with two versions of one asset in packs, of which the second shares most with the first."""
    for name in ("store", "assets"):
        (tmp_path / name).mkdir()
    source = lay(tmp_path / "source", content(1))
    repository = open_at(tmp_path)
    assert repository.push(source, "n/a").layout == "packs"
    (source / "dir1/file001.bin").write_bytes(b"changed" * 100)
    repository.push(source, "n/a")
    return tmp_path


def open_at(place: Path):
    """The store, with the one cache."""
    return holdfast.open((place / "store").as_uri(), assets_dir=place / "assets")


def objects(place: Path, kind: str) -> list[Path]:
    """The packs or pages objects, the largest first."""
    found = [path for path in (place / "store/.holdfast" / kind).rglob("*") if path.is_file()]
    return sorted(found, key=lambda path: -path.stat().st_size)


def damage(path: Path, how: str) -> None:
    """Spoil an object."""
    data = bytearray(path.read_bytes())
    if how == "deleted":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(data[: len(data) // 2])
    else:
        data[len(data) // 3] ^= 1
        path.write_bytes(data)


def bad(findings) -> dict[str, str]:
    """What is not in order, by subject."""
    return {finding.subject: finding.message for finding in findings if not finding.ok}


def test_verify__in_order(place: Path) -> None:
    """Versions in packs are verified by root, pages and tables, and --deep by every byte of every chunk and file."""
    repository = open_at(place)
    assert [f.message for f in verify(repository)] == ["122 files in packs, pages and sizes checked"] * 2
    assert [f.message for f in verify(repository, deep=True)] == ["122 files in packs, every byte checked"] * 2


def test_verify__unlisted_versions(place: Path) -> None:
    """A version that is in no list is verified like any other; one that was removed is not."""
    repository = open_at(place)
    lay(place / "other", {"x.bin": b"x" * 5000})
    repository.push(place / "other", "n/a", version="7.0", listed=False)
    repository.remove("n/a:0.0")
    assert [finding.subject for finding in verify(repository)] == ["n/a:0.1", "n/a:7.0"]
    (place / "store/n/a/7.0").unlink()
    assert set(bad(verify(repository))) == {"n/a:7.0"}


@pytest.mark.parametrize("how", ["deleted", "truncated", "flipped"])
@pytest.mark.parametrize("kind", ["packs", "pages", "root"])
def test_verify__names_what_is_damaged(place: Path, kind: str, how: str) -> None:
    """A pack, pages object or root that is deleted, truncated or has a flipped bit is named by a deep verify, with its versions."""
    path = place / "store/n/a/0.0" if kind == "root" else objects(place, kind)[0]
    damage(path, how)
    key = path.relative_to(place / "store").as_posix()
    found = bad(verify(open_at(place), deep=True))
    assert len(found) == (2 if kind == "packs" else 1)  # so small a tree has one page, which both have for themselves
    assert all(key in message for message in found.values())
    quick = bad(verify(open_at(place)))
    assert set(quick) == (set() if (kind, how) == ("packs", "flipped") else set(found))
    if kind == "packs":
        assert "need it, first 'dir" in found["n/a:0.0"]


def test_verify__swapped_pack(place: Path) -> None:
    """A pack that was swapped for another is found without --deep."""
    one, other = objects(place, "packs")[:2]
    shutil.copy(other, one)
    assert set(bad(verify(open_at(place)))) == {"n/a:0.0", "n/a:0.1"}


def test_verify__deep_reads_each_byte_once(place: Path) -> None:
    """A deep verify reads every byte of a store once, however many versions need it."""
    read: list[int] = []

    class Counting(MemoryStore):
        def get_range(self, key, start, length, **more):
            found = super().get_range(key, start, length, **more)
            read.append(len(found.data))
            return found

    store = Counting("counting")
    for path in (place / "store").rglob("*"):
        if path.is_file() and "/gen/" not in str(path):
            store.put(path.relative_to(place / "store").as_posix(), path.read_bytes())
    repository = open_on(store, load({"assets_dir": place / "assets"}))
    assert not bad(verify(repository, deep=True))
    whole = sum(info.size for prefix in (".holdfast/packs", ".holdfast/pages") for info in store.list(prefix))
    assert sum(read) == whole


def test_verify_cached__of_packs(place: Path) -> None:
    """A copy of a version in packs is verified without a store, and the file that changed is named."""
    repository = open_at(place)
    copy = repository.fetch("n/a:0.1")
    shutil.rmtree(place / "store")
    assert verify_cached(repository.assets, "n/a", "0.1", repository.state).ok
    (copy / "dir2/file002.bin").write_bytes(b"mine")
    finding = verify_cached(repository.assets, "n/a", "0.1", repository.state)
    assert (finding.state, "'dir2/file002.bin'" in finding.message) == ("integrity", True)
    assert verify_cached(repository.assets, "n/a", "0.1").state == "integrity"


@pytest.mark.parametrize("how", ["deleted", "truncated", "flipped"])
@pytest.mark.parametrize("kind", ["pages", "root"])
def test_repair__puts_back_what_is_known_here(place: Path, kind: str, how: str, tmp_path: Path) -> None:
    """A root or pages object that is lost is put back from the manifest on this machine, as the bytes that it was."""
    path = place / "store/n/a/0.0" if kind == "root" else objects(place, kind)[0]
    before = path.read_bytes()
    damage(path, how)
    repository = open_at(place)
    assert {f.state for f in repair(repository, "n/a", dry_run=True)} == {"repaired"}
    assert bad(verify(repository, deep=True))
    assert not bad(repair(repository, "n/a"))
    assert path.read_bytes() == before
    assert not bad(verify(repository, deep=True))


def test_repair__root_of_another_program_stays(place: Path) -> None:
    """What lies where the root was and is no root of ours is not written over."""
    (place / "store/n/a/0.0").write_bytes(b"modelkit's file")
    assert set(bad(repair(open_at(place), "n/a"))) == {"n/a:0.0"}
    assert (place / "store/n/a/0.0").read_bytes() == b"modelkit's file"


def test_repair__lost_pack_is_reported(place: Path) -> None:
    """A lost pack is reported with each version that needs it and the files that are gone; nothing is changed."""
    path = objects(place, "packs")[0]
    path.unlink()
    found = bad(repair(open_at(place), "n/a"))
    assert set(found) == {"n/a:0.0", "n/a:0.1"}
    assert path.name in found["n/a:0.0"]
    assert "files need it" in found["n/a:0.0"]


def test_repair__lists_a_whole_version_in_packs_only(place: Path) -> None:
    """An unlisted version in packs is listed if it is whole, and left alone if it lacks a pack, or one may be collected."""
    repository = open_at(place)
    source = lay(place / "more", {"new.bin": random.Random(9).randbytes(5000)})
    repository.push(source, "n/b", listed=False)
    catalog = BucketCatalog(repository.store, SystemClock(), "eve")
    key = "n/b/0.0.meta"
    repository.store.put(key, bytes(repository.store.get(key).data).replace(b',"listed":false', b""))
    pack = max(objects(place, "packs"), key=lambda path: path.stat().st_mtime)
    data = pack.read_bytes()
    pack.unlink()
    assert "n/b:0.0" in bad(repair(repository, "n/b"))
    assert catalog.listed("n/b").versions == ()
    pack.write_bytes(data)
    record = CondemnedRecord(1, "2026-01-01T00:00:00+00:00", "eve", packs=join_names([pack.name]))
    repository.store.put(".holdfast/gc/1", encode(record))
    assert not list(repair(repository, "n/b"))
    assert catalog.listed("n/b").versions == ()
    repository.store.delete(".holdfast/gc/1")
    assert "whole, and not listed: listed" in [f.message for f in repair(repository, "n/b")]
    assert catalog.listed("n/b").versions == ("0.0",)


def test_content__of_packs_without_a_fetch(place: Path) -> None:
    """files, cat, show, diff and status answer for versions in packs as for trees."""
    repository = open_at(place)
    assert repository.show("n/a:0.1").files == 122
    assert len([e for e in repository.files("n/a:0.0") if e.kind == "file"]) == 122
    assert [e.path for e in repository.files("n/a:0.0[dir0]")][:2] == ["dir0", "dir0/file000.bin"]
    with repository.read("n/a:0.1[dir1/file001.bin]") as file:
        assert file.read() == b"changed" * 100
    assert repository.diff("n/a:0.0", "n/a:0.1").changed == ("dir1/file001.bin",)
    copy = repository.fetch("n/a:0.1")
    assert not repository.status(copy)
    (copy / "tiny").write_bytes(b"mine")
    assert repository.status(copy).changed == ("tiny",)


def test_push__from_a_fetched_folder_in_packs(place: Path) -> None:
    """A folder laid out by fetch --to is pushed to where it came from, and only what changed is sent."""
    repository = open_at(place)
    repository.fetch("n/a:0.1", to=place / "work")
    (place / "work/tiny").write_bytes(b"other")
    name, version = repository.identify(place / "work")
    pushed = repository.push(place / "work", name, parent=version)
    assert (pushed.spec, pushed.created, repository.show("n/a:0.2").parent) == ("n/a:0.2", True, "0.1")
    assert pushed.uploaded_bytes < 100_000
    assert flat(repository.fetch("n/a:0.2"))["tiny"] == b"other"


def test_fetch__offline_to_a_folder_in_packs(place: Path) -> None:
    """Offline and --to lays out a cached version in packs, or a part of it, and checks it by the manifest that is here."""
    repository = open_at(place)
    cached = repository.fetch("n/a:0.1")
    shutil.rmtree(place / "store")
    found = repository.fetch_info("n/a:0.1", to=place / "copy", offline=True)
    assert (flat(place / "copy"), found.verified) == (flat(cached), "digest")
    repository.fetch("n/a:0.1[dir2]", to=place / "part", offline=True)
    assert set(flat(place / "part")) == {path for path in flat(cached) if path.startswith("dir2/")}
    (cached / "tiny").write_bytes(b"TINY")
    with pytest.raises(IntegrityError, match="'tiny'"):
        repository.fetch_info("n/a:0.1", to=place / "other", offline=True)
