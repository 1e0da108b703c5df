"""Versions of another store as sources of a push: objects as they are, or a version laid out on this machine on the way.

Whatever is sent was proven just before: packs and pages objects by the table that they are named by and every piece's digest, files
by their digests while they are read.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from holdfast.cache.stats import StatCache, walk
from holdfast.cache.tree import hash_file, scan
from holdfast.catalog.condemned import read_condemned
from holdfast.catalog.swap import create_once
from holdfast.errors import ConflictError, IntegrityError, ObjectNotFoundError
from holdfast.failpoint import reach
from holdfast.formats import layout as keys
from holdfast.formats.container import PACK, PAGES
from holdfast.model.manifest import Manifest
from holdfast.packed import Scan
from holdfast.source import ListedSource
from holdfast.store.base import CREATE, OVERWRITE
from holdfast.transfer.objects import prove, read_container
from holdfast.transfer.plan import check_tree_names, plan_objects
from holdfast.transfer.relay import Relay
from holdfast.transfer.upload import Sent

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from holdfast.formats.convention import Meta
    from holdfast.formats.root import Root
    from holdfast.formats.stats import TreeStats
    from holdfast.publish import Publisher
    from holdfast.store.base import Store
    from holdfast.transfer.engine import Engine

__all__ = ["StoredFiles", "StoredPacks", "hashed", "listed_source", "unremembered_scan"]

#: Packs on their way at a time: each takes some 40 MiB of memory, while it is read and while it is sent.
_AT_ONCE: Final = 2


class _Object(NamedTuple):
    """A pack or pages object: its length where it comes from, and in the target, where it is there."""

    key: str
    magic: bytes
    size: int
    there: int | None


class StoredPacks:
    """A version in packs that lies in another store (a :class:`holdfast.source.Source`); its objects keep their names."""

    layout = "packs"
    is_directory = True
    manifest = None

    def __init__(
        self, origin: Store, publisher: Publisher, engine: Engine, meta: Meta, root: Root, data: bytes
    ) -> None:
        self._origin = origin
        self._target = publisher.store
        self._clock = publisher.clock
        self._engine = engine
        self._root = root
        self._data = data
        self._sent: list[int] = []
        self._alive: Callable[[], None] = lambda: None
        self.content_hash = self.identity = meta.hash or ""
        self.files = meta.files or 0
        self.size = meta.size or 0
        self.root = meta.root

    @property
    def is_condemned(self) -> bool:
        """Whether the target may never have some of these objects again: then the version must be packed anew."""
        return not read_condemned(self._target, self._engine.run).isdisjoint([*self._root.packs, *self._root.objects])

    def bring(self, alive: Callable[[], None]) -> None:
        """Send what the target lacks of the packs and pages objects; ``alive`` is called now and then, and stops it by raising.

        Raises:
            IntegrityError: an object is missing or damaged where it comes from; it was not sent.
        """
        self._alive = alive
        objects = [(keys.pack_key(name), PACK) for name in self._root.packs]
        objects += [(keys.pages_key(name), PAGES) for name in self._root.objects]
        found = self._engine.run(lambda each: self._looked_at(*each), objects)
        lacking = [each for each in found if each.size != each.there]
        self._engine.progress.start("copy", sum(each.size for each in lacking), len(lacking))
        try:
            self._engine.run(self._bring, lacking, at_once=_AT_ONCE)
        finally:
            self._engine.progress.finish()

    def _looked_at(self, key: str, magic: bytes) -> _Object:
        size = _size(self._origin, key)
        if size is None:
            raise IntegrityError(f"{key} is missing, though a version needs it", subject=key)
        return _Object(key, magic, size, _size(self._target, key))

    def _bring(self, wanted: _Object) -> None:
        self._alive()
        key = wanted.key
        data = read_container(self._origin, self._engine, key)
        prove(data, key, wanted.magic)
        self._alive()
        try:
            # What has another length is damaged.
            self._target.put(key, data, CREATE if wanted.there is None else OVERWRITE)
            self._sent.append(len(data))
        except ConflictError:
            if _size(self._target, key) != len(data):
                raise
        self._engine.progress.advance(len(data))
        reach("push.pack-written")

    @property
    def needs(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Every pack and pages object of the root."""
        return self._root.packs, self._root.objects

    def send(self, name: str, version: str, alive: Callable[[], None]) -> Sent:
        """Re-read what is condemned, then write the root under the claim.

        Raises:
            ConflictError: something that it needs was condemned since :meth:`bring`.
        """
        alive()
        if self.is_condemned:
            raise ConflictError(f"what {name}:{version} needs is being collected", subject=name, hint="copy it again")
        reach("push.condemned-reread")
        create_once(self._target, self._clock, keys.data_key(name, version), self._data)
        reach("push.root-written")
        sizes = [*self._sent, len(self._data)]
        return Sent(len(sizes), sum(sizes))

    def check(self) -> None:
        """What is named by its digest does not change."""

    def published(self, name: str, version: str) -> None:
        """Nothing is noted."""

    def unchanged(self, name: str, version: str, root: str | None) -> None:
        """Nothing is noted."""


class StoredFiles(ListedSource):
    """A file or tree that lies in another store (a :class:`holdfast.source.Source`), all of whose digests are known."""

    def __init__(self, origin: Store, publisher: Publisher, layout: str, manifest: Manifest) -> None:
        super().__init__(manifest, {}, layout, publisher.store, publisher.engine, publisher.state)
        self.origin = origin

    def send(self, name: str, version: str, alive: Callable[[], None]) -> Sent:
        """Write the objects of the version, as they come."""
        plan = plan_objects(name, version, self.layout, self.manifest.files)
        Relay(self.origin, self.store, self.engine, alive).send(plan)
        return Sent(len(plan.small) + len(plan.large), plan.size or 0)


def _size(store: Store, key: str) -> int | None:
    try:
        return store.head(key).size
    except ObjectNotFoundError:
        return None


def hashed(copy: Path, manifest: Manifest, engine: Engine) -> Manifest:
    """The manifest with the digest of every file: where it told none, that of what was fetched.

    Modes are made what the manifest says, as far as the owner can still read.
    """
    items = {item.entry.path: item for item in scan(copy)}

    def one(path: str) -> tuple[str, int, str | None]:
        item = items[copy.name if manifest.single else path]
        found = hash_file(item)
        return path, found.size, found.digest

    def is_marker(path: str) -> bool:
        return path == keys.MARKER and path not in items  # another program may have pushed one; it is never content

    unknown = [entry.path for entry in manifest.files if entry.digest is None and not is_marker(entry.path)]
    found = {path: (size, digest) for path, size, digest in engine.run(one, unknown)}
    entries = [
        replace(entry, size=found[entry.path][0], digest=found[entry.path][1]) if entry.path in found else entry
        for entry in manifest.entries
        if not is_marker(entry.path)
    ]
    for entry in entries:
        if entry.mode is not None and entry.kind != "link":
            least = 0o400 if entry.kind == "file" else 0o700
            os.chmod(copy if manifest.single else copy / entry.path, entry.mode | least)
    return Manifest(tuple(entries), manifest.single)


def listed_source(publisher: Publisher, copy: Path, manifest: Manifest, name: str, layout: str) -> ListedSource:
    """A version that was laid out, to be pushed in layout file, tree or tar.gz; its entries are those of the manifest.

    Raises:
        UsageError: a name that an object cannot have.
    """
    if layout == "tree":
        check_tree_names(manifest, keys.data_key(name, "x" * 20))
    items = {item.entry.path: item for item in scan(copy)}
    if manifest.single:
        scanned = {manifest.entries[0].path: items[copy.name]}
    else:
        scanned = {entry.path: items[entry.path] for entry in manifest.entries}
    archives = publisher.state / "archives"
    return ListedSource(manifest, scanned, layout, publisher.store, publisher.engine, archives)


def unremembered_scan(copy: Path) -> Scan:
    """A version that was laid out, to be packed; nothing of it is remembered, for the folder goes."""
    return Scan(walk(copy), _NoStats(), None)


class _NoStats(StatCache):
    """Stats of a folder that nobody will push again."""

    def __init__(self) -> None:
        """No file."""

    def write(self, stats: TreeStats, began: int) -> None:
        """Nothing is kept."""
