"""Unmounting, of either kind: who holds the mount is named, what was not sent is waited for, and nothing of the mount stays.

A supervisor that lives is told by a request in the record and SIGTERM; where it is gone, what it left is taken away here. What is a kind's
own (what waits to be sent, how its directory is made free) is passed in.
"""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from holdfast.errors import BusyError, ConflictError
from holdfast.mount.holders import holders

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.mount.holders import Holder
    from holdfast.mount.registry import Record, Registry

__all__ = ["Ways", "refuse_used", "told", "unmount"]

_TICK: Final = 0.2
#: Seconds that what was written is waited for without ``wait``, and that a supervisor may take to end.
_SENT, _END = 30.0, 120.0
_TOLD: Final = 50


@dataclass(frozen=True, slots=True)
class Ways:
    """What a kind of mounts does in its own way: ``waiting`` names what was written and is not in the store, ``free`` takes away what is mounted.

    ``is_sent`` says whether a supervisor that lives sends that by itself; what it does not send is refused at once. ``laid`` are paths over
    the mount that lie on this machine's own disk: who holds those loses nothing by its end.
    """

    waiting: Callable[[Record], list[str]]
    free: Callable[[Record], object]
    is_sent: bool = True
    laid: Callable[[Record], list[str]] = lambda _: []


def unmount(
    registry: Registry,
    record: Record,
    ways: Ways,
    *,
    wait: bool = False,
    discard: bool = False,
    closed: bool = False,
    cut_off: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Take a mount away, and its record with it.

    Args:
        registry: where its record lies.
        record: the mount.
        ways: those of its kind.
        wait: wait until nobody holds it and everything is sent, instead of failing; ``say`` is told what is waited for.
        discard: take it away though it is held, and give up what was not sent or pushed.
        closed: the directory stays closed, and its record with it, for another mount that comes at once.
        cut_off: who holds it without a file open for writing does not keep it, and gets errors.
        say: takes a line for people.

    Raises:
        BusyError: somebody holds it, or something was not sent: the mount stays. Or its supervisor does not end.
        ConflictError: something was written that nobody sends by itself, or that a dead mount has not sent.
    """
    if not discard and record.is_served:
        _let_go(lambda: _holders(record, ways, writing=cut_off), record.settings.dir, wait=wait, say=say)
        _sent(record, ways, wait=wait, say=say)
    with registry.turn(record.settings.dir):
        record.request(unmount=not closed, discard=discard)
        _end(record)
        ways.free(record)
        left = [] if discard else ways.waiting(record)
        if left:
            raise ConflictError(
                f"{record.settings.dir} is unmounted, and its cache is kept, for it holds what was not sent: {told(left)}",
                subject=record.settings.dir,
                hint=f"mount the same again to send it, or give it up: asset unmount {record.settings.dir} --discard",
            )
        if not closed:
            record.remove()


def refuse_used(record: Record, ways: Ways, *, wait: bool = False, cut_off: bool = False) -> None:
    """Raise what :func:`unmount` would, as far as that is known without waiting; nothing is changed. ``wait``: who holds it is waited for then.

    Raises:
        BusyError: somebody holds it.
        ConflictError: something was written that nobody sends by itself, or that a dead mount has not sent.
    """
    if record.is_served and not wait:
        _let_go(lambda: _holders(record, ways, writing=cut_off), record.settings.dir, wait=False, say=lambda _: None)
    if (record.is_served and ways.is_sent) or not (left := ways.waiting(record)):
        return
    raise ConflictError(
        f"{record.settings.dir} holds what was not sent: {told(left)}",
        subject=record.settings.dir,
        hint=f"mount the same again to send it, or give it up: asset unmount {record.settings.dir} --discard",
    )


def told(names: list[str]) -> str:
    """Names for people, the first few."""
    more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
    return ", ".join(names[:_TOLD]) + more


def _let_go(held: Callable[[], list[Holder]], directory: str, *, wait: bool, say: Callable[[str], None]) -> None:
    """Wait until nobody holds it, or refuse."""
    said = ""
    while found := held():
        text = "; ".join(map(str, found[:5]))
        if not wait:
            hint = "end them, wait for them with --wait, or take it away all the same with --discard"
            raise BusyError(f"{directory} is in use: {text}", subject=directory, hint=hint)
        if text != said:
            say(f"waiting: {text}")
            said = text
        time.sleep(_TICK)


def _sent(record: Record, ways: Ways, *, wait: bool, say: Callable[[str], None]) -> None:
    """Wait until everything is sent, or refuse."""
    deadline, said = time.monotonic() + _SENT, 0
    while left := ways.waiting(record):
        if not ways.is_sent:
            message = f"{record.settings.dir} holds changes that were not pushed: {told(left)}"
            hint = f"asset push {record.settings.dir}, or give them up with --discard"
            raise ConflictError(message, subject=record.settings.dir, hint=hint)
        if not wait and time.monotonic() > deadline:
            message = f"{record.settings.dir} has not sent everything yet: {told(left)}"
            hint = "wait for it with --wait, or give it up with --discard"
            raise BusyError(message, subject=record.settings.dir, hint=hint)
        if len(left) != said:
            say(f"waiting for {len(left)} files to be sent")
            said = len(left)
        time.sleep(_TICK)


def _holders(record: Record, ways: Ways, *, writing: bool) -> list[Holder]:
    state = record.state
    own = {process.pid for process in (state.supervisor, state.worker) if process is not None}
    found = holders(record.settings.dir, ways.laid(record), writing=writing)
    return [each for each in found if each.pid not in own and each.parent not in own]


def _end(record: Record) -> None:
    """Have its processes end, the supervisor first, which does the rest."""
    state = record.state
    if state.supervisor is not None:
        state.supervisor.send(signal.SIGTERM)
        if not state.supervisor.ended(_END):
            message = f"the supervisor of {record.settings.dir} (process {state.supervisor.pid}) does not end"
            raise BusyError(message, subject=record.settings.dir, hint="its supervisor.log says what it does")
    if state.worker is not None:
        state.worker.end(10.0)
