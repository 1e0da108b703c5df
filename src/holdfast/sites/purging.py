"""Purging: moved-aside copies of media go, file by file, as far as their bucket has the same bytes at that moment.

Each file is read and compared with the object of the listing of this very run: by the MD5 that the store keeps as its tag, else by reading
the object back. What the bucket lacks or has otherwise, links, and what no object can be, stays and is named.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from holdfast.errors import ConflictError, HoldfastError, LocalError
from holdfast.failpoint import reach
from holdfast.sites.attached import in_turn, places_of, states
from holdfast.sites.attaching import MOUNTED
from holdfast.sites.held import held_in
from holdfast.sites.journal import Journal
from holdfast.sites.media import Media
from holdfast.sites.paths import Below

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.sites.attached import Place
    from holdfast.sites.held import Held
    from holdfast.sites.paths import Met
    from holdfast.sites.plan import Plan
    from holdfast.sites.stores import Stores
    from holdfast.sites.values import SiteSettings
    from holdfast.store.base import ObjectInfo

__all__ = ["PurgeReport", "PurgedReport", "purge"]

_MD5: Final = re.compile(r"[0-9a-f]{32}\Z")
_TOLD: Final = 50


@dataclass(frozen=True, slots=True)
class PurgedReport:
    """One moved-aside copy: how many files went and their bytes, how many stay, and the first of those with the reason."""

    directory: str
    path: str
    removed: int
    bytes: int
    kept: int
    reasons: dict[str, str]


@dataclass(frozen=True, slots=True)
class PurgeReport:
    """What a purge did."""

    site: str
    copies: tuple[PurgedReport, ...]


def purge(plan: Plan, settings: SiteSettings, stores: Stores, *, dry_run: bool = False) -> PurgeReport:
    """Remove what is moved aside and is in its bucket.

    Raises:
        ConflictError: an attach was not finished, or a directory is not mounted: nothing was removed.
        BusyError: another process is at it.
        UnreachableError: the store does not answer; what was removed by then was compared.
    """
    places = places_of(plan, settings)
    with in_turn(plan.state, plan.site, dry_run=dry_run):
        if Journal(plan.state, "attach").is_open:
            raise ConflictError(
                "an attach was not finished, so what it moved aside stays", subject=plan.site, hint="asset site attach"
            )
        held = {
            place.directory: [h for h in held_in(place.spot.held) if h.directory == place.directory] for place in places
        }
        wanted = [place for place in places if held[place.directory]]
        for directory, state in states(wanted, plan.site).items():
            if state != MOUNTED:
                raise ConflictError(
                    f"{directory or 'the webroot'} is not mounted ({state}), so what was moved aside stays",
                    subject=directory or plan.webroot,
                    hint="asset site attach",
                )
        copies = []
        for place in wanted:
            near = stores.all[0]
            media = [Media(near, plan.site, part.bucket, place.directory) for part in place.parts]
            run = _Purge(place, media, dry_run=dry_run)
            copies += [run.one(each) for each in held[place.directory]]
    return PurgeReport(plan.site, tuple(copies))


class _Purge:
    """The copies of one directory, against one listing of its bucket, or of each of its branches'."""

    def __init__(self, place: Place, media: Sequence[Media], *, dry_run: bool) -> None:
        self.place, self.dry_run = place, dry_run
        self.listed = {key: (each, info) for each in reversed(media) for key, info in each.half.listed().items()}

    def one(self, held: Held) -> PurgedReport:
        """One copy."""
        removed, total, kept = 0, 0, 0
        reasons: dict[str, str] = {}
        folders = [held.name]
        with Below(held.folder) as below:
            for met in below.walk(held.name):
                if met.kind == "dir":
                    folders.append(met.path)
                    continue
                why = self._why_kept(below, met, met.path[len(held.name) + 1 :])
                if why is None and not self.dry_run and not below.remove(met.path, met.status):
                    why = "it was changed meanwhile"
                if why is None:
                    removed, total = removed + 1, total + met.status.st_size
                    reach("site.purged")
                else:
                    kept += 1
                    if len(reasons) < _TOLD:
                        reasons[met.path[len(held.name) + 1 :]] = why
            if not self.dry_run:
                _remove_empty(below, folders)
        return PurgedReport(held.directory, held.path, removed, total, kept, reasons)

    def _why_kept(self, below: Below, met: Met, key: str) -> str | None:
        """Why a file stays; None where the bucket has its bytes."""
        if met.kind != "file":
            return "it is a link" if met.kind == "link" else "it is no file"
        media, info = self.listed.get(key, (None, None))
        if media is None or info is None:
            return "the bucket has it not"
        if info.size != met.status.st_size:
            return "the bucket has another"
        try:
            return None if self._is_in_bucket(below, met.path, key, media, info) else "the bucket has another"
        except (LocalError, FileNotFoundError) as error:
            return f"it cannot be read: {error}"

    def _is_in_bucket(self, below: Below, path: str, key: str, media: Media, info: ObjectInfo) -> bool:
        if info.etag is not None and _MD5.match(info.etag):
            md5 = hashlib.md5(usedforsecurity=False)
            digest = below.digest(path, md5.update)
            if md5.hexdigest() == info.etag:
                return True
        else:
            digest = below.digest(path)
        return bool(media.half.digest(key, info) == digest)


def _remove_empty(below: Below, folders: list[str]) -> None:
    for folder in reversed(folders):
        try:
            below.remove_directory(folder)
        except HoldfastError:
            continue  # something stays in it
