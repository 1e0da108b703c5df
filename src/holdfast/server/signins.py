"""Signing in at an OIDC provider: a browser is sent there, and what it brings back is believed once, from that browser alone.

The browser keeps a secret in a cookie of its own; nonce and PKCE verifier are made of it and of the state, so that neither is kept here.
The state's digest is a row of the database: whichever process the browser comes back to takes it away, and a state that comes
twice is unknown. Where the browser goes afterwards is a path of this server and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, insert, select

from holdfast.errors import AccessError, HoldfastError, NotFoundError
from holdfast.server import identities, sessions
from holdfast.server.audit import Actor, note
from holdfast.server.tables import signins

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.server.discovery import Issuer
    from holdfast.server.service import Service

__all__ = ["Sent", "SignedIn", "back", "begin", "challenge_of", "digest_of", "finish", "local_path"]

#: Seconds that somebody may take at the provider.
_PATIENCE: Final = 900.0
_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_PATH: Final = re.compile(r"/(?![/\\])[!-~]{0,2000}")
_LONGEST: Final = 4000


@dataclass(frozen=True, slots=True)
class Sent:
    """Where a browser goes, and the secret that it keeps meanwhile."""

    url: str
    secret: str


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A browser that came back: its session, whose, and where it wanted to go."""

    session: str
    name: str
    target: str


def begin(service: Service, provider: str, target: str, secret: str | None) -> Sent:
    """Send a browser to a provider; ``secret`` is what it kept from another sign-in that is under way.

    Raises:
        NotFoundError: there is no such provider.
        UnreachableError: it does not answer.
    """
    issuer, now, state = _issuer(service, provider), service.now(), secrets.token_urlsafe(32)
    secret = secret if secret and _SECRET.fullmatch(secret) else secrets.token_urlsafe(32)
    url = issuer.authorization(
        {
            "redirect_uri": back(service, provider),
            "state": state,
            "nonce": _made(secret, state, "nonce"),
            "code_challenge": challenge_of(_made(secret, state, "verifier")),
            "code_challenge_method": "S256",
        }
    )
    values = {"state": digest_of(state), "browser": digest_of(secret), "provider": provider}
    with service.database.write() as connection:
        connection.execute(delete(signins).where(signins.c.expires < now))
        connection.execute(insert(signins).values(**values, target=local_path(target), expires=now + _PATIENCE))
    return Sent(url, secret)


def finish(
    service: Service, provider: str, brought: Mapping[str, str], secret: str | None, actor: Actor, browser: str | None
) -> SignedIn:
    """A session for what a browser brought back.

    Raises:
        AccessError: it is not what this browser was sent for, or whoever it is has no account here.
        UnreachableError: the provider does not answer.
    """
    issuer, state = _issuer(service, provider), brought.get("state", "")[:_LONGEST]
    target = _taken(service, provider, state, secret)
    try:
        if (
            brought.get("error")
            or not brought.get("code")
            or brought.get("iss", issuer.provider.issuer) != (issuer.provider.issuer)
        ):
            told = re.sub(r"[^a-z_]", "", brought.get("error", ""))[:50] or "no code"
            raise AccessError(f"{issuer.provider.title} did not sign you in: {told}", hint="sign in again")
        verifier, nonce = (_made(secret or "", state, purpose) for purpose in ("verifier", "nonce"))
        token = issuer.exchange(brought["code"][:_LONGEST], verifier, back(service, provider))
        person = issuer.person(token, nonce)
        with service.database.write() as connection:
            now = service.now()
            arrived = identities.arrive(connection, issuer.provider, person, now)
            made = sessions.begin(connection, arrived.account, now, service.settings, browser)
            who = Actor(arrived.name, actor.address)
            note(connection, who, now, "login", made.id, detail=f"by {provider}, {arrived.how}: {person.subject}")
    except HoldfastError as error:
        with service.database.write() as connection:
            note(connection, actor, service.now(), "login.refused", detail=f"by {provider}: {error.message}")
        raise
    return SignedIn(made.text, arrived.name, target)


def back(service: Service, provider: str) -> str:
    """Where a provider sends a browser back to; what is registered there."""
    return f"{service.settings.url}/login/oidc/{provider}/back"


def local_path(text: str) -> str:
    """A path of this server, or its first page where it is none: nobody is sent elsewhere."""
    return text if _PATH.fullmatch(text) else "/"


def challenge_of(verifier: str) -> str:
    """The PKCE challenge (S256) of a verifier."""
    return _text(hashlib.sha256(verifier.encode("utf-8", "surrogatepass")).digest())


def digest_of(text: str) -> bytes:
    """What is kept of a random text: 256 bits need no slow hash."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _taken(service: Service, provider: str, state: str, secret: str | None) -> str:
    """Where the browser of this state wanted to go; the state is no good any more."""
    at = signins.c.state == digest_of(state)
    with service.database.write() as connection:
        row = connection.execute(select(signins).where(at).with_for_update()).first()
        connection.execute(delete(signins).where(at))
    same = row is not None and secret is not None and hmac.compare_digest(row.browser, digest_of(secret))
    if row is None or not same or row.provider != provider or row.expires <= service.now():
        raise AccessError("this sign-in is too old, or was begun elsewhere", hint="sign in again")
    return str(row.target)


def _issuer(service: Service, provider: str) -> Issuer:
    issuer = service.issuers.get(provider)
    if issuer is None:
        raise NotFoundError("no such provider", subject=provider[:100])
    return issuer


def _made(secret: str, state: str, purpose: str) -> str:
    return _text(hmac.new(secret.encode(), f"{purpose} {state}".encode("utf-8", "surrogatepass"), "sha256").digest())


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
