"""How a file is cut for an upload: the plan (pure) and the blocks of a source, checked and shown as they pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from holdfast.errors import SourceChangedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from _typeshed import ReadableBuffer

__all__ = ["PART", "Feed", "PartPlan", "blocks", "part_plan"]

#: The usual part. Measured against Ceph RGW, 16 MiB is no faster; smaller ones cost requests.
PART: Final = 8 * 1024 * 1024
#: S3's limit of parts in one upload.
_MOST_PARTS: Final = 10_000
#: Parts in flight; with one being read and one being handed over, an upload stays near 80 MiB.
_IN_FLIGHT: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class PartPlan:
    """Size of a part, how many there are, and how many are sent at once."""

    size: int
    count: int
    at_once: int


def part_plan(size: int) -> PartPlan:
    """Parts of 8 MiB, or of as much more as 10,000 of them need; fewer at once as they grow, so that memory stays bounded."""
    mib = 1024 * 1024
    part = max(PART, -(-size // _MOST_PARTS // mib) * mib)
    return PartPlan(part, -(-size // part), max(1, _IN_FLIGHT // part))


def blocks(
    source: BinaryIO, size: int, block: int, seen: Callable[[ReadableBuffer], None], subject: str
) -> Iterator[bytes]:
    """Exactly ``size`` bytes of the source in blocks; each is shown to ``seen`` before it is given out.

    Raises:
        SourceChangedError: the source ends earlier, or goes on.
    """
    left = size
    while left:
        data = _fill(source, min(block, left))
        left -= len(data)
        if len(data) < min(block, left + len(data)):
            raise SourceChangedError(f"the source of {subject} ended {left} bytes early", subject=subject)
        seen(data)
        yield data
    if source.read(1):
        raise SourceChangedError(f"the source of {subject} is longer than {size} bytes", subject=subject)


class Feed:
    """Blocks for the client, keeping what broke them off, for the client may turn it into an error of its own."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self.failure: BaseException | None = None

    def __iter__(self) -> Feed:
        return self

    def __next__(self) -> bytes:
        """The next block."""
        try:
            return next(self._blocks)
        except StopIteration:
            raise
        except BaseException as error:
            self.failure = error
            raise


def _fill(source: BinaryIO, length: int) -> bytes:
    """``length`` bytes, fewer only at the end: an unbuffered file may return less than it has."""
    data = source.read(length)
    if len(data) == length or not data:
        return data
    pieces = [data]
    missing = length - len(data)
    while missing and (data := source.read(missing)):
        pieces.append(data)
        missing -= len(data)
    return b"".join(pieces)
