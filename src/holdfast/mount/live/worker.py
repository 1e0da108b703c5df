"""One run of a mounter: started, waited for until it is mounted, and ended without leaving a process or a dead mount."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from holdfast.errors import HoldfastError, UnreachableError
from holdfast.mount.process import Process
from holdfast.mount.table import abort, detach, mounted_at

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from holdfast.mount.table import Mounted

__all__ = ["START", "Worker"]

#: Seconds until a mounter must have mounted.
START: Final = 20.0
#: Layers that are taken away at most: nobody mounts more over each other.
_LAYERS: Final = 8
_TOLD: Final = 400


class Worker:
    """A mounter that runs, or did. What it prints goes to ``log``."""

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], directory: str, log: Path
    ) -> None:
        self.name, self.directory, self._log = name, directory, log
        with open(log, "ab") as output:
            self._printed = output.tell()
            self._process = subprocess.Popen(
                list(command),
                env=dict(environment),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.process = Process.of(self._process.pid)

    @property
    def seen(self) -> Mounted | None:
        """Its line in the kernel's table; None where it is not mounted."""
        return self._own()

    def is_own(self, mounted: Mounted) -> bool:
        """Whether this is its mount, and not one that came to its place."""
        return mounted.is_fuse

    @property
    def reached(self) -> str:
        """The path by which we look at what visitors see."""
        return self.directory

    @property
    def asked(self) -> str:
        """The path at which the mounter itself is asked: what stands above it may not tell that a store cannot be read."""
        return self.directory

    def show(self) -> None:
        """Have visitors see it, where they do not yet."""

    @property
    def fallen(self) -> list[str]:
        """What no longer lies over the mount, though it should."""
        return []

    @property
    def ended(self) -> str | None:
        """How it ended; None while it runs."""
        code = self._code()
        if code is None:
            return None
        how = f"exit code {code}" if code >= 0 else f"by {signal.Signals(-code).name}"
        last = self.last_words()
        return f"{how}{': ' if last else ''}{last}"

    def wait(self, seconds: float = START) -> None:
        """Wait until it has mounted; where it does not, nothing of it stays.

        Raises:
            UnreachableError: it did not mount in time.
            HoldfastError: it ended.
        """
        deadline = time.monotonic() + seconds
        while mounted_at(self.directory) is None:
            if (ended := self.ended) is not None:
                raise HoldfastError(f"{self.name} did not mount: it ended, {ended}", subject=self.name, hint=_HINT)
            if time.monotonic() > deadline:
                last = self.last_words()
                said = f"; it printed: {last}" if last else ""
                message = f"{self.name} hangs: it has not mounted within {seconds:g} s{said}"
                raise UnreachableError(message, subject=self.name, hint=_HINT)
            time.sleep(0.02)

    def end(self, *, hung: bool, patience: float = 3.0) -> bool:
        """End it and take its mount away; True where it had left a dead mount point.

        One that hung is cut off from who waits for it, then killed; any other has its mount taken first, and may finish.
        """
        mounted = self._own()
        was_dead = mounted is not None and self.ended is not None
        if hung and mounted is not None:
            abort(mounted)
        if hung:
            self._send(signal.SIGKILL)
        self._take_away()
        if not hung:
            self._send(signal.SIGTERM)
            self._has_ended(patience)
        self._send(signal.SIGKILL)  # the group: what it started, too
        self._has_ended(5.0)
        self._process.poll()  # from here on another process may have its number
        self._take_away()  # it may have mounted meanwhile
        return was_dead

    def last_words(self) -> str:
        """The end of what this run printed, in one line."""
        with suppress(OSError), open(self._log, "rb") as output:
            output.seek(self._printed)
            text = " ".join(output.read()[-4096:].decode(errors="replace").split())
            return text if len(text) <= _TOLD else f"...{text[-_TOLD:]}"
        return ""

    def _own(self) -> Mounted | None:
        """What it mounted itself."""
        return mounted_at(self.directory)

    def _take_away(self) -> None:
        take_away(self.directory)

    def _code(self) -> int | None:
        """As ``Popen.poll``; but it is not reaped, so that its number stays its own, and its group's."""
        if self._process.returncode is not None:
            return self._process.returncode
        found = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if found is None:
            return None
        return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status

    def _has_ended(self, seconds: float) -> bool:
        """Wait for its end; False where it has not come in time."""
        deadline = time.monotonic() + seconds
        while self._code() is None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def _send(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)


def take_away(directory: str) -> None:
    """Take away every FUSE mount at this directory, hung or dead."""
    for _ in range(_LAYERS):
        mounted = mounted_at(directory)
        if mounted is None or not mounted.is_fuse or not detach(directory):
            return


_HINT: Final = "look at the bucket's name, the endpoint, the credentials, and the options"
