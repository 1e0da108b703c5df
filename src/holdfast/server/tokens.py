"""Tokens: 256 random bits, shown once, kept as a digest; for some time, perhaps for one project and a role at most.

A token never gives more than its owner has: what it may is worked out at each request (``access``), and a token that is narrowed
makes only tokens that are narrowed as much.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, insert, select, update

from holdfast.errors import AccessError, NotFoundError, UsageError
from holdfast.server.access import Role, TokenScope, refused, token_digest
from holdfast.server.tables import accounts, projects, tokens

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row, Select

    from holdfast.server.access import Principal

__all__ = ["Created", "create_token", "list_tokens", "note_use", "revoke_token", "scope_of", "token_row"]

#: What every token begins with, so that scanners for leaked secrets know one.
PREFIX: Final = "hft_"
SESSION_PREFIX: Final = "hfs_"
_DAY: Final = 86400
_LONGEST: Final = 366 * _DAY
_LABEL: Final = 200
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
    if not 1 <= seconds <= _LONGEST:
        raise UsageError("a token lives between a second and 366 days", subject="expires")
    if label is not None and len(label) > _LABEL:
        raise UsageError(f"a label has at most {_LABEL} characters", subject="label")
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
        AccessError: it would be wider than the token that asks.
    """
    own = connection.execute(select(tokens.c.project, tokens.c.role).where(tokens.c.id == who.token)).one()
    number = own.project
    if project is not None:
        number = connection.execute(select(projects.c.id).where(projects.c.name == project)).scalar()
        if number is None or own.project not in (None, number):
            raise refused()
    most = own.role if role is None else min(role, own.role or Role.ADMIN)
    if role is not None and most < role:
        raise AccessError("a token cannot give more than the one it is made with", subject="role")
    return TokenScope(number, None if most is None else Role(most))


def list_tokens(
    connection: Connection, account: int, now: float, *, pages: bool = False
) -> list[Row[tuple[object, ...]]]:
    """The live tokens of an account, oldest first; with ``pages``, its sessions instead."""
    live = _described().where(tokens.c.account == account, tokens.c.revoked.is_(None), tokens.c.expires > now)
    live = live.where(tokens.c.pages == pages)
    return list(connection.execute(live.order_by(tokens.c.created, tokens.c.id)))


def token_row(connection: Connection, number: str) -> Row[tuple[object, ...]]:
    """One token as it is listed."""
    return connection.execute(_described().where(tokens.c.id == number)).one()


def revoke_token(connection: Connection, number: str, now: float, *, owner: int | None) -> str:
    """End a token; whose it was. ``owner`` is the account that it must belong to, None for an admin.

    Raises:
        NotFoundError: there is no such token, or it is somebody else's.
    """
    wanted = select(tokens.c.account, accounts.c.name).join(accounts, accounts.c.id == tokens.c.account)
    row = connection.execute(wanted.where(tokens.c.id == number)).first()
    if row is None or owner not in (None, row.account):
        raise NotFoundError("no such token", subject="token", hint="asset token list")
    ended = update(tokens).where(tokens.c.id == number, tokens.c.revoked.is_(None))
    connection.execute(ended.values(revoked=now))
    return str(row.name)


def note_use(connection: Connection, number: str, now: float) -> None:
    """Write down that a token was used."""
    connection.execute(update(tokens).where(tokens.c.id == number).values(used=now))


def _described() -> Select[tuple[object, ...]]:
    named = (tokens, projects.c.name.label("project_name"))
    return select(*named).outerjoin(projects, projects.c.id == tokens.c.project)
