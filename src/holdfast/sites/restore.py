"""Restores of a backup: into a folder of its own, or in place, whole or in part.

In place nothing is lost: what is changed or not in the backup goes into a folder beside the webroot, outside of what is served. The
files come into a folder beside it first, verified, and are moved in one by one, no link followed and no mount entered; so a restore
that was killed is done by running it again. What stays local, what is mounted and what no backup has stays as it is.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from holdfast.cache.tree import Exclusion
from holdfast.cache.work import open_work_dir
from holdfast.comparison import local_manifest
from holdfast.disk import local_errors
from holdfast.errors import (
    ConflictError,
    HoldfastError,
    IntegrityError,
    LocalError,
    UsageError,
    VersionNotFoundError,
)
from holdfast.failpoint import reach
from holdfast.formats.layout import BACKUP_OUTSIDE, BACKUP_OWN
from holdfast.model.spec import AssetSpec
from holdfast.mount.table import mounted_at
from holdfast.sites.attaching import below_root
from holdfast.sites.backup import environment
from holdfast.sites.commands import run_commands
from holdfast.sites.history import chosen
from holdfast.sites.journal import Journal
from holdfast.sites.mounted import below
from holdfast.sites.paths import Below
from holdfast.sites.restoring import Change, Present, decide
from holdfast.sites.roots import Roots
from holdfast.store.filesystem import mount_points

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from holdfast.model.manifest import Entry, Manifest
    from holdfast.sites.plan import Plan
    from holdfast.sites.stores import SiteStore, Stores
    from holdfast.sites.values import SiteSettings

__all__ = ["FILL", "RestoreReport", "bring", "restore", "restore_to"]

#: The journal of a webroot that is being filled (:mod:`~holdfast.sites.filling`), which whoever restores all of it ends.
FILL: Final = "fill"

#: So often what somebody writes to a path goes aside, before the restore gives up on it.
_TRIES: Final = 20


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """What a restore did: ``placed`` files and links, ``same`` that were as they should be, ``moved`` aside into ``aside``."""

    site: str
    spec: str
    version: str
    store: str
    to: str
    files: int
    placed: int = 0
    same: int = 0
    moved: int = 0
    aside: str | None = None
    skipped: tuple[str, ...] = ()
    seconds: float = 0.0


def bring(stores: Sequence[SiteStore], name: str, version: str, target: Path, path: str | None = None) -> SiteStore:
    """Lay a backup, or a path of it, out in a folder, verified, from the first store that gives it whole.

    Raises:
        HoldfastError: of the last store, where none does.
    """
    last: HoldfastError | None = None
    for store in stores:
        try:
            store.repository.retriever.fetch(AssetSpec(name, version, path), {"to": target})
        except VersionNotFoundError:
            raise
        except HoldfastError as error:
            last = error
            shutil.rmtree(target, ignore_errors=True)
        else:
            return store
    assert last is not None  # noqa: S101 - there is at least one store
    raise last


def restore_to(
    plan: Plan,
    stores: Stores,
    spec: str,
    to: Path,
    *,
    at: datetime | None = None,
    path: str | None = None,
    change: Callable[[Path, SiteStore, str, str], None] | None = None,
) -> RestoreReport:
    """Restore into a folder that is not there yet, or empty; with all that the backup has.

    Raises:
        NotFoundError: no such backup, or path in it.
        LocalError: the folder is in the way.
    """
    begun = time.monotonic()
    name, version, having = chosen(plan, stores, spec, at)
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise ConflictError(f"{to} is there, and not empty", subject=str(to), hint="name a folder that is not there")
    with local_errors(to.parent):
        work = open_work_dir(to, secrets.token_hex(6))
        try:
            store = bring(having, name, version, work.copy, path)
            if change is not None:
                change(work.copy, store, name, version)
            files = len(local_manifest(work.copy).files)
            if to.exists():
                to.rmdir()
            work.copy.rename(to)
        finally:
            shutil.rmtree(work.path, ignore_errors=True)
    spent = round(time.monotonic() - begun, 3)
    return RestoreReport(plan.site, f"{name}:{version}", version, store.url, str(to), files, files, seconds=spent)


def restore(
    plan: Plan,
    settings: SiteSettings,
    stores: Stores,
    spec: str,
    *,
    at: datetime | None = None,
    path: str | None = None,
    dry_run: bool = False,
    change: Callable[[Path, SiteStore, str, str], None] | None = None,
) -> RestoreReport:
    """Restore in place: the whole webroot, or one path of it.

    Args:
        plan: the site.
        settings: its commands.
        stores: its stores.
        spec: ``PERIOD[:VERSION]``.
        at: the newest backup made by then.
        path: a directory or file of the backup; None: all of it.
        dry_run: say what would be done, and change nothing.
        change: what is done to the copy before it is moved in (a baseline gets the site's names).

    Raises:
        NotFoundError: no such backup, or path in it.
        ConflictError: something is mounted where files would go.
        LocalError: a link stands where a directory must be, or the disk refuses; what was moved aside is still there.
        HoldfastError: a command after it failed.
    """
    begun = time.monotonic()
    if plan.mode == "whole" and (there := mounted_at(plan.webroot)) is not None and there.is_fuse:
        raise ConflictError(
            f"the whole of {plan.webroot} is mounted, and nothing is restored through a mount",
            subject=plan.webroot,
            hint="asset site detach first, or restore into a folder: --to DIR",
        )
    name, version, having = chosen(plan, stores, spec, at)
    webroot = Path(plan.webroot)
    path = path.strip("/") if path else None
    with local_errors(webroot.parent):
        work = open_work_dir(webroot, secrets.token_hex(6))
        try:
            store = bring(having, name, version, work.copy, path)
            if change is not None:
                change(work.copy, store, name, version)
            reach("site.restore-brought")
            report = RestoreReport(plan.site, f"{name}:{version}", version, store.url, plan.webroot, 0)
            report = _InPlace(plan, work.copy, path, settings.absolute_roots, dry_run=dry_run).run(report)
            extra = work.copy / BACKUP_OWN
            if not dry_run and settings.after_restore:
                extra.mkdir(exist_ok=True)
                environ = {"HOLDFAST_SITE": plan.site, "HOLDFAST_VERSION": version}
                run_commands(settings.after_restore, extra, environment() | environ)
            if path is None and not dry_run:
                Journal(plan.state, FILL).end()
        finally:
            shutil.rmtree(work.path, ignore_errors=True)
    return replace(report, seconds=round(time.monotonic() - begun, 3))


class _InPlace:
    """A restore in place, from a copy that lies beside the webroot."""

    def __init__(self, plan: Plan, copy: Path, path: str | None, tops: Sequence[str], *, dry_run: bool) -> None:
        self.plan = plan
        self.copy = copy
        self.path = path
        self.tops = tops
        self.dry_run = dry_run
        self.skipped: list[str] = []

    def run(self, report: RestoreReport) -> RestoreReport:
        """Every folder of it."""
        patterns = (*self.plan.patterns, f"/{BACKUP_OWN}", f"/{BACKUP_OUTSIDE}*")
        roots = [Roots(self.copy, self.plan.webroot, "", self.path, Exclusion(patterns))]
        if self.path is None:
            outside = {
                name: unquote(name.removeprefix(BACKUP_OUTSIDE))
                for name in os.listdir(self.copy)
                if name.startswith(BACKUP_OUTSIDE)
            }
            roots += [
                Roots(self.copy / name, *below_root(at, self.tops))
                for name, at in sorted(outside.items())
                if at in self.plan.outside
            ]
        judged = [(each, *self._judge(each)) for each in roots]
        for each, changes, same, files in judged:
            placed = sum(change.what == "place" for change in changes)
            moved = sum(change.what == "aside" for change in changes)
            written: list[str] = []
            aside = self._apply(each, changes, written) if changes and not self.dry_run else None
            aside, moved = aside or next(iter(written), None), moved + len(written)
            report = replace(
                report,
                files=report.files + files,
                placed=report.placed + placed,
                same=report.same + same,
                moved=report.moved + moved,
                aside=report.aside or aside,
            )
        return replace(report, skipped=tuple(self.skipped))

    def _judge(self, roots: Roots) -> tuple[list[Change], int, int]:
        """What is to change in one folder, before anything is touched."""
        wanted = self._wanted(roots, local_manifest(roots.copy))
        points = below(mount_points(), roots.root)
        for point in points:
            inner = os.path.relpath(point, roots.root)
            inside = [path for path in wanted if f"{path}/".startswith(f"{inner}/")] if inner != "." else []
            if inside:
                raise ConflictError(
                    f"{point} is mounted: {inside[0]} would be written through the mount",
                    subject=inside[0],
                    hint="media that live in a bucket are not restored from a backup; asset site detach unmounts",
                )
        if not roots.is_there:
            return decide(wanted, {})[0], 0, len(wanted)
        present, pinned = _present(roots, wanted)
        changes, same = decide(wanted, present, pinned)
        return changes, same, sum(entry.kind != "dir" for entry in wanted.values())

    def _wanted(self, roots: Roots, manifest: Manifest) -> dict[str, Entry]:
        wanted: dict[str, Entry] = {}
        left: set[str] = set()
        for entry in manifest.entries:
            pieces = entry.path.split("/")
            above = ["/".join(pieces[: end + 1]) for end in range(len(pieces))]
            fits = next((each for each in above if roots.skip.fits(each, each.rpartition("/")[2])), None)
            if fits is None:
                wanted[entry.path] = entry
            elif not fits.startswith((BACKUP_OWN, BACKUP_OUTSIDE)):
                left.add(fits)
        self.skipped += sorted(left)
        if roots.scope is not None and not wanted:
            raise UsageError(
                f"{roots.scope} is mounted, or stays on each machine: it is not restored in place",
                subject=roots.scope,
                hint="--to DIR restores it into a folder of its own",
            )
        return wanted

    def _apply(self, roots: Roots, changes: list[Change], written: list[str]) -> str | None:
        """Do it; where what was there went. ``written`` gets where that went which somebody wrote meanwhile."""
        roots.make()
        before = [change.path for change in changes if change.what == "aside"]
        with roots.opened() as root, Below(roots.copy) as copy:
            owner = root.status
            place = _moved_aside(roots, root, before) if before else None
            for change in changes:
                if change.what != "aside":
                    written += self._placed(roots, root, copy, change, owner)
            root.sync()
        return place

    def _placed(self, roots: Roots, root: Below, copy: Below, change: Change, owner: os.stat_result) -> list[str]:
        """Have a path be as in the copy; where what somebody wrote there meanwhile went, once for each time."""
        went: list[str] = []
        while not self._put(root, copy, change, owner):
            if len(went) == _TRIES:
                raise ConflictError(
                    f"{change.path} is written to again and again",
                    subject=change.path,
                    hint="stop what writes there; what was written lies aside",
                )
            went.append(_moved_aside(roots, root, [change.path]))
        return went

    def _put(self, root: Below, copy: Below, change: Change, owner: os.stat_result) -> bool:
        """Make a directory, or give a file or link its name; False: something has that by now, and nothing was done."""
        status = copy.look(change.path)
        if status is None:
            raise IntegrityError(f"{change.path} is gone from the copy", subject=change.path)
        if change.what == "make":
            given = (owner.st_uid, owner.st_gid) if os.geteuid() == 0 else None
            root.make(change.path, stat.S_IMODE(status.st_mode), given)
            return True
        if os.geteuid() == 0:  # before it is where others could put something else in its place
            copy.own(change.path, owner.st_uid, owner.st_gid)
        try:
            copy.move(change.path, root, change.path)
        except LocalError as error:
            if isinstance(error.__cause__, FileExistsError):
                return False
            raise
        reach("site.restore-placed")
        return True


def _moved_aside(roots: Roots, root: Below, paths: Sequence[str]) -> str:
    """Move what has these names by now into a new folder beside; which that is."""
    place = roots.beside()
    with Below(*place) as aside:
        for path in paths:
            try:
                root.move(path, aside, path)
            except LocalError as error:
                if not isinstance(error.__cause__, FileNotFoundError):  # whoever works there removed it
                    raise
            reach("site.restore-aside")
        aside.sync()
    return "/".join(each.rstrip("/") for each in place)


def _present(roots: Roots, wanted: dict[str, Entry]) -> tuple[dict[str, Present], set[str]]:
    """What is there in the scope of a restore, and the directories that hold what stays."""
    present: dict[str, Present] = {}
    pinned: set[str] = set()

    def skip(path: str, name: str) -> bool:
        if roots.scope is not None and not _related(path, roots.scope):
            return True
        if roots.skip.fits(path, name):
            pieces = path.split("/")
            pinned.update("/".join(pieces[:end]) for end in range(1, len(pieces)))
            return True
        return False

    with roots.opened() as root:
        for met in root.walk(skip=skip):
            if roots.scope is not None and roots.scope.startswith(f"{met.path}/") and met.kind == "dir":
                pinned.add(met.path)
            entry = wanted.get(met.path)
            content = met.target
            if met.kind == "file" and entry is not None and entry.size == met.status.st_size:
                content = root.digest(met.path)
            present[met.path] = Present(met.kind, stat.S_IMODE(met.status.st_mode), content)
    return present, pinned


def _related(path: str, scope: str) -> bool:
    """Whether a path is the scope, lies in it, or above it."""
    return f"{path}/".startswith(f"{scope}/") or scope.startswith(f"{path}/")
