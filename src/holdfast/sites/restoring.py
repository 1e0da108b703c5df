"""What a restore must change in a folder: decided from what is wanted and what is there. Pure.

What is there and not wanted, or not as wanted, goes aside; nothing is deleted and nothing written over. A directory that holds what
a restore must leave alone stays where it is, and only what is in it is judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from holdfast.model.manifest import Entry

__all__ = ["Change", "Present", "decide"]


@dataclass(frozen=True, slots=True)
class Present:
    """What lies at a path: its kind, permission bits, the digest of a file or the target of a link."""

    kind: str
    mode: int = 0
    content: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One step: ``aside`` (away with what is there), ``make`` a directory, or ``place`` a file or link."""

    what: str
    path: str


def decide(
    wanted: Mapping[str, Entry], present: Mapping[str, Present], pinned: Collection[str] = ()
) -> tuple[list[Change], int]:
    """The changes in their order, and how many files and links stay as they are.

    Args:
        wanted: path → entry.
        present: path → what is there, in the scope of the restore.
        pinned: directories that hold something that stays; they are never moved.

    Raises:
        ConflictError: a file is wanted where such a directory is.
    """
    blocked = next((path for path in pinned if path in wanted and wanted[path].kind != "dir"), None)
    if blocked is not None:
        raise ConflictError(
            f"{blocked} is no directory in the backup, and holds here what stays on this machine",
            subject=blocked,
            hint="move the directory away",
        )
    aside: list[Change] = []
    gone: set[str] = set()
    for path in sorted(present):
        if any(above in gone for above in _above(path)):
            continue
        entry, there = wanted.get(path), present[path]
        if there.kind == "dir" and (path in pinned or (entry is not None and entry.kind == "dir")):
            continue
        if entry is None or not _same(entry, there):
            gone.add(path)
            aside.append(Change("aside", path))
    placed: list[Change] = []
    same = 0
    for path in sorted(wanted):
        entry = wanted[path]
        there_now = present.get(path) if not _is_gone(path, gone) else None
        if entry.kind == "dir":
            if there_now is None:
                placed.append(Change("make", path))
        elif there_now is None:
            placed.append(Change("place", path))
        else:
            same += 1
    return [*aside, *placed], same


def _same(entry: Entry, there: Present) -> bool:
    if entry.kind != there.kind:
        return False
    if entry.kind == "link":
        return entry.target == there.content
    return entry.digest == there.content and entry.executable == bool(there.mode & 0o100)


def _is_gone(path: str, gone: Collection[str]) -> bool:
    return path in gone or any(above in gone for above in _above(path))


def _above(path: str) -> list[str]:
    pieces = path.split("/")
    return ["/".join(pieces[:end]) for end in range(1, len(pieces))]
