"""Baselines: the application without what makes it one site's: no media, no secrets, nothing of a machine, neutral names.

A baseline is a version of ``sites/<site>/baseline``. Brought back, placeholders become the site's names, byte for byte what they were
where the names are the same.
"""

from __future__ import annotations

import glob
import os
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from holdfast.cache.tree import read_file, read_whole, scan
from holdfast.cache.work import open_work_dir
from holdfast.disk import local_errors
from holdfast.errors import HoldfastError, UsageError
from holdfast.sites.backup import keep_folder
from holdfast.sites.history import BASELINE
from holdfast.sites.placeholders import LARGEST, Names, is_text, names_of, salts

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.cache.tree import Scanned
    from holdfast.sites.backup import BackupReport
    from holdfast.sites.guarded import Guarded
    from holdfast.sites.plan import Plan
    from holdfast.sites.stores import SiteStore, Stores
    from holdfast.sites.values import SiteSettings

__all__ = ["SECRETS", "make_baseline", "with_names"]

#: What is never in a baseline, wherever it lies: keys, passwords, dumps, histories, and what editors leave.
SECRETS: Final = (
    ".env", ".env.*", "*.pem", "*.key", "*.p12", "id_rsa*", "id_ed25519*", ".htpasswd", "auth.json", ".git", ".svn", ".hg",
    "*.sql", "*.sql.gz", "*.bak", "*.swp", "*~", ".ssh", ".aws",
)  # fmt: skip
_SALT: Final = "placeholders"


def make_baseline(
    plan: Plan,
    settings: SiteSettings,
    stores: Stores,
    guard: Guarded,
    *,
    message: str | None = None,
    dry_run: bool = False,
) -> BackupReport:
    """Make a baseline of the webroot as it is; a dry run says what would be in it, and keeps none.

    Raises:
        UsageError: the whole webroot lives in a bucket.
        BusyError: another server makes one.
    """
    if plan.mode == "whole":
        raise UsageError(
            "the whole webroot lives in a bucket: make the baseline before it is put there", subject=plan.site
        )
    media = tuple(f"/{glob.escape(path)}" for path in plan.media if path and not path.startswith("/"))
    found = scan(Path(plan.webroot), exclude=(*plan.patterns, *media, *SECRETS))
    names, left = names_of(plan.site_url, plan.display_name)
    if left is not None:
        guard.warn(left)
    salt = _salt(plan.site, names, found)
    place = stores.all[0].repository.state / "sites" / BASELINE
    work = open_work_dir(place, secrets.token_hex(6))
    try:
        with local_errors(work.path):
            work.copy.mkdir(mode=0o700)
            _copy(found, work.copy, Names(names, salt), guard.warn)
        labels = {_SALT: salt, "application": plan.application}
        return keep_folder(
            plan, settings, stores, BASELINE, guard, work.copy, labels=labels, message=message, dry_run=dry_run
        )
    finally:
        shutil.rmtree(work.path, ignore_errors=True)


def with_names(plan: Plan) -> Callable[[Path, SiteStore, str, str], None]:
    """What puts this site's names into a baseline that was brought to a folder."""

    def change(folder: Path, store: SiteStore, name: str, version: str) -> None:
        salt = store.repository.catalog.published(name, version).meta.labels.get(_SALT)
        if salt is None:
            return
        names = Names(names_of(plan.site_url, plan.display_name)[0], salt)
        for item in scan(folder):
            data = _small(item)
            if data and names.stands_in(data):
                _write(item.path, names.own(data), item)

    return change


def _salt(site: str, names: dict[str, str], found: list[Scanned]) -> str:
    """A salt that no file holds."""
    possible = [Names(names, salt) for salt in salts(site)]
    for item in found:
        data = _small(item)
        if data:
            possible = [each for each in possible if not each.stands_in(data)]
    if not possible:
        raise HoldfastError(f"every placeholder for {site} stands in some file already", subject=site)
    return possible[0].salt


def _copy(found: list[Scanned], target: Path, names: Names, warn: Callable[[str], None]) -> None:
    """Copy what was scanned, texts with placeholders."""
    for item in found:
        place = target / item.entry.path
        if item.entry.kind == "dir":
            place.mkdir()
        elif item.entry.kind == "link":
            os.symlink(item.entry.target or "", place)
        else:
            _copy_file(item, place, names, warn)


def _copy_file(item: Scanned, place: Path, names: Names, warn: Callable[[str], None]) -> None:
    data = _small(item)
    if data is None:
        with open(place, "xb") as file:
            file.writelines(read_file(item))  # of the file that was scanned, and no other
        _attributes(place, item)
        return
    if is_text(data):
        if names.in_serialized(data):
            warn(f"{item.entry.path} holds the site's name in serialized data, and is left as it is")
        else:
            data = names.neutral(data)
    place.write_bytes(data)
    _attributes(place, item)


def _small(item: Scanned) -> bytes | None:
    """The bytes of a file that may be a text; None where it is none."""
    return read_whole(item) if item.entry.kind == "file" and item.entry.size <= LARGEST else None


def _write(path: str, data: bytes, item: Scanned) -> None:
    place = Path(path)
    place.unlink()  # never through a hard link of a cache
    place.write_bytes(data)
    _attributes(place, item)


def _attributes(place: Path, item: Scanned) -> None:
    if item.entry.mode is not None:
        place.chmod(item.entry.mode)
    if item.entry.mtime is not None:
        os.utime(place, ns=(item.entry.mtime, item.entry.mtime))
