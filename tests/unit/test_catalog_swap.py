"""Conditional writes whose answer cannot be trusted: what lies under the key decides."""

from __future__ import annotations

import threading

import pytest

from holdfast.catalog.swap import create_once, read_or_none, swap
from holdfast.errors import AccessError, AlreadyExistsError, ConflictError, UnreachableError
from holdfast.store.memory import MemoryStore
from tests.fakes import Fault, FaultyStore, ManualClock, Script


@pytest.fixture
def store():
    """In memory."""
    return MemoryStore("swap")


@pytest.fixture
def clock():
    """Sleeps at once."""
    return ManualClock()


def appended(word: bytes):
    """A change that adds a word, once."""

    def change(current):
        words = bytes(current.data).split() if current else []
        return None if word in words else b" ".join([*words, word])

    return change


@pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.LOST, Fault.ECHO])
def test_create_once__doubt(store, clock, fault):
    """Created once, whether the request, the answer or a retry went wrong."""
    faulty = FaultyStore(store, Script().add(fault, "put", times=3))
    create_once(faulty, clock, "k", b"mine")
    assert bytes(store.get("k").data) == b"mine"


def test_create_once__taken(store, clock):
    """Another's object stays, also where our answer was lost."""
    store.put("k", b"theirs")
    for plan in (lambda _: None, Script().add(Fault.BEFORE, "put")):
        with pytest.raises(AlreadyExistsError):
            create_once(FaultyStore(store, plan), clock, "k", b"mine")
    assert bytes(store.get("k").data) == b"theirs"


def test_create_once__own(store, clock):
    """One's own object, found there by a re-run, is success."""
    store.put("k", b"mine")
    create_once(store, clock, "k", b"mine")


def test_create_once__never_reached(store, clock):
    """It gives up after a few tries, with the cause."""
    faulty = FaultyStore(store, Script().add(Fault.BEFORE, "put", times=99))
    with pytest.raises(UnreachableError):
        create_once(faulty, clock, "k", b"mine")
    assert faulty.calls["put"] == 5


@pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.LOST, Fault.ECHO])
@pytest.mark.parametrize("there", [False, True])
def test_swap__doubt(store, clock, fault, there):
    """A change is made once, whatever happens to the first answers."""
    if there:
        store.put("k", b"old")
    swap(FaultyStore(store, Script().add(fault, "put", times=2)), clock, "k", appended(b"new"))
    assert bytes(store.get("k").data).split() == [b"old", b"new"][not there :]


def test_swap__nothing_to_do(store, clock):
    """Where the change is there already, nothing is written."""
    store.put("k", b"new")
    faulty = FaultyStore(store)
    assert swap(faulty, clock, "k", appended(b"new")) is False
    assert "put" not in faulty.calls


def test_swap__deleted_meanwhile(store, clock):
    """An object that goes between reading and replacing is made anew."""
    store.put("k", b"old")
    faulty = FaultyStore(store, Script().add(Fault.SLOW, "put"), pause=lambda: store.delete("k"))
    swap(faulty, clock, "k", appended(b"new"))
    assert bytes(store.get("k").data) == b"new"


def test_swap__others_all_the_time(store, clock):
    """After five minutes of losing it gives up with a conflict."""
    store.put("k", b"old")
    faulty = FaultyStore(store, Script().add(Fault.SLOW, "put", times=10**6), pause=lambda: store.put("k", b"old"))
    with pytest.raises(ConflictError, match="all the time"):
        swap(faulty, clock, "k", appended(b"new"))
    assert 300 <= clock.slept < 310


def test_swap__refused(store, clock):
    """A refusal is not retried."""

    class Closed(FaultyStore):
        def put(self, key, data, mode=None):
            raise AccessError("no")

    with pytest.raises(AccessError):
        swap(Closed(store), clock, "k", appended(b"new"))


def test_swap__many_threads(store):
    """Of many writers none loses its change."""
    words = [b"%d" % number for number in range(24)]
    threads = [threading.Thread(target=swap, args=(store, ManualClock(), "k", appended(word))) for word in words]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(bytes(store.get("k").data).split()) == sorted(words)


def test_read_or_none__absent(store):
    """An absent object is None."""
    assert read_or_none(store, "k") is None
