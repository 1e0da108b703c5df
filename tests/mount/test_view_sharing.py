"""What was read is not read again: by the next version, by another process, by fetch; and what was fetched is not read at all."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from holdfast.cache.ranges import Ranges
from holdfast.formats.layout import pack_key
from holdfast.model.chunk import CODEC_NONE, Chunk, Placed
from holdfast.model.digest import raw_digest_of
from holdfast.mount.base import ROOT
from holdfast.mount.contents import PackedContents
from holdfast.mount.nodes import Place
from holdfast.mount.pieces import Pieces
from holdfast.mount.view import open_version
from holdfast.store.path import PathStore
from tests.fakes import repository_on
from tests.mount.test_ranges import shared_and_own
from tests.mount.trees import Recording, find, read_whole, walk

MIB = 1024 * 1024


def read_all(view) -> dict[str, bytes]:
    """Every file."""
    return {path: read_whole(view, shown) for path, shown in walk(view) if shown.mode & 0o170000 == 0o100000}


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def source(tmp_path):
    """A folder of one large file and many small ones."""
    dice = random.Random(5)
    folder = tmp_path / "source"
    (folder / "small").mkdir(parents=True)
    (folder / "large").write_bytes(dice.randbytes(8 * MIB))
    for number in range(400):
        (folder / "small" / f"{number:03}").write_bytes(dice.randbytes(2000 + number))
    return folder


def test_view__lazy(tmp_path, source):
    """Looking at a version reads no pack, reading at one place of a large file little more than that place."""
    store = Recording()
    repository_on(store, tmp_path / "one").push(source, "n/v")
    store.reads.clear()
    with closing(open_version(repository_on(store, tmp_path / "two"), "n/v", "0.0", None)) as view:
        assert len([*walk(view)]) == 402
        assert store.bytes_of_packs == 0
        node = find(view, "large").node
        for at in (5 * MIB, 100, 3 * MIB):
            view.read(node, at, 4096)
        assert 0 < store.bytes_of_packs <= 3 * 2 * 256 * 1024


def test_view__the_next_version(tmp_path, source):
    """After all of a version was read, the next one costs the bytes of what changed, and little more."""
    store = Recording()
    publisher = repository_on(store, tmp_path / "one")
    publisher.push(source, "n/v")
    repository, ranges = repository_on(store, tmp_path / "two"), Ranges.open(tmp_path / "two" / "state", None)
    with closing(open_version(repository, "n/v", "0.0", ranges)) as view:
        assert read_all(view) == contents(source)
    whole = store.bytes_of_packs
    with open(source / "large", "r+b") as file:
        file.seek(4 * MIB)
        file.write(b"changed")
    (source / "small" / "new").write_bytes(random.Random(6).randbytes(3000))
    publisher.push(source, "n/v")
    store.reads.clear()
    with closing(open_version(repository, "n/v", "0.1", ranges)) as view:
        assert read_all(view) == contents(source)
        assert view.bytes_fetched < 600_000
    assert 0 < store.bytes_of_packs < whole / 10


def test_fetch__what_was_read(tmp_path, source):
    """fetch and cat take what mounts have read from this machine, and the rest from the store."""
    store = Recording()
    repository_on(store, tmp_path / "one").push(source, "n/v")
    repository = repository_on(store, tmp_path / "two")
    with closing(open_version(repository, "n/v", "0.0", Ranges.open(tmp_path / "two" / "state", None))) as view:
        assert read_whole(view, find(view, "large")) == (source / "large").read_bytes()
    store.reads.clear()
    repository = repository_on(store, tmp_path / "two")
    with repository.read("n/v:0.0[large]") as file:
        assert file.read() == (source / "large").read_bytes()
    assert store.bytes_of_packs == 0
    fetched = repository.fetch("n/v:0.0")
    assert contents(fetched).items() >= contents(source).items()
    assert 0 < store.bytes_of_packs < 2 * MIB


def test_fetch__damaged_ranges(tmp_path, source):
    """A damaged range is noticed by fetch, too, and fetched from the store."""
    store = Recording()
    repository_on(store, tmp_path / "one").push(source, "n/v")
    ranges = Ranges.open(tmp_path / "two" / "state", None)
    with closing(open_version(repository_on(store, tmp_path / "two"), "n/v", "0.0", ranges)) as view:
        read_all(view)
    damage(ranges)
    fetched = repository_on(store, tmp_path / "two").fetch("n/v:0.0")
    assert contents(fetched).items() >= contents(source).items()


def test_view__what_was_fetched(tmp_path, source):
    """A mount reads what was fetched before; where somebody changed the copy, it reads the store."""
    store = Recording()
    repository_on(store, tmp_path / "one").push(source, "n/v")
    repository = repository_on(store, tmp_path / "two")
    copy = repository.fetch("n/v:0.0")
    store.reads.clear()
    with closing(open_version(repository, "n/v", "0.0", None)) as view:
        assert read_all(view) == contents(source)
        assert store.bytes_of_packs == 0
    with open(copy / "large", "r+b") as file:
        file.write(b"somebody's work")
    with closing(open_version(repository, "n/v", "0.0", None)) as view:
        assert read_all(view) == contents(source)
        assert 0 < store.bytes_of_packs < MIB


def damage(ranges: Ranges) -> None:
    """Change a byte now and then in everything that is kept."""
    for item in list(ranges.held()):
        path = Path(item.name)
        mode = path.stat().st_mode
        path.chmod(0o600)
        with open(path, "r+b") as file:
            for at in range(0, path.stat().st_size, 40_000):
                file.seek(at)
                file.write(b"?")
        path.chmod(mode)


@pytest.mark.parametrize("layout", ["packs", "tree"])
def test_view__damaged_cache(tmp_path, source, layout):
    """A damaged cache is noticed when it is read, and what was damaged is fetched and kept anew."""
    store = Recording()
    repository_on(store, tmp_path / "one").push(source, "n/v", layout=layout)
    repository, ranges = repository_on(store, tmp_path / "two"), Ranges.open(tmp_path / "cache", None)
    for _ in range(2):
        with closing(open_version(repository, "n/v", "0.0", ranges)) as view:
            assert read_all(view) == contents(source)
            fetched = view.bytes_fetched
        assert fetched > 0
        damage(ranges)
    with closing(open_version(repository, "n/v", "0.0", ranges)) as view:
        assert read_all(view) == contents(source)
    with closing(open_version(repository, "n/v", "0.0", ranges)) as view:
        assert read_all(view) == contents(source)
        assert view.bytes_fetched == 0


PROGRAM = """
import json, sys
from pathlib import Path
from holdfast.cache.ranges import Ranges
from holdfast.mount.view import open_version
from holdfast.store.path import PathStore
from tests.fakes import repository_on
from tests.mount.test_view_sharing import contents, read_all
store, machine, source = map(Path, sys.argv[1:4])
view = open_version(repository_on(PathStore(store), machine), "n/v", "0.0", Ranges.open(machine / "state", int(sys.argv[4]) or None))
same = read_all(view) == contents(source)
print(json.dumps([same, view.bytes_fetched]))
"""


def start(tmp_path: Path, source: Path, limit: int = 0) -> subprocess.Popen:
    """Another process that reads everything."""
    arguments = [sys.executable, "-c", PROGRAM, str(tmp_path / "store"), str(tmp_path / "two"), str(source), str(limit)]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, env=env, cwd=Path(__file__).parents[2])


def test_view__processes(tmp_path, source):
    """Several processes share the cache at once and all read the right bytes; one that comes later fetches nothing."""
    (tmp_path / "store").mkdir()
    repository_on(PathStore(tmp_path / "store"), tmp_path / "one").push(source, "n/v")
    running = [start(tmp_path, source) for _ in range(3)]
    assert [json.loads(each.communicate()[0])[0] for each in running] == [True] * 3
    assert json.loads(start(tmp_path, source).communicate()[0]) == [True, 0]


def test_view__processes_in_a_small_cache(tmp_path, source):
    """In a cache that is too small for all of it, where each process removes what another uses, all read the right bytes."""
    (tmp_path / "store").mkdir()
    repository_on(PathStore(tmp_path / "store"), tmp_path / "one").push(source, "n/v")
    running = [start(tmp_path, source, 8 * MIB) for _ in range(3)]
    assert [json.loads(each.communicate()[0])[0] for each in running] == [True] * 3
    assert sum(item.bytes for item in Ranges.open(tmp_path / "two" / "state", 8 * MIB).held()) <= 4 * MIB


def test_view__starts_while_the_store_is_away(tmp_path, source):
    """What was read once is read again while nobody answers, by a process that was started anew."""
    (tmp_path / "store").mkdir()
    repository = repository_on(PathStore(tmp_path / "store"), tmp_path / "one")
    repository.push(source, "n/v")
    published = repository.resolver.published("n/v", "0.0")
    ranges = Ranges.open(tmp_path / "cache", None)
    shutil.rmtree(tmp_path / "one" / "state")
    repository = repository_on(PathStore(tmp_path / "store"), tmp_path / "two")
    with closing(open_version(repository, "n/v", "0.0", ranges, published=published)) as view:
        read_all(view)
    shutil.rmtree(tmp_path / "store")
    (tmp_path / "store").mkdir()
    with closing(open_version(repository, "n/v", "0.0", ranges, published=published)) as view:
        assert read_all(view) == contents(source)
        assert view.lookup(ROOT, b"nothing") is None


def test_pieces__bounded_memory(tmp_path, source):
    """However much is read, chunks take no more memory than they may, and each is found as long as its range is here."""
    store = Recording()
    repository_on(store, tmp_path / "one").push(source, "n/v")
    with closing(open_version(repository_on(store, tmp_path / "two"), "n/v", "0.0", None)) as view:
        assert isinstance(view._contents, PackedContents)
        pieces = view._contents._pieces = Pieces(store, None, deadline=5, memory=MIB)
        for _ in range(2):
            for path, shown in walk(view):
                if shown.mode & 0o170000 == 0o100000:
                    assert read_whole(view, shown, 32_768) == (source / path).read_bytes()
                    assert pieces._held <= MIB + 5 * MIB  # and the range that came last
        held = {number: size for number, (_, size) in pieces._blocks.items()}
        assert sum(held.values()) == pieces._held
        assert {number for number, _ in pieces._places.values()} <= held.keys()
        pieces.close()


def test_pieces__behind_who_reads_on(tmp_path):
    """Of a large file that is read on through, what the kernel has by now is let go of, each byte is fetched once, and it can be read again."""
    store, data = Recording(), random.Random(6).randbytes(160 * MIB)
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "large").write_bytes(data)
    repository_on(store, tmp_path / "one").push(tmp_path / "source", "n/v")
    store.reads.clear()
    with closing(open_version(repository_on(store, tmp_path / "two"), "n/v", "0.0", None)) as view:
        shown, most = find(view, "large"), 0
        for at in range(0, len(data), MIB):
            assert bytes(view.read(shown.node, at, MIB)) == data[at : at + MIB]
            most = max(most, view._contents._pieces._held)
        assert most <= 72 * MIB  # the window, what it is asked for at a time, and two ranges
        assert store.bytes_of_packs <= len(data) + MIB
        for at in (0, 70 * MIB, 3 * MIB):
            assert bytes(view.read(shown.node, at, MIB)) == data[at : at + MIB]


class ManyChunks:
    """Pages of one file each, whose chunks, so many, all lie at one place of one pack. ``decoded`` counts, for each page, how often it was."""

    def __init__(self, data: bytes, count: int) -> None:
        self._data, self._count = data, count
        self.decoded: Counter[int] = Counter()

    def entries(self, number: int) -> list[Placed]:
        self.decoded[number] += 1
        pack, size, digest = b"p" * 32, len(self._data), raw_digest_of(self._data)
        chunks = tuple(Chunk(bytes(pack), 0, size, size, CODEC_NONE, digest) for _ in range(self._count))
        return [Placed(b"%d" % number, ord("f"), None, None, size * self._count, b"d" * 32, chunks)]


def test_read__files_of_very_many_chunks(tmp_path):
    """Files of very many chunks are decoded once each, however many are read side by side, and what is kept of them is bounded."""
    store, data = Recording(), b"x" * 65_536
    store.put(pack_key((b"p" * 32).hex()), data)
    pieces = Pieces(store, None, deadline=5, memory=MIB)
    sheets = ManyChunks(data, 65_536)  # 4 GiB
    contents = PackedContents(sheets, pieces, None)
    before = shared_and_own()
    for place in range(5):
        for number in range(8):
            assert contents.read(Place(number, 0), place * 70_000, 100_000) == b"x" * 100_000
    assert set(sheets.decoded.values()) == {1}
    for number in range(8, 60):
        contents.read(Place(number, 0), 0, 100)
    assert shared_and_own() - before < 160 * MIB
    pieces.close()


def test_read__what_the_store_gave_is_kept_when_it_ends(tmp_path, source):
    """What was read, or read ahead, before a view was closed is on this machine when the next one is opened."""
    store = Recording()
    repository_on(store, tmp_path / "one").push(source, "n/v")
    repository = repository_on(store, tmp_path / "two")
    for _ in range(3):
        with closing(open_version(repository, "n/v", "0.0", Ranges.open(tmp_path / "cache", None))) as view:
            read_whole(view, find(view, "large"))
    assert view.bytes_fetched == 0
