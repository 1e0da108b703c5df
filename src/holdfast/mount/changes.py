"""What was changed in a writable mount: found by the tables of both sides, decided by content, of which only what lies above is read."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from holdfast.cache.tree import check_source_link
from holdfast.disk import local_errors
from holdfast.model.digest import Hasher
from holdfast.model.manifest import PERMISSIONS, Entry, Manifest
from holdfast.model.result import Difference
from holdfast.mount.layers import differences, merged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.mount.layers import Row
    from holdfast.mount.mounted import BaseVersion
    from holdfast.mount.upper import UpperTree

__all__ = ["Changes", "changes_of", "edited_manifest"]

_STEP: Final = 1 << 20
_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class Changes:
    """Files and links as ``asset diff`` tells them, and ``folders``: empty directories made or removed, which it leaves out."""

    difference: Difference
    folders: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.difference or self.folders)

    def named(self) -> str:
        """Some of the paths in words, for a message."""
        found = self.difference
        paths = sorted([*found.added, *found.removed, *found.changed, *(f"{path}/" for path in self.folders)])
        more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
        return ", ".join(paths[:_NAMED]) + more


def changes_of(base: BaseVersion, upper: UpperTree) -> Changes:
    """What the changes in an upper directory make of a version. A file that was written with what it had is none, nor are times and rights.

    Raises:
        IntegrityError: the version's manifest is damaged.
        LocalError: a changed file cannot be read.
    """
    together = merged(base.tables, upper.tables)
    added, removed, changed, folders = [], [], [], []
    bytes_added = bytes_removed = 0
    for path, before, after in differences(base.tables, together, upper.tables):
        was, is_ = _is_leaf(before), _is_leaf(after)
        if was and is_ and _is_same(base.entry(path), upper.path("", path), after):
            continue
        if was and is_:
            changed.append(path)
        elif is_:
            added.append(path)
        elif was:
            removed.append(path)
        if not (was and is_) and (path not in base.tables or path not in together) and _is_folder(before, after):
            folders.append(path)
        bytes_added += _size(after) if is_ else 0
        bytes_removed += _size(before) if was else 0
    difference = Difference(tuple(added), tuple(removed), tuple(changed), bytes_added, bytes_removed)
    return Changes(difference, tuple(folders))


def edited_manifest(base: BaseVersion, entries: Sequence[Entry], upper: UpperTree) -> Manifest:
    """The files and links of a version with changes above it; ``entries`` are the version's. Only what changed is read."""
    found = {entry.path: entry for entry in entries if entry.kind != "dir"}
    for path, _, after in differences(base.tables, merged(base.tables, upper.tables), upper.tables):
        found.pop(path, None)
        if after is not None and _is_leaf(after):
            found[path] = _entry(path, upper.path("", path), after)
    return Manifest.of(found.values())


def _entry(path: str, where: str, row: Row) -> Entry:
    mode, mtime = row[0] & PERMISSIONS, row[2]
    with local_errors(Path(where)):
        if stat.S_ISLNK(row[0]):
            return Entry(path, "link", mtime=mtime, target=check_source_link(path, where))
        return Entry(path, "file", row[1], mode, mtime, _digest(where) if stat.S_ISREG(row[0]) else None)


def _is_leaf(row: Row | None) -> bool:
    return row is not None and not stat.S_ISDIR(row[0])


def _is_folder(*rows: Row | None) -> bool:
    return any(row is not None and stat.S_ISDIR(row[0]) for row in rows)


def _size(row: Row | None) -> int:
    return row[1] if row is not None and stat.S_ISREG(row[0]) else 0


def _is_same(entry: Entry | None, path: str, row: Row | None) -> bool:
    """Whether a file or link has the content, kind and executable bit that the version has."""
    if entry is None or row is None:
        return False
    with local_errors(Path(path)):
        if stat.S_ISLNK(row[0]):
            return entry.kind == "link" and os.readlink(path) == entry.target
        if entry.kind != "file" or not stat.S_ISREG(row[0]) or entry.executable != bool(row[0] & 0o100):
            return False
        return entry.size == row[1] and _digest(path) == entry.digest


def _digest(path: str) -> str:
    hasher = Hasher()
    with open(path, "rb", buffering=0) as file:
        while piece := file.read(_STEP):
            hasher.update(piece)
    return hasher.hexdigest()
