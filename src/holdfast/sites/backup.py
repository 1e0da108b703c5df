"""Backups of a site: versions of ``sites/<site>/<period>``, in every store, proven after they were written.

The order: what is mounted agrees with the settings → the lease → the commands before → a push to the first store that answers →
the same version copied to the others → each proven by reading back → what is mounted still agrees → what no rule keeps is removed.
Nothing of an older backup is touched before the new one is proven. Unchanged files cost nothing, and an unchanged site makes no
version.
"""

from __future__ import annotations

import secrets
import shutil
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from holdfast.cache.work import open_work_dir
from holdfast.errors import (
    AccessError,
    BusyError,
    ConflictError,
    HoldfastError,
    NotFoundError,
    SourceChangedError,
    UnreachableError,
    UnsupportedError,
    UsageError,
)
from holdfast.failpoint import reach
from holdfast.formats.layout import BACKUP_OWN, outside_name
from holdfast.formats.records import stamp
from holdfast.sites.attaching import below_root
from holdfast.sites.commands import run_commands
from holdfast.sites.lease import Lease
from holdfast.sites.mounted import mismatches
from holdfast.sites.names import asset_name
from holdfast.sites.paths import unlinked
from holdfast.sites.proof import prove_version
from holdfast.sites.retention import plan_retention
from holdfast.sites.stores import versions_of
from holdfast.sites.values import PERIODS
from holdfast.store.filesystem import mount_points

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from holdfast.model.result import Pushed
    from holdfast.repository import Repository
    from holdfast.sites.guarded import Guarded
    from holdfast.sites.plan import Plan
    from holdfast.sites.stores import SiteStore, Stores
    from holdfast.sites.values import SiteSettings

__all__ = [
    "BackupReport",
    "StoreReport",
    "back_up",
    "check_period",
    "environment",
    "keep_folder",
]

#: A webroot that is in use changes: so often a push is begun anew.
_TRIES: Final = 4
_PAUSE: Final = 0.5
Outcome = TypeVar("Outcome")
#: What another store may do better.
_ELSEWHERE: Final = (AccessError, NotFoundError, UnreachableError, UnsupportedError)


@dataclass(frozen=True, slots=True)
class StoreReport:
    """One store: whether it has the backup, proven; what was sent to it, and what went from it by the rules."""

    url: str
    ok: bool
    message: str = ""
    kind: str = ""
    uploaded_bytes: int = 0
    uploaded_objects: int = 0
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BackupReport:
    """``state``: created, unchanged, recent (the last is younger than ``gap``), elsewhere (another server makes it)."""

    site: str
    period: str
    state: str
    version: str | None = None
    spec: str | None = None
    files: int = 0
    bytes: int = 0
    omitted: tuple[str, ...] = ()
    by: str | None = None
    stores: tuple[StoreReport, ...] = ()
    seconds: float = 0.0

    @property
    def failed(self) -> StoreReport | None:
        """The first store that has it not."""
        return next((store for store in self.stores if not store.ok), None)


def check_period(period: str) -> str:
    """The period, if there is one of this name.

    Raises:
        UsageError: there is none; a part of a name is none either.
    """
    if period not in PERIODS:
        raise UsageError(f"{period!r} is no period", subject=period, hint=f"one of {', '.join(PERIODS)}")
    return period


def back_up(
    plan: Plan,
    settings: SiteSettings,
    stores: Stores,
    period: str,
    guard: Guarded,
    *,
    message: str | None = None,
    wait: float = 0.0,
    dry_run: bool = False,
) -> BackupReport:
    """Make a backup.

    Args:
        plan: the site.
        settings: its commands, lease and gap.
        stores: all its stores, opened with ``guard`` as their progress.
        period: one of the periods.
        guard: stops transfers once the lease is lost.
        message: kept with the version.
        wait: so many seconds for another server that makes it.
        dry_run: say what would be pushed, and write nothing.

    Raises:
        UsageError: no such period; the whole webroot lives in a bucket.
        ConflictError: what is mounted is not what the settings say; the lease was lost.
        BusyError: another server was making it for longer than ``wait``.
        HoldfastError: a command failed; no store answers.
    """
    begun = time.monotonic()
    check_period(period)
    if plan.mode == "whole":
        raise UsageError(
            f"the whole webroot lives in the bucket {plan.mounts[0].buckets[0]}: there is nothing beside it to back up",
            subject=plan.site,
            hint="asset site replicate keeps a copy of the bucket in another store",
        )
    source = _Source(Path(plan.webroot), plan.patterns, live=True)
    run = _Run(plan, settings, stores, period, guard, source, message)
    run.check_mounts()
    report = run.rehearse() if dry_run else run.leased(wait)
    return replace(report, seconds=round(time.monotonic() - begun, 3))


def keep_folder(
    plan: Plan,
    settings: SiteSettings,
    stores: Stores,
    period: str,
    guard: Guarded,
    folder: Path,
    *,
    labels: Mapping[str, str] | None = None,
    message: str | None = None,
    version: str | None = None,
) -> BackupReport:
    """Make a version of a folder that is not the webroot itself: a baseline, or a backup that comes from elsewhere.

    As :func:`back_up`, without commands and without a look at what is mounted; another server that is at it is a BusyError.
    """
    begun = time.monotonic()
    source = _Source(folder, (), dict(labels or {}), version)
    report = _Run(plan, settings, stores, period, guard, source, message).leased(0.0)
    if report.state == "elsewhere":
        raise BusyError(f"{report.by} makes one at this moment", subject=report.by, hint="try again in a moment")
    return replace(report, seconds=round(time.monotonic() - begun, 3))


@dataclass(frozen=True, slots=True)
class _Source:
    """What is pushed; ``live`` is the webroot, which is mounted into, has commands and a gap."""

    folder: Path
    patterns: tuple[str, ...]
    labels: dict[str, str] = field(default_factory=dict)
    version: str | None = None
    live: bool = False


class _Run:
    """One backup in the making."""

    def __init__(
        self,
        plan: Plan,
        settings: SiteSettings,
        stores: Stores,
        period: str,
        guard: Guarded,
        source: _Source,
        message: str | None,
    ) -> None:
        self.plan = plan
        self.settings = settings
        self.stores = stores
        self.period = period
        self.guard = guard
        self.source = source
        self.message = message
        self.name = asset_name(plan.site, period)
        self.reports: dict[str, StoreReport] = {}

    def check_mounts(self) -> None:
        """ConflictError where what is mounted is not what the settings say."""
        if not self.source.live:
            return
        wrong = mismatches(self.plan, mount_points())
        if wrong:
            more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
            hint = "asset site attach mounts, asset site detach unmounts; or correct the settings"
            raise ConflictError(f"no backup is made: {wrong[0]}{more}", subject=self.plan.site, hint=hint)

    def rehearse(self) -> BackupReport:
        """What a push would say, of the first store that answers."""
        _, pushed = self._somewhere(lambda store: self._push(store.repository, None, {}, dry_run=True))
        return self._report(pushed, "created" if pushed.created else "unchanged")

    def leased(self, wait: float) -> BackupReport:
        """With the lease: in the first store that answers, so that all servers ask the same."""
        deadline = time.monotonic() + wait
        while True:
            try:
                store, lease = self._somewhere(self._take)
            except BusyError as error:
                if not wait:
                    return BackupReport(self.plan.site, self.period, "elsewhere", by=error.subject)
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)
                continue
            with lease:
                self.guard.lease = lease
                try:
                    return self._within(store, lease)
                finally:
                    self.guard.lease = None

    def _take(self, store: SiteStore) -> Lease:
        return Lease.take(store.repository, self.plan.site, f"backup-{self.period}", seconds=self.settings.lease)

    def _within(self, near: SiteStore, lease: Lease) -> BackupReport:
        recent = self._recent(near.repository)
        if recent is not None:
            return BackupReport(self.plan.site, self.period, "recent", recent, f"{self.name}:{recent}")
        if len(self.stores.all) > 1:
            self._heal()
        with ExitStack() as kept:
            beside = self._prepare(near.repository.state / "sites" / "extra", lease, kept)
            reach("site.before-push")
            first, pushed = self._somewhere(lambda store: self._push(store.repository, lease, beside))
        reach("site.pushed")
        told = self.reports.get(first.place) or StoreReport(first.url, ok=True)
        self.reports[first.place] = StoreReport(
            first.url,
            ok=True,
            uploaded_bytes=told.uploaded_bytes + pushed.uploaded_bytes,
            uploaded_objects=told.uploaded_objects + pushed.uploaded_objects,
        )
        self._prove(first, pushed.version)
        reach("site.proven")
        for store in self.stores.all:
            if store is not first:
                self._copy(first, store, pushed.version)
                self._prove(store, pushed.version)
        self._still_mounted(pushed)
        lease.confirm()
        reach("site.copied")
        for store in self.stores.all:
            if self.reports[store.place].ok:
                self._retain(store)
        lease.note = {"version": pushed.version, "at": stamp(near.repository.clock.now()), "by": near.repository.who}
        return self._report(pushed, "created" if pushed.created else "unchanged")

    def _recent(self, repository: Repository) -> str | None:
        """The newest backup, where it is younger than the gap, by the store's clock."""
        if not self.settings.gap or not self.source.live:
            return None
        newest = next(iter(versions_of(repository, self.name)), None)
        when = repository.catalog.written(self.name).get(newest) if newest is not None else None
        if when is None or repository.catalog.store_now().timestamp() - when >= self.settings.gap:
            return None
        return newest

    def _prepare(self, place: Path, lease: Lease, kept: ExitStack) -> dict[str, Path]:
        """Run the commands before; the folders that appear in the backup beside the webroot. What killed runs left is swept."""
        if not self.source.live:
            return {}
        tops = self.settings.absolute_roots
        beside = {outside_name(path): unlinked(*below_root(path, tops)) for path in self.plan.outside}
        if self.settings.before_backup:
            extra = open_work_dir(place, secrets.token_hex(6)).path
            kept.callback(shutil.rmtree, extra, ignore_errors=True)
            extra.chmod(0o700)
            environ = {"HOLDFAST_SITE": self.plan.site, "HOLDFAST_PERIOD": self.period}
            run_commands(self.settings.before_backup, extra, environment() | environ, lease.check)
            beside[BACKUP_OWN] = extra
        return beside

    def _push(
        self, repository: Repository, lease: Lease | None, beside: dict[str, Path], *, dry_run: bool = False
    ) -> Pushed:
        labels = {"site": self.plan.site_url, "period": self.period, "application": self.plan.application}
        labels |= self.source.labels
        if self.plan.omitted and self.source.live:
            labels["omitted"] = ":".join(self.plan.omitted)
        for attempt in range(_TRIES):
            try:
                return repository.push(
                    self.source.folder,
                    self.name,
                    layout="packs",
                    exclude=self.source.patterns,
                    version=self.source.version,
                    beside=beside,
                    labels=labels,
                    message=self.message,
                    dry_run=dry_run,
                )
            except SourceChangedError:
                if attempt == _TRIES - 1:
                    raise
                if lease is not None:
                    lease.check()
                time.sleep(_PAUSE * (attempt + 1))
        raise AssertionError  # the last try has raised

    def _somewhere(self, work: Callable[[SiteStore], Outcome]) -> tuple[SiteStore, Outcome]:
        """Do it in the first store that lets us; those that did not are told of."""
        last: HoldfastError | None = None
        for store in self.stores.all:
            try:
                outcome = work(store)
            except BusyError:
                raise
            except _ELSEWHERE as error:
                last = last or error
                self._failed(store, error)
            else:
                return store, outcome
        assert last is not None  # noqa: S101 - a plan has at least one store
        raise last

    def _prove(self, store: SiteStore, version: str) -> None:
        """Read it back; what is wrong is told of the store."""
        if not self.reports[store.place].ok:
            return
        try:
            prove_version(store.repository, self.name, version)
        except HoldfastError as error:
            self._failed(store, error)

    def _heal(self) -> None:
        """Bring every backup of the period to every store: those that one missed while it did not answer.

        It comes before the new one, so that whichever store that goes to knows all numbers, and what the newest content is.
        """
        there: dict[str, set[str]] = {}
        removed: set[str] = set()
        for store in self.stores.all:
            try:
                there[store.place] = set(versions_of(store.repository, self.name))
                removed |= store.repository.catalog.record(self.name).tombstones.keys()
            except HoldfastError as error:
                self._failed(store, error)
        for version in sorted(set().union(*there.values()) - removed):
            source = next(store for store in self.stores.all if version in there.get(store.place, ()))
            for store in self.stores.all:
                if store.place in there and version not in there[store.place]:
                    self._copy(source, store, version)

    def _copy(self, source: SiteStore, store: SiteStore, version: str) -> None:
        """Copy a version to a store; what fails is told of the store."""
        from holdfast import replicate  # the most common site has one store, and starts sooner without it

        told = self.reports.get(store.place) or StoreReport(store.url, ok=True)
        try:
            copied = replicate.copy(source.repository, store.repository, f"{self.name}:{version}")
        except HoldfastError as error:
            if self.guard.lease is not None:
                self.guard.lease.check()
            self._failed(store, error)
            return
        sent, objects = told.uploaded_bytes + copied.uploaded_bytes, told.uploaded_objects + copied.uploaded_objects
        self.reports[store.place] = StoreReport(store.url, ok=True, uploaded_bytes=sent, uploaded_objects=objects)

    def _failed(self, store: SiteStore, error: HoldfastError) -> None:
        told = self.reports.get(store.place) or StoreReport(store.url, ok=False)
        self.reports[store.place] = replace(told, ok=False, message=error.message, kind=error.kind)

    def _still_mounted(self, pushed: Pushed) -> None:
        """Look once more; a backup during which that changed is none."""
        try:
            self.check_mounts()
        except ConflictError:
            if pushed.created:
                for store in self.stores.all:
                    if self.reports[store.place].ok:
                        store.repository.remove(f"{self.name}:{pushed.version}")
            raise

    def _retain(self, store: SiteStore) -> None:
        """Remove what no rule keeps; a backup is none the worse where that fails."""
        repository = store.repository
        try:
            doomed = doomed_versions(repository, self.name, self.plan.keep.get(self.period, {}))
            if doomed:
                repository.catalog.remove(self.name, doomed)
            self.reports[store.place] = replace(self.reports[store.place], removed=tuple(doomed))
        except HoldfastError as error:
            self.guard.warn(f"{store.url}: old backups could not be removed: {error.message}")

    def _report(self, pushed: Pushed, state: str) -> BackupReport:
        reports = tuple(self.reports[store.place] for store in self.stores.all if store.place in self.reports)
        omitted = self.plan.omitted if self.source.live else ()
        return BackupReport(
            self.plan.site,
            self.period,
            state,
            pushed.version,
            pushed.spec,
            pushed.files,
            pushed.bytes,
            omitted,
            None,
            reports,
        )


def doomed_versions(repository: Repository, name: str, rules: dict[str, int]) -> list[str]:
    """The backups that no rule keeps."""
    versions = versions_of(repository, name)
    record = repository.catalog.record(name)
    return plan_retention(versions, rules, {*record.aliases.values(), *record.holds})[0]


def environment() -> dict[str, str]:
    """What commands see: this process's own environment."""
    from holdfast.config import load

    return dict(load({}).environ)
