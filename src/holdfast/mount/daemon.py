"""Starting the supervisor of a mounted version, and what is its own about ending it (:mod:`~holdfast.mount.unmounting`).

Example::

    record = start(registry, Path("/mnt/bert"), "nlp/bert:1.2", order)
    unmount(registry, record, WAYS)
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from typing import IO, TYPE_CHECKING, Final

from holdfast.errors import HoldfastError, raised_elsewhere
from holdfast.mount import device
from holdfast.mount.process import Process
from holdfast.mount.registry import MountSettings
from holdfast.mount.table import detach, mounted_at
from holdfast.mount.unmounting import Ways

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from holdfast.mount.order import Order
    from holdfast.mount.registry import Record, Registry

__all__ = ["VERSION", "WAYS", "start"]

#: The kind of a mount that is a version.
VERSION: Final = "version"


def start(
    registry: Registry,
    directory: Path,
    source: str,
    order: Order,
    *,
    foreground: Callable[[Record], None] | None = None,
) -> Record:
    """Mount a version on a directory and return once it is there; with ``foreground``, which is called then, once it has ended.

    Raises:
        HoldfastError: why not; nothing is left behind.
    """
    settings = MountSettings(str(directory), source, VERSION, order.value())
    with registry.claimed(settings) as record:
        try:
            launched = _launch(record, foreground=foreground is not None)
        except BaseException:
            record.remove()
            raise
    if foreground is not None:
        foreground(record)
        _stay(launched)
        record.remove()
    return record


def _launch(record: Record, *, foreground: bool) -> subprocess.Popen[bytes]:
    """Start the supervisor, and wait for what it says of mounting."""
    reading, writing = os.pipe()
    words = [sys.executable, "-P", "-m", "holdfast.mount.supervisor", str(record.folder), str(writing)]
    log = record.folder / "supervisor.log"
    with open(reading, "rb") as said, open(log, "ab") as output:
        words += ["stay"] * foreground
        out = None if foreground else output
        try:
            launched = subprocess.Popen(words, pass_fds=[writing], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        finally:
            os.close(writing)
        if not foreground:
            launched.wait()
        _hear(said, log)
    return launched


def _hear(said: IO[bytes], log: Path) -> None:
    """Wait until a supervisor has mounted.

    Raises:
        HoldfastError: why it has not; or it is ended, as its starter is.
    """
    number = said.readline().strip()
    try:
        answer = said.read()
    except BaseException:
        if number:
            Process.of(int(number)).end(5.0)
        raise
    if answer == b"{}":
        return
    try:
        error = json.loads(answer)
    except ValueError:
        words = " ".join(log.read_text("utf-8", "replace")[-600:].split())
        raise HoldfastError(f"the mount's supervisor ended: {words or 'it said nothing'}", subject=str(log)) from None
    known = {name: error.get(name) for name in ("name", "subject", "hint")}
    raise raised_elsewhere(error["kind"], error["message"], **known)


def _stay(launched: subprocess.Popen[bytes]) -> None:
    """Wait until the mount has ended; Ctrl-C is the supervisor's, which unmounts."""
    if threading.current_thread() is not threading.main_thread():  # which no signal reaches
        launched.wait()
        return
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        launched.wait()
    finally:
        signal.signal(signal.SIGINT, before)


def _free(record: Record) -> None:
    """Take away what a mount without processes left at its directory."""
    found = mounted_at(record.settings.dir)
    while found is not None and found.type == device.TYPE and detach(record.settings.dir):
        found = mounted_at(record.settings.dir)


#: How versions are unmounted: nothing is ever written there that would be lost.
WAYS: Final = Ways(lambda _: [], _free)
