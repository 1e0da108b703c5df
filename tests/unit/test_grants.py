"""Leave to read: asked for in batches, ahead of its use, and again before it expires, by the server's clock."""

from __future__ import annotations

import time

import pytest

from holdfast.errors import UnreachableError
from holdfast.formats.api import BATCH, Grant, GrantsReply
from holdfast.store.grants import Grants, leave_of

LASTS = 900.0


class Server:
    """Grants every key for a quarter of an hour by its own clock, which is ``ahead`` of the client's."""

    route = staticmethod(lambda name: name)
    url = "https://server"

    def __init__(self, ahead: float = 0.0) -> None:
        self.now, self.ahead = 1000.0, ahead
        self.asked: list[list[str]] = []

    @property
    def server(self):
        return self

    def clock(self) -> float:
        return self.now

    def ask(self, _method, _route, _kind, *, body):
        self.asked.append(body.keys)
        now = self.now + self.ahead
        number = len(self.asked)
        return GrantsReply([Grant(key, f"http://bucket/{key}?{number}", expires=now + LASTS) for key in body.keys], now)


@pytest.mark.parametrize("ahead", [-5000.0, 0.0, 5000.0])
def test_renewed_before_it_expires(ahead):
    """Leave is used until a minute before it expires, and then asked for anew, though the clocks differ by more than it lasts."""
    server = Server(ahead)
    grants = Grants(server, server.clock)
    first = grants.of("k")
    server.now += LASTS - 61
    assert grants.of("k") is first
    server.now += 2
    assert grants.of("k").url == "http://bucket/k?2"
    assert server.asked == [["k"], ["k"]]


def test_ahead_of_use():
    """Of keys that are expected a thousand come at once, and the next thousand while the last are used."""
    server = Server()
    grants = Grants(server, server.clock)
    keys = [f"k{number:04}" for number in range(2500)]
    grants.expect(keys)
    for key in keys:
        grants.of(key)
        if grants._ahead is not None:
            grants._ahead.join()
    assert [len(each) for each in server.asked] == [BATCH, BATCH, 500]
    assert sorted(key for each in server.asked for key in each) == keys


def test_unused_ones_that_expired():
    """What expired unused is asked for again with the key that is needed, not one by one."""
    server = Server()
    grants = Grants(server, server.clock)
    grants.expect(["a", "b", "c"])
    grants.of("a")
    server.now += LASTS
    grants.of("b")
    grants.of("c")
    assert server.asked == [["a", "b", "c"], ["b", "c"]]


def test_refused():
    """Leave that the bucket refused is asked for anew, whatever its time."""
    server = Server()
    grants = Grants(server, server.clock)
    grants.of("k")
    assert grants.renewed("k").url == "http://bucket/k?2"


def test_another_answer():
    """An answer about other keys than those asked for is none."""
    server = Server()
    server.ask = lambda *_, **__: GrantsReply([Grant("other", "http://bucket/other")], 0.0)
    with pytest.raises(UnreachableError):
        Grants(server, server.clock).of("k")


@pytest.mark.parametrize(
    "url", ["ftp://h/k", "http:///k", "http://u:p@h/k", "http://h/a b", "http://h/\r\nX: y", "http://h/ü"]
)
def test_urls_that_are_none(url):
    """What is no plain URL, or would write lines of its own into a request, is refused."""
    with pytest.raises(UnreachableError):
        leave_of("k", url, {}, time.time())
