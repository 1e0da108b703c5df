"""The threads of a mount: none of those that wait is held up by one that hangs."""

from __future__ import annotations

import threading
import time

import pytest

from holdfast.mount import workers
from holdfast.mount.workers import Workers


@pytest.fixture
def go_on():
    """Lets everything that hangs come back, at the end at the latest."""
    event = threading.Event()
    yield event
    event.set()


def done(event: threading.Event) -> bool:
    """Whether it is done soon."""
    return event.wait(5)


def test_workers__one_that_hangs(go_on):
    """A task that hangs holds up no other, though the thread that took it was the only one that was idle."""
    pool = Workers(late=60)
    first = threading.Event()
    pool.submit(first.set, urgent=True)
    assert done(first)
    time.sleep(0.05)  # its thread waits for the next
    others = [threading.Event() for _ in range(5)]
    pool.submit(lambda: go_on.wait(30), urgent=True)
    for other in others:
        pool.submit(other.set, urgent=True)
    assert all(done(other) for other in others)
    go_on.set()
    pool.close()


def test_workers__urgent_before_ahead(go_on):
    """However much is read ahead, and hangs, what somebody waits for is done; what is read ahead takes half the threads at most."""
    pool = Workers(late=60)
    begun: list[int] = []

    def hang(number: int) -> None:
        begun.append(number)
        go_on.wait(30)

    for number in range(40):
        pool.submit(lambda number=number: hang(number), urgent=False)
    urgent = threading.Event()
    pool.submit(urgent.set, urgent=True)
    assert done(urgent)
    assert len(begun) <= workers._AHEAD
    go_on.set()
    end = time.monotonic() + 10
    while len(begun) < 40:
        assert time.monotonic() < end
        time.sleep(0.01)
    pool.close()


def test_workers__the_lost_are_replaced(go_on):
    """Where every thread hangs, others take their places once they are late; up to a bound."""
    pool = Workers(late=0.2)
    for _ in range(workers._AT_ONCE):
        pool.submit(lambda: go_on.wait(30), urgent=True)
    time.sleep(0.4)
    for urgent in (True, False):
        task = threading.Event()
        pool.submit(task.set, urgent=urgent)
        assert done(task)
    for _ in range(200):
        pool.submit(lambda: go_on.wait(30), urgent=True)
        time.sleep(0.005)
    assert pool._threads <= workers._AT_ONCE + workers._LOST
    time.sleep(0.3)
    assert pool.is_exhausted
    go_on.set()
    end = time.monotonic() + 10
    while pool.is_exhausted:
        assert time.monotonic() < end
        time.sleep(0.01)
    pool.close()


def test_workers__the_end():
    """Nothing begins after the end, which waits for what had begun."""
    pool, log = Workers(late=60), []

    def slow() -> None:
        time.sleep(0.3)
        log.append("slow")

    pool.submit(slow, urgent=True)
    time.sleep(0.05)
    pool.close()
    assert log == ["slow"]
    pool.submit(lambda: log.append("late"), urgent=True)
    time.sleep(0.05)
    assert log == ["slow"]
