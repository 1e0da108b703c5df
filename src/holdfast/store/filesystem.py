"""What kind of file system a path lies on, told by the kernel's table of mounts, without touching the path.

Whether a file system creates a file only if it is absent, for all its clients at once, no probe from one of them can find out: it is
known by its type, or not at all (design §4).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from holdfast.disk import mount_table

__all__ = ["FileSystem", "file_system_of", "mount_points"]

#: File systems of one machine's disks and memory: who else writes there is on this machine.
_LOCAL: Final = frozenset(
    (
        "ext2",
        "ext3",
        "ext4",
        "xfs",
        "btrfs",
        "zfs",
        "f2fs",
        "bcachefs",
        "jfs",
        "nilfs2",
        "tmpfs",
        "overlay",
        "apfs",
        "hfs",
    )
)
#: Shared file systems whose exclusive creation and hard links hold between their clients.
_SHARED: Final = frozenset(("nfs4", "ceph", "lustre", "gpfs"))
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class FileSystem:
    """Its type as the kernel calls it (``fuse.s3fs``), where it is mounted, and of what; empty where the system does not tell."""

    type: str
    root: str
    source: str

    @property
    def is_local(self) -> bool:
        """Whether it lies on this machine, so that its calls come back."""
        return self.type in _LOCAL

    @property
    def is_atomic(self) -> bool:
        """Whether it is known to create a file only if it is absent, between all who write there."""
        return self.is_local or self.type in _SHARED


def file_system_of(path: str, table: str | None = None) -> FileSystem:
    """The file system of an absolute path without links; ``table`` is read from the kernel where it is not given."""
    if table is None:
        try:
            table = mount_table()
        except OSError:
            return FileSystem("", "", "")
    found = FileSystem("", "", "")
    for line in table.split("\n"):
        before, _, after = line.partition(" - ")
        places, kinds = before.split(" "), after.split(" ")
        if len(places) < 5 or len(kinds) < 2:
            continue
        root = _unescaped(places[4]).rstrip("/")
        if (path == root or path.startswith(root + "/")) and len(root) >= len(found.root.rstrip("/")):
            found = FileSystem(kinds[0], root or "/", _unescaped(kinds[1]))
    return found


def mount_points(table: str | None = None) -> dict[str, str]:
    """Where something is mounted → the type of the topmost file system there, as the kernel's table says it."""
    if table is None:
        try:
            table = mount_table()
        except OSError:
            return {}
    found: dict[str, str] = {}
    for line in table.split("\n"):
        before, _, after = line.partition(" - ")
        places = before.split(" ")
        if len(places) >= 5:
            found[_unescaped(places[4])] = after.split(" ")[0]
    return found


def _unescaped(text: str) -> str:
    """Blanks, tabs, line ends and backslashes stand in the table as octal numbers."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), text)
