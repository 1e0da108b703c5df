"""The golden bundle: written as these very bytes, and imported for ever (FORMAT.md §10)."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING

from holdfast.config import load
from holdfast.maintain import verify
from holdfast.model.digest import digest_of
from holdfast.replicate import import_
from holdfast.store.bundle import read_record
from holdfast.store.memory import MemoryStore
from holdfast.wiring import open_on
from tests.formats import bundle_cases
from tests.formats.bundle_cases import GOLDEN

if TYPE_CHECKING:
    from pathlib import Path


def test_bundle__written_as_the_golden_file() -> None:
    """A bundle is written as the bytes of its golden file, and its record read back from it."""
    assert bundle_cases.bundle() == (GOLDEN / "bundle.tar").read_bytes()
    assert read_record(GOLDEN / "bundle.tar") == bundle_cases.record()


def test_bundle__golden_file_imported(tmp_path: Path) -> None:
    """The golden bundle is imported, and all of it is verified."""
    (tmp_path / "assets").mkdir()
    repository = open_on(MemoryStore("golden-bundle"), load({"assets_dir": tmp_path / "assets"}))
    copied = list(import_(repository, GOLDEN / "bundle.tar", aliases=True))
    assert [(each.spec, each.layout, each.aliases) for each in copied] == [
        ("n/packs:1.0", "packs", ("stable",)),
        ("n/tree:0.1", "tree", ()),
    ]
    assert all(finding.ok for finding in verify(repository, deep=True))
    assert (repository.fetch("n/packs:stable") / ".hidden").read_bytes() == b"in the page"
    twin = repository.fetch("n/tree") / ("long/" * 30 + "ü.txt")
    assert twin.read_bytes() == b"hello"


def test_bundle__second_reader() -> None:
    """What FORMAT.md says of a bundle is enough to read it: a tar whose last member lists the others with their digests."""
    with tarfile.open(fileobj=io.BytesIO((GOLDEN / "bundle.tar").read_bytes())) as archive:
        members = archive.getmembers()
        data = {member.name: archive.extractfile(member).read() for member in members}
    record = json.loads(data.pop(members[-1].name))
    assert members[-1].name == ".holdfast/bundle.json"
    assert [(key, len(body), digest_of(body)) for key, body in data.items()] == [
        (each["key"], each["size"], each["blake3"]) for each in record["members"]
    ]
