"""The catalog as objects in the store itself (design §2 and §3): lists, metas, claims, records.

Needs the two conditions of :class:`holdfast.store.base.Store`: create-only and replace. Keys come from ``formats/layout``.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from holdfast.catalog.base import Listed, OpenPush, Published, Taken
from holdfast.catalog.swap import create_once, read_or_none, swap
from holdfast.errors import (
    AccessError,
    AlreadyExistsError,
    ConflictError,
    IntegrityError,
    ObjectNotFoundError,
    UsageError,
    VersionNotFoundError,
)
from holdfast.failpoint import reach
from holdfast.formats import layout
from holdfast.formats.convention import decode_meta, decode_versions, encode_meta, encode_versions
from holdfast.formats.records import (
    STORE_FORMAT,
    AssetRecord,
    Claim,
    PushRecord,
    StoreRecord,
    Tombstone,
    changed,
    decode,
    encode,
    stamp,
)
from holdfast.model.digest import PREFIX, digest_of
from holdfast.model.version import all_schemes, is_text, newest_first, scheme_named, scheme_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from holdfast.catalog.base import Clock
    from holdfast.formats.convention import Meta
    from holdfast.model.version import VersionScheme
    from holdfast.store.base import Listing, Object, Store

__all__ = ["BucketCatalog"]

#: A push record is renewed when it is older than this.
_RENEW: Final = timedelta(minutes=10)
_USUAL: Final = "major_minor"


class BucketCatalog:
    """A :class:`holdfast.catalog.base.Catalog` on a store.

    ``who`` stands in claims and records; ``scheme`` is that of new assets, None for what the store's record says.
    """

    def __init__(self, store: Store, clock: Clock, who: str, scheme: VersionScheme | None = None) -> None:
        self._store = store
        self._clock = clock
        self._who = who
        self._scheme = scheme

    # reading

    def names(self, run: Callable[..., Iterable[Any]] = map) -> Iterator[str]:
        """Level by level; a prefix that is a version of an asset found above it is not entered."""
        found: list[str] = []
        level = [""]
        while level:
            below: list[str] = []
            for prefix, listing in zip(level, run(self._store.list_level, level), strict=True):
                found += [name for info in listing.objects if (name := layout.name_of_versions_key(info.key))]
                below += _to_enter(prefix, listing, is_asset=prefix in found)
            level = below
        yield from sorted(found)

    def listed(self, name: str) -> Listed:
        """The list, with what another program wrote over it merged in."""
        found = read_or_none(self._store, layout.versions_key(name))
        return Listed((), (), self._new_scheme()) if found is None else self._read_list(name, found)

    def _new_scheme(self) -> VersionScheme:
        """The scheme of an asset that has no versions yet: as set, else as the store says."""
        if self._scheme is None:
            try:
                record = self.store_record()
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

    # the store's record

    def store_record(self, *, create: bool = False) -> StoreRecord | None:
        """The store's record; the first push makes it and looks up once whose store it is."""
        found = read_or_none(self._store, layout.STORE)
        if found is None and create:
            origin = "modelkit" if any(self.names()) else "holdfast"
            record = StoreRecord(STORE_FORMAT, uuid.uuid4().hex, origin, stamp(self._clock.now()))
            try:
                create_once(self._store, self._clock, layout.STORE, encode(record))
            except AlreadyExistsError:
                found = self._store.get(layout.STORE)
            else:
                return record
        return None if found is None else decode(memoryview(found.data), StoreRecord, layout.STORE)

    def configure(self, key: str, value: str | None) -> StoreRecord:
        """Change ``push_limit``, ``grace``, ``undo`` (seconds), ``layout`` or ``versioning``."""
        self.store_record(create=True)
        result: list[StoreRecord] = []

        def change(current: Object | None) -> bytes | None:
            if current is None:
                raise ConflictError("the store's record is gone", subject=layout.STORE)
            record = decode(memoryview(current.data), StoreRecord, layout.STORE)
            result.append(_configured(record, key, value))
            return None if result[-1] == record else encode(result[-1])

        swap(self._store, self._clock, layout.STORE, change)
        return result[-1]

    # pushing

    def open_push(self, name: str, push_id: str, started: datetime) -> OpenPush:
        """``pushes/<id>``."""
        push = OpenPush(push_id, name, started, self._clock.now())
        record = self.store_record()
        if record is not None:
            push.limit = float(record.push_limit)
        self._write_push(push, closed=False)
        return push

    def renew(self, push: OpenPush) -> None:
        """Rewrite the record when it is ten minutes old; a push past its limit stops itself."""
        now = self._clock.now()
        if (now - push.started).total_seconds() > push.limit:
            raise ConflictError(
                f"the push of {push.name} is past the store's limit of {push.limit:.0f} s",
                subject=push.name,
                hint="raise it with: asset config set --store-wide push_limit SECONDS",
            )
        if now - push.renewed > _RENEW:
            push.renewed = now
            self._write_push(push, closed=False)

    def close_push(self, push: OpenPush) -> None:
        """Overwritten as closed; pushing needs no right to delete."""
        self._write_push(push, closed=True)

    def _write_push(self, push: OpenPush, *, closed: bool) -> None:
        now = stamp(self._clock.now())
        record = PushRecord(push.id, push.name, self._who, stamp(push.started), now, now if closed else None)
        self._store.put(layout.push_key(push.id), encode(record))

    def claim(self, push: OpenPush, version: str) -> None:
        """``claims/<name>/<version>``, create-only, holding the push's id; a resumed push finds its own and goes on."""
        claim = Claim(push.id, push.name, version, self._who, stamp(push.started))
        try:
            create_once(self._store, self._clock, layout.claim_key(push.name, version), encode(claim))
        except AlreadyExistsError:
            held = self.claim_of(push.name, version)
            if held is None or held.push != push.id:
                raise

    def claim_of(self, name: str, version: str) -> Claim | None:
        """The claim on a number, or None."""
        key = layout.claim_key(name, version)
        found = read_or_none(self._store, key)
        return None if found is None else decode(memoryview(found.data), Claim, key)

    def check_claim(self, push: OpenPush, version: str) -> None:
        """Re-read the claim."""
        claim = self.claim_of(push.name, version)
        if claim is None or claim.push != push.id:
            holder = f"is held by {claim.who}" if claim else "was freed"
            raise ConflictError(
                f"the claim of this push on {push.name}:{version} {holder}", subject=f"{push.name}:{version}"
            )

    def publish(self, push: OpenPush, version: str, meta: Meta) -> Published:
        """The meta, create-only."""
        data = encode_meta(meta)
        try:
            create_once(self._store, self._clock, layout.meta_key(push.name, version), data)
        except AlreadyExistsError as error:
            with suppress(IntegrityError, VersionNotFoundError):
                found = self.published(push.name, version)
                if found.id == push.id:
                    return found
            raise AlreadyExistsError(
                f"another program wrote {push.name}:{version} at the same time", subject=f"{push.name}:{version}"
            ) from error
        return Published(meta, push.id, data)

    # the list and the record

    def enlist(self, name: str, versions: Sequence[str], *, rebuild: bool = False) -> Listed:
        """Union of what is listed, what another program wrote and these, less the removed ones."""
        record = self.record(name)
        result: list[Listed] = []

        def change(current: Object | None) -> bytes | None:
            listed = self._read_list(name, current, also=versions, lenient=rebuild)
            kept = {version for version in {*listed.versions, *versions} if not self.is_removed(name, version, record)}
            wanted = listed.ordered(kept)
            result.append(replace(listed, versions=tuple(newest_first(kept, listed.scheme))))
            if (
                listed.token is not None
                and not (listed.merged or rebuild)
                and wanted == [*listed.versions, *listed.unknown]
            ):
                return None
            return encode_versions(wanted)

        swap(self._store, self._clock, layout.versions_key(name), change)
        return result[-1]

    def is_removed(self, name: str, version: str, record: AssetRecord) -> bool:
        """Whether the version's tombstone is that of the meta which is there now (or the meta is gone)."""
        tombstone = record.tombstones.get(version)
        if tombstone is None:
            return False
        try:
            return self.published(name, version).id == tombstone.meta
        except VersionNotFoundError:
            return True

    def set_aliases(self, name: str, changes: Mapping[str, str | None]) -> AssetRecord:
        """Swap the record."""

        def change(record: AssetRecord) -> AssetRecord:
            aliases = {key: value for key, value in (record.aliases | dict(changes)).items() if value is not None}
            return changed(record, aliases=dict(sorted(aliases.items())))

        return self._swap_record(name, change)

    def remove(self, name: str, versions: Sequence[str]) -> None:
        """Tombstones first, then the list; a version that an alias or a hold names is refused."""
        ids = {version: self.published(name, version).id for version in versions}
        now = stamp(self.store_now())

        def change(record: AssetRecord) -> AssetRecord:
            for version in versions:
                self._check_free(name, version, record)
            fresh = {v: Tombstone(ids[v], now, self._who) for v in versions if not _has(record, v, ids[v])}
            return changed(record, tombstones=record.tombstones | fresh)

        self._swap_record(name, change)
        reach("remove.tombstone-written")
        self.enlist(name, [])
        reach("remove.unlisted")

    def restore(self, name: str, version: str) -> None:
        """The tombstone goes, then the version is listed."""
        spec = f"{name}:{version}"
        limits = self.store_record()
        undo = timedelta(seconds=limits.undo if limits else 7 * 86400)
        self.published(name, version)
        now = self.store_now()

        def change(record: AssetRecord) -> AssetRecord:
            tombstone = record.tombstones.get(version)
            if tombstone is None:
                return record
            if now - datetime.fromisoformat(tombstone.at) > undo:
                raise ConflictError(
                    f"{spec} was removed on {tombstone.at}: the undo window of {undo} is over", subject=spec
                )
            return changed(record, tombstones={v: t for v, t in record.tombstones.items() if v != version})

        self._swap_record(name, change)
        self.enlist(name, [version])

    def _check_free(self, name: str, version: str, record: AssetRecord) -> None:
        spec = f"{name}:{version}"
        for alias, target in record.aliases.items():
            if target == version:
                hint = f"first: asset alias {name} {alias} --remove"
                raise ConflictError(f"the alias {alias!r} names {spec}", subject=spec, hint=hint)
        if version in record.holds:
            raise ConflictError(f"{spec} is held: {record.holds[version]}", subject=spec)

    def _swap_record(self, name: str, change: Callable[[AssetRecord], AssetRecord]) -> AssetRecord:
        result: list[AssetRecord] = []

        def encoded(current: Object | None) -> bytes | None:
            record = self._read_record(name, current)
            result.append(change(record))
            return None if result[-1] == record else encode(result[-1])

        swap(self._store, self._clock, layout.asset_key(name), encoded)
        return result[-1]

    def store_now(self) -> datetime:
        """The store's clock: when it says that an object written just now was written."""
        key = layout.probe_key("clock")
        self._store.put(key, b"")
        return datetime.fromtimestamp(self._store.head(key).modified, UTC)

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
        full = [entry for entry in entries if scheme.is_full(entry) and is_text(entry)]
        unknown = tuple(entry for entry in entries if entry not in full)
        token = None if found is None else found.info.version
        return Listed(
            tuple(newest_first(full, scheme)), unknown, scheme, token, found is not None and found.foreign is not None
        )


def _readable(foreign: bytes, key: str) -> list[str]:
    """The versions in another program's content; none while it is half written."""
    try:
        return decode_versions(foreign, key)
    except IntegrityError:
        return []


def _has(record: AssetRecord, version: str, meta_id: str) -> bool:
    tombstone = record.tombstones.get(version)
    return tombstone is not None and tombstone.meta == meta_id


def _to_enter(prefix: str, listing: Listing, *, is_asset: bool) -> list[str]:
    metas = {info.key.removesuffix(layout.META_END) for info in listing.objects if info.key.endswith(layout.META_END)}
    own = {layout.OWN} if not prefix else set()
    skipped = metas | own
    return [p for p in listing.prefixes if p not in skipped and not (is_asset and _is_version(p.rpartition("/")[2]))]


def _is_version(piece: str) -> bool:
    return any(scheme.is_full(piece) for scheme in all_schemes().values())


def _configured(record: StoreRecord, key: str, value: str | None) -> StoreRecord:
    if key in ("push_limit", "grace", "undo"):
        try:
            number = int(value) if value is not None else getattr(StoreRecord("", "", "", ""), key)  # type: ignore[arg-type]
        except ValueError:
            raise UsageError(f"{key}: {value!r} is no number of seconds", subject=key) from None
        result = changed(record, **{key: number})
    elif key == "layout":
        if value not in (None, "tree", "tar.gz"):
            raise UsageError(f"layout: {value!r} is not tree or tar.gz", subject=key)
        result = changed(record, layout=value)
    elif key == "versioning":
        result = changed(record, versioning=None if value is None else scheme_named(value).name)
    else:
        raise UsageError(
            f"no store-wide setting {key!r}", hint="push_limit, grace, undo, layout, versioning", subject=key
        )
    if result.push_limit < 1 or result.undo < 0 or result.grace < 2 * result.push_limit:
        raise UsageError("grace must be at least twice push_limit, and none of the limits negative", subject=key)
    return result
