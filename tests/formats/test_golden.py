"""Golden files: what was once written is read for ever, and what is written now are these very bytes (FORMAT.md)."""

from __future__ import annotations

import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

import holdfast
from holdfast.formats.convention import decode_meta, decode_versions, encode_meta, encode_versions
from holdfast.formats.records import decode, encode
from holdfast.maintain import verify
from tests.formats import cases

GOLDEN = Path(__file__).parent / "golden"
STORES = sorted((Path(__file__).parent / "stores").glob("*[0-9].tar"))


@pytest.mark.parametrize("name", sorted(cases.METAS))
def test_meta__written_as_in_the_golden_file(name: str) -> None:
    """A meta is written as the bytes of its golden file."""
    assert encode_meta(cases.METAS[name]) == (GOLDEN / name).read_bytes()


@pytest.mark.parametrize("name", sorted(cases.METAS))
def test_meta__golden_file_read(name: str) -> None:
    """A golden meta is read as the value that it was written from."""
    assert decode_meta((GOLDEN / name).read_bytes(), name) == cases.METAS[name]


@pytest.mark.parametrize("name", sorted(cases.RECORDS))
def test_record__both_ways(name: str) -> None:
    """A record of ours is written as its golden file, and read back from it."""
    record = cases.RECORDS[name]
    assert encode(record) == (GOLDEN / name).read_bytes()
    assert decode((GOLDEN / name).read_bytes(), type(record), name) == record


def test_versions__both_ways() -> None:
    """The list of versions has one key and keeps its order."""
    data = (GOLDEN / "bert.versions").read_bytes()
    assert data == encode_versions(["1.10", "1.9", "0.0"])
    assert decode_versions(data, "k") == ["1.10", "1.9", "0.0"]


@pytest.mark.parametrize(
    ("name", "layout", "files"),
    [
        ("foreign-file.json", "file", None),
        ("foreign-tree.json", "tree", ["a", "b/c"]),
        ("foreign-archive.json", "tar.gz", None),
    ],
)
def test_foreign_meta__layout(name: str, layout: str, files: list[str] | None) -> None:
    """A meta without our part: contents mean tree, a directory without them tar.gz, else file; no hash is believed."""
    meta = decode_meta(cases.FOREIGN[name], name)
    assert (meta.layout, meta.push, meta.hash) == (layout, None, None)
    assert (None if meta.manifest is None else [entry.path for entry in meta.manifest.files]) == files


def test_meta__unknown_keys_are_ignored() -> None:
    """A later release may add keys; this one reads past them and keeps them in ``raw``."""
    data = (GOLDEN / "meta-file.json").read_bytes().replace(b'"holdfast":{', b'"later":1,"holdfast":{"later":2,')
    meta = decode_meta(data, "k")
    assert replace(meta, raw={}) == replace(cases.METAS["meta-file.json"], raw={})
    assert meta.raw["later"] == 1


@pytest.mark.parametrize("archive", STORES, ids=lambda path: path.stem)
def test_store__of_an_earlier_release_is_read_whole(archive: Path, tmp_path: Path) -> None:
    """A store written by each release fetches and verifies, every byte of it."""
    with tarfile.open(archive) as members:
        members.extraction_filter = getattr(tarfile, "tar_filter", None)  # Debian 12's Python takes none
        members.extractall(tmp_path)  # noqa: S202 - our own
    (tmp_path / "assets").mkdir()
    repository = holdfast.open((tmp_path / "store").as_uri(), assets_dir=tmp_path / "assets")
    findings = list(verify(repository, deep=True))
    assert {finding.subject for finding in findings} == {"nlp/bert:0.0", "nlp/bert:0.1", "x/archive:0.0", "x/file:1.0"}
    assert all(finding.ok for finding in findings), findings
    assert repository.fetch("nlp/bert:stable[sub/b.bin]").read_bytes() == b"\0" * 1000
    assert (repository.fetch("x/archive") / "sub/link").readlink() == Path("../a.txt")
    assert repository.fetch("x/file").read_text() == "hello\n"
