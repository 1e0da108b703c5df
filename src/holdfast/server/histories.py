"""A page of an asset's versions as people read them: when, by whom, how large, with which message; from the database's copy.

Versions whose metas the copy does not have yet are read from the bucket, those of one page and no more, and copied.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select

from holdfast.errors import AssetNotFoundError, IntegrityError
from holdfast.server.copies import version_row
from holdfast.server.tables import versions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.catalog.base import Published
    from holdfast.server.access import OpenProject
    from holdfast.server.copies import Row
    from holdfast.server.service import Service

__all__ = ["History", "VersionLine", "history"]

_PAGE: Final = 50


@dataclass(frozen=True, slots=True)
class VersionLine:
    """One version; ``problem`` where its meta cannot be read."""

    version: str
    aliases: tuple[str, ...]
    layout: str | None = None
    bytes: int | None = None
    pushed: str | None = None
    who: str | None = None
    message: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class History:
    """An asset: a page of its versions, newest first, and how many there are; ``next`` is what to give as ``after``."""

    name: str
    lines: tuple[VersionLine, ...]
    count: int
    every: tuple[str, ...]
    aliases: dict[str, str]
    problem: str | None
    next: str | None


def history(project: OpenProject, service: Service, name: str, after: str | None = None) -> History:
    """The versions of an asset after one of them, but for those that were removed.

    Raises:
        AssetNotFoundError: there is no such asset.
    """
    state = service.resolving.state(project, name)
    if state.listed.token is None and state.problem is None:
        raise AssetNotFoundError(f"no asset {name!r}", subject=name)
    catalog, record = project.catalog, state.record
    alive = [v for v in state.listed.versions if v not in record.tombstones or not catalog.is_removed(name, v, record)]
    start = alive.index(after) + 1 if after in alive else 0
    page = alive[start : start + _PAGE]
    named = {v: tuple(sorted(a for a, target in record.aliases.items() if target == v)) for v in page}
    rows = _rows(project, service, name, page, state.row)
    lines = tuple(VersionLine(v, named[v], **rows[v]) for v in page)
    following = page[-1] if start + _PAGE < len(alive) else None
    return History(name, lines, len(alive), tuple(alive), dict(record.aliases), state.problem, following)


def _rows(
    project: OpenProject, service: Service, name: str, page: Sequence[str], asset: Row | None
) -> dict[str, dict[str, Any]]:
    columns = (versions.c.layout, versions.c.bytes, versions.c.pushed, versions.c.who, versions.c.message)
    rows: dict[str, dict[str, Any]] = {}
    if asset is not None:
        asked = select(versions.c.version, *columns).where(versions.c.asset == asset.id, versions.c.version.in_(page))
        with service.database.read() as connection:
            for version, *values in connection.execute(asked):
                rows[version] = dict(zip((column.name for column in columns), values, strict=True))
    read: list[tuple[str, str | None, Published]] = []
    for version in page:
        if version not in rows:
            try:
                published = project.catalog.published(name, version)
            except IntegrityError as error:
                rows[version] = {"problem": error.message}
                continue
            row = version_row(published)
            rows[version] = {column.name: row[column.name] for column in columns}
            read.append((version, None, published))
    if asset is not None and read:
        service.copies.keep(asset, read)
    return rows
