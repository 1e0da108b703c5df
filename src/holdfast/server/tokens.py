"""Tokens: 256 random bits, shown once, kept as a digest; for some time, perhaps for one project and a role at most.

A token never gives more than its owner has: what it may is worked out at each request (``access``), and a token that is narrowed
makes only tokens that are narrowed as much and end no later, and sees and ends no others.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, insert, select, update

from holdfast.errors import AccessError, NotFoundError
from holdfast.model.people import check_token
from holdfast.server.access import Role, TokenScope, refused, token_digest
from holdfast.server.memberships import projects_of
from holdfast.server.tables import accounts, projects, tokens

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Row, Select

    from holdfast.server.access import Principal

__all__ = ["Created", "create_token", "life_of", "list_tokens", "note_use", "revoke_token", "scope_of", "token_row"]

#: What every token begins with, so that scanners for leaked secrets know one.
PREFIX: Final = "hft_"
SESSION_PREFIX: Final = "hfs_"
_DAY: Final = 86400
#: Dead tokens are forgotten after this.
_FORGET: Final = 90 * _DAY


@dataclass(frozen=True, slots=True)
class Created:
    """A new token: its text, which nobody can ask for again, and its id."""

    text: str
    id: str


def create_token(
    connection: Connection,
    account: int,
    now: float,
    *,
    seconds: int,
    label: str | None = None,
    scope: TokenScope | None = None,
    pages: bool = False,
) -> Created:
    """A token of an account; with ``pages``, a session's (see ``sessions``).

    Raises:
        UsageError: a life that is none, or longer than a year.
    """
    check_token(seconds, label)
    text, number = (SESSION_PREFIX if pages else PREFIX) + secrets.token_urlsafe(32), secrets.token_hex(8)
    scope = scope or TokenScope(None, None)
    connection.execute(delete(tokens).where(tokens.c.account == account, tokens.c.expires < now - _FORGET))
    values = {"id": number, "digest": token_digest(text), "account": account, "label": label, "created": now}
    values |= {"pages": pages}
    connection.execute(insert(tokens).values(**values, expires=now + seconds, project=scope.project, role=scope.role))
    return Created(text, number)


def scope_of(connection: Connection, who: Principal, project: str | None, role: Role | None) -> TokenScope:
    """The scope of a new token: what was asked for, within that of the token that asks.

    Raises:
        AccessError: it would be wider than the token that asks, or for a project that this one does not open, be there one or not.
    """
    own = _own(connection, who)
    number = own.project
    if project is not None:
        if project not in {each.name for each in projects_of(connection, who)}:
            raise refused()
        number = connection.execute(select(projects.c.id).where(projects.c.name == project)).scalar_one()
    most = own.role if role is None else min(role, own.role or Role.ADMIN)
    if role is not None and most < role:
        raise AccessError("a token cannot give more than the one it is made with", subject="role")
    return TokenScope(number, None if most is None else Role(most))


def life_of(connection: Connection, who: Principal, now: float, asked: int | None, usual: int) -> int:
    """How many seconds a new token lives: as asked, else as usual; of one that a narrowed token makes, no longer than that.

    Raises:
        AccessError: a longer life was asked for.
    """
    own = _own(connection, who)
    left = max(1, int(own.expires - now))
    if (own.project is None and own.role is None) or (asked is not None and asked <= left):
        return usual if asked is None else asked
    if asked is not None:
        raise AccessError("a narrowed token makes none that outlives it", subject="expires")
    return min(usual, left)


def list_tokens(
    connection: Connection, who: Principal, now: float, *, pages: bool = False
) -> list[Row[tuple[object, ...]]]:
    """The live tokens of an account, oldest first; to a narrowed token, those within its scope; with ``pages``, sessions instead."""
    live = _described().where(tokens.c.account == who.account, tokens.c.revoked.is_(None), tokens.c.expires > now)
    live = live.where(tokens.c.pages == pages, *_within(connection, who))
    return list(connection.execute(live.order_by(tokens.c.created, tokens.c.id)))


def token_row(connection: Connection, number: str) -> Row[tuple[object, ...]]:
    """One token as it is listed."""
    return connection.execute(_described().where(tokens.c.id == number)).one()


def revoke_token(connection: Connection, number: str, now: float, who: Principal) -> str:
    """End a token; whose it was. An admin of the server may end anybody's, a narrowed token those within its scope.

    Raises:
        NotFoundError: there is no such token, or it is not theirs to end.
    """
    wanted = select(accounts.c.name).join(tokens, accounts.c.id == tokens.c.account).where(tokens.c.id == number)
    if not who.admin:
        wanted = wanted.where(tokens.c.account == who.account, *_within(connection, who))
    name = connection.execute(wanted).scalar()
    if name is None:
        raise NotFoundError("no such token", subject="token", hint="asset token list")
    ended = update(tokens).where(tokens.c.id == number, tokens.c.revoked.is_(None))
    connection.execute(ended.values(revoked=now))
    return str(name)


def note_use(connection: Connection, number: str, now: float) -> None:
    """Write down that a token was used."""
    connection.execute(update(tokens).where(tokens.c.id == number).values(used=now))


def _own(connection: Connection, who: Principal) -> Row[Any, Any, Any]:
    """The scope and end of the token that asks."""
    return connection.execute(
        select(tokens.c.project, tokens.c.role, tokens.c.expires).where(tokens.c.id == who.token)
    ).one()


def _within(connection: Connection, who: Principal) -> list[ColumnElement[bool]]:
    """What holds of the tokens that the one that asks may see and end."""
    own = _own(connection, who)
    project = [] if own.project is None else [tokens.c.project == own.project]
    return project if own.role is None else [*project, tokens.c.role <= own.role]


def _described() -> Select[tuple[object, ...]]:
    named = (tokens, projects.c.name.label("project_name"))
    return select(*named).outerjoin(projects, projects.c.id == tokens.c.project)
