"""Whatever way bytes come, what is under a key that others refer to is never written over, and nobody fills the server's disk."""

from __future__ import annotations

import shutil
import threading
import time

import pytest

from holdfast.errors import BusyError
from holdfast.formats import layout
from holdfast.store.base import SMALL
from holdfast.store.path import PathStore
from tests.server.test_push_routes import Push, error
from tests.server.test_taking import staged, take

PACK = layout.pack_key("a" * 64)


class Slow(PathStore):
    """A store that takes a moment to copy, and to write what is large, as buckets do."""

    def copy(self, source, target):
        time.sleep(0.3)
        super().copy(source, target)

    def put_file(self, key, source, size, seen):
        time.sleep(0.3)
        return super().put_file(key, source, size, seen)


@pytest.fixture
def slow(server):
    """The server, whose project lies in such a store."""
    server.folder.mkdir(parents=True, exist_ok=True)
    server.service.stores._open[1] = (1, Slow(server.folder))
    return server


def together(*works):
    """Each in a thread of its own; what they returned."""
    results = [None] * len(works)

    def run(number):
        results[number] = works[number]()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.parametrize("key", [PACK, layout.pages_key("b" * 64)])
def test_large__under_a_shared_key(server, key):
    """What is too large for a write that only creates goes under the push's own claim, and under no key that all pushes share."""
    push = Push(server)
    short = push.put(key, b"", headers={"Content-Length": str(SMALL + 1)})
    assert error(short) == (400, "usage")
    wanted = {"push": push.id, "objects": [{"key": key, "size": SMALL + 1}]}
    assert error(server.post("uploads", json=wanted)) == (400, "usage")
    reply = push.step("take", objects=[{"piece": "p", "key": key, "size": SMALL + 1}], wait=0)
    assert error(reply) == (400, "usage")


def test_take__two_at_once(slow):
    """Of two pushes that take different bytes to one key at one moment, one does, and the other is refused."""
    pushes = [Push(slow), Push(slow)]
    data = [b"good bytes", b"bad  bytes"]
    for push, each in zip(pushes, data, strict=True):
        staged(slow, push, "p", each)
    replies = together(*(lambda p=p, d=d: take(p, ("p", PACK, d)) for p, d in zip(pushes, data, strict=True)))
    assert sorted(reply.status_code for reply in replies) == [200, 409]
    winner = [reply.status_code for reply in replies].index(200)
    assert (slow.folder / PACK).read_bytes() == data[winner]


def test_take__while_another_sends(slow):
    """What a push sends while another takes something to the same key is not written over."""
    taking, sending = Push(slow), Push(slow)
    staged(slow, taking, "p", b"bad  bytes")

    def send():
        time.sleep(0.1)
        return sending.put(PACK, b"good bytes")

    took, sent = together(lambda: take(taking, ("p", PACK, b"bad  bytes")), send)
    assert sorted((took.status_code, sent.status_code)) == [200, 409]
    assert (slow.folder / PACK).read_bytes() == (b"good bytes" if sent.status_code == 200 else b"bad  bytes")


def test_put__more_than_the_disk_has(server):
    """What the server's disk has no room for, beside what is on its way already, is refused before it comes; the rest is not."""
    push = Push(server)
    push.number("claim", "0.0")
    room, free = server.service.room, shutil.disk_usage(server.folder).free
    assert error(push.put("a/b/0.0", b"", headers={"Content-Length": str(free)})) == (503, "busy")
    with room.taken(free // 3), pytest.raises(BusyError), room.taken(free - free // 3):
        pass
    with room.taken(free // 3):
        assert push.put("a/b/0.0", b"x" * (2 << 20)).status_code == 200
