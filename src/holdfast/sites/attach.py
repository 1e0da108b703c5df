"""Attaching a web server: the media of its webroot are mounted from their buckets, in the place of what lay there on its disk.

The deployment must be online, and every bucket hold what that put there, before anything on the machine is touched. Then directory by
directory: what lies there goes aside, the bucket is mounted, and read through the mount. Where that fails the directory is as it was, and
the others are mounted all the same.
Every step is journaled, so an attach that was killed is completed by running it again. Nothing is deleted; ``purge`` does that later.
"""

from __future__ import annotations

import os
import time
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Final

from holdfast.errors import ConflictError, HoldfastError, IntegrityError, UnreachableError
from holdfast.mount import live
from holdfast.mount.live.finding import found
from holdfast.mount.table import mounted_at
from holdfast.sites.attached import AttachedReport, AttachReport, each_of, in_turn, places_of, same_deployment, states
from holdfast.sites.attaching import MOUNTED, MOUNTING, Checked, added_up, judge_bucket
from holdfast.sites.branching import doubled, why_wrong
from holdfast.sites.closing import bits_of
from holdfast.sites.comparing import compare
from holdfast.sites.deployed import deployment_of
from holdfast.sites.fallback import attach_copies, leave_copy, why_copies
from holdfast.sites.filling import fill, to_fill
from holdfast.sites.ground import (
    aside,
    emptiness,
    gather_parts,
    make_room,
    owner_of,
    refuse_branch,
    refuse_other,
    refuse_parts,
    undone,
    would_go_to,
)
from holdfast.sites.journal import Journal
from holdfast.sites.localparts import refuse_others_laid, refuse_stray
from holdfast.sites.media import Media
from holdfast.sites.mounting import mount
from holdfast.sites.nodes import publish, said_by
from holdfast.sites.offload import Wanted
from holdfast.sites.showing import showing
from holdfast.sites.trial import end_trial, try_out
from holdfast.sites.uniting import mount_branches

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from holdfast.formats.sites import DeploymentRecord, NodeRecord
    from holdfast.sites.attached import Place
    from holdfast.sites.offload import Found
    from holdfast.sites.plan import Plan
    from holdfast.sites.stores import Stores
    from holdfast.sites.values import SiteSettings

__all__ = ["attach"]

#: Names that two branches have: so many are told.
_TOLD: Final = 50
#: Seconds that a union may take to come back once all its branches are there.
_UNITED, _TICK = 20.0, 0.1


def attach(
    plan: Plan,
    settings: SiteSettings,
    stores: Stores,
    node: str,
    *,
    spec: str | None = None,
    at: datetime | None = None,
    accept: bool = False,
    still: Callable[[], bool] = lambda: True,
    dry_run: bool = False,
) -> AttachReport:
    """Mount the media of this web server: from copies where their store is away, which the report's ``why`` tells.

    Args:
        plan: the site.
        settings: its commands after a restore, and roots.
        stores: its stores; buckets lie beside the first.
        node: the name of this server.
        spec: the backup that an empty webroot is filled from.
        at: the newest backup made by then.
        accept: take buckets that lost what was deployed, or lack what was written to a copy while that was shown.
        still: asked once nobody else mounts or unmounts here: whether this is wanted yet.
        dry_run: look at everything and judge it, say what would be done, and write nothing, neither here nor in a store.

    Raises:
        UsageError: the settings mount nothing, or nothing that can be mounted; an empty webroot and no backup named.
        ConflictError: no deployment is online, a bucket may not be used, something else is mounted.
        IntegrityError: a bucket, or what is read through its mount, is not what was deployed.
        BusyError: another process is at it.
        LocalError: a link stands in a path, the mounter is missing, the disk refuses.
        HoldfastError: the bucket could not be mounted. Its directory is as it was.
    """
    begun = time.monotonic()
    places = places_of(plan, settings)
    why = why_copies(plan, stores, places, accept=accept, dry_run=dry_run)
    if why is not None:
        return attach_copies(plan, settings, stores, node, places, why, spec=spec, at=at, still=still, dry_run=dry_run)
    with in_turn(plan.state, plan.site, still, dry_run=dry_run):
        if not dry_run:
            end_trial(places[0], plan)
        run = _Attach(plan, settings, stores, node, places)
        run.judge(accept=accept)
        run.begin(dry_run=dry_run)
        if dry_run:
            restored = to_fill(plan, stores, spec, at)
            reports = each_of(places, run.would)
        else:
            run.try_out()
            restored = fill(plan, settings, stores, spec, at)
            reports = run.mount_all()
    spent = round(time.monotonic() - begun, 3)
    return AttachReport(plan.site, node, run.deployment.id, tuple(reports), restored, spent)


def _until_united(place: Place) -> None:
    """Give a union that waited for a branch the time to come back; what is read through it tells whether it did."""
    deadline = time.monotonic() + _UNITED
    while mounted_at(place.spot.place) is None and time.monotonic() < deadline:
        time.sleep(_TICK)


class _Attach:
    """One attach under way."""

    def __init__(self, plan: Plan, settings: SiteSettings, stores: Stores, node: str, places: list[Place]) -> None:
        self.plan, self.settings, self.stores, self.node, self.places = plan, settings, stores, node, places
        self.repository = stores.all[0].repository
        self.deployment = self._online()
        self.journal = Journal(plan.state, "attach")
        self.checked: dict[str, Checked] = {}
        self.doubled: dict[str, tuple[str, ...]] = {}
        self.before: NodeRecord | None = None
        self.owner = owner_of(plan.web_user)

    def _online(self) -> DeploymentRecord:
        record = deployment_of(self.repository, self.plan.site)
        if record is None or record.state != "online":
            state = "there is none" if record is None else f"the last one is {record.state}"
            raise ConflictError(
                f"no deployment of {self.plan.site} is online: {state}",
                subject=self.plan.site,
                hint="on the build machine: asset site deploy --from PERIOD",
            )
        same_deployment(record.buckets, self.places, self.plan.site)
        return record

    def judge(self, *, accept: bool) -> None:
        """Look at every mounter and bucket, and at each directory's path, before anything is touched."""
        served = any(
            record.deployment == self.deployment.id and set(record.directories.values()) != {MOUNTING}
            for record in said_by(self.repository, self.plan.site).values()
        )
        for place in self.places:
            self.checked[place.directory] = self._judged(place, served=served, accept=accept)

    def begin(self, *, dry_run: bool) -> None:
        """Go on with what an earlier run of this attach has done; a dry run notes nothing."""
        self.journal.begin({"site": self.plan.site, "deployment": self.deployment.id}, dry_run=dry_run)

    def _judged(self, place: Place, *, served: bool, accept: bool) -> Checked:
        found(live.MOUNTERS[self.plan.mounter], place.settings.mount_path, place.settings.environ)
        if place.branches:
            found(live.MERGERFS, place.settings.mount_path, place.settings.environ)
        if os.path.isdir(place.spot.root) and not place.is_ours and not showing(self.plan, place).is_copy:
            refuse_other(place)
            emptiness(place)
        if place.mount.is_whole and (place.is_ours or showing(self.plan, place).is_copy):
            refuse_others_laid(place)
        refuse_parts(place, self.plan.config_file, stands=place.is_ours)
        for branch in place.branches:
            if not branch.is_ours and not showing(self.plan, branch).is_copy:
                refuse_branch(branch)
        judged = [self._judged_part(part, served=served, accept=accept) for part in place.parts]
        self.doubled[place.directory] = tuple(doubled([objects for objects, _ in judged]))
        return added_up([checked for _, checked in judged])

    def _judged_part(self, part: Place, *, served: bool, accept: bool) -> tuple[Mapping[str, Found], Checked]:
        """What one bucket holds, and how that compares with what was deployed."""
        media = self._media(part)
        record = media.recorded()
        rows = record.objects if record is not None else {}
        wanted = {key: Wanted(row.size, row.digest) for key, row in rows.items()}
        seen = media.look(wanted, is_ours=True)
        if seen.marked != self.plan.site:
            whose = f"the mark of {seen.marked}" if seen.marked else "no mark of a site"
            raise ConflictError(f"bucket {part.bucket} carries {whose}", subject=part.bucket, hint="deploy again")
        self._refuse_wrong(part, media)
        # A webroot that shows a copy was attached before, and hides them.
        refuse_stray(part, seen.objects, accept=accept or showing(self.plan, part).is_copy)
        checked = judge_bucket(wanted, seen.objects, served=served, accept=accept)
        if checked.problem is not None:
            raise IntegrityError(
                f"bucket {part.bucket} {checked.problem}",
                subject=part.bucket,
                hint="deploy again, or restore it from its copy; --accept-changes takes it as it is",
            )
        return seen.objects, checked

    def _refuse_wrong(self, part: Place, media: Media) -> None:
        """Raise ConflictError where a bucket is another branch than these settings make it, or one of another number of branches."""
        if not part.number:
            return
        count, marks = len(part.mount.buckets), media.branches()
        why = why_wrong(marks, part.directory, part.number)
        if why is None and not marks:
            why = f"carries no mark of branch {part.number} of {part.directory}"
        if why is None and marks[0].of != count:
            why = (
                f"was deployed as one of {marks[0].of} branches of {part.directory}, and the settings here say {count}"
            )
        if why is not None:
            raise ConflictError(
                f"bucket {part.bucket} {why}", subject=part.bucket, hint="correct the settings, or deploy again"
            )

    def _media(self, part: Place) -> Media:
        return Media(self.stores.all[0], self.plan.site, part.bucket, part.directory)

    def try_out(self) -> None:
        """See that what is to take the place of a copy can be mounted, before that is taken away."""
        for place in self.places:
            for part in place.parts if showing(self.plan, place).is_copy else ():
                try_out(part, self.plan, self.owner, [self._media(part)])

    def mount_all(self) -> list[AttachedReport]:
        """Mount every directory; the others are told before and after."""
        self.announce()
        try:
            reports = each_of(self.places, self.one)
        except BaseException:
            self.withdraw()
            raise
        self.end()
        return reports

    def would(self, place: Place) -> AttachedReport:
        """What :meth:`one` would do; nothing is changed. A mount that stands is read through.

        Raises:
            BusyError: somebody writes to the copy that is shown, or uses what is left of a mount.
            ConflictError: what lies there cannot go aside.
            HoldfastError: a mount that stands shows other than its bucket.
        """
        now = showing(self.plan, place)
        record = now.place.record
        if record is not None and (now.is_copy or (record.is_served and not place.is_ours)):
            now.place.refuse_used(cut_off=now.is_copy)
        if not all(part.is_ours for part in (place, *place.branches)):
            return self._report(place, "would be mounted", would_go_to(now.place, self.journal))
        compare(place, [self._media(part) for part in place.parts], stands=self._stands(place))
        return self._report(place, "is mounted", aside(place, self.journal))

    def _stands(self, place: Place) -> bool:
        """Whether it was mounted and proven before."""
        step, proven = f"mount {place.directory}", f"look {place.directory}"
        return place.is_ours and (self.journal.is_done(proven) or not self.journal.is_done(step))

    def announce(self) -> None:
        """Say that this server mounts, before it does: no deployment is over while it may write to a bucket, though it be killed.

        Raises:
            ConflictError: the deployment has ended meanwhile.
        """
        site = self.plan.site
        self.before = said_by(self.repository, site).get(self.node)
        if self.before is None or self.before.left or self.before.deployment != self.deployment.id:
            mounting = {place.directory: MOUNTING for place in self.places}
            publish(self.repository, site, self.node, self.deployment.id, mounting)
        now = deployment_of(self.repository, site)
        if now is None or (now.id, now.state) != (self.deployment.id, "online"):
            self.withdraw()
            raise ConflictError(f"the deployment of {site} was taken offline at this moment", subject=site)

    def withdraw(self) -> None:
        """Say that nothing is mounted here after all, where that is so."""
        with suppress(HoldfastError, OSError):
            every = [part for place in self.places for part in (place, *place.branches)]
            # A mount that came to its end keeps its record, and may have writes that it has not sent.
            if not any(part.record is not None or mounted_at(part.spot.place) for part in every):
                said = "" if self.before is None else self.before.deployment
                publish(self.repository, self.plan.site, self.node, said, {})

    def one(self, place: Place) -> AttachedReport:
        """Mount one directory, whatever an earlier run left, in the place of a copy, too."""
        leave_copy(self.plan, place)
        stands, step = self._stands(place), f"mount {place.directory}"
        was_mounted = stands and not self.journal.is_done(step)  # by other work than this
        fresh: list[Place] = []
        # What served visitors before goes on to do so, whatever is wrong with it.
        with nullcontext() if stands else undone(place, self.journal, fresh):
            mount_branches(place, self.plan, self.journal, self.owner, fresh)
            if place.branches and place.is_ours:
                _until_united(place)
            if not place.is_ours:
                make_room(place, self.journal, self.owner)
                gather_parts(place, self.plan.config_file, self.journal, self.owner)
                mount(place, self.plan, self.owner, bits=bits_of(place, self.journal))
                self.journal.did(step)
            compare(place, [self._media(part) for part in place.parts], stands=stands)
        self.journal.did(f"look {place.directory}")
        return self._report(place, "was mounted" if was_mounted else "mounted", aside(place, self.journal))

    def _report(self, place: Place, state: str, held: str | None) -> AttachedReport:
        checked = self.checked[place.directory]
        return AttachedReport(
            place.directory,
            place.spot.place,
            place.bucket,
            state,
            checked.objects,
            len(checked.missing),
            len(checked.changed),
            checked.added,
            held,
            doubled=self.doubled[place.directory][:_TOLD],
            local=place.local,
        )

    def end(self) -> None:
        """Tell the others, and have nothing left to go on with."""
        told = states(self.places, self.plan.site)
        publish(self.repository, self.plan.site, self.node, self.deployment.id, told)
        self.journal.did("published")
        down = {directory: text for directory, text in told.items() if text != MOUNTED}
        if down:
            directory, text = next(iter(down.items()))
            raise UnreachableError(f"{directory or 'the webroot'}: {text}", subject=directory, hint="run it again")
        self.journal.end()
