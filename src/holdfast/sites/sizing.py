"""Looks how large a site's media are, for the advice of ``asset site check``. Nothing is changed, no mount is entered, no bucket listed.

What backups have is known from their manifests, and what a deployment put into buckets from its record: a few small objects are
read. Only where neither knows a directory it is walked on this machine.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from holdfast.catalog.swap import read_or_none
from holdfast.errors import HoldfastError
from holdfast.formats.layout import media_key
from holdfast.formats.sites import MediaRecord, decode_record
from holdfast.sites.directories import place_of
from holdfast.sites.names import asset_name
from holdfast.sites.retention import time_of
from holdfast.sites.strategies import MediaFacts, MediaSize, growth_of
from holdfast.sites.values import PERIODS
from holdfast.store.filesystem import mount_points

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from datetime import datetime

    from holdfast.repository import Repository
    from holdfast.sites.plan import Plan
    from holdfast.sites.stores import Stores
    from holdfast.sites.strategies import Growth

__all__ = ["media_facts"]

#: Growth is told by two backups as near to a month apart as there are.
_SPAN: Final = timedelta(days=30)
#: More files than this are not counted on this machine.
_MOST: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class _Dated:
    when: datetime
    spec: str
    repository: Repository = field(compare=False)


def media_facts(plan: Plan, stores: Stores) -> MediaFacts:
    """How many files each directory of media has, and how they grow; what could not be found out is a note, never an error."""
    notes: list[str] = []
    sizes: dict[str, MediaSize] = {}
    growth = None
    if plan.build not in PERIODS:
        notes.append(f"growth is not known: a {plan.build} build has no backups yet")
    else:
        try:
            backups = _backups(plan, stores)
            sizes = _in_backup(plan, backups[0]) if backups else {}
            older = _a_month_before(backups)
            if older is None:
                notes.append("growth is not known: there are no two backups an hour apart")
            else:
                growth = _grown(plan, older, backups[0], sizes)
            sizes |= _in_buckets(plan, stores, sizes)
        except HoldfastError as error:
            notes.append(f"backups could not be looked at: {error.message}")
    for directory in plan.media:
        if directory not in sizes and (found := _on_disk(plan, directory, notes)) is not None:
            sizes[directory] = found
    return MediaFacts(tuple(sizes[each] for each in plan.media if each in sizes), growth, tuple(notes))


def _backups(plan: Plan, stores: Stores) -> list[_Dated]:
    """Every backup of every period, the newest first, each in the nearest store that has it."""
    found: dict[str, _Dated] = {}
    for period in PERIODS:
        name = asset_name(plan.site, period)
        for store, versions in stores.holding(name, None):
            for version in versions:
                when = time_of(version)
                if when is not None:
                    found.setdefault(f"{name}:{version}", _Dated(when, f"{name}:{version}", store.repository))
    return sorted(found.values(), key=lambda each: each.when, reverse=True)


def _a_month_before(backups: list[_Dated]) -> _Dated | None:
    """The backup that lies as near as any to a month before the newest, an hour at least."""
    if not backups:
        return None
    newest = backups[0].when
    old = [each for each in backups if newest - each.when >= timedelta(hours=1)]
    return min(old, key=lambda each: abs(newest - each.when - _SPAN), default=None)


def _in_backup(plan: Plan, backup: _Dated) -> dict[str, MediaSize]:
    """The directories that a backup has, and does not omit because they were mounted."""
    name, _, version = backup.spec.partition(":")
    labels = backup.repository.catalog.published(name, version).meta.labels
    omitted = {each for each in labels.get("omitted", "").split(":") if each}
    wanted = [path for path in plan.media if not path.startswith("/") and (path or ".") not in omitted]
    counts = {path: _Count(path) for path in wanted}
    for entry in backup.repository.files(backup.spec):
        for count in counts.values():
            count.add(entry.path, entry.size if entry.kind == "file" else None, is_folder=entry.kind == "dir")
    return {path: count.size("backup") for path, count in counts.items() if count.seen}


def _grown(plan: Plan, older: _Dated, newest: _Dated, sizes: dict[str, MediaSize]) -> Growth | None:
    """Growth of the directories that both backups have."""
    before = _in_backup(plan, older)
    both = [path for path in sizes if path in before]
    if not both:
        return None
    seconds = (newest.when - older.when).total_seconds()
    earlier, later = (MediaFacts(tuple(known[path] for path in both)) for known in (before, sizes))
    return growth_of(earlier, later, older.spec, newest.spec, seconds)


def _in_buckets(plan: Plan, stores: Stores, known: Collection[str]) -> dict[str, MediaSize]:
    """The directories that backups omit: what the last deployment put into their buckets, as the site's store recorded it."""
    found = {}
    repository = stores.all[0].repository
    for mount in plan.mounts:
        if mount.directory in known:
            continue
        count = _Count("")
        for bucket in mount.buckets:
            key = media_key(plan.site, bucket)
            stored = read_or_none(repository.store, key)
            if stored is not None:
                for path, row in decode_record(stored.data, MediaRecord, key).objects.items():
                    count.add(path, row.size, is_folder=False)
        if count.seen:
            found[mount.directory] = replace(count.size("deployment"), directory=mount.directory)
    return found


def _on_disk(plan: Plan, directory: str, notes: list[str]) -> MediaSize | None:
    """A directory of this machine; None where it is not here, or lies at or below a mount."""
    place = place_of(directory, plan.webroot)
    points = frozenset(mount_points())
    inside = [place, *_above(place, plan.webroot)]
    if any(each in points for each in inside if each != plan.webroot):
        notes.append(f"{place} is mounted, and not counted")
        return None
    count = _Count("")
    try:
        for path, size, is_folder in _walk(place, points):
            count.add(path, size, is_folder=is_folder)
            if count.files >= _MOST:
                notes.append(f"{place} has more files than were counted")
                break
    except FileNotFoundError:
        return None
    except OSError as error:
        notes.append(f"{place} could not be read: {error.strerror}")
        return None
    return replace(count.size("webroot"), directory=directory)


def _above(place: str, webroot: str) -> Iterator[str]:
    """The folders between a path and the webroot."""
    while place.startswith(webroot.rstrip("/") + "/"):
        place = place.rpartition("/")[0]
        yield place


def _walk(root: str, points: Collection[str]) -> Iterator[tuple[str, int | None, bool]]:
    """Path, size and kind of all that is below; links are not followed, mounts not entered, folders that cannot be read left out."""
    waiting = [""]
    while waiting:
        inner = waiting.pop()
        here = f"{root}/{inner}".rstrip("/")
        if inner and here in points:
            continue
        try:
            entries = list(os.scandir(here))
        except (PermissionError, FileNotFoundError):
            if not inner:
                raise
            continue
        for entry in entries:
            path = f"{inner}/{entry.name}".lstrip("/")
            if entry.is_dir(follow_symlinks=False):
                waiting.append(path)
                yield path, None, True
            elif entry.is_file(follow_symlinks=False):
                with suppress(FileNotFoundError):  # the site is in use meanwhile
                    yield path, entry.stat(follow_symlinks=False).st_size, False


class _Count:
    """Files, bytes and directories below a path, counted from entries of a manifest."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._under = f"{path}/" if path else ""
        self.files = self._bytes = 0
        self._folders = {path}
        self.seen = False

    def add(self, path: str, size: int | None, *, is_folder: bool) -> None:
        """Count an entry, where it lies below; the folders between are counted once."""
        if not path.startswith(self._under) and path != self.path:
            return
        self.seen = True
        if size is not None:
            self.files += 1
            self._bytes += max(0, size)
        folder = path if is_folder else path.rpartition("/")[0]
        while folder not in self._folders and folder.startswith(self._under):
            self._folders.add(folder)
            folder = folder.rpartition("/")[0]

    def size(self, source: str) -> MediaSize:
        """What was counted."""
        return MediaSize(self.path, self.files, len(self._folders), self._bytes, source)
