"""Where files are cut into chunks: by content, so that an insertion moves no cut but those beside it (FORMAT.md §9.4).

FastCDC as Wen Xia and others published it in 2020; the cuts come from pyfastcdc, whose output the tests pin by vectors. Owns its
import. The interpreter lock is released while it looks for cuts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyfastcdc import FastCDC

__all__ = ["COARSE", "FINE", "SINGLE", "Buffers", "Profile", "cut", "lengths", "profile_of"]

_KIB: Final = 1024
_MIB: Final = 1024 * 1024
_BLOCK: Final = 8 * _MIB
#: Files of up to this many bytes are one chunk.
SINGLE: Final = 128 * _KIB
#: Files beyond this many bytes are cut coarsely: their entry would be too long otherwise.
_HUGE: Final = 16 * 1024 * _MIB
#: Endings of what is compressed already: a change there changes nearly everything, and finer chunks would find nothing more.
_MEDIA: Final = frozenset(
    [
        "7z",
        "aac",
        "avi",
        "avif",
        "bz2",
        "flac",
        "flv",
        "gif",
        "gz",
        "heic",
        "jpeg",
        "jpg",
        "jxl",
        "lz4",
        "m4a",
        "m4v",
        "mkv",
        "mov",
        "mp3",
        "mp4",
        "mpeg",
        "mpg",
        "oga",
        "ogg",
        "ogv",
        "opus",
        "png",
        "rar",
        "tgz",
        "webm",
        "webp",
        "wma",
        "wmv",
        "xz",
        "zip",
        "zst",
    ]
)


@dataclass(frozen=True, slots=True)
class Profile:
    """The least, wanted and most bytes of a chunk."""

    least: int
    wanted: int
    most: int


FINE: Final = Profile(16 * _KIB, 64 * _KIB, 256 * _KIB)
COARSE: Final = Profile(512 * _KIB, 2 * _MIB, 8 * _MIB)


def profile_of(name: str, size: int) -> Profile:
    """The profile of a file of more than :data:`SINGLE` bytes."""
    media = name.rpartition(".")[2].lower() in _MEDIA
    return COARSE if media or size > _HUGE else FINE


def lengths(data: memoryview, profile: Profile, *, last: bool) -> list[int]:
    """The lengths of the chunks that ``data``, which begins at a cut, is cut into.

    Unless these are the ``last`` bytes of the file, what lies behind the last certain cut is left for the next call.
    """
    found = [chunk.length for chunk in _cutter(profile).cut_buf(data)]
    if not last and found:
        found.pop()
    return found


class Buffers:
    """Memory for blocks, used again once nobody looks at it: new memory costs the kernel as much as what is read into it."""

    def __init__(self) -> None:
        self._made: list[bytearray] = []

    def take(self, size: int) -> memoryview:
        """A buffer of so many bytes, whatever is in it; small ones are made anew."""
        if size < _BLOCK:
            return memoryview(bytearray(size))
        for buffer in self._made:
            if len(buffer) == size and _is_free(buffer):
                return memoryview(buffer)
        buffer = bytearray(size + 1)
        buffer.pop()  # room for the question whether it is free
        self._made.append(buffer)
        return memoryview(buffer)


def _is_free(buffer: bytearray) -> bool:
    """Whether no view of it is left: Python refuses to change the length of one that somebody looks at."""
    try:
        buffer.append(0)
    except BufferError:
        return False
    buffer.pop()
    return True


def cut(
    fill: Callable[[memoryview], None], size: int, profile: Profile, buffers: Buffers
) -> Iterator[tuple[memoryview, list[int]]]:
    """A file of ``size`` bytes in blocks that begin and end at cuts, and the lengths of the chunks of each.

    ``fill`` fills a buffer with the file's next bytes. Every block has a buffer to itself for as long as a view of it is kept.
    """
    block = max(_BLOCK, 3 * profile.most)
    carry = memoryview(b"")
    left = size
    while left:
        count = min(block - len(carry), left)
        buffer = buffers.take(len(carry) + count)
        buffer[: len(carry)] = carry
        fill(buffer[len(carry) :])
        left -= count
        found = lengths(buffer, profile, last=not left)
        used = sum(found)
        carry = buffer[used:]
        yield buffer[:used], found


@cache
def _cutter(profile: Profile) -> FastCDC:
    from pyfastcdc import FastCDC

    return FastCDC(profile.wanted, min_size=profile.least, max_size=profile.most, normalized_chunking=1, seed=0)
