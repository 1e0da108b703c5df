"""The backups that a site has: which versions of which period lie in which store, and what holds them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from holdfast.errors import HoldfastError, UsageError, VersionNotFoundError
from holdfast.formats.records import changed
from holdfast.sites.names import asset_name
from holdfast.sites.plan import Facts
from holdfast.sites.retention import time_of
from holdfast.sites.values import PERIODS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.formats.records import AssetRecord
    from holdfast.repository import Repository
    from holdfast.sites.plan import Plan
    from holdfast.sites.stores import SiteStore, Stores

__all__ = ["BASELINE", "Backup", "chosen", "facts_of", "hold", "listed", "newest_before", "parse_moment", "parse_spec"]

#: The asset of the baselines, beside those of the periods.
BASELINE = "baseline"


@dataclass(frozen=True, slots=True)
class Backup:
    """One backup; ``stores`` are those that have it, ``held`` why no rule removes it."""

    period: str
    version: str
    spec: str
    at: str
    who: str | None
    files: int | None
    bytes: int | None
    omitted: tuple[str, ...]
    stores: tuple[str, ...]
    held: str | None = None
    message: str | None = None


def parse_spec(text: str) -> tuple[str, str | None]:
    """``hourly`` or ``hourly:2026-01-31T12-00-00Z`` as period and version.

    Raises:
        UsageError: there is no such period.
    """
    period, _, version = text.partition(":")
    if period not in (*PERIODS, BASELINE):
        raise UsageError(
            f"{text!r} names no backup", subject=text, hint=f"PERIOD[:VERSION], one of {', '.join(PERIODS)}, {BASELINE}"
        )
    return period, version or None


def parse_moment(text: str) -> datetime:
    """A moment as people write it; without a time zone it is UTC.

    Raises:
        UsageError: it is none.
    """
    found = time_of(text)
    try:
        found = found or datetime.fromisoformat(text)
    except ValueError:
        hint = "2026-01-31T12:00, or 2026-01-31T12:00+01:00"
        raise UsageError(f"{text!r} is no moment", subject=text, hint=hint) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def newest_before(versions: Sequence[str], moment: datetime) -> str | None:
    """The newest version that was made by then: what the site was at that moment."""
    dated = [(when, version) for version in versions if (when := time_of(version)) is not None and when <= moment]
    return max(dated)[1] if dated else None


def chosen(plan: Plan, stores: Stores, spec: str, at: datetime | None = None) -> tuple[str, str, list[SiteStore]]:
    """The asset and version that a spec names, and the stores that have it, the nearest first.

    Raises:
        VersionNotFoundError: no store that answers has it; the hint names the nearest dates.
        HoldfastError: none answers.
    """
    period, version = parse_spec(spec)
    if version is not None and at is not None:
        raise UsageError("a version and a moment both say when", subject=spec, hint="leave one of them out")
    name = asset_name(plan.site, period)
    having = stores.holding(name, None)
    known = sorted({each for _, versions in having for each in versions}, reverse=True)
    if version is None:
        version = newest_before(known, at) if at is not None else next(iter(known), None)
    found = [store for store, versions in having if version in versions]
    if version is None or not found:
        oldest = f"; the oldest is {known[-1]}" if known and at is not None else ""
        hint = f"there are {', '.join(known[:3])}{oldest}" if known else "asset site backups lists what there is"
        raise VersionNotFoundError(
            f"no backup {spec} of {plan.site}" + (f" by {at}" if at else ""), subject=spec, hint=hint
        )
    return name, version, found


def facts_of(plan: Plan, stores: Stores, spec: str) -> Facts:
    """What a backup says of the directories that are to be mounted: those that it has, and those that it omits for they were mounted.

    Raises:
        NotFoundError: there is no such backup.
        HoldfastError: no store answers.
    """
    name, version, having = chosen(plan, stores, spec)
    repository = having[0].repository
    omitted = repository.catalog.published(name, version).meta.labels.get("omitted", "")
    found = {each for each in omitted.split(":") if each}
    for entry in repository.files(f"{name}:{version}"):
        pieces = entry.path.split("/")
        found.update("/".join(pieces[:end]) for end in range(1, len(pieces) + (entry.kind == "dir")))
    return Facts(f"{name}:{version}", frozenset(found))


def listed(plan: Plan, stores: Stores, periods: Sequence[str]) -> list[Backup]:
    """Every backup of these periods, by period, the newest first; stores that do not answer are left out.

    Raises:
        HoldfastError: no store answers.
    """
    found: list[Backup] = []
    for period in periods:
        name = asset_name(plan.site, period)
        where: dict[str, list[SiteStore]] = {}
        for store, versions in stores.holding(name, None):
            for version in versions:
                where.setdefault(version, []).append(store)
        records: dict[str, AssetRecord] = {}
        for version in sorted(where, reverse=True):
            first = where[version][0]
            if first.place not in records:
                records[first.place] = first.repository.catalog.record(name)
            found.append(_backup(name, period, version, where[version], records[first.place]))
    return found


def _backup(name: str, period: str, version: str, where: list[SiteStore], record: AssetRecord) -> Backup:
    spec, urls = f"{name}:{version}", tuple(store.url for store in where)
    when = time_of(version)
    at = when.isoformat() if when is not None else ""
    try:
        meta = where[0].repository.catalog.published(name, version).meta
    except HoldfastError as error:
        return Backup(period, version, spec, at, None, None, None, (), urls, record.holds.get(version), error.message)
    omitted = tuple(each for each in meta.labels.get("omitted", "").split(":") if each)
    return Backup(
        period,
        version,
        spec,
        at,
        meta.who,
        meta.files,
        meta.size,
        omitted,
        urls,
        record.holds.get(version),
        meta.message,
    )


def hold(repository: Repository, name: str, version: str, reason: str | None) -> None:
    """Let no rule and no command remove a version, for a reason; None lets go of it.

    Raises:
        VersionNotFoundError: there is none.
    """
    repository.catalog.published(name, version)

    def change(record: AssetRecord) -> AssetRecord:
        holds = {each: why for each, why in record.holds.items() if each != version}
        return changed(record, holds=holds if reason is None else holds | {version: reason})

    repository.catalog.change_record(name, change)
