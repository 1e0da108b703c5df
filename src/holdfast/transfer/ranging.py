"""The bytes of one large object, range by range, each handed on in order: to a file, and behind it to a digest.

Owns how many ranges are in flight and the pieces of memory that they are received into, which are used again: memory that is
new for every range costs the kernel as much work as receiving into it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, BinaryIO, Final

from holdfast.disk import begin_write_back
from holdfast.errors import IntegrityError
from holdfast.store.base import Bulk, Object
from holdfast.store.copying import write_all
from holdfast.transfer.plan import PART, ranges

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from holdfast.store.base import Store
    from holdfast.transfer.engine import Engine

__all__ = ["Ranges"]

#: The length of a range of an object that is fetched alone: fewer requests than with plan.PART, but more memory.
_ALONE: Final = 8 * 1024 * 1024
#: Bytes in flight, of all objects that are fetched side by side.
_IN_FLIGHT: Final = 64 * 1024 * 1024


class Ranges:
    """One object from ``start`` on. The first range tells its size and version, by which the others are pinned.

    ``beside`` is how many objects are fetched side by side, this one included.
    """

    def __init__(self, store: Store, engine: Engine, key: str, start: int, beside: int) -> None:
        self._store = store
        self._engine = engine
        self._key = key
        self._length = _ALONE if beside == 1 else PART
        self._at_once = max(1, _IN_FLIGHT // self._length // beside)
        self._free: deque[memoryview] = deque()
        self._start = start
        view = self._view()
        self._first_view, self.first = view, self._read(start, view, None)

    def save(self, file: BinaryIO, digest_piece: Callable[[memoryview], None], arrived: Callable[[int], None]) -> None:
        """Append all of it to an unbuffered file, digested in order by a thread behind, and tell how much has come."""

        def digest_and_free(piece: tuple[memoryview, memoryview]) -> None:
            digest_piece(piece[0])
            self._free.append(piece[1])

        with self._engine.behind(digest_and_free) as behind:
            offset = self._start
            for data, view in self._pieces():
                write_all(file, data)
                behind((data, view))
                begin_write_back(file.fileno(), offset, data.nbytes)
                offset += data.nbytes
                arrived(data.nbytes)

    def _pieces(self) -> Iterator[tuple[memoryview, memoryview]]:
        yield memoryview(self.first.data), self._first_view
        begun = self._start + memoryview(self.first.data).nbytes
        version = self.first.info.version

        def read(part: tuple[int, int]) -> tuple[memoryview, memoryview]:
            view = self._view()
            data = memoryview(self._read(part[0], view[: part[1]], version).data)
            if data.nbytes != part[1]:
                raise IntegrityError(f"{self._key} ended early", subject=self._key)
            return data, view

        yield from self._engine.in_order(read, ranges(self.first.info.size, begun, self._length), self._at_once)

    def _read(self, start: int, view: memoryview, version: str | None) -> Object:
        if isinstance(self._store, Bulk):
            return self._store.get_range_into(self._key, start, view, version=version)
        return self._store.get_range(self._key, start, len(view), version=version)

    def _view(self) -> memoryview:
        """Memory for a range: what is free, else new; the window bounds how much there comes to be."""
        try:
            return self._free.pop()
        except IndexError:
            return memoryview(bytearray(self._length))
