"""Signing in a program with the browser of another device: the program shows a few letters, somebody who is signed in types them.

The program polls with a long secret, every five seconds and no faster; the letters are good for ten minutes, and guessing them is
slowed down like guessing a password. What was allowed gives one token; what was refused stays refused.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, func, insert, select, update

from holdfast.errors import AccessError, BusyError, HoldfastError, NotFoundError
from holdfast.formats.signing import DeviceReply, PolledReply
from holdfast.server.audit import note
from holdfast.server.handing import give_token
from holdfast.server.limits import TooManyError
from holdfast.server.origin import neighbourhood
from holdfast.server.signins import digest_of
from holdfast.server.tables import devices

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from holdfast.server.access import Principal
    from holdfast.server.audit import Actor
    from holdfast.server.service import Service

__all__ = ["Waiting", "ask", "decide", "poll", "waiting"]

_LIFE: Final = 600
_EVERY: Final = 5
#: A poll may come this much earlier than it should: clocks and networks are not exact.
_EARLY: Final = 0.5
_MOST: Final = 10_000
_LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"
_COUNT: Final = 8


@dataclass(frozen=True, slots=True)
class Waiting:
    """A program that waits: what it calls itself, and where it asked from."""

    label: str | None
    address: str | None


def ask(service: Service, label: str | None, address: str | None) -> DeviceReply:
    """A program begins to wait.

    Raises:
        TooManyError: too many were begun from this address.
        BusyError: too many wait.
    """
    service.attempts.begin(f"device {neighbourhood(address)}")
    code, words, now = secrets.token_urlsafe(32), _words(), service.now()
    values = {"code": digest_of(code), "words": digest_of(words), "address": address, "refused": False}
    with service.database.write() as connection:
        connection.execute(delete(devices).where(devices.c.expires < now))
        if connection.execute(select(func.count()).select_from(devices)).scalar_one() >= _MOST:
            raise BusyError("too many programs wait to be signed in", hint="try again in some minutes")
        named = None if label is None else label[:200]
        connection.execute(insert(devices).values(**values, label=named, expires=now + _LIFE))
    shown = f"{words[:4]}-{words[4:]}"
    return DeviceReply(code, shown, "login/device", _EVERY, _LIFE)


def poll(service: Service, code: str, actor: Actor) -> PolledReply:
    """What has become of a program's request: nothing yet, or a token.

    Raises:
        AccessError: it was refused, is too old, was answered, or never was.
        TooManyError: it comes too soon.
    """
    now, at = service.now(), devices.c.code == digest_of(code)
    with service.database.write() as connection:
        row = connection.execute(select(devices).where(at).with_for_update()).first()
        outcome: PolledReply | HoldfastError
        if row is None or row.expires <= now or row.refused:
            outcome = _over(refused=row is not None and row.refused)
        elif row.polled is not None and now - row.polled < _EVERY - _EARLY:
            outcome = TooManyError(_EVERY)
        elif row.account is None:
            outcome = PolledReply(None)
        else:
            outcome = PolledReply(give_token(connection, service, row.account, row.label, actor, "device"))
            connection.execute(delete(devices).where(at))
        connection.execute(update(devices).where(at).values(polled=now))
    if isinstance(outcome, HoldfastError):
        raise outcome
    return outcome


def waiting(service: Service, who: Principal, words: str, address: str | None) -> Waiting:
    """The program that shows these letters.

    Raises:
        NotFoundError: there is none.
        TooManyError: too many were tried.
    """
    keys = (f"letters of {who.account}", f"letters {neighbourhood(address)}")
    service.attempts.begin(*keys)
    with service.database.read() as connection:
        row = connection.execute(select(devices).where(*_open(service, words))).first()
    if row is None:
        raise NotFoundError("no program waits with these letters", hint="are they still shown? Begin again there")
    for key in keys:
        service.attempts.take_back(key)
    return Waiting(row.label, row.address)


def decide(service: Service, who: Principal, actor: Actor, words: str, *, allow: bool) -> Waiting:
    """Let the program with these letters be somebody, or refuse it.

    Raises:
        NotFoundError: there is none.
    """
    found = waiting(service, who, words, actor.address)
    values = {"account": who.account} if allow else {"refused": True}
    with service.database.write() as connection:
        if not connection.execute(update(devices).where(*_open(service, words)).values(**values)).rowcount:
            raise NotFoundError("no program waits with these letters")
        action = "device.allow" if allow else "device.refuse"
        note(connection, actor, service.now(), action, found.label, detail=f"asked from {found.address}")
    return found


def _over(*, refused: bool) -> AccessError:
    why = "it was refused" if refused else "the letters are not good any more"
    return AccessError(f"not signed in: {why}", hint="begin again with: asset login URL --device")


def _open(service: Service, words: str) -> tuple[ColumnElement[bool], ...]:
    """Where the undecided row with these letters is, however they were typed."""
    plain = "".join(each for each in words.upper()[:100] if each in _LETTERS)
    live = (devices.c.expires > service.now(), devices.c.account.is_(None), ~devices.c.refused)
    return (devices.c.words == digest_of(plain), *live)


def _words() -> str:
    """Letters without vowels, so that they are no words, and without those that look alike: 34 bits."""
    return "".join(secrets.choice(_LETTERS) for _ in range(_COUNT))
