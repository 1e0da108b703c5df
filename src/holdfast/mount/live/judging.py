"""What is wrong with a live mount, and when it is tried again. Pure."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Final

__all__ = ["HUNG", "Facts", "Fault", "delay", "judge"]

#: An answer that did not come in time.
HUNG: Final = -1
#: What says that nobody serves the mount any more.
_BROKEN: Final = frozenset((errno.ENOTCONN, errno.ECONNABORTED, errno.ENODEV, errno.ENXIO, errno.ESTALE))
_FIRST_DELAY, _LONGEST_DELAY = 0.5, 60.0


@dataclass(frozen=True, slots=True)
class Facts:
    """What was seen: how the mounter ended (None: it runs), whether it is mounted, and the errno of the last answers.

    An answer is 0 where all is well, None where there was none to be had yet, and HUNG where it is overdue.
    """

    ended: str | None
    is_mounted: bool
    pulse: int | None
    store: int | None


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a mount must be made anew. ``is_hung``: its connection must be aborted, for calls wait in it."""

    event: str
    text: str
    is_hung: bool = False


def judge(facts: Facts, deadline: float) -> Fault | None:
    """The fault, or None where there is none. A store that answers with errors is no fault of the mount's: that is its health."""
    if facts.ended is not None:
        return Fault("died", f"the mounter ended: {facts.ended}")
    if not facts.is_mounted:
        return Fault("unmounted", "somebody took the mount away")
    if facts.pulse == HUNG:
        return Fault("hung", f"the mounter has not answered for {deadline:g} s", is_hung=True)
    if facts.store == HUNG:
        return Fault("hung", f"a read has not come back for {4 * deadline:g} s", is_hung=True)
    if facts.pulse in _BROKEN or facts.store in _BROKEN:
        return Fault("broken", "the mount is dead: nobody serves it")
    return None


def delay(attempt: int) -> float:
    """Seconds before the next attempt, the first being number 0: at once, then twice as long each time, up to a minute."""
    return 0.0 if attempt == 0 else min(_LONGEST_DELAY, _FIRST_DELAY * 2 ** min(attempt - 1, 20))
