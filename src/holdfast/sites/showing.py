"""Which store each directory of a web server shows now: its bucket, or a copy of that; by the record of its mount."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.sites.buckets import settings_of
from holdfast.sites.failover import FIRST
from holdfast.sites.places import place_settings, shown

if TYPE_CHECKING:
    from holdfast.sites.attached import Place
    from holdfast.sites.plan import Plan

__all__ = ["Showing", "chosen", "copied", "is_mountable", "showing", "shows_copies"]


@dataclass(frozen=True, slots=True)
class Showing:
    """A directory as it is mounted now: ``number`` is 0 for its bucket, and for copies their place in the settings, from 1 on."""

    number: int
    place: Place

    @property
    def is_copy(self) -> bool:
        """Whether it is a copy that is shown."""
        return self.number != FIRST


def copied(plan: Plan, place: Place, number: int) -> Place:
    """A directory as it would be mounted from a copy of its bucket, a merged one from copies of all of them. Pure."""
    if place.branches:
        branches = tuple(copied(plan, branch, number) for branch in place.branches)
        return replace(place, source="+".join(branch.source for branch in branches), branches=branches)
    store = place_settings(plan, place.bucket, number)
    return replace(place, source=store.url.rstrip("/"), settings=settings_of(store))


def is_mountable(place: Place) -> bool:
    """Whether mounters know such a store."""
    return all(part.source.startswith("s3:") for part in place.parts)


def shows_copies(plan: Plan) -> bool:
    """Whether copies can stand in for the buckets of a site. Pure."""
    return bool(plan.copies)


def showing(plan: Plan, place: Place) -> Showing:
    """What is mounted there by its record; the bucket where none is."""
    if not shows_copies(plan):
        return Showing(FIRST, place)
    record = place.record
    if record is not None and record.settings.source != place.source:
        for number in range(1, len(plan.copies) + 1):
            if (there := copied(plan, place, number)).source == record.settings.source:
                return Showing(number, there)
    return Showing(FIRST, place)


def chosen(plan: Plan, place: Place) -> int:
    """What is to be shown there, by what is known of its buckets: all branches of a merged directory are from one store."""
    numbers = [shown(plan, part.bucket, Path(plan.state)).place for part in place.parts]
    return next((number for number in numbers if number != FIRST), FIRST)
