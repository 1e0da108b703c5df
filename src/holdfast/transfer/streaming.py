"""Files of a version in packs, for somebody who sends them on: verified, in memory, and none of them on this machine's disk.

Small files come whole, in the order in which they lie in packs, so that neighbours are read by one request; a large one comes piece by
piece. Memory is bounded: a few batches of four MiB, or of one file that is larger.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from holdfast.errors import IntegrityError
from holdfast.formats import layout as keys
from holdfast.store.base import Expects
from holdfast.transfer.memory import Memory
from holdfast.transfer.unpacking import Part, checked, missing, pack_ranges, read_range

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from _typeshed import ReadableBuffer

    from holdfast.model.chunk import Placed
    from holdfast.store.base import Store
    from holdfast.transfer.engine import Engine
    from holdfast.transfer.unpacking import PackRange

__all__ = ["batches", "pieces_of", "whole_files"]

#: Bytes of files that are read at a time, and how many such batches ahead of whoever takes them.
_BATCH: Final = 4 * 1024 * 1024
_AHEAD: Final = 3
_TRIES: Final = 2
_MEMORY: Final = Memory()
Result = TypeVar("Result")


def batches(files: Sequence[Placed], most: int = _BATCH) -> list[list[Placed]]:
    """Files in the order of their bytes in packs, in groups of so many bytes; a larger one is a group of its own. Pure."""
    found: list[list[Placed]] = []
    size = 0
    for file in sorted(files, key=_place):
        if not found or size + file.size > most:
            found.append([])
            size = 0
        found[-1].append(file)
        size += file.size
    return found


def whole_files(
    store: Store, engine: Engine, files: Sequence[Placed], use: Callable[[str, ReadableBuffer], Result]
) -> Iterator[Result]:
    """``use(path, bytes)`` of every file, in no certain order; it runs in the threads that read.

    Raises:
        IntegrityError: a pack is missing, or a chunk is not what the manifest says, twice.
    """

    def read(batch: list[Placed]) -> list[Result]:
        return [use(path, data) for path, data in _read(store, engine, batch)]

    planned = batches(files)
    if isinstance(store, Expects):
        parts = [part for file in files for part in _parts(file)]
        store.expect(dict.fromkeys(keys.pack_key(part.chunk.pack.hex()) for part in parts))
    for results in engine.in_order(read, planned, ahead=_AHEAD):
        yield from results


def pieces_of(store: Store, engine: Engine, file: Placed) -> Iterator[memoryview]:
    """The bytes of one file from its first to its last, some pieces ahead.

    Raises:
        IntegrityError: as above.
    """
    if isinstance(file.content, bytes):
        yield memoryview(file.content)
        return
    for pieces in engine.in_order(lambda run: _run(store, engine, run), _runs(_parts(file)), ahead=_AHEAD):
        yield from pieces


def _place(file: Placed) -> tuple[bytes, int]:
    return (b"", 0) if isinstance(file.content, bytes) or not file.content else file.content[0][:2]


def _parts(file: Placed) -> list[Part]:
    if isinstance(file.content, bytes):
        return []
    parts, start = [], 0
    for chunk in file.content:
        parts.append(Part(chunk, file, start))
        start += chunk.raw
    return parts


def _runs(parts: Sequence[Part]) -> list[list[Part]]:
    """Chunks of one file that follow one another, so many bytes at a time."""
    runs: list[list[Part]] = []
    size = 0
    for part in parts:
        if not runs or size + part.chunk.raw > _BATCH:
            runs.append([])
            size = 0
        runs[-1].append(part)
        size += part.chunk.raw
    return runs


def _run(store: Store, engine: Engine, run: list[Part]) -> list[memoryview]:
    found: dict[int, ReadableBuffer] = {}
    for wanted in pack_ranges(run):
        found |= {part.start: raw for part, raw in _chunks(store, engine, wanted)}
    return [memoryview(found[part.start]).cast("B") for part in run]


def _read(store: Store, engine: Engine, batch: list[Placed]) -> list[tuple[str, ReadableBuffer]]:
    """Every file of a batch, with its bytes; of one that is one chunk they are not copied."""
    whole: dict[bytes, ReadableBuffer] = {file.path: file.content for file in batch if isinstance(file.content, bytes)}
    parts = [part for file in batch for part in _parts(file)]
    joined: dict[bytes, bytearray] = {}
    for wanted in pack_ranges(parts):
        for (chunk, file, start), raw in _chunks(store, engine, wanted):
            if chunk.raw == file.size:
                whole[file.path] = raw
            else:
                room = joined.setdefault(file.path, bytearray(file.size))
                room[start : start + chunk.raw] = memoryview(raw).cast("B")
    whole.update(joined)
    return [(file.path.decode(), whole[file.path]) for file in batch]


def _chunks(store: Store, engine: Engine, wanted: PackRange) -> list[tuple[Part, ReadableBuffer]]:
    """Every chunk of a range, verified; what comes out wrong is asked for once more."""
    key, length = keys.pack_key(wanted.pack), wanted.end - wanted.start
    for attempt in range(_TRIES):
        with missing(key, wanted.parts[0]):
            data = read_range(store, key, wanted.start, length, partial(_MEMORY.take, wanted.start))
        try:
            found = [(part, checked(_stored(data, wanted, part), part, key)) for part in wanted.parts]
        except IntegrityError:
            if attempt == _TRIES - 1:
                raise
        else:
            engine.moved(sum(part.chunk.raw for part in wanted.parts))
            return found
    raise AssertionError  # the last try has raised


def _stored(data: memoryview, wanted: PackRange, part: Part) -> memoryview:
    begin = part.chunk.offset - wanted.start
    return data[begin : begin + part.chunk.stored]
