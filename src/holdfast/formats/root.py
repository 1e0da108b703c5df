"""The root of a version in layout ``packs``: its pages, and every object that it needs (FORMAT.md §9.3)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
import zstandard

from holdfast.errors import IntegrityError
from holdfast.formats.container import MOST
from holdfast.formats.pages import LARGEST_PAGE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from _typeshed import ReadableBuffer

__all__ = ["Page", "Root", "decode_root", "encode_root"]

_MAGIC: Final = b"HFROOT1\n"
_FORMAT: Final = 1
#: No root unfolds to more bytes.
_LARGEST: Final = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Page:
    """Where a page lies (the hex name of its object, offset, lengths), what it holds (``size``: the bytes of its files), and its digest (32 bytes)."""

    first: bytes
    last: bytes
    entries: int
    files: int
    size: int
    object: str
    offset: int
    stored: int
    raw: int
    digest: bytes


@dataclass(frozen=True)
class Root:
    """The pages of a version in order, and the packs that it needs; names are hex."""

    pages: tuple[Page, ...]
    packs: tuple[str, ...]

    @property
    def objects(self) -> tuple[str, ...]:
        """The pages objects that it needs, ascending."""
        return tuple(sorted({page.object for page in self.pages}))

    def within(self, path: bytes) -> Sequence[Page]:
        """The pages that may hold this path or what lies below it."""
        begin = bisect_left(self.pages, path, key=lambda page: page.last)
        end = bisect_right(self.pages, path + b"0", key=lambda page: page.first)  # '0' follows '/'
        return self.pages[begin:end]


class _Root(msgspec.Struct, array_like=True):
    format: int
    objects: bytes
    packs: bytes
    first: list[bytes]
    last: list[bytes]
    entries: list[int]
    files: list[int]
    sizes: list[int]
    object: list[int]
    offset: list[int]
    stored: list[int]
    raw: list[int]
    digests: bytes


def encode_root(root: Root) -> bytes:
    """The object."""
    objects = {name: index for index, name in enumerate(root.objects)}
    pages = root.pages
    value = _Root(
        format=_FORMAT,
        objects=bytes.fromhex("".join(objects)),
        packs=bytes.fromhex("".join(sorted(root.packs))),
        first=[page.first for page in pages],
        last=[page.last for page in pages],
        entries=[page.entries for page in pages],
        files=[page.files for page in pages],
        sizes=[page.size for page in pages],
        object=[objects[page.object] for page in pages],
        offset=[page.offset for page in pages],
        stored=[page.stored for page in pages],
        raw=[page.raw for page in pages],
        digests=b"".join([page.digest for page in pages]),
    )
    return _MAGIC + zstandard.compress(msgspec.msgpack.encode(value), 3)


def decode_root(data: ReadableBuffer, key: str) -> Root:
    """Read a root.

    Raises:
        IntegrityError: no root, of a later format, or with columns that do not fit each other.
    """
    view = memoryview(data).cast("B")
    if bytes(view[:8]) != _MAGIC:
        raise IntegrityError(f"{key} is no root of a version in layout packs", subject=key)
    try:
        size = zstandard.frame_content_size(view[8:])
        if not 0 <= size <= _LARGEST:
            raise IntegrityError(
                f"{key} unfolds to more than {_LARGEST} bytes, or does not tell to how many", subject=key
            )
        raw = zstandard.ZstdDecompressor().decompress(view[8:], max_output_size=_LARGEST)
        found = msgspec.msgpack.decode(raw, type=_Root)
    except (zstandard.ZstdError, msgspec.MsgspecError) as error:
        raise IntegrityError(f"{key}: {error}", subject=key) from None
    if found.format != _FORMAT:
        raise IntegrityError(f"{key}: format {found.format} is unknown to this program: upgrade it", subject=key)
    return _checked(found, key)


def _checked(found: _Root, key: str) -> Root:
    count = len(found.first)
    numbers = (found.entries, found.files, found.sizes, found.object, found.offset, found.stored, found.raw)
    if any(len(column) != count for column in (found.last, *numbers)) or len(found.digests) != 32 * count:
        raise IntegrityError(f"{key}: its columns differ in length", subject=key)
    if len(found.objects) % 32 or len(found.packs) % 32 or any(min(column, default=0) < 0 for column in numbers):
        raise IntegrityError(f"{key}: names or numbers that cannot be", subject=key)
    if max(found.raw, default=0) > LARGEST_PAGE or max(found.stored, default=0) > MOST:
        raise IntegrityError(f"{key}: a page cannot have so many bytes", subject=key)
    objects = _names(found.objects)
    if max(found.object, default=-1) >= len(objects) or not _ascend(found):
        raise IntegrityError(f"{key}: its pages are out of order, or lie in no object", subject=key)
    digests = [found.digests[at : at + 32] for at in range(0, 32 * count, 32)]
    names = [objects[index] for index in found.object]
    columns = (found.first, found.last, found.entries, found.files, found.sizes, names)
    pages = map(Page, *columns, found.offset, found.stored, found.raw, digests)
    return Root(tuple(pages), tuple(_names(found.packs)))


def _ascend(found: _Root) -> bool:
    inside = all(first <= last for first, last in zip(found.first, found.last, strict=True))
    return inside and all(last < first for last, first in zip(found.last, found.first[1:], strict=False))


def _names(digests: bytes) -> list[str]:
    return [digests[at : at + 32].hex() for at in range(0, len(digests), 32)]
