"""The stat cache: how a pushed folder looked, so that what did not change is not read again (FORMAT.md §8).

One table a directory: its names, and five numbers for each. Two tables are compared as two texts and two runs of bytes, which
is what makes a million unchanged files cost their stats and little more.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Final

import msgspec

from holdfast.formats.decoding import from_msgpack

__all__ = ["CHANGED", "COLUMNS", "DirTable", "TreeStats", "decode_stats", "encode_stats", "signed"]

#: Mode, size in bytes, mtime and ctime in nanoseconds, inode.
COLUMNS: Final = 5
#: The inode of a row that must not be trusted.
CHANGED: Final = -1
_FORMAT: Final = 1
_HALF: Final = 1 << 63


def signed(number: int) -> int:
    """A number of 64 bits as a table holds it: some file systems have inodes beyond 2⁶³."""
    return number if number < _HALF else number - 2 * _HALF


@dataclass(frozen=True, slots=True)
class DirTable:
    """One directory: its names, sorted, and :data:`COLUMNS` numbers for each."""

    names: list[str]
    rows: array[int]

    def same(self, other: DirTable) -> bool:
        """Whether every name and number is equal."""
        return self.rows == other.rows and self.names == other.names


@dataclass(frozen=True, slots=True)
class TreeStats:
    """A folder as it was when a version was made of it: by directory (``""`` is the root), and which version.

    ``place``, ``name`` and ``version`` say which; ``root`` is the digest of its root (hex), ``hash`` its content hash. ``exact``: its
    manifest has the times and modes of these tables, for it was made of this very folder.
    """

    place: str
    name: str
    version: str
    root: str
    hash: str
    files: int
    size: int
    tables: dict[str, DirTable] = field(repr=False)
    exact: bool = False


class _Stats(msgspec.Struct, array_like=True):
    format: int
    place: str
    name: str
    version: str
    root: str
    hash: str
    files: int
    size: int
    tables: list[tuple[str, str, bytes]]
    exact: bool = False


def encode_stats(stats: TreeStats) -> bytes:
    """The file."""
    tables = [(path, "\0".join(table.names), table.rows.tobytes()) for path, table in stats.tables.items()]
    about = (stats.place, stats.name, stats.version, stats.root, stats.hash, stats.files, stats.size)
    return msgspec.msgpack.encode(_Stats(_FORMAT, *about, tables, stats.exact))


def decode_stats(data: bytes) -> TreeStats | None:
    """Read it; None where it cannot be read: then everything counts as changed."""
    try:
        found = from_msgpack(data, _Stats)
        if found.format != _FORMAT:
            return None
        tables = {path: _table(names, rows) for path, names, rows in found.tables}
    except (msgspec.MsgspecError, ValueError):
        return None
    about = (found.place, found.name, found.version, found.root, found.hash, found.files, found.size)
    return TreeStats(*about, tables, found.exact)


def _table(names: str, rows: bytes) -> DirTable:
    numbers = array("q")
    numbers.frombytes(rows)
    listed = names.split("\0") if rows else []
    if len(numbers) != COLUMNS * len(listed):
        raise ValueError(names)
    return DirTable(listed, numbers)
