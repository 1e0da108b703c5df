"""Whether somebody worked in a fetched copy: such a copy is not removed, for nobody can fetch it again.

What the file system says did not change since the fetch is not read. The rest is compared with the manifest, and read only where
size and time do not prove it. Where no manifest is here, the whole copy is read and its content hash compared.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.cache.tree import hash_file, scan
from holdfast.errors import HoldfastError, IntegrityError
from holdfast.formats import layout
from holdfast.formats.convention import decode_meta
from holdfast.model.digest import Hasher
from holdfast.model.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from holdfast.model.manifest import Entry

__all__ = ["edited"]


def edited(
    copy: str, fetched: int, meta: bytes | None, digests: Mapping[str, str], content_hash: str | None = None
) -> str | None:
    """The first path in a copy that is not as it was fetched, or None. Paths that are gone do not count: nothing is lost there.

    Args:
        copy: the file or directory.
        fetched: when it was, by the clock of its file system, in nanoseconds since 1970.
        meta: the version's, as it was fetched, if it is recorded.
        digests: of the files, found when it was fetched, where the meta has none.
        content_hash: the version's (FORMAT.md §5), for where the meta does not list its files (layout packs).
    """
    entries: dict[str, Entry] | None = None
    for path, full in _changed(copy, fetched):
        if entries is None:
            entries = {entry.path if path else "": entry for entry in _entries(meta, copy)}
            if not entries and not digests:
                return None if _hash_of(copy) == content_hash else path or os.path.basename(copy)
        known = digests.get(path) if path else next(iter(digests.values()), None)
        if not _is_as_fetched(full, entries.get(path), known):
            return path or os.path.basename(copy)
    return None


def _hash_of(copy: str) -> str:
    """The content hash of a copy as it is now; empty where it has none, because it holds what no version can."""
    try:
        entries = [hash_file(item) if item.entry.kind == "file" else item.entry for item in scan(Path(copy))]
        return Manifest.of(entries, single=os.path.isfile(copy)).content_hash or ""
    except HoldfastError:
        return ""


def _entries(meta: bytes | None, copy: str) -> Iterable[Entry]:
    try:
        manifest = None if meta is None else decode_meta(meta, copy).manifest
    except IntegrityError:
        return ()
    return () if manifest is None else manifest.entries


def _changed(copy: str, fetched: int) -> Iterator[tuple[str, str]]:
    """What was changed after a moment, as far as the file system tells: path in the copy (empty for a file), and where it is."""
    if not os.path.isdir(copy):
        if os.lstat(copy).st_ctime_ns > fetched:
            yield "", copy
        return
    folders = [("", copy)]
    while folders:
        base, folder = folders.pop()
        with os.scandir(folder) as items:
            for item in items:
                if item.is_dir(follow_symlinks=False):
                    folders.append((f"{base}{item.name}/", item.path))
                elif item.stat(follow_symlinks=False).st_ctime_ns > fetched and (base or item.name != layout.MARKER):
                    yield base + item.name, item.path


def _is_as_fetched(full: str, entry: Entry | None, digest: str | None) -> bool:
    status = os.lstat(full)
    if stat.S_ISLNK(status.st_mode):
        return entry is not None and entry.kind == "link" and os.readlink(full) == entry.target
    if not stat.S_ISREG(status.st_mode):
        return False
    if entry is not None and entry.mtime == status.st_mtime_ns and entry.size == status.st_size:
        return True
    expected = digest if entry is None or entry.digest is None else entry.digest
    return expected is not None and _digest(full) == expected


def _digest(full: str) -> str:
    hasher = Hasher()
    with open(full, "rb") as file:
        while piece := file.read(1 << 20):
            hasher.update(piece)
    return hasher.hexdigest()
