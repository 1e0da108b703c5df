"""How the media of one web server are: which directory is mounted and answers, from which bucket, and what is moved aside.

Whether a directory is mounted is found out by reading the bucket's mark through it, within a deadline; what the kernel's table says is not enough.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from holdfast.disk import local_errors
from holdfast.errors import BusyError, ConflictError, UnsupportedError, UsageError
from holdfast.formats.layout import SITE_MARK
from holdfast.mount import live
from holdfast.mount.table import mounted_at
from holdfast.sites.attaching import MOUNTED, Spot, spot_of
from holdfast.sites.buckets import bucket_settings, settings_of
from holdfast.sites.probing import Probe

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from holdfast.config import Settings
    from holdfast.mount.registry import Record
    from holdfast.sites.plan import MountPlan, Plan
    from holdfast.sites.values import SiteSettings

__all__ = ["Place", "in_turn", "places_of", "states"]

#: Seconds within which a mount must answer a read.
DEADLINE: Final = 10.0


@dataclass(frozen=True, slots=True)
class Place:
    """A directory of the plan on this machine, the one bucket behind it, and the settings with which that is mounted."""

    mount: MountPlan
    spot: Spot
    bucket: str
    source: str
    settings: Settings

    @property
    def directory(self) -> str:
        """As in the settings of the site; empty for the whole webroot."""
        return self.mount.directory

    @property
    def record(self) -> Record | None:
        """What is known of a mount there, of whatever bucket."""
        return live.status(self.spot.place, settings=self.settings)

    @property
    def is_ours(self) -> bool:
        """Whether its bucket is mounted there, or being mounted again, by a supervisor that lives."""
        record = self.record
        if record is None or record.settings.source != self.source or record.settings.dir != self.spot.place:
            return False
        return record.state.state in ("mounting", "mounted", "remounting")


def places_of(plan: Plan, settings: SiteSettings) -> list[Place]:
    """The directories of the plan.

    Raises:
        UsageError: there is none; the webroot's own path has a link in it; a bucket is none that can be mounted.
        UnsupportedError: one is merged of several buckets.
    """
    if not plan.mounts:
        raise UsageError(
            "no directory lives in a bucket",
            subject=plan.site,
            hint="persist_assets_to_cloud = 1, and a build from a backup",
        )
    return [_place(plan, settings, mount) for mount in plan.mounts]


def _place(plan: Plan, settings: SiteSettings, mount: MountPlan) -> Place:
    if mount.branches:
        raise UnsupportedError(
            f"{mount.directory} is merged of {len(mount.buckets)} buckets, which this release fills and does not mount",
            subject=mount.directory,
            hint="list the directory without merge=",
        )
    if mount.is_whole and (plan.local or plan.config_file):
        kept = ", ".join((*plan.local, *([plan.config_file] if plan.config_file else [])))
        raise UnsupportedError(
            f"{kept} must stay on each machine, which this release cannot do below a webroot that is mounted whole",
            subject="WHOLE-WEBROOT",
            hint='list directories instead, or set application = "none" for a site without such',
        )
    spot = spot_of(mount, plan.webroot, settings.absolute_roots)
    if os.path.realpath(spot.root) != spot.root:
        raise UsageError(
            f"{spot.root} leads to {os.path.realpath(spot.root)}: a link in it could be turned elsewhere",
            subject=spot.root,
            hint="write the path without links in the settings",
        )
    bucket = bucket_settings(plan.stores[0], mount.buckets[0])
    if not bucket.url.startswith("s3:"):
        raise UsageError(
            f"{bucket.url} cannot be mounted: mounters know buckets on S3", subject=bucket.url, hint="a store on S3"
        )
    return Place(mount, spot, mount.buckets[0], bucket.url.rstrip("/"), settings_of(bucket))


def states(places: Sequence[Place], site: str) -> dict[str, str]:
    """Of each directory MOUNTED, or why it is not; all are asked at once, and none is waited for longer than a moment."""
    asked = {place.directory: _asked(place) for place in places}
    return {
        directory: _judged(each.result(DEADLINE), site) if isinstance(each, Probe) else each
        for directory, each in asked.items()
    }


def _asked(place: Place) -> Probe | str:
    there = mounted_at(place.spot.place)
    if there is None or not there.is_fuse:
        return "nothing is mounted there" if there is None else f"{there.source} is mounted there, by others"
    record = place.record
    if record is None or record.settings.source != place.source:
        return f"{there.source} is mounted there, and not {place.source}"
    return Probe(place.spot.place, {SITE_MARK: True}, text=True)


def _judged(told: dict[str, list[object]], site: str) -> str:
    answer = told[SITE_MARK]
    if len(answer) == 1:
        return f"it is mounted, and does not read its bucket: {answer[0]}"
    try:
        marked = json.loads(str(answer[2])).get("site")
    except (ValueError, AttributeError):
        marked = None
    return MOUNTED if marked == site else f"its bucket carries the mark of {marked or 'nobody'}"


@contextmanager
def in_turn(state: str, site: str) -> Iterator[None]:
    """Nobody else mounts, unmounts or purges media of the site on this machine meanwhile.

    Raises:
        BusyError: somebody does.
    """
    path = Path(state) / "media.turn"
    with local_errors(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BusyError(
                f"another process mounts or unmounts the media of {site} on this machine",
                subject=site,
                hint="wait until it is done",
            ) from None
        yield


def same_deployment(buckets: Sequence[str], places: Sequence[Place], site: str) -> None:
    """Raise ConflictError where a directory's bucket is none of the deployment's."""
    for place in places:
        if place.bucket not in buckets:
            raise ConflictError(
                f"the deployment of {site} has no bucket {place.bucket}",
                subject=place.bucket,
                hint="the settings here differ from those that were deployed; or deploy again",
            )
