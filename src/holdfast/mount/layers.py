"""A version and the changes that lie above it, as tables: what they are together, what differs, what is left after a push. Pure.

Changes are kept as an overlay file system keeps them in its upper directory, and as tables of :mod:`holdfast.formats.stats`: what was
written or made anew is an entry; what was removed is a *whiteout*, an entry without a mode; a directory whose like below is hidden
is *opaque*, a bit beyond those that a mode has.

Example::

    together = merged(version, changes)               # what the mount shows
    changed = list(differences(version, together, changes))
    rest = remaining(then, changes)                   # what is not in the version that was made of ``then``
"""

from __future__ import annotations

import stat
from array import array
from typing import TYPE_CHECKING, Final, NamedTuple

from holdfast.formats.stats import COLUMNS, DirTable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import TypeAlias

__all__ = [
    "OPAQUE",
    "WHITEOUT",
    "Difference",
    "Row",
    "Tables",
    "below",
    "differences",
    "merged",
    "remaining",
    "rows_of",
    "table_of",
]

#: The mode of an entry that says that nothing is there. No file has it.
WHITEOUT: Final = 0
#: Set in the mode of a directory through which nothing below is seen.
OPAQUE: Final = 1 << 20

Tables: TypeAlias = "Mapping[str, DirTable]"
Row: TypeAlias = "tuple[int, ...]"


class Difference(NamedTuple):
    """A path with what it was and what it is (mode, size, mtime, ctime, inode), None for nothing; never a directory that is one before and after."""

    path: str
    before: Row | None
    after: Row | None


def rows_of(table: DirTable | None) -> dict[str, Row]:
    """A table by name."""
    if table is None:
        return {}
    rows = table.rows
    return {name: tuple(rows[at * COLUMNS : (at + 1) * COLUMNS]) for at, name in enumerate(table.names)}


def table_of(rows: Mapping[str, Row]) -> DirTable:
    """The table of these entries."""
    names = sorted(rows)
    return DirTable(names, array("q", [number for name in names for number in rows[name]]))


def below(directory: str, name: str) -> str:
    """The path of an entry."""
    return f"{directory}/{name}" if directory else name


def merged(lower: Tables, upper: Tables) -> dict[str, DirTable]:
    """A tree with changes above it, as one. Tables in which nothing changed are those of ``lower`` themselves."""
    made: dict[str, DirTable] = {}
    hidden: set[str] = set()
    pending = [("", lower.get(""))]
    while pending:
        directory, base = pending.pop()
        rows = rows_of(base)
        for name, row in rows_of(upper[directory]).items():
            inner, was = below(directory, name), rows.pop(name, None)
            through = was is not None and stat.S_ISDIR(was[0]) and stat.S_ISDIR(row[0]) and not row[0] & OPAQUE
            if was is not None and stat.S_ISDIR(was[0]) and not through:
                hidden.add(inner)
            if stat.S_ISDIR(row[0]):
                pending.append((inner, lower.get(inner) if through else None))
            if row[0] != WHITEOUT:
                rows[name] = (row[0] & ~OPAQUE, *row[1:])
        made[directory] = table_of(rows)
    seen = {path: table for path, table in lower.items() if not _is_within(path, hidden)} if hidden else dict(lower)
    return seen | made


def _is_within(path: str, folders: set[str]) -> bool:
    """Whether a path is one of these, or lies in one."""
    while path:
        if path in folders:
            return True
        path = path.rpartition("/")[0]
    return False


def differences(lower: Tables, together: Tables, upper: Tables) -> Iterator[Difference]:
    """What differs from a version to the version with changes: files, links, and directories that hold nothing; by path."""
    found: list[Difference] = []
    for directory in {*upper, *(lower.keys() - together.keys())}:
        before, after = _content(lower, directory), _content(together, directory)
        names = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
        found += [Difference(below(directory, name), before.get(name), after.get(name)) for name in names]
    yield from sorted(found)


def _content(tables: Tables, directory: str) -> dict[str, Row]:
    """What counts as content in a directory: all but directories in which something lies, which that implies. Those are told by kind alone."""
    content = {}
    for name, row in rows_of(tables.get(directory)).items():
        if not stat.S_ISDIR(row[0]):
            content[name] = row
        elif not tables[below(directory, name)].names:
            content[name] = (stat.S_IFDIR, 0, 0, 0, 0)
    return content


def remaining(then: Tables, now: Tables) -> dict[str, DirTable]:
    """Of changes as they are now, those that a version made of them as they were ``then`` has not: changes above that version."""
    stayed: dict[str, bool] = {"": True}
    for directory, table in sorted(now.items()):  # what lies in a directory comes after it
        before = rows_of(then.get(directory)) if stayed[directory] else {}
        for name, row in rows_of(table).items():
            if stat.S_ISDIR(row[0]):
                stayed[below(directory, name)] = _stayed(before.get(name), row)
    left: dict[str, DirTable] = {}
    for directory in sorted(now, reverse=True):
        was = then.get(directory) if stayed[directory] else None
        rows = _remaining_rows(directory, rows_of(was), now[directory], stayed, left)
        if rows or not stayed[directory] or not directory:
            left[directory] = table_of(rows)
    return left


def _stayed(old: Row | None, row: Row) -> bool:
    """Whether a directory of the changes is the one of then, as far as that matters: one made anew hides what the version has."""
    return old is not None and stat.S_ISDIR(old[0]) and (bool(old[0] & OPAQUE) or not row[0] & OPAQUE)


def _remaining_rows(
    directory: str, before: dict[str, Row], table: DirTable, stayed: Mapping[str, bool], left: Tables
) -> dict[str, Row]:
    """What is left in one directory, where that is known of those in it."""
    rows: dict[str, Row] = {}
    for name, row in rows_of(table).items():
        old, inner = before.pop(name, None), below(directory, name)
        if not stat.S_ISDIR(row[0]):
            if row != old and not (old is not None and row[0] == old[0] == WHITEOUT):
                rows[name] = row
        elif not stayed[inner]:
            rows[name] = row
        elif inner in left or (old is not None and row[0] & ~OPAQUE != old[0] & ~OPAQUE):
            rows[name] = (row[0] & ~OPAQUE, *row[1:])  # what the version has in it is seen through it
    for name, old in before.items():  # gone without a trace, as nothing lay below it; but the version has it
        if old[0] != WHITEOUT:
            rows[name] = (WHITEOUT, 0, 0, 0, 0)
    return rows
