"""Brings the copy of a project's catalog up to date with its bucket, whoever wrote there: what lists and searches answer from.

A scan lists the levels that hold lists and metas, and the records; only what has another mark than last time is read. Scans of projects
that somebody asks about are made again in the background, so that lists and searches are a minute old at most.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError as RowConflictError
from sqlalchemy.exc import SQLAlchemyError

from holdfast.catalog.bucket import BucketCatalog
from holdfast.errors import AccessError, HoldfastError, IntegrityError, VersionNotFoundError
from holdfast.formats import layout
from holdfast.model.name import is_readable
from holdfast.model.version import is_text
from holdfast.server.copies import Marks, keep, new_revision
from holdfast.server.database import upsert
from holdfast.server.tables import assets, copies, metas, projects, versions
from holdfast.transfer.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from holdfast.catalog.base import Clock, Published
    from holdfast.server.access import OpenProject
    from holdfast.server.copies import Copies
    from holdfast.server.service import Service
    from holdfast.store.base import ObjectInfo

__all__ = ["Scans", "rebuild", "scan"]

_log: Final = logging.getLogger("holdfast.server")
_AT_ONCE: Final = 16
#: Metas that are read, and then written in one transaction.
_BATCH: Final = 500
#: Seconds: between two scans in the background, how old an answer may be, and how long after the last question scans go on.
_EVERY: Final = 20.0
_OLDEST: Final = 60.0
_ASKED_WITHIN: Final = 900.0
#: Seconds that a scan for which nobody waits works on end.
_STRETCH: Final = 0.004


@dataclass(slots=True)
class _Seen:
    """What a walk of the bucket found: marks of lists, records and metas."""

    lists: dict[str, str] = field(default_factory=dict)
    records: dict[str, str] = field(default_factory=dict)
    metas: defaultdict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))


def scan(
    database: Copies,
    project: int,
    catalog: BucketCatalog,
    clock: Clock,
    *,
    whole: bool = False,
    waiting: bool = True,
) -> int:
    """Bring the copy of a project up to date; ``whole`` makes it anew. How many assets it has.

    Nobody is ``waiting`` for it: then it leaves as much of Python's time to others as it takes.

    Raises:
        HoldfastError: the bucket cannot be read.
    """
    now = clock.now().timestamp()
    if whole:
        database.forget(project)
    engine = Engine(1 if catalog.is_here else _AT_ONCE)
    seen = _walk(catalog, engine, pace=_unpaced if waiting else _paced)
    _copy_assets(database, project, catalog, seen, engine, now)
    _copy_metas(database, project, catalog, seen, engine)
    with database.database.write() as connection:
        upsert(connection, copies, [{"project": project, "scanned": now}])
    return len(seen.lists)


def rebuild(service: Service, *, dry_run: bool = False) -> dict[str, int]:
    """Make the copies of all projects anew from their buckets; how many assets each has. What ``asset server rebuild`` does. A ``dry_run``
    lists the buckets alone.

    Raises:
        HoldfastError: a bucket cannot be read; the copies of the projects before it are made.
    """
    with service.database.read() as connection:
        found = connection.execute(select(projects.c.id, projects.c.name, projects.c.revision)).all()
    made = {}
    for number, name, revision in found:
        catalog = BucketCatalog(service.stores.store(number, revision), service.clock, "server")
        if dry_run:
            made[name] = len(_walk(catalog, Engine(1 if catalog.is_here else _AT_ONCE), pace=_unpaced).lists)
        else:
            made[name] = scan(service.copies, number, catalog, service.clock, whole=True)
    return made


def _walk(catalog: BucketCatalog, engine: Engine, pace: Callable[..., Iterator[ObjectInfo]]) -> _Seen:
    seen = _Seen()
    for info in pace(catalog.walk(engine.run)):
        name = layout.name_of_versions_key(info.key)
        if name is not None and is_readable(name):
            seen.lists[name] = info.version
        elif info.key.endswith(layout.META_END):
            prefix, _, piece = info.key.rpartition("/")
            version = piece.removesuffix(layout.META_END)
            if prefix and is_text(version):
                seen.metas[prefix][version] = info.version
    for info in catalog.records():
        seen.records[layout.decode_name(info.key.rpartition("/")[2])] = info.version
    return seen


def _unpaced(found: Iterator[ObjectInfo]) -> Iterator[ObjectInfo]:
    return found


def _paced(found: Iterator[ObjectInfo]) -> Iterator[ObjectInfo]:
    """The same with pauses, each as long as this thread has worked since the last: requests are answered meanwhile."""
    begun = time.thread_time()
    for info in found:
        yield info
        worked = time.thread_time() - begun
        if worked > _STRETCH:
            time.sleep(worked)
            begun = time.thread_time()


def _copy_assets(
    database: Copies, project: int, catalog: BucketCatalog, seen: _Seen, engine: Engine, now: float
) -> None:
    """Read the assets whose list or record changed, and drop those that are gone."""
    columns = (assets.c.name, assets.c.list_mark, assets.c.record_mark)
    with database.database.read() as connection:
        found = connection.execute(select(*columns).where(assets.c.project == project)).all()
    known = {name: Marks(listed, record) for name, listed, record in found}
    wanted = {name: Marks(mark, seen.records.get(name)) for name, mark in seen.lists.items()}
    database.add(project, catalog, {name: marks for name, marks in wanted.items() if name not in known}, engine, now)
    stale = [name for name, marks in wanted.items() if name in known and known[name] != marks]
    gone = [name for name in known if name not in wanted]

    def refresh(name: str) -> None:
        with database.turn(project, name):
            database.refresh(project, catalog, name, now, wanted.get(name))

    engine.run(refresh, [*stale, *gone])


def _copy_metas(database: Copies, project: int, catalog: BucketCatalog, seen: _Seen, engine: Engine) -> None:
    """Read the metas that are new or were written over; forget those that are gone."""
    with database.database.read() as connection:
        named = connection.execute(select(assets.c.name, assets.c.id).where(assets.c.project == project)).all()
        ids = {name: number for name, number in named}  # noqa: C416 - rows are no pairs to a type checker
        columns = (versions.c.asset, versions.c.version, versions.c.mark)
        of = versions.join(assets, assets.c.id == versions.c.asset)
        found = connection.execute(select(*columns).select_from(of).where(assets.c.project == project)).all()
    known = {(asset, version): mark for asset, version, mark in found}
    wanted = {(ids[n], v): (n, mark) for n, those in seen.metas.items() if n in ids for v, mark in those.items()}
    stale = [(asset, version, *at) for (asset, version), at in wanted.items() if known.get((asset, version)) != at[1]]
    stale.sort()  # the same order in every process, so that none waits for the other crosswise
    for start in range(0, len(stale), _BATCH):
        _copy_batch(database, stale[start : start + _BATCH], known, catalog, engine)
    gone = [key for key in known if key not in wanted]
    with database.database.write() as connection:
        for asset, version in gone:
            for table in (versions, metas):
                connection.execute(delete(table).where(table.c.asset == asset, table.c.version == version))


def _copy_batch(
    database: Copies,
    batch: Sequence[tuple[int, str, str, str]],
    known: dict[tuple[int, str], Any],
    catalog: BucketCatalog,
    engine: Engine,
) -> None:
    """Read some metas side by side and write them in one transaction; an asset whose row went meanwhile waits for the next scan."""

    def read(item: tuple[int, str, str, str]) -> Published | None:
        try:
            return catalog.published(item[2], item[1])
        except (IntegrityError, VersionNotFoundError):
            return None

    found = engine.run(read, batch)
    with suppress(RowConflictError), database.database.write() as connection:
        pairs = list(zip(batch, found, strict=True))
        keep(connection, [(asset, v, mark, published) for (asset, v, _, mark), published in pairs if published])
        for asset in {asset for (asset, version, *_), _ in pairs if (asset, version) in known}:
            # What was decided by the old one is decided anew.
            connection.execute(update(assets).where(assets.c.id == asset).values(revision=new_revision()))


class Scans:
    """Scans in time: before the first answer about a project, and in the background while it is asked about."""

    def __init__(self, database: Copies, clock: Clock, *, every: float = _EVERY) -> None:
        self._database = database
        self._clock = clock
        self._every = every
        self._asked: dict[int, tuple[float, OpenProject]] = {}
        self._locks: defaultdict[int, threading.Lock] = defaultdict(threading.Lock)
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def ensure(self, project: OpenProject) -> None:
        """See that the copy of a project is a minute old at most.

        Raises:
            HoldfastError: the bucket cannot be read, and there is no copy yet.
            AccessError: the project went, or got another place, at this moment.
        """
        self._asked[project.id] = (time.monotonic(), project)
        self._start()
        if self._age(project.id) > _OLDEST:
            with self._locks[project.id]:
                if self._age(project.id) > _OLDEST:
                    self._scan(project)

    def stop(self) -> None:
        """No further scan begins."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(self._every)

    def _age(self, project: int) -> float:
        with self._database.database.read() as connection:
            at = connection.execute(select(copies.c.scanned).where(copies.c.project == project)).scalar()
        # One that is still to come was told by a clock that has been set back since.
        return float("inf") if at is None else abs(self._clock.now().timestamp() - at)

    def _start(self) -> None:
        if self._thread is None and not self._stopped.is_set():
            self._thread = threading.Thread(target=self._run, name="holdfast-scans", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._stopped.wait(self._every):
            for asked, project in list(self._asked.values()):
                if time.monotonic() - asked > _ASKED_WITHIN:
                    self._asked.pop(project.id, None)
                else:
                    self._again(project)

    def _again(self, project: OpenProject) -> None:
        try:
            if self._age(project.id) <= self._every / 2:
                return
            with self._locks[project.id]:
                self._scan(project, waiting=False)
        except AccessError:  # who asks next tells where it is now
            self._asked.pop(project.id, None)
        except HoldfastError as error:
            _log.warning("the bucket of project %d could not be scanned: %s", project.id, error.kind)
        except SQLAlchemyError as error:
            _log.warning("project %d could not be scanned: %s", project.id, type(error).__name__)

    def _scan(self, project: OpenProject, *, waiting: bool = True) -> None:
        """Scan a project that still is where it was when it was opened; what was copied while it moved is thrown away."""
        self._require(project)
        scan(self._database, project.id, project.catalog, self._clock, waiting=waiting)
        try:
            self._require(project)
        except AccessError:
            self._database.forget(project.id)
            raise

    def _require(self, project: OpenProject) -> None:
        with self._database.database.read() as connection:
            at = select(projects.c.revision).where(projects.c.id == project.id)
            if connection.execute(at).scalar() != project.revision:
                raise AccessError("the project has just been changed", hint="try again")
