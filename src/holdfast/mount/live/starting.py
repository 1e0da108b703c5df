"""Starting a supervisor, and waiting until it has mounted, or has said why not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from holdfast.errors import HoldfastError, UnreachableError, raised_elsewhere
from holdfast.mount.live.finding import environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.mount.registry import Record

__all__ = ["handing_on", "start"]

#: Seconds until a supervisor must have mounted and tested, or said why not: its own deadlines are shorter together.
_PATIENCE: Final = 90.0
#: And those that it may take to end afterwards.
_END: Final = 30.0
#: And until it has said who it is.
_SAID: Final = 5.0


def start(record: Record, *, stays: bool) -> subprocess.Popen[bytes]:
    """Start the supervisor of a record, and wait until it has mounted. Unless it ``stays``, it is a process of its own that nobody waits for.

    Raises:
        HoldfastError: it has not mounted; what it said of that.
    """
    variables = environment(str(record.folder)) | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-P", "-m", "holdfast.mount.live.supervisor", str(record.folder), *["--stay"] * stays]
    process = None
    try:
        with open(record.folder / "supervisor.log", "ab") as log:
            process = subprocess.Popen(
                command,
                env=variables,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if not stays:
            process.wait()  # it goes on in a child of its own
        _wait_until_mounted(record, process if stays else None)
    except BaseException:
        if stays and process is not None:
            _end(process)
        else:
            _end_unseen(record, process)
        raise
    return process


@contextmanager
def handing_on(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Hand on Ctrl-C and SIGTERM to a supervisor that stays, and wait for it; where the block fails, end it first.

    Whoever is told in the block that it is mounted may end it from then on.
    """

    def hand_on(number: int, _: object) -> None:
        with suppress(ProcessLookupError):
            process.send_signal(number)

    before = {number: signal.signal(number, hand_on) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        try:
            yield
        except BaseException:
            _end(process)
            raise
        process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Have a supervisor unmount for good."""
    process.send_signal(signal.SIGINT)
    process.wait(_END)


def _end_unseen(record: Record, process: subprocess.Popen[bytes] | None) -> None:
    """Have a supervisor that goes on by itself unmount for good: one that has not said who it is, too, for it looks at what is asked of it."""
    record.request(unmount=True)
    if process is not None:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_SAID)
    deadline = time.monotonic() + _SAID
    while record.state.supervisor is None and record.state.state == "mounting" and time.monotonic() < deadline:
        time.sleep(0.02)
    state = record.state
    if state.supervisor is not None and not state.supervisor.end(_END):
        return
    if state.worker is not None:  # where its supervisor was killed, for it hung
        state.worker.end(0.0)


def _wait_until_mounted(record: Record, process: subprocess.Popen[bytes] | None) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        state = record.state
        if state.state == "mounted":
            return
        if state.state == "remounting":
            raise UnreachableError(
                f"{record.settings.dir} was mounted, and is not any more: {state.health}", subject=record.settings.dir
            )
        has_died = process is not None and process.poll() is not None
        if state.state in ("failed", "dead") or has_died:
            if state.supervisor is not None:
                state.supervisor.ended(_END)
            raise _reason(record)
        time.sleep(0.02)
    raise UnreachableError(f"{record.settings.dir} is not mounted after {_PATIENCE:g} s", subject=record.settings.dir)


def _reason(record: Record) -> HoldfastError:
    """Why a supervisor ended, from its record or what it printed."""
    told = record.state.more.get("error")
    if told is None:
        with open(record.folder / "supervisor.log", encoding="utf-8", errors="replace") as log:
            words = " ".join(log.read()[-600:].split())
        told = {"kind": "failed", "message": f"the supervisor ended: {words or 'it said nothing'}", "hint": None}
    return raised_elsewhere(told["kind"], told["message"], subject=record.settings.dir, hint=told["hint"])
