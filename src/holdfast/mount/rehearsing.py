"""What mounting a version to change it, and unmounting it, would do: refused as the deeds of :mod:`.editing` are, as far as looking tells it.

Nothing is changed, nobody is kept from writing, and no push that was killed is gone on with; what that would leave is known all the same.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.errors import HoldfastError
from holdfast.model.spec import AssetSpec
from holdfast.mount import overlay
from holdfast.mount.editing import above, named_base, names_alone
from holdfast.mount.edits import Edits
from holdfast.mount.layers import remaining, table_of
from holdfast.mount.live.underneath import checked, resolved
from holdfast.mount.mounted import Identity
from holdfast.mount.moving import Mover
from holdfast.mount.refusing import END_THEM, LET_GO, refuse_held, refuse_lost, refuse_other, refuse_shown
from holdfast.mount.upper import read_upper

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.mount.changes import Changes
    from holdfast.mount.edits import EditsRecord
    from holdfast.mount.moving import Versions
    from holdfast.mount.upper import UpperTree
    from holdfast.repository import Repository

__all__ = ["would_mount_writable", "would_unmount_writable"]


def would_mount_writable(
    repository: Repository, spec: str, directory: str, versions: Callable[[Edits], Versions]
) -> Identity:
    """The version that :func:`~holdfast.mount.editing.mount_writable` would mount.

    Raises:
        HoldfastError: as there.
    """
    wanted, path = AssetSpec.parse(spec), resolved(os.fspath(directory))
    edits = Edits.of(repository.state, repository.place, wanted.name, Path(path))
    mover, record = Mover(repository, edits, versions(edits)), edits.read()
    if record is not None and refuse_shown(mover, record):
        refuse_held(record, END_THEM)
    else:
        checked(path)
    base = named_base(repository, wanted)
    if record is None:
        overlay.choose()
        return base
    settled, upper = _settled(mover, record)
    if settled.base.version != base.version:
        refuse_other(settled, above(repository, settled.base, upper))
    return base


def would_unmount_writable(
    repository: Repository, edits: Edits, versions: Versions, *, wait: bool = False, discard: bool = False
) -> Changes | None:
    """What :func:`~holdfast.mount.editing.unmount_writable` would throw away; with ``wait`` who is in it would be waited for.

    Raises:
        HoldfastError: as there.
    """
    record, mover = edits.read(), Mover(repository, edits, versions)
    if record is None:
        return None
    if not (wait or discard) and mover.shown(record) is not None:
        refuse_held(record, LET_GO)
    try:
        settled, upper = _settled(mover, record)
        changes = above(repository, settled.base, upper)
    except HoldfastError:
        if not discard:
            raise
        return names_alone(edits, record)
    if not discard:
        refuse_lost(record, changes)
    return changes


def _settled(mover: Mover, record: EditsRecord) -> tuple[EditsRecord, UpperTree]:
    """The record as it would be once a push that was killed is gone on with, and the changes that would be left above its version."""
    upper, pending = read_upper(str(mover.edits.layers(record).upper), record.kind), record.pending
    published = None if pending is None else mover.published(record, pending)
    if pending is None or published is None:
        return record, upper
    upper.tables = remaining(mover.edits.changes_pushed() or {"": table_of({})}, upper.tables)
    return replace(record, base=Identity.of(record.base.name, pending.version, published), pending=None), upper
