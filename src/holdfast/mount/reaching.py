"""Reaching a path piece by piece, following no link: who may write to a directory above it could turn it elsewhere, and root acts on it."""

from __future__ import annotations

import os
from typing import Final

__all__ = ["opened"]

_WALK: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class opened:  # noqa: N801 - used as a function
    """A descriptor of a path from the root on, of which no piece is a link; OSError where one is. ``last`` are more flags for its end."""

    def __init__(self, path: str, last: int = os.O_DIRECTORY) -> None:
        self._pieces, self._last = [piece for piece in path.split("/") if piece], last

    def __enter__(self) -> int:
        self._descriptor = os.open("/", _WALK | os.O_DIRECTORY)
        for at, piece in enumerate(self._pieces, 1):
            above = self._descriptor
            flags = self._last if at == len(self._pieces) else os.O_DIRECTORY
            try:
                self._descriptor = os.open(piece, _WALK | flags, dir_fd=above)
            finally:
                os.close(above)
        return self._descriptor

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
