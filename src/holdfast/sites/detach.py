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
from holdfast.sites.ground import emptiness, remove_branch
from holdfast.sites.held import bring_back, held_in
from holdfast.sites.journal import Journal
from holdfast.sites.localparts import put_back, would_put_back
from holdfast.sites.nodes import publish, said_by
from holdfast.sites.trial import end_trial

if TYPE_CHECKING:
    from holdfast.sites.attached import Place
    from holdfast.sites.held import Held
    from holdfast.sites.plan import Plan
    from holdfast.sites.stores import Stores
    from holdfast.sites.values import SiteSettings

__all__ = ["detach"]


def detach(
    plan: Plan, settings: SiteSettings, stores: Stores, node: str, *, wait: bool = False, dry_run: bool = False
) -> AttachReport:
    """Unmount the media of this web server, and put what was moved aside back in its place.

    A dry run says what would be done, and is refused where that is known without changing anything.

    Raises:
        NotFoundError: nothing of it is mounted here.
        BusyError: a mount is in use, or has not sent everything; those before it are unmounted.
    """
    begun = time.monotonic()
    places = places_of(plan, settings)
    with in_turn(plan.state, plan.site, dry_run=dry_run):
        if dry_run:
            told = [_would_detach(place, wait=wait) for place in places]
        else:
            journal = Journal(plan.state, "attach")
            end_trial(places[0], plan)
            told = [_detach_one(place, journal, wait=wait) for place in places]
            journal.end()
            Journal(plan.state, "move").end()  # nothing that asset site run began is gone on with
        reports = [report for report in told if report is not None]
        repository = stores.all[0].repository
        before = said_by(repository, plan.site).get(node)
        if not reports and (before is None or before.left):
            raise NotFoundError(f"no media of {plan.site} are mounted here", subject=plan.site)
        deployment = before.deployment if before is not None else ""
        if not dry_run:
            publish(repository, plan.site, node, deployment, {})
    return AttachReport(plan.site, node, deployment, tuple(reports), seconds=round(time.monotonic() - begun, 3))


def _detach_one(place: Place, journal: Journal, *, wait: bool) -> AttachedReport | None:
    """Unmount one, and bring back the newest of what was moved aside; None where there was nothing to do."""
    branches, bits = [*place.branches, *_other_branches(place)], bits_of(place, journal)
    known = [part for part in (place, *branches) if _unmounted(part, wait=wait)]
    for branch in branches:
        remove_branch(branch)
    local = put_back(place.spot) if place.mount.is_whole else []  # whatever the settings say by now
    held = _held(place)
    if not known and not held and not local:
        reopen(place, bits)
        return None
    back = bool(held) and bring_back(place.spot, held[-1])
    reopen(place, bits)
    return _report(place, "brought back" if back else "unmounted", held, local, back=back)


def _would_detach(place: Place, *, wait: bool) -> AttachedReport | None:
    """What :func:`_detach_one` would do; None where that is nothing.

    Raises:
        BusyError, ConflictError: as that, as far as nothing need be changed to know it.
    """
    branches = [*place.branches, *_other_branches(place)]
    record = place.record
    united = record is not None and record.is_served  # its program holds the branches, and ends before them
    known = [part for part in (place, *branches) if _may_be_unmounted(part, wait=wait or (united and part.number > 0))]
    local = would_put_back(place.spot) if place.mount.is_whole else []
    held = _held(place)
    if not known and not held and not local:
        return None
    back = bool(held) and emptiness(place) is not False
    return _report(place, "would be brought back" if back else "would be unmounted", held, local, back=back)


def _held(place: Place) -> list[Held]:
    return [each for each in held_in(place.spot.held) if each.directory == place.directory]


def _report(place: Place, state: str, held: list[Held], local: list[str], *, back: bool) -> AttachedReport:
    """``held``: all copies, of which the last one comes ``back`` or stays."""
    kept = held[-2:-1] if back else held[-1:]
    lies = kept[0].path if kept else None
    seen = tuple(local) if back or not held else ()  # else they are in the copy that could not come back
    came = held[-1].path if back else None
    return AttachedReport(place.directory, place.spot.place, place.bucket, state, held=lies, local=seen, back=came)


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
        raise _others(place)
    return record is not None


def _may_be_unmounted(place: Place, *, wait: bool) -> bool:
    """Raise what :func:`_unmounted` would, as far as it is known; whether a mount is known."""
    record = place.record
    if record is not None and record.settings.dir == place.spot.place:
        place.refuse_used(wait=wait)
    elif mounted_at(place.spot.place) is not None:
        raise _others(place)
    return record is not None


def _others(place: Place) -> ConflictError:
    return ConflictError(
        f"something that asset did not mount is mounted at {place.spot.place}", subject=place.spot.place
    )
