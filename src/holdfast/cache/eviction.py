"""Removing what was fetched, so that nothing half removed is ever served and nothing is lost that nobody could fetch again.

A copy first gets a doomed name, at once, below ``.holdfast/doomed``; its bytes go after. What is in use, was used since it was chosen,
or was worked in, stays. What a killed process left is swept by the next removal.
"""

from __future__ import annotations

import errno
import itertools
import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from holdfast.cache.edits import edited
from holdfast.cache.inventory import leftovers
from holdfast.cache.owners import is_dead, owner
from holdfast.cache.work import doomed_name
from holdfast.disk import local_errors
from holdfast.failpoint import reach
from holdfast.formats import layout

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.cache.assets import AssetsDir
    from holdfast.cache.inventory import CachedVersion
    from holdfast.cache.leases import Lease

__all__ = ["evict", "sweep", "sweep_leftovers", "worked_in"]

_count: Final = itertools.count(1)


def evict(assets: AssetsDir, entry: CachedVersion, *, mine: Lease | None = None) -> str | None:
    """Remove a fetched version or part; why it stays, or None where it is gone.

    ``mine`` is a lease that does not count.

    Raises:
        LocalError: the folder is read-only.
    """
    with local_errors(assets.path):
        why = worked_in(assets, entry)
        if why is not None:
            return why
        with assets.leases.removal(entry.name, entry.version, mine) as free:
            if not free:
                return "in use"
            if assets.last_used(entry) > entry.used:
                return "used meanwhile"
            reach("evict.announced")
            doomed = _doom(assets, entry.path)
            reach("evict.doomed")
            if doomed is not None and assets.leases.of(entry.name, entry.version, mine):
                _put_back(doomed, entry.path)
                return "in use"
            assets.forget(entry)
        reach("evict.forgotten")
        if doomed is not None:
            _delete(doomed)
    return None


def worked_in(assets: AssetsDir, entry: CachedVersion) -> str | None:
    """Why a copy must not be lost: somebody changed it; None where it is as it was fetched."""
    fetched = assets.fetched_at(entry)
    meta = None if entry.part else assets.meta(entry.name, entry.version)
    digests = {} if entry.part else assets.digests(entry.name, entry.version)
    if fetched is None:
        return None
    known = None if entry.part else assets.known(entry.name, entry.version)
    try:
        path = edited(entry.place, fetched, meta, digests, None if known is None else known.hash)
    except FileNotFoundError:
        return None  # being removed by another
    return None if path is None else f"changed since it was fetched ({path})"


def _doom(assets: AssetsDir, path: Path) -> Path | None:
    """Take the copy out of its place; None where it is not there any more."""
    folder = assets.path / layout.OWN / "doomed"
    doomed = folder / f"{next(_count)}.{owner()}"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        path.rename(doomed)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        doomed = doomed_name(path)  # the asset's folder is on another disk
        path.rename(doomed)
    return doomed


def _put_back(doomed: Path, path: Path) -> None:
    """Undo it, unless somebody has fetched another copy by now."""
    try:
        if doomed.is_dir():
            doomed.rename(path)  # refused where there is a directory that is not empty
        else:
            os.link(doomed, path)
            doomed.unlink()
    except OSError:
        _delete(doomed)


def _delete(doomed: Path) -> None:
    if doomed.is_dir() and not doomed.is_symlink():
        shutil.rmtree(doomed, ignore_errors=True)
    else:
        with suppress(OSError):
            doomed.unlink(missing_ok=True)


def sweep(assets: AssetsDir) -> None:
    """Delete what killed removals left."""
    folder = assets.path / layout.OWN / "doomed"
    with suppress(OSError):
        for name in os.listdir(folder):
            if is_dead(name.partition(".")[2]):
                _delete(folder / name)


def sweep_leftovers(assets: AssetsDir, *, dry_run: bool = False) -> list[Path]:
    """Delete what is of no use any more; where it was."""
    found = list(leftovers(assets.path))
    for path in () if dry_run else found:
        _delete(path)
    return found
