"""A version as a tree that is read lazily: what lies behind the kernel's questions, without a word of FUSE.

Owns how failures are answered: whatever keeps a right answer from being given is EIO and an event that says why, never other bytes.

Example::

    view = open_version(repository, "nlp/bert", "1.2", ranges)
    config = view.lookup(ROOT, b"config.json")
    view.read(config.node, 0, config.size)
"""

from __future__ import annotations

import errno
import os
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from holdfast.errors import HoldfastError, IntegrityError, LocalError
from holdfast.formats import layout as keys
from holdfast.model.chunk import CODEC_ZSTD, Chunk, Placed
from holdfast.model.manifest import Manifest, check_link
from holdfast.mount.contents import ListedContents, PackedContents
from holdfast.mount.nodes import Nodes, target_of
from holdfast.mount.pieces import Pieces
from holdfast.mount.sheets import ListedSheets, PagedSheets
from holdfast.mount.wholefiles import StoredFiles, WholeFiles
from holdfast.transfer.manifests import raw_of
from holdfast.transfer.unpacking import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from holdfast.cache.manifests import LocalManifest
    from holdfast.cache.ranges import Ranges
    from holdfast.cache.wholes import Wholes
    from holdfast.catalog.base import Published
    from holdfast.formats.root import Page, Root
    from holdfast.model.manifest import Entry
    from holdfast.mount.base import Attributes, Buffer, Item
    from holdfast.repository import Repository

__all__ = ["DEADLINE", "Events", "VersionView", "open_version"]

#: Seconds after which a read that got nothing fails.
DEADLINE: Final = 30.0
_PAGES: Final = 16 * 1024 * 1024
_FILE, _LINK = ord("f"), ord("l")
#: The same event is told this often, in seconds; and for so long a read that failed is the mount's trouble.
_AGAIN: Final = 10.0
_LASTS: Final = 60.0


class Events:
    """Tells somebody what went wrong, the same thing not again and again."""

    def __init__(self, tell: Callable[[str], None] | None = None) -> None:
        self._tell = tell
        self._told: dict[str, float] = {}
        self._early: list[str] = []
        self._failing = "", 0, 0.0

    def failed(self, message: str, fetched: int) -> None:
        """Tell why a right answer could not be given, after so many bytes had come from the store."""
        self._failing = message, fetched, time.monotonic()
        self(message)

    def trouble(self, fetched: int) -> str:
        """Why none could be given of late; nothing once more bytes have come."""
        message, then, at = self._failing
        return message if then == fetched and time.monotonic() - at < _LASTS else ""

    def listen(self, tell: Callable[[str], None]) -> None:
        """Have it told to somebody from now on, and what was not told to anybody before."""
        self._tell = tell
        early, self._early = self._early, []
        for message in early:
            tell(message)

    def __call__(self, message: str) -> None:
        """Tell it, unless it was told just now."""
        now = time.monotonic()
        if now - self._told.get(message, -_AGAIN) < _AGAIN:
            return
        if len(self._told) > 1000:
            self._told.clear()
        self._told[message] = now
        if self._tell is None:
            self._early = [*self._early[-9:], message]
        else:
            self._tell(message)


class VersionView:
    """One version. Made by :func:`open_version`; see :class:`holdfast.mount.base.View` for what its methods promise."""

    def __init__(
        self,
        nodes: Nodes,
        sheets: PagedSheets | ListedSheets,
        contents: PackedContents | ListedContents,
        sources: Sequence[Pieces | WholeFiles],
        events: Events,
        kept: ExitStack,
    ) -> None:
        self._nodes = nodes
        self._sheets = sheets
        self._contents = contents
        self._sources = sources
        self._events = events
        self._kept = kept
        self._guard = threading.Lock()
        #: Bytes that were read.
        self.bytes_read = 0
        #: How many bytes in how many files there are, as the meta tells.
        self.totals = 0, 0

    @property
    def bytes_fetched(self) -> int:
        """Bytes that came from the store, but for the root."""
        return sum(source.fetched for source in self._sources)

    @property
    def trouble(self) -> str:
        """Why reads fail; see the protocol."""
        return self._events.trouble(self.bytes_fetched)

    @property
    def is_exhausted(self) -> bool:
        """Whether the threads that read from a store are used up by reads that do not come back."""
        return any(source.is_exhausted for source in self._sources)

    def listen(self, tell: Callable[[str], None]) -> None:
        """Tell somebody, in a sentence, whatever keeps a right answer from being given."""
        self._events.listen(tell)

    def lookup(self, parent: int, name: bytes) -> Attributes | None:
        """What lies in a directory under this name; see the protocol."""
        try:
            return self._nodes.lookup(parent, name)
        except HoldfastError as error:
            raise self._failed(error) from error

    def attributes(self, node: int) -> Attributes:
        """What ``stat`` shows of a node; see the protocol."""
        try:
            return self._nodes.attributes(node)
        except HoldfastError as error:
            raise self._failed(error) from error

    def items(self, node: int, position: int) -> Iterator[Item]:
        """What lies in a directory; see the protocol."""
        try:
            yield from self._nodes.items(node, position)
        except HoldfastError as error:
            raise self._failed(error) from error

    def position(self, node: int) -> int:
        """Where a listing of its directory begins with this node; see the protocol."""
        return self._nodes.position(node)

    def begins(self, name: bytes) -> int:
        """Where a listing of the root goes on with a name, or with what comes behind it."""
        try:
            return self._nodes.begins(name)
        except HoldfastError as error:
            raise self._failed(error) from error

    def path(self, node: int) -> bytes | None:
        """The path of a directory; see the protocol."""
        try:
            return self._nodes.path(node)
        except HoldfastError as error:
            raise self._failed(error) from error

    def target(self, node: int) -> bytes:
        """Where a symlink leads; see the protocol. One that leads outside is not told."""
        try:
            place = self._nodes.place(node, _LINK)
            rows = self._sheets.sheet(place.sheet)
            target = target_of(rows, place.row)
            check_link(rows.paths[place.row].decode(), target.decode())
        except HoldfastError as error:
            raise self._failed(error) from error
        return target

    def read(self, node: int, offset: int, size: int) -> Buffer:
        """Verified bytes of a file; see the protocol."""
        try:
            data = self._contents.read(self._nodes.place(node, _FILE), offset, size)
        except HoldfastError as error:
            raise self._failed(error) from error
        with self._guard:
            self.bytes_read += len(data)
        return data

    def moved(self, node: int) -> float:
        """When something last came of a file that is brought whole; see the protocol."""
        if not isinstance(self._contents, ListedContents):
            return 0.0
        with suppress(HoldfastError, OSError):
            return self._contents.moved(self._nodes.place(node, _FILE))
        return 0.0

    def whole(self, node: int) -> int | None:
        """A descriptor of a whole file; see the protocol."""
        try:
            return self._contents.whole(self._nodes.place(node, _FILE))
        except HoldfastError as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Stop what reads ahead, and let go of the cache."""
        for source in self._sources:
            source.close()
        self._kept.close()

    def _failed(self, error: HoldfastError) -> OSError:
        self._events.failed(error.message, self.bytes_fetched)
        return OSError(errno.EIO, os.strerror(errno.EIO))


def open_version(
    repository: Repository,
    name: str,
    version: str,
    ranges: Ranges | None,
    *,
    published: Published | None = None,
    generation: int = 0,
    deadline: float = DEADLINE,
    events: Events | None = None,
) -> VersionView:
    """A version of a repository as a view.

    Args:
        repository: through any door.
        name: the asset's name.
        version: a full version.
        ranges: where what is read is kept; None: nowhere.
        published: its meta, where it is known already.
        generation: which of the versions of a mount it is.
        deadline: seconds after which a read that got nothing fails.
        events: told why something could not be read.

    Raises:
        NotFoundError: no such version.
        IntegrityError: its meta or root is damaged, or not what it must be.
        UnreachableError: the store does not answer.
    """
    published = published or repository.resolver.published(name, version)
    opening = _Opening(repository, name, version, published, ranges, deadline, events or Events())
    meta = published.meta
    view = opening.packed(generation) if meta.layout == "packs" else opening.listed(generation)
    view.totals = meta.size or 0, meta.files or 0
    return view


class _Opening:
    """Puts a view together."""

    def __init__(
        self,
        repository: Repository,
        name: str,
        version: str,
        published: Published,
        ranges: Ranges | None,
        deadline: float,
        events: Events,
    ) -> None:
        from holdfast.cache.wholes import Wholes

        self._repository = repository
        self._name, self._version = name, version
        self._meta = published.meta
        self._ranges = ranges
        self._wholes: Wholes | None = None if ranges is None else Wholes(ranges)
        self._deadline = deadline
        self._events = events
        self._kept = ExitStack()
        self._pushed = int(self._meta.pushed.timestamp()) * 1_000_000_000

    def packed(self, generation: int) -> VersionView:
        """A version in packs: its root now, everything else when it is looked at."""
        store, reader = self._repository.store, self._repository.local.manifests
        here = reader.local.find(self._name, self._version, self._meta.root or "")
        root = here.root if here is not None else self._root()
        reader.expect(root)
        pages = Pieces(store, self._ranges, deadline=self._deadline, key_of=keys.pages_key, memory=_PAGES)
        chunks = Pieces(store, self._ranges, deadline=self._deadline, wholes=self._wholes, copy=self._copy())
        sheets = PagedSheets(root.pages, _loader(here, pages))
        contents = PackedContents(sheets, chunks, self._wholes)
        nodes = Nodes(sheets, self._pushed, generation)
        return VersionView(nodes, sheets, contents, (pages, chunks), self._events, self._kept)

    def _root(self) -> Root:
        """The root, from the range cache if it is there: a mount whose store is away can start again."""
        from holdfast.formats.root import decode_root

        digest = self._meta.root or ""
        if self._wholes is not None and self._wholes.verify(digest):
            found = self._wholes.open(digest)
            if found is not None:
                with os.fdopen(found, "rb") as file:
                    return decode_root(file.read(), digest)
        root, data = self._repository.local.manifests.root(self._name, self._version, digest)
        if self._wholes is not None:
            with suppress(HoldfastError):
                self._wholes.admit(digest, len(data), lambda path: _written(path, data))
        return root

    def _copy(self) -> Path | None:
        """The fetched copy, if it is here and may be looked at; in use for as long as the view is."""
        try:
            path = self._repository.local.cached_path(self._name, self._version)
        except LocalError:  # another user's, who shares the cache, and not this copy
            return None
        if path is not None:
            self._kept.enter_context(self._repository.assets.leases.hold(self._name, self._version))
        return path

    def listed(self, generation: int) -> VersionView:
        """A version of another layout. What cannot be read file by file, or has no digests, is fetched whole first."""
        meta, manifest, copy = self._meta, self._meta.manifest, self._copy()
        stored = None
        is_known = manifest is not None and all(entry.digest and entry.size >= 0 for entry in manifest.files)
        if is_known and meta.layout != "tar.gz":
            stored = StoredFiles(self._repository.store, self._name, self._version, meta.layout)
        elif copy is None:
            self._repository.fetch_info(f"{self._name}:{self._version}")
            copy = self._copy()
        if manifest is None or not is_known:
            manifest = self._as_fetched(copy)
        single = not meta.is_directory
        files = WholeFiles(stored, self._wholes, copy, single=single, deadline=self._deadline)
        sheets = ListedSheets(manifest)
        nodes = Nodes(sheets, self._pushed, generation)
        return VersionView(nodes, sheets, ListedContents(sheets, files), (files,), self._events, self._kept)

    def _as_fetched(self, copy: Path | None) -> Manifest:
        """The manifest of another program's version as it was found when it was fetched."""
        from holdfast.comparison import local_manifest

        if copy is None:
            raise IntegrityError(f"{self._name}:{self._version} is not where it was fetched to", subject=self._name)
        known = self._repository.assets.digests(self._name, self._version)
        found = local_manifest(copy)
        entries: list[Entry] = []
        for entry in found.entries:
            path = self._name.rpartition("/")[2] if found.single else entry.path
            entries.append(replace(entry, path=path, digest=known.get(path, entry.digest)))
        return Manifest(tuple(entries), single=found.single)


def _loader(here: LocalManifest | None, pieces: Pieces) -> Callable[[Sequence[Page]], Sequence[bytes]]:
    """Reads pages out of a manifest on this machine, or through pieces."""

    def load(pages: Sequence[Page]) -> Sequence[bytes]:
        if here is not None:
            return [raw_of(pages[0], here.stored(pages[0]))]
        same = [page for page in pages if page.object == pages[0].object]
        raws = pieces.get([Part(_chunk(page), _PAGE, 0) for page in same])
        return [bytes(raw.buffer[raw.start : raw.start + raw.length]) for raw in raws]

    return load


_PAGE: Final = Placed(b"", _FILE, None, None)


def _chunk(page: Page) -> Chunk:
    """A page as a piece of its object: pages and chunks lie in containers of one form."""
    return Chunk(bytes.fromhex(page.object), page.offset, page.stored, page.raw, CODEC_ZSTD, page.digest)


def _written(path: Path, data: bytes) -> None:
    path.write_bytes(data)
