"""A folder pushed in layout ``packs``: scanned by its stats, packed, and its root written under the claim (design §3).

What makes a push of an unchanged folder cost its stats alone, and one after an edit little more, is remembered on this machine:
the stats of the last push (:mod:`holdfast.cache.stats`) and the manifests of versions (:mod:`holdfast.cache.manifests`). It is only used for
versions whose meta is there now: then every byte of them is there as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from holdfast.cache.manifests import Manifests
from holdfast.cache.stats import StatCache, walk
from holdfast.catalog.condemned import read_condemned
from holdfast.catalog.swap import create_once
from holdfast.errors import ConflictError, HoldfastError, IntegrityError
from holdfast.failpoint import reach
from holdfast.formats import layout as keys
from holdfast.formats.root import encode_root
from holdfast.formats.stats import TreeStats
from holdfast.model.digest import digest_of
from holdfast.transfer.containers import FULL, Sender
from holdfast.transfer.dedup import Index
from holdfast.transfer.manifests import ManifestReader, chunks_of, digests_of
from holdfast.transfer.packing import Earlier, Packing
from holdfast.transfer.paging import PageWriter
from holdfast.transfer.upload import Sent

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path
    from typing import Self

    from holdfast.cache.manifests import LocalManifest, Recorder
    from holdfast.cache.stats import Walked
    from holdfast.catalog.base import Catalog, Clock
    from holdfast.formats.root import Page, Root
    from holdfast.model.chunk import Chunk
    from holdfast.store.base import Store
    from holdfast.transfer.containers import Container
    from holdfast.transfer.engine import Engine

__all__ = ["KnownSource", "PackedSource", "Packer", "Scan"]

#: Containers on their way to the store at a time: each takes some 40 MiB of memory.
_AT_ONCE: Final = 2
#: So often what was packed may turn out to be condemned before the push gives up.
_TRIES: Final = 4
#: Manifests of other versions in which chunks are looked for.
_MANIFESTS: Final = 4
#: Packs beyond those that a folder of this size would fill: with more, its chunks are scattered over too many.
_SCATTERED: Final = 16


@dataclass(slots=True)
class _Packed:
    """The outcome of packing once."""

    root: Root
    data: bytes
    hash: str
    files: int
    size: int
    recorder: Recorder
    read: dict[str, list[str]]


class Packer:
    """Packs folders for one store. ``state`` is where it remembers; ``place`` is the store's URL and endpoint."""

    def __init__(
        self, store: Store, catalog: Catalog, engine: Engine, clock: Clock, *, state: Path, place: str
    ) -> None:
        self.store = store
        self.catalog = catalog
        self.engine = engine
        self.clock = clock
        self.state = state
        self.place = place
        self.manifests = ManifestReader(store, engine, Manifests(state, place))

    def scan(
        self,
        source: Path,
        name: str,
        *,
        exclude: tuple[str, ...],
        follow_links: bool,
        beside: Mapping[str, Path] | None = None,
    ) -> Scan:
        """The folder as it is now, and as it was when it was last pushed to this asset."""
        cache = StatCache(self.state, source, self.place, name, str(follow_links), *exclude)
        return Scan(walk(source, exclude=exclude, follow_links=follow_links, beside=beside), cache, cache.read())

    def pack(
        self, scan: Scan, name: str, newest: str | None, *, alive: Callable[[], None], dry: bool = False
    ) -> PackedSource:
        """Read, chunk, hash and send; ``newest`` is the version that most likely has the same chunks."""
        return PackedSource(self, scan, name, newest, alive, dry=dry)


@dataclass(slots=True)
class Scan:
    """A folder's stats now, and those of its last push, if any. ``cache`` is where they are kept for the next one, if anywhere.

    ``is_of_manifest``: those of before were made of the version's manifest, not of what a folder was when it was pushed.
    """

    walked: Walked
    cache: StatCache | None
    before: TreeStats | None
    is_of_manifest: bool = False

    @property
    def same(self) -> TreeStats | None:
        """The last push, where nothing has changed since."""
        before, now = self.before, self.walked.tables
        if before is None or before.tables.keys() != now.keys():
            return None
        return before if all(table.same(before.tables[path]) for path, table in now.items()) else None


@dataclass(frozen=True, slots=True)
class KnownSource:
    """A folder that is as it was when a version was made of it."""

    stats: TreeStats
    layout: str = "packs"

    @property
    def content_hash(self) -> str:
        """The content hash of that version."""
        return self.stats.hash

    @property
    def files(self) -> int:
        """How many regular files it has."""
        return self.stats.files

    @property
    def size(self) -> int:
        """The bytes of them all."""
        return self.stats.size

    def unchanged(self, name: str, version: str, root: str | None) -> None:
        """Nothing is new."""


@dataclass(slots=True)
class _Base:
    """Where chunks and pages of this asset are already."""

    earlier: Earlier = field(default_factory=Earlier)
    manifest: LocalManifest | None = None

    @property
    def pages(self) -> tuple[Page, ...]:
        """The pages that need not be stored again."""
        return self.manifest.root.pages if self.manifest is not None else ()


class PackedSource:
    """A packed folder: everything but its root is in the store."""

    layout = "packs"
    is_directory = True
    manifest = None

    def __init__(
        self, packer: Packer, scan: Scan, name: str, newest: str | None, alive: Callable[[], None], *, dry: bool
    ) -> None:
        self._packer = packer
        self._scan = scan
        self._name = name
        self._newest = newest
        self._dry = dry
        self._sender = Sender(packer.store, packer.engine.spend, packer.engine.progress.advance, alive)
        self._condemned = frozenset[str]() if dry else read_condemned(packer.store, packer.engine.run)
        self._packed = self._pack()

    # what a push asks of a source

    @property
    def content_hash(self) -> str:
        """The content hash of what was read."""
        return self._packed.hash

    @property
    def files(self) -> int:
        """How many regular files it has."""
        return self._packed.files

    @property
    def size(self) -> int:
        """The bytes of them all."""
        return self._packed.size

    @property
    def root(self) -> str:
        """The digest of the root."""
        return digest_of(self._packed.data)

    @property
    def needs(self) -> tuple[Collection[str], Collection[str]]:
        """Every pack and pages object of the root."""
        return self._packed.root.packs, self._packed.root.objects

    def send(self, name: str, version: str, alive: Callable[[], None]) -> Sent:
        """Re-read what is condemned, then write the root under the claim, create-only.

        Raises:
            AlreadyExistsError: there is another root: of a push that had this number before, or has it now.
            ConflictError: again and again what it needs is condemned.
        """
        self._sender.alive = alive
        if self._dry:  # it was judged first, and may be pushed after all
            self._dry = False
            self._condemned = read_condemned(self._packer.store, self._packer.engine.run)
            self._packed = self._pack()
        for _ in range(_TRIES):
            self._condemned = read_condemned(self._packer.store, self._packer.engine.run)
            packed = self._packed
            if self._condemned.isdisjoint([*packed.root.packs, *packed.root.objects]):
                break
            self._packed.recorder.discard()
            self._packed = self._pack()
        else:
            raise ConflictError(f"what {name} needs is being collected", subject=name, hint="push again")
        reach("push.condemned-reread")
        create_once(self._packer.store, self._packer.clock, keys.data_key(name, version), self._packed.data)
        reach("push.root-written")
        sizes = [*self._sender.objects, len(self._packed.data)]
        return Sent(len(sizes), sum(sizes))

    def check(self) -> None:
        """Look once more at what was read."""
        for directory, names in sorted(self._packed.read.items()):
            self._scan.walked.check(directory, names)

    @property
    def identity(self) -> str:
        """The content hash."""
        return self.content_hash

    def published(self, name: str, version: str) -> None:
        """Keep the manifest and the stats for the next push."""
        packed = self._packed
        packed.recorder.keep(version, packed.data)
        self._packer.manifests.local.trim(name)
        self._remember(name, version, self.root)

    def unchanged(self, name: str, version: str, root: str | None) -> None:
        """A version has this content already: remember the folder as that one, if its manifest is on this machine."""
        if not self._dry and root is not None and self._packer.manifests.local.find(name, version, root) is not None:
            self._remember(name, version, root)

    def _remember(self, name: str, version: str, root: str) -> None:
        packed, walked = self._packed, self._scan.walked
        stats = TreeStats(
            self._packer.place,
            name,
            version,
            root,
            packed.hash,
            packed.files,
            packed.size,
            walked.tables,
            exact=root == self.root,
        )
        if self._scan.cache is not None:
            self._scan.cache.write(stats, walked.began)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._packed.recorder.discard()  # unless a version was made of it, and it is kept by now

    # packing

    def _pack(self) -> _Packed:
        packer, engine = self._packer, self._packer.engine
        base = self._base()
        recorder = packer.manifests.local.record(self._name)
        if self._dry:
            recorder.discard()

        def keep(page: Page, stored: bytes | None) -> None:
            if stored is None and base.manifest is not None:
                stored = base.manifest.stored(page)
            recorder.add(stored or b"")

        total = sum(sum(table.rows[1::5]) for table in self._scan.walked.tables.values())
        engine.progress.start("push", total, 0)
        try:
            with engine.beside(self._send, _AT_ONCE) as send:
                pages = PageWriter(send, base.pages, self._condemned, keep)
                packing = Packing(self._scan.walked, base.earlier, self._condemned, engine, send, pages)
                packing.run()
                root, content_hash = pages.finish()
        except BaseException:
            recorder.discard()
            raise
        finally:
            engine.progress.finish()
        data = encode_root(root)
        return _Packed(root, data, content_hash, pages.files, pages.bytes, recorder, packing.read)

    def _send(self, container: Container) -> None:
        if self._dry:
            container.pieces.clear()
        else:
            self._sender.send(container)

    def _base(self) -> _Base:
        """What the last push of this folder and other versions of the asset have, where their metas are there now."""
        base = _Base()
        before = self._scan.before
        last = self._live(before.version, before.root) if before is not None else None
        if before is not None and last is not None:
            base.earlier.tables = before.tables
            base.earlier.entries = self._packer.manifests.entries(last)
            base.earlier.pages = last.pages() if self._by_page(before, last) else None
        base.earlier.index = Index(lambda index: self._fill(index, last))
        base.manifest = last or self._whole(self._newest)
        return base

    def _by_page(self, before: TreeStats, last: LocalManifest) -> bool:
        """Whether pages in which nothing changed are kept unread. Of a folder only until edits have scattered its chunks: then all are gone through."""
        full = sum(page.size for page in last.root.pages) // FULL + 1
        return self._scan.is_of_manifest or (before.exact and len(last.root.packs) <= full + _SCATTERED)

    def _fill(self, index: Index, last: LocalManifest | None) -> None:
        """Look at the chunks of every version that is known here, and of the newest."""
        manifests = [last, self._whole(self._newest), *self._known()]
        refused = frozenset(map(bytes.fromhex, self._condemned))
        seen: set[bytes] = set()
        for manifest in [found for found in manifests if found is not None][:_MANIFESTS]:
            try:
                for page, stored in manifest.pages():
                    if page.digest not in seen:
                        seen.add(page.digest)
                        index.add_all(digests_of(page, stored), partial(self._chunks, manifest, page, stored, refused))
            except IntegrityError as error:
                self._unusable(manifest.version, error)

    def _chunks(self, manifest: LocalManifest, page: Page, stored: bytes, refused: frozenset[bytes]) -> Iterator[Chunk]:
        """The chunks of a page, but for those in packs that must not be referred to."""
        try:
            yield from (chunk for chunk in chunks_of(page, stored) if chunk.pack not in refused)
        except IntegrityError as error:
            self._unusable(manifest.version, error)

    def _known(self) -> list[LocalManifest]:
        found = self._packer.manifests.local.known(self._name)[:_MANIFESTS]
        return [manifest for manifest in found if self._live(manifest.version, manifest.digest) is not None]

    def _live(self, version: str, root: str) -> LocalManifest | None:
        """The local manifest of a version, if its meta is there and names this root."""
        try:
            if self._packer.catalog.published(self._name, version).meta.root != root:
                return None
        except HoldfastError:
            return None
        return self._packer.manifests.local.find(self._name, version, root)

    def _whole(self, version: str | None) -> LocalManifest | None:
        """The manifest of a version, brought here if need be; None where it cannot be read: then less is reused."""
        if version is None:
            return None
        try:
            meta = self._packer.catalog.published(self._name, version).meta
            return self._packer.manifests.whole(self._name, version, meta.root) if meta.root else None
        except HoldfastError as error:
            self._unusable(version, error)
            return None

    def _unusable(self, version: str, error: HoldfastError) -> None:
        self._packer.engine.progress.warn(f"{self._name}:{version} cannot be built upon: {error.message}")
