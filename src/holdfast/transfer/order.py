"""The entries of a walked folder in the order of a manifest, beside those of an earlier manifest. Pure.

A manifest is sorted by whole paths, and ``-`` sorts before ``/``: what lies in ``a`` comes after ``a-b``, though ``a`` itself
comes before it. So a directory is descended into where its name with a slash has its turn.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, NamedTuple

from holdfast.formats.stats import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from holdfast.formats.stats import DirTable
    from holdfast.model.chunk import Placed

__all__ = ["Beside", "Found", "changed", "in_order"]


class Found(NamedTuple):
    """One entry of the walk. ``clean`` tells that its numbers are those of the last time."""

    path: bytes
    directory: str
    name: str
    mode: int
    size: int
    mtime: int
    inode: int
    clean: bool


def in_order(tables: Mapping[str, DirTable], before: Mapping[str, DirTable]) -> Iterator[Found]:
    """Every entry below the root, sorted by path; ``before`` are the tables of the last time."""
    stack = [_level("", tables[""], before.get(""))]
    while stack:
        for item in stack[-1]:
            if isinstance(item, str):
                stack.append(_level(item, tables[item], before.get(item)))
                break
            yield item
        else:
            stack.pop()


def changed(tables: Mapping[str, DirTable], before: Mapping[str, DirTable]) -> list[tuple[bytes, Found | None]]:
    """The entries that are not as the last time, by path; None for those that are gone. Tables that are the same object cost nothing."""
    found: list[tuple[bytes, Found | None]] = []
    for directory in before.keys() - tables.keys():
        found += [(_path(directory, name), None) for name in before[directory].names]
    for directory, table in tables.items():
        old = before.get(directory)
        clean = None if old is table else _clean(table, old)
        if clean is None:
            continue
        for at, name in enumerate(table.names):
            if name not in clean:
                mode, size, mtime, _, inode = table.rows[at * COLUMNS : (at + 1) * COLUMNS]
                path = _path(directory, name)
                found.append((path, Found(path, directory, name, mode, size, mtime, inode, clean=False)))
        here = set(table.names)
        found += [(_path(directory, name), None) for name in (old.names if old else ()) if name not in here]
    return sorted(found, key=lambda each: each[0])


def _path(directory: str, name: str) -> bytes:
    return f"{directory}/{name}".encode() if directory else name.encode()


def _level(directory: str, table: DirTable, before: DirTable | None) -> Iterator[Found | str]:
    """The entries of one directory, and the paths of its directories where they have their turn."""
    prefix = f"{directory}/".encode() if directory else b""
    rows = table.rows
    clean = _clean(table, before)
    turns = [(name, at) for at, name in enumerate(table.names)]
    inner = [(f"{name}/", at) for name, at in turns if stat.S_ISDIR(rows[at * COLUMNS])]
    for name, at in sorted(turns + inner) if inner else turns:
        if name[-1] == "/":
            yield (f"{directory}/" if directory else "") + name[:-1]
            continue
        mode, size, mtime, _, inode = rows[at * COLUMNS : (at + 1) * COLUMNS]
        yield Found(prefix + name.encode(), directory, name, mode, size, mtime, inode, clean is None or name in clean)


def _clean(table: DirTable, before: DirTable | None) -> set[str] | frozenset[str] | None:
    """None where the whole directory is as it was, else the names whose numbers are."""
    if before is None:
        return frozenset()
    if table.same(before):
        return None
    places = {name: at for at, name in enumerate(before.names)}
    rows, old, width = table.rows, before.rows, COLUMNS
    return {
        name
        for at, name in enumerate(table.names)
        if (was := places.get(name)) is not None
        and rows[at * width : (at + 1) * width] == old[was * width : (was + 1) * width]
    }


class Beside:
    """Walks an earlier manifest in step with the paths that are asked for, which must ascend."""

    def __init__(self, entries: Iterator[Placed]) -> None:
        self._entries = entries
        self._next = next(entries, None)

    def at(self, path: bytes) -> Placed | None:
        """The entry of this very path."""
        found = self._next
        while found is not None and found.path < path:
            found = next(self._entries, None)
        self._next = found
        if found is None or found.path != path:
            return None
        self._next = next(self._entries, None)
        return found
