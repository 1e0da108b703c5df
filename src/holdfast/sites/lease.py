"""A lease on a piece of a site's work: one of several web servers does it, and one that died keeps nobody from it for long.

Decided in :func:`judge`, which is pure; done by conditional writes, every doubt settled by reading. Ages are told by the store's
clock, so servers whose clocks differ agree. The holder renews it from a thread, and stops believing in it by its own clock, which
counts sleep, before any other can take it. Each holder has a greater ``token``: what a former holder still does is told by it.

Example::

    with Lease.take(repository, "www-example-com", "backup-hourly", seconds=120) as lease:
        ...
        lease.confirm()  # before anything that another holder must not see undone
"""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from holdfast.catalog.swap import read_or_none
from holdfast.errors import (
    BusyError,
    ConflictError,
    HoldfastError,
    ObjectNotFoundError,
    UnreachableError,
    UnsupportedError,
)
from holdfast.formats.layout import lease_key
from holdfast.formats.records import changed, stamp
from holdfast.formats.sites import LeaseRecord, decode_lease, encode_lease
from holdfast.store.base import CREATE, Replace

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from holdfast.repository import Repository
    from holdfast.store.base import Object

__all__ = ["Held", "Lease", "judge", "last_note", "refuse_held"]

#: Others wait for so much longer than the lease says, for what clocks drift and answers take.
_SLACK: Final = 1.25
#: So many renewals fit into one lease.
_BEATS: Final = 4
_TRIES: Final = 20


@dataclass(frozen=True, slots=True)
class Held:
    """Another has it: who, since when, and for how many seconds at least it is not free unless he lets go of it."""

    record: LeaseRecord
    left: float


def judge(record: LeaseRecord | None, age: float, holder: str) -> int | Held:
    """The token with which this holder may take it, or who has it; ``age`` are the seconds since it was last written."""
    if record is None:
        return 1
    if record.holder == holder and not record.released:
        return record.token
    left = record.seconds * _SLACK - age
    return Held(record, left) if not record.released and left > 0 else record.token + 1


def last_note(repository: Repository, site: str, work: str) -> dict[str, str]:
    """What the last who did this work said of it when he ended; empty where nobody did."""
    key = lease_key(site, work)
    found = read_or_none(repository.store, key)
    return dict(decode_lease(found.data, key).note) if found is not None else {}


def refuse_held(repository: Repository, site: str, work: str) -> None:
    """Raise BusyError where another has it, as far as reading and this machine's clock tell: nothing is written, nothing taken."""
    key = lease_key(site, work)
    found = read_or_none(repository.store, key)
    if found is None:
        return
    age = max(0.0, repository.clock.now().timestamp() - found.info.modified)
    judged = judge(decode_lease(found.data, key), age, "")
    if isinstance(judged, Held):
        raise _busy(work, judged)


class Lease:
    """A lease that is held; used in a ``with`` block, at whose end it is let go. Safe to ask from several threads."""

    def __init__(self, repository: Repository, key: str, record: LeaseRecord, version: str, since: float) -> None:
        self._repository = repository
        self._key = key
        self._record = record
        self._version = version
        self._good_until = since + record.seconds
        self._lost: str | None = None
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self.note: dict[str, str] = {}

    @classmethod
    def take(cls, repository: Repository, site: str, work: str, *, seconds: float) -> Lease:
        """Take it.

        Raises:
            BusyError: another has it; the message says who, the hint how long.
            UnsupportedError: the store has no conditional writes.
        """
        key, holder = lease_key(site, work), secrets.token_hex(8)
        promises = repository.store.promises()
        if not (promises.create and promises.replace):
            why = promises.reason or "it has no conditional writes"
            raise UnsupportedError(
                f"no lease can be kept in {repository.store.url}: {why}", subject=repository.store.url
            )
        for _ in range(_TRIES):
            since = repository.clock.since_boot()
            current = read_or_none(repository.store, key)
            record = decode_lease(current.data, key) if current is not None else None
            judged = judge(record, _age(repository, current, record), holder)
            if isinstance(judged, Held):
                raise _busy(work, judged)
            mine = LeaseRecord(
                1,
                holder,
                repository.who,
                judged,
                seconds,
                stamp(repository.clock.now()),
                note=record.note if record else {},
            )
            version = _put(repository, key, mine, current)
            if version is not None:
                return cls(repository, key, mine, version, since)
            repository.clock.sleep(0.05)
        raise BusyError(f"{work} is being taken by others all the time", subject=key, hint="try again")

    @property
    def token(self) -> int:
        """Greater than that of every holder before."""
        return self._record.token

    def check(self) -> None:
        """Raise ConflictError unless it is still held, as far as is known without asking."""
        if self._lost is None and self._repository.clock.since_boot() > self._good_until:
            self._lost = "it could not be renewed in time"
        if self._lost is not None:
            raise ConflictError(
                f"the lease on this work was lost: {self._lost}", subject=self._key, hint="another server may do it now"
            )

    def confirm(self) -> None:
        """Renew it now; what follows within its time is done while nobody else has it.

        Raises:
            ConflictError: another has it, or it could not be renewed in time.
            UnreachableError: the store does not answer.
        """
        with self._lock:
            self.check()
            self._renew(changed(self._record, beat=self._record.beat + 1))

    def _renew(self, record: LeaseRecord) -> None:
        store, since = self._repository.store, self._repository.clock.since_boot()
        try:
            version = store.put(self._key, encode_lease(record), Replace(self._version)).version
        except (ConflictError, ObjectNotFoundError, UnreachableError):
            found = read_or_none(store, self._key)
            there = decode_lease(found.data, self._key) if found is not None else None
            if found is None or there is None or there.holder != record.holder:
                self._lost = f"{there.who} took it" if there is not None else "it was removed"
                self.check()
                raise AssertionError from None  # check has raised
            version = found.info.version
            if there.beat != record.beat:  # an older one of ours: the next renewal replaces that
                record, since = there, self._good_until - record.seconds
        self._version, self._record = version, record
        self._good_until = max(self._good_until, since + record.seconds)

    def _beat(self) -> None:
        while not self._ended.wait(self._record.seconds / _BEATS):
            try:
                self.confirm()
            except ConflictError:
                return
            except HoldfastError:
                continue  # it is asked again until its time is over

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        if self._lost is not None:
            return
        note = self.note if kind is None and self.note else self._record.note
        try:
            with self._lock:
                self._renew(changed(self._record, beat=self._record.beat + 1, released=True, note=note))
        except HoldfastError:
            return  # it ends by itself


def _age(repository: Repository, current: Object | None, record: LeaseRecord | None) -> float:
    """Seconds since it was written, by the store's clock; not asked where it does not matter."""
    if current is None or record is None or record.released:
        return 0.0
    return max(0.0, repository.catalog.store_now().timestamp() - current.info.modified)


def _put(repository: Repository, key: str, record: LeaseRecord, current: Object | None) -> str | None:
    """The version of the object written; None where another came first."""
    mode = CREATE if current is None else Replace(current.info.version)
    try:
        return repository.store.put(key, encode_lease(record), mode).version
    except (ConflictError, ObjectNotFoundError, UnreachableError):
        found = read_or_none(repository.store, key)
        if found is not None and decode_lease(found.data, key).holder == record.holder:
            return found.info.version
        return None


def _busy(work: str, held: Held) -> BusyError:
    return BusyError(
        f"{held.record.who} does {work}, since {held.record.taken}",
        subject=held.record.who,
        hint=f"if that server is dead, it is free in {held.left:.0f} s",
    )
