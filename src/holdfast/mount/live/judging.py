"""What is wrong with a live mount, and when it is tried again. Pure."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Final

__all__ = ["HUNG", "UNREADABLE", "Facts", "Fault", "delay", "judge"]

#: An answer that did not come in time.
HUNG: Final = -1
#: What says that nobody serves the mount any more.
_BROKEN: Final = frozenset((errno.ENOTCONN, errno.ECONNABORTED, errno.ENODEV, errno.ENXIO, errno.ESTALE))
#: What says that the mounter could not read its store; anything else (a right that is missing) mounting anew does not mend.
UNREADABLE: Final = frozenset((errno.EIO, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ECONNREFUSED, errno.EREMOTEIO))
_FAILURES: Final = 2
_FIRST_DELAY, _LONGEST_DELAY = 0.5, 30.0


@dataclass(frozen=True, slots=True)
class Facts:
    """What was seen: how the mounter ended (None: it runs), whether it is mounted, and the errno of the last answers.

    An answer is 0 where all is well, None where there was none to be had yet, and HUNG where it is overdue. ``failures`` is how often in
    a row the store could not be read.
    """

    ended: str | None
    is_mounted: bool
    pulse: int | None
    store: int | None
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a mount must be made anew. ``is_hung``: its connection must be aborted, for calls wait in it."""

    event: str
    text: str
    is_hung: bool = False


def judge(facts: Facts, deadline: float, failures: int = _FAILURES) -> Fault | None:
    """The fault, or None where there is none. ``failures`` is how often in a row the store may not be read until that is one.

    A store that cannot be read once is the mount's health; twice, and the mount is taken down until it can be: mounters keep readers
    waiting for most of a minute then (measured: rclone 40 s, s3fs 30 s), and one that is down refuses them at once.
    """
    if facts.ended is not None:
        return Fault("died", f"the mounter ended: {facts.ended}")
    if not facts.is_mounted:
        return Fault("unmounted", "somebody took the mount away")
    if facts.pulse == HUNG:
        return Fault("hung", f"the mounter has not answered for {deadline:g} s", is_hung=True)
    if facts.store == HUNG:
        return Fault("hung", f"a read has not come back for {2 * deadline:g} s", is_hung=True)
    if facts.failures >= failures:
        return Fault("store", "the store cannot be read", is_hung=True)
    if facts.pulse in _BROKEN or facts.store in _BROKEN:
        return Fault("broken", "the mount is dead: nobody serves it")
    return None


def delay(attempt: int) -> float:
    """Seconds before the next attempt, the first being number 0: at once, then twice as long each time, up to half a minute."""
    return 0.0 if attempt == 0 else min(_LONGEST_DELAY, _FIRST_DELAY * 2 ** min(attempt - 1, 20))
