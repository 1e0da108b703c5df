"""OIDC providers as an operator describes them in the settings' file. Values only; nothing is asked.

Example of one::

    url = "https://assets.example.com"           # where browsers find this server: providers send them back there

    [[oidc]]
    name = "example"                             # in addresses: /login/oidc/example
    issuer = "https://id.example.com"
    client_id = "holdfast"
    client_secret_file = "/etc/holdfast/oidc.secret"
    domains = ["example.com"]                    # whoever has a verified address there gets an account
    groups_claim = "groups"                      # fills groups of the same names
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from holdfast.errors import LocalError, UsageError, nearest

__all__ = ["Provider", "checked_url", "read_providers"]

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,49}")
_DOMAIN: Final = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, kw_only=True, slots=True)
class Provider:
    """A provider: whom to ask, as whom, and whose accounts are made at the first sign-in."""

    name: str
    issuer: str
    client_id: str
    client_secret_file: Path | None = None
    title: str = ""
    scopes: tuple[str, ...] = ("openid", "email", "profile")
    domains: tuple[str, ...] = ()
    groups_claim: str | None = None

    def client_secret(self) -> str | None:
        """The secret that this server shows the provider; None for a public client. Read anew each time, so that it can be replaced.

        Raises:
            LocalError: its file cannot be read.
        """
        if self.client_secret_file is None:
            return None
        try:
            return self.client_secret_file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            subject = str(self.client_secret_file)
            raise LocalError(f"cannot read the client secret of {self.name}", subject=subject) from error


def read_providers(value: Any) -> tuple[Provider, ...]:
    """The providers of the settings.

    Raises:
        ValueError: they are not as they must be.
        UsageError: a name that is no setting of a provider.
    """
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise ValueError("providers are tables, as in [[oidc]]")
    found = tuple(_provider(each) for each in value)
    for names in ([each.name for each in found], [each.issuer for each in found]):
        if len(set(names)) != len(names):
            raise ValueError("two providers have one name, or one issuer")
    return found


def checked_url(text: str) -> str:
    """An address that is spoken to, or at which this server is found: TLS, but on this machine.

    Raises:
        ValueError: it is none.
    """
    parts = urlsplit(text)
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise ValueError(f"{text[:200]!r} is no address like https://host")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise ValueError(f"{text[:200]!r} is not https")
    return text


def _provider(table: dict[str, Any]) -> Provider:
    known = {each.name for each in fields(Provider)}
    for name in table:
        if name not in known:
            raise UsageError(f"no setting {name!r} of a provider", subject=name, hint=nearest(name, sorted(known)))
    texts = {name: str(table.get(name, "")) for name in ("name", "issuer", "client_id")}
    missing = [name for name, text in texts.items() if not text]
    if missing:
        raise ValueError(f"a provider has no {missing[0]}")
    if not _NAME.fullmatch(texts["name"]):
        raise ValueError(f"{texts['name'][:60]!r} is no name: lower-case letters, digits and -")
    texts["issuer"] = checked_url(texts["issuer"])
    secret = table.get("client_secret_file")
    claim = table.get("groups_claim")
    return Provider(
        **texts,
        client_secret_file=None if secret is None else Path(secret).expanduser().absolute(),
        title=str(table.get("title") or texts["name"]),
        scopes=_scopes(table.get("scopes")),
        domains=tuple(_domain(each) for each in _texts(table.get("domains", []))),
        groups_claim=None if claim is None else str(claim),
    )


def _scopes(value: Any) -> tuple[str, ...]:
    if value is None:
        return ("openid", "email", "profile")
    scopes = tuple(_texts(value))
    if "openid" not in scopes or not all(re.fullmatch(r"[!#-\[\]-~]+", each) for each in scopes):
        raise ValueError("scopes are words, and openid is one of them")
    return scopes


def _domain(text: str) -> str:
    domain = text.lower()
    if not _DOMAIN.fullmatch(domain):
        raise ValueError(f"{text[:100]!r} is no domain like example.com")
    return domain


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValueError("a list of texts is meant")
    return value
