"""The version below a writable mount, as tables to compare changes with, without reading any of its files; and both as one for a push.

Of layout ``packs`` the manifest on this machine tells everything; it is brought here where it is not. Of other layouts the meta does.
"""

from __future__ import annotations

import stat
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from holdfast.cache.stats import Walked
from holdfast.formats.stats import DirTable, TreeStats
from holdfast.model.spec import AssetSpec
from holdfast.mount.layers import merged
from holdfast.packed import Scan
from holdfast.transfer.manifests import opened, raw_of, rows_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from holdfast.cache.manifests import LocalManifest
    from holdfast.catalog.base import Published
    from holdfast.model.manifest import Entry
    from holdfast.mount.upper import UpperTree
    from holdfast.repository import Repository

__all__ = ["BaseVersion", "EditedTree", "Identity", "edited_scan"]

_TYPES: Final = {"file": stat.S_IFREG, "dir": stat.S_IFDIR, "link": stat.S_IFLNK}
_PLACED: Final = {ord("f"): stat.S_IFREG, ord("d"): stat.S_IFDIR, ord("l"): stat.S_IFLNK}
#: What a mount shows where a manifest does not tell.
_RIGHTS: Final = {stat.S_IFREG: 0o644, stat.S_IFDIR: 0o755, stat.S_IFLNK: 0o777}
_IMPLIED: Final = (stat.S_IFDIR | 0o755, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Identity:
    """Which version it is, and what its meta says of it; ``root`` is the digest of its root, of layout packs alone."""

    name: str
    version: str
    layout: str
    hash: str | None
    root: str | None
    files: int | None
    size: int | None

    @classmethod
    def of(cls, name: str, version: str, published: Published) -> Identity:
        """By its meta."""
        meta = published.meta
        return cls(name, version, meta.layout, meta.hash, meta.root, meta.files, meta.size)


@dataclass(slots=True)
class BaseVersion:
    """A version as tables (:mod:`holdfast.formats.stats`), and its entries by path where they are asked for."""

    identity: Identity
    tables: dict[str, DirTable] = field(repr=False)
    _manifest: LocalManifest | None = None
    _entries: dict[str, Entry] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, repository: Repository, identity: Identity) -> BaseVersion:
        """The version, from this machine where it is known here; what is not comes from the store.

        Raises:
            IntegrityError: its manifest is missing or damaged.
            UnreachableError: it is not here, and the store does not answer.
        """
        if identity.root is not None:
            manifest = repository.local.manifests.whole(identity.name, identity.version, identity.root)
            return cls(identity, _tables(_packed_rows(manifest)), manifest)
        entries = repository.manifest(AssetSpec(identity.name, identity.version)).entries
        return cls(identity, _tables(map(_entry_row, entries)), None, {entry.path: entry for entry in entries})

    def entry(self, path: str) -> Entry | None:
        """The entry at a path."""
        if self._manifest is None or path in self._entries:
            return self._entries.get(path)
        for page in self._manifest.root.within(path.encode()):
            for placed in opened(page, self._manifest.stored(page)):
                if placed.path == path.encode():
                    self._entries[path] = placed.entry
                    return placed.entry
        return None

    def stats(self, place: str) -> TreeStats:
        """As a folder that was pushed as this version to the store at a place."""
        found = self.identity
        return TreeStats(
            place,
            found.name,
            found.version,
            found.root or "",
            found.hash or "",
            found.files or 0,
            found.size or 0,
            self.tables,
        )


def _packed_rows(manifest: LocalManifest) -> Iterator[tuple[str, int, int | None, int, int]]:
    for page, stored in manifest.pages():
        rows = rows_of(page, raw_of(page, stored))
        paths = b"\0".join(rows.paths).decode().split("\0")
        for path, kind, mode, size, mtime in zip(paths, rows.kinds, rows.modes, rows.sizes, rows.mtimes, strict=True):
            yield path, _PLACED[kind], mode, size, mtime or 0


def _entry_row(entry: Entry) -> tuple[str, int, int | None, int, int]:
    return entry.path, _TYPES[entry.kind], entry.mode, entry.size, entry.mtime or 0


def _tables(rows: Iterable[tuple[str, int, int | None, int, int]]) -> dict[str, DirTable]:
    """Tables of entries sorted by path: times and inodes that only a file system knows are 0. Directories that are only implied appear too."""
    tables = {"": DirTable([], array("q"))}
    implied: set[str] = set()
    for path, kind, mode, size, mtime in rows:
        directory, _, name = path.rpartition("/")
        table = tables.get(directory)
        if table is None:
            table = _implied(directory, tables, implied)
        if kind == stat.S_IFDIR:
            tables[path] = DirTable([], array("q"))
        table.names.append(name)
        table.rows.extend((kind | (_RIGHTS[kind] if mode is None else mode), size, mtime, 0, 0))
    return {path: _sorted(table) if path in implied else table for path, table in tables.items()}


def _implied(directory: str, tables: dict[str, DirTable], touched: set[str]) -> DirTable:
    """The table of a directory that has no entry, which is given one in the directory above; that may be out of order then."""
    above, _, name = directory.rpartition("/")
    parent = tables.get(above)
    if parent is None:
        parent = _implied(above, tables, touched)
    parent.names.append(name)
    parent.rows.extend(_IMPLIED)
    touched.add(above)
    tables[directory] = DirTable([], array("q"))
    return tables[directory]


def _sorted(table: DirTable) -> DirTable:
    order = sorted(range(len(table.names)), key=table.names.__getitem__)
    numbers = [number for at in order for number in table.rows[at * 5 : at * 5 + 5]]
    return DirTable([table.names[at] for at in order], array("q", numbers))


class EditedTree(Walked):
    """A version with changes, as if it had been walked: what changed lies in the upper directory, the rest below where the version is mounted."""

    def __init__(self, lower: str, upper: UpperTree, base: BaseVersion) -> None:
        super().__init__(lower, (), follow_links=False)
        self.began = upper.began
        self.tables = merged(base.tables, upper.tables)
        self._upper = upper
        self._changed: dict[str, frozenset[str]] = {}

    def path(self, directory: str, name: str = "") -> str:
        """Where something lies: a file that nobody changed is read only where that makes for better ranges."""
        is_changed = name in self._names(directory)
        return self._upper.path(directory, name) if is_changed else super().path(directory, name)

    def check(self, directory: str, names: Sequence[str]) -> None:
        """SourceChangedError where something that was changed in the mount changed once more since; the version itself cannot."""
        changed = [name for name in names if name in self._names(directory)]
        if changed:
            self._upper.check(directory, changed)

    def _names(self, directory: str) -> frozenset[str]:
        if directory not in self._changed:
            table = self._upper.tables.get(directory)
            self._changed[directory] = frozenset(() if table is None else table.names)
        return self._changed[directory]


def edited_scan(place: str, lower: str, upper: UpperTree, base: BaseVersion) -> Scan:
    """A version in packs and the changes above it, for a push that reads what changed and nothing else."""
    return Scan(EditedTree(lower, upper, base), None, base.stats(place), is_of_manifest=True)
