"""What is fuzzed: every reader of bytes from a store or a cache, with samples to begin from.

A target takes any bytes and ends quietly, or lets out what no reader may raise. Where a digest stands before the reader, the
target puts the right one in, so that what is behind it is reached.
"""

from __future__ import annotations

import stat
import struct
from array import array
from typing import TYPE_CHECKING

import zstandard

from holdfast.errors import IntegrityError
from holdfast.formats.codec import unpack
from holdfast.formats.container import PACK, PAGES, decode_table
from holdfast.formats.convention import decode_meta, decode_versions, encode_meta, encode_versions
from holdfast.formats.pages import decode_chunks, decode_digests, decode_page, decode_rows
from holdfast.formats.records import decode, encode
from holdfast.formats.root import MAGIC, decode_root
from holdfast.formats.stats import DirTable, TreeStats, decode_stats, encode_stats
from holdfast.model.digest import raw_digest_of
from holdfast.model.manifest import Manifest
from holdfast.mount.base import ROOT
from holdfast.mount.nodes import Nodes
from holdfast.mount.sheets import check_rows
from tests.formats import pack_cases as cases
from tests.formats.cases import METAS
from tests.formats.cases import RECORDS as NAMED_RECORDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.formats.pages import Rows

__all__ = ["TARGETS"]


def container(data: bytes) -> None:
    """A whole object, under the name that it tells itself."""
    for magic in (PACK, PAGES):
        table = decode_table(data, len(data), magic, data[-40:-8].hex())
        assert table.size <= len(data)


def table(data: bytes) -> None:
    """A table, behind as many bytes as its first number says, under its right name."""
    size = int.from_bytes(data[:3], "little")
    name = raw_digest_of(data[3:])
    tail = data[3:] + struct.pack("<Q32s8s", len(data[3:]), name, PACK)
    found = decode_table(tail, size + len(tail), PACK, name.hex())
    assert found.size == size
    assert all(piece.offset + piece.stored <= size for piece in found.pieces)


def page(data: bytes) -> None:
    """The raw form of a page, up to the manifest of its entries; its chunks alone are the same."""
    found = decode_page(data, "page")
    chunks = [chunk for entry in found if isinstance(entry.content, tuple) for chunk in entry.content]
    assert decode_chunks(data, "page") == chunks
    assert sorted(decode_digests(data, "page")) == sorted(chunk.digest for chunk in chunks)
    for entry in found:
        content = entry.content
        assert entry.size == (len(content) if isinstance(content, bytes) else sum(chunk.raw for chunk in content))
    Manifest(tuple(entry.entry for entry in found))


def tree(data: bytes) -> None:
    """The raw form of a page as a mount shows it: every name is one piece, every number leads back to what was shown."""
    rows = check_rows(decode_rows(data, "page"), "page")
    assert rows.paths == [entry.path for entry in decode_page(data, "page")]
    nodes, todo, seen = Nodes(_Sheet(rows), 0), [ROOT], 0
    while todo:
        node = todo.pop()
        for item in nodes.items(node, 0):
            assert item.name
            assert item.name not in (b".", b"..")
            assert not {*item.name} & {0, ord("/")}
            assert nodes.lookup(node, item.name) == nodes.attributes(item.attributes.node) == item.attributes
            seen += 1
            if stat.S_ISDIR(item.attributes.mode):
                todo.append(item.attributes.node)
    assert seen >= len(rows.paths)


class _Sheet:
    """One page as all there is."""

    def __init__(self, rows: Rows) -> None:
        self.firsts, self.lasts = rows.paths[:1], rows.paths[-1:]
        self.starts = [0, len(rows.paths)] if rows.paths else [0]
        self._rows = rows

    def sheet(self, _number: int) -> Rows:
        """What there is."""
        return self._rows


def root(data: bytes) -> None:
    """The raw form of a root, in a good frame."""
    found = decode_root(MAGIC + zstandard.compress(data), "root")
    assert list(found.within(b"a")) is not None


def root_object(data: bytes) -> None:
    """A root as it lies in the store."""
    decode_root(data, "root")


def frame(data: bytes) -> None:
    """A stored chunk, with its codec and raw length before it."""
    codec, raw = data[0] % 6 if data else 0, int.from_bytes(data[1:3], "little")
    assert len(memoryview(unpack(data[3:], codec, raw, "chunk"))) == raw


def stats(data: bytes) -> None:
    """A file of stats: what cannot be read is None."""
    decode_stats(data)


def meta(data: bytes) -> None:
    """A meta."""
    decode_meta(data, "n/1.0.meta")


def records(data: bytes) -> None:
    """Any record of ours, by the first byte."""
    record = RECORDS[data[0] % len(RECORDS)] if data else RECORDS[0]
    decode(data[1:], type(record), "record")


def versions(data: bytes) -> None:
    """A list of versions."""
    decode_versions(data, "n.versions")


RECORDS = list(NAMED_RECORDS.values())
_STATS = TreeStats("p", "n", "0.0", "r", "h", 1, 2, {"": DirTable(["a", "b"], array("q", range(10)))})
_NAMED = len(cases.PACK_DATA) - 48 - int.from_bytes(cases.PACK_DATA[-48:-40], "little")

#: By name: the reader, and what it reads.
TARGETS: dict[str, tuple[Callable[[bytes], None], list[bytes]]] = {
    "container": (container, [cases.PACK_DATA, cases.PAGES_DATA, cases.SALTED_DATA]),
    "table": (table, [_NAMED.to_bytes(3, "little") + cases.PACK_DATA[_NAMED:-48]]),
    "page": (page, cases.PAGES_RAW),
    "tree": (tree, cases.PAGES_RAW),
    "root": (root, [zstandard.decompress(cases.ROOT_DATA[8:])]),
    "root object": (root_object, [cases.ROOT_DATA]),
    "frame": (
        frame,
        [bytes([codec]) + len(raw).to_bytes(2, "little") + cases.STORED[codec] for codec, raw in enumerate(cases.RAW)],
    ),
    "stats": (stats, [encode_stats(_STATS)]),
    "meta": (meta, [encode_meta(found) for found in (cases.META, METAS["meta-tree.json"], METAS["meta-file.json"])]),
    "records": (records, [bytes([number]) + encode(record) for number, record in enumerate(RECORDS)]),
    "versions": (versions, [encode_versions(["1.0", "0.1"])]),
}


def run(name: str, data: bytes) -> None:
    """One input for one target: what a reader may say of bad bytes is an integrity error and nothing else."""
    try:
        TARGETS[name][0](data)
    except IntegrityError:
        return
