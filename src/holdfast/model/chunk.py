"""Chunks, and entries with the place of their bytes: what layout ``packs`` is made of (FORMAT.md §9).

Digests and names of packs are 32 raw bytes here: a version may have a million of them.
"""

from __future__ import annotations

from typing import NamedTuple

from holdfast.model.digest import raw_digest_of
from holdfast.model.manifest import Entry, Kind

__all__ = ["CODEC_NONE", "CODEC_PLANES2", "CODEC_PLANES4", "CODEC_ZSTD", "Chunk", "Placed", "canonical"]

CODEC_NONE = 0
CODEC_ZSTD = 1
CODEC_PLANES2 = 2
CODEC_PLANES4 = 3

_KINDS: dict[int, Kind] = {ord("f"): "file", ord("d"): "dir", ord("l"): "link"}


class Chunk(NamedTuple):
    """A piece of a file in a pack: ``stored`` bytes from ``offset``, which unfold to ``raw`` bytes of this digest."""

    pack: bytes
    offset: int
    stored: int
    raw: int
    codec: int
    digest: bytes


class Placed(NamedTuple):
    """An entry and where its bytes are.

    ``kind`` is ``f``, ``d`` or ``l`` as a byte. Of a file, ``content`` is its bytes, where they stand in the page, or its
    chunks; ``digest`` is 32 bytes. ``target`` is a link's.
    """

    path: bytes
    kind: int
    mode: int | None
    mtime: int | None
    size: int = 0
    digest: bytes = b""
    content: bytes | tuple[Chunk, ...] = b""
    target: str | None = None

    @property
    def entry(self) -> Entry:
        """As the manifest has it."""
        path, digest = self.path.decode(), self.digest.hex() if self.kind == _FILE else None
        return Entry(path, _KINDS[self.kind], self.size, self.mode, self.mtime, digest, self.target)

    @classmethod
    def inline(cls, path: bytes, mode: int | None, mtime: int | None, data: bytes) -> Placed:
        """A tiny file, whose bytes stand in the page."""
        return cls(path, _FILE, mode, mtime, len(data), raw_digest_of(data), data)

    def canonical(self) -> bytes:
        """Its part of what the content hash covers."""
        return canonical(self.path, self.kind, self.mode, self.digest, self.target)


def canonical(path: bytes, kind: int, mode: int | None, digest: bytes, target: str | None) -> bytes:
    """An entry's part of what the content hash covers (FORMAT.md §5)."""
    if kind == _FILE:
        mark = b"x\0" if (mode or 0) & 0o100 else b"f\0"
        return mark + path + b"\0" + digest.hex().encode() + b"\0"
    if kind == _DIR:
        return b"d\0" + path + b"\0\0"
    return b"l\0" + path + b"\0" + (target or "").encode() + b"\0"


_FILE = ord("f")
_DIR = ord("d")
