"""What keeps a writable mount from being mounted or unmounted, by its record, its changes, and who is in it. Nothing is changed here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from holdfast.errors import BusyError, ConflictError
from holdfast.mount.holders import holders

if TYPE_CHECKING:
    from holdfast.mount.changes import Changes
    from holdfast.mount.edits import EditsRecord
    from holdfast.mount.moving import Mover

__all__ = ["END_THEM", "LET_GO", "refuse_held", "refuse_lost", "refuse_other", "refuse_shown"]

#: What to do about those who are in a mount that is to be unmounted, or mounted again.
LET_GO: Final = "end them, wait for them with --wait, or give up the mount and its changes with --discard"
END_THEM: Final = "end them, and mount it again"


def refuse_shown(mover: Mover, record: EditsRecord) -> bool:
    """Whether a directory shows what nobody serves any more; raise BusyError where somebody does."""
    if mover.shown(record) is None:
        return False
    if not mover.is_dead(record):
        message = f"{record.path} is a writable mount of {record.base.name}:{record.base.version} already"
        raise BusyError(message, subject=record.directory, hint=f"asset unmount {record.path}")
    return True


def refuse_other(before: EditsRecord, changes: Changes) -> None:
    """Raise ConflictError where there are changes, which another version than theirs cannot have above it."""
    if changes:
        old, path = f"{before.base.name}:{before.base.version}", before.path
        raise ConflictError(
            f"{path} has unpushed changes of {old}: {changes.named()}",
            subject=before.directory,
            hint=f"go on with: asset mount {old} {path} --writable, or throw them away with: asset unmount {path} --discard",
        )


def refuse_held(record: EditsRecord, hint: str) -> None:
    """Raise BusyError where somebody is in the directory, with what to do about it."""
    if found := holders(record.directory)[:5]:
        message = f"{record.path} is in use: {'; '.join(map(str, found))}"
        raise BusyError(message, subject=record.directory, hint=hint)


def refuse_lost(record: EditsRecord, changes: Changes) -> None:
    """Raise ConflictError where there are changes that would be lost, with what to do about it."""
    if changes:
        raise ConflictError(
            f"{record.path} has unpushed changes: {changes.named()}",
            subject=record.directory,
            hint=f"asset push {record.path} publishes them; asset unmount {record.path} --discard throws them away",
        )
