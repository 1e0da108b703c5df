"""Copies between stores: every layout to every other, between a folder, memory and an S3 endpoint, killed, in conflict, damaged."""

from __future__ import annotations

import os
import random
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import holdfast
from holdfast.config import load
from holdfast.errors import AlreadyExistsError, IntegrityError, NotFoundError, UsageError
from holdfast.formats.records import CondemnedRecord, encode, join_names
from holdfast.maintain import verify
from holdfast.replicate import copy, copyable
from holdfast.store.memory import MemoryStore
from holdfast.wiring import open_on
from tests.e2e.driver import flat, lay

if TYPE_CHECKING:
    from pathlib import Path

LAYOUTS = ("packs", "tree", "tar.gz")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory with a large file, small ones, an empty directory, a symlink and a program."""
    made = random.Random(5)
    folder = lay(tmp_path / "source", {f"sub/f{i}": made.randbytes(600) for i in range(20)} | {"a.txt": b"a"})
    (folder / "large").write_bytes(made.randbytes(1_500_000))
    (folder / "empty").mkdir(mode=0o750)
    (folder / "run").write_text("#!")
    (folder / "run").chmod(0o775)
    (folder / "link").symlink_to("sub/f1")
    return folder


def folder_store(tmp_path: Path, name: str):
    """A repository over a folder."""
    (tmp_path / name).mkdir(exist_ok=True)
    (tmp_path / f"{name}-assets").mkdir(exist_ok=True)
    return holdfast.open((tmp_path / name).as_uri(), assets_dir=tmp_path / f"{name}-assets")


def look(path: Path) -> dict[str, tuple]:
    """What a copy is, with modes, times and links."""
    found = {}
    for item in sorted(path.rglob("*")):
        status = item.lstat()
        what = os.readlink(item) if item.is_symlink() else item.read_bytes() if item.is_file() else None
        if item.name != ".SUCCESS":
            times = None if item.is_symlink() else (stat.S_IMODE(status.st_mode), status.st_mtime_ns // 10**9)
            found[str(item.relative_to(path))] = (what, times)
    return found


@pytest.mark.parametrize("wanted", LAYOUTS)
@pytest.mark.parametrize("given", LAYOUTS)
def test_copy__every_layout_to_every_other(tmp_path: Path, source: Path, given: str, wanted: str) -> None:
    """A copy in another layout is the same tree with the same hash, number, date, author, message, labels, parent and inputs."""
    here, there = folder_store(tmp_path, "here"), folder_store(tmp_path, "there")
    here.push(source, "n/a", layout=given)
    (source / "a.txt").write_text("b")
    options = {"message": "m", "labels": {"k": "v"}, "parent": "0.0", "inputs": ["x/y:1.0"]}
    pushed = here.push(source, "n/a", layout=given, **options)
    copied = copy(here, there, "n/a", layout=wanted)
    assert (copied.spec, copied.created, copied.hash, copied.layout) == ("n/a:0.1", True, pushed.hash, wanted)
    one, other = here.show("n/a:0.1"), there.show("n/a:0.1")
    for field in ("hash", "files", "bytes", "pushed", "who", "message", "labels", "parent", "inputs"):
        assert getattr(one, field) == getattr(other, field), field
    assert look(there.fetch("n/a:0.1")) == look(here.fetch("n/a:0.1"))
    assert there.versions("n/a").versions == ("0.1",)
    assert all(finding.ok for finding in verify(there, deep=True))
    again = copy(here, there, "n/a:0.1", layout=wanted)
    assert (again.created, again.uploaded_objects) == (False, 0)
    assert not [*there.state.glob("copies/*")]


def test_copy__of_a_file(tmp_path: Path, source: Path) -> None:
    """A file asset is copied with its own name; it has no other layout."""
    here, there = folder_store(tmp_path, "here"), folder_store(tmp_path, "there")
    here.push(source / "large", "n/f", version="2.0")
    assert copy(here, there, "n/f").layout == "file"
    there.fetch("n/f", to=tmp_path / "out")
    assert (tmp_path / "out/large").read_bytes() == (source / "large").read_bytes()
    with pytest.raises(UsageError):
        copy(here, folder_store(tmp_path, "third"), "n/f", layout="tree")
    here.push(source, "n/d")
    with pytest.raises(UsageError):
        copy(here, there, "n/d", layout="file")
    with pytest.raises(UsageError):
        copy(here, there, "n/d[sub]")
    with pytest.raises(NotFoundError):
        copy(here, there, "n/d:7.7")


@pytest.mark.parametrize("wanted", [None, "packs", "tar.gz"])
def test_copy__of_another_programs_version(tmp_path: Path, wanted: str | None) -> None:
    """A version that modelkit made is copied, or converted, and has a hash from then on."""
    here, there = folder_store(tmp_path, "here"), folder_store(tmp_path, "there")
    store = here.store
    store.put("m/t/1.0/x", b"x")
    store.put("m/t/1.0/y/z", b"z")
    store.put("m/t/1.0/.SUCCESS", b"")
    date = b'{"push_date": "2024-01-01T00:00:00+00:00", "is_directory": true, "contents": '
    store.put("m/t/1.0.meta", date + b'["x", ".SUCCESS", "y/z"]}')
    store.put("m/t.versions", b'{"versions": ["1.0"]}')
    copied = copy(here, there, "m/t", layout=wanted)
    assert (copied.layout, copied.created) == (wanted or "tree", True)
    assert there.show("m/t").pushed == "2024-01-01T00:00:00+00:00"
    assert flat(there.fetch("m/t")) == {"x": b"x", "y/z": b"z"}
    assert not copy(here, there, "m/t", layout=wanted).created


def test_copy__sends_only_what_is_lacking(tmp_path: Path, source: Path) -> None:
    """Of versions in packs only the objects that the target lacks are sent; one that is damaged there is put right."""
    here, there = folder_store(tmp_path, "here"), folder_store(tmp_path, "there")
    here.push(source, "n/a")
    (source / "a.txt").write_text("b" * 3000)
    here.push(source, "n/a")
    first = copy(here, there, "n/a:0.0")
    pack = max((tmp_path / "there/.holdfast/packs").rglob("*"), key=lambda path: path.stat().st_size)
    second = copy(here, there, "n/a:0.1")
    assert first.uploaded_bytes > 10 * second.uploaded_bytes
    names = [p.relative_to(tmp_path / "here") for p in (tmp_path / "here/.holdfast/packs").rglob("*") if p.is_file()]
    assert all((tmp_path / "there" / name).is_file() for name in names)
    os.truncate(pack, 100)
    (source / "a.txt").write_text("c" * 3000)
    here.push(source, "n/a")
    copy(here, there, "n/a:0.2")
    assert all(finding.ok for finding in verify(there, deep=True))


def test_copy__all_with_aliases(tmp_path: Path, source: Path) -> None:
    """Everything is copied oldest first with the aliases, unlisted versions too, and removed ones are not."""
    here, there = folder_store(tmp_path, "here"), folder_store(tmp_path, "there")
    for text in "abcd":
        (source / "a.txt").write_text(text)
        here.push(source, "n/a", alias=f"is-{text}", listed=text != "c")
    here.push(source / "run", "x/f")
    here.alias("n/a", "is-b", None)
    here.remove("n/a:0.1")
    specs = [spec for name in here.catalog.names() for spec in copyable(here, name)]
    assert specs == ["n/a:0.0", "n/a:0.2", "n/a:0.3", "x/f:0.0"]
    for spec in specs:
        assert copy(here, there, spec, aliases=True, dry_run=True).created
    assert list(there.catalog.names()) == []
    for spec in specs:
        copy(here, there, spec, aliases=True)
    known = there.versions("n/a")
    assert (known.versions, known.aliases) == (("0.3", "0.0"), {"is-a": "0.0", "is-c": "0.2", "is-d": "0.3"})
    assert flat(there.fetch("n/a:0.2"))["a.txt"] == b"c"


def test_copy__conflicts(tmp_path: Path, source: Path) -> None:
    """A number that the target has with other content, or has removed, is a conflict that names it; nothing is changed."""
    here, there = folder_store(tmp_path, "here"), folder_store(tmp_path, "there")
    here.push(source, "n/a")
    (source / "a.txt").write_text("other")
    there.push(source, "n/a")
    with pytest.raises(AlreadyExistsError, match=r"has n/a:0\.0 with other content") as caught:
        copy(here, there, "n/a")
    assert caught.value.exit_code == 4
    there.remove("n/a:0.0")
    with pytest.raises(AlreadyExistsError, match="was removed from file:"):
        copy(here, there, "n/a")


@pytest.mark.parametrize("how", ["flipped", "truncated", "longer", "deleted"])
@pytest.mark.parametrize("name", ["a.txt", "large"])
def test_copy__damaged_tree(tmp_path: Path, source: Path, name: str, how: str) -> None:
    """A file of a tree that is damaged where it comes from is named, never stored elsewhere, and no version is made."""
    here, there = folder_store(tmp_path, "here"), folder_store(tmp_path, "there")
    (source / "large").write_bytes(random.Random(1).randbytes(9_000_000))
    here.push(source, "n/a", layout="tree")
    path = tmp_path / "here/n/a/0.0" / name
    data = path.read_bytes()
    path.unlink()
    if how != "deleted":
        path.write_bytes({"flipped": b"\xff" + data[1:], "truncated": data[:-1], "longer": data + b"x"}[how])
    for origin in (here, as_memory(here, tmp_path)):
        with pytest.raises(IntegrityError, match=f"n/a/0.0/{name}"):
            copy(origin, there, "n/a")
        assert not (tmp_path / "there/n/a/0.0" / name).exists()
    assert list(there.catalog.names()) == []


def as_memory(repository, tmp_path: Path):
    """The same objects in a store that gives no files."""
    store = MemoryStore("copy")
    for path in (tmp_path / "here").rglob("*"):
        if path.is_file() and "/gen/" not in str(path):
            store.put(path.relative_to(tmp_path / "here").as_posix(), path.read_bytes())
    return open_on(store, load({"assets_dir": repository.assets.path}))


@pytest.mark.parametrize("what", ["packs", "pages", "root"])
def test_copy__damaged_source(tmp_path: Path, source: Path, what: str) -> None:
    """Bytes that are damaged where they come from are an integrity error that names the object, and no version is made."""
    here, there = folder_store(tmp_path, "here"), folder_store(tmp_path, "there")
    here.push(source, "n/a")
    files = [path for path in (tmp_path / "here/.holdfast" / what).rglob("*") if path.is_file()]
    (path,) = files if what != "root" else [tmp_path / "here/n/a/0.0"]
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match=path.name):
        copy(here, there, "n/a")
    assert list(there.catalog.names()) == []
    assert not [p for p in (tmp_path / "there").rglob(path.name) if what == "packs"]


def test_copy__condemned_at_the_target(tmp_path: Path, source: Path) -> None:
    """What the target has condemned is never written there again: the version is packed anew, with the same hash."""
    here, there = folder_store(tmp_path, "here"), folder_store(tmp_path, "there")
    pushed = here.push(source, "n/a")
    names = [path.name for path in (tmp_path / "here/.holdfast/packs").rglob("*") if path.is_file()]
    record = CondemnedRecord(1, "2026-01-01T00:00:00+00:00", "eve", packs=join_names(names))
    there.store.put(".holdfast/gc/1", encode(record))
    copied = copy(here, there, "n/a")
    assert (copied.hash, copied.layout) == (pushed.hash, "packs")
    assert not {path.name for path in (tmp_path / "there/.holdfast/packs").rglob("*")} & set(names)
    assert look(there.fetch("n/a")) == look(here.fetch("n/a"))


_PROGRAM = """
import sys, holdfast
from holdfast.replicate import copy
here, there = (holdfast.open(url, assets_dir=folder) for url, folder in (sys.argv[1:3], sys.argv[3:5]))
copied = copy(here, there, "n/a:0.1", layout=sys.argv[5] or None)
print(copied.created, copied.version)
"""
POINTS = ("push.opened", "push.pack-written", "push.before-claim", "push.claimed", "push.root-written")
MORE = ("push.data-written", "push.meta-written", "push.listed")


@pytest.mark.parametrize("point", [*POINTS, *MORE])
@pytest.mark.parametrize(("given", "wanted"), [("packs", ""), ("packs", "tree"), ("tree", "")])
def test_copy__killed(tmp_path: Path, source: Path, point: str, given: str, wanted: str) -> None:
    """A copy that was killed at any step is completed under its number when it is run again."""
    here, there = folder_store(tmp_path, "here"), folder_store(tmp_path, "there")
    here.push(source, "n/a")
    (source / "a.txt").write_text("b")
    here.push(source, "n/a", layout=given)
    command = [sys.executable, "-c", _PROGRAM, here.store.url, str(here.assets.path), there.store.url]
    command += [str(there.assets.path), wanted]
    if "tree" in (given, wanted) and point in ("push.pack-written", "push.root-written", "push.condemned-reread"):
        point = "push.data-partly"
    killed = subprocess.run(command, env={**os.environ, "HOLDFAST_FAILPOINT": point}, check=False)
    assert killed.returncode == -9
    listed = [v for name in there.catalog.names() for v in there.versions(name).versions]
    assert listed == (["0.1"] if point == "push.listed" else [])
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ended.stdout.split()[1] == "0.1"
    assert there.versions("n/a").versions == ("0.1",)
    assert look(there.fetch("n/a:0.1")) == look(here.fetch("n/a:0.1"))
    assert all(finding.ok for finding in verify(there, deep=True))


@pytest.mark.parametrize("layout", ["packs", "tree", "tar.gz"])
def test_copy__between_a_folder_memory_and_a_bucket(
    tmp_path: Path, source: Path, localstack, service_environment, layout: str
) -> None:
    """Versions go round from a folder to a bucket, to memory and to another bucket, and come back as they were."""
    service_environment(localstack)
    first = folder_store(tmp_path, "here")
    first.push(source, "n/a", layout=layout)
    first.push(source / "large", "n/f")
    urls = [localstack.fresh_store(), f"memory://copies-{layout}", localstack.fresh_store()]
    stops = [holdfast.open(url, assets_dir=tmp_path / f"assets{i}") for i, url in enumerate(urls)]
    for folder in range(3):
        (tmp_path / f"assets{folder}").mkdir()
    before = first
    for stop in [*stops, folder_store(tmp_path, "last")]:
        for name in ("n/a", "n/f"):
            assert copy(before, stop, name).created
        before = stop
    assert before.show("n/a").hash == first.show("n/a").hash
    assert look(before.fetch("n/a")) == look(first.fetch("n/a"))
    assert before.fetch("n/f").read_bytes() == (source / "large").read_bytes()
    assert all(finding.ok for finding in verify(stops[0], deep=True))
