"""The bundle behind ``golden/bundle.tar``: a version in packs, made of the golden objects, and a tree of two equal files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from holdfast.formats import layout as keys
from holdfast.formats.bundle import (
    END,
    RECORD,
    BundleRecord,
    BundleVersion,
    Member,
    Other,
    encode_record,
    header,
    padding,
)
from holdfast.formats.convention import encode_meta
from holdfast.model.digest import digest_of
from holdfast.model.manifest import Entry, Manifest
from tests.formats import cases, pack_cases

GOLDEN = Path(__file__).parent / "golden"

_PACKED = Manifest(tuple(entry.entry for entry in pack_cases.ENTRIES))
PACKED = replace(pack_cases.META, hash=_PACKED.content_hash, message="from a bundle")
_HELLO = Entry("a.txt", size=5, mode=0o644, mtime=1, digest=digest_of(b"hello"))
TREE = cases.meta("tree", Manifest((_HELLO, replace(_HELLO, path="long/" * 30 + "ü.txt"))), parent="0.0")
_TWIN = keys.file_key("n/tree", "0.1", "long/" * 30 + "ü.txt")


def objects() -> dict[str, bytes]:
    """The members, by key."""
    golden = {name: (GOLDEN / name).read_bytes() for name in ("pack.bin", "pack-salted.bin", "pages.bin", "root.bin")}
    return {
        keys.pack_key(pack_cases.PACK_NAME.hex()): golden["pack.bin"],
        keys.pack_key(pack_cases.SALTED_NAME.hex()): golden["pack-salted.bin"],
        keys.pages_key(pack_cases.PAGES_NAME.hex()): golden["pages.bin"],
        "n/packs/1.0": golden["root.bin"],
        "n/packs/1.0.meta": encode_meta(PACKED),
        "n/tree/0.1/a.txt": b"hello",
        "n/tree/0.1.meta": encode_meta(TREE),
    }


def record() -> BundleRecord:
    """The last member."""
    return BundleRecord(
        1,
        cases.STAMP,
        cases.WHO,
        "s3://bucket/prefix",
        (BundleVersion("n/packs", "1.0", PACKED.hash, ("stable",)), BundleVersion("n/tree", "0.1", TREE.hash)),
        tuple(Member(key, len(data), digest_of(data)) for key, data in objects().items()),
        (Other(_TWIN, "n/tree/0.1/a.txt", 5),),
    )


def bundle() -> bytes:
    """The whole file."""
    members = objects() | {RECORD: encode_record(record())}
    return b"".join(header(key, len(data)) + data + padding(len(data)) for key, data in members.items()) + END
