"""The database's copy of the projects' catalogs: an asset's list and record, and the metas of its versions that are not large.

The bucket is the truth, and the copy can be made again from it. Whoever changes an asset through this server, at any replica, brings its
copy up to date before answering. Every row has a revision, a random number that changes with it, and is replaced only by who has seen
the last one *before* reading the bucket: so an older state never comes after a newer one. What is decoded is kept in this
process, for as long as the row has that revision.
"""

from __future__ import annotations

import secrets
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError as RowConflictError

from holdfast.catalog.base import Listed, Published
from holdfast.errors import ConflictError, HoldfastError, IntegrityError
from holdfast.formats import layout
from holdfast.formats.api import ListedReply, decode_request, encode
from holdfast.formats.convention import decode_meta
from holdfast.formats.records import AssetRecord
from holdfast.formats.records import decode as decode_record
from holdfast.formats.records import encode as encode_record
from holdfast.model.version import scheme_named
from holdfast.server.database import Prepared, insert_new, upsert
from holdfast.server.reading import listed_reply
from holdfast.server.tables import assets, copies, metas, versions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Connection

    from holdfast.catalog.bucket import BucketCatalog
    from holdfast.server.access import OpenProject
    from holdfast.server.database import Database
    from holdfast.transfer.engine import Engine

__all__ = ["Copies", "Marks", "Row", "State", "forget_copy", "keep", "new_revision", "version_row"]

#: Larger metas are read from the bucket when they are asked for.
LARGE: Final = 64 * 1024
#: No column holds a greater number.
LARGEST_NUMBER: Final = (1 << 63) - 1
#: What another program wrote is copied as far as its column goes.
_LONGEST_ID: Final = 80
_LONGEST_PROBLEM: Final = 1000
_KEPT: Final = 4096
_ANSWERS: Final = 8
_TRIES: Final = 8
#: Assets that are read, and then written in one transaction.
_BATCH: Final = 500
#: One thread of this process at a time brings an asset up to date; assets that share a lock wait for each other now and then.
_locks: Final = tuple(threading.Lock() for _ in range(256))


@dataclass(frozen=True, slots=True)
class Row:
    """Which state of an asset the database has: enough to know whether what is decoded here is it."""

    id: int
    revision: int
    checked: float


@dataclass(frozen=True, slots=True)
class Marks:
    """The versions of the list's and the record's objects as a listing of the bucket told them."""

    listed: str | None = None
    record: str | None = None


@dataclass(slots=True)
class State:
    """An asset as it is copied. ``checked`` is when the bucket was last known to be so; ``answers`` are by spec."""

    row: Row | None
    listed: Listed
    record: AssetRecord
    checked: float
    problem: str | None = None
    answers: dict[str, Any] = field(default_factory=dict)

    def remember(self, spec: str, answer: Any) -> None:
        """Keep an answer for as long as the state stands."""
        if len(self.answers) < _ANSWERS:
            self.answers[spec] = answer


class Copies:
    """The copies of all projects. Safe to use from several threads."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._known: dict[tuple[int, str], State] = {}
        where = (assets.c.project == bindparam("project"), assets.c.name == bindparam("name"))
        self._head = Prepared(database, select(assets.c.id, assets.c.revision, assets.c.checked).where(*where))
        columns = (assets.c.id, assets.c.revision, assets.c.checked, assets.c.listed, assets.c.record, assets.c.problem)
        self._whole = Prepared(database, select(*columns).where(*where))
        these = (metas.c.asset == bindparam("asset"), metas.c.version == bindparam("version"))
        self._meta = Prepared(database, select(metas.c.id, metas.c.data).where(*these))

    # reading

    def row(self, project: int, name: str) -> Row | None:
        """What the database has of an asset: one short read."""
        found = self._head.one(project=project, name=name)
        return None if found is None else Row(*found)

    def known(self, project: int, name: str, row: Row) -> State | None:
        """The decoded state of this row, if this process has it."""
        state = self._known.get((project, name))
        return state if state is not None and state.row is not None and state.row.revision == row.revision else None

    def load(self, project: int, name: str) -> State | None:
        """The state of an asset as the database has it; None where it has none."""
        found = self._whole.one(project=project, name=name)
        if found is None:
            return None
        row = Row(*found[:3])
        state = self.known(project, name, row)
        if state is None:
            listed = _listed(decode_request(found[3], ListedReply))
            record = decode_record(found[4], AssetRecord, layout.asset_key(name))
            state = self._keep(project, name, State(row, listed, record, row.checked, found[5]))
        return state

    def published(self, asset: int, name: str, version: str) -> Published | None:
        """The meta of a version, if it is copied."""
        found = self._meta.one(asset=asset, version=version)
        if found is None:
            return None
        data = bytes(found[1])
        return Published(decode_meta(data, layout.meta_key(name, version)), found[0], data)

    # writing

    def refresh(self, project: int, catalog: BucketCatalog, name: str, now: float, marks: Marks | None = None) -> State:
        """The state as it is in the bucket now, copied; ``now`` is a moment before this call.

        Raises:
            ConflictError: others kept changing it.
        """
        for _ in range(_TRIES):
            seen = self.load(project, name)
            found = _read(catalog, name, now)
            if seen is None and found.listed.token is None and found.problem is None:
                return found
            if seen is not None and marks is None and _same(seen, found):
                seen.checked = now  # also where it is earlier: then the clock was set back
                return seen
            row = self._write(project, name, seen, found, marks)
            if row is not None or (found.listed.token is None and found.problem is None):
                found.row = row
                return found if row is None else self._keep(project, name, found)
        raise ConflictError(f"{name} is changed by others all the time", subject=name)

    def follow(self, project: OpenProject, name: str, now: float, changed: Sequence[str] = ()) -> None:
        """Bring an asset up to date after it was changed through this server; ``changed`` are versions whose metas are copied, too.

        That it could not be copied is no failure of the change: then there is no copy, and the bucket is asked.
        """
        try:
            with self.turn(project.id, name):
                state = self.refresh(project.id, project.catalog, name, now)
                if state.row is not None and changed:
                    self._follow_metas(state.row, name, {v: project.catalog.published(name, v) for v in changed})
        except HoldfastError:
            with self.database.write() as connection:
                connection.execute(delete(assets).where(assets.c.project == project.id, assets.c.name == name))

    def _follow_metas(self, row: Row, name: str, found: Mapping[str, Published]) -> None:
        """Copy these metas. Where another one was copied, of before the bucket was emptied, what was decided by that is decided anew."""
        copied = {version: self.published(row.id, name, version) for version in found}
        self.keep(row, [(version, None, published) for version, published in found.items()])
        if any(before is not None and before.data != found[version].data for version, before in copied.items()):
            with self.database.write() as connection:
                connection.execute(update(assets).where(assets.c.id == row.id).values(revision=new_revision()))

    @staticmethod
    def turn(project: int, name: str) -> threading.Lock:
        """What a thread holds while it compares an asset with the bucket."""
        return _locks[hash((project, name)) % len(_locks)]

    def add(
        self, project: int, catalog: BucketCatalog, wanted: Mapping[str, Marks], engine: Engine, now: float
    ) -> None:
        """Copy assets that the database does not have, many at a time; those that somebody else added meanwhile stay as they are."""
        for start in range(0, len(wanted), _BATCH):
            names = list(wanted)[start : start + _BATCH]
            found = engine.run(lambda name: _read(catalog, name, now), names)
            rows = [
                {"project": project, "name": name, **_values(state, wanted[name])}
                for name, state in zip(names, found, strict=True)
                if state.listed.token is not None or state.problem is not None
            ]
            with self.database.write() as connection:
                insert_new(connection, assets, rows)

    def keep(self, row: Row, items: Iterable[tuple[str, str | None, Published]]) -> None:
        """Copy metas: version, mark, meta; nothing of an asset whose row went or changed meanwhile: SQLite gives its number to another."""
        with suppress(RowConflictError), self.database.write() as connection:
            now = connection.execute(select(assets.c.revision).where(assets.c.id == row.id)).scalar()
            if now == row.revision:
                keep(connection, [(row.id, *item) for item in items])

    def forget(self, project: int) -> None:
        """Throw the copy of a project away."""
        with self.database.write() as connection:
            forget_copy(connection, project)
        for key in [key for key in list(self._known) if key[0] == project]:
            self._known.pop(key, None)

    def _write(self, project: int, name: str, seen: State | None, found: State, marks: Marks | None) -> Row | None:
        """Replace what was seen; None where it is gone, or somebody else was first."""
        if seen is not None and seen.row is not None:
            at = (assets.c.id == seen.row.id, assets.c.revision == seen.row.revision)
            if found.listed.token is None and found.problem is None:
                with self.database.write() as connection:
                    connection.execute(delete(assets).where(*at))
                return None
            with self.database.write() as connection:
                values = _values(found, marks)
                done = connection.execute(update(assets).where(*at).values(**values)).rowcount
            return Row(seen.row.id, values["revision"], found.checked) if done else None
        values = _values(found, marks) | {"project": project, "name": name}
        try:
            with self.database.write() as connection:
                number = connection.execute(insert(assets).values(**values)).inserted_primary_key
        except RowConflictError:
            return None
        assert number is not None  # noqa: S101 - an insert of one row
        return Row(number[0], values["revision"], found.checked)

    def _keep(self, project: int, name: str, state: State) -> State:
        if len(self._known) >= _KEPT:
            for key in list(self._known)[: _KEPT // 4]:
                self._known.pop(key, None)
        self._known[project, name] = state
        return state


def forget_copy(connection: Connection, project: int) -> None:
    """Throw the copy of a project away; the next question makes it anew."""
    connection.execute(delete(assets).where(assets.c.project == project))
    connection.execute(delete(copies).where(copies.c.project == project))


def keep(connection: Connection, items: Iterable[tuple[int, str, str | None, Published]]) -> None:
    """Copy metas over what was there: asset, version, mark, meta."""
    rows: list[dict[str, Any]] = []
    small: list[dict[str, Any]] = []
    for asset, version, mark, published in items:
        at = {"asset": asset, "version": version}
        rows.append({**at, "mark": mark, **version_row(published)})
        if len(published.data) <= LARGE and published.id == _short_id(published.id):
            small.append({**at, "id": published.id, "data": published.data})
        else:
            connection.execute(delete(metas).where(metas.c.asset == asset, metas.c.version == version))
    upsert(connection, versions, rows)
    upsert(connection, metas, small)


def new_revision() -> int:
    """A number that no other state of a row has had."""
    return secrets.randbits(62)


def version_row(published: Published) -> dict[str, Any]:
    """What lists show and searches find of a version."""
    meta = published.meta
    lines = [meta.message or "", *(f"{key}={value}" for key, value in sorted(meta.labels.items()))]
    return {
        "id": _short_id(published.id),
        "layout": meta.layout,
        "bytes": meta.size if meta.size is None or abs(meta.size) <= LARGEST_NUMBER else None,
        "pushed": meta.pushed.isoformat(),
        "who": meta.who and _text(meta.who),
        "message": meta.message and _text(meta.message),
        "text": _text("\n".join(["", *lines, ""]).casefold()),
    }


def _text(text: str) -> str:
    """Without NUL, which PostgreSQL has no room for."""
    return text.replace("\0", "")


def _read(catalog: BucketCatalog, name: str, now: float) -> State:
    """From the bucket; one that cannot be read is copied with its problem."""
    try:
        listed, record = catalog.listed(name), catalog.record(name)
    except IntegrityError as error:
        return State(None, Listed((), (), scheme_named("major_minor")), AssetRecord(), now, _short(error.message))
    return State(None, listed, record, now, _problem(listed))


def _problem(listed: Listed) -> str | None:
    return _short(f"unknown versions: {', '.join(listed.unknown)}") if listed.unknown else None


def _short_id(number: str) -> str:
    """A whole one, where it is that of a push or a digest."""
    return _text(number)[:_LONGEST_ID]


def _short(problem: str) -> str:
    return _text(problem)[:_LONGEST_PROBLEM]


def _same(one: State, other: State) -> bool:
    return (one.listed, one.record, one.problem) == (other.listed, other.record, other.problem)


def _values(state: State, marks: Marks | None) -> dict[str, Any]:
    alive = [version for version in state.listed.versions if version not in state.record.tombstones]
    return {
        "revision": new_revision(),
        "checked": state.checked,
        "list_mark": marks.listed if marks else None,
        "record_mark": marks.record if marks else None,
        "latest": alive[0] if alive else None,
        "count": len(alive),
        "problem": state.problem,
        "listed": encode(listed_reply(state.listed)),
        "record": encode_record(state.record),
    }


def _listed(reply: ListedReply) -> Listed:
    scheme = scheme_named(reply.scheme)
    return Listed(tuple(reply.versions), tuple(reply.unknown), scheme, reply.token, reply.merged)
