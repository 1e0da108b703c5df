"""Opening files that are whole in the cache for the kernel to read itself, and all others plainly.

Needs leave that only a privileged process has; without it, and where the cache lies on a file system that cannot be read
this way, files are opened plainly.
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from holdfast.mount.operations import KEEP_CACHE, PASSTHROUGH

if TYPE_CHECKING:
    from holdfast.mount.base import View
    from holdfast.mount.handles import Handles
    from holdfast.mount.operations import Opened

__all__ = ["Passing"]

_BACKING_OPEN: Final = 0x4010E501
_BACKING_CLOSE: Final = 0x4004E502


class Passing:
    """Opens files by passthrough where that is possible; called by many threads at once."""

    def __init__(self, device: int, view: View, handles: Handles) -> None:
        self._device = device
        self._view = view
        self._handles = handles
        self._lock = threading.Lock()

    def open(self, node: int) -> Opened:
        """A handle, and how the kernel is to read the file: as everybody does who has it open now, else as is best."""
        with self._lock:
            backing = self._handles.backing(node)
            if backing is not None:
                return self._opened(node, backing)
        offered = self._offer(node)
        with self._lock:
            backing = self._handles.backing(node)
            if backing is None:
                return self._opened(node, offered)
            if offered:  # another thread came first
                self._withdraw(offered)
            return self._opened(node, backing)

    def release(self, handle: int) -> None:
        """Take a handle back, and with the last one of a file its place in the kernel."""
        with self._lock:
            unused = self._handles.give_back(handle)
            if unused is not None:
                self._withdraw(unused)

    def _opened(self, node: int, backing: int) -> Opened:
        handle = self._handles.take(node, backing)
        return (handle, PASSTHROUGH, backing) if backing else (handle, KEEP_CACHE, 0)

    def _offer(self, node: int) -> int:
        """The backing id of a file that is whole, registered with the kernel; 0 where there is none."""
        descriptor = self._view.whole(node)
        if descriptor is None:
            return 0
        try:
            if os.fstat(descriptor).st_size != self._view.attributes(node).size:
                return 0
            return int(fcntl.ioctl(self._device, _BACKING_OPEN, bytearray(struct.pack("=iIQ", descriptor, 0, 0))))
        except OSError:  # not privileged, or a file system that cannot be stacked on
            return 0
        finally:
            os.close(descriptor)

    def _withdraw(self, backing: int) -> None:
        with suppress(OSError):
            fcntl.ioctl(self._device, _BACKING_CLOSE, struct.pack("=I", backing))
