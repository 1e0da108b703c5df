"""The branches of a merged directory, mounted before they are united, and taken away after that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.sites.ground import make_branch
from holdfast.sites.mounting import mount

if TYPE_CHECKING:
    from holdfast.sites.attached import Place
    from holdfast.sites.journal import Journal
    from holdfast.sites.plan import Plan

__all__ = ["mount_branches", "take_away"]


def mount_branches(
    place: Place,
    plan: Plan,
    journal: Journal,
    owner: tuple[int, int] | None,
    fresh: list[Place],
    *,
    read_only: bool = False,
) -> None:
    """Mount those branches of a merged directory that are not; each is added to ``fresh`` before that."""
    for branch in place.branches:
        if not branch.is_ours:
            fresh.append(branch)
            make_branch(branch, journal)
            mount(branch, plan, owner, read_only=read_only)
            journal.did(f"mount {branch.spot.place}")


def take_away(place: Place) -> None:
    """Unmount what serves a directory, and then its branches; it stays closed for the next mount there.

    Raises:
        BusyError: somebody holds one, or one has not sent everything.
    """
    for part in (place, *place.branches):
        record = part.record
        if record is not None and record.is_served:
            part.unmount(closed=True)
