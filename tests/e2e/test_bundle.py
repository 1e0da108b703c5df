"""Versions carried in a file: exported, imported without a network, only what the other side lacks, and nothing of a damaged bundle."""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import holdfast
from holdfast.errors import AlreadyExistsError, IntegrityError, LocalError, NotFoundError
from holdfast.formats.bundle import END, RECORD, BundleRecord, BundleVersion, Member, encode_record, header, padding
from holdfast.maintain import verify
from holdfast.model.digest import digest_of
from holdfast.replicate import export, import_
from holdfast.store.bundle import BundleStore, read_record
from holdfast.store.memory import MemoryStore
from tests.e2e.driver import flat, lay
from tests.e2e.test_copy import folder_store, look
from tests.formats.bundle_cases import GOLDEN

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory with a large file and small ones, some of which are equal."""
    made = random.Random(7)
    files = {f"sub/f{i}": made.randbytes(700) for i in range(20)} | {"a.txt": b"a" * 500, "same.txt": b"a" * 500}
    folder = lay(tmp_path / "source", files | {"large": made.randbytes(9_000_000)})
    (folder / "run").write_text("#!")
    (folder / "run").chmod(0o755)
    (folder / "link").symlink_to("sub/f1")
    return folder


@pytest.fixture
def here(tmp_path: Path):
    """Where versions are exported from."""
    return folder_store(tmp_path, "here")


@pytest.fixture
def there(tmp_path: Path):
    """Where they are imported."""
    return folder_store(tmp_path, "there")


def everything(place: Path) -> list[str]:
    """Every file in a store."""
    return sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())


@pytest.mark.parametrize("layout", ["packs", "tree", "tar.gz"])
def test_bundle__carries_versions(here, there, source: Path, tmp_path: Path, layout: str) -> None:
    """What was exported and imported is the same version, with its date, author, message, aliases and hash, in its layout."""
    here.push(source, "n/a", layout=layout, message="m", alias="stable")
    here.push(source / "large", "n/f")
    bundle = tmp_path / "b"
    exported = export(here, ["n/a", "n/f:0.0", "n/a:0.0"], bundle)
    assert (exported.versions, exported.bytes, exported.needs) == (("n/a:0.0", "n/f:0.0"), bundle.stat().st_size, ())
    (tmp_path / "here").rename(tmp_path / "away")
    copied = list(import_(there, bundle, aliases=True))
    assert [(each.spec, each.created, each.layout) for each in copied] == [
        ("n/a:0.0", True, layout),
        ("n/f:0.0", True, "file"),
    ]
    (tmp_path / "away").rename(tmp_path / "here")
    for field in ("hash", "files", "bytes", "pushed", "who", "message", "aliases", "layout"):
        assert getattr(here.show("n/a"), field) == getattr(there.show("n/a"), field), field
    assert look(there.fetch("n/a")) == look(here.fetch("n/a"))
    assert flat(there.fetch("n/f")) == flat(here.fetch("n/f"))
    assert all(finding.ok for finding in verify(there, deep=True))
    assert not any(each.created for each in import_(there, bundle))


def test_bundle__converted_at_import(here, there, source: Path, tmp_path: Path) -> None:
    """A version can get another layout when it is imported."""
    pushed = here.push(source, "n/a", layout="tree")
    export(here, ["n/a"], tmp_path / "b")
    (copied,) = import_(there, tmp_path / "b", layout="packs")
    assert (copied.layout, copied.hash) == ("packs", pushed.hash)


def test_bundle__is_a_tar_of_a_store(here, source: Path, tmp_path: Path) -> None:
    """Any tar unpacks a bundle; what it holds are the objects under their keys, equal files of trees but once."""
    here.push(source, "n/a", layout="packs")
    here.push(source, "n/t", layout="tree")
    export(here, ["n/a", "n/t"], tmp_path / "b")
    with tarfile.open(tmp_path / "b") as archive:
        names = archive.getnames()
        assert names[-1] == RECORD
        assert "n/a/0.0.meta" in names
        assert not {"n/t/0.0/a.txt", "n/t/0.0/same.txt"} <= set(names)
        (tmp_path / "unpacked").mkdir()
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Debian 12's Python takes none
        archive.extractall(tmp_path / "unpacked")  # noqa: S202 - our own
    (tmp_path / "assets").mkdir()
    unpacked = holdfast.open((tmp_path / "unpacked").as_uri(), assets_dir=tmp_path / "assets")
    assert look(unpacked.fetch("n/a:0.0")) == look(here.fetch("n/a:0.0"))


@pytest.mark.parametrize("by", ["have", "base"])
@pytest.mark.parametrize("layout", ["packs", "tree"])
def test_bundle__only_what_the_other_side_lacks(
    here, there, source: Path, tmp_path: Path, layout: str, by: str
) -> None:
    """A bundle against versions that the other side has holds only what is new, and names what it builds upon."""
    here.push(source, "n/a", layout=layout)
    whole = export(here, ["n/a"], tmp_path / "whole")
    (source / "a.txt").write_text("changed" * 500)
    here.push(source, "n/a", layout=layout)
    against = {"have": ["n/a:0.0"]} if by == "have" else {"base": [tmp_path / "whole"]}
    part = export(here, ["n/a:0.1"], tmp_path / "part", **against)
    assert part.bytes < whole.bytes / 10
    assert part.needs == ("n/a:0.0",)
    with pytest.raises(NotFoundError, match=r"part builds upon n/a:0\.0, of which .* lacks ") as caught:
        list(import_(there, tmp_path / "part"))
    assert "import the bundle that holds it first" in (caught.value.hint or "")
    assert everything(tmp_path / "there") == []
    list(import_(there, tmp_path / "whole"))
    list(import_(there, tmp_path / "part"))
    assert look(there.fetch("n/a:0.1")) == look(here.fetch("n/a:0.1"))
    assert all(finding.ok for finding in verify(there, deep=True))


def test_bundle__of_another_programs_version(here, there, tmp_path: Path) -> None:
    """A version that modelkit made is carried as it is, and has a hash where it is imported."""
    here.store.put("m/f/1.0", b"x" * 100)
    here.store.put("m/f/1.0.meta", b'{"push_date": "2024-01-01T00:00:00+00:00", "is_directory": false}')
    here.store.put("m/f.versions", b'{"versions": ["1.0"]}')
    export(here, ["m/f"], tmp_path / "b")
    (copied,) = import_(there, tmp_path / "b")
    assert there.fetch("m/f").read_bytes() == b"x" * 100
    assert there.show("m/f").hash == copied.hash
    assert not next(import_(there, tmp_path / "b")).created


def test_export__refuses(here, source: Path, tmp_path: Path) -> None:
    """A file that exists is not replaced without force; a dry run writes nothing; damaged bytes make no file."""
    here.push(source, "n/a")
    (tmp_path / "b").write_text("mine")
    with pytest.raises(AlreadyExistsError):
        export(here, ["n/a"], tmp_path / "b")
    assert export(here, ["n/a"], tmp_path / "c", dry_run=True).objects > 2
    assert export(here, ["n/a"], tmp_path / "b", force=True).bytes == (tmp_path / "b").stat().st_size
    with pytest.raises(NotFoundError):
        export(here, ["n/a:7.0"], tmp_path / "c")
    with pytest.raises(LocalError):
        export(here, ["n/a"], tmp_path / "no/such/folder/c")
    pack = max((tmp_path / "here/.holdfast/packs").rglob("*"), key=lambda path: path.stat().st_size)
    data = bytearray(pack.read_bytes())
    data[7] ^= 1
    pack.write_bytes(data)
    with pytest.raises(IntegrityError, match=pack.name):
        export(here, ["n/a"], tmp_path / "c")
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".part") or path.name == "c"]


@pytest.mark.parametrize("kind", ["fifo", "link"])
def test_export__replaces_files_alone(here, source: Path, tmp_path: Path, kind: str) -> None:
    """What is no regular file, as /dev/stdout or a pipe, is never replaced by a bundle, not even with force."""
    here.push(source, "n/a")
    place, behind = tmp_path / "place", tmp_path / "behind"
    behind.write_text("mine")
    os.mkfifo(place) if kind == "fifo" else place.symlink_to(behind)
    before = place.lstat()
    with pytest.raises(AlreadyExistsError, match="no regular file"):
        export(here, ["n/a"], place, force=True)
    assert (place.lstat().st_mode, place.lstat().st_ino) == (before.st_mode, before.st_ino)
    assert behind.read_text() == "mine"


def test_import__of_a_pipe(here, there, source: Path, tmp_path: Path) -> None:
    """A bundle that comes through a pipe is refused with what to do, and nobody waits for the pipe's other end."""
    here.push(source, "n/a")
    os.mkfifo(tmp_path / "pipe")
    for take in (read_record, lambda path: list(import_(there, path))):
        with pytest.raises(LocalError, match="no regular file") as refused:
            take(tmp_path / "pipe")
        assert "write it to a file first" in str(refused.value.hint)


def test_import__of_a_damaged_bundle(here, there, source: Path, tmp_path: Path) -> None:
    """A bundle that was truncated or changed anywhere is an integrity error, and leaves nothing in the store."""
    (source / "large").write_bytes(b"large" * 1000)
    here.push(source, "n/a")
    here.push(source, "n/t", layout="tree")
    export(here, ["n/a", "n/t"], tmp_path / "b")
    data = (tmp_path / "b").read_bytes()
    made = random.Random(1)
    spoiled = [data[:end] for end in (0, 100, 511, 512, 5000, len(data) // 2, len(data) - 600, len(data) - 1)]
    spoiled += [data + b"x", data + bytes(512), b"x" + data[1:], b"\0" * len(data)]
    with tarfile.open(tmp_path / "b") as archive:
        ends = [(member.offset_data + member.size, member.size) for member in archive if member.size]
    for end, size in ends:
        place = end - 1 - made.randrange(size)
        spoiled.append(data[:place] + bytes([data[place] ^ (1 << made.randrange(8))]) + data[place + 1 :])
    for each in spoiled:
        (tmp_path / "bad").write_bytes(each)
        with pytest.raises(IntegrityError):
            list(import_(there, tmp_path / "bad"))
    assert everything(tmp_path / "there") == []
    with pytest.raises(LocalError):
        list(import_(there, tmp_path / "none"))


@given(
    edits=st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=6), end=st.integers()
)
@settings(max_examples=150, deadline=None)
def test_bundle__any_bytes(tmp_path_factory, edits: list[tuple[int, int]], end: int) -> None:
    """Whatever stands in a bundle, it is read as it was written, or it is an integrity error."""
    data = bytearray((GOLDEN / "bundle.tar").read_bytes())
    for place, value in edits:
        data[place % len(data)] = value
    if end % 3 == 0:
        del data[end % len(data) :]
    path = tmp_path_factory.mktemp("any") / "b"
    path.write_bytes(data)
    try:
        with BundleStore(path, MemoryStore("nothing")) as store:
            assert store.record.versions
    except IntegrityError:
        return


def crafted(members: list[tuple[bytes, bytes]], record: BundleRecord) -> bytes:
    """A bundle of these headers and contents, and of a record that may lie."""
    data = encode_record(record)
    return b"".join(
        [
            *(head + body + padding(len(body)) for head, body in members),
            header(RECORD, len(data)),
            data,
            padding(len(data)),
            END,
        ]
    )


def entry(name: str, kind: bytes = tarfile.REGTYPE, size: int = 1, link: str = "") -> bytes:
    """A header as a hostile program writes it."""
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, link
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    "head",
    [
        entry("../x"),
        entry("/etc/x"),
        entry("a/../../x"),
        entry("a//x"),
        entry("link", tarfile.SYMTYPE, 0, "/etc"),
        entry("link", tarfile.LNKTYPE, 0, "a"),
        entry("device", tarfile.CHRTYPE, 0),
        entry("folder", tarfile.DIRTYPE, 0),
        entry("long/" * 50 + "x"),
        entry("huge", size=1 << 60),
        entry("ok", size=1)[:148] + b"0000000\0" + entry("ok", size=1)[156:],
        entry("x", tarfile.XHDTYPE, 1 << 40),
    ],
)
def test_import__of_a_hostile_bundle(there, tmp_path: Path, head: bytes) -> None:
    """A member whose name leads out, that is no regular file, or whose length lies, is refused, and nothing is written anywhere."""
    record = BundleRecord(
        1, "2026-01-01T00:00:00+00:00", "eve", "file:///x", members=(Member("x", 1, digest_of(b"x")),)
    )
    (tmp_path / "bad").write_bytes(crafted([(head, b"x")], record))
    before = everything(tmp_path)
    with pytest.raises(IntegrityError, match="bad"):
        list(import_(there, tmp_path / "bad"))
    assert everything(tmp_path) == before


def test_import__of_a_lying_record(there, tmp_path: Path) -> None:
    """A record that lists other members, another hash, or names that cannot be, is refused."""
    body = b'{"push_date": "2024-01-01T00:00:00+00:00", "is_directory": false}'
    member = Member("m/f/1.0.meta", len(body), digest_of(body))
    plain = BundleRecord(1, "2026-01-01T00:00:00+00:00", "eve", "file:///x", (), (member,))
    inner = (header("m/f/1.0.meta", len(body)), body)
    for record in (
        BundleRecord(2, plain.at, "eve", "s", (), (member,)),
        BundleRecord(1, plain.at, "eve", "s", (), ()),
        BundleRecord(1, plain.at, "eve", "s", (BundleVersion("m/f", "2.0"),), (member,)),
        BundleRecord(1, plain.at, "eve", "s", (BundleVersion("m/f", "1.0", "blake3:00"),), (member,)),
        BundleRecord(1, plain.at, "eve", "s", (BundleVersion("../f", "1.0"),), (member,)),
        BundleRecord(1, plain.at, "eve", "s", (BundleVersion("m/f", "../1.0"),), (member,)),
        BundleRecord(1, plain.at, "eve", "s", (BundleVersion("m/f", "1.0"),), (member,)),  # without its data
    ):
        (tmp_path / "bad").write_bytes(crafted([inner], record))
        with pytest.raises(IntegrityError):
            list(import_(there, tmp_path / "bad"))
    (tmp_path / "bad").write_bytes(crafted([inner, inner], plain))
    with pytest.raises(IntegrityError, match="appears twice"):
        list(import_(there, tmp_path / "bad"))
    assert list(there.catalog.names()) == []


_PROGRAM = """
import sys, holdfast
from pathlib import Path
from holdfast.replicate import export, import_
repository = holdfast.open(sys.argv[1], assets_dir=sys.argv[2])
if sys.argv[3] == "export":
    export(repository, ["n/a:0.0"], Path(sys.argv[4]))
else:
    print(len(list(import_(repository, Path(sys.argv[4]), layout=sys.argv[5] or None))))
"""


def program(repository, verb: str, bundle: Path, point: str = "", layout: str = "") -> subprocess.CompletedProcess:
    """The verb in a process of its own, killed at a point."""
    command = [sys.executable, "-c", _PROGRAM, repository.store.url, str(repository.assets.path), verb, str(bundle)]
    command += [layout]
    env = {**os.environ, **({"HOLDFAST_FAILPOINT": point} if point else {})}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_export__killed(here, source: Path, tmp_path: Path) -> None:
    """An export that was killed leaves no bundle under its name, and the next one sweeps what it left."""
    here.push(source, "n/a", layout="tree")
    assert program(here, "export", tmp_path / "b", "export.member-written").returncode == -9
    assert not (tmp_path / "b").exists()
    assert len([path for path in tmp_path.iterdir() if path.name.endswith(".part")]) == 1
    assert program(here, "export", tmp_path / "b").returncode == 0
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".part")]
    assert len(read_record(tmp_path / "b").versions) == 1


@pytest.mark.parametrize("point", ["push.pack-written", "push.claimed", "push.root-written", "push.meta-written"])
def test_import__killed(here, there, source: Path, tmp_path: Path, point: str) -> None:
    """An import that was killed is completed when it is run again."""
    here.push(source, "n/a")
    export(here, ["n/a"], tmp_path / "b")
    assert program(there, "import", tmp_path / "b", point).returncode == -9
    assert list(there.catalog.names()) == []
    assert program(there, "import", tmp_path / "b").returncode == 0
    assert there.versions("n/a").versions == ("0.0",)
    assert look(there.fetch("n/a")) == look(here.fetch("n/a"))


@pytest.mark.parametrize("layout", ["", "tree"])
def test_import__killed_leaves_nothing_here(here, there, source: Path, tmp_path: Path, layout: str) -> None:
    """What an import that was killed had laid out on this machine is gone after the next one."""
    here.push(source, "n/a")
    export(here, ["n/a"], tmp_path / "b")
    point = "fetch.data-partly" if layout else "push.claimed"
    assert program(there, "import", tmp_path / "b", point, layout).returncode == -9
    assert program(there, "import", tmp_path / "b", layout=layout).returncode == 0
    remembered = {"copies", "imports", "journal", "manifests", "proofs", "stats"}
    assert {path.name for path in there.state.iterdir()} <= remembered
    assert not [*(there.state / "imports").iterdir()]


def test_walk__reads_what_tarfile_writes() -> None:
    """Long names, names that are not ASCII and empty members are read as they were written."""
    from holdfast.formats.bundle import walk

    names = ["a", "ü/é", "long/" * 60 + "x", "x" * 200, "empty"]
    bodies = [b"1", b"22", b"333", b"x" * 512, b""]
    data = b"".join(header(n, len(b)) + b + padding(len(b)) for n, b in zip(names, bodies, strict=True)) + END
    found = list(walk(io.BytesIO(data), "it"))
    assert [(each.key, data[each.offset : each.offset + each.size]) for each in found] == list(
        zip(names, bodies, strict=True)
    )
