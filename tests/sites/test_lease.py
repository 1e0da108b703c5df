"""Leases: one holder at a time, who notices when he is none any more, whatever the clocks and answers do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from holdfast.clock import SystemClock
from holdfast.errors import BusyError, ConflictError, UnsupportedError
from holdfast.formats.sites import LeaseRecord, decode_lease
from holdfast.sites.lease import Held, Lease, judge, last_note
from holdfast.store.base import Promises
from holdfast.store.memory import MemoryStore
from tests.fakes import Fault, FaultyStore, ManualClock, Script, repository_on

if TYPE_CHECKING:
    from pathlib import Path

SITE, WORK = "www-example-com", "backup-hourly"
RECORD = LeaseRecord(1, "a", "ann@one", 4, 120.0, "2026-01-01T00:00:00+00:00")


@pytest.mark.parametrize(
    ("record", "age", "holder", "outcome"),
    [
        (None, 0.0, "b", 1),
        (RECORD, 0.0, "a", 4),
        (RECORD, 149.0, "b", None),
        (RECORD, 151.0, "b", 5),
        (LeaseRecord(1, "a", "ann@one", 4, 120.0, "", released=True), 0.0, "b", 5),
        (LeaseRecord(1, "a", "ann@one", 4, 120.0, "", released=True), 0.0, "a", 5),
    ],
)
def test_judge(record, age, holder, outcome):
    """A lease is free where there is none, where it was let go, and a quarter of its time after it ended; tokens grow."""
    judged = judge(record, age, holder)
    assert isinstance(judged, Held) if outcome is None else judged == outcome


def opened(store, tmp_path, who, clock=None):
    """A repository of one server."""
    return repository_on(store, tmp_path / who, clock or SystemClock(), who)


@pytest.fixture
def store():
    """A store that several servers share."""
    return MemoryStore("lease")


def test_lease__one_at_a_time(store, tmp_path):
    """A second server is told who has the lease, and gets it, with a greater token, once it is let go."""
    one, two = opened(store, tmp_path, "one"), opened(store, tmp_path, "two")
    with Lease.take(one, SITE, WORK, seconds=60) as lease:
        lease.note = {"version": "v1"}
        with pytest.raises(BusyError, match="one does backup-hourly"):
            Lease.take(two, SITE, WORK, seconds=60)
        with Lease.take(two, SITE, "backup-daily", seconds=60):
            pass
    assert last_note(two, SITE, WORK) == {"version": "v1"}
    with Lease.take(two, SITE, WORK, seconds=60) as second:
        assert second.token == lease.token + 1
    assert last_note(one, SITE, WORK) == {"version": "v1"}


def test_lease__renewed_while_it_is_held(store, tmp_path):
    """A lease is held for as long as its holder lives, however long his work takes."""
    one, two = opened(store, tmp_path, "one"), opened(store, tmp_path, "two")
    with Lease.take(one, SITE, WORK, seconds=0.4) as lease:
        for _ in range(12):
            time.sleep(0.1)
            with pytest.raises(BusyError):
                Lease.take(two, SITE, WORK, seconds=0.4)
        lease.check()


def test_lease__of_a_dead_server(store, tmp_path):
    """The lease of a server that died is free after its time, and he who comes back late is told that he lost it."""
    one, two = opened(store, tmp_path, "one"), opened(store, tmp_path, "two")
    dead = Lease.take(one, SITE, WORK, seconds=0.3)
    time.sleep(0.45)
    with Lease.take(two, SITE, WORK, seconds=60) as lease:
        assert lease.token == dead.token + 1
        for _ in range(2):
            with pytest.raises(ConflictError, match="lost"):
                dead.check()
        with pytest.raises(ConflictError, match="lost"):
            dead.confirm()
        lease.confirm()


def test_lease__confirm_sees_another_holder(store, tmp_path):
    """A holder who believes himself safe by his own clock learns by asking that another took it."""
    clock = ManualClock()
    one, two = opened(store, tmp_path, "one", clock), opened(store, tmp_path, "two")
    slow = Lease.take(one, SITE, WORK, seconds=0.2)
    time.sleep(0.3)
    with Lease.take(two, SITE, WORK, seconds=60):
        slow.check()
        with pytest.raises(ConflictError, match="two took it"):
            slow.confirm()


@pytest.mark.parametrize("hours", [-1, 1])
def test_lease__clocks_an_hour_apart(store, tmp_path, hours):
    """A server whose clock is an hour off neither takes a lease that is held nor waits for one that is free."""
    other = ManualClock(datetime.now(UTC) + timedelta(hours=hours))
    one, two = opened(store, tmp_path, "one"), opened(store, tmp_path, "two", other)
    with Lease.take(one, SITE, WORK, seconds=1.0), pytest.raises(BusyError):
        Lease.take(two, SITE, WORK, seconds=1.0)
    dead = Lease.take(one, SITE, WORK, seconds=0.2)
    time.sleep(0.3)
    assert Lease.take(two, SITE, WORK, seconds=1.0).token == dead.token + 1


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.ECHO, Fault.BEFORE])
def test_lease__lost_answers(store, tmp_path, fault):
    """An answer that never came is settled by reading: who has the lease knows it, and nobody else does."""
    one = opened(FaultyStore(store, Script().add(fault, "put", "*/leases/*")), tmp_path, "one")
    lease = Lease.take(one, SITE, WORK, seconds=60)
    there = decode_lease(store.get(f".holdfast/sites/{SITE}/leases/{WORK}").data, "key")
    assert there.token == lease.token
    one.store.plan = Script().add(fault, "put", "*/leases/*")
    lease.confirm()
    lease.confirm()
    with pytest.raises(BusyError):
        Lease.take(opened(store, tmp_path, "two"), SITE, WORK, seconds=60)


def test_lease__store_without_conditions(store, tmp_path):
    """A store without conditional writes keeps no lease, and is refused with the reason."""
    store.promises = lambda: Promises(create=False, replace=False, reason="it ignores them")
    with pytest.raises(UnsupportedError, match="ignores them"):
        Lease.take(opened(store, tmp_path, "one"), SITE, WORK, seconds=60)


RACER = """
import sys, time
import holdfast
from holdfast.errors import BusyError
from holdfast.sites.lease import Lease
from pathlib import Path
repository = holdfast.open(sys.argv[1], assets_dir=sys.argv[2])
gate = Path(sys.argv[3])
(gate / sys.argv[4]).touch()
while len(list(gate.iterdir())) < 3:
    time.sleep(0.005)
try:
    with Lease.take(repository, "site", "work", seconds=30) as lease:
        time.sleep(1.5)
        lease.confirm()
        print("held", lease.token)
except BusyError:
    print("busy")
"""


def race(store: str, folder: Path, env: dict[str, str]) -> list[str]:
    """What three processes that start at one moment say."""
    gate = folder / "gate"
    gate.mkdir()
    running = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, store, str(folder / f"assets{n}"), str(gate), str(n)],
            env=env | {"HOME": str(folder / f"home{n}")}, stdout=subprocess.PIPE, text=True,
        )
        for n in range(3)
    ]  # fmt: skip
    return sorted(process.communicate(timeout=120)[0].strip() for process in running)


def environment(more):
    """What a process needs to run our code."""
    return {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ} | more


def test_race__folder(tmp_path):
    """Of three servers that start at one moment exactly one works, on a store in a folder."""
    (tmp_path / "store").mkdir()
    assert race((tmp_path / "store").as_uri(), tmp_path, environment({})) == ["busy", "busy", "held 1"]


def test_race__bucket(ceph, tmp_path):
    """Of three servers that start at one moment exactly one works, on a bucket."""
    assert race(ceph.fresh_store(), tmp_path, environment(ceph.env)) == ["busy", "busy", "held 1"]


def test_record__is_what_the_format_says(store, tmp_path):
    """The record of a lease has the keys that FORMAT.md says, and keeps what it does not know to itself."""
    with Lease.take(opened(store, tmp_path, "one"), SITE, WORK, seconds=60):
        found = json.loads(bytes(store.get(f".holdfast/sites/{SITE}/leases/{WORK}").data))
    assert found.keys() == {"format", "holder", "who", "token", "seconds", "taken"}
    assert decode_lease(json.dumps(found | {"new": 1}).encode(), "key").token == 1
