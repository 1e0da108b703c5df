"""What a reader of one project may ask of its catalog, as replies. The bucket is read, but where the caller gives another catalog.

Which version a spec names is :class:`holdfast.resolve.Resolver`'s word, as through the bucket door.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeVar

from holdfast.comparison import Side, compare
from holdfast.errors import IntegrityError, UsageError, VersionNotFoundError
from holdfast.formats import layout
from holdfast.formats.api import (
    DiffReply,
    FileRow,
    FilesReply,
    ListedReply,
    MetaReply,
    ObjectsReply,
    ObjectStat,
    StoreReply,
    TakenReply,
)
from holdfast.formats.root import decode_root
from holdfast.model.digest import digest_of
from holdfast.model.manifest import Manifest
from holdfast.model.name import check_readable
from holdfast.model.spec import AssetSpec
from holdfast.model.version import check_text
from holdfast.resolve import Resolver, is_pinned
from holdfast.server.borders import checked_prefix
from holdfast.store.base import ListsInOrder, SignsUploads
from holdfast.transfer.engine import Engine
from holdfast.transfer.manifests import opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from holdfast.catalog.base import Catalog, Clock, Listed, Published
    from holdfast.formats.convention import Meta
    from holdfast.formats.records import AssetRecord, Claim
    from holdfast.formats.root import Page, Root
    from holdfast.model.manifest import Entry
    from holdfast.server.access import OpenProject
    from holdfast.store.base import ObjectInfo, Store

__all__ = [
    "claim",
    "compared",
    "diff",
    "files",
    "listed",
    "listed_reply",
    "meta",
    "objects",
    "record",
    "resolve",
    "root_of",
    "stat",
    "store_reply",
    "taken",
    "written",
]

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Rows in one page, at most.
_MOST: Final = 10_000
#: A difference of more entries is left to clients, which have the memory for it.
_MOST_COMPARED: Final = 500_000


def store_reply(project: OpenProject, clock: Clock, *, create: bool = False) -> StoreReply:
    """What a client must know of the store; its record is made where it is absent and ``create`` is set."""
    record = project.catalog.store_record(create=create)
    promises = project.store.promises()
    return StoreReply(
        url=project.url,
        record=record,
        now=clock.now().timestamp(),
        create=promises.create,
        replace=promises.replace,
        reason=promises.reason,
        signs_get=promises.sign,
        signs_put=isinstance(project.store, SignsUploads) and project.store.signs_uploads,
    )


def resolve(store: Store, catalog: Catalog, text: str) -> tuple[str, str, Published]:
    """Name, full version and meta of what a spec names now.

    Raises:
        UsageError: it is no spec.
        NotFoundError: there is no such asset or version, or it was removed; the hint names the nearest.
    """
    spec = AssetSpec.parse(text)
    resolver = Resolver(store, catalog, _InTurn())
    version = spec.version if is_pinned(spec.version) else resolver.resolve(spec)
    assert version is not None  # noqa: S101 - a pinned spec has a version
    return spec.name, version, resolver.published(spec.name, version)


def listed(catalog: Catalog, name: str) -> ListedReply:
    """An asset's list."""
    return listed_reply(catalog.listed(check_readable(name)))


def listed_reply(found: Listed) -> ListedReply:
    """A list as it is told."""
    return ListedReply(list(found.versions), list(found.unknown), found.scheme.name, found.token, found.merged)


def record(catalog: Catalog, name: str) -> AssetRecord:
    """An asset's record."""
    return catalog.record(check_readable(name))


def meta(catalog: Catalog, name: str, version: str) -> MetaReply:
    """The meta of a version, removed or not."""
    found = catalog.published(check_readable(name), check_text(version))
    return MetaReply(found.id, found.data)


def taken(catalog: Catalog, name: str) -> TakenReply:
    """The numbers in use."""
    found = catalog.taken(check_readable(name))
    return TakenReply(sorted(found.metas), sorted(found.data), sorted(found.claims))


def written(catalog: Catalog, name: str) -> dict[str, float]:
    """When each meta was written."""
    return catalog.written(check_readable(name))


def claim(catalog: Catalog, name: str, version: str) -> Claim:
    """Who holds a number.

    Raises:
        VersionNotFoundError: nobody does.
    """
    found = catalog.claim_of(check_readable(name), check_text(version))
    if found is None:
        raise VersionNotFoundError(f"nobody holds {name}:{version}", subject=f"{name}:{version}")
    return found


def objects(store: Store, prefix: str, after: str | None, limit: int | None, *, level: bool) -> ObjectsReply:
    """Objects below a prefix after a key, in the order of keys; of one level, the prefixes below it too."""
    prefix, most = checked_prefix(prefix), _limit(limit)
    if level:
        found = store.list_level(prefix)
        rows = sorted([(info.key, info) for info in found.objects] + [(each, None) for each in found.prefixes])
        page = [row for row in rows if after is None or row[0] > after]
        part = page[:most]
        stats = [stat(info) for _, info in part if info is not None]
        prefixes = [key for key, info in part if info is None]
        return ObjectsReply(stats, prefixes, part[-1][0] if len(page) > most else None)
    infos = list(islice(_in_order(store, prefix, after or ""), most + 1))
    stats = [stat(info) for info in infos[:most]]
    return ObjectsReply(stats, [], stats[-1].key if len(infos) > most else None)


def _in_order(store: Store, prefix: str, after: str) -> Iterator[ObjectInfo]:
    """From there on: where the store can begin a listing anywhere, a page costs a page and not the whole bucket."""
    if isinstance(store, ListsInOrder):
        return store.list_after(prefix, after)
    return iter(sorted((info for info in store.list(prefix) if info.key > after), key=lambda info: info.key))


def stat(info: ObjectInfo) -> ObjectStat:
    """What is known of an object, as it is told."""
    return ObjectStat(info.key, info.size, info.version, info.modified, info.etag)


def files(store: Store, catalog: Catalog, text: str, after: str | None, limit: int | None) -> FilesReply:
    """A page of a version's entries, or of those at its sub-path; of layout packs only the pages that hold them are read."""
    spec = AssetSpec.parse(text)
    name, version, published = resolve(store, catalog, str(AssetSpec(spec.name, spec.version)))
    most = _limit(limit)
    entries = _entries(store, name, version, published.meta, spec.sub_path, after or "")
    rows = [_row(entry) for entry in islice(entries, most + 1)]
    if not rows and not after and spec.sub_path:
        raise VersionNotFoundError(f"no sub-path {spec.sub_path!r} in {name}:{version}", subject=spec.sub_path)
    return FilesReply(name, version, rows[:most], rows[most - 1].path if len(rows) > most else None)


def diff(store: Store, catalog: Catalog, one: str, other: str) -> DiffReply:
    """What changed from one version to another; pages that two versions share are not read."""
    return compared(store, catalog, one, other)[0]


def compared(store: Store, catalog: Catalog, one: str, other: str) -> tuple[DiffReply, frozenset[str], frozenset[str]]:
    """The same, and of each side what can be shown by itself: files, but for those in an archive, and no links."""
    first, second = (_Side(store, *resolve(store, catalog, text)) for text in (one, other))
    shared = first.digests & second.digests
    before, after = first.manifest(shared), second.manifest(shared)
    found = compare(Side.of(before), Side.of(after))
    changes = list(found.added), list(found.removed), list(found.changed)
    reply = DiffReply(*changes, found.bytes_added, found.bytes_removed)
    return reply, first.shown(before), second.shown(after)


class _Side:
    """One version of a comparison."""

    def __init__(self, store: Store, name: str, version: str, published: Published) -> None:
        self._store, self._name, self._version, self._meta = store, name, version, published.meta
        self._root = root_of(store, name, version, self._meta) if self._meta.layout == "packs" else None
        pages = self._root.pages if self._root is not None else ()
        self.digests = frozenset(page.digest for page in pages)

    def shown(self, manifest: Manifest) -> frozenset[str]:
        """The paths of the files that ``contents`` opens."""
        return frozenset() if self._meta.layout == "tar.gz" else frozenset(entry.path for entry in manifest.files)

    def manifest(self, shared: frozenset[bytes]) -> Manifest:
        """Its entries, but for those of pages that both have."""
        if self._root is None:
            return _listed_files(self._name, self._version, self._meta)
        pages = [page for page in self._root.pages if page.digest not in shared]
        if sum(page.entries for page in pages) > _MOST_COMPARED:
            hint = "compare them on a machine of your own: asset diff with the store's URL"
            raise UsageError(f"more than {_MOST_COMPARED} entries differ", subject=self._name, hint=hint)
        return Manifest(tuple(_placed(self._store, pages)))


def _listed_files(name: str, version: str, meta: Meta) -> Manifest:
    """The manifest in a meta; of another program's, it may not be there, or without digests."""
    if meta.manifest is None or meta.manifest.content_hash is None:
        hint = "another program pushed it: fetch it, and look at the copy"
        raise UsageError(f"the files of {name}:{version} are not known before it is fetched", subject=name, hint=hint)
    return meta.manifest


def _entries(store: Store, name: str, version: str, meta: Meta, sub_path: str | None, after: str) -> Iterator[Entry]:
    begin = after.encode(errors="surrogateescape")
    if meta.layout == "packs":
        root = root_of(store, name, version, meta)
        pages: Sequence[Page] = root.within(sub_path.encode()) if sub_path else root.pages
        entries: Iterable[Entry] = _placed(store, pages[bisect_right(pages, begin, key=lambda page: page.last) :])
    elif meta.manifest is None:
        entries = _listed_files(name, version, meta).entries
    else:
        entries = meta.manifest.entries
    for entry in entries:
        inside = sub_path is None or entry.path == sub_path or entry.path.startswith(f"{sub_path}/")
        if inside and entry.path.encode(errors="surrogateescape") > begin:
            yield entry


def _placed(store: Store, pages: Iterable[Page]) -> Iterator[Entry]:
    for page in pages:
        stored = memoryview(store.get_range(layout.pages_key(page.object), page.offset, page.stored).data).cast("B")
        yield from (placed.entry for placed in opened(page, stored))


def root_of(store: Store, name: str, version: str, meta: Meta) -> Root:
    """The root of a version of layout ``packs``.

    Raises:
        IntegrityError: it is not the one that the meta names.
    """
    key = layout.data_key(name, version)
    data = store.get(key).data
    if digest_of(data) != meta.root:
        raise IntegrityError(f"{key} is not the root that its meta names", subject=key)
    return decode_root(data, key)


def _row(entry: Entry) -> FileRow:
    size = max(entry.size, 0) if entry.kind == "file" else 0
    return FileRow(entry.path, entry.kind, size, entry.mode, entry.mtime, entry.digest, entry.target)


def _limit(limit: int | None) -> int:
    if limit is not None and limit < 1:
        raise UsageError("limit must be at least 1", subject="limit")
    return min(limit or _MOST, _MOST)


class _InTurn(Engine):
    """No threads: a request has one already, and its questions are short."""

    def both(self, one: Callable[[], Item], other: Callable[[], Result]) -> tuple[Item, Result]:
        """One after the other."""
        return one(), other()
