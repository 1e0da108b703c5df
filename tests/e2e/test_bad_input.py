"""Bad input, row by row of the table in the first issue: what happens, what is written, and that the good old copy stays.

Rows about credentials and endpoints are in the tests of the stores.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import zstandard

import holdfast
from holdfast.errors import (
    AssetNotFoundError,
    BusyError,
    HoldfastError,
    IntegrityError,
    InvalidNameError,
    InvalidSpecError,
    InvalidVersionError,
    LocalError,
    SourceChangedError,
    UsageError,
    VersionNotFoundError,
)
from holdfast.model.digest import digest_of
from tests.e2e.driver import Runner, content_of, finished, flat, lay
from tests.server.conftest import small_disk

ZERO = digest_of(b"")


class Place:
    """A directory store with asset ``n`` (0.0, 0.1, 1.0; alias ``stable``), and everything around it that must not change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "store"
        self.assets = folder / "assets"
        self.outside = folder / "outside"
        for path in (self.store, self.assets, self.outside):
            path.mkdir()
        (self.outside / "precious").write_text("precious")
        self.repository = holdfast.open(self.store.as_uri(), assets_dir=self.assets)
        for number, version in enumerate(("0.0", "0.1", "1.0")):
            source = lay(folder / f"source{number}", content_of(version))
            self.repository.push(source, "n", version=version, layout="tree")
        self.repository.alias("n", "stable", "0.1")

    def around(self) -> dict[str, bytes]:
        """Everything below the folder but the assets folder: path and content."""
        found = {}
        for path in self.folder.rglob("*"):
            if not path.is_relative_to(self.assets) and path.is_file():
                found[str(path)] = path.read_bytes()
        return found

    def hostile(self, part: dict, version: str = "0.0", **seeds) -> None:
        """Replace our part of a version's meta."""
        path = self.store / "n" / f"{version}.meta"
        meta = json.loads(path.read_bytes())
        meta["holdfast"] |= part
        meta.pop("hash", None)
        path.write_bytes(json.dumps(meta | seeds).encode())

    def refused(self, spec: str = "n:0.0", error=IntegrityError, **options) -> HoldfastError:
        """The fetch is refused, writes nothing outside the assets folder, and leaves nothing half in it."""
        before = self.around()
        with pytest.raises(error) as caught:
            self.repository.fetch(spec, **options)
        assert self.around() == before
        assert not list(self.assets.rglob("*.part"))
        return caught.value


@pytest.fixture
def place(tmp_path):
    """Fresh for each test."""
    return Place(tmp_path)


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ("n:", InvalidSpecError),
        ("n:1:2", InvalidSpecError),
        ("n[", InvalidSpecError),
        ("n[../../x]", InvalidSpecError),
        ("../n", InvalidNameError),
        ("/n", InvalidNameError),
        ("n//m", InvalidNameError),
        ("n:1/2", InvalidVersionError),
        ("n:..", InvalidVersionError),
    ],
)
def test_malformed__spec(place, spec, error):
    """A malformed spec is exit 2 and names the part."""
    assert place.refused(spec, error).exit_code == 2


@pytest.mark.parametrize(
    ("name", "options", "code"),
    [
        ("../n", {}, 2),
        ("a/1.0", {}, 2),
        ("a b", {}, 2),
        (".holdfast/x", {}, 2),
        ("n", {"version": "x/y"}, 2),
        ("n", {"version": "one"}, 2),
        ("n", {"version": "1.0"}, 4),
        ("n", {"alias": "1.x/"}, 2),
        ("n", {"only": "new"}, 4),
        ("absent", {"only": "update"}, 3),
        ("n", {"major": "9"}, 3),
    ],
)
def test_malformed__push(place, name, options, code):
    """A malformed name or version is exit 2, a version that is there exit 4; nothing is written."""
    before = place.around()
    with pytest.raises(HoldfastError) as caught:
        place.repository.push(place.folder / "source0", name, **options)
    assert caught.value.exit_code == code
    assert place.around() == before


@pytest.mark.parametrize(
    ("spec", "error", "near"),
    [
        ("m", AssetNotFoundError, "'n'"),
        ("n:0.7", VersionNotFoundError, "0."),
        ("n:7", VersionNotFoundError, "1.0"),
        ("n:stabel", VersionNotFoundError, "'stable'"),
        ("n:0.0[sub/b]", VersionNotFoundError, "'sub/b.bin'"),
    ],
)
def test_unknown__nearest_names(place, spec, error, near):
    """Something unknown is exit 3 with the nearest names."""
    if spec == "m":
        place.repository.push(place.folder / "source0", "m1")
        near = "'m1'"
    caught = place.refused(spec, error)
    assert caught.exit_code == 3
    assert near in caught.hint


def test_push__source_vanishes(place):
    """A source that is not there is a local error; one that goes while it is pushed is named; no version is made."""
    with pytest.raises(LocalError, match="gone"):
        place.repository.push(place.folder / "gone", "n")
    source = lay(place.folder / "going", {f"{number}": os.urandom(100) for number in range(50)})

    class Meddler(holdfast_progress()):
        def finish(self):
            shutil.rmtree(source, ignore_errors=True)

    repository = holdfast.open(place.store.as_uri(), assets_dir=place.assets, progress=Meddler())
    with pytest.raises(SourceChangedError, match="going"):
        repository.push(source, "n")
    assert place.repository.versions("n").versions == ("1.0", "0.1", "0.0")
    assert sorted(path.name for path in (place.store / "n").glob("*.meta")) == ["0.0.meta", "0.1.meta", "1.0.meta"]


def holdfast_progress():
    from holdfast.model.result import NoProgress

    return NoProgress


def test_push__file_changes(place):
    """A file that changed after it was hashed is named, and no version is published."""
    source = lay(place.folder / "changing", {"a": b"1", "b": b"2"})

    class Meddler(holdfast_progress()):
        def finish(self):
            (source / "b").write_bytes(b"3")

    repository = holdfast.open(place.store.as_uri(), assets_dir=place.assets, progress=Meddler())
    with pytest.raises(SourceChangedError, match="changing/b") as caught:
        repository.push(source, "n")
    assert caught.value.exit_code == 1
    assert place.repository.versions("n").versions == ("1.0", "0.1", "0.0")


DAMAGES = {
    "truncated": lambda data: data[:-1],
    "empty": lambda data: data[:0],
    "longer": lambda data: data + b"x",
    "flipped inside": lambda data: (
        data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 8]) + data[len(data) // 2 + 1 :]
    ),
    "flipped": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
}


@pytest.mark.parametrize("layout", ["tree", "tar.gz", "file", "large"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_fetch__damaged_object(place, damage, layout):
    """A truncated, longer or changed object is exit 5; no copy appears, and with --force the good old one stays."""
    content = content_of("damaged", large=layout == "large")
    source = lay(place.folder / "damaged", content)
    if layout == "file":
        source, content = source / "a.txt", {"": content["a.txt"]}
    place.repository.push(source, "d", layout="tree" if layout == "large" else layout)
    copy = place.repository.fetch("d:0.0")
    target = place.store / "d" / "0.0"
    if target.is_dir():
        target = target / "sub" / "b.bin"
    target.write_bytes(DAMAGES[damage](target.read_bytes()))
    assert place.refused("d:0.0", force=True).exit_code == 5
    assert flat(copy) == content
    shutil.rmtree(place.assets)
    place.assets.mkdir()
    assert place.refused("d:0.0").exit_code == 5
    assert not (place.assets / "d" / "0.0").exists()
    if layout in ("tree", "large"):
        assert place.repository.fetch("d:0.0[a.txt]").read_bytes() == content["a.txt"]


def test_fetch__object_missing(place):
    """An object that its version promises and the store lacks is exit 5, not 'not found'."""
    (place.store / "n" / "0.0" / "sub" / "b.bin").unlink()
    assert place.refused().exit_code == 5


ENTRY = {"path": "a.txt", "size": 3, "blake3": digest_of(b"0.0")}
HOSTILE = {
    "up": [{"path": "../outside/x", "blake3": ZERO}],
    "up inside": [{"path": "a/../../outside/x", "blake3": ZERO}],
    "absolute": [{"path": "/tmp/holdfast-hostile", "blake3": ZERO}],  # noqa: S108
    "link out": [{"path": "l", "kind": "link", "target": "../../outside"}],
    "absolute link": [{"path": "l", "kind": "link", "target": "/etc"}],
    "link out of a folder": [{"path": "d/l", "kind": "link", "target": "../../x"}],
    "below a link": [{"path": "l", "kind": "link", "target": "sub"}, {"path": "l/x", "blake3": ZERO}],
    "chain": [
        {"path": "d/up", "kind": "link", "target": ".."},
        {"path": "e", "kind": "link", "target": "d/up/.."},
        {"path": "e/x", "blake3": ZERO},
    ],
    "duplicate": [ENTRY, ENTRY],
    "below a file": [ENTRY, {"path": "a.txt/x", "blake3": ZERO}],
    "file and folder": [ENTRY, {"path": "a.txt", "kind": "dir"}],
    "device": [ENTRY | {"kind": "device"}],
    "nul": [ENTRY | {"path": "a\0b"}],
    "negative": [ENTRY | {"size": -5}],
    "end of time": [ENTRY | {"mtime": 10**40}],
}


@pytest.mark.parametrize("case", HOSTILE)
def test_fetch__hostile_meta(place, case):
    """A meta whose paths or links lead out, collide or make no sense is exit 5 before anything is written."""
    place.repository.fetch("n:1.0")
    place.hostile({"entries": HOSTILE[case]})
    assert place.refused().exit_code == 5
    assert not Path("/tmp/holdfast-hostile").exists()  # noqa: S108 - where the hostile meta points to
    assert flat(place.repository.fetch("n:1.0")) == content_of("1.0")
    assert [item.problem for item in place.repository.list("n")] == [None]


@pytest.mark.parametrize("contents", [["../outside/x"], ["/etc/x"], ["a", "a/b"], ["."], [""], ["a\0"], [1], "a"])
def test_fetch__hostile_foreign_meta(place, contents):
    """So is another program's."""
    meta = {"push_date": "2026-01-01T00:00:00+00:00", "is_directory": True, "contents": contents}
    (place.store / "n" / "0.0.meta").write_text(json.dumps(meta))
    assert place.refused().exit_code == 5


def test_fetch__links_that_stay_inside(place):
    """Links within the asset are laid out as they are, chains of them too."""
    entries = [
        ENTRY,
        {"path": "d", "kind": "dir"},
        {"path": "d/one", "kind": "link", "target": "../two"},
        {"path": "two", "kind": "link", "target": "a.txt"},
    ]
    place.hostile({"entries": entries})
    path = place.repository.fetch("n:0.0")
    assert (path / "d" / "one").read_bytes() == b"0.0"


def test_fetch__bomb(place):
    """A manifest that unfolds without end is refused without unfolding it."""
    bomb = zstandard.ZstdCompressor(level=1, write_content_size=True).compress(b"\0" * (1 << 28)) * 2
    lies = b"\x28\xb5\x2f\xfd\xe0" + (1 << 50).to_bytes(8, "little") + b"\x01\x00\x00"
    for data in (bomb, lies):
        place.hostile({"entries": None, "entries_zstd": base64.b64encode(data).decode()})
        assert place.refused().exit_code == 5


TRICKS = {
    "up": lambda: tarfile.TarInfo("../outside/x"),
    "absolute": lambda: tarfile.TarInfo("/tmp/holdfast-hostile"),  # noqa: S108
    "link out": lambda: linked("l", "../../outside"),
    "hard link out": lambda: linked("l", "../../outside/precious", tarfile.LNKTYPE),
    "device": lambda: linked("l", "", tarfile.CHRTYPE),
    "end of time": lambda: timed("1e40"),
    "no time": lambda: timed("inf"),
    "pipe": lambda: linked("l", "", tarfile.FIFOTYPE),
}


def timed(seconds):
    info = tarfile.TarInfo("x")
    info.pax_headers = {"mtime": seconds}
    return info


def linked(name, target, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize("trick", [*TRICKS, "below a link", "no archive", "cut"])
def test_fetch__hostile_archive(place, trick, ours):
    """An archive whose members lead out is refused, whoever wrote the meta; nothing is left of it."""
    place.repository.push(place.folder / "source0", "t", layout="tar.gz")
    path = place.store / "t" / "0.0"
    if trick == "no archive":
        path.write_bytes(b"no archive at all")
    elif trick == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    else:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as archive:
            for member in (
                [linked("l", "sub"), tarfile.TarInfo("l/x")] if trick == "below a link" else [TRICKS[trick]()]
            ):
                archive.addfile(member)
        path.write_bytes(gzip.compress(out.getvalue()))
    if not ours:
        meta = {"push_date": "2026-01-01T00:00:00+00:00", "is_directory": True}
        (place.store / "t" / "0.0.meta").write_text(json.dumps(meta))
    assert place.refused("t:0.0").exit_code == 5
    assert not Path("/tmp/holdfast-hostile").exists()  # noqa: S108


@pytest.mark.parametrize("data", [b"{", b"[]", b'{"versions": {}}', b"", b"\xff\xfe"])
def test_versions__not_json(place, data):
    """A list that cannot be read is reported for its asset; the rest of the store works."""
    place.repository.push(place.folder / "source1", "healthy")
    (place.store / "broken.versions").write_bytes(data)
    found = {item.name: item.problem for item in place.repository.list()}
    assert found["n"] is None
    assert found["healthy"] is None
    assert "broken.versions" in found["broken"]
    assert place.refused("broken").exit_code == 5
    assert flat(place.repository.fetch("healthy")) == content_of("0.1")


def test_versions__entry_of_no_scheme(place):
    """An entry that no scheme knows is reported, kept, and in nobody's way."""
    (place.store / "n.versions").write_text('{"versions": ["../../etc", "odd!!/x", "1.0", "0.1", "0.0"]}')
    (item,) = place.repository.list("n")
    assert "odd!!/x" in item.problem
    assert item.latest == "1.0"
    assert flat(place.repository.fetch("n")) == content_of("1.0")
    assert place.repository.push(place.folder / "source0", "n").version == "1.1"
    assert set(place.repository.versions("n").unknown) == {"../../etc", "odd!!/x"}


@pytest.mark.parametrize("layout", ["tree", "tar.gz"])
def test_fetch__file_too_large_for_the_disk(place, layout):
    """Where the disk takes no more bytes the fetch is exit 1, nothing half is left, and with --force the old copy stays."""
    content = content_of("full", large=True)
    content["sub/b.bin"] = os.urandom(9 * 1024 * 1024)
    place.repository.push(lay(place.folder / "full", content), "f", layout=layout)
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({2 * 1024 * 1024}, resource.RLIM_INFINITY))\n"
        "import holdfast\n"
        "repository = holdfast.open(sys.argv[1], assets_dir=sys.argv[2])\n"
        "try:\n    repository.fetch('f:0.0', force='force' in sys.argv)\n"
        "except holdfast.HoldfastError as error:\n    print(error.kind); sys.exit(error.exit_code)\n"
    )
    command = [sys.executable, "-c", code, place.store.as_uri(), str(place.assets)]
    assert resource.RLIM_INFINITY == -1
    for extra in ([], ["force"]):
        done = subprocess.run([*command, *extra], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (1, "local\n"), done.stderr
        assert not list(place.assets.rglob("*.part"))
        copy = place.assets / "f" / "0.0"
        assert not extra or flat(copy) == content
        assert extra or not copy.exists()
        place.repository.fetch("f:0.0")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_fetch__disk_full(place, tmp_path_factory):
    """On a disk that is really full: exit 1, the space is given back, and a small asset still goes there."""
    disk = tmp_path_factory.mktemp("disk")
    content = {f"{number}": os.urandom(600_000) for number in range(6)}
    place.repository.push(lay(place.folder / "big", content), "f")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "holdfast-test", str(disk)], check=False)
    if mounted.returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        repository = holdfast.open(place.store.as_uri(), assets_dir=disk)
        repository.fetch("n:0.0")
        for _ in range(2):
            with pytest.raises(LocalError) as caught:
                repository.fetch("f:0.0")
            assert caught.value.exit_code == 1
            assert "spare" in f"{caught.value.message} {caught.value.hint}"
            assert not list(disk.rglob("*.part"))
        assert flat(repository.fetch("n:0.1")) == content_of("0.1")
        assert flat(repository.fetch("n:0.0")) == content_of("0.0")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_push__store_full(place, tmp_path_factory):
    """A store without room is exit 1; what is in it stays, and once there is room the same push completes."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    disk = tmp_path_factory.mktemp("store")
    if (
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "holdfast-test", str(disk)], check=False).returncode
        != 0
    ):
        pytest.skip("mounting is not allowed here")
    try:
        repository = holdfast.open(disk.as_uri(), assets_dir=place.assets)
        repository.push(place.folder / "source0", "n")
        big = lay(place.folder / "big", {f"{number}": os.urandom(600_000) for number in range(6)})
        with pytest.raises(LocalError) as caught:
            repository.push(big, "n")
        assert caught.value.exit_code == 1
        assert repository.versions("n").versions == ("0.0",)
        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        assert repository.push(big, "n").version == "0.1"
        assert len(flat(repository.fetch("n"))) == 6
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_push__store_full_for_a_large_file(place, tmp_path_factory):
    """Where the store has no room for a large file, the store's disk is told of, and not the file."""
    disk = tmp_path_factory.mktemp("store") / "disk"
    with small_disk(disk):
        repository = holdfast.open(disk.as_uri(), assets_dir=place.assets)
        big = lay(place.folder / "big", {"big": os.urandom(12 * 1024 * 1024)}) / "big"
        with pytest.raises(LocalError, match="No space left on device"):
            repository.push(big, "n")
        subprocess.run(["mount", "-o", "remount,size=40m", str(disk)], check=True)
        assert repository.push(big, "n").version == "0.0"


def test_cache_dir__full(pushed, tmp_path_factory):
    """Where the disk of the cache folder is full a push does without what it would note there; what needs room there says so and names it."""
    disk = tmp_path_factory.mktemp("cache") / "disk"
    given = {"XDG_CACHE_HOME": str(disk), "HOLDFAST_ASSETS_DIR": str(pushed.folder / "home")}
    with small_disk(disk) as fill:
        fill()
        for number, layout in enumerate(("packs", "tree")):
            (pushed.folder / "model" / "new").write_text(layout)
            told = pushed.ok("push", "model", "n/a", "--layout", layout, "--json", **given).json
            assert told["version"] == f"0.{number}"
        for words in (("export", "n/a:0.0", "b"), ("verify", "n/a:0.0", "--deep")):
            assert str(disk) in pushed.error(1, *words, **given)["message"]


def test_assets_dir__missing(place):
    """A missing assets folder is exit 1 and names the setting; nothing is made."""
    repository = holdfast.open(place.store.as_uri(), assets_dir=place.folder / "absent")
    with pytest.raises(LocalError) as caught:
        repository.fetch("n")
    assert caught.value.exit_code == 1
    assert "HOLDFAST_ASSETS_DIR" in caught.value.hint
    assert not (place.folder / "absent").exists()


def test_assets_dir__read_only(place):
    """In a read-only assets folder what is there is served; what is not is exit 1, and the folder is as it was."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a disk")
    if subprocess.run(["mount", "-t", "tmpfs", "holdfast-test", str(place.assets)], check=False).returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        place.repository.fetch("n:0.0")
        before = sorted(str(path) for path in place.assets.rglob("*"))
        subprocess.run(["mount", "-o", "remount,ro", str(place.assets)], check=True)
        assert flat(place.repository.fetch("n:0.0")) == content_of("0.0")
        for spec, options in (("n", {}), ("n:stable", {}), ("n:0.0", {"force": True})):
            with pytest.raises(LocalError) as caught:
                place.repository.fetch(spec, **options)
            assert caught.value.exit_code == 1
            assert "read-only" in caught.value.hint
        assert flat(place.assets / "n" / "0.0") == content_of("0.0")
        assert sorted(str(path) for path in place.assets.rglob("*")) == before
    finally:
        subprocess.run(["umount", str(place.assets)], check=True)


@pytest.mark.parametrize("where", ["same", "store inside", "assets inside", "by a link"])
def test_overlap(place, where):
    """A store and an assets folder that overlap by real path are refused."""
    link = place.folder / "link"
    link.symlink_to(place.store)
    store, assets = {
        "same": (place.store, place.store),
        "store inside": (place.assets / "deep", place.assets),
        "assets inside": (place.store, place.store / "n"),
        "by a link": (place.store, link / "n"),
    }[where]
    before = place.around()
    with pytest.raises(UsageError, match="overlap"):
        holdfast.open(store.as_uri(), assets_dir=assets)
    assert place.around() == before


def test_fetch__own_version_stays(place):
    """A local version that was never pushed is never deleted, nor taken for what the store has."""
    own = lay(place.assets / "n" / "0.0", {"mine": b"mine"})
    lay(place.assets / "n" / "9.9", {"only": b"here"})
    assert flat(place.repository.fetch("n:0.0")) == content_of("0.0")
    with pytest.raises(VersionNotFoundError):
        place.repository.fetch("n:9.9")
    assert flat(place.assets / "n" / "9.9") == {"only": b"here"}
    assert not (own / "mine").exists()
    assert [path.read_bytes() for path in place.assets.rglob("mine")] == [b"mine"]


def test_fetch__waits_no_longer_than_told(place, tmp_path):
    """Who waits for another process that fetches the same gives up at the deadline, with a clear error."""
    content = {f"{number}": b"x" * 1000 for number in range(3)}
    place.repository.push(lay(place.folder / "slow", content), "s")
    code = (
        "import sys, holdfast\n"
        "repository = holdfast.open(sys.argv[1], assets_dir=sys.argv[2])\n"
        "with repository.assets.lock('s', '0.0', 1):\n    print('held', flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, place.store.as_uri(), str(place.assets)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        runner = Runner(tmp_path / "home", {"MODELKIT_ASSETS_TIMEOUT_S": "0.2"})
        answer = finished(runner.start(place.store.as_uri(), place.assets, ["fetch", "s:0.0"]), code=1)[-1]
        assert answer["error"] == BusyError.kind
        holder.stdin.close()
    assert flat(place.repository.fetch("s:0.0")) == content


READING = (
    "diff nlp/bert ./nope", "import nope", "export nlp/bert b --base nope", "push nope a", "push dangling a", "server restore nope --data d", "server start --config nope",
    "server project add p s3://b/p --credentials-file nope --data d", "server user list --config nope", "site check --file nope",
    "site check --template nope", "site show --template nope", "status nope",
)  # fmt: skip


@pytest.mark.parametrize("words", READING)
def test_input_that_is_not_there(pushed, words: str) -> None:
    """A file or directory that a command is to read and that is not there is bad input, exit 2, and the message names it."""
    (pushed.folder / "dangling").symlink_to("nowhere")
    error = pushed.error(2, *words.split())
    assert error["kind"] == "usage"
    assert any(name in error["message"] for name in ("nope", "dangling"))
    assert not (pushed.folder / "d").exists()
