"""What a copy of a bucket remembers: bytes that are read for ever (FORMAT.md §12)."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import zstandard

from holdfast.errors import IntegrityError
from holdfast.formats.copies import PairRow, PairsRecord, decode_pairs, encode_pairs

GOLDEN = Path(__file__).parent / "golden" / "pairs.bin"
RECORD = PairsRecord(
    1,
    "s3://www-example-com-assets-images@https://s3.example.com",
    1767225600.5,
    1767222000.25,
    1,
    2,
    [
        PairRow("2026/01/é.jpg", "0" * 32, 5, 1767225000.0, "6a-17-5", 5, 1767225001.5),
        PairRow("a.png", "1" * 32 + "-3", 20 << 20, 1.0, "2" * 32, 20 << 20, 0.0),
    ],
)


def test_pairs__both_ways():
    """The golden file is read as the value that it was written from, and written again so that it unfolds to the same."""
    assert decode_pairs(GOLDEN.read_bytes(), "k") == RECORD
    unfolded = [zstandard.decompress(data) for data in (GOLDEN.read_bytes(), encode_pairs(RECORD))]
    assert unfolded[0] == unfolded[1]


def test_pairs__what_is_not_told_is_left_out():
    """A record of nothing has only what must be there, and reads back."""
    bare = PairsRecord(1, "file:///a", 5.0)
    assert msgspec.msgpack.decode(zstandard.decompress(encode_pairs(bare))) == {
        "format": 1,
        "first": "file:///a",
        "looked": 5.0,
    }
    assert decode_pairs(encode_pairs(bare), "k") == bare


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no frame",
        GOLDEN.read_bytes()[:-5] if GOLDEN.exists() else b"",
        zstandard.compress(b"\x93"),
        zstandard.compress(msgspec.msgpack.encode({"format": 2, "first": "x", "looked": 1.0})),
        zstandard.compress(msgspec.msgpack.encode({"format": 1, "first": "x", "looked": 1.0, "rows": [["a"]]})),
        zstandard.ZstdCompressor(write_content_size=False).compress(b"x" * 10),
    ],
)
def test_pairs__damaged(data):
    """What is no record, cut, of a newer format, or does not tell its length is an integrity error that names the key."""
    with pytest.raises(IntegrityError, match="the/key"):
        decode_pairs(data, "the/key")
