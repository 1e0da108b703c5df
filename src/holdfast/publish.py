"""Pushing: scan, hash, claim, write, publish, list, in the order of design §3.

A push may be killed at any line. Before the meta it leaves a claim, under which the same push, run again on this machine, goes
on; after the meta a whole version, which the same push, the next push or ``repair`` lists.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from holdfast.cache.journal import Journal, JournalEntry
from holdfast.cache.tree import check_source, hash_file, scan
from holdfast.catalog.base import OpenPush
from holdfast.errors import (
    AlreadyExistsError,
    AssetNotFoundError,
    ConflictError,
    IntegrityError,
    InvalidVersionError,
    UnsupportedError,
    UsageError,
    VersionNotFoundError,
)
from holdfast.failpoint import reach
from holdfast.formats import layout as keys
from holdfast.formats.convention import Meta
from holdfast.model.manifest import Manifest
from holdfast.model.name import check_new, check_readable
from holdfast.model.result import Pushed, PushOptions
from holdfast.model.version import all_schemes, check_text, next_version
from holdfast.transfer.plan import check_tree_names, choose_layout
from holdfast.transfer.upload import Upload

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.cache.tree import Scanned
    from holdfast.catalog.base import Catalog, Clock, Listed, Published, Taken
    from holdfast.formats.records import AssetRecord
    from holdfast.store.base import Store
    from holdfast.transfer.engine import Engine

__all__ = ["Publisher"]

#: A claim journalled longer ago than this part of the store's limit is not gone on with.
_RESUME_WITHIN: Final = 0.5


@dataclass(frozen=True, slots=True)
class _Source:
    """What is pushed: its manifest, and where each file lies."""

    manifest: Manifest
    scanned: dict[str, Scanned]
    layout: str


class Publisher:
    """Pushes sources into one store through one catalog; ``state`` is the folder of the journal and of
    archives in the making, ``place`` the store's URL and endpoint.
    """

    def __init__(
        self, store: Store, catalog: Catalog, engine: Engine, clock: Clock, *, who: str, state: Path, place: str
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._engine = engine
        self._clock = clock
        self._who = who
        self._state = state
        self._place = place

    def push(self, source: Path, name: str, options: PushOptions) -> Pushed:
        """See :meth:`holdfast.repository.Repository.push`."""
        begun = time.monotonic()
        _check_options(name, options)
        prepared = self._prepare(source, name, options)
        reach("push.scanned")
        listed, record = self._engine.both(lambda: self._catalog.listed(name), lambda: self._catalog.record(name))
        result = self._unchanged(name, prepared, listed, record, options)
        if result is None:
            result = self._push_new(name, prepared, listed, record, options)
        return replace(result, seconds=round(time.monotonic() - begun, 3))

    # before anything is written

    def _prepare(self, source: Path, name: str, options: PushOptions) -> _Source:
        found = scan(source, exclude=options.get("exclude", ()), follow_links=options.get("follow_links", False))
        single = source.is_file()
        asked = options.get("layout")
        default = None
        if not single and asked is None:
            store_record = self._catalog.store_record()
            default = store_record.layout if store_record else None
        layout = choose_layout(single=single, asked=asked, default=default)
        files = [item for item in found if item.entry.kind == "file"]
        self._engine.progress.start("hash", sum(item.entry.size for item in files), len(files))
        try:
            hashed = self._engine.run(lambda item: hash_file(item, self._engine.progress.advance), files)
        finally:
            self._engine.progress.finish()
        manifest = Manifest.of([*hashed, *(item.entry for item in found if item.entry.kind != "file")], single=single)
        if layout == "tree":
            check_tree_names(manifest, keys.data_key(name, "x" * 20))
        return _Source(manifest, {item.entry.path: item for item in found}, layout)

    def _unchanged(
        self, name: str, source: _Source, listed: Listed, record: AssetRecord, options: PushOptions
    ) -> Pushed | None:
        """Design §3 'Unchanged': judged once, before the claim, and never where a version or major is asked for."""
        explicit = options.get("version") or options.get("new_major") or options.get("only") == "new"
        newest = listed.newest(options.get("major"))
        if explicit or not options.get("unchanged", True) or newest is None:
            return None
        if self._catalog.is_removed(name, newest, record):
            return None
        try:
            published = self._catalog.published(name, newest)
        except VersionNotFoundError:
            return None
        if published.meta.hash is None or published.meta.hash != source.manifest.content_hash:
            return None
        self._set_alias(name, newest, options)
        return _pushed(name, newest, source, layout=published.meta.layout, created=False)

    def _check_store(self) -> None:
        promises = self._store.promises()
        if not (promises.create and promises.replace):
            raise UnsupportedError(
                f"cannot push to {self._store.url}: {promises.reason or 'it has no conditional writes'}",
                subject=self._store.url,
                hint="without them two pushes can overwrite each other: push through a Holdfast server, or to a store that has them",
            )

    # the push itself

    def _push_new(
        self, name: str, source: _Source, listed: Listed, record: AssetRecord, options: PushOptions
    ) -> Pushed:
        if options.get("dry_run"):
            return self._dry_run(name, source, listed, record, options)
        wish = "\0".join(str(options.get(key)) for key in ("version", "major", "new_major", "initial", "only"))
        identity = (self._place, name, source.layout, source.manifest.content_hash or "", wish)
        with Journal(self._state / "journal", *identity) as journal:
            earlier, taken = journal.read(), self._catalog.taken(name)
            adopted = self._adopt_unlisted(name, listed, taken, record)
            known = replace(listed, versions=tuple(listed.ordered({*listed.versions, *adopted})))
            own = self._own_whole(name, earlier, taken, record)
            version = _whole_already(own, adopted, known, source, options)
            if version is None or (listed.token is not None and version != own):
                self._check_exists(name, listed, taken, options)
            if earlier is not None and version is None and not _is_resumable(earlier.version, known, taken, record):
                earlier = None
            if earlier is None and version is None:
                self._number(name, known, taken, record, options)  # what cannot be is said before anything is written
            self._check_store()
            self._catalog.store_record(create=True)
            if version is not None:
                return self._finish(name, version, source, list(adopted), journal, earlier if own else None, options)
            return self._claimed_push(name, source, known, taken, record, list(adopted), journal, earlier, options)

    def _dry_run(self, name: str, source: _Source, listed: Listed, record: AssetRecord, options: PushOptions) -> Pushed:
        taken = self._catalog.taken(name)
        self._check_exists(name, listed, taken, options)
        return _pushed(name, self._number(name, listed, taken, record, options), source, created=True)

    def _number(self, name: str, listed: Listed, taken: Taken, record: AssetRecord, options: PushOptions) -> str:
        """The number asked for, if it can be had, or the next free one."""
        version = options.get("version")
        if not version:
            return self._next(listed, taken, record, options)
        self._check_explicit(name, version, taken, listed, record, None)
        return version

    def _own_whole(self, name: str, earlier: JournalEntry | None, taken: Taken, record: AssetRecord) -> str | None:
        """The version that an earlier run of this very push made whole before it was killed."""
        if earlier is None or earlier.version not in taken.metas or earlier.version in record.tombstones:
            return None
        return earlier.version if self._catalog.published(name, earlier.version).id == earlier.push else None

    def _finish(
        self,
        name: str,
        version: str,
        source: _Source,
        adopted: list[str],
        journal: Journal,
        own: JournalEntry | None,
        options: PushOptions,
    ) -> Pushed:
        """What is left of a push that was killed when its version was whole."""
        if options.get("listed", True):
            self._catalog.enlist(name, [*adopted, version])
        self._set_alias(name, version, options)
        if own is not None:
            self._catalog.close_push(OpenPush(own.push, name, own.started, self._clock.now()))
        journal.done()
        layout = self._catalog.published(name, version).meta.layout
        return _pushed(name, version, source, layout=layout, created=False)

    def _claimed_push(
        self,
        name: str,
        source: _Source,
        listed: Listed,
        taken: Taken,
        record: AssetRecord,
        adopted: list[str],
        journal: Journal,
        earlier: JournalEntry | None,
        options: PushOptions,
    ) -> Pushed:
        push = self._open(name, earlier)
        if earlier is not None and push.id != earlier.push:
            earlier = None
        reach("push.opened")
        version = self._claim(push, listed, taken, record, journal, earlier, options)
        reach("push.claimed")
        upload = Upload(self._store, self._engine, source.scanned, lambda: self._catalog.renew(push))
        sent = upload.send(name, version, source.layout, source.manifest, self._state / "archives")
        reach("push.data-written")
        self._catalog.check_claim(push, version)
        reach("push.claim-reread")
        self._catalog.renew(push)
        self._publish(push, version, source, options)
        reach("push.meta-written")
        if options.get("listed", True):
            self._list(name, version, push, adopted)
        reach("push.listed")
        self._set_alias(name, version, options)
        reach("push.aliased")
        self._catalog.close_push(push)
        reach("push.closed")
        journal.done()
        return replace(
            _pushed(name, version, source, created=True), uploaded_bytes=sent.bytes, uploaded_objects=sent.objects
        )

    def _open(self, name: str, earlier: JournalEntry | None) -> OpenPush:
        now = self._clock.now()
        push = None
        if earlier is not None:
            push = self._catalog.open_push(name, earlier.push, earlier.started)
            if now - earlier.started > timedelta(seconds=push.limit * _RESUME_WITHIN):
                push = None  # too old to finish within the store's limit
        return push or self._catalog.open_push(name, secrets.token_hex(16), now)

    def _claim(
        self,
        push: OpenPush,
        listed: Listed,
        taken: Taken,
        record: AssetRecord,
        journal: Journal,
        earlier: JournalEntry | None,
        options: PushOptions,
    ) -> str:
        """Take a number: the one claimed by an earlier, killed run; the one asked for; or the next that is free."""
        if earlier is not None:
            try:
                self._catalog.claim(push, earlier.version)
            except AlreadyExistsError:
                pass
            else:
                return earlier.version
        explicit = options.get("version")
        lost: set[str] = set()
        while True:
            version = explicit or self._next(listed, taken, record, options, lost)
            if explicit:
                self._check_explicit(push.name, version, taken, listed, record, push)
            journal.write(JournalEntry(push.id, push.started, version))
            reach("push.before-claim")
            try:
                self._catalog.claim(push, version)
            except AlreadyExistsError:
                if explicit:
                    raise self._held(push.name, version) from None
                lost.add(version)
            else:
                return version

    def _next(
        self, listed: Listed, taken: Taken, record: AssetRecord, options: PushOptions, lost: set[str] | None = None
    ) -> str:
        return next_version(
            listed.versions,
            {*taken.all, *record.tombstones, *(lost or ())},
            listed.scheme,
            self._clock.now(),
            partial=options.get("major"),
            new_major=options.get("new_major", False),
            initial=options.get("initial"),
        )

    def _check_explicit(
        self, name: str, version: str, taken: Taken, listed: Listed, record: AssetRecord, push: OpenPush | None
    ) -> None:
        spec = f"{name}:{version}"
        if not (listed.scheme.is_full(version) or (not listed.versions and _is_full(version))):
            raise InvalidVersionError(f"{version!r} is no full version ({listed.scheme.name})", subject=spec)
        if version in record.tombstones:
            raise AlreadyExistsError(f"{spec} was removed; numbers are never used again", subject=spec)
        if version in listed.versions or version in taken.metas:
            raise AlreadyExistsError(f"{spec} exists", subject=spec, hint="versions never change; push another number")
        if version in taken.claims:
            claim = self._catalog.claim_of(name, version)
            if push is None or claim is None or claim.push != push.id:
                raise self._held(name, version)
        elif version in taken.data:
            raise AlreadyExistsError(
                f"{spec} has data without a meta (another program's unfinished push)",
                subject=spec,
                hint=f"asset repair {name}",
            )

    def _held(self, name: str, version: str) -> ConflictError:
        claim = self._catalog.claim_of(name, version)
        who = f"{claim.who} since {claim.at}" if claim else "another push"
        return AlreadyExistsError(
            f"{name}:{version} is claimed by {who}, and not finished",
            subject=f"{name}:{version}",
            hint=f"wait for it; once its push has expired, free the number with: asset repair {name}",
        )

    def _check_exists(self, name: str, listed: Listed, taken: Taken, options: PushOptions) -> None:
        exists = listed.token is not None or bool(taken.metas)
        if not exists:
            check_new(name, all_schemes())
            if options.get("only") == "update":
                raise AssetNotFoundError(f"no asset {name!r} to update", subject=name, hint="create it with --new")
        elif options.get("only") == "new":
            raise AlreadyExistsError(f"asset {name!r} exists", subject=name, hint="add a version with --update")

    def _adopt_unlisted(self, name: str, listed: Listed, taken: Taken, record: AssetRecord) -> dict[str, Published]:
        """Whole versions of ours that a crash, or another program's list, left unlisted."""
        adopted = {}
        for version in sorted(taken.metas - set(listed.versions)):
            if not listed.scheme.is_full(version):
                continue
            try:
                published = self._catalog.published(name, version)
            except (IntegrityError, VersionNotFoundError) as error:
                self._engine.progress.warn(f"{name}:{version} is left unlisted: {error.message}")
                continue
            is_ours = published.meta.push is not None and published.meta.listed
            if is_ours and not self._catalog.is_removed(name, version, record):
                adopted[version] = published
        return adopted

    def _publish(self, push: OpenPush, version: str, source: _Source, options: PushOptions) -> None:
        for item in source.scanned.values():
            if item.entry.kind == "file":
                check_source(item)
        meta = Meta(
            pushed=push.started,
            layout=source.layout,
            is_directory=not source.manifest.single,
            hash=source.manifest.content_hash,
            manifest=source.manifest,
            push=push.id,
            listed=options.get("listed", True),
            message=options.get("message"),
            who=self._who,
            parent=options.get("parent"),
            labels=dict(options.get("labels") or {}),
            inputs=tuple(options.get("inputs") or ()),
        )
        self._catalog.publish(push, version, meta)

    def _list(self, name: str, version: str, push: OpenPush, adopted: list[str]) -> None:
        self._catalog.enlist(name, [*adopted, version])
        if self._catalog.published(name, version).id != push.id:
            raise ConflictError(
                f"another program wrote over {name}:{version} at the same moment",
                subject=f"{name}:{version}",
                hint="push again: it gets another number",
            )

    def _set_alias(self, name: str, version: str, options: PushOptions) -> None:
        alias = options.get("alias")
        if alias and not options.get("dry_run"):
            self._catalog.set_aliases(name, {alias: version})


def _check_options(name: str, options: PushOptions) -> None:
    check_readable(name)
    for key in ("version", "initial", "major", "parent"):
        value = options.get(key)
        if isinstance(value, str):
            check_text(value)
    if options.get("version") and (options.get("major") or options.get("new_major") or options.get("initial")):
        raise UsageError("a version given with --version leaves no room for a major or --initial")
    if options.get("new_major") and options.get("major"):
        raise UsageError("--major starts a new major; it cannot be combined with NAME:MAJOR")
    initial = options.get("initial")
    if initial and not _is_full(initial):
        raise InvalidVersionError(f"{initial!r} is no full version", subject=initial)
    alias = options.get("alias")
    if alias:
        check_alias(alias)


def check_alias(alias: str) -> str:
    """The alias, if it is one: it starts with a letter and reads as no version (design §2).

    Raises:
        UsageError: it does not.
    """
    check_text(alias)
    if not alias[0].isalpha() or any(
        scheme.is_full(alias) or scheme.is_partial(alias) for scheme in all_schemes().values()
    ):
        raise UsageError(
            f"invalid alias {alias!r}: it must start with a letter and not read as a version", subject=alias
        )
    return alias


def _whole_already(
    own: str | None, adopted: dict[str, Published], known: Listed, source: _Source, options: PushOptions
) -> str | None:
    """A whole version that this push need only list: what an earlier run of it made, or else equal content, if it is the newest.

    An explicit wish is fulfilled once; without one, a push that returns has made its content the newest.
    """
    same = {v for v, published in adopted.items() if published.meta.hash == source.manifest.content_hash}
    explicit = options.get("version")
    if explicit:
        return explicit if explicit == own or explicit in same else None
    newest = known.newest(options.get("major"))
    if options.get("new_major") or options.get("only") == "new":
        first = newest if options.get("only") == "new" and set(known.versions) == same & {newest} else None
        return own or first
    return newest if newest == own or (newest in same and options.get("unchanged", True)) else None


def _is_resumable(version: str, known: Listed, taken: Taken, record: AssetRecord) -> bool:
    """Whether a number that an earlier run was about to claim may be used: nobody wrote under it without a claim."""
    if version in taken.metas or version in known.versions or version in record.tombstones:
        return False
    return version in taken.claims or version not in taken.data


def _is_full(version: str) -> bool:
    return any(scheme.is_full(version) for scheme in all_schemes().values())


def _pushed(name: str, version: str, source: _Source, *, created: bool, layout: str | None = None) -> Pushed:
    manifest = source.manifest
    return Pushed(
        name=name,
        version=version,
        spec=f"{name}:{version}",
        created=created,
        hash=manifest.content_hash or "",
        layout=layout or source.layout,
        files=len(manifest.files),
        bytes=manifest.size,
    )
