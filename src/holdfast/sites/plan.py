"""What a site's settings come to: a resolved plan, or every rule that refuses it. Pure: settings and facts in, values out.

Each rule stands in :data:`RULES` with its sentence, and ``asset site check`` tells which of them refuse. Nothing is touched before
all of them agree.
"""

from __future__ import annotations

import glob
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from holdfast.sites.applications import APPLICATIONS, Application
from holdfast.sites.directories import Item, place_of
from holdfast.sites.names import site_of
from holdfast.sites.rules import RULES, buckets_of, judge
from holdfast.sites.values import CopySettings, MaxDelete, Notify, RunSettings

if TYPE_CHECKING:
    from holdfast.sites.values import Problem, SiteSettings, StoreSettings

__all__ = ["RULES", "Facts", "MountPlan", "Plan", "Resolved", "resolve"]

#: How much of each period is kept where nothing is set; what no rule is said for is never removed.
DEFAULT_KEEP: Final[dict[str, dict[str, int]]] = {
    "hourly": {"last": 24, "hourly": 48, "daily": 7},
    "daily": {"last": 7, "daily": 30},
    "weekly": {"last": 4, "weekly": 12},
    "monthly": {"last": 3, "monthly": 24},
    "bimonthly": {"last": 3, "monthly": 24},
    "shutdown": {"last": 10},
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the world: the backup that the site is built from, and its directories. None: not looked at."""

    backup: str | None = None
    directories: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class MountPlan:
    """One directory: where it appears, and the buckets behind it; of several, mergerfs unites the ``branches``."""

    directory: str
    place: str
    buckets: tuple[str, ...]
    branches: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether it is the whole webroot."""
        return not self.directory


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything resolved. Paths are relative to the webroot, or absolute; ``outside`` are absolute directories that are in backups.

    ``exclude`` are patterns of the settings alone; see ``patterns``.
    """

    site: str
    site_url: str
    display_name: str
    webroot: str
    application: str
    build: str
    persist: bool
    mode: str
    mounter: str
    web_user: str
    mounts: tuple[MountPlan, ...]
    media: tuple[str, ...]
    config_file: str | None
    local: tuple[str, ...]
    exclude: tuple[str, ...]
    sync_webroots: bool
    stores: tuple[StoreSettings, ...]
    outside: tuple[str, ...] = ()
    keep: dict[str, dict[str, int]] = field(default_factory=dict)
    state: str = ""
    copies: tuple[CopySettings, ...] = ()
    keep_deleted: float = 0.0
    lease: float = 120.0
    max_delete: MaxDelete = field(default_factory=MaxDelete)
    notify: tuple[Notify, ...] = ()
    run: RunSettings = field(default_factory=RunSettings)

    @property
    def omitted(self) -> tuple[str, ...]:
        """The mounted directories, which no backup has; paths relative to the webroot, or absolute."""
        return tuple(mount.directory or "." for mount in self.mounts)

    @property
    def patterns(self) -> tuple[str, ...]:
        """What a backup of the webroot leaves out, as patterns of a push: what is mounted, what stays local, and what the settings exclude."""
        own = [mount.directory for mount in self.mounts if mount.directory and not mount.directory.startswith("/")]
        own += [*self.local, *([self.config_file] if self.config_file else [])]
        return (*dict.fromkeys(f"/{glob.escape(path)}" for path in own), *self.exclude)


@dataclass(frozen=True, slots=True)
class Resolved:
    """The outcome: a plan where no rule refuses; ``refused`` are the names of those that do."""

    plan: Plan | None
    errors: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    refused: frozenset[str]


def resolve(
    settings: SiteSettings,
    facts: Facts = Facts(),
    *,
    problems: tuple[Problem, ...] = (),
    warnings: tuple[Problem, ...] = (),
) -> Resolved:
    """Judge every rule; ``problems`` are values that could not be read, for which there is no plan either."""
    known = APPLICATIONS.get(settings.application, Application(settings.application))
    judged = judge(settings, known, facts.backup, facts.directories)
    errors = (*problems, *judged.errors)
    plan = None if errors else _plan(settings, known, judged.items)
    return Resolved(plan, errors, (*warnings, *judged.warnings), judged.refused)


def _plan(settings: SiteSettings, known: Application, items: tuple[Item, ...]) -> Plan:
    site = site_of(settings.site_url) or ""
    mounted = items if settings.persist else ()
    whole = any(item.is_whole for item in mounted)
    config_file = settings.config_file or known.config_file
    return Plan(
        site=site,
        site_url=settings.site_url,
        display_name=settings.display_name,
        webroot=settings.webroot,
        application=settings.application,
        build=settings.build,
        persist=settings.persist,
        mode="whole" if whole else "directories" if mounted else "plain",
        mounter=settings.mounter,
        web_user=settings.web_user,
        mounts=tuple(_mount(site, item, settings) for item in mounted),
        media=tuple(item.path for item in items) or known.media,
        config_file=config_file,
        local=tuple(dict.fromkeys((*known.local, *settings.local))),
        exclude=settings.exclude,
        sync_webroots=settings.sync_webroots,
        stores=settings.stores,
        outside=() if settings.persist else tuple(item.path for item in items if item.path.startswith("/")),
        keep={period: dict(settings.keep.get(period) or rules) for period, rules in DEFAULT_KEEP.items()}
        | {period: dict(rules) for period, rules in settings.keep.items()},
        state=settings.state or f"/var/lib/holdfast/sites/{site}",
        copies=settings.copies,
        keep_deleted=settings.keep_deleted,
        lease=settings.lease,
        max_delete=settings.max_delete,
        notify=settings.notify,
        run=settings.run,
    )


def _mount(site: str, item: Item, settings: SiteSettings) -> MountPlan:
    place = place_of(item.path, settings.webroot)
    branches = (
        tuple(f"{_beside(place, settings.webroot)}{n}" for n in range(1, item.branches + 1)) if item.merged else ()
    )
    return MountPlan(item.path, place, buckets_of(site, item, settings.buckets), branches)


def _beside(place: str, webroot: str) -> str:
    """Where the branches of a merged directory are mounted: beside the webroot, so that they are not served."""
    parent, _, name = place.rpartition("/")
    if not place.startswith(webroot + "/"):
        return f"{parent}/.{name}-"
    return f"{webroot.rpartition('/')[0]}/{place[len(webroot) + 1 :].replace('/', '-')}"
