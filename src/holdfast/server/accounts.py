"""Accounts and groups: who there is. A password is kept as an argon2 hash; a service account has none and never signs in with one.

Every change is one transaction of its caller's connection. What a name or a password may be, :mod:`holdfast.model.people` says.
"""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError as TakenError

from holdfast.errors import AlreadyExistsError, ConflictError, NotFoundError, UsageError
from holdfast.formats.people import UserRow
from holdfast.model import people
from holdfast.server.tables import accounts, devices, group_roles, groups, handovers, members, projects, tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import Connection, Row

    from holdfast.server.database import Database

__all__ = [
    "Proven",
    "add_account",
    "add_group",
    "change_members",
    "check_password",
    "find_account",
    "find_group",
    "groups_of",
    "list_accounts",
    "list_groups",
    "remove_group",
    "set_disabled",
    "set_password",
    "still_proven",
]

_hasher: Final = PasswordHasher()
#: A hash takes 64 MiB while it is made, and anybody may ask for one: so many at a time, and the others wait.
_hashing: Final = threading.BoundedSemaphore(4)


@dataclass(frozen=True, slots=True)
class Proven:
    """An account whose password somebody knew, and the hash of that."""

    account: int
    kept: str


def add_account(
    connection: Connection, name: str, password: str | None, now: float, *, admin: bool = False, service: bool = False
) -> int:
    """A new account; its id. A service has no password, everybody else has one (or signs in elsewhere).

    Raises:
        UsageError: a name or password that is none.
        AlreadyExistsError: the name is taken.
    """
    people.check_account(name)
    if service and password is not None:
        raise UsageError("a service account has no password", subject=name, hint="asset token create gives it a token")
    values = {"name": name, "password": None if password is None else _hashed(password), "admin": admin}
    try:
        new = insert(accounts).values(**values, service=service, disabled=False, created=now)
        number: int = connection.execute(new.returning(accounts.c.id)).scalar_one()
    except TakenError:
        raise AlreadyExistsError(f"there is an account {name} already", subject=name) from None
    return number


def find_account(connection: Connection, name: str) -> Row[tuple[object, ...]]:
    """An account's row.

    Raises:
        NotFoundError: nobody has that name.
    """
    found = connection.execute(select(accounts).where(accounts.c.name == name)).first()
    if found is None:
        raise NotFoundError(f"no account {name!r}", subject=name, hint="asset server user list")
    return found


def check_password(database: Database, name: str, password: str) -> Proven | None:
    """The account whose name and password these are, or None; as slow for a name that nobody has. No connection is held meanwhile."""
    with database.read() as connection:
        row = connection.execute(select(accounts).where(accounts.c.name == name)).first()
    kept = None if row is None or row.disabled or row.service else row.password
    try:
        with _hashing:
            nobody = _nobody()  # for everybody, so that it takes as long the first time
            _hasher.verify(kept or nobody, password[: people.LONGEST_PASSWORD + 1])
    except (VerificationError, InvalidHashError):
        return None
    if row is None or kept is None:
        return None
    return Proven(int(row.id), kept)


def still_proven(connection: Connection, proven: Proven) -> bool:
    """Whether a password that was checked is still the account's; on PostgreSQL it stays so until the transaction ends. To be asked where
    a token is made, for looking at a password takes long, and who changed it meanwhile has ended the tokens that there were.
    """
    at = (accounts.c.id == proven.account, accounts.c.password == proven.kept, ~accounts.c.disabled)
    return connection.execute(select(accounts.c.id).where(*at).with_for_update()).first() is not None


def set_password(connection: Connection, name: str, password: str) -> None:
    """Another password; the account's tokens are revoked, for whoever knew the old one may hold some."""
    row = find_account(connection, name)
    if row.service:
        raise UsageError("a service account has no password", subject=name)
    connection.execute(update(accounts).where(accounts.c.id == row.id).values(password=_hashed(password)))
    _revoke_all(connection, int(row.id))


def set_disabled(connection: Connection, name: str, *, disabled: bool) -> None:
    """Shut an account out, or let it in again. Its tokens end for good: whoever comes back signs in anew. The last admin stays."""
    row = find_account(connection, name)
    if disabled and row.admin:
        others = select(func.count()).where(accounts.c.admin, ~accounts.c.disabled, accounts.c.id != row.id)
        if not connection.execute(others).scalar_one():
            raise ConflictError(f"{name} is the last admin", subject=name, hint="make another admin first")
    connection.execute(update(accounts).where(accounts.c.id == row.id).values(disabled=disabled))
    _revoke_all(
        connection, int(row.id)
    )  # on letting in, too: of accounts that were shut out when tokens were still kept


def list_accounts(connection: Connection) -> list[UserRow]:
    """Every account, by name."""
    named = (
        select(members.c.account, groups.c.name).join(groups, groups.c.id == members.c.group).order_by(groups.c.name)
    )
    grouped: dict[int, list[str]] = {}
    for account, group in connection.execute(named):
        grouped.setdefault(account, []).append(group)
    rows = connection.execute(select(accounts).order_by(accounts.c.name))
    return [UserRow(row.name, row.admin, row.service, row.disabled, grouped.get(row.id, [])) for row in rows]


def groups_of(connection: Connection, account: int) -> list[str]:
    """The groups of an account."""
    statement = select(groups.c.name).join(members, members.c.group == groups.c.id).where(members.c.account == account)
    return list(connection.execute(statement.order_by(groups.c.name)).scalars())


def add_group(connection: Connection, name: str) -> int:
    """A new group; its id."""
    people.check_account(name)
    try:
        number: int = connection.execute(insert(groups).values(name=name).returning(groups.c.id)).scalar_one()
    except TakenError:
        raise AlreadyExistsError(f"there is a group {name} already", subject=name) from None
    return number


def find_group(connection: Connection, name: str) -> int:
    """A group's id.

    Raises:
        NotFoundError: there is none.
    """
    found = connection.execute(select(groups.c.id).where(groups.c.name == name)).scalar()
    if found is None:
        raise NotFoundError(f"no group {name!r}", subject=name, hint="asset server user list")
    return int(found)


def remove_group(connection: Connection, name: str) -> None:
    """Take a group away, and the roles that it gave."""
    connection.execute(delete(groups).where(groups.c.id == find_group(connection, name)))


def change_members(connection: Connection, name: str, add: Iterable[str] = (), remove: Iterable[str] = ()) -> list[str]:
    """Accounts into a group and out of it; those that it then has."""
    group = find_group(connection, name)
    for each in remove:
        gone = delete(members).where(members.c.group == group, members.c.account == find_account(connection, each).id)
        connection.execute(gone)
    present = set(_members_of(connection, group))
    for each in dict.fromkeys(add):
        row = find_account(connection, each)
        if each not in present:
            connection.execute(insert(members).values(account=row.id, group=group))
        else:  # whatever a provider says from now on
            here = (members.c.group == group, members.c.account == row.id)
            connection.execute(update(members).where(*here).values(provider=None))
    return _members_of(connection, group)


def list_groups(connection: Connection) -> Iterator[tuple[str, list[str], dict[str, int]]]:
    """Every group by name, with its members and the roles that it gives by project."""
    roles: dict[int, dict[str, int]] = {}
    given = select(group_roles.c.group, projects.c.name, group_roles.c.role)
    for group, project, role in connection.execute(given.join(projects, projects.c.id == group_roles.c.project)):
        roles.setdefault(group, {})[project] = role
    for row in connection.execute(select(groups).order_by(groups.c.name)).all():
        yield row.name, _members_of(connection, row.id), roles.get(row.id, {})


def _members_of(connection: Connection, group: int) -> list[str]:
    statement = select(accounts.c.name).join(members, members.c.account == accounts.c.id)
    found: Sequence[str] = (
        connection.execute(statement.where(members.c.group == group).order_by(accounts.c.name)).scalars().all()
    )
    return list(found)


def _revoke_all(connection: Connection, account: int) -> None:
    """Tokens, and what a token was about to be made of."""
    for table in (tokens, handovers, devices):
        connection.execute(delete(table).where(table.c.account == account))


@cache
def _nobody() -> str:
    """Verified when there is no such account, so that the answer takes as long as one about an account."""
    return _hasher.hash(secrets.token_hex(16))


def _hashed(password: str) -> str:
    people.check_password(password)
    with _hashing:
        return _hasher.hash(password)
