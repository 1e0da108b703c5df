"""The original's archives, ``applicationsourcecode.tar.gz``: read as backups, and written so that its scripts restore them.

Its archives hold ``./`` and everything below, some names twice, and a marker by which it knows a whole one. Nothing of an archive is
written outside of the folder that it is unpacked into, whatever its names say.
"""

from __future__ import annotations

import gzip
import os
import secrets
import shutil
import tarfile
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from holdfast.cache.tree import finish_copy, scan
from holdfast.cache.work import open_work_dir
from holdfast.disk import local_errors, refuse_unwritable
from holdfast.errors import AlreadyExistsError, ConflictError, HoldfastError, IntegrityError, LocalError
from holdfast.formats.layout import BACKUP_OUTSIDE, BACKUP_OWN
from holdfast.model.manifest import Manifest
from holdfast.model.spec import AssetSpec
from holdfast.model.version import BUILT_IN
from holdfast.sites.applications import APPLICATIONS
from holdfast.sites.backup import check_period, keep_folder
from holdfast.sites.history import chosen
from holdfast.sites.restore import bring
from holdfast.transfer.download import unpack_archive

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from holdfast.sites.backup import BackupReport
    from holdfast.sites.guarded import Guarded
    from holdfast.sites.plan import Plan
    from holdfast.sites.stores import SiteStore, Stores
    from holdfast.sites.values import SiteSettings

__all__ = ["MARKER", "application_of", "export_archive", "import_archive", "would_export"]

#: The file by which the original knows that an archive is whole.
MARKER: Final = "XXXXXX-DO_NOT_REMOVE"
#: What a backup has beside the webroot, and no archive.
_OURS: Final = (BACKUP_OWN, BACKUP_OUTSIDE)


def import_archive(
    plan: Plan,
    settings: SiteSettings,
    stores: Stores,
    guard: Guarded,
    path: Path,
    period: str,
    *,
    at: datetime | None = None,
    force: bool = False,
    dry_run: bool = False,
) -> BackupReport:
    """Make a backup of an archive.

    Args:
        plan: the site.
        settings: its lease.
        stores: its stores.
        guard: their progress.
        path: the archive.
        period: the period that it becomes a backup of.
        at: when it was made; else it counts as made now.
        force: take one without the marker, or of another application.
        dry_run: check all of it, say what would be made, and make none.

    Raises:
        LocalError: it cannot be read.
        IntegrityError: it is no readable archive, holds what a webroot cannot, or lacks the marker.
        ConflictError: it is of another application.
    """
    check_period(period)
    if not path.is_file():
        raise LocalError(f"there is no file {path}", subject=str(path))
    work = open_work_dir(stores.all[0].repository.state / "sites" / "import", secrets.token_hex(6))
    try:
        with local_errors(work.path):
            work.copy.mkdir(mode=0o700)
            found = {entry.path: entry for entry in unpack_archive(path, work.copy, str(path))}
            manifest = Manifest.of([*found.values()], single=False)
            finish_copy(str(work.copy), manifest.entries)
            _check(plan, path, set(found), force=force)
            (work.copy / MARKER).unlink(missing_ok=True)
        version = None if at is None else BUILT_IN["simple_date"].initial(at)
        message = f"from {path.name}"
        return keep_folder(
            plan, settings, stores, period, guard, work.copy, message=message, version=version, dry_run=dry_run
        )
    finally:
        shutil.rmtree(work.path, ignore_errors=True)


def application_of(paths: set[str]) -> str | None:
    """The application whose files these are; None where they are no known one's."""
    return next((each.name for each in APPLICATIONS.values() if each.marks and set(each.marks) <= paths), None)


def _check(plan: Plan, path: Path, paths: set[str], *, force: bool) -> None:
    if force:
        return
    if MARKER not in paths:
        hint = "it was cut off, or is none of the original's; --force takes it as it is"
        raise IntegrityError(f"{path} lacks the marker {MARKER}", subject=str(path), hint=hint)
    found = application_of(paths)
    if found is not None and plan.application not in (found, "none"):
        hint = f'application = "{found}", or --force'
        raise ConflictError(
            f"{path} is of {found}, and the site is of {plan.application}", subject=str(path), hint=hint
        )


def export_archive(
    plan: Plan, stores: Stores, spec: str, target: Path, *, at: datetime | None = None, force: bool = False
) -> tuple[str, int]:
    """Write a backup as an archive that the original's scripts restore; its spec, and how many files it holds.

    What the commands before the backup made is not in it.

    Raises:
        AlreadyExistsError: the file exists.
        NotFoundError: there is no such backup.
    """
    name, version, having = _to_export(plan, stores, spec, target, at, force=force)
    work = open_work_dir(stores.all[0].repository.state / "sites" / "export", secrets.token_hex(6))
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        bring(having, name, version, work.copy)
        with local_errors(target.parent):
            count = _write(work.copy, part)
            part.replace(target)
    finally:
        with suppress(OSError):  # a disk that refuses the file refuses this, too
            part.unlink(missing_ok=True)
        shutil.rmtree(work.path, ignore_errors=True)
    return f"{name}:{version}", count


def would_export(
    plan: Plan, stores: Stores, spec: str, target: Path, *, at: datetime | None = None, force: bool = False
) -> tuple[str, int, int]:
    """What :func:`export_archive` would write: the spec, how many files, and their bytes before they are packed. Nothing is written.

    Raises:
        AlreadyExistsError, NotFoundError: as that.
        LocalError: the file cannot be written.
        HoldfastError: of the last store, where none tells what the backup holds.
    """
    name, version, having = _to_export(plan, stores, spec, target, at, force=force)
    refuse_unwritable(target)
    last: HoldfastError | None = None
    for store in having:
        try:
            entries = store.repository.files(AssetSpec(name, version))
        except HoldfastError as error:
            last = error
            continue
        kept = [each for each in entries if each.kind == "file" and not each.path.startswith(_OURS)]
        return f"{name}:{version}", len(kept), sum(each.size for each in kept)
    assert last is not None  # noqa: S101 - there is at least one store
    raise last


def _to_export(
    plan: Plan, stores: Stores, spec: str, target: Path, at: datetime | None, *, force: bool
) -> tuple[str, str, list[SiteStore]]:
    """The asset and version, and the stores that have it, once nothing is in the way of the file."""
    if target.exists() and not force:
        raise AlreadyExistsError(f"{target} exists", subject=str(target), hint="--force replaces it")
    return chosen(plan, stores, spec, at)


def _write(folder: Path, part: Path) -> int:
    """The archive; for its owner only, for it may hold secrets."""
    count = 0
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "wb") as raw:
        with (
            gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            archive.add(folder, arcname=".", recursive=False)
            for item in sorted(scan(folder), key=lambda each: each.entry.path):
                if not item.entry.path.startswith(_OURS):
                    archive.add(item.path, arcname=f"./{item.entry.path}", recursive=False)
                    count += item.entry.kind == "file"
            archive.addfile(tarfile.TarInfo(f"./{MARKER}"))
        raw.flush()
        os.fsync(raw.fileno())
    return count
