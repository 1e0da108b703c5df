"""The raw bytes of chunks, verified, wherever they are: in memory, in the range cache, in a fetched copy, else in the store.

Whoever asks for a chunk that another is reading waits for that one. Nothing is given out before its digest was checked, each time it
comes into memory. Memory is bounded: what was not used lately goes, a whole range at a time, for its chunks share one buffer.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from holdfast.errors import HoldfastError, IntegrityError, ObjectNotFoundError, UnreachableError
from holdfast.formats import layout as keys
from holdfast.model.chunk import CODEC_NONE
from holdfast.model.digest import raw_digest_of
from holdfast.mount.stretches import bounded_ranges, checked, range_of, range_size
from holdfast.mount.workers import Workers
from holdfast.store.base import Bulk
from holdfast.transfer.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from holdfast.cache.ranges import Ranges
    from holdfast.cache.wholes import Wholes
    from holdfast.store.base import Store
    from holdfast.transfer.unpacking import PackRange, Part

__all__ = ["MEMORY", "WHOLE", "Pieces", "Raw"]

#: What chunks in memory may take, in bytes; and what may be on its way ahead of its use.
MEMORY: Final = 128 * 1024 * 1024
#: Files from this size on, in bytes, may be here as a whole.
WHOLE: Final = 1024 * 1024
#: A range of so many bytes tells how fast its store is.
_TELLING: Final = 1024 * 1024
_TRIES: Final = 2
#: What was read stays for others as long as chunks take no more than this part of what they may.
_SPENT: Final = 4


class Raw(NamedTuple):
    """Raw bytes of a chunk: where they stand in a buffer that may hold its neighbours, too."""

    buffer: memoryview
    start: int
    length: int


class _Flight:
    """Chunks that somebody is bringing. ``urgent``: somebody waits, so that its error is theirs, too."""

    __slots__ = ("begun", "done", "error", "found", "urgent")

    def __init__(self, *, urgent: bool) -> None:
        self.begun = time.monotonic()
        self.done = threading.Event()
        self.found: dict[bytes, Raw] = {}
        self.error: HoldfastError | None = None
        self.urgent = urgent


class Pieces:
    """Reads chunks of one store.

    Args:
        store: whose packs they are in.
        ranges: the range cache, if there is one.
        deadline: seconds after which whoever waits gets an error.
        key_of: the key of the object by its name.
        wholes: whole files beside the ranges, if there are any.
        copy: where a fetched copy of the files lies, if there is one.
        memory: bytes that chunks may take.
    """

    def __init__(
        self,
        store: Store,
        ranges: Ranges | None,
        *,
        deadline: float,
        key_of: Callable[[str], str] = keys.pack_key,
        wholes: Wholes | None = None,
        copy: Path | None = None,
        memory: int = MEMORY,
    ) -> None:
        self._store = store
        self._ranges = ranges
        self._deadline = deadline
        self._key_of = key_of
        self._wholes = wholes
        self._copy = copy
        self._memory = memory
        self._buffers = Memory()
        # More threads would wait for Python's lock, again and again.
        self._checking = threading.Semaphore(os.cpu_count() or 1)
        self._workers = Workers(deadline)
        self._guard = threading.Lock()
        self._blocks: OrderedDict[int, tuple[set[bytes], int]] = OrderedDict()
        self._places: dict[bytes, tuple[int, Raw]] = {}
        self._held = self._number = 0
        self._flights: dict[bytes, _Flight] = {}
        self._coming = 0
        self._rate = 0.0  # bytes a second of the last ranges that came from the store
        #: Bytes that came from the store.
        self.fetched = 0

    def get(self, parts: Sequence[Part]) -> list[Raw]:
        """The raw bytes of chunks, in order.

        Raises:
            IntegrityError: the store has other bytes, or none.
            UnreachableError: they did not come before the deadline, or the store does not answer.
        """
        if len(parts) == 1 and (raw := self._in_memory(parts[0])) is not None:
            return [raw]
        end = time.monotonic() + self._deadline
        found: dict[bytes, Raw] = {}
        wanted = {part.chunk.digest: part for part in parts}
        while True:
            flight, mine, waits = self._claim(wanted, found)
            if flight is not None:
                self._bring(mine, flight)
            elif waits:
                self._wait(waits, wanted, found, end)
            if len(found) == len(wanted):
                return [_fitting(found[part.chunk.digest], part) for part in parts]

    def _in_memory(self, part: Part) -> Raw | None:
        """A chunk that is in memory: what most reads are about."""
        with self._guard:
            place = self._places.get(part.chunk.digest)
            if place is None:
                return None
            self._blocks.move_to_end(place[0])
        return _fitting(place[1], part)

    def ahead(self, parts: Sequence[Part]) -> None:
        """Bring chunks into memory, for they will be asked for soon; not more at a time than half of it holds."""
        known, coming = self._places, self._flights
        left = [part for part in parts if part.chunk.digest not in known and part.chunk.digest not in coming]
        for group in bounded_ranges(left, most=range_size(self._rate)):
            size = sum(part.chunk.raw for part in group.parts)
            with self._guard:
                if self._coming + size > self._memory // 2:
                    return
                self._coming += size
                flight = self._register(group.parts, urgent=False)
            self._workers.submit(self._ahead_of(group, flight, size), urgent=False)

    def release(self, parts: Sequence[Part]) -> None:
        """Let go of chunks that the kernel has by now, where much is in memory: fresh memory costs more than what is used again."""
        with self._guard:
            if self._held <= self._memory // _SPENT:
                return
            for digest in {part.chunk.digest for part in parts} & self._places.keys():
                number, _ = self._places.pop(digest)
                digests, size = self._blocks[number]
                digests.remove(digest)
                if not digests:
                    del self._blocks[number]
                    self._held -= size

    def later(self, work: Callable[[], object]) -> None:
        """Have something done by a thread that has nothing else to do; what goes wrong there is of no consequence."""

        def quietly() -> None:
            with suppress(Exception):
                work()

        self._workers.submit(quietly, urgent=False)

    @property
    def is_exhausted(self) -> bool:
        """Whether the threads that read are used up by reads that do not come back."""
        return self._workers.is_exhausted

    def close(self) -> None:
        """Read no more."""
        self._workers.close()

    def _ahead_of(self, group: PackRange, flight: _Flight, size: int) -> Callable[[], None]:
        def work() -> None:
            try:
                self._landed(group.parts, flight, lambda: self._local(group.parts, flight))
            finally:
                with self._guard:
                    self._coming -= size

        return work

    # who brings what

    def _claim(
        self, wanted: dict[bytes, Part], found: dict[bytes, Raw]
    ) -> tuple[_Flight | None, list[Part], list[_Flight]]:
        """Take what is in memory; of the rest, what nobody brings is ours now. And the flights to wait for."""
        mine: list[Part] = []
        waits: list[_Flight] = []
        late = time.monotonic() - self._deadline
        with self._guard:
            for digest, part in wanted.items():
                if digest in found:
                    continue
                place = self._places.get(digest)
                if place is not None:
                    self._blocks.move_to_end(place[0])
                    found[digest] = place[1]
                    continue
                flight = self._flights.get(digest)
                if flight is None or flight.begun < late:
                    mine.append(part)
                else:
                    waits.append(flight)
            return (self._register(mine, urgent=True) if mine else None), mine, waits

    def _register(self, parts: Iterable[Part], *, urgent: bool) -> _Flight:
        flight = _Flight(urgent=urgent)
        for part in parts:
            self._flights[part.chunk.digest] = flight
        return flight

    def _bring(self, mine: list[Part], flight: _Flight) -> None:
        """What is on this machine, in this thread; the rest is given to others."""
        try:
            for group in bounded_ranges(self._local(mine, flight)):
                with self._guard:
                    other = self._register(group.parts, urgent=True)
                self._workers.submit(self._fetching(group, other), urgent=True)
        finally:
            self._land(mine, flight)

    def _fetching(self, group: PackRange, flight: _Flight) -> Callable[[], None]:
        return lambda: self._landed(group.parts, flight, lambda: group.parts)

    def _landed(self, parts: Sequence[Part], flight: _Flight, missing: Callable[[], Sequence[Part]]) -> None:
        """Bring from the store what is missing; whoever waits is told, whatever happens; then it is kept on disk."""
        brought: list[tuple[str, int, memoryview]] = []
        try:
            groups = bounded_ranges(missing(), most=range_size(self._rate))
            brought.extend((self._key_of(each.pack), each.start, self._from_store(each, flight)) for each in groups)
        except HoldfastError as error:
            flight.error = error
        except Exception as error:  # noqa: BLE001 - else those who wait would ask again and again
            flight.error = UnreachableError(f"{self._store.url}: {error!r}")
        finally:
            self._land(parts, flight)
        if self._ranges is not None:
            for key, start, data in brought:
                self._ranges.write(key, start, data)

    def _land(self, parts: Iterable[Part], flight: _Flight) -> None:
        """What a flight was to bring is in memory, or failed: whoever waits may look."""
        with self._guard:
            for part in parts:
                if self._flights.get(part.chunk.digest) is flight:
                    del self._flights[part.chunk.digest]
        flight.done.set()

    def _wait(self, waits: list[_Flight], wanted: dict[bytes, Part], found: dict[bytes, Raw], end: float) -> None:
        flight = waits[0]
        if time.monotonic() >= end or not flight.done.wait(max(0.0, end - time.monotonic())):
            raise UnreachableError(f"{self._store.url} did not answer within {self._deadline:g} seconds")
        for digest in wanted:
            if digest not in found and digest in flight.found:
                found[digest] = flight.found[digest]
        if flight.error is not None and flight.urgent and len(found) < len(wanted):
            raise flight.error

    # where they are

    def _local(self, parts: Sequence[Part], flight: _Flight) -> list[Part]:
        """Bring what is in the range cache or in the copy; what is not."""
        left = list(parts)
        if self._ranges is not None:
            left = [part for group in bounded_ranges(left, gap=0) for part in self._cached(self._ranges, group, flight)]
        wholes = self._wholes_among(left)
        if self._copy is None and not wholes:
            return left
        return [part for part in left if not self._copied(part, wholes, flight)]

    def _cached(self, ranges: Ranges, group: PackRange, flight: _Flight) -> list[Part]:
        key = self._key_of(group.pack)
        data = ranges.read(key, group.start, group.end - group.start)
        if data is not None:
            return self._taken(group, data, flight)[0]
        if len(group.parts) == 1 or ranges.lacks(key, group.start, group.end - group.start):
            return [*group.parts]
        half = len(group.parts) // 2
        halves = (range_of(group.pack, group.parts[:half]), range_of(group.pack, group.parts[half:]))
        return [part for each in halves for part in self._cached(ranges, each, flight)]

    def _wholes_among(self, parts: Sequence[Part]) -> set[bytes]:
        """Which files are here as a whole, by digest."""
        if self._wholes is None:
            return set()
        large = {part.file.digest for part in parts if part.file.size >= WHOLE}
        return {digest for digest in large if self._wholes.has(digest.hex())}

    def _copied(self, part: Part, wholes: set[bytes], flight: _Flight) -> bool:
        """Whether the whole file is here, or a fetched copy: anybody may have changed that, so it is checked as all else is."""
        chunk = part.chunk
        for data in (self._of_whole(part, wholes), self._of_copy(part)):
            if data is not None and len(data) == chunk.raw and raw_digest_of(data) == chunk.digest:
                self._put({chunk.digest: Raw(memoryview(data), 0, chunk.raw)}, chunk.raw, flight)
                return True
        return False

    def _of_whole(self, part: Part, wholes: set[bytes]) -> bytes | None:
        if self._wholes is None or part.file.digest not in wholes:
            return None
        return self._wholes.read(part.file.digest.hex(), part.start, part.chunk.raw)

    def _of_copy(self, part: Part) -> bytes | None:
        if self._copy is None:
            return None
        path = self._copy / os.fsdecode(part.file.path)
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
            try:
                return os.pread(descriptor, part.chunk.raw, part.start)
            finally:
                os.close(descriptor)
        return None

    def _from_store(self, group: PackRange, flight: _Flight) -> memoryview:
        """Read one range and check it; what comes out wrong is asked for once more. The range, as it is stored."""
        key, wrong = self._key_of(group.pack), None
        for _ in range(_TRIES):
            try:
                data = self._read(key, group.start, group.end - group.start)
            except ObjectNotFoundError as error:
                raise IntegrityError(f"{key} is missing, though a version needs it", subject=key) from error
            left, wrong = self._taken(group, data, flight)
            if not left:
                return data
        raise wrong or IntegrityError(f"{key} is not what it was", subject=key)

    def _read(self, key: str, start: int, length: int) -> memoryview:
        begun = time.monotonic()
        if isinstance(self._store, Bulk):
            data = memoryview(self._store.get_range_into(key, start, self._buffers.take(start, length)).data)
        else:
            data = memoryview(self._store.get_range(key, start, length).data)
        with self._guard:
            self.fetched += data.nbytes
            if data.nbytes >= _TELLING:
                rate = data.nbytes / max(time.monotonic() - begun, 1e-6)
                self._rate += (rate - self._rate) / 4
        return data.cast("B")

    def _taken(self, group: PackRange, data: memoryview, flight: _Flight) -> tuple[list[Part], IntegrityError | None]:
        """Check every chunk of a range and keep those that are right; the others, and what is wrong with the last of them."""
        found: dict[bytes, Raw] = {}
        left: list[Part] = []
        size, is_shared, wrong = 0, False, None
        with nullcontext() if flight.urgent else self._checking:  # who is waited for waits for nobody
            for part in group.parts:
                chunk = part.chunk
                begin = chunk.offset - group.start
                try:
                    raw = checked(data[begin : begin + chunk.stored], part, group.pack)
                except IntegrityError as error:
                    left.append(part)
                    wrong = error
                    continue
                if chunk.codec == CODEC_NONE:
                    found[chunk.digest] = Raw(data, begin, chunk.raw)
                    is_shared = True
                else:
                    found[chunk.digest] = Raw(raw, 0, chunk.raw)
                    size += chunk.raw
        self._put(found, size + (data.nbytes if is_shared else 0), flight)
        return left, wrong

    def _put(self, found: dict[bytes, Raw], size: int, flight: _Flight) -> None:
        """Keep chunks in memory, and let go of what was not used for long."""
        flight.found.update(found)
        with self._guard:
            self._number += 1
            fresh = {digest for digest in found if digest not in self._places}
            for digest in fresh:
                self._places[digest] = self._number, found[digest]
            self._blocks[self._number] = fresh, size
            self._held += size
            while self._held > self._memory and len(self._blocks) > 1:
                _, (digests, bytes_) = self._blocks.popitem(last=False)
                self._held -= bytes_
                for digest in digests:
                    del self._places[digest]


def _fitting(raw: Raw, part: Part) -> Raw:
    """The bytes, if there are as many as this part of a file has: another may name the same chunk with another length."""
    if raw.length != part.chunk.raw:
        path = part.file.path.decode(errors="replace")
        raise IntegrityError(f"a chunk of {path!r} has {raw.length} bytes instead of {part.chunk.raw}", subject=path)
    return raw
