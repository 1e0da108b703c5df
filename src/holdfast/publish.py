"""Pushing: scan, hash, claim, write, publish, list, in the order of design §3.

A push may be killed at any line. Before the meta it leaves a claim, under which the same push, run again on this machine, goes
on; after the meta a whole version, which the same push, the next push or ``repair`` lists. Which number a push gets is decided in
:mod:`holdfast.numbering`; bytes are sent by :mod:`holdfast.transfer.upload`.
"""

from __future__ import annotations

import os
import secrets
import time
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from holdfast.cache.journal import Journal, JournalEntry
from holdfast.cache.tree import hash_file, scan
from holdfast.catalog.base import OpenPush
from holdfast.errors import (
    AlreadyExistsError,
    ConflictError,
    HoldfastError,
    IntegrityError,
    UnsupportedError,
    VersionNotFoundError,
)
from holdfast.failpoint import reach
from holdfast.formats import layout as keys
from holdfast.formats.convention import Meta
from holdfast.model.manifest import Manifest
from holdfast.model.result import Pushed, PushOptions
from holdfast.numbering import Situation, check_options, is_judged
from holdfast.packed import KnownSource, Packer
from holdfast.source import ListedSource
from holdfast.transfer.plan import check_tree_names, choose_layout

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.catalog.base import Catalog, Clock, Listed
    from holdfast.formats.records import AssetRecord
    from holdfast.source import Source
    from holdfast.store.base import Store
    from holdfast.transfer.engine import Engine

__all__ = ["Publisher"]

#: A claim journalled longer ago than this part of the store's limit is not gone on with.
_RESUME_WITHIN: Final = 0.5


class Publisher:
    """Pushes sources into one store through one catalog.

    ``state`` is the folder of the journal and of archives in the making, ``place`` the store's URL and endpoint. ``origin`` is
    what a version that is copied from elsewhere was there: its date, author and parent are kept.
    """

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        engine: Engine,
        clock: Clock,
        *,
        who: str,
        state: Path,
        place: str,
        origin: Meta | None = None,
    ) -> None:
        self.store = store
        self.catalog = catalog
        self.engine = engine
        self.clock = clock
        self.who = who
        self.state = state
        self._place = place
        self.origin = origin
        self.packer = Packer(store, catalog, engine, state=state, place=place)

    def push(self, source: Path, name: str, options: PushOptions) -> Pushed:
        """See :meth:`holdfast.repository.Repository.push`."""
        begun = time.monotonic()
        check_options(name, options)
        layout = self._layout(source, options)
        result = self._push_packs(source, name, options) if layout == "packs" else None
        if result is None:
            result = self._push(self._listed_source(source, name, layout, options), name, options)
        return replace(result, seconds=round(time.monotonic() - begun, 3))

    def publish(self, source: Source, name: str, options: PushOptions, opened: OpenPush | None = None) -> Pushed:
        """A version of what was read already, somewhere else: a copy. ``opened`` is its push's record, if there is one."""
        check_options(name, options)
        return self._push(source, name, options, opened)

    def _layout(self, source: Path, options: PushOptions) -> str:
        single, asked = source.is_file(), options.get("layout")
        default = None
        if not single and asked is None:
            record = self.catalog.store_record()
            if record is not None:
                default = record.layout or ("tree" if record.origin == "modelkit" else "packs")
            elif any(self.catalog.names()):
                default = "tree"  # modelkit's store, which our first push will say of it
        return choose_layout(single=single, asked=asked, default=default)

    def _push(self, prepared: Source, name: str, options: PushOptions, opened: OpenPush | None = None) -> Pushed:
        """What is left once the source was read: judge it, or make a version of it."""
        reach("push.scanned")
        listed, record = self.engine.both(lambda: self.catalog.listed(name), lambda: self.catalog.record(name))
        result = self._unchanged(name, prepared, listed, record, options)
        if result is None and options.get("dry_run"):
            result = self._dry_run(prepared, self._situation(name, listed, record), options)
        if result is None:
            return self._push_new(name, prepared, listed, record, options, opened)
        if opened is not None:
            self.catalog.close_push(opened)
        return result

    def _push_packs(self, source: Path, name: str, options: PushOptions) -> Pushed:
        """Layout packs: an unchanged folder is found so by its stats; else its chunks are sent before a number is claimed."""
        exclude, follow = tuple(options.get("exclude", ())), options.get("follow_links", False)
        scan = self.packer.scan(source, name, exclude=exclude, follow_links=follow)
        listed, record = self.engine.both(lambda: self.catalog.listed(name), lambda: self.catalog.record(name))
        if scan.same is not None:
            known = KnownSource(scan.same)
            result = self._unchanged(name, known, listed, record, options)
            if result is not None:
                return result
        newest = listed.newest(options.get("major"))
        if newest is not None and self.catalog.is_removed(name, newest, record):
            newest = None
        if options.get("dry_run") or not self._may_push(name, listed, record, options):
            # Whether it is refused, or was whole already, depends on the hash: nothing is written to find that out.
            packed = self.packer.pack(scan, name, newest, alive=lambda: None, dry=True)
            with packed:
                return self._push(packed, name, options)
        self.check_store()
        self.catalog.store_record(create=True)
        opened = self.catalog.open_push(name, secrets.token_hex(16), self.clock.now())
        reach("push.opened")
        packed = self.packer.pack(scan, name, newest, alive=lambda: self.catalog.renew(opened))
        reach("push.packed")
        if not packed.files and not scan.walked.tables[""].names:
            self.engine.progress.warn(f"{source} holds nothing that is pushed: the version will be empty")
        with packed:
            return self._push(packed, name, options, opened)

    def _may_push(self, name: str, listed: Listed, record: AssetRecord, options: PushOptions) -> bool:
        """Whether nothing that is known before the content stands against a new version."""
        situation = self._situation(name, listed, record)
        try:
            situation.check_exists(options)
            situation.check_parent(options)
            version = options.get("version")
            if version:
                return not situation.check_explicit(version)
            situation.next(options, self.clock.now())
        except HoldfastError:
            return False
        return True

    def check_store(self) -> None:
        """UnsupportedError where the store has no conditional writes."""
        store = self.store
        promises = store.promises()
        if not (promises.create and promises.replace):
            raise UnsupportedError(
                f"cannot push to {store.url}: {promises.reason or 'it has no conditional writes'}",
                subject=store.url,
                hint="without them two pushes can overwrite each other: push through a Holdfast server, or to a store that has them",
            )

    def _listed_source(self, source: Path, name: str, layout: str, options: PushOptions) -> Source:
        found = scan(source, exclude=options.get("exclude", ()), follow_links=options.get("follow_links", False))
        files = [item for item in found if item.entry.kind == "file"]
        self.engine.progress.start("hash", sum(item.entry.size for item in files), len(files))
        try:
            # Hashing small files is work for cores, not for waiting: more threads than cores get into each other's way.
            hashed = self.engine.run(
                lambda item: hash_file(item, self.engine.progress.advance), files, at_once=os.cpu_count()
            )
        finally:
            self.engine.progress.finish()
        others = [item.entry for item in found if item.entry.kind != "file"]
        manifest = Manifest.of([*hashed, *others], single=source.is_file())
        if not manifest.entries:
            self.engine.progress.warn(f"{source} holds nothing that is pushed: the version will be empty")
        if layout == "tree":
            check_tree_names(manifest, keys.data_key(name, "x" * 20))
        scanned = {item.entry.path: item for item in found}
        return ListedSource(manifest, scanned, layout, self.store, self.engine, self.state / "archives")

    def _unchanged(
        self, name: str, source: Source, listed: Listed, record: AssetRecord, options: PushOptions
    ) -> Pushed | None:
        """Design §3 'Unchanged': judged once, before the claim; an alias given is still set."""
        newest = listed.newest(options.get("major"))
        if not is_judged(options) or newest is None or self.catalog.is_removed(name, newest, record):
            return None
        try:
            meta = self.catalog.published(name, newest).meta
        except VersionNotFoundError:
            return None
        except IntegrityError as error:  # a later release's, or damaged: no reason to refuse the next version
            self.engine.progress.warn(f"{name}:{newest} cannot be compared: {error.message}")
            return None
        if meta.hash is None or meta.hash != source.content_hash:
            return None
        if options.get("alias") and not options.get("dry_run"):
            self.catalog.set_aliases(name, {str(options["alias"]): newest})
        source.unchanged(name, newest, meta.root)
        return _pushed(name, newest, source, layout=meta.layout, created=False)

    def _situation(self, name: str, listed: Listed, record: AssetRecord) -> Situation:
        """The asset as it is now, with whole versions of ours that a crash, or another program's list, left unlisted."""
        taken = self.catalog.taken(name)
        unlisted = sorted(taken.metas - set(listed.versions) - set(record.tombstones))
        found = self.engine.run(lambda version: self._unlisted(name, version), filter(listed.scheme.is_full, unlisted))
        return Situation(name, listed, taken, record, {version: hash_ for version, hash_ in found if version})

    def _unlisted(self, name: str, version: str) -> tuple[str, str | None]:
        """A version that is not listed and its hash, if it is ours, whole and meant to be listed; else nothing."""
        try:
            meta = self.catalog.published(name, version).meta
        except (IntegrityError, VersionNotFoundError) as error:
            self.engine.progress.warn(f"{name}:{version} is left unlisted: {error.message}")
            return "", None
        return (version, meta.hash) if meta.push is not None and meta.listed else ("", None)

    def _dry_run(self, source: Source, situation: Situation, options: PushOptions) -> Pushed:
        situation.check_exists(options)
        situation.check_parent(options)
        version = options.get("version")
        if version and situation.check_explicit(version):
            raise held(self.catalog, situation.name, version)
        return _pushed(situation.name, version or situation.next(options, self.clock.now()), source, created=True)

    def _push_new(
        self,
        name: str,
        source: Source,
        listed: Listed,
        record: AssetRecord,
        options: PushOptions,
        opened: OpenPush | None,
    ) -> Pushed:
        wish = "\0".join(str(options.get(key)) for key in ("version", "major", "new_major", "initial", "only"))
        identity = (self._place, name, source.layout, source.content_hash, wish)
        with Journal(self.state / "journal", *identity) as journal:
            return _Push(self, source, self._situation(name, listed, record), journal, options, opened).run()


class _Push:
    """One push that makes a version, or finishes one that a killed run made."""

    def __init__(
        self,
        publisher: Publisher,
        source: Source,
        situation: Situation,
        journal: Journal,
        options: PushOptions,
        opened: OpenPush | None,
    ) -> None:
        self._publisher = publisher
        self._catalog = publisher.catalog
        self._source = source
        self._situation = situation
        self._name = situation.name
        self._journal = journal
        self._earlier = journal.read()
        self._options = options
        self._opened = opened

    def run(self) -> Pushed:
        """Say what cannot be before anything is written; then finish what is whole already, or push."""
        situation, own = self._situation, self._own_whole()
        version = situation.whole_already(own, self._source.content_hash, self._options)
        if version is None or (situation.listed.token is not None and version != own):
            situation.check_exists(self._options)
        if version is None:
            situation.check_parent(self._options)
            if self._earlier is not None and not situation.is_resumable(self._earlier.version):
                self._earlier = None
            if self._earlier is None:
                self._check_number()
        self._publisher.check_store()
        self._catalog.store_record(create=True)
        return self._push() if version is None else self._finish(version, own=own is not None)

    def _own_whole(self) -> str | None:
        """The version that an earlier run of this very push made whole before it was killed."""
        earlier, situation = self._earlier, self._situation
        if earlier is None or earlier.version not in situation.taken.metas:
            return None
        if earlier.version in situation.record.tombstones:
            return None
        return earlier.version if self._catalog.published(self._name, earlier.version).id == earlier.push else None

    def _check_number(self) -> None:
        version = self._options.get("version")
        if not version:
            self._situation.next(self._options, self._publisher.clock.now())
        elif self._situation.check_explicit(version):
            raise held(self._catalog, self._name, version)

    def _finish(self, version: str, *, own: bool) -> Pushed:
        """What is left of a push that was killed when its version was whole."""
        if self._options.get("listed", True):
            self._catalog.enlist(self._name, [*self._situation.adopted, version])
        self._set_alias(version)
        if own and self._earlier is not None:
            now = self._publisher.clock.now()
            self._catalog.close_push(OpenPush(self._earlier.push, self._name, self._earlier.started, now))
        if self._opened is not None:
            self._catalog.close_push(self._opened)
        self._journal.done()
        layout = self._catalog.published(self._name, version).meta.layout
        return _pushed(self._name, version, self._source, layout=layout, created=False)

    def _push(self) -> Pushed:
        """The order of design §3, from the open record to the closed one."""
        source = self._source
        push = self._open()
        reach("push.opened")
        version = self._claim(push)
        reach("push.claimed")
        sent = source.send(self._name, version, lambda: self._catalog.renew(push))
        reach("push.data-written")
        self._catalog.check_claim(push, version)
        reach("push.claim-reread")
        self._catalog.renew(push)
        self._publish(push, version)
        reach("push.meta-written")
        if self._options.get("listed", True):
            self._list(push, version)
        reach("push.listed")
        self._set_alias(version)
        reach("push.aliased")
        self._close(push)
        reach("push.closed")
        source.published(self._name, version)
        self._journal.done()
        pushed = _pushed(self._name, version, source, created=True)
        return replace(pushed, uploaded_bytes=sent.bytes, uploaded_objects=sent.objects)

    def _close(self, push: OpenPush) -> None:
        self._catalog.close_push(push)
        if self._opened is not None and self._opened.id != push.id:
            self._catalog.close_push(self._opened)

    def _open(self) -> OpenPush:
        """The record of this push: of the earlier run that it goes on with, unless that is too old to end within the limit."""
        now = self._publisher.clock.now()
        if self._earlier is not None:
            push = self._catalog.open_push(self._name, self._earlier.push, self._earlier.started)
            if now - self._earlier.started <= timedelta(seconds=push.limit * _RESUME_WITHIN):
                return push
            self._earlier = None
        return self._opened or self._catalog.open_push(self._name, secrets.token_hex(16), now)

    def _claim(self, push: OpenPush) -> str:
        """Take a number: the one claimed by an earlier, killed run; the one asked for; or the next that is free."""
        if self._earlier is not None and self._try_claim(push, self._earlier.version):
            return self._earlier.version
        explicit = self._options.get("version")
        lost: set[str] = set()
        while True:
            version = explicit or self._situation.next(self._options, self._publisher.clock.now(), lost)
            self._journal.write(JournalEntry(push.id, push.started, version))
            reach("push.before-claim")
            if self._try_claim(push, version):
                return version
            if explicit:
                raise held(self._catalog, self._name, version)
            lost.add(version)

    def _try_claim(self, push: OpenPush, version: str) -> bool:
        try:
            self._catalog.claim(push, version)
        except AlreadyExistsError:
            return False
        return True

    def _publish(self, push: OpenPush, version: str) -> None:
        source, options = self._source, self._options
        source.check()
        meta = Meta(
            pushed=push.started,
            layout=source.layout,
            is_directory=source.is_directory,
            hash=source.content_hash,
            manifest=source.manifest,
            root=source.root,
            files=source.files,
            size=source.size,
            push=push.id,
            listed=options.get("listed", True),
            message=options.get("message"),
            who=self._publisher.who,
            parent=options.get("parent"),
            labels=dict(options.get("labels") or {}),
            inputs=tuple(options.get("inputs") or ()),
        )
        origin = self._publisher.origin
        if origin is not None:
            meta = replace(meta, pushed=origin.pushed, who=origin.who, parent=origin.parent)
        self._catalog.publish(push, version, meta)

    def _list(self, push: OpenPush, version: str) -> None:
        spec = f"{self._name}:{version}"
        self._catalog.enlist(self._name, [*self._situation.adopted, version])
        if self._catalog.published(self._name, version).id != push.id:
            raise ConflictError(
                f"another program wrote over {spec} at the same moment",
                subject=spec,
                hint="push again: it gets another number",
            )

    def _set_alias(self, version: str) -> None:
        alias = self._options.get("alias")
        if alias:
            self._catalog.set_aliases(self._name, {alias: version})


def held(catalog: Catalog, name: str, version: str) -> AlreadyExistsError:
    """The error for a number under another push's claim: who, since when, and what frees it."""
    claim = catalog.claim_of(name, version)
    who = f"{claim.who} since {claim.at}" if claim else "another push"
    return AlreadyExistsError(
        f"{name}:{version} is claimed by {who}, and not finished",
        subject=f"{name}:{version}",
        hint=f"wait for it; once its push has expired, free the number with: asset repair {name}",
    )


def _pushed(name: str, version: str, source: Source, *, created: bool, layout: str | None = None) -> Pushed:
    return Pushed(
        name=name,
        version=version,
        spec=f"{name}:{version}",
        created=created,
        hash=source.content_hash,
        layout=layout or source.layout,
        files=source.files,
        bytes=source.size,
    )
