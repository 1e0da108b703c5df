"""The second reader, written from FORMAT.md alone, and Holdfast agree on every version: so the document says everything."""

from __future__ import annotations

import os
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import holdfast
from tests.formats import pack_cases, second_reader
from tests.formats.second_reader import Item

STORES = sorted((Path(__file__).parent / "stores").glob("*-packs.tar"))
#: Names in which separators of every rank sort around the slash.
PIECES = st.text(st.sampled_from("ab-./0ü\u4e2d😀"), min_size=1, max_size=3).filter(
    lambda text: "/" not in text and text.strip(".")
)
CONTENT = st.one_of(
    st.binary(max_size=300),
    st.tuples(st.binary(min_size=1, max_size=9), st.integers(1, 60_000)).map(lambda two: two[0] * two[1]),
    st.integers(0, 1 << 30).map(lambda seed: __import__("random").Random(seed).randbytes(20_000 + seed % 200_000)),
)
TREES = st.dictionaries(
    st.lists(PIECES, min_size=1, max_size=3).map("/".join),
    st.tuples(CONTENT, st.sampled_from([0o644, 0o755, 0o600]), st.integers(0, 1 << 60)),
    max_size=12,
)


def laid_out(folder: Path) -> dict[str, Item]:
    """What a copy holds, in the second reader's words."""
    found = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        if path.name == ".SUCCESS" and path.parent == folder:
            continue
        name, mode = str(path.relative_to(folder)), status.st_mode & 0o777
        if path.is_symlink():
            found[name] = Item("l", None, None, os.fsencode(path.readlink()))
        elif path.is_dir():
            found[name] = Item("d", mode, None, b"")
        else:
            found[name] = Item("f", mode, status.st_mtime_ns, path.read_bytes())
    return found


def told(items: dict[str, Item]) -> dict[str, Item]:
    """Without the times of directories and links, which a copy need not keep."""
    return {path: item if item.kind == "f" else item._replace(mtime=None) for path, item in items.items()}


@pytest.fixture(params=STORES, ids=lambda path: path.stem)
def golden(request, tmp_path):
    """A golden store laid out in a folder."""
    with tarfile.open(request.param) as members:
        members.extraction_filter = getattr(tarfile, "tar_filter", None)  # Debian 12's Python takes none
        members.extractall(tmp_path)  # noqa: S202 - our own
    (tmp_path / "assets").mkdir()
    return tmp_path / "store"


def test_golden_store__both_readers_agree(golden):
    """Both read the same entries, modes, times and bytes out of every version of a golden store."""
    repository = holdfast.open(golden.as_uri(), assets_dir=golden.parent / "assets")
    for name in ("golden/tree", "golden/empty"):
        for version in second_reader.versions(golden, name):
            items = second_reader.read(golden, name, version)
            assert told(items) == laid_out(repository.fetch(f"{name}:{version}"))
    assert all(item.mtime is not None for item in second_reader.read(golden, "golden/tree", "0.0").values())


def test_golden_store__index_from_packs_alone(golden):
    """The tables of the packs alone tell the place of every chunk that any page names: an index can always be made again."""
    index = set(second_reader.packed_chunks(golden))
    for version in ("0.0", "0.1", "0.2"):  # the removed one, too, until it is collected
        named = second_reader.page_chunks(golden, "golden/tree", version)
        assert named
        assert index.issuperset(named)


def test_golden_objects__read():
    """The golden objects hold what they were written from."""
    folder = Path(__file__).parent / "golden"
    data = (folder / "pack.bin").read_bytes()
    pieces = second_reader._pieces(data, b"HFPACK1\n", data[-40:-8].hex())
    assert [second_reader._unpack(data, piece) for piece in pieces] == pack_cases.RAW
    for number in (0, 1):
        columns = second_reader._msgpack((folder / f"page-{number}.msgpack").read_bytes())
        for entry, placed in zip(second_reader._page(columns), pack_cases.TWO_PAGES[number], strict=True):
            assert (entry["path"].encode(), entry["mode"], entry["mtime"]) == placed[:1] + placed[2:4]
            assert entry.get("target") == placed.target
            content = placed.content if isinstance(placed.content, tuple) else ()
            assert [tuple(chunk) for chunk in entry.get("chunks", ())] == [
                (chunk.pack.hex(), *chunk[1:]) for chunk in content
            ]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(TREES, TREES)
def test_any_tree__both_readers_agree(first, second):
    """Both read any tree that was pushed, and any second version of it, as it was."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name in ("store", "assets", "source"):
            (folder / name).mkdir()
        repository = holdfast.open((folder / "store").as_uri(), assets_dir=folder / "assets")
        for tree in (first, second):
            laid = lay(folder / "source", tree)
            pushed = repository.push(folder / "source", "t", layout="packs")
            items = second_reader.read(folder / "store", "t", pushed.version)
            assert {path: item for path, item in items.items() if item.kind == "f"} == laid
            assert told(items) == laid_out(repository.fetch(f"t:{pushed.version}"))


def lay(folder: Path, tree: dict[str, tuple[bytes, int, int]]) -> dict[str, Item]:
    """Write those files of a tree that can lie beside each other and beside what is there; all files that are there then."""
    for path, (data, mode, mtime) in tree.items():
        target = folder / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        except OSError:  # below a file, or where a directory is
            continue
        target.chmod(mode)
        os.utime(target, ns=(mtime, mtime))
    return {path: item for path, item in laid_out(folder).items() if item.kind == "f"}
