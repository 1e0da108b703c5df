"""Which version a folder was laid out from by ``fetch --to``, so that ``status`` and ``push`` know it again.

One small file a folder in the user's cache folder, named by a digest of the folder's path: nothing of ours lies among the
user's files. Losing it loses the memory, no more.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from holdfast.model.digest import digest_of

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Checkouts"]


class Checkouts:
    """The memory, below the folder ``state``; ``place`` is the store that versions come from."""

    def __init__(self, state: Path, place: str) -> None:
        self._folder = state / "checkouts"
        self._place = place

    def remember(self, path: Path, name: str, version: str) -> None:
        """Note that this folder holds this version."""
        value = {"path": str(path.resolve()), "name": name, "version": version, "store": self._place}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file(path).write_text(json.dumps(value))
        except OSError:
            return  # a memory that cannot be kept fails no fetch

    def forget(self, path: Path) -> None:
        """Note that this folder holds no version, or none as a whole."""
        try:
            self._file(path).unlink(missing_ok=True)
        except OSError:
            return

    def find(self, path: Path) -> tuple[str, str] | None:
        """Name and version of what this folder was laid out from, if it came from this store."""
        try:
            value = json.loads(self._file(path).read_text())
            return (value["name"], value["version"]) if value["store"] == self._place else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _file(self, path: Path) -> Path:
        return self._folder / (digest_of(str(path.resolve()).encode(errors="surrogateescape"))[:40] + ".json")
