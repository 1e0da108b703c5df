"""Pages of assets from the copy: names, lists by a glob pattern, and searches over names, labels and messages."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, func, or_, select

from holdfast.errors import UsageError
from holdfast.formats.api import AssetRow, AssetsReply, NamesReply
from holdfast.formats.records import AssetRecord, decode
from holdfast.server.tables import assets, versions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection

    from holdfast.server.database import Database

__all__ = ["list_assets", "names", "search"]

_USUAL: Final = 1000
_MOST: Final = 1000
_WORDS: Final = 8
_LONGEST: Final = 1000
_SPECIAL: Final = re.compile(r"[*?\[]")
_LAST: Final = chr(0x10FFFF)


def names(database: Database, project: int, after: str | None, limit: int | None) -> NamesReply:
    """A page of names."""
    most = _limit(limit)
    with database.read() as connection:
        found = _names(connection, project, [], after, most + 1)
    return NamesReply(found[:most], found[most - 1] if len(found) > most else None)


def list_assets(
    database: Database, project: int, pattern: str | None, after: str | None, limit: int | None
) -> AssetsReply:
    """A page of the assets whose name fits the glob pattern."""
    most = _limit(limit)
    where = [] if pattern is None else _within(pattern)
    with database.read() as connection:
        found = _names(connection, project, where, after, most + 1 if pattern is None else None)
        if pattern is not None:
            found = [name for name in found if fnmatchcase(name, pattern)]
        return _page(connection, project, found, most)


def search(
    database: Database, project: int, text: str, label: str | None, after: str | None, limit: int | None
) -> AssetsReply:
    """A page of the assets in which every word is found: in the name, or in a message or label of a version; ``label`` as ``KEY=VALUE``.

    Raises:
        UsageError: nothing is asked for, or too much.
    """
    if len(text) > _LONGEST or len(label or "") > _LONGEST:
        raise UsageError(f"a search has at most {_LONGEST} characters", subject="q")
    words = _searched(text).split()
    if len(words) > _WORDS or not (words or label):
        raise UsageError(f"search for one to {_WORDS} words, or a label", subject="q")
    most = _limit(limit)
    where: list[ColumnElement[bool]] = [or_(_name_has(word), _has(_like(word))) for word in words]
    if label:
        where.append(_has(f"%\n{_escaped(_searched(label))}\n%"))
    with database.read() as connection:
        return _page(connection, project, _names(connection, project, where, after, most + 1), most)


def _searched(text: str) -> str:
    """As it stands in what is searched; a NUL is nowhere, for PostgreSQL takes none."""
    return text.casefold().replace("\0", "")


def _name_has(word: str) -> ColumnElement[bool]:
    return func.lower(assets.c.name).like(_like(word), escape="\\")


def _has(like: str) -> ColumnElement[bool]:
    """Whether any version of the asset has it: asked once for all assets, by one pass over what is searched."""
    return assets.c.id.in_(select(versions.c.asset).where(versions.c.text.like(like, escape="\\")))


def _like(word: str) -> str:
    return f"%{_escaped(word)}%"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _within(pattern: str) -> list[ColumnElement[bool]]:
    """What stands before the first sign of a pattern bounds the names."""
    start = _SPECIAL.split(pattern, maxsplit=1)[0].replace("\0", "")
    return [and_(assets.c.name >= start, assets.c.name < start + _LAST)] if start else []


def _names(
    connection: Connection, project: int, where: Sequence[ColumnElement[bool]], after: str | None, most: int | None
) -> list[str]:
    asked = select(assets.c.name).where(assets.c.project == project, *where).order_by(assets.c.name)
    if after is not None:
        asked = asked.where(assets.c.name > after.replace("\0", ""))
    return list(connection.execute(asked if most is None else asked.limit(most)).scalars())


def _page(connection: Connection, project: int, found: Sequence[str], most: int) -> AssetsReply:
    """The rows of the first names; ``next`` where there are more."""
    page = found[:most]
    latest = and_(versions.c.asset == assets.c.id, versions.c.version == assets.c.latest)
    columns = (
        assets.c.name,
        assets.c.latest,
        assets.c.count,
        assets.c.problem,
        assets.c.record,
        versions.c.bytes,
        versions.c.message,
        versions.c.who,
        versions.c.pushed,
    )
    asked = select(*columns).select_from(assets.outerjoin(versions, latest)).order_by(assets.c.name)
    inside = and_(assets.c.project == project, assets.c.name.in_(page))
    rows = [_row(row._mapping) for row in connection.execute(asked.where(inside))]  # noqa: SLF001 - SQLAlchemy's API
    return AssetsReply(rows, page[-1] if len(found) > most else None)


def _row(row: Any) -> AssetRow:
    aliases = decode(row["record"], AssetRecord, row["name"]).aliases
    return AssetRow(
        name=row["name"],
        latest=row["latest"],
        versions=row["count"],
        aliases=aliases,
        bytes=row["bytes"],
        problem=row["problem"],
        message=row["message"],
        who=row["who"],
        pushed=row["pushed"],
    )


def _limit(limit: int | None) -> int:
    if limit is not None and limit < 1:
        raise UsageError("limit must be at least 1", subject="limit")
    return min(limit or _USUAL, _MOST)
