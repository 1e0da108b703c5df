"""The catalog as objects in the store itself (design §2 and §3): claims, metas, lists and records, written in their order.

Needs the two conditions of :class:`holdfast.store.base.Store`: create-only and replace. Keys come from ``formats/layout``.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from holdfast.catalog.base import Listed, OpenPush, Published
from holdfast.catalog.reading import BucketReader
from holdfast.catalog.swap import create_once, swap
from holdfast.errors import (
    AlreadyExistsError,
    ConflictError,
    IntegrityError,
    UsageError,
    VersionNotFoundError,
)
from holdfast.failpoint import reach
from holdfast.formats import layout
from holdfast.formats.convention import encode_meta, encode_versions
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
    moment,
    stamp,
)
from holdfast.model.version import newest_first, scheme_named
from holdfast.store.clock import seconds_now

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from holdfast.catalog.base import Clock
    from holdfast.formats.convention import Meta
    from holdfast.model.version import VersionScheme
    from holdfast.store.base import Object, Store

__all__ = ["BucketCatalog"]

#: A push record is renewed when it is older than this.
_RENEW: Final = timedelta(minutes=10)
#: The longest that a limit of a store may be, in seconds: a hundred years, so that no date of it is beyond what dates can be.
_LONGEST: Final = 100 * 365 * 86_400


class BucketCatalog(BucketReader):
    """A :class:`holdfast.catalog.base.Catalog` on a store.

    ``who`` stands in claims and records; ``scheme`` is that of new assets, None for what the store's record says.
    """

    def __init__(self, store: Store, clock: Clock, who: str, scheme: VersionScheme | None = None) -> None:
        super().__init__(store, scheme)
        self._clock = clock
        self._who = who

    # the store's record

    def store_record(self, *, create: bool = False) -> StoreRecord | None:
        """The store's record; the first push makes it and looks up once whose store it is."""
        found = self.stored()
        if found is None and create:
            origin = "modelkit" if any(self.found()) else "holdfast"
            record = StoreRecord(STORE_FORMAT, uuid.uuid4().hex, origin, stamp(self._clock.now()))
            try:
                create_once(self._store, self._clock, layout.STORE, encode(record))
            except AlreadyExistsError:
                return self.stored()
            return record
        return found

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
        if now - push.renewed > min(_RENEW, timedelta(seconds=push.limit / 20)):
            push.renewed = now
            self._write_push(push, closed=False)

    def close_push(self, push: OpenPush) -> None:
        """Overwritten as closed; pushing needs no right to delete."""
        self._write_push(push, closed=True)

    def _write_push(self, push: OpenPush, *, closed: bool) -> None:
        now = stamp(self._clock.now())
        ended = now if closed else None
        record = PushRecord(push.id, push.name, self._who, stamp(push.started), now, ended, int(push.limit))
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
            if current is None and not wanted and not rebuild:
                return None  # a list of nothing, of an asset that may never have been
            if (
                listed.token is not None
                and not (listed.merged or rebuild)
                and wanted == [*listed.versions, *listed.unknown]
            ):
                return None
            return encode_versions(wanted)

        swap(self._store, self._clock, layout.versions_key(name), change)
        return result[-1]

    def set_aliases(self, name: str, changes: Mapping[str, str | None]) -> AssetRecord:
        """Swap the record."""

        def change(record: AssetRecord) -> AssetRecord:
            for alias, version in changes.items():
                if version is not None and self.is_removed(name, version, record):
                    raise ConflictError(
                        f"{name}:{version} is removed: no alias {alias!r} to it", subject=f"{name}:{version}"
                    )
            aliases = {key: value for key, value in (record.aliases | dict(changes)).items() if value is not None}
            return changed(record, aliases=dict(sorted(aliases.items())))

        return self.change_record(name, change)

    def remove(self, name: str, versions: Sequence[str]) -> None:
        """Tombstones first, then the list; a version that an alias or a hold names is refused."""
        ids = {version: self.published(name, version).id for version in versions}
        now = stamp(self.store_now())

        def change(record: AssetRecord) -> AssetRecord:
            for version in versions:
                self._check_free(name, version, record)
            fresh = {v: Tombstone(ids[v], now, self._who) for v in versions if not _has(record, v, ids[v])}
            return changed(record, tombstones=record.tombstones | fresh)

        self.change_record(name, change)
        reach("remove.tombstone-written")
        self.enlist(name, [])
        reach("remove.unlisted")

    def withdraw(self, push: OpenPush, version: str) -> None:
        """A final tombstone on what this push published, for it may lack something: nobody can restore it."""
        tombstone = Tombstone(push.id, stamp(self.store_now()), self._who, final=True)
        self.change_record(
            push.name, lambda record: changed(record, tombstones=record.tombstones | {version: tombstone})
        )
        reach("withdraw.tombstone-written")
        if version in self.listed(push.name).versions:
            self.enlist(push.name, [])

    def restore(self, name: str, version: str) -> None:
        """The tombstone goes, then the version is listed; the collector's word that it is final comes first or too late."""
        spec = f"{name}:{version}"
        limits = self.store_record()
        undo = timedelta(seconds=limits.undo if limits else 7 * 86400)
        self.published(name, version)
        now = self.store_now()

        def change(record: AssetRecord) -> AssetRecord:
            tombstone = record.tombstones.get(version)
            if tombstone is None:
                return record
            if tombstone.final or now - moment(tombstone.at, layout.asset_key(name)) > undo:
                over = "it cannot come back" if tombstone.final else f"the undo window of {undo} is over"
                raise ConflictError(f"{spec} was removed on {tombstone.at}: {over}", subject=spec)
            return changed(record, tombstones={v: t for v, t in record.tombstones.items() if v != version})

        self.change_record(name, change)
        self.enlist(name, [version])

    def _check_free(self, name: str, version: str, record: AssetRecord) -> None:
        spec = f"{name}:{version}"
        for alias, target in record.aliases.items():
            if target == version:
                hint = f"first: asset alias {name} {alias} --remove"
                raise ConflictError(f"the alias {alias!r} names {spec}", subject=spec, hint=hint)
        if version in record.holds:
            raise ConflictError(f"{spec} is held: {record.holds[version]}", subject=spec)

    def change_record(self, name: str, change: Callable[[AssetRecord], AssetRecord]) -> AssetRecord:
        """Swap the asset's record; ``change`` may be called many times."""
        result: list[AssetRecord] = []

        def encoded(current: Object | None) -> bytes | None:
            record = self._read_record(name, current)
            result.append(change(record))
            return None if result[-1] == record else encode(result[-1])

        swap(self._store, self._clock, layout.asset_key(name), encoded)
        return result[-1]

    def store_now(self) -> datetime:
        """The store's clock: when it says that an object written just now was written."""
        return datetime.fromtimestamp(seconds_now(self._store), UTC)


def _has(record: AssetRecord, version: str, meta_id: str) -> bool:
    tombstone = record.tombstones.get(version)
    return tombstone is not None and tombstone.meta == meta_id


def _configured(record: StoreRecord, key: str, value: str | None) -> StoreRecord:
    if key in ("push_limit", "grace", "undo"):
        try:
            number = int(value) if value is not None else getattr(StoreRecord("", "", "", ""), key)  # type: ignore[arg-type]
        except ValueError:
            raise UsageError(f"{key}: {value!r} is no number of seconds", subject=key) from None
        result = changed(record, **{key: number})
    elif key == "layout":
        if value not in (None, "tree", "tar.gz", "packs"):
            raise UsageError(f"layout: {value!r} is not tree, tar.gz or packs", subject=key)
        result = changed(record, layout=value)
    elif key == "versioning":
        result = changed(record, versioning=None if value is None else scheme_named(value).name)
    else:
        raise UsageError(
            f"no store-wide setting {key!r}", hint="push_limit, grace, undo, layout, versioning", subject=key
        )
    if result.push_limit < 1 or result.undo < 0 or result.grace < 2 * result.push_limit:
        raise UsageError("grace must be at least twice push_limit, and none of the limits negative", subject=key)
    if max(result.push_limit, result.undo, result.grace) > _LONGEST:
        raise UsageError(f"{key} is at most a hundred years: {_LONGEST} seconds", subject=key)
    return result
