"""Ranges of packs as a mount reads them: bounded, whatever a manifest promises, and each of their chunks checked. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from holdfast.errors import IntegrityError
from holdfast.formats.codec import unpack
from holdfast.model.chunk import CODEC_NONE
from holdfast.model.digest import raw_digest_of
from holdfast.transfer.unpacking import PackRange, pack_ranges

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from holdfast.transfer.unpacking import Part

__all__ = ["bounded_ranges", "checked", "range_of", "range_size"]

#: Bytes of one range, and of one from a store that is near; and what either may unfold to.
_RANGE, _NEAR, _RAW = 4 * 1024 * 1024, 8 * 1024 * 1024, 16 * 1024 * 1024
#: A range of a store that is near takes about so many seconds.
_MOMENT: Final = 0.1


def checked(stored: memoryview, part: Part, pack: str) -> memoryview:
    """The raw bytes of a chunk, if they are what the manifest says.

    Raises:
        IntegrityError: they are not.
    """
    chunk = part.chunk
    if chunk.codec == CODEC_NONE and len(stored) == chunk.raw == chunk.stored and raw_digest_of(stored) == chunk.digest:
        return stored
    subject = f"{pack} at {chunk.offset}, of {part.file.path.decode(errors='replace')!r}"
    if len(stored) != chunk.stored:
        raise IntegrityError(f"{subject}: it ends early", subject=pack)
    raw = memoryview(unpack(stored, chunk.codec, chunk.raw, subject))
    if raw_digest_of(raw) != chunk.digest:
        raise IntegrityError(f"{subject}: does not match its digest", subject=pack)
    return raw


def range_size(rate: float) -> int:
    """How many bytes to ask for at once of a store that gives a range at so many bytes a second.

    Every request costs it and us the same work, however little comes of it; but where it is far, more requests side by side bring more.
    """
    return max(_RANGE, min(int(rate * _MOMENT), _NEAR))


def bounded_ranges(parts: Sequence[Part], gap: int | None = None, most: int = _RANGE) -> list[PackRange]:
    """The ranges to read, none of which has more than ``most`` bytes or unfolds to more than some, whatever the manifest promises."""
    planned = pack_ranges(parts, most) if gap is None else pack_ranges(parts, most, gap)
    return [each for group in planned for each in _cut(group)]


def _cut(group: PackRange) -> Iterator[PackRange]:
    some: list[Part] = []
    total = 0
    for part in group.parts:
        if some and total + part.chunk.raw > _RAW:
            yield range_of(group.pack, some)
            some, total = [], 0
        some.append(part)
        total += part.chunk.raw
    yield group if len(some) == len(group.parts) else range_of(group.pack, some)


def range_of(pack: str, parts: Sequence[Part]) -> PackRange:
    """The range of these parts, which are in order."""
    end = max(part.chunk.offset + part.chunk.stored for part in parts)
    return PackRange(pack, parts[0].chunk.offset, end, tuple(parts))
