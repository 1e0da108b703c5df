"""One push from its claim to its list, in the order of design §3; or what is left of one that a killed run made whole.

Killed or interrupted before the meta, it leaves a claim, under which the same push, run again on this machine, goes on; after the meta, a whole
version, which the same push, the next push or ``repair`` lists.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from holdfast.cache.journal import JournalEntry
from holdfast.catalog.base import OpenPush
from holdfast.errors import AlreadyExistsError, ConflictError, UnsupportedError
from holdfast.failpoint import reach
from holdfast.formats.convention import Meta
from holdfast.freshness import Freshness, stands
from holdfast.model.result import Pushed
from holdfast.store.base import Settles

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from holdfast.cache.journal import Journal
    from holdfast.catalog.base import Catalog, Clock
    from holdfast.model.result import PushOptions
    from holdfast.numbering import Situation
    from holdfast.source import Judged, Source
    from holdfast.store.base import Store
    from holdfast.transfer.upload import Sent

__all__ = ["Commit", "Desk", "held", "pushed"]

#: A claim journalled longer ago than this part of the store's limit is not gone on with.
_RESUME_WITHIN: Final = 0.5
#: So often a version may be withdrawn for being late before the push gives up.
_WITHDRAWN: Final = 3


@dataclass(frozen=True, slots=True)
class Desk:
    """What a push writes with. ``origin`` is what a version copied from elsewhere was there: its date, author and parent are kept.

    ``claimed`` is told of each number that is claimed, and of the content hash, before there can be a version of it.
    """

    store: Store
    catalog: Catalog
    clock: Clock
    who: str
    origin: Meta | None = None
    claimed: Callable[[str, str], None] | None = None

    def freshness(self, push: OpenPush) -> Freshness:
        """How long this push may rely on what it read of condemned lists."""
        record = self.catalog.store_record()
        return Freshness(grace=record.grace if record else 0, limit=push.limit, clock=self.clock.since_boot)

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


class Commit:
    """One push that makes a version, or finishes one that a killed run made."""

    def __init__(
        self,
        desk: Desk,
        source: Source,
        situation: Situation,
        journal: Journal,
        options: PushOptions,
        opened: OpenPush | None,
    ) -> None:
        self._desk = desk
        self._catalog = desk.catalog
        self._source = source
        self._situation = situation
        self._name = situation.name
        self._journal = journal
        self._earlier = journal.read()
        self._options = options
        self._opened = opened
        self._withdrawn: set[str] = set()
        #: Records to close should this one not come to its end: none once its meta is on the way, which may arrive whatever is said.
        self.pushes = [] if opened is None else [opened]

    def run(self) -> Pushed:
        """Say what cannot be before anything is written; then finish what is whole already, or push."""
        situation, own = self._situation, self._own_whole()
        # Hashes are compared where there is something to compare with: else a file is read once, while it is sent.
        content_hash = self._source.content_hash if situation.adopted else None
        version = situation.whole_already(own, content_hash, self._options)
        if version is None or (situation.listed.token is not None and version != own):
            situation.check_exists(self._options)
        if version is None:
            situation.check_parent(self._options)
            if self._earlier is not None and not situation.is_resumable(self._earlier.version):
                self._earlier = None
            if self._earlier is None:
                self._check_number()
        self._desk.check_store()
        self._catalog.store_record(create=True)
        return self._push() if version is None else self._finish(version, own=own is not None)

    def _own_whole(self) -> str | None:
        """The version that an earlier run of this very push made whole before it was killed."""
        earlier, situation = self._earlier, self._situation
        if earlier is None or earlier.version not in situation.taken.metas:
            return None
        if earlier.version in situation.record.tombstones:
            return None
        published = self._catalog.published(self._name, earlier.version)
        is_same = published.id == earlier.push and published.meta.hash == self._source.content_hash
        return earlier.version if is_same else None

    def _check_number(self) -> None:
        version = self._options.get("version")
        if not version:
            self._situation.next(self._options, self._desk.clock.now())
        elif self._situation.check_explicit(version):
            raise held(self._catalog, self._name, version)

    def _finish(self, version: str, *, own: bool) -> Pushed:
        """What is left of a push that was killed when its version was whole."""
        if self._options.get("listed", True):
            self._catalog.enlist(self._name, [*self._situation.adopted, version])
        self._set_alias(version)
        if own and self._earlier is not None:
            now = self._desk.clock.now()
            self._catalog.close_push(OpenPush(self._earlier.push, self._name, self._earlier.started, now))
        if self._opened is not None:
            self._catalog.close_push(self._opened)
        self._journal.done()
        layout = self._catalog.published(self._name, version).meta.layout
        return pushed(self._name, version, self._source, layout=layout, created=False)

    def _push(self) -> Pushed:
        """The order of design §3, from the open record to the closed one."""
        source = self._source
        push = self._open()
        reach("push.opened")
        push, version, sent = self._make_whole(push)
        if self._options.get("listed", True):
            self._list(push, version)
        reach("push.listed")
        self._set_alias(version)
        reach("push.aliased")
        self._close(push)
        reach("push.closed")
        source.published(self._name, version)
        self._journal.done()
        result = pushed(self._name, version, source, created=True)
        return replace(result, uploaded_bytes=sent.bytes, uploaded_objects=sent.objects)

    def _make_whole(self, push: OpenPush) -> tuple[OpenPush, str, Sent]:
        """Claim, data, meta; again, as another push, where the meta came so late that what it needs may be collected."""
        catalog, source = self._catalog, self._source
        fresh = self._desk.freshness(push)
        while True:
            version = self._claim(push)
            reach("push.claimed")
            if self._desk.claimed is not None:
                self._desk.claimed(version, source.content_hash)
            fresh.start()
            try:
                sent = source.send(self._name, version, partial(catalog.renew, push))
                self._settle(push)
            except AlreadyExistsError:  # something lies under this number, which is not this push's: it goes to nobody
                self._earlier = None
                self._withdrawn.add(version)
                if self._options.get("version") or len(self._withdrawn) == _WITHDRAWN:
                    raise _taken(self._name, version) from None
                continue
            reach("push.data-written")
            catalog.check_claim(push, version)
            reach("push.claim-reread")
            catalog.renew(push)
            self.pushes.clear()
            self._publish(push, version)
            reach("push.meta-written")
            packs, pages = source.needs
            if not fresh.is_late or stands(self._desk.store, catalog, push, version, packs=packs, pages=pages):
                return push, version, sent
            self._earlier = None
            self._withdrawn.add(version)
            if self._options.get("version") or len(self._withdrawn) == _WITHDRAWN:
                raise ConflictError(
                    f"{self._name}:{version} was published too late for what it needs, which may be collected: it was withdrawn",
                    subject=f"{self._name}:{version}",
                    hint="push again",
                )
            self._close(push)  # it is beyond its limit, in which it could not be renewed
            push = self._opening(secrets.token_hex(16), self._desk.clock.now())
            fresh = self._desk.freshness(push)

    def _settle(self, push: OpenPush) -> None:
        """See that what was sent is in the store, where sending only prepares it."""
        store = self._desk.store
        if isinstance(store, Settles):
            store.settle(partial(self._catalog.renew, push))

    def _close(self, push: OpenPush) -> None:
        self._catalog.close_push(push)
        if self._opened is not None and self._opened.id != push.id:
            self._catalog.close_push(self._opened)

    def _open(self) -> OpenPush:
        """The record of this push: of the earlier run that it goes on with, unless that is too old to end within the limit."""
        now = self._desk.clock.now()
        if self._earlier is not None:
            push = self._opening(self._earlier.push, self._earlier.started)
            if now - self._earlier.started <= timedelta(seconds=push.limit * _RESUME_WITHIN):
                return push
            self._earlier = None
        return self._opened or self._opening(secrets.token_hex(16), now)

    def _opening(self, push_id: str, started: datetime) -> OpenPush:
        push = self._catalog.open_push(self._name, push_id, started)
        self.pushes.append(push)
        return push

    def _claim(self, push: OpenPush) -> str:
        """Take a number: the one claimed by an earlier, killed run; the one asked for; or the next that is free."""
        if self._earlier is not None and self._try_claim(push, self._earlier.version):
            return self._earlier.version
        explicit = self._options.get("version")
        lost = set(self._withdrawn)
        while True:
            version = explicit or self._situation.next(self._options, self._desk.clock.now(), lost)
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
            who=self._desk.who,
            parent=options.get("parent"),
            labels=dict(options.get("labels") or {}),
            inputs=tuple(options.get("inputs") or ()),
        )
        origin = self._desk.origin
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
        hint=f"wait for it; if it was interrupted, or once it has expired, free the number with: asset repair {name}",
    )


def _taken(name: str, version: str) -> AlreadyExistsError:
    """The error for a number under which a push that did not end left other data: that of a killed try, before a file was touched."""
    return AlreadyExistsError(
        f"under {name}:{version} lies what a push that did not end has written, and it is not what is pushed now",
        subject=f"{name}:{version}",
        hint=f"push it under another number; once that push has expired, free this one with: asset repair {name}",
    )


def pushed(name: str, version: str, source: Judged, *, created: bool, layout: str | None = None) -> Pushed:
    """What a push answers of a version with this source's content."""
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
