"""The root of a version in layout ``packs``: its pages, and every object that it needs (FORMAT.md §9.3)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import zstandard

from holdfast.errors import IntegrityError, UsageError
from holdfast.formats.columns import FORMAT, Numbers, decode_columns, digests_in
from holdfast.formats.container import MOST
from holdfast.formats.pages import LARGEST_PAGE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from _typeshed import ReadableBuffer

__all__ = ["MAGIC", "Page", "Root", "decode_root", "encode_root"]

#: What every root begins with.
MAGIC: Final = b"HFROOT1\n"
#: No root unfolds to more bytes: some 60 million entries.
_LARGEST: Final = 32 * 1024 * 1024


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


_Paths = Annotated[list[bytes], msgspec.Meta(max_length=_LARGEST // 32)]


class _Root(msgspec.Struct, array_like=True):
    format: int
    objects: bytes
    packs: bytes
    first: _Paths
    last: _Paths
    entries: Numbers
    files: Numbers
    sizes: Numbers
    object: Numbers
    offset: Numbers
    stored: Numbers
    raw: Numbers
    digests: bytes


def encode_root(root: Root) -> bytes:
    """The object.

    Raises:
        UsageError: it would have more pages than readers take.
    """
    objects = {name: index for index, name in enumerate(root.objects)}
    pages = root.pages
    value = _Root(
        format=FORMAT,
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
    raw = msgspec.msgpack.encode(value)
    if len(raw) > _LARGEST:
        raise UsageError(
            "too many entries for one version in layout packs", hint="push with --layout tree, or in parts"
        )
    return MAGIC + zstandard.compress(raw, 3)


def decode_root(data: ReadableBuffer, key: str) -> Root:
    """Read a root.

    Raises:
        IntegrityError: no root, of a later format, or with columns that do not fit each other.
    """
    view = memoryview(data).cast("B")
    if bytes(view[:8]) != MAGIC:
        raise IntegrityError(f"{key} is no root of a version in layout packs", subject=key)
    try:
        size = zstandard.frame_content_size(view[8:])
        if not 0 <= size <= _LARGEST:
            raise IntegrityError(
                f"{key} unfolds to more than {_LARGEST} bytes, or does not tell to how many", subject=key
            )
        raw = zstandard.ZstdDecompressor().decompress(view[8:], max_output_size=_LARGEST, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise IntegrityError(f"{key}: {error}", subject=key) from None
    return _checked(decode_columns(raw, _Root, key), key)


def _checked(found: _Root, key: str) -> Root:
    count = len(found.first)
    numbers = (found.entries, found.files, found.sizes, found.object, found.offset, found.stored, found.raw)
    if any(len(column) != count for column in (found.last, *numbers)) or len(found.digests) != 32 * count:
        raise IntegrityError(f"{key}: its columns differ in length", subject=key)
    if len(found.objects) % 32 or len(found.packs) % 32 or any(min(column, default=0) < 0 for column in numbers):
        raise IntegrityError(f"{key}: names or numbers that cannot be", subject=key)
    ends = map(int.__add__, found.offset, found.stored)
    if max(found.raw, default=0) > LARGEST_PAGE or max(ends, default=0) > MOST:
        raise IntegrityError(f"{key}: a page cannot have so many bytes", subject=key)
    objects = _names(found.objects)
    if max(found.object, default=-1) >= len(objects) or not _ascend(found):
        raise IntegrityError(f"{key}: its pages are out of order, or lie in no object", subject=key)
    names = [objects[index] for index in found.object]
    columns = (found.first, found.last, found.entries, found.files, found.sizes, names)
    pages = map(Page, *columns, found.offset, found.stored, found.raw, digests_in(found.digests))
    return Root(tuple(pages), tuple(_names(found.packs)))


def _ascend(found: _Root) -> bool:
    inside = all(first <= last for first, last in zip(found.first, found.last, strict=True))
    return inside and all(last < first for last, first in zip(found.last, found.first[1:], strict=False))


def _names(digests: bytes) -> list[str]:
    return [name.hex() for name in digests_in(digests)]
