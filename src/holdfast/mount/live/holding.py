"""A mounter's connection to the kernel, held so that it outlives the mounter: who reads waits then, instead of being told at once that it is gone.

A program that unites several mounts takes an error of one for a directory that is not there, and shows the files of the others alone. So a branch
never answers with an error before its union is cut off: the supervisor holds the connection, and aborts it only after that.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from typing import Final

__all__ = ["Connection"]

_PIDFD_GETFD: Final = 438
_DEVICE: Final = "/dev/fuse"


class Connection:
    """The device of one mounter at a time."""

    def __init__(self) -> None:
        self._held: list[int] = []

    def hold(self, process: int) -> bool:
        """Have what this process holds of the device; False where the kernel does not let us (before 5.6, or for want of a right)."""
        self.release()
        with suppress(OSError):
            handle = os.pidfd_open(process)
            try:
                for number in _devices(process):
                    descriptor = ctypes.CDLL(None).syscall(_PIDFD_GETFD, handle, number, 0)
                    if descriptor >= 0:
                        self._held.append(descriptor)
            finally:
                os.close(handle)
        return bool(self._held)

    def release(self) -> None:
        """Let go of it."""
        while self._held:
            os.close(self._held.pop())


def _devices(process: int) -> list[int]:
    found = []
    for number in os.listdir(f"/proc/{process}/fd"):
        with suppress(OSError):
            if os.readlink(f"/proc/{process}/fd/{number}") == _DEVICE:
                found.append(int(number))
    return found
