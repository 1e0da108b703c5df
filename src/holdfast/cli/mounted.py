"""Directories that commands are given, which may be writable mounts; asked without loading what mounts need where there never were any."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from holdfast.errors import UnreachableError, UsageError

if TYPE_CHECKING:
    from holdfast.cli.options import Session
    from holdfast.mount.edits import Edits

__all__ = ["existing", "touchable", "writable_at"]

#: Seconds for a mount to answer.
_PATIENCE: Final = 10.0
_TABLE: Final = "/proc/self/mountinfo"


def touchable(path: str) -> str:
    """A path from the command line, once it is known that looking at it does not hang: where anything on this machine
    is mounted that may hang, a child looks first.

    Raises:
        UnreachableError: the mount that it lies in does not answer.
    """
    if _may_hang():
        from holdfast.mount.children import Child, LateError

        try:
            with suppress(OSError):  # whoever looks sees it again
                Child(lambda: os.statvfs(path).f_namemax).result(_PATIENCE)  # which the kernel keeps no answer to
        except LateError:
            message = f"{path} cannot be looked at: the mount that it lies in has not answered for {_PATIENCE:g} s"
            raise UnreachableError(message, subject=path, hint="asset mounts shows how it is") from None
    return path


def existing(path: str) -> str:
    """A path from the command line from which something is read; one that is :func:`touchable`.

    Raises:
        UsageError: nothing is there, or a link that leads to nothing.
    """
    if not os.path.exists(os.path.expanduser(path)):
        what = "is a link to nothing" if os.path.islink(path) else None
        raise UsageError(f"{path} {what}" if what else f"no file or directory {path!r}", subject=path)
    return path


def _may_hang() -> bool:
    """Whether anything is mounted on this machine that a program serves, or that the network does, and so may hang."""
    try:
        with open(_TABLE, encoding="utf-8", errors="surrogateescape") as table:
            kinds = [line.partition(" - ")[2].partition(" ")[0] for line in table]
    except OSError:
        return False
    return any(kind.startswith(("fuse", "nfs", "cifs", "smb", "ceph", "9p", "lustre")) for kind in kinds)


def writable_at(session: Session, directory: str) -> Edits | None:
    """The changes of a writable mount at a directory, None where it is none.

    Raises:
        UsageError: its version is of another store.
    """
    if not (session.repository.state / "edits").is_dir():
        return None
    from holdfast.mount.writable import edits_at

    return edits_at(session.repository, directory)
