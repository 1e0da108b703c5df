"""What is wrong with a live mount, and when it is tried again."""

from __future__ import annotations

import errno

import pytest

from holdfast.mount.live.judging import HUNG, Facts, delay, judge
from holdfast.mount.live.selftest import lacking

WELL = Facts(None, is_mounted=True, pulse=0, store=0)


@pytest.mark.parametrize(
    ("facts", "event"),
    [
        (WELL, None),
        (Facts(None, True, None, None), None),
        (Facts(None, True, errno.EIO, errno.EACCES), None),
        (Facts(None, True, 0, errno.EIO, 1), None),
        (Facts(None, True, 0, errno.EIO, 2), "store"),
        (Facts("exit code 1", True, 0, 0), "died"),
        (Facts("by SIGKILL", False, HUNG, HUNG), "died"),
        (Facts(None, False, 0, 0), "unmounted"),
        (Facts(None, True, HUNG, 0), "hung"),
        (Facts(None, True, 0, HUNG), "hung"),
        (Facts(None, True, errno.ENOTCONN, 0), "broken"),
        (Facts(None, True, 0, errno.ECONNABORTED), "broken"),
    ],
)
def test_judge(facts: Facts, event: str | None) -> None:
    """A mounter that ended, hangs or is dead is a fault, and so is a store that could not be read twice; one failure is none."""
    fault = judge(facts, 5.0)
    assert (fault and fault.event) == event
    assert (fault is not None and fault.is_hung) == (event in ("hung", "store"))


def test_delay() -> None:
    """The first attempt is made at once, and then each after twice as long, up to half a minute."""
    assert [delay(attempt) for attempt in range(5)] == [0, 0.5, 1, 2, 4]
    assert delay(9) == delay(10_000) == 30


def test_lacking() -> None:
    """What is needed and does not work is told with the reason."""
    abilities = {"rename": "yes", "append": "Operation not supported"}
    assert lacking(("rename",), abilities) == []
    assert lacking(("append", "rename", "utime"), abilities) == [
        "append (Operation not supported)",
        "utime (not tried)",
    ]
