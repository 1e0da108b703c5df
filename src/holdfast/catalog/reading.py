"""Reading a catalog out of the store's objects: lists, records, metas, and which numbers are in use (design §2).

Needs the right to read, and to list only where names or numbers are asked for. Writing is :mod:`holdfast.catalog.bucket`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from holdfast.catalog.base import Listed, Published, Taken
from holdfast.catalog.swap import read_or_none
from holdfast.catalog.walking import walk
from holdfast.errors import AccessError, IntegrityError, ObjectNotFoundError, VersionNotFoundError
from holdfast.formats import layout
from holdfast.formats.convention import decode_meta, decode_versions
from holdfast.formats.records import AssetRecord, Claim, StoreRecord, decode
from holdfast.model.digest import PREFIX, digest_of
from holdfast.model.version import all_schemes, is_text, newest_first, scheme_named, scheme_of
from holdfast.store.base import OpensFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from holdfast.model.version import VersionScheme
    from holdfast.store.base import Object, ObjectInfo, Store

__all__ = ["BucketReader", "divided"]

_USUAL: Final = "major_minor"


class BucketReader:
    """What a catalog tells. ``scheme`` is that of new assets, None for what the store's record says."""

    def __init__(self, store: Store, scheme: VersionScheme | None = None) -> None:
        self._store = store
        self._scheme = scheme

    @property
    def is_here(self) -> bool:
        """Whether the store is a folder of this machine: it answers at once, and threads would wait for Python's lock alone."""
        return isinstance(self._store, OpensFiles)

    def stored(self) -> StoreRecord | None:
        """The store's own record, or None where no push of ours was made yet."""
        found = read_or_none(self._store, layout.STORE)
        return None if found is None else decode(memoryview(found.data), StoreRecord, layout.STORE)

    def names(self, run: Callable[..., Iterable[Any]] = map) -> Iterator[str]:
        """In order; a prefix that is a version of an asset is not entered (:mod:`holdfast.catalog.walking`)."""
        yield from sorted(self.found(run))

    def found(self, run: Callable[..., Iterable[Any]] = map) -> Iterator[str]:
        """The names as the walk meets them."""
        return (name for info in self.walk(run) if (name := layout.name_of_versions_key(info.key)))

    def walk(self, run: Callable[..., Iterable[Any]] = map) -> Iterator[ObjectInfo]:
        """Every object that may be a list or a meta; what is below a version is not entered."""
        return walk(self._store, run)

    def listed(self, name: str) -> Listed:
        """The list, with what another program wrote over it merged in."""
        found = read_or_none(self._store, layout.versions_key(name))
        return Listed((), (), self._new_scheme()) if found is None else self._read_list(name, found)

    def _new_scheme(self) -> VersionScheme:
        """The scheme of an asset that has no versions yet: as set, else as the store says."""
        if self._scheme is None:
            try:
                record = self.stored()
            except AccessError:
                record = None
            self._scheme = scheme_named(record.versioning if record and record.versioning else _USUAL)
        return self._scheme

    def record(self, name: str) -> AssetRecord:
        """The asset's record; without the right to list, a refusal means that there is none."""
        try:
            found = read_or_none(self._store, layout.asset_key(name))
        except AccessError:
            return AssetRecord()
        return self._read_record(name, found)

    def records(self) -> Iterator[ObjectInfo]:
        """What the store tells of the objects that hold records of assets."""
        return iter(self._store.list_level(layout.ASSETS).objects)

    def published(self, name: str, version: str) -> Published:
        """The meta of a version."""
        key = layout.meta_key(name, version)
        try:
            data = bytes(self._store.get(key).data)
        except ObjectNotFoundError as error:
            raise VersionNotFoundError(f"no version {version} of {name}", subject=f"{name}:{version}") from error
        meta = decode_meta(data, key)
        return Published(meta, meta.push or PREFIX + digest_of(data), data)

    def taken(self, name: str) -> Taken:
        """Two listings: the asset's own level, and its claims."""
        level = self._store.list_level(name)
        pieces = [info.key.rpartition("/")[2] for info in level.objects]
        metas = frozenset(piece.removesuffix(layout.META_END) for piece in pieces if piece.endswith(layout.META_END))
        data = {piece for piece in pieces if not piece.endswith((layout.META_END, layout.VERSIONS_END))}
        data |= {prefix.rpartition("/")[2] for prefix in level.prefixes}
        claims = self._store.list_level(layout.claims_prefix(name)).objects
        schemes = all_schemes().values()
        full = frozenset(text for text in data if any(scheme.is_full(text) for scheme in schemes))
        return Taken(metas, full, frozenset(info.key.rpartition("/")[2] for info in claims))

    def written(self, name: str) -> dict[str, float]:
        """When the meta of each version was written: seconds since the epoch, by the store's clock."""
        found = self._store.list_level(name).objects
        metas = [info for info in found if info.key.endswith(layout.META_END)]
        return {info.key.rpartition("/")[2].removesuffix(layout.META_END): info.modified for info in metas}

    def claim_of(self, name: str, version: str) -> Claim | None:
        """The claim on a number, or None."""
        key = layout.claim_key(name, version)
        found = read_or_none(self._store, key)
        return None if found is None else decode(memoryview(found.data), Claim, key)

    def is_removed(self, name: str, version: str, record: AssetRecord) -> bool:
        """Whether the version's tombstone is that of the meta which is there now (or the meta is gone)."""
        tombstone = record.tombstones.get(version)
        if tombstone is None:
            return False
        try:
            return self.published(name, version).id == tombstone.meta
        except VersionNotFoundError:
            return True

    def _read_record(self, name: str, found: Object | None) -> AssetRecord:
        return AssetRecord() if found is None else decode(memoryview(found.data), AssetRecord, layout.asset_key(name))

    def _read_list(self, name: str, found: Object | None, *, also: Sequence[str] = (), lenient: bool = False) -> Listed:
        """The list, read by the scheme that fits its entries and those that are to be added."""
        key = layout.versions_key(name)
        entries: list[str] = []
        if found is not None:
            entries = _readable(bytes(found.data), key) if lenient else decode_versions(memoryview(found.data), key)
            if found.foreign is not None:
                entries = list(dict.fromkeys([*entries, *_readable(found.foreign, key)]))
        scheme = scheme_of([*entries, *also], self._scheme or scheme_named(_USUAL))
        full, unknown = divided(entries, scheme)
        token = None if found is None else found.info.version
        return Listed(
            tuple(newest_first(full, scheme)), unknown, scheme, token, found is not None and found.foreign is not None
        )


def divided(entries: Sequence[str], scheme: VersionScheme) -> tuple[list[str], tuple[str, ...]]:
    """Of a list's entries the full versions of a scheme, and the others. Each is looked up once, for a list may have thousands."""
    full = [entry for entry in entries if scheme.is_full(entry) and is_text(entry)]
    known = set(full)
    return full, tuple(entry for entry in entries if entry not in known)


def _readable(foreign: bytes, key: str) -> list[str]:
    """The versions in another program's content; none while it is half written."""
    try:
        return decode_versions(foreign, key)
    except IntegrityError:
        return []
