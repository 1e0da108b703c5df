"""Mounts that go over to a copy of their bucket, and back: what ``asset site run`` does once it is known which store is to be shown.

A mount of a bucket that stands is left alone, whatever its store is like. One that has not sent everything stays until it has. What was
written to a copy up to the last moment is brought to the bucket right after the way back. A run that was killed is gone on with.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from holdfast.errors import ConflictError, HoldfastError
from holdfast.sites.attach import attach
from holdfast.sites.attached import places_of, states
from holdfast.sites.attaching import MOUNTED
from holdfast.sites.copies import Copies, orders_of
from holdfast.sites.failover import FIRST, is_to_move
from holdfast.sites.journal import Journal
from holdfast.sites.showing import chosen, showing
from holdfast.transfer.engine import Engine

if TYPE_CHECKING:
    from holdfast.sites.attached import AttachReport
    from holdfast.sites.plan import Plan
    from holdfast.sites.showing import Showing
    from holdfast.sites.stores import Stores
    from holdfast.sites.values import SiteSettings

__all__ = ["move"]


def move(plan: Plan, settings: SiteSettings, stores: Stores, node: str) -> AttachReport | None:
    """Have every directory show what is to be shown now; what was mounted, None where nothing was to do.

    Raises:
        UsageError, UnsupportedError: nothing is ever mounted on this server.
        BusyError, ConflictError: a mount is in use, or has not sent everything.
        HoldfastError: as :func:`~holdfast.sites.attach.attach`; it is gone on with next time.
    """
    journal, wanting = Journal(plan.state, "move"), _wanting(plan, settings)
    if not wanting and not journal.is_open:
        return None
    journal.begin({"site": plan.site})
    try:
        report = attach(plan, settings, stores, node, still=lambda: _is_attached(plan, settings))
    except ConflictError:
        if _is_attached(plan, settings):
            raise
        journal.end()
        return None
    journal.end()
    if report.why is None and any(each.is_copy and plan.copies[each.number - 1].two_way for each in wanting):
        with suppress(HoldfastError):  # the next run of replicate does it, then
            Copies(plan, engine=Engine()).replicate(orders_of(plan))
    return report


def _is_attached(plan: Plan, settings: SiteSettings) -> bool:
    """Whether anything is known to be mounted here; not, where somebody detached this server while the mounts were looked at."""
    return any(place.record is not None for place in places_of(plan, settings))


def _wanting(plan: Plan, settings: SiteSettings) -> list[Showing]:
    """The directories that show something else than they should."""
    now = [showing(plan, place) for place in places_of(plan, settings)]
    known = [each for each in now if each.place.record is not None]
    wanted = {each.place.directory: chosen(plan, each.place) for each in known}
    others = [each for each in known if each.number != wanted[each.place.directory]]
    told = states([each.place for each in others if each.number == FIRST], plan.site)
    return [
        each
        for each in others
        if is_to_move(each.number, wanted[each.place.directory], stands=told.get(each.place.directory) == MOUNTED)
    ]
