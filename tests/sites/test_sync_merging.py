"""What servers decide that sync: all come to the same tree, and no content is lost."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sites.simulated import FOLDER, Server, World, settle

PATHS = ("a", "b", "d", "d/x", "d/y", "d/e/z")
EXAMPLES = int(os.environ.get("HOLDFAST_TEST_EXAMPLES", "150"))
HOUR = 3600 * 10**6
SKEWS = (0, HOUR, -HOUR, 5 * 10**6)
EVENTS = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 3), st.sampled_from(PATHS)),
    st.tuples(st.just("remove"), st.integers(0, 3), st.sampled_from(PATHS)),
    st.tuples(st.just("hear"), st.integers(0, 3), st.integers(0, 3)),
    st.tuples(st.just("cycle"), st.integers(0, 3), st.none() | st.integers(0, 9)),
    st.tuples(st.just("raced"), st.integers(0, 3), st.sampled_from(PATHS)),
    st.tuples(st.just("lost-state"), st.integers(0, 3), st.none()),
    st.tuples(st.just("lost-log"), st.integers(0, 3), st.none()),
)


def play(count: int, events: list) -> tuple[World, list[Server]]:
    """Everything that happens, in this order."""
    world = World()
    servers = [Server(world, f"n{number}", SKEWS[number]) for number in range(count)]
    for number, (what, who, detail) in enumerate(events):
        server = servers[who % count]
        world.now += 10**6
        if what == "write":
            server.write(detail, f"{server.name} {number}")
        elif what == "remove":
            server.remove(detail)
        elif what == "hear":
            server.hear({servers[detail % count].name})
        elif what == "cycle":
            server.cycle(detail)
        elif what == "raced":
            text = f"{server.name} {number} raced"
            server.cycle(None, lambda server=server, path=detail, text=text: server.write(path, text))
        elif what == "lost-state":
            server.base, server.pending, server.saying, server.joining, server.since = {}, {}, {}, True, 0
        elif what == "lost-log":
            world.logs.pop(server.name, None)
    return world, servers


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(2, 4), st.lists(EVENTS, max_size=30))
def test_servers__come_to_one_tree(count: int, events: list) -> None:
    """Whatever happens in whatever order, with clocks an hour apart and deaths at every step, all servers come to the same tree."""
    _, servers = play(count, events)
    settle(servers)
    assert all(server.disk == servers[0].disk for server in servers)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(2, 4), st.lists(EVENTS, max_size=30))
def test_servers__lose_no_content(count: int, events: list) -> None:
    """Every content that was written is in the tree, or kept on a server, or was replaced or deleted by somebody who had it there."""
    world, servers = play(count, events)
    settle(servers)
    known = {what for server in servers for what in (*server.disk.values(), *server.kept)}
    assert set(world.bytes.values()) - known - world.replaced - {FOLDER} == set()
