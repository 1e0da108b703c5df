"""Detaching a web server: its media are unmounted, and what was moved aside before comes back to its place."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from holdfast.errors import ConflictError, NotFoundError
from holdfast.mount import live
from holdfast.mount.table import mounted_at
from holdfast.sites.attached import AttachedReport, AttachReport, in_turn, places_of
from holdfast.sites.closing import bits_of, reopen
from holdfast.sites.ground import remove_branch
from holdfast.sites.held import bring_back, held_in
from holdfast.sites.journal import Journal
from holdfast.sites.localparts import put_back
from holdfast.sites.nodes import nodes_of, publish
from holdfast.sites.trial import end_trial

if TYPE_CHECKING:
    from holdfast.sites.attached import Place
    from holdfast.sites.plan import Plan
    from holdfast.sites.stores import Stores
    from holdfast.sites.values import SiteSettings

__all__ = ["detach"]


def detach(plan: Plan, settings: SiteSettings, stores: Stores, node: str, *, wait: bool = False) -> AttachReport:
    """Unmount the media of this web server, and put what was moved aside back in its place.

    Raises:
        NotFoundError: nothing of it is mounted here.
        BusyError: a mount is in use, or has not sent everything; those before it are unmounted.
    """
    begun = time.monotonic()
    places = places_of(plan, settings)
    with in_turn(plan.state, plan.site):
        journal = Journal(plan.state, "attach")
        end_trial(places[0], plan)
        reports = [report for place in places if (report := _detach_one(place, journal, wait=wait)) is not None]
        journal.end()
        Journal(plan.state, "move").end()  # nothing that asset site run began is gone on with
        repository = stores.all[0].repository
        before = nodes_of(repository, plan.site).get(node)
        if not reports and (before is None or before[0].left):
            raise NotFoundError(f"no media of {plan.site} are mounted here", subject=plan.site)
        deployment = before[0].deployment if before is not None else ""
        publish(repository, plan.site, node, deployment, {})
    return AttachReport(plan.site, node, deployment, tuple(reports), seconds=round(time.monotonic() - begun, 3))


def _detach_one(place: Place, journal: Journal, *, wait: bool) -> AttachedReport | None:
    """Unmount one, and bring back the newest of what was moved aside; None where there was nothing to do."""
    branches, bits = [*place.branches, *_other_branches(place)], bits_of(place, journal)
    known = [part for part in (place, *branches) if _unmounted(part, wait=wait)]
    for branch in branches:
        remove_branch(branch)
    local = put_back(place.spot) if place.mount.is_whole else []  # whatever the settings say by now
    held = [each for each in held_in(place.spot.held) if each.directory == place.directory]
    if not known and not held and not local:
        reopen(place, bits)
        return None
    back = bool(held) and bring_back(place.spot, held[-1])
    reopen(place, bits)
    state = "brought back" if back else "unmounted"
    kept = held[-2:-1] if back else held[-1:]
    lies = kept[0].path if kept else None
    seen = tuple(local) if back or not held else ()  # else they are in the copy that could not come back
    return AttachedReport(place.directory, place.spot.place, place.bucket, state, held=lies, local=seen)


def _other_branches(place: Place) -> list[Place]:
    """What is mounted as a branch of the directory, and is none by the settings as they are now."""
    mine = {part.spot.place for part in (place, *place.branches)}
    found = []
    for record in live.branches_of(place.spot.place, settings=place.settings, follow=False):
        folder, _, name = record.settings.dir.rpartition("/")
        if record.settings.dir not in mine:
            spot = replace(place.spot, root=folder or "/", path=name)
            found.append(replace(place, spot=spot, source=record.settings.source, branches=(), local=(), number=1))
    return found


def _unmounted(place: Place, *, wait: bool) -> bool:
    """Take its mount away; whether one was known."""
    record = place.record
    if record is not None and record.settings.dir == place.spot.place:
        place.unmount(wait=wait, opens=False)
    if mounted_at(place.spot.place) is not None:
        raise ConflictError(
            f"something that asset did not mount is mounted at {place.spot.place}", subject=place.spot.place
        )
    return record is not None
