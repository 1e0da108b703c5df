"""A provider as it describes itself: its addresses and its keys, asked for when first needed and kept for an hour; and the exchange of
a code for an ID token.

A token signed with an unknown key has the keys asked for again, though not more often than every ten seconds. The provider is spoken
to over TLS (loopback apart), and no redirect is followed.
"""

from __future__ import annotations

import base64
import json
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from holdfast.connections import foreign, pool_manager
from holdfast.errors import AccessError, UnreachableError
from holdfast.server.idtokens import Expected, Person, UnknownKeyError, key_set, person_of, verified
from holdfast.server.providers import checked_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from joserfc.jwk import KeySet

    from holdfast.catalog.base import Clock
    from holdfast.server.providers import Provider

__all__ = ["Issuer"]

_KEPT: Final = 3600.0
_SOONEST: Final = 10.0
_SILENCE: Final = 15.0
_CONFIGURATION: Final = "/.well-known/openid-configuration"


@dataclass(frozen=True, slots=True)
class _Known:
    """The addresses of a provider, and how it wants to be shown the client's secret."""

    authorize: str
    exchange: str
    keys: str
    basic: bool


class Issuer:
    """One provider, asked."""

    def __init__(self, provider: Provider, clock: Clock) -> None:
        self.provider = provider
        self._clock = clock
        self._pool = pool_manager(silence=_SILENCE)
        self._lock = threading.Lock()
        self._known: tuple[float, _Known] | None = None
        self._keys: tuple[float, KeySet] | None = None

    def authorization(self, query: Mapping[str, str]) -> str:
        """Where a browser is sent to sign in.

        Raises:
            UnreachableError: the provider does not answer.
        """
        address = self._addresses().authorize
        given = {"response_type": "code", "client_id": self.provider.client_id, **query}
        given["scope"] = " ".join(self.provider.scopes)
        return f"{address}{'&' if '?' in address else '?'}{urlencode(given, quote_via=quote)}"

    def exchange(self, code: str, verifier: str, back: str) -> str:
        """The ID token for a code.

        Raises:
            AccessError: the provider refuses the code.
            UnreachableError: the provider does not answer.
        """
        known, own = self._addresses(), self.provider
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": back, "code_verifier": verifier}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        secret = own.client_secret()
        if secret is not None and known.basic:
            pair = f"{quote(own.client_id, safe='')}:{quote(secret, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form |= {"client_id": own.client_id} | ({} if secret is None else {"client_secret": secret})
        status, data = foreign(self._pool, "POST", known.exchange, headers=headers, body=urlencode(form).encode())
        if status >= 500:
            raise UnreachableError(f"{own.name} answers with status {status}", subject=own.name)
        token = _json(data).get("id_token") if status == 200 else None
        if not isinstance(token, str):
            raise AccessError(f"{own.name} gives no token for the code", hint="sign in again")
        return token

    def person(self, token: str, nonce: str) -> Person:
        """Who an ID token tells of.

        Raises:
            AccessError: it is not to be believed.
            UnreachableError: the provider's keys cannot be had.
        """
        own = self.provider
        expected, now = Expected(own.issuer, own.client_id, nonce), self._clock.now().timestamp()
        try:
            claims = verified(token, self._key_set(_KEPT), expected, now)
        except UnknownKeyError:
            claims = verified(token, self._key_set(_SOONEST), expected, now)
        return person_of(claims, own.groups_claim)

    def _addresses(self) -> _Known:
        with self._lock:
            now = self._clock.since_boot()
            if self._known is None or now - self._known[0] > _KEPT:
                self._known = (now, self._configuration())
            return self._known[1]

    def _key_set(self, age: float) -> KeySet:
        """The keys, not older than this."""
        address = self._addresses().keys
        with self._lock:
            now = self._clock.since_boot()
            if self._keys is None or now - self._keys[0] > age:
                self._keys = (now, key_set(self._get(address)))
            return self._keys[1]

    def _configuration(self) -> _Known:
        own = self.provider
        told = self._get(own.issuer.rstrip("/") + _CONFIGURATION)
        if told.get("issuer") != own.issuer:
            raise UnreachableError(f"{own.issuer} says that it is another issuer", subject=own.name)
        ways = told.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        basic = isinstance(ways, list) and ("client_secret_basic" in ways or "client_secret_post" not in ways)
        try:
            authorize, exchange, keys = (
                _checked(str(told.get(name, ""))) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")
            )
            return _Known(authorize, exchange, keys, basic)
        except ValueError as error:
            raise UnreachableError(f"{own.issuer} has an address that is none: {error}", subject=own.name) from None

    def _get(self, url: str) -> dict[str, Any]:
        status, data = foreign(self._pool, "GET", url)
        if status != 200:
            raise UnreachableError(f"{url} answers with status {status}", subject=self.provider.name)
        return _json(data)


def _checked(url: str) -> str:
    """An address of a provider; it may have a query."""
    checked_url(url.partition("?")[0])
    return url


def _json(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {}
