"""The bytes of one large object, range by range, each handed on in order: to a file, and behind it to a digest.

Owns how many ranges are in flight and the pieces of memory that they are received into, which are used again: memory that is
new for every range costs the kernel as much work as receiving into it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from holdfast.disk import begin_write_back
from holdfast.errors import IntegrityError
from holdfast.store.base import Bulk, FillsFiles, Object
from holdfast.store.copying import STEP, show, write_all
from holdfast.transfer.plan import PART, ranges

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from holdfast.store.base import Store
    from holdfast.transfer.engine import Engine

__all__ = ["IN_FLIGHT", "Ranges"]

#: The length of a range of an object that is fetched alone: fewer requests than with plan.PART, but more memory.
_ALONE: Final = 8 * 1024 * 1024
#: Bytes in flight, of all objects that are fetched side by side.
IN_FLIGHT: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Piece:
    """A range of the object: in the file already, or ``data`` within a ``view`` that is used again."""

    start: int
    end: int
    data: memoryview | None = None
    view: memoryview | None = None


class Ranges:
    """One object from ``start`` on. The first range tells its size and version, by which the others are pinned.

    ``beside`` is how many objects are fetched side by side, this one included.
    """

    def __init__(self, store: Store, engine: Engine, key: str, start: int, beside: int) -> None:
        self._store = store
        self._engine = engine
        self._key = key
        self._length = _ALONE if beside == 1 else PART
        self._at_once = max(1, IN_FLIGHT // self._length // beside)
        self._free: deque[memoryview] = deque()
        self._start = start
        view = self._view()
        self._first_view, self.first = view, self._read(start, view, None)

    def save(self, file: BinaryIO, digest_piece: Callable[[memoryview], None], arrived: Callable[[int], None]) -> None:
        """Put all of it into an unbuffered file that ends where it begins, and tell how much has come.

        It is digested in order by a thread behind: from memory, or read back from the file where the kernel put it there. Up to
        :data:`IN_FLIGHT` bytes before the file's end may lack if this is killed.
        """
        descriptor, back = file.fileno(), memoryview(bytearray(STEP))

        def digest_and_free(piece: _Piece) -> None:
            if piece.data is None:
                show(descriptor, piece.start, piece.end, back, digest_piece)
            else:
                digest_piece(piece.data)
            if piece.view is not None:
                self._free.append(piece.view)

        with self._engine.behind(digest_and_free) as behind:
            for piece in self._pieces(descriptor):
                if piece.data is not None:
                    file.seek(piece.start)
                    write_all(file, piece.data)
                behind(piece)
                begin_write_back(descriptor, piece.start, piece.end - piece.start)
                arrived(piece.end - piece.start)
        file.seek(self.first.info.size)

    def _pieces(self, descriptor: int) -> Iterator[_Piece]:
        first = memoryview(self.first.data)
        begun, version = self._start + first.nbytes, self.first.info.version
        yield _Piece(self._start, begun, first, self._first_view)
        filling = self._store.get_range_to if isinstance(self._store, FillsFiles) else None

        def read(part: tuple[int, int]) -> _Piece:
            start, length = part
            if (
                filling is not None
                and filling(self._key, start, length, descriptor, start, version=version) is not None
            ):
                return _Piece(start, start + length)
            view = self._view()
            data = memoryview(self._read(start, view[:length], version).data)
            if data.nbytes != length:
                raise IntegrityError(f"{self._key} ended early", subject=self._key)
            return _Piece(start, start + length, data, view)

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
