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


def start(record: Record, *, stays: bool) -> subprocess.Popen[bytes]:
    """Start the supervisor of a record, and wait until it has mounted. Unless it ``stays``, it is a process of its own that nobody waits for.

    Raises:
        HoldfastError: it has not mounted; what it said of that.
    """
    variables = environment(str(record.folder)) | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with open(record.folder / "supervisor.log", "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "holdfast.mount.live.supervisor", str(record.folder), *["--stay"] * stays],
            env=variables,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    if not stays:
        process.wait()  # it goes on in a child of its own
    try:
        _wait_until_mounted(record, process if stays else None)
    except BaseException:
        if stays:
            _end(process)
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


def _wait_until_mounted(record: Record, process: subprocess.Popen[bytes] | None) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        state = record.state
        if state.state == "mounted":
            return
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
