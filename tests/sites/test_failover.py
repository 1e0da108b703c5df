"""Which store a mount shows: decided from what was last known, without asking anybody."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.sites.failover import Health, choose, is_to_move, noted

WELL, ILL = Health(ok=True, since=0.0), Health(ok=False, since=0.0)
TIMES = {"failover_after": 60.0, "failback_after": 600.0}


@pytest.mark.parametrize(
    ("current", "health", "now", "place", "read_only"),
    [
        (0, [WELL, WELL], 1000.0, 0, False),
        (0, [ILL, WELL], 59.0, 0, False),
        (0, [ILL, WELL], 60.0, 1, True),
        (0, [ILL, replace(WELL, two_way=True)], 60.0, 1, False),
        (0, [ILL, replace(WELL, whole=False)], 1000.0, 0, False),
        (0, [ILL, ILL, WELL], 1000.0, 2, True),
        (0, [ILL, ILL], 1000.0, 0, False),
        (0, [ILL], 1000.0, 0, False),
        (1, [WELL, WELL], 599.0, 1, True),
        (1, [WELL, WELL], 600.0, 0, False),
        (1, [WELL, replace(WELL, behind=True)], 9000.0, 1, True),
        (1, [WELL, ILL], 1.0, 0, False),
        (1, [ILL, ILL, WELL], 1.0, 2, True),
        (1, [ILL, ILL], 1.0, 1, True),
        (5, [WELL], 1.0, 0, False),
    ],
)
def test_choose__each_case(current, health, now, place, read_only):
    """A bucket is left only after it failed for a while, for a copy that was whole; and come back to when it is well and has everything."""
    choice = choose(current, health, now, **TIMES)
    assert (choice.place, choice.read_only) == (place, read_only)


@pytest.mark.parametrize(
    ("shown", "wanted", "stands", "moves"),
    [
        (None, 1, False, False),
        (0, 0, False, False),
        (0, 1, True, False),
        (0, 1, False, True),
        (1, 0, True, True),
        (1, 0, False, True),
        (1, 2, True, True),
        (1, 1, False, False),
    ],
)
def test_move__each_case(shown, wanted, stands, moves):
    """A mount of a bucket that stands is never moved, whatever is to be shown; one of a copy goes where it is to go."""
    assert is_to_move(shown, wanted, stands=stands) is moves


HEALTH = st.builds(
    Health, ok=st.booleans(), since=st.floats(0, 1000), whole=st.booleans(), two_way=st.booleans(), behind=st.booleans()
)


@given(st.lists(HEALTH, min_size=1, max_size=4), st.integers(0, 4), st.floats(1000, 5000))
def test_choose__never_a_worse_place(health, current, now):
    """No choice moves to a place that fails or to a copy that never was whole, and a copy is writable only where servers write."""
    choice = choose(current, health, now, **TIMES)
    shown = health[choice.place]
    if choice.place not in (current, 0):
        assert shown.ok
        assert shown.whole
    if choice.place == 0 != current < len(health):
        assert shown.ok
    assert choice.read_only == (choice.place != 0 and not shown.two_way)
    assert choose(choice.place, health, now, **TIMES).place == choice.place or not health[choice.place].ok


def test_noted__since_the_change():
    """What is known keeps the time of the change, not of the last look."""
    assert noted(None, replace(WELL, since=5.0)).since == 5.0
    assert noted(replace(WELL, since=5.0), replace(WELL, since=9.0, whole=False)) == Health(True, 5.0, whole=False)
    assert noted(replace(WELL, since=5.0), replace(ILL, since=9.0)).since == 9.0
