"""Waits for a program that was started with a process group of its own (``start_new_session=True``), and ends the group with it.

The program is not reaped before its group was killed: until then nobody else can have its number. Example::

    process = subprocess.Popen(words, start_new_session=True)
    code = code_of(process, deadline=60.0)
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

__all__ = ["code_of"]

#: How often, in seconds, a running program is looked after.
_LOOK: Final = 0.02


def code_of(process: subprocess.Popen[Any], deadline: float, alive: Callable[[], None] = lambda: None) -> int | None:
    """Its exit code; None where it was killed after ``deadline`` seconds. What it left behind in its group is killed, too.

    ``alive`` is asked meanwhile, and ends it by raising.
    """
    try:
        has_ended = _ends(process.pid, time.monotonic() + deadline, alive)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
    return code if has_ended else None


def _ends(pid: int, until: float, alive: Callable[[], None]) -> bool:
    """Whether it ended in time; it is not reaped."""
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        alive()
        if time.monotonic() > until:
            return False
        time.sleep(_LOOK)
    return True
