"""Deployments: the media of a backup go into their buckets, each proven, before any web server mounts one.

One deployment of a site is online at a time (:mod:`.deployed`). All buckets are looked at and judged before anything is written, and
every step is journaled and idempotent: a deployment that was killed is completed by running it again.
"""

from __future__ import annotations

import secrets
import shutil
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from holdfast.cache.work import open_work_dir
from holdfast.errors import ConflictError, NotFoundError, UsageError
from holdfast.failpoint import reach
from holdfast.formats.records import changed, stamp
from holdfast.formats.sites import DeploymentRecord
from holdfast.sites.deployed import deployment_of, swap_record
from holdfast.sites.history import chosen
from holdfast.sites.journal import Journal
from holdfast.sites.lease import Lease, refuse_held
from holdfast.sites.media import Media
from holdfast.sites.offload import Agreed, Content, Decision, decide_bucket, wanted_of
from holdfast.sites.retention import time_of
from holdfast.sites.spreading import Spreading
from holdfast.sites.streamed import Streamed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from holdfast.sites.guarded import Guarded
    from holdfast.sites.plan import Plan
    from holdfast.sites.stores import SiteStore, Stores
    from holdfast.sites.values import Problem, SiteSettings

__all__ = ["BucketReport", "DeployReport", "deploy"]


@dataclass(frozen=True, slots=True)
class BucketReport:
    """One bucket: created, filled, overwritten or adopted; what was written to it, and the version that holds its safety copy."""

    bucket: str
    directory: str
    state: str
    objects: int = 0
    written: int = 0
    removed: int = 0
    bytes: int = 0
    safety: str | None = None


@dataclass(frozen=True, slots=True)
class DeployReport:
    """A deployment; ``id`` is None for a dry run."""

    site: str
    spec: str
    id: str | None
    buckets: tuple[BucketReport, ...]
    seconds: float = 0.0


def deploy(
    plan: Plan,
    settings: SiteSettings,
    stores: Stores,
    guard: Guarded,
    spec: str,
    agreed: Agreed,
    *,
    at: datetime | None = None,
    ask: Callable[[Decision], bool] | None = None,
    dry_run: bool = False,
) -> DeployReport:
    """Put the media of a backup into their buckets.

    Args:
        plan: the site.
        settings: its lease.
        stores: its stores; buckets are made at the provider of the first.
        guard: their progress.
        spec: the backup.
        agreed: what the operator agreed to on the command line.
        at: the newest backup made by then.
        ask: asks him about a bucket that would be overwritten; without it nobody is asked.
        dry_run: say what would be done, and write nothing.

    Raises:
        UsageError: the settings put no media into buckets, or the backup lacks a directory.
        ConflictError: another deployment is online; a bucket may not be used, or was not agreed upon. Nothing was written.
        BusyError: another deployment is under way.
    """
    begun = time.monotonic()
    if not plan.mounts:
        raise UsageError(
            "no directory lives in a bucket",
            subject=plan.site,
            hint="persist_assets_to_cloud = 1, and a build from a backup",
        )
    name, version, having = chosen(plan, stores, spec, at)
    near = stores.all[0]
    contents = _contents(plan, having[0], name, version)
    if dry_run:
        refuse_held(near.repository, plan.site, "deploy")
        run = _Deployment(plan, settings, stores, guard, having, name, version, contents)
        decisions = run.decide(agreed, ask)
        return DeployReport(plan.site, f"{name}:{version}", None, tuple(run.report(each) for each in decisions))
    with Lease.take(near.repository, plan.site, "deploy", seconds=settings.lease) as lease:
        guard.lease = lease
        try:
            run = _Deployment(plan, settings, stores, guard, having, name, version, contents)
            return run.do(run.decide(agreed, ask), begun)
        finally:
            guard.lease = None


def _contents(plan: Plan, store: SiteStore, name: str, version: str) -> dict[str, Content | None]:
    """By bucket; None where the backup omits the directory because it was mounted.

    Raises:
        UsageError: the backup lacks a directory.
        ConflictError: it is of another application.
    """
    labels = store.repository.catalog.published(name, version).meta.labels
    made_for = labels.get("application", plan.application)
    if made_for != plan.application:
        raise ConflictError(f"{name}:{version} is of {made_for}, and the site is of {plan.application}", subject=name)
    omitted = {each for each in labels.get("omitted", "").split(":") if each}
    entries = store.repository.files(f"{name}:{version}")
    found: dict[str, Content | None] = {}
    for mount in plan.mounts:
        if mount.directory in omitted:
            found |= dict.fromkeys(mount.buckets)
            continue
        contents = wanted_of(plan, mount, entries)
        if contents is None:
            hint = "correct directories_to_mount, or deploy from a backup that has it"
            raise UsageError(
                f"{mount.directory!r} is no directory of {name}:{version}", subject=mount.directory, hint=hint
            )
        found |= dict(zip(mount.buckets, contents, strict=True))
    return found


class _Deployment:
    """One deployment in the making, by whoever has the lease."""

    def __init__(
        self,
        plan: Plan,
        settings: SiteSettings,
        stores: Stores,
        guard: Guarded,
        having: list[SiteStore],
        name: str,
        version: str,
        contents: dict[str, Content | None],
    ) -> None:
        self.plan = plan
        self.settings = settings
        self.stores = stores
        self.guard = guard
        self.having = having
        self.name = name
        self.version = version
        self.contents = contents
        self.wish = {"site": plan.site, "spec": f"{name}:{version}"}
        self.repository = stores.all[0].repository
        self.media = {
            bucket: Media(stores.all[0], plan.site, bucket, mount.directory)
            for mount in plan.mounts
            for bucket in mount.buckets
        }
        self.spreading: dict[str, Spreading] = {}
        self.made: frozenset[str] = frozenset()
        self.safety: dict[str, str] = {}
        self.sent: dict[str, int] = {}

    def decide(self, agreed: Agreed, ask: Callable[[Decision], bool] | None) -> list[Decision]:
        """What is done with each bucket.

        Raises:
            ConflictError: anything stands against it; nothing was written.
        """
        record = deployment_of(self.repository, self.plan.site)
        journal = Journal(self.plan.state, "deploy")
        if record is not None and record.state == "online" and not journal.is_of(record.id, self.wish):
            raise ConflictError(
                f"a deployment of {self.plan.site} is online, since {record.at}, from {record.spec}",
                subject=self.plan.site,
                hint="asset site detach on each web server, then asset site detach --offline here",
            )
        made = time_of(self.version)
        predates = record is not None and made is not None and made.timestamp() < record.last_write
        if record is not None and journal.is_of(record.id, self.wish):
            self.made = frozenset(bucket for bucket in self.media if journal.fact(f"create {bucket}") is not None)
        against = self._spread(record.buckets if record is not None and record.state != "preparing" else ())
        decisions = [] if against else [self._decide(bucket, agreed, ask, predates=predates) for bucket in self.media]
        refused = against + [each.problem for each in decisions if each.problem is not None]
        if refused:
            more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
            raise ConflictError(f"bucket {refused[0].setting} {refused[0].message}{more}", subject=refused[0].setting)
        return decisions

    def _spread(self, recorded: Collection[str]) -> list[Problem]:
        """Look at the buckets of each directory together, and settle which of them is to hold which file; what stands against it."""
        found: list[Problem] = []
        for mount in self.plan.mounts:
            media = [self.media[bucket] for bucket in mount.buckets]
            near = self.stores.all[0]
            spreading = Spreading(near, self.plan.site, mount, media, recorded, self.media)
            self.spreading |= dict.fromkeys(mount.buckets, spreading)
            settled = spreading.settled([self.contents[bucket] for bucket in mount.buckets])
            self.contents |= dict(zip(mount.buckets, settled, strict=True))
            found += spreading.problems()
        return found

    def _decide(
        self, bucket: str, agreed: Agreed, ask: Callable[[Decision], bool] | None, *, predates: bool
    ) -> Decision:
        if bucket in self.made:  # by this very deployment, which was killed before it marked it
            agreed = replace(agreed, adopt=True)
        content, grows = self.contents[bucket], self.spreading[bucket].is_new(bucket)
        wanted = None if content is None else content.files
        seen = self.media[bucket].look(wanted or {})
        decision = decide_bucket(self.plan.site, seen, wanted, agreed, predates=predates, grows=grows)
        if decision.problem is not None and ask is not None and bucket not in agreed.overwrite:
            sure = Agreed(agreed.adopt, agreed.overwrite | {bucket}, agreed.accept_loss)
            possible = decide_bucket(self.plan.site, seen, wanted, sure, predates=predates, grows=grows)
            if possible.problem is None and ask(possible):
                return possible
        return decision

    def do(self, decisions: list[Decision], begun: float) -> DeployReport:
        """Do it, step by step."""
        journal = Journal(self.plan.state, "deploy")
        identity, spec = journal.begin(self.wish), self.wish["spec"]
        now = stamp(self.repository.clock.now())
        record = DeploymentRecord(
            1, identity, "preparing", self.repository.who, now, spec, list(self.media), self._last_write()
        )
        self._confirm()
        swap_record(self.repository, self.plan.site, record)
        journal.did("announced")
        for decision in decisions:
            self._do_one(decision, journal)
        self._mark_branches(journal)
        self._confirm()
        swap_record(self.repository, self.plan.site, changed(record, state="online"), of=identity)
        journal.did("online")
        journal.end()
        reports = tuple(self.report(each) for each in decisions)
        return DeployReport(self.plan.site, spec, identity, reports, round(time.monotonic() - begun, 3))

    def _last_write(self) -> float:
        record = deployment_of(self.repository, self.plan.site)
        return record.last_write if record is not None else 0.0

    def _do_one(self, decision: Decision, journal: Journal) -> None:
        media, content = self.media[decision.bucket], self.contents[decision.bucket]
        self._confirm()
        if decision.create:
            journal.note(f"create {decision.bucket}", "begun")
            media.make()
            journal.did(f"create {decision.bucket}")
        if decision.mark:
            media.mark()
            journal.did(f"mark {decision.bucket}")
        if decision.safety:
            self._keep_safe(media, {*decision.write, *decision.remove}, journal)
        if content is None:
            return
        if decision.write:
            self._write(media, content, decision.write)
            journal.did(f"write {decision.bucket}")
        if decision.remove:
            self._confirm()
            media.remove(decision.remove, self._check)
            journal.did(f"remove {decision.bucket}")
        recorded = media.recorded()
        if decision.write or decision.remove or recorded is None or recorded.spec != self.wish["spec"]:
            self._confirm()
            media.record(f"{self.name}:{self.version}", content.files, content.others)
            journal.did(f"record {decision.bucket}")

    def _mark_branches(self, journal: Journal) -> None:
        """Once every branch is there: from then on one that is missing is one that was lost."""
        for bucket, spreading in self.spreading.items():
            if spreading.lacks_mark(bucket):
                self._confirm()
                self.media[bucket].mark_branch(*spreading.branch(bucket))
                journal.did(f"branch {bucket}")

    def _confirm(self) -> None:
        """Before every step: that may have taken long, and a bucket is only written by who has the lease."""
        if self.guard.lease is not None:
            self.guard.lease.confirm()

    def _check(self) -> None:
        if self.guard.lease is not None:
            self.guard.lease.check()

    def _keep_safe(self, media: Media, going: AbstractSet[str], journal: Journal) -> None:
        """A copy of what is there, as a version, proven; of an earlier, killed run it is there already, unless somebody wrote since."""
        from holdfast.sites.backup import keep_folder

        noted = journal.fact(f"safety {media.bucket}")
        if noted is not None and self._is_kept(media, going, noted):
            self.safety[media.bucket] = noted
            return
        work = open_work_dir(self.repository.state / "sites" / "safety", secrets.token_hex(6))
        lease, self.guard.lease = self.guard.lease, None
        try:
            work.copy.mkdir(mode=0o700)
            media.fetch(work.copy)
            message = f"bucket {media.bucket}, before it was overwritten"
            report = keep_folder(
                self.plan, self.settings, self.stores, f"safety/{media.bucket}", self.guard, work.copy, message=message
            )
            if report.without is not None:
                raise ConflictError(
                    f"no safety copy of {media.bucket} in {report.without.url}: {report.without.message}",
                    subject=media.bucket,
                )
        finally:
            self.guard.lease = lease
            shutil.rmtree(work.path, ignore_errors=True)
        self.safety[media.bucket] = str(report.spec)
        journal.note(f"safety {media.bucket}", str(report.spec))
        reach("site.step")

    def _is_kept(self, media: Media, going: AbstractSet[str], spec: str) -> bool:
        """Whether a version has all that would go from a bucket now."""
        try:
            kept = {entry.path: entry for entry in self.repository.files(spec) if entry.kind == "file"}
        except NotFoundError:
            return False
        listed = media.half.listed()
        for key in going & listed.keys():
            if key not in kept or kept[key].size != listed[key].size:
                return False
            if media.half.digest(key, listed[key]) != kept[key].digest:
                return False
        return True

    def _write(self, media: Media, content: Content, keys: tuple[str, ...]) -> None:
        source = Streamed(self.having, self.name, self.version, content.within)
        self.guard.start(media.bucket, sum(content.files[key].size for key in keys), len(keys))
        try:
            self._confirm()
            self.sent[media.bucket] = media.fill(source, keys, content.files, self._check)
        finally:
            self.guard.finish()

    def report(self, decision: Decision) -> BucketReport:
        """What was, or would be, done with a bucket."""
        content = self.contents[decision.bucket]
        return BucketReport(
            decision.bucket,
            decision.directory,
            decision.state,
            len(content.files) if content is not None else 0,
            len(decision.write),
            len(decision.remove),
            self.sent.get(decision.bucket, 0),
            self.safety.get(decision.bucket),
        )
