"""A second reader of layout ``packs``, written from FORMAT.md alone: what it cannot read, the document does not say.

It shares no line with Holdfast, not even the library that decodes msgpack, and checks every link of the chain of proof. It is
slow and simple: whole objects are read, one after the other.

    read(Path("/store"), "nlp/bert", "0.1")["model/weights.bin"].data
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

import zstandard
from blake3 import blake3

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Item", "Place", "packed_chunks", "page_chunks", "read", "versions"]


class Item(NamedTuple):
    """An entry: ``kind`` is ``f``, ``d`` or ``l``; ``data`` a file's bytes, or a link's target."""

    kind: str
    mode: int | None
    mtime: int | None
    data: bytes


class Place(NamedTuple):
    """Where a chunk lies, and how."""

    pack: str
    offset: int
    stored: int
    raw: int
    codec: int
    digest: bytes


def versions(store: Path, name: str) -> list[str]:
    """The listed versions of an asset, newest first (§3)."""
    listed: list[str] = json.loads((store / f"{name}.versions").read_text())["versions"]
    return listed


def read(store: Path, name: str, version: str) -> dict[str, Item]:
    """Every entry of a version by its path, proven from its meta down to the bytes of each chunk (§4, §5, §9)."""
    meta = json.loads((store / name / f"{version}.meta").read_text())
    ours = meta["holdfast"]
    assert (ours["format"], ours["layout"], meta["is_directory"]) == (1, "packs", True)
    entries = list(_entries(store, _root(store, name, version, ours["root"])))
    found = {}
    packs: dict[str, bytes] = {}
    for entry in entries:
        data = _content(store, entry, packs) if entry["kind"] == "f" else entry.get("target", "").encode()
        assert entry["path"] not in found, "a path appears twice"
        found[entry["path"]] = Item(entry["kind"], entry["mode"], entry["mtime"], data)
    files = [item for item in found.values() if item.kind == "f"]
    assert (len(files), sum(len(item.data) for item in files)) == (ours["files"], ours["bytes"])
    assert list(found) == sorted(found, key=str.encode)
    assert meta["hash"] == f"blake3:{_content_hash(found)}"
    return found


def page_chunks(store: Path, name: str, version: str) -> list[Place]:
    """Every chunk that the pages of a version name."""
    root = json.loads((store / name / f"{version}.meta").read_text())["holdfast"]["root"]
    return [chunk for entry in _entries(store, _root(store, name, version, root)) for chunk in entry.get("chunks", ())]


def packed_chunks(store: Path) -> Iterator[Place]:
    """Every chunk in every pack, as the packs themselves tell (§9.1)."""
    for path in sorted((store / ".holdfast" / "packs").glob("??/*")):
        assert path.parent.name == path.name[:2]
        yield from _pieces(path.read_bytes(), b"HFPACK1\n", path.name)


# the content hash, §5


def _content_hash(items: dict[str, Item]) -> str:
    hasher = blake3(b"holdfast manifest 1\n")
    occupied = {path.rpartition("/")[0] for path in items}
    for path, item in items.items():
        if item.kind == "d" and path in occupied:
            continue
        mark = "x" if item.kind == "f" and (item.mode or 0) & 0o100 else item.kind
        value = {"f": blake3(item.data).hexdigest().encode(), "d": b"", "l": item.data}[item.kind]
        hasher.update(mark.encode() + b"\0" + path.encode() + b"\0" + value + b"\0")
    return hasher.hexdigest()


# containers and codecs, §9.1


def _pieces(data: bytes, magic: bytes, name: str) -> list[Place]:
    length, digest, end = struct.unpack("<Q32s8s", data[-48:])
    table = data[len(data) - 48 - length : len(data) - 48]
    assert end == magic
    assert blake3(table).digest() == digest == bytes.fromhex(name)
    form, salt, stored, raw, codecs, digests = _msgpack(table)
    assert form == 1
    assert 0 <= salt < 1 << 63
    assert len(stored) == len(raw) == len(codecs) == len(digests) // 32
    assert sum(stored) == len(data) - 48 - length
    offsets = [sum(stored[:at]) for at in range(len(stored))]
    columns = zip(offsets, stored, raw, codecs, _split(digests), strict=True)
    return [Place(name, *row) for row in columns]


def _unpack(data: bytes, place: Place) -> bytes:
    data = data[place.offset : place.offset + place.stored]
    if place.codec:
        assert zstandard.frame_content_size(data) == place.raw
        data = zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
    if place.codec in (2, 3):
        width = 2 * place.codec - 2
        rows = len(data) // width
        numbers = (data[row + rows * column] for row in range(rows) for column in range(width))
        data = bytes(numbers) + data[rows * width :]
    assert len(data) == place.raw
    assert blake3(data).digest() == place.digest
    return data


def _content(store: Path, entry: dict[str, Any], packs: dict[str, bytes]) -> bytes:
    if not entry["chunks"]:
        data: bytes = entry["inline"]
    else:
        for name in {chunk.pack for chunk in entry["chunks"]} - packs.keys():
            packs[name] = (store / ".holdfast" / "packs" / name[:2] / name).read_bytes()
        data = b"".join(_unpack(packs[chunk.pack], chunk) for chunk in entry["chunks"])
        assert blake3(data).digest() == entry["digest"]
    assert len(data) == entry["size"]
    return data


# root and pages, §9.2 and §9.3


def _root(store: Path, name: str, version: str, digest: str) -> list[Any]:
    data = (store / name / version).read_bytes()
    assert blake3(data).hexdigest() == digest
    assert data[:8] == b"HFROOT1\n"
    root: list[Any] = _msgpack(zstandard.ZstdDecompressor().decompress(data[8:], allow_extra_data=False))
    assert root[0] == 1
    for names in (root[1], root[2]):
        assert list(_split(names)) == sorted(set(_split(names)))
    return root


def _entries(store: Path, root: list[Any]) -> Iterator[dict[str, Any]]:
    _, objects, packs, first, last, entries, files, size, at, offset, stored, raw, digests = root
    names = [digest.hex() for digest in _split(objects)]
    needed = set()
    for page, digest in enumerate(_split(digests)):
        name = names[at[page]]
        data = (store / ".holdfast" / "pages" / name[:2] / name).read_bytes()
        place = Place(name, offset[page], stored[page], raw[page], 1, digest)
        assert place in _pieces(data, b"HFPAGE1\n", name)
        found = list(_page(_msgpack(_unpack(data, place))))
        assert (found[0]["path"].encode(), found[-1]["path"].encode()) == (first[page], last[page])
        sizes = [entry["size"] for entry in found if entry["kind"] == "f"]
        assert (len(found), len(sizes), sum(sizes)) == (entries[page], files[page], size[page])
        needed |= {chunk.pack for entry in found for chunk in entry.get("chunks", ())}
        yield from found
    assert {digest.hex() for digest in _split(packs)} == needed
    assert set(at) == set(range(len(names)))


def _page(columns: list[Any]) -> Iterator[dict[str, Any]]:
    form, count, shared, rest, kinds, modes, mtimes, targets, sizes, counts, inline, digests = columns[:12]
    assert form == 1
    assert len(columns) == 19
    assert count == len(shared) == len(rest) == len(kinds) == len(modes) == len(mtimes)
    links, files, small, whole = iter(targets), iter(zip(sizes, counts, strict=True)), iter(inline), _split(digests)
    chunks, path, time = _chunks(columns[12:]), b"", 0
    for row in range(count):
        path = path[: shared[row]] + rest[row]
        time += mtimes[row] or 0
        kind = chr(kinds[row])
        entry = {"path": path.decode(), "kind": kind, "mode": modes[row]}
        entry["mtime"] = None if mtimes[row] is None else time
        if kind == "l":
            entry["target"] = next(links)
        if kind == "f":
            size, number = next(files)
            digest = next(whole) if number else b""
            taken = [chunks.send((number, size, digest)) for _ in range(number)]
            entry |= {"size": size, "digest": digest, "chunks": taken}
            if not number:
                entry["inline"] = next(small)
        yield entry


def _chunks(columns: list[Any]) -> Any:
    """A coroutine: is sent a file's number of chunks, size and digest, and answers its next chunk."""

    def walk() -> Any:
        names, packs, offsets, stored, codecs, raws, digests = columns
        several, behind = zip(raws, _split(digests), strict=True), {}
        pack_names = [digest.hex() for digest in _split(names)]
        number, size, digest = yield
        for row, pack in enumerate(packs):
            before = packs[row - 1] if row else None
            start = offsets[row] + (behind["end"] if before == pack else 0)
            behind["end"] = start + stored[row]
            raw, own = (size, digest) if number == 1 else next(several)
            number, size, digest = yield Place(pack_names[pack], start, stored[row], raw, codecs[row], own)

    walker = walk()
    next(walker)
    return walker


def _split(digests: bytes) -> Iterator[bytes]:
    assert len(digests) % 32 == 0
    return (digests[at : at + 32] for at in range(0, len(digests), 32))


# msgpack, as much of it as the format uses


def _msgpack(data: bytes) -> Any:
    value, end = _value(data, 0)
    assert end == len(data), "something follows the end"
    return value


_NUMBERS = {0xCC: "B", 0xCD: "H", 0xCE: "I", 0xCF: "Q", 0xD0: "b", 0xD1: "h", 0xD2: "i", 0xD3: "q"}
_LENGTHS = {0xC4: "B", 0xC5: "H", 0xC6: "I", 0xD9: "B", 0xDA: "H", 0xDB: "I", 0xDC: "H", 0xDD: "I"}


def _value(data: bytes, at: int) -> tuple[Any, int]:
    mark = data[at]
    at += 1
    if mark < 0x80 or mark >= 0xE0:
        return (mark if mark < 0x80 else mark - 256), at
    if mark == 0xC0:
        return None, at
    if mark in _NUMBERS:
        form = ">" + _NUMBERS[mark]
        return struct.unpack_from(form, data, at)[0], at + struct.calcsize(form)
    if mark in _LENGTHS:
        form = ">" + _LENGTHS[mark]
        (length,), at = struct.unpack_from(form, data, at), at + struct.calcsize(form)
    else:
        length = mark & (0x0F if mark < 0xA0 else 0x1F)
    if 0x90 <= mark < 0xA0 or mark in (0xDC, 0xDD):
        values = []
        for _ in range(length):
            value, at = _value(data, at)
            values.append(value)
        return values, at
    piece = data[at : at + length]
    assert len(piece) == length, "truncated"
    return (piece if mark in (0xC4, 0xC5, 0xC6) else piece.decode()), at + length
