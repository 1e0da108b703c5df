"""Pushing: scan, hash, claim, write, publish, list, in the order of design §3.

This module reads the source and judges what is to be done; what makes the version is :mod:`holdfast.commit`. Which number a push gets
is decided in :mod:`holdfast.numbering`; bytes are sent by :mod:`holdfast.transfer`.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from holdfast.cache.journal import Journal
from holdfast.cache.tree import check_readable, scan
from holdfast.commit import Commit, Desk, held, pushed
from holdfast.errors import HoldfastError, IntegrityError, UsageError, VersionNotFoundError
from holdfast.failpoint import reach
from holdfast.formats import layout as keys
from holdfast.freshness import is_doubtful
from holdfast.model.manifest import Manifest
from holdfast.numbering import Situation, check_options, is_judged
from holdfast.packed import KnownSource, Packer
from holdfast.source import ListedSource
from holdfast.transfer.plan import check_tree_names, choose_layout
from holdfast.unfinished import closed_if_unfinished

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from holdfast.catalog.base import Catalog, Clock, Listed, OpenPush
    from holdfast.formats.convention import Meta
    from holdfast.formats.records import AssetRecord
    from holdfast.model.result import Pushed, PushOptions
    from holdfast.packed import Scan
    from holdfast.source import Judged, Source
    from holdfast.store.base import Store
    from holdfast.transfer.engine import Engine

__all__ = ["READ_ONCE", "Publisher"]

#: From so many bytes on, files are hashed while they are sent, where nothing is to be compared before: reading them twice is what takes
#: time. Less is hashed first, so that a killed push goes on by its content, whoever wrote the files anew meanwhile.
READ_ONCE: Final = 64 * 1024 * 1024


class Publisher:
    """Pushes sources into one store through one catalog.

    ``state`` is the folder of the journal and of archives in the making, ``place`` the store's URL and endpoint. ``origin`` is
    what a version that is copied from elsewhere was there: its date, author and parent are kept. ``claimed`` is told each number that the
    push claims, with the content hash, before there can be a version of it.
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
        claimed: Callable[[str, str], None] | None = None,
    ) -> None:
        self.store = store
        self.catalog = catalog
        self.engine = engine
        self.clock = clock
        self.state = state
        self._place = place
        self.desk = Desk(store, catalog, clock, who, origin, claimed)
        self.packer = Packer(store, catalog, engine, clock, state=state, place=place)

    def push(self, source: Path, name: str, options: PushOptions) -> Pushed:
        """See :meth:`holdfast.repository.Repository.push`."""
        begun = time.monotonic()
        check_options(name, options)
        _refuse_special(source)
        layout = self._layout(source, options)
        if options.get("beside") and layout != "packs":
            raise UsageError(f"directories from elsewhere go into packs only, not into {layout}", subject=name)
        if layout == "packs":
            result = self._push_packs(self._scan(source, name, options), name, options)
        else:
            result = self._push(self._listed_source(source, name, layout, options), name, options)
        return replace(result, seconds=round(time.monotonic() - begun, 3))

    def push_scanned(self, scan: Scan, name: str, options: PushOptions) -> Pushed:
        """A folder whose stats somebody else took, as the next version in layout packs."""
        begun = time.monotonic()
        check_options(name, options)
        result = self._push_packs(scan, name, options)
        return replace(result, seconds=round(time.monotonic() - begun, 3))

    def _scan(self, source: Path, name: str, options: PushOptions) -> Scan:
        exclude, follow = tuple(options.get("exclude", ())), options.get("follow_links", False)
        return self.packer.scan(source, name, exclude=exclude, follow_links=follow, beside=options.get("beside"))

    def publish(self, source: Source, name: str, options: PushOptions, opened: OpenPush | None = None) -> Pushed:
        """A version of what was read already, somewhere else: a copy. ``opened`` is its push's record, if there is one."""
        check_options(name, options)
        return self._push(source, name, options, opened)

    def check_number(self, name: str, options: PushOptions) -> None:
        """Refuse what a push under a number of the caller's choice refuses before it writes; a claim may be its own, of a killed try.

        Raises:
            HoldfastError: as :meth:`push`.
        """
        check_options(name, options)
        situation = self._situation(name, self.catalog.listed(name), self.catalog.record(name))
        situation.check_exists(options)
        situation.check_explicit(str(options["version"]))

    def list_whole(self, name: str, version: str) -> None:
        """List a version that a killed push of ours left whole, with others like it, unless it may lack something by now."""
        situation = self._situation(name, self.catalog.listed(name), self.catalog.record(name))
        if version in situation.adopted:
            self.catalog.enlist(name, [*situation.adopted])

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

    def _push_packs(self, scan: Scan, name: str, options: PushOptions) -> Pushed:
        """Layout packs: an unchanged folder is found so by its stats; else its chunks are sent before a number is claimed."""
        listed, record = self.engine.both(lambda: self.catalog.listed(name), lambda: self.catalog.record(name))
        same = scan.same
        if same is not None:
            result = self._unchanged(name, KnownSource(same), listed, record, options)
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
        self.desk.check_store()
        self.catalog.store_record(create=True)
        opened = self.catalog.open_push(name, secrets.token_hex(16), self.clock.now())
        reach("push.opened")
        with closed_if_unfinished(self.catalog, self.engine, [opened]):
            packed = self.packer.pack(scan, name, newest, alive=lambda: self.catalog.renew(opened))
        reach("push.packed")
        if not packed.files and not scan.walked.tables[""].names:
            self.engine.progress.warn(f"{scan.walked.root} holds nothing that is pushed: the version will be empty")
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

    def _listed_source(self, source: Path, name: str, layout: str, options: PushOptions) -> Source:
        found = scan(source, exclude=options.get("exclude", ()), follow_links=options.get("follow_links", False))
        manifest = Manifest.of([item.entry for item in found], single=source.is_file())
        if not manifest.entries:
            self.engine.progress.warn(f"{source} holds nothing that is pushed: the version will be empty")
        if layout == "tree":
            check_tree_names(manifest, keys.data_key(name, "x" * 20))
        scanned = {item.entry.path: item for item in found}
        listed = ListedSource(manifest, scanned, layout, self.store, self.engine, self.state / "archives")
        listed.by_stamps = layout in ("file", "tree") and listed.size >= READ_ONCE
        if not listed.by_stamps:
            listed.read()
        else:  # nothing is written before every file is known to be readable
            for item in found:
                check_readable(item)
        return listed

    def _unchanged(
        self, name: str, source: Judged, listed: Listed, record: AssetRecord, options: PushOptions
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
        if meta.hash is None or meta.files not in (None, source.files) or meta.size not in (None, source.size):
            return None  # which needs no file to be read
        if meta.hash != source.content_hash:
            return None
        if options.get("alias") and not options.get("dry_run"):
            self.catalog.set_aliases(name, {str(options["alias"]): newest})
        source.unchanged(name, newest, meta.root)
        return pushed(name, newest, source, layout=meta.layout, created=False)

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
        if meta.push is None or not meta.listed or self._is_doubtful(name, version, meta):
            return "", None
        return version, meta.hash

    def _is_doubtful(self, name: str, version: str, meta: Meta) -> bool:
        """Whether an unlisted version, which nobody relied on yet, may lack something that was collected."""
        if meta.root is None:
            return False
        try:
            root, _ = self.packer.manifests.root(name, version, meta.root)
        except IntegrityError as error:
            self.engine.progress.warn(f"{name}:{version} is left unlisted: {error.message}")
            return True
        return is_doubtful(self.store, root.packs, root.objects)

    def _dry_run(self, source: Source, situation: Situation, options: PushOptions) -> Pushed:
        situation.check_exists(options)
        situation.check_parent(options)
        version = options.get("version")
        if version and situation.check_explicit(version):
            raise held(self.catalog, situation.name, version)
        return pushed(situation.name, version or situation.next(options, self.clock.now()), source, created=True)

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
        identity = (self._place, name, source.layout, source.identity, wish)
        with Journal(self.state / "journal", *identity) as journal:
            commit = Commit(self.desk, source, self._situation(name, listed, record), journal, options, opened)
            with closed_if_unfinished(self.catalog, self.engine, commit.pushes):
                return commit.run()


def _refuse_special(source: Path) -> None:
    if source.exists() and not (source.is_file() or source.is_dir()):
        raise UsageError(f"'{source}' is a device, fifo or socket, which an asset cannot hold", subject=str(source))
