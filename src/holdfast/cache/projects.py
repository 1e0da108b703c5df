"""Which bucket the store of each project lies in, as a server told last: so that a mount of it is found while the server is silent.

One small file a project in the user's cache folder. Losing it loses the memory, no more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.model.digest import digest_of

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Projects"]


class Projects:
    """The memory, below the folder ``state``."""

    def __init__(self, state: Path) -> None:
        self._folder = state / "projects"

    def remember(self, project: str, bucket: str) -> None:
        """Note that the project of this URL has its store there."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file(project).write_text(f"{project}\n{bucket}\n", encoding="utf-8")
        except (OSError, UnicodeEncodeError):
            return  # a memory that cannot be kept fails nothing

    def find(self, project: str) -> str | None:
        """Where the store of the project of this URL was."""
        try:
            lines = self._file(project).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            return None
        return lines[1] if len(lines) == 2 and lines[0] == project else None

    def forget(self, project: str) -> None:
        """Take it back: it is elsewhere."""
        try:
            self._file(project).unlink(missing_ok=True)
        except OSError:
            return

    def _file(self, project: str) -> Path:
        return self._folder / digest_of(project.encode())[:40]
