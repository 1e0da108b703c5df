"""When a site's jobs are due: pure, with the time given. All times are UTC, so that every server of a site agrees.

A period has slots, as cron has lines: hourly at two minutes past, daily at 2:30, weekly on Sundays at 3:30, monthly on the first at 4:30,
bimonthly on the first of every odd month at 5:30. A job is due once its last start lies before the newest slot: what was missed while a
machine slept or was off is done once, and not once for each slot. Others are due so many seconds after their last start.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["PERIOD_SECONDS", "due", "next_time", "patience", "slot"]

_DAY: Final = timedelta(days=1)
#: The longest time between two slots of a period, in seconds.
PERIOD_SECONDS: Final = {
    "hourly": 3600.0,
    "daily": 86400.0,
    "weekly": 7 * 86400.0,
    "monthly": 31 * 86400.0,
    "bimonthly": 62 * 86400.0,
}


def slot(period: str, now: datetime) -> datetime:
    """The newest slot of a period that is not in the future."""
    if period == "hourly":
        start = now.replace(minute=2, second=0, microsecond=0)
        return start if start <= now else start - timedelta(hours=1)
    if period == "daily":
        start = now.replace(hour=2, minute=30, second=0, microsecond=0)
        return start if start <= now else start - _DAY
    if period == "weekly":
        start = now.replace(hour=3, minute=30, second=0, microsecond=0) - _DAY * ((now.weekday() + 1) % 7)
        return start if start <= now else start - 7 * _DAY
    start = now.replace(day=1, hour=4 if period == "monthly" else 5, minute=30, second=0, microsecond=0)
    while start > now or (period == "bimonthly" and start.month % 2 == 0):
        start = (start - _DAY).replace(day=1)
    return start


def next_time(when: str | float, last: datetime | None, now: datetime) -> datetime:
    """When a job is due: ``when`` is a period or a number of seconds, ``last`` its last start; not after ``now`` where it is due.

    A last start in the future, as after a clock was set back, counts for nothing.
    """
    if last is None or last > now:
        return now
    if not isinstance(when, str):
        return last + timedelta(seconds=when)
    newest = slot(when, now)
    return newest if last < newest else _following(when, newest)


def _following(period: str, start: datetime) -> datetime:
    """The slot after one: the first moment from which on it is the newest."""
    if period in ("monthly", "bimonthly"):
        months = 1 if period == "monthly" else 2
        year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
        return start.replace(year=year, month=month + 1)
    return start + timedelta(seconds=PERIOD_SECONDS[period])


def due(
    jobs: Mapping[str, str | float], begun: Mapping[str, datetime], running: Collection[str], now: datetime
) -> list[str]:
    """The jobs to start now, those that are due the longest first; never one that runs already."""
    times = {name: next_time(when, begun.get(name), now) for name, when in jobs.items() if name not in running}
    return sorted((name for name, time in times.items() if time <= now), key=lambda name: times[name])


def patience(when: str | float) -> float:
    """After how many seconds without a good end a job is overdue: one slot missed, and a quarter of the next."""
    seconds = PERIOD_SECONDS[when] if isinstance(when, str) else when
    return max(2.25 * seconds, 120.0)
