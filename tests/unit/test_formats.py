"""Bytes from a store: read where they are right, refused with the key named where they are not."""

from __future__ import annotations

import base64
import json
import time

import msgspec
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import IntegrityError
from holdfast.formats import layout
from holdfast.formats.convention import decode_meta, decode_versions, encode_versions
from holdfast.formats.manifest import COMPRESS_FROM, decode_entries, encode_entries
from holdfast.formats.records import STORE_FORMAT, AssetRecord, Claim, PushRecord, StoreRecord, decode
from holdfast.model.digest import digest_of
from holdfast.model.manifest import Entry, Manifest
from holdfast.model.name import check_readable

ZERO = digest_of(b"")
FOREIGN = {"push_date": "2026-01-01T00:00:00+00:00", "is_directory": True, "contents": ["a", "b/c"]}
ENTRY = {"path": "a", "blake3": ZERO}


def ours(**fields):
    """A meta of ours of a tree."""
    part = {"format": 1, "layout": "tree", "push": "p", "entries": [ENTRY]} | fields.pop("part", {})
    return json.dumps({"push_date": FOREIGN["push_date"], "is_directory": True, "holdfast": part} | fields).encode()


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"{}", b'{"versions": 1}', b'{"versions": [1]}', b"\xff", b"null", b"[" * 10**6]
)
def test_decode_versions__damaged(data):
    """A list that is none is an integrity error that names the key."""
    with pytest.raises(IntegrityError, match=r"n\.versions"):
        decode_versions(data, "n.versions")


def test_decode_versions__kept_as_it_stands():
    """Entries that no scheme knows are kept, duplicates dropped, other keys ignored."""
    assert decode_versions(b'{"versions": ["odd!", "1.0", "1.0"], "x": 1}', "k") == ["odd!", "1.0"]
    assert encode_versions(["1.0"]) == b'{"versions":["1.0"]}'


@pytest.mark.parametrize(
    "change",
    [
        {"push_date": None}, {"push_date": "yesterday"}, {"is_directory": "yes"}, {"is_directory": None},
        {"contents": "a"}, {"contents": [1]}, {"contents": ["../a"]}, {"contents": ["/a"]}, {"contents": ["a", "a/b"]},
        {"contents": ["a//b"]}, {"contents": [""]}, {"contents": ["a\0b"]},
    ],
)  # fmt: skip
def test_decode_meta__foreign_damaged(change):
    """A foreign meta of the wrong kind, or with a path that leads out, is refused."""
    with pytest.raises(IntegrityError, match=r"n/1\.0\.meta"):
        decode_meta(json.dumps(FOREIGN | change).encode(), "n/1.0.meta")


@pytest.mark.parametrize(
    "part",
    [
        {"format": 2},
        {"format": "1"},
        {"layout": "zip"},
        {"layout": "file"},
        {"entries": "x"},
        {"entries": [1]},
        {"entries": [{"path": "../a", "blake3": ZERO}]},
        {"entries": [{"path": "/etc/passwd", "blake3": ZERO}]},
        {"entries": [{"path": "a/../../b", "blake3": ZERO}]},
        {"entries": [ENTRY, ENTRY]},
        {"entries": [ENTRY, {"path": "a/b", "blake3": ZERO}]},
        {"entries": [{"path": "l", "kind": "link", "target": "../x"}]},
        {"entries": [{"path": "l", "kind": "link", "target": "/etc"}]},
        {"entries": [{"path": "l", "kind": "link"}]},
        {"entries": [{"path": "l", "kind": "link", "target": "d"}, {"path": "l/x", "blake3": ZERO}]},
        {"entries": [ENTRY | {"kind": "device"}]},
        {"entries": [ENTRY | {"size": -1}]},
        {"entries": [ENTRY | {"mode": "9"}]},
        {"entries": [ENTRY | {"mtime": 10**30}]},
        {"entries": [ENTRY | {"mtime": -(10**30)}]},
        {"entries": [{"path": "a"}]},
        {"entries": [{"path": "a", "blake3": ZERO.upper()}]},
        {"entries": [{"path": "a", "blake3": "0" * 63}]},
        {"entries": [{"path": "b", "blake3": ZERO}, ENTRY]},
        {"entries": None, "entries_zstd": "not base64!"},
        {"entries": None, "entries_zstd": base64.b64encode(b"not zstd").decode()},
        {"entries": None, "entries_zstd": base64.b64encode(zstandard.compress(b"{}")).decode()},
        {"labels": [1]},
    ],
)
def test_decode_meta__ours_hostile(part):
    """A meta of ours that could not have been written by a push is refused before anything is fetched."""
    with pytest.raises(IntegrityError, match=r"n/1\.0\.meta"):
        decode_meta(ours(part=part), "n/1.0.meta")


def test_decode_meta__wrong_hash():
    """A hash that does not fit the entries is refused."""
    with pytest.raises(IntegrityError, match="does not fit"):
        decode_meta(ours(hash="blake3:" + "0" * 64), "k")


def test_decode_meta__unknown_keys():
    """Keys that this release does not know are passed over, and kept in the raw meta."""
    meta = decode_meta(ours(part={"later": 1}, extra=2), "k")
    assert meta.raw["extra"] == 2
    assert meta.raw["holdfast"]["later"] == 1


@pytest.mark.parametrize("size", [1 << 31, None])
def test_decode_entries__bomb(size):
    """A compressed list that unfolds beyond the limit is refused in a moment, whether it says its size or not."""
    begun = time.monotonic()
    if size is None:
        packer = zstandard.ZstdCompressor(level=1).compressobj()
        pieces = [packer.compress(b"\0" * (1 << 24)) for _ in range(80)]
        data = b"".join([*pieces, packer.flush()])
    else:
        # The header of a frame that claims two GiB.
        data = b"\x28\xb5\x2f\xfd\xe0" + size.to_bytes(8, "little") + b"\x01\x00\x00"
    made = time.monotonic() - begun
    with pytest.raises(IntegrityError):
        decode_entries(None, base64.b64encode(data).decode())
    assert time.monotonic() - begun - made < 5


def test_entries__compressed_when_long():
    """A long list is compressed, and both forms read back."""
    for count in (3, 12_000):
        entries = tuple(
            Entry(f"dir/{number:06}", size=number, mode=0o644, mtime=1, digest=ZERO) for number in range(count)
        )
        made = msgspec.json.decode(msgspec.json.encode(encode_entries(entries)))
        assert ("entries_zstd" in made) == (count > 3)
        assert decode_entries(made.get("entries"), made.get("entries_zstd")) == entries
    assert COMPRESS_FROM == 1 << 20


@settings(derandomize=True, deadline=None)
@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x))
)
def test_decode__any_bytes(value):
    """Any bytes at all are an integrity error or a value, never another error."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    part = json.dumps({**FOREIGN, "holdfast": None if isinstance(value, bytes) else value}).encode()
    for read in (
        lambda: decode_versions(data, "k"),
        lambda: decode_meta(data, "k"),
        lambda: decode_meta(part, "k"),
        lambda: decode(data, Claim, "k"),
        lambda: decode(data, AssetRecord, "k"),
        lambda: decode(data, PushRecord, "k"),
    ):
        try:
            read()
        except IntegrityError:
            continue


def test_records__newer_store():
    """A store of a newer format is refused, saying that the program is too old."""
    record = {"format": STORE_FORMAT + 1, "id": "i", "origin": "holdfast", "created": "2026-01-01T00:00:00+00:00"}
    with pytest.raises(IntegrityError, match="upgrade"):
        decode(json.dumps(record).encode(), StoreRecord, "k")


NAMES = st.lists(st.text("aZ0._-", min_size=1, max_size=5), min_size=1, max_size=4).map("/".join)


@settings(derandomize=True)
@given(NAMES)
def test_layout__keys_of_ours(name):
    """An encoded name is one piece, reads back, and no key of ours can be taken for the convention's."""
    try:
        check_readable(name)
    except ValueError:
        return
    piece = layout.encode_name(name)
    assert layout.decode_name(piece) == name
    assert "/" not in piece
    for key in (layout.asset_key(name), layout.claim_key(name, "1.0"), layout.push_key("0" * 32)):
        assert not key.endswith((".versions", ".meta"))
        assert layout.name_of_versions_key(key) is None
    assert layout.name_of_versions_key(layout.versions_key(name)) == name


def test_manifest__from_foreign_meta():
    """A foreign tree has no digests, so no content hash is made up."""
    meta = decode_meta(json.dumps(FOREIGN).encode(), "k")
    assert isinstance(meta.manifest, Manifest)
    assert meta.manifest.content_hash is None
