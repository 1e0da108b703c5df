"""Which store each directory of a web server shows now: its bucket, or a copy of that; by the record of its mount."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from holdfast.sites.buckets import settings_of
from holdfast.sites.failover import FIRST
from holdfast.sites.places import place_settings

if TYPE_CHECKING:
    from holdfast.sites.attached import Place
    from holdfast.sites.plan import Plan

__all__ = ["Showing", "copied", "is_mountable", "showing", "shows_copies"]


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
    """A directory as it would be mounted from a copy of its bucket. Pure."""
    store = place_settings(plan, place.bucket, number)
    return replace(place, source=store.url.rstrip("/"), settings=settings_of(store))


def is_mountable(place: Place) -> bool:
    """Whether mounters know such a store."""
    return place.source.startswith("s3:")


def shows_copies(plan: Plan) -> bool:
    """Whether copies can stand in for the buckets of a site: not for the branches of merged directories. Pure."""
    return bool(plan.copies) and not any(mount.branches for mount in plan.mounts)


def showing(plan: Plan, place: Place) -> Showing:
    """What is mounted there by its record; the bucket where none is."""
    if not shows_copies(plan):
        return Showing(FIRST, place)
    record = place.record
    if record is not None and record.settings.source != place.source:
        for number in range(1, len(plan.copies) + 1):
            if place_settings(plan, place.bucket, number).url.rstrip("/") == record.settings.source:
                return Showing(number, copied(plan, place, number))
    return Showing(FIRST, place)
