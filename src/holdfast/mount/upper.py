"""Reads the upper directory of an overlay file system as tables of changes, and makes one of them.

A whiteout is a character device of number 0, an opaque directory has an extended attribute: the kernel documents both
(Documentation/filesystems/overlayfs). fuse-overlayfs has attributes of its own, and files named ``.wh.NAME`` where it may make no
devices. What changes mean, and what is left of them, is said in :mod:`holdfast.mount.layers`.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from holdfast.cache.stats import Walked
from holdfast.disk import sync_file_system
from holdfast.errors import LocalError
from holdfast.mount.layers import OPAQUE, WHITEOUT, below, rows_of, table_of

if TYPE_CHECKING:
    from holdfast.formats.stats import DirTable
    from holdfast.mount.layers import Row, Tables

__all__ = ["UpperTree", "make_upper", "read_upper"]

#: Where each kind of overlay notes that a directory is opaque. The first is written.
_OPAQUE: Final = {
    "overlayfs": ("trusted.overlay.opaque",),
    "fuse-overlayfs": ("user.fuseoverlayfs.opaque", "trusted.overlay.opaque", "user.overlay.opaque"),
}
_MARK: Final = ".wh."
_MARKED_OPAQUE: Final = ".wh..wh..opq"


class UpperTree(Walked):
    """The changes in an upper directory that a ``kind`` of overlay made (overlayfs, fuse-overlayfs)."""

    def __init__(self, root: str, kind: str) -> None:
        super().__init__(root, (), follow_links=False)
        self._attributes = _OPAQUE[kind]
        self._has_marks = kind == "fuse-overlayfs"

    def table(self, directory: str) -> DirTable:
        """One directory of changes as it is now."""
        table = super().table(directory)
        rows = rows_of(table)
        special = {name: self._read(directory, name, row) for name, row in rows.items() if _may_be_special(row[0])}
        marks = {name for name in rows if name.startswith(_MARK)} if self._has_marks else set[str]()
        if not marks and all(rows[name] == row for name, row in special.items()):
            return table
        rows |= special
        for name in marks:
            del rows[name]
            hidden = name.removeprefix(_MARK)
            if not hidden.startswith(".wh.") and hidden != ".opq":
                rows.setdefault(hidden, (WHITEOUT, 0, 0, 0, 0))
        return table_of(rows)

    def _read(self, directory: str, name: str, row: Row) -> Row:
        path = self.path(directory, name)
        if stat.S_ISCHR(row[0]):
            return (WHITEOUT, 0, 0, 0, 0) if os.lstat(path).st_rdev == 0 else row
        return (row[0] | OPAQUE, *row[1:]) if self._is_opaque(path) else row

    def _is_opaque(self, path: str) -> bool:
        for attribute in self._attributes:
            with suppress(OSError):  # there is none, or none of this name space
                if os.getxattr(path, attribute, follow_symlinks=False) == b"y":
                    return True
        return self._has_marks and os.path.lexists(f"{path}/{_MARKED_OPAQUE}")


def _may_be_special(mode: int) -> bool:
    return stat.S_ISCHR(mode) or stat.S_ISDIR(mode)


def read_upper(root: str, kind: str, *, flush: bool = False) -> UpperTree:
    """The changes in an upper directory.

    ``flush``: what is written already is brought to the disk first, so that whatever is written later changes the time of its file. By way
    of a memory map it does not while the page waits for the disk.

    Raises:
        LocalError: it cannot be read.
        UsageError: a name in it is not UTF-8.
    """
    tree = UpperTree(root, kind)
    try:
        if flush:
            sync_file_system(Path(root))
        tree.run()
    except OSError as error:
        raise LocalError(f"{error.strerror}: {error.filename or root}", subject=str(root)) from error
    return tree


def make_upper(tables: Tables, source: str, target: str, kind: str) -> None:
    """An upper directory with these changes, of which files are taken from another one as they are, by links.

    Args:
        tables: the changes; ``source`` has every file and directory of them.
        source: the upper directory that they are in. It stays as it is.
        target: the new one, which is not there yet.
        kind: of the overlay that both are for.

    Raises:
        OSError: the file system refuses.
    """
    os.mkdir(target)
    for directory in sorted(tables):
        for name, row in rows_of(tables[directory]).items():
            path = below(directory, name)
            _make(f"{source}/{path}", f"{target}/{path}", row[0], kind)
    for directory in sorted(tables, reverse=True):  # deepest first: making what lies in one changes its time
        _liken(f"{source}/{directory}" if directory else source, f"{target}/{directory}" if directory else target)


def _make(source: str, target: str, mode: int, kind: str) -> None:
    if mode == WHITEOUT:
        os.mknod(target, stat.S_IFCHR, os.makedev(0, 0))
    elif not stat.S_ISDIR(mode):
        os.link(source, target, follow_symlinks=False)
    else:
        os.mkdir(target)
        if mode & OPAQUE:
            _make_opaque(target, kind)


def _make_opaque(path: str, kind: str) -> None:
    try:
        os.setxattr(path, _OPAQUE[kind][0], b"y")
    except OSError as error:
        if kind != "fuse-overlayfs" or error.errno not in (errno.EOPNOTSUPP, errno.EPERM):
            raise
        os.close(os.open(f"{path}/{_MARKED_OPAQUE}", os.O_CREAT | os.O_WRONLY, 0o600))


def _liken(source: str, target: str) -> None:
    """Give a directory the owner, mode and times of another."""
    status = os.stat(source)
    os.chown(target, status.st_uid, status.st_gid)
    os.chmod(target, stat.S_IMODE(status.st_mode))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
