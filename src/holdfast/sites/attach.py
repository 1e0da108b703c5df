"""Attaching a web server: the media of its webroot are mounted from their buckets, in the place of what lay there on its disk.

The deployment must be online, and every bucket hold what that put there, before anything on the machine is touched. Then directory by
directory: what lies there goes aside, the bucket is mounted, and read through the mount. Where that fails the directory is as it was.
Every step is journaled, so an attach that was killed is completed by running it again. Nothing is deleted; ``purge`` does that later.
"""

from __future__ import annotations

import os
import pwd
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from holdfast.errors import ConflictError, HoldfastError, IntegrityError, NotFoundError, UnreachableError, UsageError
from holdfast.formats.layout import CANARY, SITE_MARK
from holdfast.mount import live
from holdfast.mount.live.finding import found
from holdfast.mount.live.mounting import WAYS
from holdfast.mount.live.worker import take_away
from holdfast.mount.table import mounted_at
from holdfast.sites.attached import in_turn, places_of, same_deployment, states
from holdfast.sites.attaching import MOUNTED, MOUNTING, Checked, judge_bucket, sample, unlike
from holdfast.sites.deploy import deployment_of
from holdfast.sites.held import Held, bring_back, fresh_name, held_in, is_empty, move_aside
from holdfast.sites.journal import Journal
from holdfast.sites.media import Media
from holdfast.sites.nodes import nodes_of, publish
from holdfast.sites.offload import Wanted
from holdfast.sites.paths import Below
from holdfast.sites.probing import look_below
from holdfast.sites.restore import restore

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from holdfast.formats.sites import DeploymentRecord, NodeRecord
    from holdfast.sites.attached import Place
    from holdfast.sites.offload import Found
    from holdfast.sites.plan import Plan
    from holdfast.sites.stores import Stores
    from holdfast.sites.values import SiteSettings

__all__ = ["AttachReport", "AttachedReport", "attach", "detach"]

#: What a mount of media must be able to do; a whole webroot is also written over by its application.
_NEEDS: Final = ("write", "read_after_write")
_NEEDS_WHOLE: Final = (*_NEEDS, "overwrite", "rename")
#: So many files are looked at through a new mount, those up to this size read whole.
_LOOKED_AT, _READ_WHOLE = 64, 1 << 20
#: Seconds that this may take.
_LOOK: Final = 60.0


@dataclass(frozen=True, slots=True)
class AttachedReport:
    """One directory: ``mounted`` now, or before; how its bucket compared with what was deployed; what lay there is ``held``."""

    directory: str
    place: str
    bucket: str
    state: str
    objects: int = 0
    missing: int = 0
    changed: int = 0
    added: int = 0
    held: str | None = None


@dataclass(frozen=True, slots=True)
class AttachReport:
    """What was attached, or detached; ``restored`` is the backup that an empty webroot was filled from."""

    site: str
    node: str
    deployment: str
    directories: tuple[AttachedReport, ...]
    restored: str | None = None
    seconds: float = 0.0


def attach(
    plan: Plan,
    settings: SiteSettings,
    stores: Stores,
    node: str,
    *,
    spec: str | None = None,
    at: datetime | None = None,
    accept: bool = False,
) -> AttachReport:
    """Mount the media of this web server.

    Args:
        plan: the site.
        settings: its commands after a restore, and roots.
        stores: its stores; buckets lie beside the first.
        node: the name of this server.
        spec: the backup that an empty webroot is filled from.
        at: the newest backup made by then.
        accept: take buckets that lost what was deployed.

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
    with in_turn(plan.state, plan.site):
        run = _Attach(plan, settings, stores, node, places)
        run.judge(accept=accept)
        restored = run.fill(spec, at)
        run.announce()
        try:
            reports = [run.one(place) for place in places]
        except BaseException:
            run.withdraw()
            raise
        run.end()
    spent = round(time.monotonic() - begun, 3)
    return AttachReport(plan.site, node, run.deployment.id, tuple(reports), restored, spent)


class _Attach:
    """One attach under way."""

    def __init__(self, plan: Plan, settings: SiteSettings, stores: Stores, node: str, places: list[Place]) -> None:
        self.plan, self.settings, self.stores, self.node, self.places = plan, settings, stores, node, places
        self.repository = stores.all[0].repository
        self.deployment = self._online()
        self.journal = Journal(plan.state, "attach")
        self.checked: dict[str, Checked] = {}
        self.before: NodeRecord | None = None
        self.owner = _owner(plan.web_user)

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
        nodes = nodes_of(self.repository, self.plan.site).values()
        served = any(
            record.deployment == self.deployment.id and set(record.directories.values()) != {MOUNTING}
            for record, _ in nodes
        )
        for place in self.places:
            found(live.MOUNTERS[self.plan.mounter], place.settings.mount_path, place.settings.environ)
            if os.path.isdir(place.spot.root) and not place.is_ours:
                _refuse_other(place)
                _emptiness(place)
            media = self._media(place)
            record = media.recorded()
            rows = record.objects if record is not None else {}
            wanted = {key: Wanted(row.size, row.digest) for key, row in rows.items()}
            seen = media.look(wanted, is_ours=True)
            if seen.marked != self.plan.site:
                whose = f"the mark of {seen.marked}" if seen.marked else "no mark of a site"
                raise ConflictError(f"bucket {place.bucket} carries {whose}", subject=place.bucket, hint="deploy again")
            checked = judge_bucket(wanted, seen.objects, served=served, accept=accept)
            if checked.problem is not None:
                raise IntegrityError(
                    f"bucket {place.bucket} {checked.problem}",
                    subject=place.bucket,
                    hint="deploy again, or restore it from its copy; --accept-changes takes it as it is",
                )
            self.checked[place.directory] = checked
        self.journal.begin({"site": self.plan.site, "deployment": self.deployment.id})

    def _media(self, place: Place) -> Media:
        return Media(self.stores.all[0], self.plan.site, place.bucket, place.directory)

    def fill(self, spec: str | None, at: datetime | None) -> str | None:
        """Restore the application into an empty webroot, without the directories that are mounted; from which backup."""
        webroot = self.plan.webroot
        if any(place.mount.is_whole for place in self.places):
            return None
        wanted = self.journal.fact("restore")
        if wanted is None:
            if os.path.isdir(webroot) and os.listdir(webroot):
                return None
            if spec is None:
                raise UsageError(
                    f"{webroot} is empty, and no backup is named to fill it from",
                    subject=webroot,
                    hint="--from PERIOD[:VERSION]",
                )
            wanted = spec
            self.journal.note("restore", wanted)
        if not self.journal.is_done("restore"):
            restore(self.plan, self.settings, self.stores, wanted, at=at)
            self.journal.did("restore")
        return wanted

    def announce(self) -> None:
        """Say that this server mounts, before it does: no deployment is over while it may write to a bucket, though it be killed.

        Raises:
            ConflictError: the deployment has ended meanwhile.
        """
        site, found = self.plan.site, nodes_of(self.repository, self.plan.site).get(self.node)
        self.before = None if found is None else found[0]
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
            if not any(place.is_ours or mounted_at(place.spot.place) for place in self.places):
                said = "" if self.before is None else self.before.deployment
                publish(self.repository, self.plan.site, self.node, said, {})

    def one(self, place: Place) -> AttachedReport:
        """Mount one directory, whatever an earlier run left."""
        step = f"mount {place.directory}"
        is_old = place.is_ours and not self.journal.is_done(step)
        try:
            if not place.is_ours:
                self._make_room(place)
                self._mount(place)
                self.journal.did(step)
            self._look_through(place)
        except BaseException:
            if not is_old:
                self._undo(place)
            raise
        self.journal.did(f"look {place.directory}")
        return self._report(place, "was mounted" if is_old else "mounted")

    def _report(self, place: Place, state: str) -> AttachedReport:
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
            self._aside(place),
        )

    def _aside(self, place: Place) -> str | None:
        """Where this work moved what lay there."""
        return self.journal.fact(f"aside {place.directory}")

    def _make_room(self, place: Place) -> None:
        """An empty directory to mount at."""
        spot = place.spot
        _release(place)
        empty = _emptiness(place)
        if empty is None:
            with Below(spot.root) as root:
                root.make(spot.path, 0o755, self.owner)
            self.journal.did(f"make {place.directory}")
        elif not empty:
            record = place.record
            if record is not None:
                WAYS.free(record)  # somebody wrote into it while its mount was down
            name = fresh_name(place.directory)
            self.journal.note(f"aside {place.directory}", f"{spot.held}/{name}")
            move_aside(spot, name)
            self.journal.did(f"aside {place.directory}")

    def _mount(self, place: Place) -> None:
        options = [f"canary={CANARY}"]
        if self.owner is not None:
            options += ["allow_other", f"uid={self.owner[0]}", f"gid={self.owner[1]}"]
        elif self.plan.web_user != pwd.getpwuid(os.geteuid()).pw_name:
            options += ["allow_other"]
        record = live.mount(
            place.source,
            place.spot.place,
            mounter=self.plan.mounter,
            settings=place.settings,
            options=options,
            needs=_NEEDS_WHOLE if place.mount.is_whole else _NEEDS,
        )
        if record.settings.dir != place.spot.place or mounted_at(place.spot.place) is None:
            with suppress(HoldfastError):
                live.unmount(record.settings.dir, settings=place.settings, discard=True)
            raise ConflictError(
                f"{place.spot.place} was turned into a link to {record.settings.dir} while it was mounted",
                subject=place.spot.place,
                hint="somebody who may write to the webroot did that: find out who",
            )

    def _look_through(self, place: Place) -> None:
        """Read files through the mount, and see that they are those of the bucket; twice, for others may write."""
        media = self._media(place)
        wrong: list[str] = []
        for _ in range(2):
            record = media.recorded()
            rows = record.objects if record is not None else {}
            seen = media.look({key: Wanted(row.size, row.digest) for key, row in rows.items()}, is_ours=True)
            wrong = self._wrong(place, seen.objects)
            if not wrong:
                return
        raise IntegrityError(
            f"what is read at {place.spot.place} is not what {place.bucket} holds: {', '.join(wrong[:3])}",
            subject=place.spot.place,
            hint="its events.log and mounter.log say more: asset mounts",
        )

    def _wrong(self, place: Place, objects: Mapping[str, Found]) -> list[str]:
        keys = sample(objects, _LOOKED_AT)
        paths = {key: objects[key].size <= _READ_WHOLE for key in keys} | {SITE_MARK: True}
        told = look_below(place.spot.place, paths, seconds=_LOOK)
        if len(told[SITE_MARK]) == 1:
            raise UnreachableError(
                f"{place.spot.place} is mounted, and does not read its bucket: {told[SITE_MARK][0]}",
                subject=place.spot.place,
            )
        expected = {key: (objects[key].size, objects[key].digest if paths[key] else None) for key in keys}
        return unlike(expected, told)

    def _undo(self, place: Place) -> None:
        """The directory as it was; what cannot be undone stays for the next run."""
        held = self._aside(place)
        with suppress(HoldfastError, OSError):
            if place.record is not None:
                live.unmount(place.spot.place, settings=place.settings)
            if held is not None and mounted_at(place.spot.place) is None:
                folder, _, name = held.rpartition("/")
                bring_back(place.spot, Held(place.directory, folder, name))

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
        reports = [report for place in places if (report := _detach_one(place, wait=wait)) is not None]
        journal.end()
        repository = stores.all[0].repository
        before = nodes_of(repository, plan.site).get(node)
        if not reports and (before is None or before[0].left):
            raise NotFoundError(f"no media of {plan.site} are mounted here", subject=plan.site)
        deployment = before[0].deployment if before is not None else ""
        publish(repository, plan.site, node, deployment, {})
    return AttachReport(plan.site, node, deployment, tuple(reports), seconds=round(time.monotonic() - begun, 3))


def _detach_one(place: Place, *, wait: bool) -> AttachedReport | None:
    """Unmount one, and bring back the newest of what was moved aside; None where there was nothing to do."""
    record = place.record
    if record is not None and record.settings.dir == place.spot.place:
        live.unmount(place.spot.place, settings=place.settings, wait=wait)
    if mounted_at(place.spot.place) is not None:
        raise ConflictError(
            f"something that asset did not mount is mounted at {place.spot.place}", subject=place.spot.place
        )
    held = [each for each in held_in(place.spot.held) if each.directory == place.directory]
    if record is None and not held:
        return None
    back = bool(held) and bring_back(place.spot, held[-1])
    state = "brought back" if back else "unmounted"
    kept = held[-2:-1] if back else held[-1:]
    return AttachedReport(place.directory, place.spot.place, place.bucket, state, held=kept[0].path if kept else None)


def _refuse_other(place: Place) -> None:
    """Raise ConflictError where something is mounted that is no mount of ours that is over."""
    record = place.record
    known = record is not None and record.settings.dir == place.spot.place
    if record is not None and known and record.settings.source != place.source and record.is_served:
        raise ConflictError(
            f"{record.settings.source} is mounted at {place.spot.place}",
            subject=place.spot.place,
            hint=f"asset unmount {place.spot.place}",
        )
    there = mounted_at(place.spot.place)
    if there is not None and not known:
        raise ConflictError(
            f"{there.source} ({there.type}) is mounted at {place.spot.place}",
            subject=place.spot.place,
            hint=f"take it away first: umount {place.spot.place}",
        )


def _release(place: Place) -> None:
    """Take away what a mount that is over left; its directory stays closed."""
    _refuse_other(place)
    record = place.record
    if record is None or record.settings.dir != place.spot.place:
        return
    if record.is_served:  # by a worker without a supervisor, or for another moment
        live.unmount(place.spot.place, settings=place.settings)
    take_away(place.spot.place)


def _emptiness(place: Place) -> bool | None:
    """Whether the directory is empty; None where there is none. One that is closed to this user was left so by a mount, empty."""
    if mounted_at(place.spot.place) is not None or (os.geteuid() != 0 and place.record is not None):
        return True
    return is_empty(place.spot)


def _owner(user: str) -> tuple[int, int] | None:
    """Whom the media belong to: the web server's user; None for who is not root, whose they are.

    Raises:
        UsageError: there is no such user.
    """
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise UsageError(f"there is no user {user} on this machine", subject=user, hint="set web_user") from None
    return entry.pw_uid, entry.pw_gid
