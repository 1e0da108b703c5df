"""Which account somebody from an OIDC provider has: the one of their issuer and subject, and no address decides once there is one.

Whoever comes for the first time needs an invitation to their verified address, which names an account, or a verified address in one of
the provider's domains, which makes a new one. An address that the provider does not say to be verified counts as none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError as TakenError

from holdfast.errors import AccessError, ConflictError, NotFoundError, UsageError
from holdfast.model.people import INVITED, address_of
from holdfast.server.accounts import add_account
from holdfast.server.tables import accounts, groups, identities, invitations, members

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from holdfast.server.idtokens import Person
    from holdfast.server.providers import Provider

__all__ = ["Arrived", "arrive", "invite", "list_invitations", "withdraw"]

_NAME: Final = 100


@dataclass(frozen=True, slots=True)
class Arrived:
    """The account that somebody has come in with, and how: ``known``, ``invited`` or ``domain``."""

    account: int
    name: str
    how: str


def arrive(connection: Connection, provider: Provider, person: Person, now: float) -> Arrived:
    """The account of somebody whom a provider vouches for; its groups are those of the claim from now on.

    Raises:
        AccessError: they have none and may get none, or it is shut.
    """
    at = (identities.c.issuer == person.issuer, identities.c.subject == person.subject)
    known = connection.execute(select(identities.c.account).where(*at)).scalar()
    number, how = (int(known), "known") if known is not None else _first(connection, provider, person, now)
    row = connection.execute(select(accounts).where(accounts.c.id == number)).one()
    if row.disabled:
        raise AccessError("this account is shut out", hint="an administrator of the server can let it in again")
    if known is None:
        _link(connection, person, number, now)
    else:
        connection.execute(update(identities).where(*at).values(email=person.email, used=now))
    if person.groups is not None:
        _fill_groups(connection, number, provider.name, person.groups)
    return Arrived(number, str(row.name), how)


def invite(connection: Connection, email: str, name: str | None, now: float, *, admin: bool = False) -> str:
    """Whoever first signs in with this verified address has this account, which is made where there is none; its name.

    Raises:
        UsageError: an address or name that is none, or a service account's.
    """
    address = address_of(email)
    wanted = name or _name_of(address)
    row = connection.execute(select(accounts).where(accounts.c.name == wanted)).first()
    if row is not None and row.service:
        raise UsageError("a service account signs in with its token alone", subject=wanted)
    if row is not None and admin and not row.admin:
        raise ConflictError(f"{wanted} is an account already, and no admin", subject=wanted)
    number = int(row.id) if row is not None else add_account(connection, wanted, None, now, admin=admin)
    connection.execute(delete(invitations).where(invitations.c.email == address))
    values = {"email": address, "account": number, "created": now, "expires": now + INVITED}
    connection.execute(insert(invitations).values(**values))
    return wanted


def list_invitations(connection: Connection, now: float) -> list[Row[tuple[object, ...]]]:
    """The open invitations, by address, with the name of the account."""
    wanted = select(invitations.c.email, accounts.c.name, invitations.c.created, invitations.c.expires)
    open_ones = wanted.join(accounts, accounts.c.id == invitations.c.account).where(invitations.c.expires > now)
    return list(connection.execute(open_ones.order_by(invitations.c.email)))


def withdraw(connection: Connection, email: str) -> None:
    """Take an invitation back; the account stays.

    Raises:
        NotFoundError: there is none.
    """
    gone = delete(invitations).where(invitations.c.email == email.strip().lower())
    if not connection.execute(gone).rowcount:
        raise NotFoundError("no such invitation", subject=email[:100], hint="asset server invite list")


def _first(connection: Connection, provider: Provider, person: Person, now: float) -> tuple[int, str]:
    """The account of somebody who was never here."""
    if person.email is None:
        hint = "verify the address at the provider, and sign in again"
        raise AccessError(f"{provider.title} tells no verified address, and you have no account here", hint=hint)
    invited = select(invitations.c.account).where(invitations.c.email == person.email, invitations.c.expires > now)
    number = connection.execute(invited).scalar()
    if number is not None:
        connection.execute(delete(invitations).where(invitations.c.email == person.email))
        return int(number), "invited"
    if person.email.rpartition("@")[2] not in provider.domains:
        raise AccessError("you have no account here", hint="ask an administrator of the server for an invitation")
    return add_account(connection, _free_name(connection, person.email), None, now), "domain"


def _link(connection: Connection, person: Person, account: int, now: float) -> None:
    values = {"issuer": person.issuer, "subject": person.subject, "account": account, "email": person.email}
    try:
        connection.execute(insert(identities).values(**values, created=now, used=now))
    except TakenError:
        raise ConflictError("you are signing in twice at this moment", hint="sign in again") from None


def _fill_groups(connection: Connection, account: int, provider: str, told: tuple[str, ...]) -> None:
    """Into the groups of these names, and out of those that this provider put the account in and does not name any more."""
    wanted = set(connection.execute(select(groups.c.id).where(groups.c.name.in_(told))).scalars())
    own = members.c.account == account
    present = {row.group: row.provider for row in connection.execute(select(members).where(own))}
    for group in wanted - present.keys():
        connection.execute(insert(members).values(account=account, group=group, provider=provider))
    for group in {each for each, by in present.items() if by == provider} - wanted:
        connection.execute(delete(members).where(own, members.c.group == group))


def _free_name(connection: Connection, email: str) -> str:
    """A name for a new account: the address, with a number where somebody has that name."""
    name = _name_of(email)
    taken = set(
        connection.execute(select(accounts.c.name).where(accounts.c.name.startswith(name, autoescape=True))).scalars()
    )
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}-{number}"
    return found


def _name_of(email: str) -> str:
    """An address as the name of an account."""
    return re.sub(r"[^a-z0-9._@+-]", "-", email).lstrip("._@+-")[: _NAME - 6]
