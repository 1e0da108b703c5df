"""The values behind the golden files of layout ``packs``, and the folder behind its golden store."""

from __future__ import annotations

import random
import struct
import zlib
from typing import TYPE_CHECKING

from holdfast.formats.codec import pack
from holdfast.formats.container import PACK, PAGES, encode_table
from holdfast.formats.convention import Meta
from holdfast.formats.pages import encode_page
from holdfast.formats.root import Page, Root, encode_root
from holdfast.model.chunk import Chunk, Placed
from holdfast.model.digest import digest_of, raw_digest_of
from tests.formats.cases import DATE, PUSH, WHO

if TYPE_CHECKING:
    from pathlib import Path

#: Pieces by codec: as it is, text, 2-byte numbers, 4-byte numbers, both with a tail.
RAW = [
    bytes(range(256)) + b"as it is",
    b"the same words again and again, " * 20,
    struct.pack("<300H", *range(16000, 16600, 2)) + b"\x07",
    struct.pack("<300f", *(number / 7 for number in range(300))) + b"abc",
]
STORED = [pack(raw, codec) for codec, raw in enumerate(RAW)]


def container(stored: list[bytes], raw: list[bytes], codecs: bytes, magic: bytes, salt: int = 0) -> tuple[bytes, bytes]:
    """Name and bytes of a container of these pieces."""
    digests = b"".join(map(raw_digest_of, raw))
    name, tail = encode_table(list(map(len, stored)), list(map(len, raw)), codecs, digests, magic=magic, salt=salt)
    return name, b"".join(stored) + tail


PACK_NAME, PACK_DATA = container(STORED, RAW, bytes(range(4)), PACK)
SALTED_NAME, SALTED_DATA = container(STORED[:1], RAW[:1], b"\0", PACK, salt=(1 << 63) - 1)

_OFFSETS = [sum(map(len, STORED[:at])) for at in range(4)]
CHUNKS = [Chunk(PACK_NAME, _OFFSETS[at], len(STORED[at]), len(RAW[at]), at, raw_digest_of(RAW[at])) for at in range(4)]
SALTED = Chunk(SALTED_NAME, 0, len(STORED[0]), len(RAW[0]), 0, raw_digest_of(RAW[0]))


def placed(path: str, mode: int | None, mtime: int | None, *chunks: int | Chunk) -> Placed:
    """A file of these chunks, those of the one pack by number."""
    taken = tuple(CHUNKS[chunk] if isinstance(chunk, int) else chunk for chunk in chunks)
    data = b"".join(RAW[chunk.codec] for chunk in taken)
    return Placed(path.encode(), ord("f"), mode, mtime, len(data), raw_digest_of(data), taken)


ENTRIES = [
    Placed.inline(b".hidden", 0o600, 1_700_000_000_123_456_789, b"in the page"),
    Placed(b"bin", ord("d"), 0o755, 1_700_000_000_000_000_000),
    placed("bin/run", 0o755, 1_699_999_999_999_999_999, 1),
    Placed(b"empty", ord("d"), 0o700, None),
    Placed.inline(b"empty.file", None, None, b""),
    Placed(b"latest", ord("l"), None, -5, target="bin/run"),
    placed("numbers/all", 0o644, 0, 2, 3, 1, 1, SALTED, 0),
    placed("numbers/float", 0o644, 7, 3),
    Placed.inline("ünï".encode(), 0o644, (1 << 63) - 1, b"\0" * 256),
]
TWO_PAGES = [ENTRIES[:5], ENTRIES[5:]]
PAGES_RAW = [encode_page(entries) for entries in TWO_PAGES]
PAGES_STORED = [pack(raw, 1) for raw in PAGES_RAW]
PAGES_NAME, PAGES_DATA = container(PAGES_STORED, PAGES_RAW, b"\1\1", PAGES)


def page(at: int) -> Page:
    """What the root says of a page."""
    entries, raw, stored = TWO_PAGES[at], PAGES_RAW[at], PAGES_STORED[at]
    sizes = [entry.size for entry in entries if entry.kind == ord("f")]
    offset = sum(map(len, PAGES_STORED[:at]))
    lengths = (offset, len(stored), len(raw))
    counts = (len(entries), len(sizes), sum(sizes))
    return Page(entries[0].path, entries[-1].path, *counts, PAGES_NAME.hex(), *lengths, raw_digest_of(raw))


ROOT = Root((page(0), page(1)), tuple(sorted([PACK_NAME.hex(), SALTED_NAME.hex()])))
ROOT_DATA = encode_root(ROOT)
META = Meta(
    DATE,
    "packs",
    is_directory=True,
    hash="blake3:" + digest_of(b"golden"),
    root=digest_of(ROOT_DATA),
    files=sum(found.files for found in ROOT.pages),
    size=sum(found.size for found in ROOT.pages),
    push=PUSH,
    who=WHO,
)

#: Names of golden files and what is in them; the meta is written with the others.
OBJECTS = {
    "pack.bin": PACK_DATA,
    "pack-salted.bin": SALTED_DATA,
    "page-0.msgpack": PAGES_RAW[0],
    "page-1.msgpack": PAGES_RAW[1],
    "pages.bin": PAGES_DATA,
    "root.bin": ROOT_DATA,
}


def lay_tree(folder: Path) -> None:
    """The first version of the golden store: some of everything, the same bytes each time."""
    dice = random.Random(2026)
    files = {
        "README.md": b"# golden\n\n" + b"Some words that are said again. " * 900,
        "empty.file": b"",
        "data/random.bin": dice.randbytes(400_000),
        "data/zeros.raw": bytes(300_000),
        "data/twice.bin": dice.randbytes(5_000) * 2,
        "weights/half.bf16": struct.pack("<12000I", *(0x3F80_3F80 + dice.getrandbits(7) for _ in range(12000))),
        "weights/single.f32": struct.pack("<12000f", *(dice.gauss(0, 0.02) for _ in range(12000))),
        "weights/half.f16": struct.pack("<12000e", *(dice.gauss(1, 0.02) for _ in range(12000))),
        "weights/small.f32": struct.pack("<100f", *(dice.gauss(0, 1) for _ in range(100))) + b"x",
        "ünï/.hidden": b"hidden\n",
    }
    files |= {f"many/{at % 7}/{at:04}.txt": b"file %d\n" % at * (at % 40) for at in range(900)}
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    (folder / "data" / "empty").mkdir()
    (folder / "many.txt").write_bytes(b"sorts before what is below many\n")
    (folder / "weights" / "latest").symlink_to("single.f32")
    (folder / "data" / "up").symlink_to("../README.md")
    (folder / "README.md").chmod(0o600)
    (folder / "many" / "0" / "0000.txt").chmod(0o755)


def change_tree(folder: Path) -> None:
    """The second version: an insertion, an edit, a new file, one gone."""
    data = (folder / "data" / "random.bin").read_bytes()
    (folder / "data" / "random.bin").write_bytes(data[:200_000] + b"inserted" + data[200_000:])
    (folder / "many" / "5" / "0005.txt").write_bytes(b"edited\n")
    (folder / "many" / "new.txt").write_bytes(b"%08x" % zlib.crc32(b"new") * 100)
    (folder / "many" / "6" / "0006.txt").unlink()
