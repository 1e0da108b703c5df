"""What a mount that is over left: taken away, and its directory opened again, or kept closed for the next mount there."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from holdfast.mount import unmounting
from holdfast.mount.live.apart import remove_place
from holdfast.mount.live.parts import remove_places
from holdfast.mount.live.plan import KINDS, Plan, waiting
from holdfast.mount.live.underneath import Underneath
from holdfast.mount.live.worker import take_away
from holdfast.mount.registry import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.mount.registry import Record

__all__ = ["WAYS", "clear", "free", "loosen", "taken_over", "undo"]


def taken_over(before: Record) -> int | None:
    """Take away what a mount left at its directory; the directory's own bits, None where it is gone.

    As root it stays closed: what is brought before the next mount is there would be hidden under that.
    """
    if os.geteuid() != 0:
        return free(before)
    return _left(before, lambda _: None)


def free(before: Record) -> int | None:
    """Take away what a mount left at its directory, and open the directory again; its permission bits, None where it is gone."""
    return _left(before, Underneath.free)


def loosen(before: Record) -> None:
    """Take away what a mount left at its directory, which keeps no permission bits, but may be moved and given some."""
    _left(before, Underneath.loosen)


def _left(before: Record, do: Callable[[Underneath], None]) -> int | None:
    """Take away what a mount left, and do this to its directory; the directory's own bits, None where it is gone, or was no live mount's."""
    clear(before)
    if before.settings.kind not in KINDS:
        return None
    plan = Plan.of(before)
    if plan.parts is not None:
        remove_places(plan.parts)
    try:
        below = Underneath(before.settings.dir, plan.mode)
    except OSError:
        return None
    do(below)
    below.release()
    return below.mode


def clear(before: Record) -> None:
    """Take away what a mount that is over left mounted, what is seen first; its directory stays as it is."""
    take_away(before.settings.dir)
    if before.settings.kind not in KINDS:
        return
    plan = Plan.of(before)
    if plan.apart:
        remove_place(plan.apart)
    parts = plan.parts
    for left in () if parts is None else (parts.whole, parts.bucket):
        take_away(left)


def _laid(record: Record) -> list[str]:
    """What lies over it on this machine's own disk."""
    parts = Plan.of(record).parts if record.settings.kind in KINDS else None
    return [] if parts is None else [f"{record.settings.dir}/{path}" for path in parts.laid]


#: How live mounts are unmounted.
WAYS: Final = unmounting.Ways(waiting, free, laid=_laid)


def undo(before: Record | None, mode: int | None, record: Record | None, *, opens: bool) -> None:
    """After an attempt that came to nothing: what was known of a mount there is known again, and its directory is closed again.

    Where nothing was known, it is as before; unless it ``opens``, whoever closed it gives it permission bits.
    """
    if record is not None and record.is_served:
        return  # it does not end: whoever unmounts has to know of it
    if before is None:
        if record is not None:
            (free if opens else loosen)(record)
            if not waiting(record):
                record.remove()
        return
    if record is not None:
        clear(record)
    if mode is not None:
        with suppress(OSError):
            below = Underneath(before.settings.dir, mode)
            below.close_it()
            below.release()
    if record is not None:
        before.reinstate(State("unmounted"))
