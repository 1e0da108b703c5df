"""What must go so that something fits: pure."""

from __future__ import annotations

import pytest

from holdfast.cache.quota import Held, choose, excess, least_free

OLD, MIDDLE, NEW = (Held(name, size, used) for name, size, used in (("o", 500, 1.0), ("m", 300, 2.0), ("n", 200, 3.0)))
PINNED, LEASED = Held("p", 900, 0.0, "pinned"), Held("l", 900, 0.5, "in use")


@pytest.mark.parametrize(
    ("over", "doomed"),
    [(0, ()), (-5, ()), (1, (OLD,)), (500, (OLD,)), (501, (OLD, MIDDLE)), (1000, (OLD, MIDDLE, NEW))],
)
def test_choose__longest_unused_first(over, doomed):
    """The longest unused go, and no more of them than it takes."""
    plan = choose([NEW, PINNED, OLD, LEASED, MIDDLE], over)
    assert (plan.doomed, plan.lacking) == (doomed, 0)


def test_choose__nothing_in_vain():
    """Where all that may go would not be enough nothing goes, unless as much as possible is asked for."""
    assert choose([OLD, PINNED, LEASED], 501).doomed == ()
    assert choose([OLD, PINNED, LEASED], 501).lacking == 1
    assert choose([OLD, PINNED], 501, as_far=True).doomed == (OLD,)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"held": 900, "need": 100, "limit": 1000}, 0),
        ({"held": 900, "need": 101, "limit": 1000}, 1),
        ({"held": 900, "need": 100, "limit": None}, 0),
        ({"held": 2000, "need": 0, "limit": 1000}, 1000),
        ({"held": 0, "need": 100, "limit": None, "free": 150, "keep_free": 50}, 0),
        ({"held": 0, "need": 100, "limit": None, "free": 150, "keep_free": 60}, 10),
        ({"held": 950, "need": 100, "limit": 1000, "free": 150, "keep_free": 60}, 50),
    ],
)
def test_excess(given, expected):
    """What goes beyond the limit, or beyond what the disk has to spare, whichever is more."""
    assert excess(**given) == expected


def test_least_free():
    """A fiftieth of the disk stays free, no more than 1 GiB, or what the setting says."""
    assert least_free(5000, None) == 100
    assert least_free(10**15, None) == 1024**3
    assert least_free(10**15, 7) == 7
