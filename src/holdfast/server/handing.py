"""Handing a sign-in from a browser to the program that opened it, on the same machine: a code that is good once, for a minute.

The program listens on a loopback port and shows a challenge (PKCE, S256); the browser, once its owner has allowed it, is sent to that
port of 127.0.0.1 with the code; the program gives code and verifier for a token. Whoever sees the code alone cannot use it.
"""

from __future__ import annotations

import hmac
import re
import secrets
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from sqlalchemy import delete, insert, select

from holdfast.errors import AccessError, UsageError
from holdfast.formats.api import TokenReply
from holdfast.server import own_tokens, tokens
from holdfast.server.audit import Actor, note
from holdfast.server.signins import challenge_of, digest_of
from holdfast.server.tables import accounts, handovers

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from holdfast.server.access import Principal
    from holdfast.server.service import Service

__all__ = ["Asking", "asking", "exchange", "give_token", "hand_over"]

_LIFE: Final = 60.0
_DAY: Final = 86400
_LOWEST, _HIGHEST = 1024, 65535
_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_NONCE: Final = re.compile(r"[A-Za-z0-9_-]{16,128}")


class Asking:
    """A program that asks: where it listens on this machine, what it will prove, and by what it knows its own request."""

    def __init__(self, port: int, challenge: str, nonce: str) -> None:
        self.port, self.challenge, self.nonce = port, challenge, nonce

    def address(self, **brought: str) -> str:
        """Where the browser brings something to it: this machine, whatever was asked for."""
        return f"http://127.0.0.1:{self.port}/?{urlencode({**brought, 'nonce': self.nonce})}"


def asking(port: str, challenge: str, nonce: str) -> Asking:
    """What a program asks, if it can be.

    Raises:
        UsageError: it is not as it must be.
    """
    number = int(port) if re.fullmatch(r"[0-9]{4,5}", port) else 0
    whole = _LOWEST <= number <= _HIGHEST and _CHALLENGE.fullmatch(challenge) and _NONCE.fullmatch(nonce)
    if not whole:
        raise UsageError("no program asks like this", subject="login", hint="begin with: asset login URL --browser")
    return Asking(number, challenge, nonce)


def hand_over(service: Service, who: Principal, asked: Asking) -> str:
    """Where a browser goes whose owner has allowed it."""
    code, now = secrets.token_urlsafe(32), service.now()
    values = {"code": digest_of(code), "account": who.account, "challenge": asked.challenge, "expires": now + _LIFE}
    with service.database.write() as connection:
        connection.execute(delete(handovers).where(handovers.c.expires < now))
        connection.execute(insert(handovers).values(**values))
    return asked.address(code=code)


def exchange(service: Service, code: str, verifier: str, label: str | None, address: str | None) -> TokenReply:
    """The token for a code; the code is no good afterwards, whatever came with it.

    Raises:
        AccessError: it is none, is too old, was used, or is somebody else's.
    """
    now, at = service.now(), handovers.c.code == digest_of(code)
    with service.database.write() as connection:
        row = connection.execute(select(handovers).where(at).with_for_update()).first()
        connection.execute(delete(handovers).where(at))
    proven = row is not None and hmac.compare_digest(row.challenge, challenge_of(verifier))
    if row is None or not proven or row.expires <= now:
        raise AccessError("this code is no good, or not any more", hint="begin again with: asset login URL --browser")
    with service.database.write() as connection:
        return give_token(connection, service, int(row.account), label, Actor(None, address), "browser")


def give_token(
    connection: Connection, service: Service, account: int, label: str | None, actor: Actor, way: str
) -> TokenReply:
    """A token of an account for a program that its owner has allowed.

    Raises:
        AccessError: the account is shut out.
    """
    row = connection.execute(select(accounts).where(accounts.c.id == account)).first()
    if row is None or row.disabled:
        raise AccessError("this account is shut out", hint="an administrator of the server can let it in again")
    now, seconds = service.now(), service.settings.token_days * _DAY
    made = tokens.create_token(connection, account, now, seconds=seconds, label=label)
    note(connection, Actor(row.name, actor.address), now, "login", made.id, detail=f"by {way}")
    return TokenReply(made.text, own_tokens.row_of(tokens.token_row(connection, made.id)), row.name)
