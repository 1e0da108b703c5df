"""Files out of packs, in memory: in which batches they are read, and that they are what was pushed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

import holdfast
from holdfast.errors import IntegrityError
from holdfast.model.chunk import Chunk, Placed
from holdfast.transfer.streaming import batches, pieces_of, whole_files

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1024 * 1024


def placed(name: str, pack: int, offset: int, size: int) -> Placed:
    chunk = Chunk(bytes([pack]), offset, size, size, 0, b"")
    return Placed(name.encode(), ord("f"), 0o644, 0, size, b"", (chunk,))


def test_batches__in_the_order_of_packs():
    """Files lie in batches as they lie in packs, of so many bytes; one that is larger is alone."""
    files = [placed("d", 2, 0, 9), placed("b", 1, 4, 6), placed("a", 1, 0, 4), placed("c", 1, 10, 2)]
    assert [[file.path for file in batch] for batch in batches(files, 10)] == [[b"a", b"b"], [b"c"], [b"d"]]
    assert [len(batch) for batch in batches([placed("a", 1, 0, 30), placed("b", 1, 30, 1)], 10)] == [1, 1]
    assert batches([], 10) == []
    assert batches([Placed.inline(b"t", None, None, b"tiny"), *files[:1]], 10) == [
        [Placed.inline(b"t", None, None, b"tiny")],
        [files[0]],
    ]


@pytest.fixture
def pushed(tmp_path: Path):
    """A version of empty, tiny, small, compressible and large files, some bytes of which stand twice."""
    source, twice = tmp_path / "source", os.urandom(3 * MIB)
    source.mkdir()
    files = {
        "empty": b"",
        "tiny": b"t",
        "text": b"all work and no play " * 9000,
        "large": os.urandom(2 * MIB) + twice + b"\0" * 6 * MIB,
        "again": twice + os.urandom(100_000),
        **{f"small{number}": os.urandom(1000 + 4000 * number) for number in range(50)},
    }
    for name, data in files.items():
        (source / name).write_bytes(data)
    (tmp_path / "store").mkdir()
    repository = holdfast.open((tmp_path / "store").as_uri(), assets_dir=tmp_path / "assets")
    version = repository.push(source, "a", layout="packs").version
    meta = repository.catalog.published("a", version).meta
    entries = [each for each in repository.local.packed("a", version, meta).each() if each.kind == ord("f")]
    return repository, files, entries


def test_whole_files(pushed):
    """Every file comes once, and whole."""
    repository, files, entries = pushed
    found = list(whole_files(repository.store, repository.engine, entries, lambda path, data: (path, bytes(data))))
    assert len(found) == len(files)
    assert dict(found) == files


def test_pieces_of(pushed):
    """A file comes piece by piece, from its first byte to its last."""
    repository, files, entries = pushed
    for entry in entries:
        pieces = list(pieces_of(repository.store, repository.engine, entry))
        assert b"".join(pieces) == files[entry.path.decode()]


def test_streaming__damaged(pushed, tmp_path: Path):
    """A chunk that is not what the manifest says is never handed out."""
    repository, _, entries = pushed
    for path in (tmp_path / "store/.holdfast/packs").rglob("*"):
        if path.is_file():
            path.chmod(0o600)
            path.write_bytes(b"\xff" * path.stat().st_size)
    stored = [entry for entry in entries if not isinstance(entry.content, bytes)]
    seen: list[str] = []
    for entry in stored:
        with pytest.raises(IntegrityError, match=r"does not match|does not unfold|damaged"):
            list(whole_files(repository.store, repository.engine, [entry], lambda path, _: seen.append(path)))
        with pytest.raises(IntegrityError, match=r"does not match|does not unfold|damaged"):
            list(pieces_of(repository.store, repository.engine, entry))
    assert seen == []
