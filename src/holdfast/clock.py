"""The machine's clock, for those who are given one."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

__all__ = ["SystemClock", "since_boot"]

#: Linux has a clock that goes on while the machine sleeps; macOS's monotonic clock stops then, its raw one as well.
_COUNTS_SLEEP = getattr(time, "CLOCK_BOOTTIME", None)


def since_boot() -> float:
    """Seconds from some moment on, the machine's sleep included; where no such clock is, the wall clock's."""
    return time.time() if _COUNTS_SLEEP is None else time.clock_gettime(_COUNTS_SLEEP)


class SystemClock:
    """The time as this machine tells it, or as another clock does that it was set by."""

    def __init__(self) -> None:
        self._ahead = timedelta(0)

    def now(self) -> datetime:
        """This moment, UTC."""
        return datetime.now(UTC) - self._ahead

    def set_by(self, moment: datetime) -> None:
        """Go on from this moment, which another clock tells, instead of the machine's own."""
        self._ahead = datetime.now(UTC) - moment

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def since_boot(self) -> float:
        """See :func:`since_boot`."""
        return since_boot()
