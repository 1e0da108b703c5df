"""Directories that commands are given, which may be writable mounts; asked without loading what mounts need where there never were any."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.cli.options import Session
    from holdfast.mount.edits import Edits

__all__ = ["writable_at"]


def writable_at(session: Session, directory: str) -> Edits | None:
    """The changes of a writable mount at a directory, None where it is none.

    Raises:
        UsageError: its version is of another store.
    """
    if not (session.repository.state / "edits").is_dir():
        return None
    from holdfast.mount.writable import edits_at

    return edits_at(session.repository, directory)
