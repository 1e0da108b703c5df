"""The numbers of a version's files and directories, made from its manifest alone. Pure.

An entry's number is its place in the sorted manifest and how deep it lies. A directory needs no entry of its own: then it is named
by the first entry below it. So a worker that was started anew knows every number that its predecessor gave out.

The entries come in sheets (the pages of a manifest), of which few are looked at: a path is found by bisection over what the sheets
begin and end with, and a listing leaps over what lies below a directory, to ``directory0``, for ``0`` follows ``/``.
"""

from __future__ import annotations

import errno
import os
import stat
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from holdfast.errors import IntegrityError
from holdfast.mount.base import ROOT, Attributes, Item

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from holdfast.formats.pages import Rows

__all__ = ["GENERATION", "MOST_ENTRIES", "Nodes", "Place", "Sheets", "generation_of", "round_of", "target_of"]

_DEPTH_BITS: Final = 12
_DEPTH: Final = (1 << _DEPTH_BITS) - 1
#: A version of more entries has no numbers here.
MOST_ENTRIES: Final = 1 << 28
#: The bit from which on a number tells its generation: which of the versions that a mount showed one after the other.
GENERATION: Final = 28 + _DEPTH_BITS + 1
_BASE: Final = (1 << GENERATION) - 1
#: The same in a position of a listing, which is the index of an entry: that of the root goes on in another version.
_ROUND: Final = 29
_INDEX: Final = (1 << _ROUND) - 1
_FILE, _DIR, _LINK = b"fdl"
#: A number: for bytes, Python tries whether they are one first, and makes an exception of it.
_SLASH: Final = ord("/")
_REGULAR: Final = stat.S_IFREG
_FILE_MODE, _DIR_MODE, _LINK_MODE = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755, stat.S_IFLNK | 0o777
#: The prefixes of so many directories are remembered.
_KNOWN: Final = 65_536


class Sheets(Protocol):
    """The entries of a manifest in sheets: what each begins and ends with, and how many entries stand before it (and, last, in all)."""

    firsts: list[bytes]
    lasts: list[bytes]
    starts: list[int]

    def sheet(self, number: int) -> Rows:
        """What ``stat`` shows of the entries of one sheet."""
        ...


class Place(NamedTuple):
    """Where an entry stands: its sheet, and its row there."""

    sheet: int
    row: int


def generation_of(node: int) -> int:
    """The generation that a number is of; the root's is 0."""
    return node >> GENERATION


def round_of(position: int) -> int:
    """The generation in which a listing came to a position."""
    return position >> _ROUND


class Nodes:
    """The numbers of one version.

    Args:
        sheets: its entries.
        generation: which of the versions of a mount it is, from 0 on.
        mtime: when it was pushed, in nanoseconds since 1970, for entries without a time.
    """

    def __init__(self, sheets: Sheets, mtime: int, generation: int = 0) -> None:
        self._sheets = sheets
        self._firsts, self._lasts, self._starts = sheets.firsts, sheets.lasts, sheets.starts
        self._total = sheets.starts[-1]
        self._mtime = mtime
        self._base = ROOT + (generation << GENERATION)
        self._round = generation << _ROUND
        self._prefixes: dict[int, bytes] = {}
        if self._total > MOST_ENTRIES:
            raise IntegrityError(f"a version of {self._total:,} entries cannot be mounted")

    def lookup(self, parent: int, name: bytes) -> Attributes | None:
        """What lies in a directory under a name."""
        prefix = self._prefixes.get(parent)
        if prefix is None:
            prefix = self._prefix(parent)
        path = prefix + name
        found = self._find(path)
        if found is None:
            return None
        number, row, rows = found
        if rows.paths[row] == path:
            return self._shown(self._starts[number] + row, row, rows, prefix.count(b"/") + 1)
        below = path + b"/"
        if not rows.paths[row].startswith(below):
            found = self._find(below)
            if found is None:
                return None
            number, row, rows = found
            if not rows.paths[row].startswith(below):
                return None
        return self._directory(self._starts[number] + row, prefix.count(b"/") + 1)

    def attributes(self, node: int) -> Attributes:
        """What ``stat`` shows of a node."""
        if node == ROOT:
            return Attributes(ROOT, _DIR_MODE, 0, self._mtime, 1)
        index, depth = self._parts(node)
        rows, row = self._row(index)
        deepest = rows.paths[row].count(b"/") + 1
        if deepest == depth:
            return self._shown(index, row, rows, depth)
        if deepest < depth:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return self._directory(index, depth)

    def items(self, node: int, position: int) -> Iterator[Item]:
        """What lies in a directory, from behind a position on: the index of the entry to go on with, and the generation."""
        prefix = self._prefix(node)
        index = self._going_on(prefix, position & _INDEX) if position else self._index(prefix)
        depth = prefix.count(b"/") + 1
        while index < self._total:
            number = bisect_right(self._starts, index) - 1
            start, rows = self._starts[number], self._sheets.sheet(number)
            row = yield from self._in_sheet(start, rows, index - start, prefix, depth)
            if row < 0:
                return
            index = start + row
            if row < len(rows.paths):  # a directory without an entry before what lies in it
                name = rows.paths[row][len(prefix) :].partition(b"/")[0]
                end = self._index(prefix + name + b"0")
                if not self._has_entry(prefix + name):
                    yield Item(name, end + self._round, self._directory(index, depth))
                index = end

    def _going_on(self, prefix: bytes, position: int) -> int:
        """The entry of a directory to go on with. Who reads it may seek to where no listing of it was: to what lies before it, or amid what lies below it."""
        if position >= self._total:
            return self._total
        rows, row = self._row(position)
        path = rows.paths[row]
        if not path.startswith(prefix):
            return max(position, self._index(prefix))
        name, slash, _ = path[len(prefix) :].partition(b"/")
        return self._index(prefix + name + slash) if slash else position

    def _in_sheet(self, start: int, rows: Rows, row: int, prefix: bytes, depth: int) -> Generator[Item, None, int]:
        """The items among the rows of a sheet; where the next directory without an entry begins, or the end of the sheet; -1: no more."""
        paths, length, pushed = rows.paths, len(prefix), self._mtime
        end = bisect_left(paths, prefix[:-1] + b"0", row) if prefix else len(paths)
        parts = [part[row:end] for part in (paths, rows.kinds, rows.modes, rows.mtimes, rows.sizes)]
        node, step = self._base + (start + row << _DEPTH_BITS) + depth, 1 << _DEPTH_BITS
        start += self._round
        for index, (path, kind, mode, when, size) in enumerate(zip(*parts, strict=True), start + row + 1):
            name = path[length:]
            if _SLASH in name:
                return index - start - 1
            if kind != _FILE:
                shown = self._shown(index - self._round - 1, index - start - 1, rows, depth)
            else:
                bits = _FILE_MODE if mode is None else _REGULAR | mode
                shown = Attributes(node, bits, size, pushed if when is None else when, 1)
            yield Item(name, index, shown)
            node += step
        if end < len(paths):
            return -1
        return len(paths)

    def position(self, node: int) -> int:
        """Where a listing of its directory begins with this node."""
        return (((node & _BASE) - ROOT) >> _DEPTH_BITS) + self._round

    def begins(self, name: bytes) -> int:
        """Where a listing of the root goes on with a name, or with what comes behind it."""
        return self._index(name) + self._round

    def path(self, node: int) -> bytes:
        """The path of a directory; empty for the root."""
        return self._prefix(node)[:-1]

    def place(self, node: int, kind: int) -> Place:
        """Where the entry of a file or link stands."""
        index, depth = (0, 0) if node == ROOT else self._parts(node)
        number = bisect_right(self._starts, index) - 1
        row, rows = index - self._starts[number], self._sheets.sheet(number)
        found = rows.kinds[row] if depth and rows.paths[row].count(b"/") + 1 == depth else _DIR
        if found != kind:
            code = errno.EISDIR if found == _DIR and kind == _FILE else errno.EINVAL
            raise OSError(code, os.strerror(code))
        return Place(number, row)

    def _prefix(self, node: int) -> bytes:
        """What the paths of all that lies in a directory begin with."""
        if node == ROOT:
            return b""
        index, depth = self._parts(node)
        rows, row = self._row(index)
        path = rows.paths[row]
        pieces = path.split(b"/", depth)
        if len(pieces) < depth or (len(pieces) == depth and rows.kinds[row] != _DIR):
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        prefix = b"/".join(pieces[:depth]) + b"/"
        if len(self._prefixes) >= _KNOWN:
            self._prefixes.clear()
        self._prefixes[node] = prefix
        return prefix

    def _shown(self, index: int, row: int, rows: Rows, depth: int) -> Attributes:
        """What ``stat`` shows of an entry."""
        kind, mode, when = rows.kinds[row], rows.modes[row], rows.mtimes[row]
        size = rows.sizes[row]
        if kind == _FILE:
            mode = _FILE_MODE if mode is None else stat.S_IFREG | mode
        elif kind == _DIR:
            mode = _DIR_MODE if mode is None else stat.S_IFDIR | mode
        else:
            mode, size = _LINK_MODE, len(target_of(rows, row))
        return Attributes(self._node(index, depth), mode, size, self._mtime if when is None else when, 1)

    def _directory(self, index: int, depth: int) -> Attributes:
        """What ``stat`` shows of a directory without an entry. One link: it tells nobody how many directories lie in it."""
        return Attributes(self._node(index, depth), _DIR_MODE, 0, self._mtime, 1)

    def _node(self, index: int, depth: int) -> int:
        if depth > _DEPTH:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        return self._base + (index << _DEPTH_BITS) + depth

    def _parts(self, node: int) -> tuple[int, int]:
        rest = (node & _BASE) - ROOT
        index, depth = rest >> _DEPTH_BITS, rest & _DEPTH
        if rest < 0 or not depth or index >= self._total:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return index, depth

    def _row(self, index: int) -> tuple[Rows, int]:
        number = bisect_right(self._starts, index) - 1
        return self._sheets.sheet(number), index - self._starts[number]

    def _find(self, path: bytes) -> tuple[int, int, Rows] | None:
        """The first entry that is not before a path: its sheet, row, and the sheet's rows."""
        number = bisect_left(self._lasts, path)
        if number == len(self._lasts):
            return None
        rows = self._sheets.sheet(number)
        return number, bisect_left(rows.paths, path), rows

    def _index(self, path: bytes) -> int:
        """The index of the first entry that is not before a path; no sheet is looked at where one begins there."""
        number = bisect_left(self._lasts, path)
        if number == len(self._lasts) or self._firsts[number] >= path:
            return self._starts[number]
        return self._starts[number] + bisect_left(self._sheets.sheet(number).paths, path)

    def _has_entry(self, path: bytes) -> bool:
        """Whether a directory has an entry of its own.

        Raises:
            IntegrityError: there is one, and it is of a file or link.
        """
        found = self._find(path)
        if found is None or found[2].paths[found[1]] != path:
            return False
        if found[2].kinds[found[1]] != _DIR:
            shown = path.decode(errors="replace")
            raise IntegrityError(f"a manifest has entries below {shown!r}, which is no directory", subject=shown)
        return True


def target_of(rows: Rows, row: int) -> bytes:
    """Where a link leads, as written."""
    return rows.targets[rows.kinds.count(_LINK, 0, row)].encode()
