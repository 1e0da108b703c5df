"""What keeps a live mount from being mounted or unmounted, by the records of others: told by looking, before anything is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import BusyError, ConflictError
from holdfast.mount.live.plan import KINDS, Plan, waiting
from holdfast.mount.registry import refuse_served
from holdfast.mount.table import mounted_at
from holdfast.mount.unmounting import told

if TYPE_CHECKING:
    from collections.abc import Collection

    from holdfast.mount.registry import Record, Registry

__all__ = ["refuse_branch", "refuse_other"]


def refuse_branch(registry: Registry, record: Record, gone: Collection[str] = ()) -> None:
    """Raise BusyError where a union that is not ``gone`` stands on this mount, while that is supervised: without, no union is left standing on it."""
    above = Plan.of(record).above if record.settings.kind in KINDS else ""
    union = registry.find(above) if above and above not in gone else None
    stands = mounted_at(above) is not None and record.state.state not in ("dead", "unsupervised")
    if union is not None and union.is_served and stands:
        raise BusyError(
            f"{record.settings.dir} is a branch of what is mounted at {above}",
            subject=record.settings.dir,
            hint=f"unmount that first: asset unmount {above}",
        )


def refuse_other(before: Record, source: str, mounter: str) -> None:
    """Where a mount was before: refuse while it is served, or while its cache holds what only that mount can send."""
    refuse_served(before)
    left = waiting(before) if before.settings.kind in KINDS else []
    if left and (before.settings.source, before.settings.kind) != (source, mounter):
        raise ConflictError(
            f"the last mount at {before.settings.dir}, of {before.settings.source} by {before.settings.kind}, has not sent "
            f"{told(left)}",
            subject=before.settings.dir,
            hint=f"mount the same again, or give them up: asset unmount {before.settings.dir} --discard",
        )
