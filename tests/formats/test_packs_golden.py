"""Golden files and a golden store of layout ``packs``: what was once written is read for ever (FORMAT.md §9)."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

import holdfast
from holdfast.formats import container
from holdfast.formats.codec import unpack
from holdfast.formats.container import PACK, PAGES, decode_table
from holdfast.formats.convention import decode_meta, encode_meta
from holdfast.formats.pages import decode_page
from holdfast.formats.root import decode_root
from holdfast.maintain import verify
from tests.e2e.driver import flat
from tests.formats import pack_cases as cases
from tests.formats import second_reader

GOLDEN = Path(__file__).parent / "golden"
STORES = sorted((Path(__file__).parent / "stores").glob("*-packs.tar"))


@pytest.mark.parametrize("name", sorted(cases.OBJECTS))
def test_objects__written_as_in_the_golden_file(name):
    """Packs, pages and roots are written as the bytes of their golden files."""
    assert cases.OBJECTS[name] == (GOLDEN / name).read_bytes()


@pytest.mark.parametrize(
    ("name", "raw", "codecs", "magic", "salt"),
    [
        ("pack", cases.RAW, [0, 1, 2, 3], PACK, 0),
        ("pack-salted", cases.RAW[:1], [0], PACK, (1 << 63) - 1),
        ("pages", cases.PAGES_RAW, [1, 1], PAGES, 0),
    ],
)
def test_container__golden_file_read(name, raw, codecs, magic, salt):
    """A golden container tells its pieces, and they unfold to what was put in."""
    data = (GOLDEN / f"{name}.bin").read_bytes()
    table = decode_table(data, len(data), magic, data[-40:-8].hex())
    assert (table.salt, [piece.codec for piece in table.pieces]) == (salt, codecs)
    assert table.size == len(data) - container.TRAILER - int.from_bytes(data[-48:-40], "little")
    found = [
        bytes(unpack(data[piece.offset : piece.offset + piece.stored], piece.codec, piece.raw, name))
        for piece in table.pieces
    ]
    assert found == raw


@pytest.mark.parametrize("number", [0, 1])
def test_page__golden_file_read(number):
    """A golden page is read as the entries that it was written from."""
    assert decode_page((GOLDEN / f"page-{number}.msgpack").read_bytes(), "page") == cases.TWO_PAGES[number]


def test_root__golden_file_read():
    """A golden root is read as the root that it was written from."""
    assert decode_root((GOLDEN / "root.bin").read_bytes(), "root") == cases.ROOT


def test_meta__golden_file_both_ways():
    """The meta of a version in packs names the root, and lists nothing."""
    data = (GOLDEN / "meta-packs.json").read_bytes()
    assert encode_meta(cases.META) == data
    assert decode_meta(data, "meta") == cases.META


# the golden store


@pytest.fixture(params=STORES, ids=lambda path: path.stem)
def golden(request, tmp_path):
    """A golden store laid out in a folder."""
    with tarfile.open(request.param) as members:
        members.extraction_filter = getattr(tarfile, "tar_filter", None)  # Debian 12's Python takes none
        members.extractall(tmp_path)  # noqa: S202 - our own
    (tmp_path / "assets").mkdir()
    return tmp_path / "store"


@pytest.fixture
def trees(tmp_path):
    """The folders that its versions were made of."""
    cases.lay_tree(tmp_path / "source")
    first = flat(tmp_path / "source")
    cases.change_tree(tmp_path / "source")
    return {"0.0": first, "0.1": flat(tmp_path / "source")}


def test_store__is_read_whole(golden, trees):
    """The golden store lists, fetches and verifies, every byte of it; the removed version is removed."""
    repository = holdfast.open(golden.as_uri(), assets_dir=golden.parent / "assets")
    assert repository.versions("golden/tree").versions == ("0.1", "0.0")
    for version, content in trees.items():
        copy = repository.fetch(f"golden/tree:{version}")
        assert flat(copy) == content
        assert (copy / "data" / "empty").is_dir()
        assert (copy / "weights" / "latest").readlink() == Path("single.f32")
        assert (copy / "README.md").stat().st_mode & 0o777 == 0o600
    findings = list(verify(repository, deep=True))
    assert {finding.subject for finding in findings} == {"golden/tree:0.0", "golden/tree:0.1", "golden/empty:0.0"}
    assert all(finding.ok for finding in findings), findings
    assert not list(repository.fetch("golden/empty").glob("[!.]*"))


def test_store__part_of_it_is_read(golden, trees):
    """A file, a folder and a pattern are found in it."""
    repository = holdfast.open(golden.as_uri(), assets_dir=golden.parent / "assets")
    assert repository.fetch("golden/tree:0.0[data/random.bin]").read_bytes() == trees["0.0"]["data/random.bin"]
    assert flat(repository.fetch("golden/tree:0.1[many/5]"))["0005.txt"] == b"edited\n"
    assert set(flat(repository.fetch("golden/tree:stable", include=("*.f32",)))) == {
        "weights/single.f32",
        "weights/small.f32",
    }


def test_store__has_some_of_everything(golden):
    """It holds every codec, files of many chunks, chunks and pages that two versions share."""
    first = second_reader.page_chunks(golden, "golden/tree", "0.0")
    second = second_reader.page_chunks(golden, "golden/tree", "0.1")
    assert {chunk.codec for chunk in first} == {0, 1, 2, 3}
    assert set(first) & set(second)
    assert set(second) - set(first)
    roots = [decode_root((golden / "golden" / "tree" / version).read_bytes(), version) for version in ("0.0", "0.1")]
    assert {page.digest for page in roots[0].pages} & {page.digest for page in roots[1].pages}
    assert len(roots[1].objects) == 2
