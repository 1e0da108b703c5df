"""Signing in with a name and a password, to the API and to the pages: tried so often and no more, and every refusal written down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from holdfast.errors import AccessError
from holdfast.server import accounts
from holdfast.server.audit import Actor, note
from holdfast.server.origin import neighbourhood

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from holdfast.server.service import Service

__all__ = ["checked", "require"]

_NAME: Final = 100


def checked(service: Service, name: str, password: str, address: str | None) -> accounts.Proven:
    """The account whose name and password these are.

    Raises:
        AccessError: there is none.
        TooManyError: too many were wrong, by this name or from this address; nothing was looked at.
    """
    by_name, by_address = f"name {name[:_NAME]}", f"address {neighbourhood(address)}"
    service.attempts.begin(by_name, by_address)
    proven = accounts.check_password(service.database, name, password)
    if proven is None:
        with service.database.write() as connection:
            note(connection, Actor(name[:_NAME], address), service.now(), "login.refused")
        raise _refused()
    service.attempts.forget(by_name)
    service.attempts.take_back(by_address)
    return proven


def require(connection: Connection, proven: accounts.Proven) -> None:
    """Refuse who signs in with a password that was changed since it was checked.

    Raises:
        AccessError: it was, or the account was shut out.
    """
    if not accounts.still_proven(connection, proven):
        raise _refused()


def _refused() -> AccessError:
    return AccessError("wrong name or password", hint="an administrator can set another password")
