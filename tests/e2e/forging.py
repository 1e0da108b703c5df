"""Hostile versions of layout ``packs``: made with the encoders, past all checks, and with right digests up the chain.

What a test wants to be refused is put in at one link; everything above it names what is really there, so that it is that very
check that refuses, and not the digest of something else.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import zstandard

from holdfast.formats.codec import pack
from holdfast.formats.container import PACK, PAGES, encode_table
from holdfast.formats.pages import encode_page
from holdfast.model.chunk import Chunk, Placed
from holdfast.model.digest import digest_of, raw_digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["Forge", "file_of", "frame", "page_of", "with_column"]


def frame(data: bytes, *, size: bool = True) -> bytes:
    """A zstd frame, which tells its size or does not."""
    return zstandard.ZstdCompressor(level=1, write_content_size=size).compress(data)


def file_of(path: str | bytes, *chunks: Chunk, data: bytes | None = None) -> Placed:
    """A file of these chunks, or of these bytes in the page."""
    name = path if isinstance(path, bytes) else path.encode()
    if data is not None:
        return Placed.inline(name, 0o644, 1, data)
    digest = chunks[0].digest if len(chunks) == 1 else b"d" * 32
    return Placed(name, ord("f"), 0o644, 1, sum(chunk.raw for chunk in chunks), digest, tuple(chunks))


def page_of(*entries: Placed) -> bytes:
    """The raw form of a page of these entries, in this order."""
    return encode_page(entries)


def with_column(raw: bytes, **columns: Any) -> bytes:
    """The same table with other columns: ``c9=[1 << 32]`` replaces column 9."""
    values: list[Any] = msgspec.msgpack.decode(raw)
    for name, value in columns.items():
        values[int(name[1:])] = value
    return msgspec.msgpack.encode(values)


class Forge:
    """Writes into a store in a folder."""

    def __init__(self, store: Path) -> None:
        self.store = store

    def pack(self, *pieces: tuple[bytes, int], codec: int = 1, digest: bytes | None = None) -> list[Chunk]:
        """A pack of stored pieces that promise to unfold to so many bytes; its chunks."""
        stored, raw = [len(data) for data, _ in pieces], [length for _, length in pieces]
        digests = [digest or raw_digest_of(data) for data, _ in pieces]
        name, tail = encode_table(stored, raw, bytes([codec]) * len(pieces), b"".join(digests), magic=PACK)
        self._write("packs", name.hex(), b"".join(data for data, _ in pieces) + tail)
        starts = [sum(stored[:at]) for at in range(len(pieces))]
        return [Chunk(name, *row, codec, own) for *row, own in zip(starts, stored, raw, digests, strict=True)]

    def version(
        self,
        name: str,
        *pages: bytes,
        stored: Sequence[bytes] | None = None,
        packs: Sequence[bytes] = (),
        root: Callable[[bytes], bytes] = lambda raw: raw,
        **meta: Any,
    ) -> None:
        """Version 0.0 of an asset of these raw pages; ``root`` changes the raw form of the root, ``meta`` our part of the meta."""
        frames = list(stored or [pack(raw, 1) for raw in pages])
        lengths, digests = list(map(len, frames)), list(map(raw_digest_of, pages))
        name_of, tail = encode_table(lengths, list(map(len, pages)), b"\1" * len(pages), b"".join(digests), magic=PAGES)
        self._write("pages", name_of.hex(), b"".join(frames) + tail)
        rows = [_row(raw) for raw in pages]
        offsets = [sum(lengths[:at]) for at in range(len(pages))]
        raws = list(map(len, pages))
        columns = [list(column) for column in zip(*rows, strict=True)]
        values = [1, name_of, b"".join(packs), *columns, [0] * len(pages), offsets, lengths, raws, b"".join(digests)]
        self.root(name, b"HFROOT1\n" + frame(root(msgspec.msgpack.encode(values))), **meta)

    def root(self, name: str, data: bytes, **meta: Any) -> None:
        """A root of these bytes, and a meta that names it."""
        (self.store / name).mkdir(parents=True, exist_ok=True)
        (self.store / name / "0.0").write_bytes(data)
        ours = {"format": 1, "layout": "packs", "push": "p", "files": 1, "bytes": 1, "root": digest_of(data)} | meta
        value = {"push_date": "2026-01-01T00:00:00+00:00", "is_directory": True, "holdfast": ours}
        (self.store / name / "0.0.meta").write_text(json.dumps(value))
        (self.store / f"{name}.versions").write_text('{"versions": ["0.0"]}')

    def _write(self, kind: str, name: str, data: bytes) -> None:
        path = self.store / ".holdfast" / kind / name[:2] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _row(raw: bytes) -> tuple[bytes, bytes, int, int, int]:
    """First and last path, entries, files and bytes, as a page claims them, wherever they can be told."""
    values: list[Any] = msgspec.msgpack.decode(raw)
    path, paths = b"", []
    for shared, rest in zip(values[2][:4096], values[3][:4096], strict=False):
        path = path[:shared] + rest
        paths.append(path)
    sizes = values[8]
    return paths[0], paths[-1], len(values[3]), len(sizes), sum(sizes)
