"""The values behind the golden files: what each file under ``golden/`` must decode to, and be encoded from."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from holdfast.formats.convention import Meta
from holdfast.formats.records import (
    AnyRecord,
    AssetRecord,
    Claim,
    CondemnedRecord,
    CondemnedVersion,
    DoneRecord,
    PushRecord,
    StoreRecord,
    Tombstone,
    join_names,
)
from holdfast.model.digest import digest_of
from holdfast.model.manifest import Entry, Manifest

DATE = datetime(2026, 11, 21, 6, 0, 0, 123456, tzinfo=UTC)
STAMP = "2026-11-21T06:00:00.123456+00:00"
PUSH = "0123456789abcdef0123456789abcdef"
WHO = "ada@analytical"

FILE = Manifest(
    (Entry("model.bin", size=5, mode=0o644, mtime=1_700_000_000_123_456_789, digest=digest_of(b"hello")),), single=True
)
TREE = Manifest.of(
    [
        Entry("a.txt", size=5, mode=0o644, mtime=1, digest=digest_of(b"hello")),
        Entry("bin", "dir", mode=0o755, mtime=2),
        Entry("bin/run", size=4, mode=0o755, mtime=3, digest=digest_of(b"#!x\n")),
        Entry("empty", "dir", mode=0o700, mtime=4),
        Entry("latest", "link", mtime=5, target="bin/run"),
        Entry("ünï/.hidden", size=0, mode=0o600, mtime=6, digest=digest_of(b"")),
    ]
)
MANY = Manifest.of(
    Entry(f"d{index % 7}/file-{index:05}", size=index, mode=0o644, mtime=index, digest=digest_of(b"%d" % (index % 9)))
    for index in range(8000)
)


def meta(layout: str, manifest: Manifest, **more: Any) -> Meta:
    """A meta of ours with fixed date and push."""
    directory = not manifest.single
    return Meta(DATE, layout, directory, manifest.content_hash, manifest, push=PUSH, who=WHO, **more)


METAS: dict[str, Meta] = {
    "meta-file.json": meta("file", FILE),
    "meta-tree.json": meta("tree", TREE, message="first", parent="0.0", labels={"k": "v"}, inputs=("data/set:1.0",)),
    "meta-tar-gz.json": meta("tar.gz", TREE, listed=False),
    "meta-tree-compressed.json": meta("tree", MANY),
}

RECORDS: dict[str, AnyRecord] = {
    "store.json": StoreRecord(1, PUSH, "holdfast", STAMP),
    "store-changed.json": StoreRecord(1, PUSH, "modelkit", STAMP, layout="tar.gz", versioning="simple_date", undo=60),
    "claim.json": Claim(PUSH, "nlp/bert", "1.0", WHO, STAMP),
    "push-open.json": PushRecord(PUSH, "nlp/bert", WHO, STAMP, STAMP),
    "push-closed.json": PushRecord(PUSH, "nlp/bert", WHO, STAMP, STAMP, STAMP),
    "asset.json": AssetRecord({"stable": "1.0"}, {"0.9": Tombstone(PUSH, STAMP, WHO)}, {"1.0": "in production"}),
    "asset-final.json": AssetRecord(tombstones={"0.9": Tombstone(PUSH, STAMP, WHO, final=True)}),
    "gc.json": CondemnedRecord(
        1,
        STAMP,
        WHO,
        join_names([digest_of(b"second"), digest_of(b"first")]),
        join_names([digest_of(b"pages")]),
        (CondemnedVersion("nlp/bert", "0.9", PUSH, "packs"),),
    ),
    "gc-empty.json": CondemnedRecord(1, STAMP, WHO),
    "gc-done.json": DoneRecord(STAMP, WHO, deleted=4, kept=0),
}

#: modelkit 0.1.3 writes these; the texts are facts of its format, not of its code.
FOREIGN = {
    "foreign-file.json": b'{"push_date": "2024-03-01T10:00:00.000001+00:00", "is_directory": false}',
    "foreign-tree.json": b'{"push_date": "2024-03-01T10:00:00.000001+00:00", "is_directory": true, "contents": ["a", "b/c"]}',
    "foreign-archive.json": b'{"push_date": "2021-05-01T10:00:00+00:00", "is_directory": true, "hash": "d41d8cd9"}',
}
