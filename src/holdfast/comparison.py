"""What changed from one side to the other: versions, parts of versions, local files and directories.

Each side is looked at from where it was named: a sub-path of a version lines up with a directory that holds the same. A file alone
lines up with any other file alone, whatever their names, and with nothing in a directory.

Example::

    compare(Side.of(manifest, "sub"), Side.of(local_manifest(Path("model/sub"))))
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from holdfast.formats import layout
from holdfast.model.result import Difference
from holdfast.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from holdfast.model.manifest import Entry, Manifest

__all__ = ["Side", "compare", "local_manifest"]


@dataclass(frozen=True, slots=True)
class Side:
    """Files and symlinks by their paths from where the side was named; ``single`` is one file alone, by its name."""

    entries: Mapping[str, Entry]
    single: bool = False
    sub_path: str | None = None

    @classmethod
    def of(cls, manifest: Manifest, sub_path: str | None = None) -> Side:
        """A manifest, or what lies at and below a path in it.

        Raises:
            VersionNotFoundError: no such path.
        """
        if sub_path is None:
            return cls({entry.path: entry for entry in manifest.entries if entry.kind != "dir"}, manifest.single)
        root, found = Selection(sub_path).at(manifest)
        leaves = [entry for entry in found if entry.kind != "dir"]
        if [entry.path for entry in found] == [root] == [entry.path for entry in leaves]:
            return cls({sub_path.rpartition("/")[2]: leaves[0]}, single=True, sub_path=sub_path)
        start = len(root) + 1 if root else 0
        return cls({entry.path[start:]: entry for entry in leaves}, sub_path=sub_path)

    def told(self, path: str) -> str:
        """The path as ``asset files`` lists it."""
        if self.sub_path is None:
            return path
        return self.sub_path if self.single else f"{self.sub_path}/{path}"


def compare(one: Side, other: Side) -> Difference:
    """The paths added, removed and changed (content, kind, executable bit or target) from one side to the other.

    Paths are told from where each side was named, or as they are in the version where both were named by the same sub-path. A file
    alone is told by its name on the first side.
    """
    before, after = one.entries, other.entries
    if one.single and other.single:
        after = dict(zip(before, after.values(), strict=True))
    both: AbstractSet[str] = before.keys() & after.keys() if one.single == other.single else frozenset()
    added, removed = after.keys() - both, before.keys() - both
    changed = {path for path in both if _is_changed(before[path], after[path])}
    whole = one.sub_path is not None and one.sub_path == other.sub_path
    return Difference(
        tuple(sorted(other.told(path) if whole else path for path in added)),
        tuple(sorted(one.told(path) if whole else path for path in removed)),
        tuple(sorted(one.told(path) if whole else path for path in changed)),
        sum(after[path].size for path in [*added, *changed]),
        sum(before[path].size for path in [*removed, *changed]),
    )


def _is_changed(one: Entry, other: Entry) -> bool:
    """Whether they differ; the executable bit counts where both have modes."""
    if (one.kind, one.digest, one.target) != (other.kind, other.digest, other.target):
        return True
    return None not in (one.mode, other.mode) and one.executable != other.executable


def local_manifest(path: Path, exclude: Sequence[str] = ()) -> Manifest:
    """The manifest of a local file or directory, hashed now; without modes where its file system keeps none."""
    from holdfast.cache.tree import hash_file, scan
    from holdfast.model.manifest import Manifest

    entries = [hash_file(item) if item.entry.kind == "file" else item.entry for item in scan(path, exclude=exclude)]
    if _has_no_modes(path):
        entries = [replace(entry, mode=None) for entry in entries]
    return Manifest.of(entries, single=path.is_file())


def _has_no_modes(path: Path) -> bool:
    """Whether the marker of a fetched copy, which nobody makes so, is executable: FAT, NTFS and shares show every file so."""
    marker = path / layout.MARKER if path.is_dir() else path.with_name(f".{path.name}{layout.MARKER}")
    return marker.is_file() and bool(marker.stat().st_mode & stat.S_IXUSR)
