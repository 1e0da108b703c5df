"""The catalog of a project on a server: one request a verb. What is promised is the server's to keep, in the order of design §3.

Every write may be asked for twice and does nothing new then: a push, a claim, a meta and a list are known by the push's id.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from holdfast.catalog.base import Listed, OpenPush, Published, Taken, beside_the_bucket
from holdfast.errors import ConflictError, NotFoundError, UnsupportedError, UsageError, VersionNotFoundError
from holdfast.formats import layout
from holdfast.formats.api import (
    BATCH,
    AliasesRequest,
    AssetsReply,
    ConfigureRequest,
    EnlistRequest,
    ListedReply,
    MetaReply,
    NamesReply,
    NumberRequest,
    PublishRequest,
    PushReply,
    PushRequest,
    ResolveReply,
    StoreReply,
    TakenReply,
    VersionsRequest,
)
from holdfast.formats.convention import decode_meta, encode_meta
from holdfast.formats.records import AssetRecord, Claim, moment, stamp
from holdfast.model.result import AssetSummary
from holdfast.model.version import scheme_named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from holdfast.catalog.base import Clock
    from holdfast.formats.api import AssetRow, Grant
    from holdfast.formats.convention import Meta
    from holdfast.formats.records import StoreRecord
    from holdfast.model.version import VersionScheme
    from holdfast.remote import Remote

__all__ = ["RemoteCatalog"]

#: A push is renewed when it was last so long ago, or at a twentieth of its limit.
_RENEW: Final = timedelta(minutes=10)


class RemoteCatalog:
    """A :class:`holdfast.catalog.base.Catalog`, and :class:`~holdfast.catalog.base.Distant`, of a project on a server.

    ``offer`` is told the grants that come with an answer, by the server's clock. ``scheme`` is that of new assets, None for what
    the store says.
    """

    def __init__(
        self,
        remote: Remote,
        clock: Clock,
        scheme: VersionScheme | None = None,
        offer: Callable[[Sequence[Grant], float], None] | None = None,
    ) -> None:
        self._remote = remote
        self._clock = clock
        self._scheme = scheme
        self._offer = offer

    # reading

    def resolve(self, spec: str) -> tuple[str, Published]:
        """One request, which brings what a fetch begins with."""
        query = {"spec": spec, "grants": self._offer is not None}
        found = self._remote.ask("GET", "resolve", ResolveReply, query=query)
        if self._offer is not None:
            self._offer(found.grants, found.now)
        return found.version, _published(found.name, found.version, found.id, found.data)

    def summaries(self, pattern: str | None) -> Iterator[AssetSummary]:
        """Page by page."""
        for page in self._pages("assets", AssetsReply, {"pattern": pattern}):
            yield from map(_summary, page.assets)

    def names(self, run: Callable[..., Iterable[object]] = map) -> Iterator[str]:
        """Page by page; there is nothing to ask for side by side."""
        del run
        for page in self._pages("names", NamesReply, {}):
            yield from page.names

    def _pages(self, route: str, reply: type[Any], query: Mapping[str, object]) -> Iterator[Any]:
        after: str | None = None
        while True:
            page = self._remote.ask("GET", route, reply, query={**query, "after": after, "limit": BATCH})
            yield page
            if page.next is None or page.next == after:
                return
            after = page.next

    def listed(self, name: str) -> Listed:
        """As the server reads it."""
        found = _listed(self._remote.ask("GET", "listed", ListedReply, query={"name": name}))
        return found if found.token is not None or self._scheme is None else replace(found, scheme=self._scheme)

    def record(self, name: str) -> AssetRecord:
        """As it lies in the store."""
        return self._remote.ask("GET", "record", AssetRecord, query={"name": name})

    def published(self, name: str, version: str) -> Published:
        """The meta of a version."""
        try:
            found = self._remote.ask("GET", "meta", MetaReply, query={"name": name, "version": version})
        except NotFoundError as error:
            spec = f"{name}:{version}"
            raise VersionNotFoundError(error.message, subject=spec, hint=error.hint) from error
        return _published(name, version, found.id, found.data)

    def is_removed(self, name: str, version: str, record: AssetRecord) -> bool:
        """Asks for the meta only where there is a tombstone."""
        tombstone = record.tombstones.get(version)
        if tombstone is None:
            return False
        try:
            return self.published(name, version).id == tombstone.meta
        except VersionNotFoundError:
            return True

    def taken(self, name: str) -> Taken:
        """One request."""
        found = self._remote.ask("GET", "taken", TakenReply, query={"name": name})
        return Taken(frozenset(found.metas), frozenset(found.data), frozenset(found.claims))

    def written(self, name: str) -> dict[str, float]:
        """One request."""
        return self._remote.ask("GET", "written", dict[str, float], query={"name": name})

    def claim_of(self, name: str, version: str) -> Claim | None:
        """The claim on a number, or None."""
        try:
            return self._remote.ask("GET", "claim", Claim, query={"name": name, "version": version})
        except NotFoundError:
            return None

    # the store's record

    def store_record(self, *, create: bool = False) -> StoreRecord | None:
        """The store's record; the server makes it where it is absent."""
        return self._remote.ask("POST" if create else "GET", "store", StoreReply).record

    def store_now(self) -> datetime:
        """The server's clock, which is what it measures ages by."""
        return datetime.fromtimestamp(self._remote.ask("GET", "store", StoreReply).now, UTC)

    def configure(self, key: str, value: str | None) -> StoreRecord:
        """For admins of the project."""
        record = self._remote.ask("POST", "configure", StoreReply, body=ConfigureRequest(key, value)).record
        if record is None:
            raise ConflictError("the store's record is gone", subject=self._remote.url)
        return record

    # pushing

    def open_push(self, name: str, push_id: str, started: datetime) -> OpenPush:
        """The server writes the record, and says what the limit is."""
        body = PushRequest(push_id, name, stamp(started))
        found = self._remote.ask("POST", "pushes", PushReply, body=body)
        self._remote.pushes.opened(push_id)
        return OpenPush(push_id, name, moment(found.started, push_id), self._clock.now(), found.limit)

    def renew(self, push: OpenPush) -> None:
        """A request when the last one is ten minutes old; a push past its limit stops itself."""
        now = self._clock.now()
        if (now - push.started).total_seconds() > push.limit:
            raise ConflictError(
                f"the push of {push.name} is past the store's limit of {push.limit:.0f} s",
                subject=push.name,
                hint="raise it with: asset config set --store-wide push_limit SECONDS",
            )
        if now - push.renewed > min(_RENEW, timedelta(seconds=push.limit / 20)):
            push.renewed = now
            self._push(push, "renew")

    def close_push(self, push: OpenPush) -> None:
        """Say that the push has ended."""
        self._push(push, "close")

    def _push(self, push: OpenPush, verb: str) -> None:
        body = PushRequest(push.id, push.name, stamp(push.started))
        self._remote.ask("POST", f"pushes/{push.id}/{verb}", PushReply, body=body)

    def claim(self, push: OpenPush, version: str) -> None:
        """Take the number; asked twice, it is this push's all the same."""
        self._number(push, version, "claim")
        self._remote.pushes.claimed(layout.data_key(push.name, version), push.id)

    def check_claim(self, push: OpenPush, version: str) -> None:
        """The server re-reads the claim."""
        self._number(push, version, "check")

    def withdraw(self, push: OpenPush, version: str) -> None:
        """A final tombstone on what this push published."""
        self._number(push, version, "withdraw")

    def _number(self, push: OpenPush, version: str, verb: str) -> None:
        body = NumberRequest(push.name, version)
        self._remote.ask("POST", f"pushes/{push.id}/{verb}", type(None), body=body)

    def publish(self, push: OpenPush, version: str, meta: Meta) -> Published:
        """The commit: the server looks for every object, then writes the meta. A parent that is not the newest is a conflict.

        What is copied from elsewhere keeps the parent that it had there, which says nothing of this store.
        """
        parent = meta.parent if meta.pushed == push.started else None
        body = PublishRequest(push.name, version, encode_meta(meta), parent)
        found = self._remote.ask("POST", f"pushes/{push.id}/publish", MetaReply, body=body)
        return _published(push.name, version, found.id, found.data)

    # the list and the record

    def enlist(self, name: str, versions: Sequence[str], *, rebuild: bool = False) -> Listed:
        """Whole versions into the list; to rebuild one that cannot be read needs the bucket itself."""
        if rebuild:
            beside_the_bucket(self, self._remote.url, "repair")
        body = EnlistRequest(name, list(versions))
        return _listed(self._remote.ask("POST", "enlist", ListedReply, body=body))

    def set_aliases(self, name: str, changes: Mapping[str, str | None]) -> AssetRecord:
        """Set or remove aliases."""
        return self._remote.ask("POST", "aliases", AssetRecord, body=AliasesRequest(name, dict(changes)))

    def remove(self, name: str, versions: Sequence[str]) -> None:
        """Tombstones, then the list, both by the server."""
        self._remote.ask("POST", "remove", AssetRecord, body=VersionsRequest(name, list(versions)))

    def restore(self, name: str, version: str) -> None:
        """Within the undo window, by the server's clock."""
        self._remote.ask("POST", "restore", AssetRecord, body=VersionsRequest(name, [version]))

    def change_record(self, name: str, change: Callable[[AssetRecord], AssetRecord]) -> AssetRecord:
        """Refused: a function does not travel. Who needs it maintains a store, and does that beside the bucket."""
        del name, change
        raise UnsupportedError(
            f"cannot change a record of {self._remote.url} through the server in any other way than by its verbs",
            subject=self._remote.url,
            hint="with credentials for its bucket: --store s3://BUCKET/PREFIX (asset project list tells its URL)",
        )


def _listed(reply: ListedReply) -> Listed:
    try:
        scheme = scheme_named(reply.scheme)
    except UsageError as error:
        hint = "install what registers that scheme on this machine, too"
        raise UsageError(error.message, subject=error.subject, hint=hint) from error
    return Listed(tuple(reply.versions), tuple(reply.unknown), scheme, reply.token, reply.merged)


def _published(name: str, version: str, meta_id: str, data: bytes) -> Published:
    return Published(decode_meta(data, layout.meta_key(name, version)), meta_id, data)


def _summary(row: AssetRow) -> AssetSummary:
    return AssetSummary(row.name, row.latest, row.versions, dict(row.aliases), row.bytes, row.problem)
