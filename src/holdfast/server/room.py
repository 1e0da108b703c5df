"""Room on the server's own disk for bytes on their way into a store: asked for before they come, so that nobody fills it up."""

from __future__ import annotations

import shutil
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from holdfast.errors import BusyError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Room"]

#: What stays free, for the database lies there, too: so much, or this part of a small disk.
_KEPT: Final = 1 << 30
_PART: Final = 20


class Room:
    """The room in one folder, shared by the requests of a process."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._coming = 0
        self._lock = threading.Lock()

    @contextmanager
    def taken(self, size: int) -> Iterator[None]:
        """While the block runs, so many bytes may come.

        Raises:
            BusyError: there is no room for them beside those of others.
        """
        disk = shutil.disk_usage(self.folder)
        with self._lock:
            if self._coming + size > disk.free - min(_KEPT, disk.total // _PART):
                raise BusyError(f"the server has no room for {size} bytes", hint="try again later, or ask its operator")
            self._coming += size
        try:
            yield
        finally:
            with self._lock:
                self._coming -= size
