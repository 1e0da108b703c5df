"""Pushes through the server: whose they are, what they may do, and the commit, which looks for every object before the meta is written.

A push is what its record in the bucket says, so any replica serves any step of it. It belongs to the account that opened it; its
name and start are those of its record. The order of the steps is the client's, as through the bucket door (design §3).
"""

from __future__ import annotations

import re
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from holdfast.catalog.base import OpenPush
from holdfast.catalog.swap import read_or_none
from holdfast.errors import AccessError, ConflictError, IntegrityError, UsageError, VersionNotFoundError
from holdfast.formats import layout
from holdfast.formats.api import MetaReply, PushReply
from holdfast.formats.convention import decode_meta
from holdfast.formats.records import PushRecord, decode, moment, stamp
from holdfast.model.name import check_new, check_readable
from holdfast.model.version import all_schemes, check_text
from holdfast.server.alone import alone
from holdfast.server.presence import check_objects

if TYPE_CHECKING:
    from holdfast.catalog.base import Clock, Published
    from holdfast.formats.api import NumberRequest, PublishRequest, PushRequest
    from holdfast.formats.convention import Meta
    from holdfast.server.access import OpenProject
    from holdfast.server.database import Database
    from holdfast.store.base import Store

__all__ = ["check_claim", "claim", "close", "found", "open_push", "publish", "renew", "withdraw"]

_ID: Final = re.compile(r"[0-9a-f]{32}\Z")
#: A client's clock may be this far ahead of ours.
_AHEAD: Final = timedelta(minutes=5)


def open_push(project: OpenProject, clock: Clock, asked: PushRequest) -> PushReply:
    """Write the record of a push; of one that goes on after a kill, again, if it is the same account's.

    Raises:
        UsageError: an id, a name or a moment that cannot be.
        AccessError: the id is another account's push.
    """
    push_id = _checked_id(asked.id)
    check_readable(asked.name)
    earlier = _record(project.store, push_id)
    if earlier is not None and (earlier.who != project.principal.name or earlier.name != asked.name):
        raise AccessError("not allowed")
    if (
        earlier is None
        and project.catalog.listed(asked.name).token is None
        and not project.catalog.taken(asked.name).metas
    ):
        check_new(asked.name, all_schemes())
    started = _moment(asked.started) if earlier is None else moment(earlier.started, push_id)
    now = clock.now()
    if started > now + _AHEAD:
        raise UsageError("the push began in the future: look at the clock", subject=push_id)
    return _told(project.catalog.open_push(asked.name, push_id, min(started, now)))


def renew(project: OpenProject, push_id: str) -> PushReply:
    """Say that it is alive.

    Raises:
        ConflictError: it is past the store's limit, or was closed.
    """
    push = found(project, push_id)
    project.catalog.renew(push)
    return _told(push)


def close(project: OpenProject, push_id: str) -> PushReply:
    """Say that it has ended, and remove what it staged and nobody took."""
    push = found(project, push_id, closed=True)
    for info in list(project.store.list_level(layout.staged_prefix(push.id)).objects):
        project.store.delete(info.key)
    project.catalog.close_push(push)
    return _told(push)


def claim(project: OpenProject, push_id: str, asked: NumberRequest) -> None:
    """Take the number, create-only.

    Raises:
        AlreadyExistsError: another push has it.
        UsageError: it is no full version.
    """
    push = _of(project, push_id, asked)
    if not any(scheme.is_full(asked.version) for scheme in all_schemes().values()):
        raise UsageError(f"{asked.version!r} is no full version", subject=f"{asked.name}:{asked.version}")
    project.catalog.claim(push, asked.version)


def check_claim(project: OpenProject, push_id: str, asked: NumberRequest) -> None:
    """ConflictError unless the claim is still this push's."""
    project.catalog.check_claim(_of(project, push_id, asked), asked.version)


def withdraw(project: OpenProject, push_id: str, asked: NumberRequest) -> None:
    """Say for ever that this push's own version must not be used.

    Raises:
        ConflictError: the version is not this push's.
    """
    push = found(project, push_id, closed=True)
    _check_number(push, asked)
    if project.catalog.published(asked.name, asked.version).id != push.id:
        raise ConflictError(
            f"{asked.name}:{asked.version} is not of this push", subject=f"{asked.name}:{asked.version}"
        )
    project.catalog.withdraw(push, asked.version)


def publish(project: OpenProject, database: Database, push_id: str, asked: PublishRequest) -> MetaReply:
    """The commit: the meta is written once every object that it promises was found with its size; done again, it is the same.

    Raises:
        ConflictError: the claim is another's; a version newer than the parent is there, which is named; an object is missing, or
            has another size.
        UsageError: the meta is none, or of another push.
    """
    push = found(project, push_id)
    spec = f"{asked.name}:{asked.version}"
    _check_number(push, asked)
    meta = _meta(project, push, asked)
    done = _published(project, asked.name, asked.version)
    if done is not None and done.id == push.id:
        return MetaReply(done.id, done.data)
    project.catalog.check_claim(push, asked.version)
    project.catalog.renew(push)
    check_objects(project.store, asked.name, asked.version, meta)
    with alone(database, project.id, asked.name) if asked.parent is not None else nullcontext():
        if asked.parent is not None:
            _check_parent(project, asked)
        project.catalog.check_claim(push, asked.version)
        written = project.catalog.publish(push, asked.version, meta)
    if written.id != push.id:
        raise ConflictError(f"{spec} is another push's", subject=spec)
    return MetaReply(written.id, written.data)


def found(project: OpenProject, push_id: str, *, closed: bool = False) -> OpenPush:
    """The push by its id, as its record says; only the account that opened it gets it.

    Raises:
        AccessError: there is none such, or it is another account's.
        ConflictError: it was closed, unless ``closed`` is allowed.
    """
    record = _record(project.store, _checked_id(push_id))
    if record is None or record.who != project.principal.name:
        raise AccessError("not allowed")
    if record.closed is not None and not closed:
        raise ConflictError(f"the push of {record.name} has ended", subject=record.name, hint="push again")
    push = OpenPush(record.id, record.name, moment(record.started, push_id), moment(record.renewed, push_id))
    if record.limit is not None:
        push.limit = float(record.limit)
    return push


def _of(project: OpenProject, push_id: str, asked: NumberRequest) -> OpenPush:
    push = found(project, push_id)
    _check_number(push, asked)
    return push


def _check_number(push: OpenPush, asked: NumberRequest | PublishRequest) -> None:
    check_text(asked.version)
    if asked.name != push.name:
        raise UsageError(f"the push is of {push.name}, not of {asked.name}", subject=asked.name)


def _meta(project: OpenProject, push: OpenPush, asked: PublishRequest) -> Meta:
    """The meta that is to be written: who, when and by which push are our word."""
    key = layout.meta_key(asked.name, asked.version)
    try:
        meta = decode_meta(asked.meta, key)
    except IntegrityError as error:
        raise UsageError(error.message, subject=key) from None
    if meta.push != push.id:
        raise UsageError(f"{key} is not of this push", subject=key)
    return replace(meta, who=project.principal.name, pushed=push.started)


def _published(project: OpenProject, name: str, version: str) -> Published | None:
    try:
        return project.catalog.published(name, version)
    except (VersionNotFoundError, IntegrityError):
        return None


def _check_parent(project: OpenProject, asked: PublishRequest) -> None:
    """Nothing newer than the parent may be there, listed or about to be listed."""
    catalog, name, parent = project.catalog, asked.name, asked.parent
    listed, record = catalog.listed(name), catalog.record(name)
    scheme = listed.scheme
    unlisted = [
        version
        for version in catalog.taken(name).metas - set(listed.versions)
        if scheme.is_full(version) and version not in record.tombstones and _is_to_be_listed(project, name, version)
    ]
    alive = [version for version in listed.versions if not catalog.is_removed(name, version, record)]
    newest = max([*alive, *unlisted], key=scheme.sort_key, default=None)
    if newest is None or newest == parent:
        return
    if not scheme.is_full(parent or "") or scheme.sort_key(newest) > scheme.sort_key(parent or ""):
        spec = f"{name}:{newest}"
        hint = "look at what changed in it, and push again with it as the parent"
        raise ConflictError(f"{spec} is newer than the parent {parent}", subject=spec, hint=hint)


def _is_to_be_listed(project: OpenProject, name: str, version: str) -> bool:
    found = _published(project, name, version)
    return found is not None and found.meta.push is not None and found.meta.listed


def _record(store: Store, push_id: str) -> PushRecord | None:
    key = layout.push_key(push_id)
    read = read_or_none(store, key)
    return None if read is None else decode(memoryview(read.data), PushRecord, key)


def _checked_id(push_id: str) -> str:
    if not _ID.match(push_id):
        raise UsageError("the id of a push has 32 hex digits", subject=push_id[:64])
    return push_id


def _moment(text: str) -> datetime:
    try:
        started = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text[:64]!r} is no ISO date", subject="started") from None
    return started if started.tzinfo else started.replace(tzinfo=UTC)


def _told(push: OpenPush) -> PushReply:
    return PushReply(push.id, push.name, stamp(push.started), stamp(push.renewed), push.limit)
