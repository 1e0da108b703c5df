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
from typing import TYPE_CHECKING, Final, TypedDict

from holdfast.disk import local_errors
from holdfast.errors import BusyError, ConflictError, HoldfastError, UnsupportedError, UsageError
from holdfast.formats.layout import SITE_MARK, branch_mark
from holdfast.mount import live
from holdfast.mount.table import mounted_at
from holdfast.sites.attaching import MOUNTED, Spot, spot_of
from holdfast.sites.buckets import bucket_settings, settings_of
from holdfast.sites.localparts import local_paths
from holdfast.sites.probing import Probe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Unpack

    from holdfast.config import Settings
    from holdfast.mount.registry import Record
    from holdfast.sites.plan import MountPlan, Plan
    from holdfast.sites.values import SiteSettings

__all__ = ["AttachReport", "AttachedReport", "Place", "each_of", "in_turn", "places_of", "same_deployment", "states"]

#: Seconds within which a mount must answer a read.
DEADLINE: Final = 10.0


class How(TypedDict, total=False):
    """Options of :func:`holdfast.mount.live.unmount`."""

    wait: bool
    discard: bool
    closed: bool
    cut_off: bool
    opens: bool


@dataclass(frozen=True, slots=True)
class Place:
    """A directory of the plan on this machine, the bucket behind it, and the settings with which that is mounted.

    Of a merged directory ``bucket`` and ``source`` are those of all ``branches``, joined; each of them is a place, too: the ``number`` of the
    branch, counted from 1, and the directory ``above`` at which it is united with the others.
    ``local`` are paths below it that stay on this machine, which a whole webroot has.
    """

    mount: MountPlan
    spot: Spot
    bucket: str
    source: str
    settings: Settings
    local: tuple[str, ...] = ()
    branches: tuple[Place, ...] = ()
    number: int = 0
    above: str = ""

    @property
    def parts(self) -> tuple[Place, ...]:
        """What one bucket each is behind: the branches, or the place itself."""
        return self.branches or (self,)

    @property
    def marks(self) -> dict[str, dict[str, object]]:
        """The marks that are read through what is mounted there, each with some values that it must have, but for the site."""
        count = len(self.mount.buckets)
        marks: dict[str, dict[str, object]] = {
            branch_mark(part.number): {"branch": part.number, "of": count} for part in self.parts if part.number
        }
        return {SITE_MARK: {}, **marks}

    @property
    def directory(self) -> str:
        """As in the settings of the site; empty for the whole webroot."""
        return self.mount.directory

    @property
    def record(self) -> Record | None:
        """What is known of a mount there, of whatever bucket."""
        return live.status(self.spot.place, settings=self.settings, follow=False)

    def unmount(self, **how: Unpack[How]) -> None:
        """Take the mount at this very path away: a link in it leads to another's, which is left alone. As :func:`holdfast.mount.live.unmount`."""
        live.unmount(self.spot.place, settings=self.settings, follow=False, **how)

    def refuse_used(self, *, wait: bool = False, cut_off: bool = False) -> None:
        """Raise what :meth:`unmount` would, as far as that is known without waiting."""
        live.refuse_used(self.spot.place, settings=self.settings, follow=False, wait=wait, cut_off=cut_off)

    @property
    def is_ours(self) -> bool:
        """Whether its bucket is mounted there, or being mounted again, by a supervisor that lives."""
        record = self.record
        if record is None or record.settings.source != self.source or record.settings.dir != self.spot.place:
            return False
        return record.state.state in ("mounting", "mounted", "remounting")


@dataclass(frozen=True, slots=True)
class AttachedReport:
    """One directory: ``mounted`` now, or before; how its bucket compared with what was deployed; what lay there is ``held``.

    Of a dry run ``state`` says what would be done, and ``held`` is the folder in which what lies there would go aside.

    Where a copy is shown and not the bucket, ``store`` is its URL, ``read_only`` whether nothing may be written there, and ``lag`` the
    seconds since it was equal to the bucket.
    ``doubled`` are names that two branches of a merged directory have, the first few: the first branch's is shown.
    ``local`` lies over the mount on this machine alone, or came back to its place; ``back`` is the moved-aside copy that did.
    """

    directory: str
    place: str
    bucket: str
    state: str
    objects: int = 0
    missing: int = 0
    changed: int = 0
    added: int = 0
    held: str | None = None
    store: str | None = None
    read_only: bool = False
    lag: float | None = None
    doubled: tuple[str, ...] = ()
    local: tuple[str, ...] = ()
    back: str | None = None


@dataclass(frozen=True, slots=True)
class AttachReport:
    """What was attached, or detached, or would be; ``restored`` is the backup that an empty webroot was filled from.

    ``why`` tells why copies are mounted instead of the buckets; None where the buckets are.
    """

    site: str
    node: str
    deployment: str
    directories: tuple[AttachedReport, ...]
    restored: str | None = None
    seconds: float = 0.0
    why: str | None = None


def places_of(plan: Plan, settings: SiteSettings) -> list[Place]:
    """The directories of the plan.

    Raises:
        UsageError: there is none; the webroot's own path has a link in it; a bucket is none that can be mounted.
        UnsupportedError: something of a whole webroot stays local, and the caller is not root.
    """
    if not plan.mounts:
        raise UsageError(
            "no directory lives in a bucket",
            subject=plan.site,
            hint="persist_assets_to_cloud = 1, and a build from a backup",
        )
    return [_place(plan, settings, mount) for mount in plan.mounts]


def _place(plan: Plan, settings: SiteSettings, mount: MountPlan) -> Place:
    local = local_paths(plan) if mount.is_whole else ()
    if local and os.geteuid() != 0:
        raise UnsupportedError(
            f"{', '.join(local)} must stay on each machine, which takes root below a webroot that is mounted whole",
            subject="WHOLE-WEBROOT",
            hint="run it as root, or list directories instead",
        )
    spot = spot_of(mount, plan.webroot, settings.absolute_roots)
    _refuse_linked(spot)
    branches = tuple(_branch(plan, mount, number, place, spot) for number, place in enumerate(mount.branches, 1))
    source, opened = _source(plan, mount.buckets[0])
    if branches:
        source = "+".join(branch.source for branch in branches)
    return Place(mount, spot, ", ".join(mount.buckets), source, opened, local, branches)


def _branch(plan: Plan, mount: MountPlan, number: int, place: str, union: Spot) -> Place:
    """A branch of a merged directory, which lies beside the webroot, where nobody serves it."""
    above, _, name = place.rpartition("/")
    spot = Spot(above or "/", name, union.held)
    _refuse_linked(spot)
    bucket = mount.buckets[number - 1]
    return Place(mount, spot, bucket, *_source(plan, bucket), number=number, above=union.place)


def _refuse_linked(spot: Spot) -> None:
    if os.path.realpath(spot.root) != spot.root:
        raise UsageError(
            f"{spot.root} leads to {os.path.realpath(spot.root)}: a link in it could be turned elsewhere",
            subject=spot.root,
            hint="write the path without links in the settings",
        )


def _source(plan: Plan, name: str) -> tuple[str, Settings]:
    """What is mounted for a bucket, and the settings with which."""
    bucket = bucket_settings(plan.stores[0], name)
    if not bucket.url.startswith("s3:"):
        raise UsageError(
            f"{bucket.url} cannot be mounted: mounters know buckets on S3", subject=bucket.url, hint="a store on S3"
        )
    return bucket.url.rstrip("/"), settings_of(bucket)


def states(places: Sequence[Place], site: str) -> dict[str, str]:
    """Of each directory MOUNTED, or why it is not; all are asked at once, and none is waited for longer than a moment."""
    asked = {place.directory: _asked(place) for place in places}
    return {
        place.directory: _judged(each.result(DEADLINE), place, site) if isinstance(each, Probe) else each
        for place, each in zip(places, asked.values(), strict=True)
    }


def _asked(place: Place) -> Probe | str:
    for branch in place.branches:
        why = _why_not_mounted(branch) or (None if branch.is_ours else "nobody supervises it any more")
        if why is not None:
            return f"branch {branch.number} at {branch.spot.place}: {why}"
    return _why_not_mounted(place) or Probe(place.spot.place, dict.fromkeys(place.marks, True), text=True)


def _why_not_mounted(place: Place) -> str | None:
    """By the kernel's table and the record of the mount; neither is touched."""
    there = mounted_at(place.spot.place)
    if there is None or not there.is_fuse:
        return "nothing is mounted there" if there is None else f"{there.source} is mounted there, by others"
    record = place.record
    if record is None or record.settings.source != place.source:
        return f"{there.source} is mounted there, and not {place.source}"
    missing = [path for path in place.local if mounted_at(f"{place.spot.place}/{path}") is None]
    if missing:
        return f"{', '.join(missing)} of this machine do not lie over the mount"
    return None


def _judged(told: dict[str, list[object]], place: Place, site: str) -> str:
    for key, values in place.marks.items():
        answer = told[key]
        if len(answer) == 1:
            what = f"the bucket of {key}" if place.branches else "its bucket"
            return f"it is mounted, and does not read {what}: {answer[0]}"
        try:
            mark = dict(json.loads(str(answer[2])))
        except (ValueError, TypeError):
            mark = {}
        if mark.get("site") != site:
            return f"its bucket carries the mark of {mark.get('site') or 'nobody'}"
        if any(mark.get(name) != value for name, value in values.items()):
            return f"{key} is the mark of another branch"
    return MOUNTED


@contextmanager
def in_turn(
    state: str, site: str, still: Callable[[], bool] = lambda: True, *, dry_run: bool = False
) -> Iterator[None]:
    """Nobody else mounts, unmounts or purges media of the site on this machine meanwhile; ``still`` is asked then, whether it is wanted yet.

    A dry run makes no file for it.

    Raises:
        BusyError: somebody does.
        ConflictError: it is not wanted any more.
    """
    path = Path(state) / "media.turn"
    if dry_run and not os.path.lexists(path):  # nobody ever took a turn
        yield
        return
    with local_errors(path):
        if not dry_run:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = 0 if dry_run else os.O_CREAT
        descriptor = os.open(path, os.O_RDWR | made | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BusyError(
                f"another process mounts or unmounts the media of {site} on this machine",
                subject=site,
                hint="wait until it is done",
            ) from None
        if not still():
            raise ConflictError(f"the media of {site} were detached on this machine at this moment", subject=site)
        yield


def each_of(places: Sequence[Place], work: Callable[[Place], AttachedReport]) -> list[AttachedReport]:
    """Do it for every directory; what is wrong with one keeps no other from it, and is raised at the end."""
    reports, errors = [], []
    for place in places:
        try:
            reports.append(work(place))
        except HoldfastError as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return reports


def same_deployment(buckets: Sequence[str], places: Sequence[Place], site: str) -> None:
    """Raise ConflictError where a directory's bucket is none of the deployment's."""
    for place in places:
        missing = [part.bucket for part in place.parts if part.bucket not in buckets]
        if missing:
            raise ConflictError(
                f"the deployment of {site} has no bucket {missing[0]}",
                subject=missing[0],
                hint="the settings here differ from those that were deployed; or deploy again",
            )
