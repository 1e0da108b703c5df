"""When jobs are due: slots as cron has them, once after a sleep, never one twice at a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.sites.schedule import PERIOD_SECONDS, due, next_time, patience, slot

MOMENTS = st.integers(1577836800, 2208988800).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
PERIODS = st.sampled_from(list(PERIOD_SECONDS))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("period", "now", "expected"),
    [
        ("hourly", "2026-03-05T10:02", "2026-03-05T10:02"),
        ("hourly", "2026-03-05T00:01", "2026-03-04T23:02"),
        ("daily", "2026-03-01T02:29", "2026-02-28T02:30"),
        ("weekly", "2026-03-05T12:00", "2026-03-01T03:30"),
        ("weekly", "2026-03-01T03:29", "2026-02-22T03:30"),
        ("monthly", "2026-01-01T04:29", "2025-12-01T04:30"),
        ("bimonthly", "2026-03-01T05:29", "2026-01-01T05:30"),
        ("bimonthly", "2026-02-15T00:00", "2026-01-01T05:30"),
        ("bimonthly", "2026-01-01T00:00", "2025-11-01T05:30"),
    ],
)
def test_slot__as_cron_has_it(period, now, expected):
    """The newest slot of each period, over borders of days, months and years."""
    assert slot(period, at(now)) == at(expected)


@given(period=PERIODS, now=MOMENTS)
def test_slot__is_the_newest(period, now):
    """A slot is never in the future, the next one always is, and both are slots of their own moment."""
    start = slot(period, now)
    following = next_time(period, start, now)
    assert start <= now < following
    assert slot(period, start) == start
    assert slot(period, following) == following
    assert (following - start).total_seconds() <= PERIOD_SECONDS[period]


@given(period=PERIODS, last=MOMENTS, asleep=st.floats(0, 400))
def test_after_sleep__once(period, last, asleep):
    """What was missed while the machine slept is done once, and then not before the next slot."""
    now = last + timedelta(days=asleep)
    if next_time(period, last, now) <= now:
        assert next_time(period, now, now) > now
    else:
        assert slot(period, now) <= last


@given(last=MOMENTS, seconds=st.integers(5, 10**6), later=st.integers(-(10**6), 10**6))
def test_seconds__after_the_last_start(last, seconds, later):
    """A job of so many seconds is due that long after its last start; a clock that was set back makes it due at once."""
    now = last + timedelta(seconds=later)
    is_due = next_time(seconds, last, now) <= now
    assert is_due == (later < 0 or timedelta(seconds=later) >= timedelta(seconds=seconds))


def test_due__never_one_that_runs():
    """Jobs that run are not started again, and the one that waits the longest is first."""
    now = at("2026-03-05T10:30")
    jobs = {"a": "hourly", "b": 60.0, "c": "daily", "d": 60.0}
    begun = {"a": at("2026-03-05T08:00"), "b": now - timedelta(seconds=90), "c": at("2026-03-05T02:31"), "d": now}
    assert due(jobs, begun, (), now) == ["a", "b"]
    assert due(jobs, begun, {"a"}, now) == ["b"]
    assert set(due(jobs, {}, {"c"}, now)) == {"a", "b", "d"}


def test_patience__longer_than_a_period():
    """A job is overdue only after more than two of its periods."""
    assert patience("hourly") == 8100
    assert patience(15.0) == 120
