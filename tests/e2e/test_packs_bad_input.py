"""Bad input in layout ``packs``, link by link: an integrity error that names the object, and nothing else touched."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.errors import IntegrityError
from holdfast.maintain import verify
from holdfast.model.chunk import Chunk, Placed
from holdfast.model.digest import raw_digest_of
from holdfast.store.path import PathStore
from tests.e2e.driver import flat, lay
from tests.e2e.forging import Forge, file_of, frame, page_of, with_column
from tests.fakes import repository_on

MIB = 1024 * 1024
CONTENT = {"a.txt": b"a" * 1000, "sub/b.bin": bytes(range(256)) * 3, "sub/tiny": b"t"}


class Place:
    """A store with one good asset, and everything around it that must not change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "store"
        self.store.mkdir()
        self.forge = Forge(self.store)
        self._count = 0
        self.machine().push(lay(folder / "source", CONTENT), "good", layout="packs")

    def machine(self):
        """A repository with a cache and a state of its own."""
        self._count += 1
        return repository_on(PathStore(self.store), self.folder / "machines" / str(self._count))

    def around(self) -> dict[str, bytes]:
        """Everything but what the machines keep for themselves."""
        found = [path for path in self.folder.rglob("*") if path.is_file()]
        return {str(path): path.read_bytes() for path in found if "machines" not in path.parts}

    def refused(self, spec: str = "bad:0.0", **options) -> IntegrityError:
        """The fetch is an integrity error, and leaves no copy; the rest of the store goes on."""
        before, machine = self.around(), self.machine()
        with pytest.raises(IntegrityError) as caught:
            machine.fetch(spec, **options)
        assert self.around() == before
        assert not list(machine.assets.path.rglob("*.part"))
        assert not (machine.assets.path / "bad" / "0.0").exists()
        assert {item.name: item.problem for item in machine.list()} == {"bad": None, "good": None}
        assert flat(machine.fetch("good:0.0")) == CONTENT
        assert caught.value.exit_code == 5
        return caught.value


@pytest.fixture
def place(tmp_path):
    """Fresh for each test."""
    return Place(tmp_path)


# damage


def objects(store: Path) -> dict[str, Path]:
    """The one pack, pages object and root of an asset ``bad`` that alone is in the store."""
    (pack,), (pages,) = ([*(store / ".holdfast" / kind).glob("??/*")] for kind in ("packs", "pages"))
    return {"pack": pack, "pages": pages, "root": store / "bad" / "0.0"}


@pytest.fixture
def whole(tmp_path):
    """A store with one good version of ``bad``, to be damaged."""
    place = Place.__new__(Place)
    place.folder, place.store, place._count = tmp_path, tmp_path / "store", 0
    place.store.mkdir()
    place.machine().push(lay(tmp_path / "source", CONTENT), "bad", layout="packs")
    return place


def tried(whole: Place) -> dict[str, bytes] | str:
    """What a new machine fetches, or why it does not."""
    try:
        return flat(whole.machine().fetch("bad:0.0"))
    except IntegrityError as error:
        return str(error)


@pytest.mark.parametrize("what", ["pack", "pages", "root"])
def test_damage__bits_and_ends(whole, what):
    """With any byte changed or any end missing, a pack, page or root is refused by name, or what is read is right all the same."""
    path = objects(whole.store)[what]
    data = path.read_bytes()
    key = str(path.relative_to(whole.store))
    needed = len(data) if what == "root" else len(data) - 48 - int.from_bytes(data[-48:-40], "little")
    passed = []
    for at in range(len(data)):
        for damaged in (data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :], data[:at]):
            path.write_bytes(damaged)
            outcome = tried(whole)
            assert outcome == CONTENT or key in outcome
            passed += [at] if outcome == CONTENT and at < needed else []
    assert len(passed) <= 3  # bits of a zstd frame that mean nothing; and none of what a fetch reads may be missing
    path.write_bytes(data)
    assert flat(whole.machine().fetch("bad:0.0")) == CONTENT


@pytest.mark.parametrize("what", ["pack", "pages", "root"])
def test_damage__missing_or_swapped(place, what):
    """An object that is missing, empty, or another version's is refused by name; the other version is still there."""
    changed = {path: data + b"!" * 500 for path, data in CONTENT.items()}
    place.machine().push(lay(place.folder / "changed", changed), "bad", layout="packs")
    kinds = {"pack": "packs", "pages": "pages"}
    if what == "root":
        other, path = place.store / "good" / "0.0", place.store / "bad" / "0.0"
    else:
        meta = json.loads((place.store / "bad" / "0.0.meta").read_text())
        assert meta["holdfast"]["layout"] == "packs"
        found = (place.store / ".holdfast" / kinds[what]).glob("??/*")
        other, path = sorted(found, key=lambda item: item.stat().st_mtime_ns)
    data = path.read_bytes()
    for damaged in (b"", other.read_bytes(), data + b"x" if what == "root" else b"x" + data):
        path.write_bytes(damaged)
        assert path.name in str(place.refused()) or what == "root"
    path.unlink()
    assert "missing" in str(place.refused())
    path.write_bytes(data)
    assert flat(place.machine().fetch("bad:0.0")) == changed


def test_damage__pack_names_the_file(whole):
    """Where bytes of a pack are wrong, the pack, the place and the file are named."""
    path = objects(whole.store)["pack"]
    path.write_bytes(b"\xff" + path.read_bytes()[1:])
    with pytest.raises(IntegrityError, match=r"packs/.* at 0, of 'a\.txt'"):
        whole.machine().fetch("bad:0.0")
    assert whole.machine().fetch("bad:0.0[sub/tiny]").read_bytes() == b"t"


# hostile pages


def entry(path, kind="f", **fields):
    """An entry without content."""
    name = path if isinstance(path, bytes) else path.encode()
    return (
        file_of(name, data=b"x")
        if kind == "f"
        else Placed(name, ord(kind), 0o755 if kind == "d" else None, 1, **fields)
    )


PATHS = {
    "up": [entry("../x")],
    "up inside": [entry("a/../../x")],
    "absolute": [entry("/tmp/holdfast-hostile")],  # noqa: S108
    "dot": [entry("./x")],
    "empty": [entry("")],
    "doubled slash": [entry("a//x")],
    "nul": [entry("a\0b")],
    "no text": [entry(b"\xff\xfe")],
    "surrogate": [entry(b"\xed\xa0\x80")],
    "duplicate": [entry("a"), entry("a")],
    "out of order": [entry("b"), entry("a")],
    "below a file": [entry("a"), entry("a/x")],
    "file and directory": [entry("a"), entry("a", "d")],
    "link out": [entry("l", "l", target="../x")],
    "absolute link": [entry("l", "l", target="/etc")],
    "link out of a directory": [entry("d", "d"), entry("d/l", "l", target="../../x")],
    "below a link": [entry("l", "l", target="sub"), entry("l/x")],
    "link out, then a file below it": [entry("l", "l", target="../../outside"), entry("l/x")],
    "no target": [entry("l", "l", target="")],
}


@pytest.mark.parametrize("case", PATHS)
@pytest.mark.parametrize("spread", [False, True], ids=["one page", "a page each"])
def test_paths__hostile(place, case, spread):
    """Paths that lead out, collide or are none are refused before anything is written, within a page and across pages."""
    entries = PATHS[case]
    pages = [page_of(found) for found in entries] if spread else [page_of(*entries)]
    place.forge.version("bad", *pages)
    place.refused()
    assert not Path("/tmp/holdfast-hostile").exists()  # noqa: S108


RAW = b"some bytes of a chunk " * 40
NONE = b"n" * 32


def one(chunk, **columns):
    """A page of one file of one chunk, with other columns."""
    return with_column(page_of(file_of("a", chunk)), **columns)


def two(chunk, **columns):
    """A page of one file of two chunks, with other columns."""
    return with_column(page_of(file_of("a", chunk, chunk)), **columns)


def small(**columns):
    """A page of one file in the page, with other columns."""
    return with_column(page_of(file_of("a", data=b"12345")), **columns)


LIES = {
    "chunk count of 2**32": lambda chunk: one(chunk, c9=[1 << 32]),
    "chunk count of 2**64 - 1": lambda chunk: one(chunk, c9=[(1 << 64) - 1]),
    "negative chunk count": lambda chunk: one(chunk, c9=[-1]),
    "more chunks than rows": lambda chunk: one(chunk, c9=[2]),
    "entry count of 2**32": lambda chunk: one(chunk, c1=1 << 32),
    "size that lies": lambda chunk: one(chunk, c8=[len(RAW) + 1]),
    "size of 2**62": lambda chunk: one(chunk, c8=[1 << 62]),
    "size of a file in the page": lambda _: small(c8=[6]),
    "sum of chunks": lambda chunk: two(chunk, c8=[2 * len(RAW) - 1]),
    "kind": lambda chunk: one(chunk, c4=b"x"),
    "format": lambda chunk: one(chunk, c0=2),
    "shared beyond the path before": lambda chunk: one(chunk, c2=[1]),
    "negative shared": lambda chunk: one(chunk, c2=[-1]),
    "mode": lambda chunk: one(chunk, c5=[0o1777]),
    "time": lambda chunk: one(chunk, c6=[1 << 63]),
    "digest column": lambda chunk: one(chunk, c11=b"short"),
    "pack that does not exist": lambda chunk: one(chunk, c13=[7]),
    "negative pack": lambda chunk: one(chunk, c13=[-1]),
    "missing pack": lambda chunk: one(chunk._replace(pack=b"n" * 32)),
    "offset of 2**62": lambda chunk: one(chunk, c14=[1 << 62]),
    "negative offset": lambda chunk: one(chunk, c14=[-1]),
    "stored length of 2**40": lambda chunk: one(chunk, c15=[1 << 40]),
    "stored length beyond the pack": lambda chunk: one(chunk, c15=[MIB]),
    "stored length that lies": lambda chunk: one(chunk, c15=[chunk.stored - 1]),
    "codec": lambda chunk: one(chunk, c16=b"\x09"),
    "another codec": lambda chunk: one(chunk, c16=b"\0"),
    "raw length that lies": lambda chunk: one(chunk._replace(raw=len(RAW) - 1)),
    "digest of the chunk": lambda chunk: one(chunk._replace(digest=b"n" * 32)),
    "raw length of one of two": lambda chunk: two(chunk, c17=[len(RAW) - 1, len(RAW) + 1]),
    "another type": lambda chunk: one(chunk, c15=["text"]),
    "a target of no link": lambda chunk: one(chunk, c7=["x"]),
}


def good_chunk(forge: Forge) -> Chunk:
    """A chunk that is in a pack, as it should be."""
    (chunk,) = forge.pack((frame(RAW), len(RAW)), digest=raw_digest_of(RAW))
    return chunk


def test_columns__good_one_is_read(place):
    """What the hostile pages below are made from can be fetched: so it is the lie that is refused."""
    chunk = good_chunk(place.forge)
    place.forge.version("bad", one(chunk), packs=[chunk.pack])
    assert place.machine().fetch("bad:0.0[a]").read_bytes() == RAW
    place.forge.version("bad", page_of(file_of("b", chunk, chunk)), packs=[chunk.pack])
    assert place.machine().fetch("bad:0.0[b]").read_bytes() == RAW * 2


@pytest.mark.parametrize("case", LIES)
def test_columns__that_lie(place, case):
    """A column that lies is refused, by the page or by the pack, which is named; with a sub-path, too."""
    chunk = good_chunk(place.forge)
    place.forge.version("bad", LIES[case](chunk), packs=[chunk.pack])
    assert ".holdfast/pa" in str(place.refused())
    with pytest.raises(IntegrityError):
        place.machine().fetch("bad:0.0[a]")


# hostile roots and metas


ROOTS = {
    "root: object that does not exist": {"c8": [1]},
    "root: another first path": {"c3": [b"A"]},
    "root: another last path": {"c4": [b"b"]},
    "root: first after last": {"c3": [b"b"], "c4": [b"a"]},
    "root: number of entries": {"c5": [2]},
    "root: entries of 2**32": {"c5": [1 << 32]},
    "root: number of files": {"c6": [2]},
    "root: bytes of files": {"c7": [5]},
    "root: negative bytes": {"c7": [-1]},
    "root: offset of 2**62": {"c9": [1 << 62]},
    "root: offset beyond the object": {"c9": [1000]},
    "root: stored length of 2**40": {"c10": [1 << 40]},
    "root: stored length beyond the object": {"c10": [100_000]},
    "root: raw length": {"c11": [1]},
    "root: raw length of 2**40": {"c11": [1 << 40]},
    "root: digest": {"c12": b"n" * 32},
    "root: fewer digests": {"c12": b""},
    "root: half a name": {"c1": b"n" * 16},
    "root: one page twice": {f"c{at}": [value] * 2 for at, value in ((3, b"a"), (4, b"a"))},
    "root: format": {"c0": 2},
}


@pytest.mark.parametrize("case", ROOTS)
def test_root__that_lies(place, case):
    """A root that contradicts itself or its pages is refused."""
    chunk = good_chunk(place.forge)
    place.forge.version("bad", one(chunk), root=lambda raw: with_column(raw, **ROOTS[case]))
    place.refused()


@pytest.mark.parametrize("root", ["", "x", "../../outside", "0" * 63, "A" * 64, "a\0b", 5])
def test_meta__root_that_is_no_digest(place, root):
    """A meta whose root is no digest is refused."""
    place.forge.version("bad", small(), root=lambda raw: raw)
    place.forge.root("bad", b"HFROOT1\n", root=root)
    machine = place.machine()
    with pytest.raises(IntegrityError, match=r"bad/0\.0\.meta"):
        machine.fetch("bad:0.0")
    assert flat(machine.fetch("good")) == CONTENT


# what others do beside it


def forged(place: Place, case: str) -> None:
    """One of the versions above."""
    if case in PATHS:
        place.forge.version("bad", page_of(*PATHS[case]))
        return
    chunk = good_chunk(place.forge)
    if case in LIES:
        place.forge.version("bad", LIES[case](chunk), packs=[chunk.pack])
    else:
        place.forge.version("bad", one(chunk), root=lambda raw: with_column(raw, **ROOTS[case]))


@pytest.mark.parametrize("case", [*PATHS, *LIES, *ROOTS])
def test_verify__tells_and_goes_on(place, case):
    """Verify tells of the bad version, and that the good one is good; nothing comes of it but findings."""
    forged(place, case)
    found = {finding.subject: finding.ok for finding in verify(place.machine(), deep=True)}
    assert found["good:0.0"]
    assert not found["bad:0.0"]


@pytest.mark.parametrize("case", [*PATHS, *LIES, *ROOTS])
def test_push__onto_a_bad_version(place, case):
    """The next push of the asset does not build upon what cannot be read, and is a good version."""
    forged(place, case)
    content = CONTENT | {"more": bytes(range(256)) * 8}
    pushed = place.machine().push(lay(place.folder / "next", content), "bad")
    assert pushed.version == "0.1"
    assert flat(place.machine().fetch("bad:0.1")) == content


@pytest.mark.parametrize("what", ["pack", "pages", "root"])
def test_push__onto_a_damaged_version(whole, what):
    """So does a push onto a version whose root or pages are damaged; bytes that no push reads can only be found by verify."""
    path = objects(whole.store)[what]
    data = path.read_bytes()
    damaged = [data[:-1], data[: len(data) // 2], b"", b"x" * len(data)] if what != "pack" else [data]
    content = CONTENT | {"more": bytes(range(256)) * 8}
    source = lay(whole.folder / "next", content)
    for number, bad in enumerate(damaged, 1):
        path.write_bytes(bad)
        lay(source, {"number": b"%d" % number})
        pushed = whole.machine().push(source, "bad")
        assert pushed.version == f"0.{number}"
        assert flat(whole.machine().fetch(f"bad:0.{number}")) == content | {"number": b"%d" % number}


# bombs


def nested(depth: int) -> bytes:
    """A root with one more column, an array in an array in an array."""
    return b"\x9e\x01" + b"\xc4\x00" * 2 + b"\x90" * 9 + b"\xc4\x00" + b"\x91" * depth + b"\x90"


def paths_bomb() -> bytes:
    """A page whose paths each go on the one before: short here, and terabytes once they are put together."""
    count = 60_000
    shared = list(range(0, 400 * count, 400))
    return with_column(
        page_of(Placed(b"a", ord("d"), 0o755, 1)),
        c1=count, c2=shared, c3=[b"a" * 400] * count, c4=b"d" * count, c5=[None] * count, c6=[None] * count,
    )  # fmt: skip


def entries_bomb(count: int) -> bytes:
    """A page of very many short entries."""
    return with_column(
        page_of(Placed(b"a", ord("d"), 0o755, 1)),
        c1=count, c2=[0] * count, c3=[b"a"] * count, c4=b"d" * count, c5=[None] * count, c6=[None] * count,
    )  # fmt: skip


def lying_size(data: bytes, real: int, told: int) -> bytes:
    """A frame that tells another size than it unfolds to."""
    return data.replace(real.to_bytes(4, "little"), told.to_bytes(4, "little"), 1)


def bombs(forge: Forge) -> dict[str, str]:
    """Versions that would unfold to gigabytes: asset → what it is."""
    giant, hidden = frame(bytes(1 << 30)), frame(bytes(1 << 30), size=False)
    lying = lying_size(giant, 1 << 30, 16 * MIB)
    made: dict[str, str] = {}

    def name(what: str) -> str:
        made[f"bomb{len(made)}"] = what
        return f"bomb{len(made) - 1}"

    for stored, length in (
        (giant, 1 << 30),
        (giant, 16 * MIB),
        (hidden, 16 * MIB),
        (hidden, 1 << 30),
        (lying, 16 * MIB),
    ):
        (chunk,) = forge.pack((stored, length))
        forge.version(name("chunk"), one(chunk), packs=[chunk.pack])
    for stored in (giant, hidden, lying):
        for length in (1 << 30, 32 * MIB, 16 * MIB, len(small())):
            forge.version(
                name("page"), small(), stored=[stored], root=lambda raw, length=length: with_column(raw, c11=[length])
            )
        forge.root(name("root"), b"HFROOT1\n" + stored)
    column = b"\xdd" + (31 * MIB).to_bytes(4, "big") + b"\1" * 31 * MIB
    for table in (
        nested(1000),
        nested(30 * MIB),
        b"\x9d\x01" + b"\xdd\xff\xff\xff\xff" * 12,
        b"\x9d\x01\xc4\0\xc4\0" + column,
    ):
        forge.root(name("root's table"), b"HFROOT1\n" + frame(table))
    for page in (paths_bomb(), entries_bomb(65_537), entries_bomb(3_000_000)):
        forge.version(name("page's table"), page)
    return made


FETCH_ALL = """
import re, sys
import holdfast
from holdfast.errors import IntegrityError
url, assets, *names = sys.argv[1:]
repository = holdfast.open(url, assets_dir=assets)
for name in names:
    try:
        repository.fetch(name + ":0.0")
    except IntegrityError as error:
        print(name, error)
print(int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]) // 1024)
"""


def test_bombs__refused_within_bounds(place):
    """Frames, tables and paths that would unfold to gigabytes are refused, each by name, within 256 MiB of memory."""
    made = bombs(place.forge)
    assets = place.folder / "machines" / "assets"
    assets.mkdir(parents=True)
    command = [sys.executable, "-c", FETCH_ALL, place.store.as_uri(), str(assets), *made]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    *refused, most = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    told = [line.split()[0] for line in refused]
    assert told == list(made), [f"{name}: {what}" for name, what in made.items() if name not in told]
    assert int(most) <= 256, f"{most} MiB"
    assert flat(place.machine().fetch("good")) == CONTENT
