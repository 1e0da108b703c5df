"""What ``asset site run`` does by itself: the table of jobs, each with when it is due and how it went.

A job is a function of a :class:`Context`; it answers what it saw, and numbers for the metrics. It asks ``alive`` now and then, which raises
where the program is to end. A new kind of job is a line in :data:`MAKERS`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from holdfast.config import load
from holdfast.errors import BusyError, UnsupportedError, UsageError
from holdfast.model.result import NoProgress
from holdfast.mount.registry import Registry
from holdfast.sites.agreed import Agreed
from holdfast.sites.attached import places_of
from holdfast.sites.backup import back_up
from holdfast.sites.copies import Copies, orders_of
from holdfast.sites.guarded import Guarded
from holdfast.sites.moving import move
from holdfast.sites.nodes import node_name
from holdfast.sites.notices import FAILED, OK, Observation
from holdfast.sites.places import look
from holdfast.sites.schedule import patience
from holdfast.sites.showing import shows_copies
from holdfast.sites.standing import status
from holdfast.sites.stores import Stores
from holdfast.sites.sync import Syncer
from holdfast.sites.watching import once
from holdfast.transfer.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from holdfast.sites.notices import Subject
    from holdfast.sites.plan import MountPlan, Plan
    from holdfast.sites.replicated import Replicated
    from holdfast.sites.standing import DirectoryStatus
    from holdfast.sites.values import SiteSettings

__all__ = ["MAKERS", "Context", "Job", "Outcome", "jobs_of", "patience_of"]

#: A gauge: its name without the prefix, and its labels.
Gauge = tuple[str, tuple[tuple[str, str], ...]]
#: Seconds between two looks at the stores, where there is a choice.
_LOOK: Final = 60.0


@dataclass(frozen=True, slots=True)
class Context:
    """What a job gets. ``folder`` is the site's state folder on this machine, ``now`` the time in seconds since the epoch."""

    plan: Plan
    settings: SiteSettings
    folder: Path
    alive: Callable[[], None]
    now: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it went: what was seen, and numbers."""

    observations: tuple[Observation, ...] = ()
    gauges: Mapping[Gauge, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Job:
    """One job: ``when`` is a period or seconds. ``subject`` is what it is told of as, and what is overdue without it."""

    name: str
    when: str | float
    work: Callable[[Context], Outcome]
    subject: Subject


class _Stoppable(NoProgress):
    """A transfer that ends where the program is to end."""

    def __init__(self, alive: Callable[[], None]) -> None:
        self._alive = alive

    def advance(self, count: int) -> None:
        """Nothing is shown."""
        del count
        self._alive()


def _backups(plan: Plan) -> Iterable[Job]:
    """None where the whole webroot lives in a bucket: there is nothing beside it."""
    for period in plan.run.backups if plan.mode != "whole" else ():
        yield Job(f"backup {period}", period, partial(_backup, period), ("backup", period))


def _backup(period: str, context: Context) -> Outcome:
    guard = Guarded(_Stoppable(context.alive))
    stores = Stores(context.plan.stores, progress=guard)
    report = back_up(context.plan, context.settings, stores, period, guard)
    failed = report.failed
    state = Observation("backup", period, OK, f"{report.state} {report.version or ''}".strip())
    if failed is not None:
        wrong = f"has it not: {failed.message}" if report.version in failed.lacks else failed.problem
        state = Observation("backup", period, FAILED, f"{failed.url} {wrong}")
    gauge: dict[Gauge, float] = {("backup_bytes", (("period", period),)): float(report.bytes)} if report.bytes else {}
    return Outcome((state,), gauge)


def _copies(plan: Plan) -> Iterable[Job]:
    if plan.mounts and plan.copies and plan.run.replicate:
        yield Job("replicate", plan.run.replicate, _replicate, ("replica", "all"))


def _replicate(context: Context) -> Outcome:
    copies = Copies(context.plan, engine=Engine(), alive=context.alive)
    try:
        done = copies.replicate(orders_of(context.plan))
    except BusyError:  # another server does it, which is as well
        done = copies.status()
        return Outcome((Observation("replica", "all", OK, "another server does it"),), _lags(done))
    seen = [_seen(each) for each in done]
    bad = [each for each in seen if each.state != OK]
    overall = Observation(
        "replica", "all", FAILED if bad else OK, f"{len(bad)} of {len(seen)} are not whole" if bad else ""
    )
    return Outcome((*seen, overall), _lags(done))


def _seen(done: Replicated) -> Observation:
    """Objects that are being written are no failure: the next run has them."""
    name = f"{done.bucket} in {done.copy}"
    if done.withheld or done.problem is not None:
        return Observation("replica", name, FAILED, "; ".join(done.reasons))
    if done.failed:
        return Observation("replica", name, FAILED, f"{len(done.failed)} objects failed, {done.failed[0].key} first")
    return Observation("replica", name, OK)


def _lags(done: Iterable[Replicated]) -> dict[Gauge, float]:
    found: dict[Gauge, float] = {}
    for each in done:
        labels = (("bucket", each.bucket), ("copy", each.copy))
        if each.lag is not None:
            found["replica_lag_seconds", labels] = each.lag
        found["replica_pending", labels] = float(len(each.failed) + each.moving)
        found["replica_withheld", labels] = float(each.withheld)
    return found


def _mounts(plan: Plan) -> Iterable[Job]:
    if plan.mounts and plan.run.mounts:
        yield Job("mounts", plan.run.mounts, _look_at_mounts, ("job", "mounts"))


def _look_at_mounts(context: Context) -> Outcome:
    """By what their supervisors say: a mount that hangs is never touched here."""
    registry = Registry(load().state_dir / "mounts")
    seen = []
    for place in (each for mount in context.plan.mounts for each in _places(mount)):
        record = registry.find(place)
        state = None if record is None else record.state
        if state is None:
            seen.append(Observation("mount", place, FAILED, "it is not mounted on this server"))
        elif state.state == "mounted":
            seen.append(Observation("mount", place, OK))
        else:
            seen.append(Observation("mount", place, FAILED, f"{state.state}: {state.health}"))
    return Outcome((*seen, Observation("job", "mounts", OK)))


def _standing(plan: Plan) -> Iterable[Job]:
    if plan.mounts and plan.run.mounts:
        yield Job("status", _LOOK, _tell_status, ("job", "status"))


def _tell_status(context: Context) -> Outcome:
    """Tell the other web servers what is mounted here, by reading through it; the reads are other processes, and none is waited for long."""
    plan = context.plan
    stores = Stores(plan.stores, progress=_Stoppable(context.alive))
    try:
        report = status(plan, context.settings, stores, node_name(plan.state))
    except (UnsupportedError, UsageError) as error:  # what is never mounted on this server
        return Outcome((Observation("job", "status", OK, error.message),))
    known = [each for each in report.directories if each.bytes is not None]
    gauges: dict[Gauge, float] = {
        ("bucket_bytes", (("bucket", each.bucket),)): float(each.bytes or 0) for each in known
    }
    gauges |= {("held_bytes", (("directory", each.directory),)): float(each.held_bytes) for each in report.directories}
    merged = {mount.directory for mount in plan.mounts if mount.branches}
    seen = [_names(each) for each in report.directories if each.directory in merged]
    return Outcome((*seen, Observation("job", "status", OK)), gauges)


def _names(each: DirectoryStatus) -> Observation:
    """Names that two branches of a merged directory have: what one server writes another may then not see."""
    if not each.doubled:
        return Observation("names", each.directory, OK)
    text = f"{len(each.doubled)} names lie on two branches, and the first is shown: {', '.join(each.doubled[:3])}"
    return Observation("names", each.directory, FAILED, text)


def _places(mount: MountPlan) -> tuple[str, ...]:
    return (*mount.branches, mount.place)


def _stores(plan: Plan) -> Iterable[Job]:
    if plan.mounts and plan.copies:
        yield Job("stores", _LOOK, _look_at_stores, ("job", "stores"))


def _look_at_stores(context: Context) -> Outcome:
    now = context.now()
    copies = Copies(context.plan, engine=Engine(), alive=context.alive)
    whole = {(each.bucket, each.copy): now - each.lag for each in copies.status() if each.lag is not None}
    seen = look(context.plan, context.folder, whole, now, moves=shows_copies(context.plan))
    return Outcome((*seen, Observation("job", "stores", OK)))


def _failover(plan: Plan) -> Iterable[Job]:
    if plan.mounts and shows_copies(plan) and plan.run.mounts:
        yield Job("failover", _LOOK, _fail_over, ("job", "failover"))


def _fail_over(context: Context) -> Outcome:
    """Mounts that failed go over to copies, and copies back to their buckets, as the look at the stores chose."""
    plan = context.plan
    stores = Stores(plan.stores, progress=_Stoppable(context.alive))
    try:
        places_of(plan, context.settings)
    except (UnsupportedError, UsageError) as error:  # what is never mounted on this server
        return Outcome((Observation("job", "failover", OK, error.message),))
    report = move(plan, context.settings, stores, node_name(plan.state))
    done = "" if report is None else "; ".join(f"{each.place}: {each.state}" for each in report.directories)
    return Outcome((Observation("job", "failover", OK, done),))


def _syncs(plan: Plan) -> Iterable[Job]:
    """None for a whole webroot in a bucket, of which every server sees the same."""
    if plan.sync_webroots and plan.mode != "whole" and plan.run.sync:
        yield Job("sync", plan.run.sync, _sync, ("sync", "webroot"))


def _sync(context: Context) -> Outcome:
    plan = context.plan
    stores = Stores(plan.stores, progress=_Stoppable(context.alive))
    try:
        with Agreed(Path(plan.state) / "sync") as agreed:
            report = once(Syncer(stores.all[0].repository, plan, agreed, told=lambda _: None))
    except BusyError:  # asset site sync --watch does it already
        return Outcome((Observation("sync", "webroot", OK, "another process of this server does it"),))
    wrong = [f"{what}: {why}" for what, why in report.wrong.items()]
    if report.held:
        wrong.append(f"{len(report.held)} deletions are held back: asset site sync --accept-deletes")
    state = Observation("sync", "webroot", FAILED if wrong else OK, "; ".join(wrong))
    return Outcome((state,), {("sync_skipped", ()): float(len(report.skipped))})


#: Kind → what makes its jobs of a plan. Jobs of others are plugged in by a line here.
MAKERS: Final[dict[str, Callable[[Plan], Iterable[Job]]]] = {
    "backup": _backups,
    "replicate": _copies,
    "sync": _syncs,
    "mounts": _mounts,
    "status": _standing,
    "stores": _stores,
    "failover": _failover,
}


def jobs_of(plan: Plan) -> dict[str, Job]:
    """Every job of a site, by name."""
    return {job.name: job for make in MAKERS.values() for job in make(plan)}


def patience_of(jobs: Mapping[str, Job]) -> dict[Subject, float]:
    """After how many seconds without a good end each is overdue."""
    return {job.subject: patience(job.when) for job in jobs.values()}
