"""Which of the three ways to treat media fits a site: a plugin, sync, or mounts. Pure: a plan and facts in, advice with reasons out.

Sync carries every file to every web server: it suits an application that makes few. A plugin of the application puts files into a
bucket and their addresses into the pages. A mount needs nothing of the application, and costs a request for what a file system
does for nothing. What a month would cost is counted from :data:`ASSUMED`, and is an estimate.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from holdfast.sites.applications import APPLICATIONS
from holdfast.sites.plugins import PLUGINS
from holdfast.sites.prices import Usage, costs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.sites.plan import Plan
    from holdfast.sites.prices import Cost

__all__ = ["ASSUMED", "Advice", "Growth", "MediaFacts", "MediaSize", "Strategy", "advise", "growth_of"]

#: What is not known of a site and assumed of it, for a month: said with every estimate.
ASSUMED: Final[Mapping[str, int]] = {
    "servers": 3,
    "reads_of_each_file_by_each_server": 30,
    "lists_of_each_directory_by_each_server": 720,
    "new_files_where_growth_is_unknown_percent": 5,
    "seconds_between_questions_of_sync": 5,
}
#: Beyond these, carrying every file to every server stops being the simplest: a new server, and each scan, reads all of them.
_FEW_FILES: Final = 20_000
_FEW_BYTES: Final = 10 << 30
#: Files a month that one burst of changes after another carries; the seed's "bountiful" begins here.
_FEW_NEW: Final = 20_000
#: Names that a mounter asks for one by one: more directories make a first look slow.
_MANY_DIRECTORIES: Final = 5_000
#: Files of less than this are dear in a bucket: their requests cost more than their bytes.
_SMALL: Final = 32 << 10
_MONTH: Final = 30 * 86400


@dataclass(frozen=True, slots=True)
class MediaSize:
    """What one directory of media holds, files and directories of all levels; ``source`` is where that is known from."""

    directory: str
    files: int
    directories: int
    bytes: int
    source: str


@dataclass(frozen=True, slots=True)
class Growth:
    """What came in between two backups, by the month."""

    since: str
    until: str
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """What is known of a site's media; ``notes`` say what is not, and why."""

    sizes: tuple[MediaSize, ...] = ()
    growth: Growth | None = None
    notes: tuple[str, ...] = ()

    @property
    def files(self) -> int:
        """Files of all directories."""
        return sum(size.files for size in self.sizes)

    @property
    def bytes(self) -> int:
        """Bytes of all directories."""
        return sum(size.bytes for size in self.sizes)

    @property
    def directories(self) -> int:
        """Directories, themselves counted."""
        return sum(size.directories for size in self.sizes)


@dataclass(frozen=True, slots=True)
class Strategy:
    """One way: whether it fits, why or why not, and what a month of it would be."""

    name: str
    fits: bool
    reasons: tuple[str, ...]
    month: Usage
    costs: tuple[Cost, ...]


@dataclass(frozen=True, slots=True)
class Advice:
    """``recommended`` is None where nothing is known of the media; ``configured`` is what the settings say now."""

    configured: str
    recommended: str | None
    strategies: tuple[Strategy, ...]
    media: tuple[MediaSize, ...]
    growth: Growth | None
    notes: tuple[str, ...]
    assumed: Mapping[str, int] = field(default_factory=lambda: dict(ASSUMED))


def advise(plan: Plan, facts: MediaFacts) -> Advice:
    """Judge each of the three, and choose: sync for few files, else the application's plugin, else mounts."""
    endpoints = [store.endpoint or _home(store.url) for store in plan.stores]
    found = []
    for name, judge, usage in (
        ("plugin", _plugin, _by_plugin),
        ("sync", _sync, _by_sync),
        ("mount", _mount, _by_mount),
    ):
        fits, reasons = judge(plan, facts)
        month = usage(facts)
        found.append(Strategy(name, fits, tuple(reasons), month, costs(month, endpoints)))
    fitting = {each.name for each in found if each.fits}
    recommended = next((name for name in ("sync", "plugin", "mount") if name in fitting), None) if facts.sizes else None
    configured = "mount" if plan.mounts else "sync" if plan.sync_webroots else "none"
    return Advice(configured, recommended, tuple(found), facts.sizes, facts.growth, facts.notes)


def growth_of(before: MediaFacts, after: MediaFacts, since: str, until: str, seconds: float) -> Growth | None:
    """What came in from one state to a later one, by the month of 30 days; None where they lie less than an hour apart."""
    if seconds < 3600:
        return None
    by_month = _MONTH / seconds
    files, size = after.files - before.files, after.bytes - before.bytes
    return Growth(since, until, round(files * by_month), round(size * by_month))


def _home(url: str) -> str:
    """Where a store without an endpoint lies."""
    return {"s3": "amazonaws.com", "gs": "storage.googleapis.com"}.get(url.partition("://")[0], "")


def _plugin(plan: Plan, facts: MediaFacts) -> tuple[bool, list[str]]:
    del facts
    known = APPLICATIONS.get(plan.application)
    if known is None or known.plugin is None:
        return False, [f"no offload plugin is known here for {plan.application!r}"]
    if plan.application in PLUGINS:
        return True, [f"{known.plugin} offloads media: asset site show --plugin {plan.application} prints its settings"]
    return True, [f"{known.plugin} offloads media; there is no template of its settings here"]


def _sync(plan: Plan, facts: MediaFacts) -> tuple[bool, list[str]]:
    against = []
    if plan.mode == "whole":
        against.append("the whole webroot is mounted: nothing is left to sync")
    if facts.files > _FEW_FILES:
        against.append(f"{facts.files} files are more than {_FEW_FILES}: each server holds, scans and fetches all")
    if facts.bytes > _FEW_BYTES:
        against.append(f"{facts.bytes / (1 << 30):.1f} GiB would lie on each server's disk")
    new = facts.growth.files if facts.growth is not None else 0
    if new > _FEW_NEW:
        against.append(f"{new} new files a month: the application makes many")
    if against:
        return False, against
    return True, [f"{facts.files} files, {facts.bytes / (1 << 20):.1f} MiB: each server can hold them"]


def _mount(plan: Plan, facts: MediaFacts) -> tuple[bool, list[str]]:
    if not plan.media and not plan.mounts:
        return False, [f"no directory of media is known for {plan.application!r}: name it in directories_to_mount"]
    reasons = ["the bucket is the shared limit, not each server's disk; the application needs no plugin"]
    if facts.directories > _MANY_DIRECTORIES:
        reasons.append(f"{facts.directories} directories: a first look at all of them takes as many requests")
    if facts.files and facts.bytes / facts.files < _SMALL:
        reasons.append(f"files of {facts.bytes / facts.files / 1024:.1f} KiB: requests cost more than bytes")
    if plan.build in ("virgin", "baseline"):
        reasons.append(f"not yet: a {plan.build} build has no backup from which buckets are filled")
    return True, reasons


def _new(facts: MediaFacts) -> int:
    """New files a month."""
    if facts.growth is not None:
        return max(0, facts.growth.files)
    return facts.files * ASSUMED["new_files_where_growth_is_unknown_percent"] // 100


def _by_plugin(facts: MediaFacts) -> Usage:
    """Every file is read by a cache in front of the bucket once a day."""
    return Usage(_new(facts), 0, facts.files * ASSUMED["reads_of_each_file_by_each_server"], facts.bytes)


def _by_sync(facts: MediaFacts) -> Usage:
    """Each server asks whether there is news; a change is a pack and a record, and is read by every other."""
    servers, new = ASSUMED["servers"], _new(facts)
    lists = servers * _MONTH // ASSUMED["seconds_between_questions_of_sync"]
    return Usage(2 * new, lists, 2 * new * (servers - 1), facts.bytes)


def _by_mount(facts: MediaFacts) -> Usage:
    """A mounter's cache lasts a day for files, and an hour at best for names."""
    servers = ASSUMED["servers"]
    lists = servers * facts.directories * ASSUMED["lists_of_each_directory_by_each_server"]
    reads = servers * facts.files * ASSUMED["reads_of_each_file_by_each_server"]
    return Usage(_new(facts), lists, reads, facts.bytes)
