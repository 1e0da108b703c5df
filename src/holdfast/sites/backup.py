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
from typing import TYPE_CHECKING, Final

from holdfast.cache.work import open_work_dir
from holdfast.clock import SystemClock
from holdfast.errors import (
    BusyError,
    ConflictError,
    LocalError,
    SourceChangedError,
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
from holdfast.sites.stores import versions_of
from holdfast.sites.values import PERIODS
from holdfast.sites.versions import StoreReport, Versions
from holdfast.store.filesystem import mount_points

if TYPE_CHECKING:
    from collections.abc import Mapping

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
#: Seconds by which this machine's clock and the store's may differ before the store's is believed.
_APART: Final = 60.0


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
        """The first store that has it not, or lacks an older one."""
        return next((store for store in self.stores if not store.ok), None)

    @property
    def without(self) -> StoreReport | None:
        """The first store that has it not, whatever older ones another lacks."""
        return next((store for store in self.stores if self.version in store.lacks), None)


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
        LocalError: there is no webroot.
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
    if not Path(plan.webroot).is_dir():
        raise LocalError(
            f"the webroot {plan.webroot} is not on this machine", subject=plan.webroot, hint="back up on a web server"
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
    dry_run: bool = False,
) -> BackupReport:
    """Make a version of a folder that is not the webroot itself: a baseline, or a backup that comes from elsewhere.

    As :func:`back_up`, without commands and without a look at what is mounted; another server that is at it is a BusyError.
    A dry run says what would be pushed, and writes nothing.
    """
    begun = time.monotonic()
    source = _Source(folder, (), dict(labels or {}), version)
    run = _Run(plan, settings, stores, period, guard, source, message)
    report = run.rehearse() if dry_run else run.leased(0.0)
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
        self.period = period
        self.guard = guard
        self.source = source
        self.message = message
        self.name = asset_name(plan.site, period)
        self.versions = Versions(stores, self.name, guard)

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
        _, pushed = self.versions.somewhere(lambda store: self._push(store.repository, None, {}, dry_run=True))
        return self._report(pushed, "created" if pushed.created else "unchanged")

    def leased(self, wait: float) -> BackupReport:
        """With the lease: in the first store that answers, so that all servers ask the same."""
        deadline = time.monotonic() + wait
        while True:
            try:
                store, lease = self.versions.somewhere(self._take)
            except BusyError as error:
                if not wait:
                    return BackupReport(self.plan.site, self.period, "elsewhere", by=error.subject)
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)
                self.versions.ask_again()
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
        self.versions.heal()
        with ExitStack() as kept:
            beside = self._prepare(near.repository.state / "sites" / "extra", lease, kept)
            reach("site.before-push")
            first, pushed = self.versions.somewhere(lambda store: self._push(store.repository, lease, beside))
        reach("site.pushed")
        self.versions.spread(first, pushed)
        self._still_mounted(pushed)
        lease.confirm()
        reach("site.copied")
        self.versions.retain(self.plan.keep.get(self.period, {}))
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
        if not dry_run and self.source.version is None:
            self._set_clock(repository)
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

    def _set_clock(self, repository: Repository) -> None:
        """Backups are named by their time, and compared with what a bucket's objects tell: a clock that is wrong is not believed."""
        clock, told = repository.clock, repository.catalog.store_now()
        apart = (clock.now() - told).total_seconds()
        if abs(apart) > _APART and isinstance(clock, SystemClock):
            clock.set_by(told)
            way = "ahead of" if apart > 0 else "behind"
            self.guard.warn(
                f"this machine's clock is {abs(apart):.0f} s {way} that of {repository.store.url}, by which the backup is named: "
                "set it (asset site doctor)"
            )

    def _still_mounted(self, pushed: Pushed) -> None:
        """Look once more; a backup during which that changed is none."""
        try:
            self.check_mounts()
        except ConflictError:
            if pushed.created:
                self.versions.take_back(pushed.version)
            raise

    def _report(self, pushed: Pushed, state: str) -> BackupReport:
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
            self.versions.reports(),
        )


def environment() -> dict[str, str]:
    """What commands see: this process's own environment."""
    from holdfast.config import load

    return dict(load({}).environ)
