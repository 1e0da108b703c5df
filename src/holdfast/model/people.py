"""What names of accounts, groups and projects may be, passwords, addresses and tokens: rules of a server, which a client can judge by, too.

Names of accounts and groups are lower case, so that no two differ by case alone.
"""

from __future__ import annotations

import re
from typing import Final

from holdfast.errors import UsageError

__all__ = [
    "INVITED",
    "LONGEST_PASSWORD",
    "address_of",
    "check_account",
    "check_password",
    "check_project",
    "check_token",
]

#: Seconds that an invitation is open.
INVITED: Final = 30 * 86400.0
_SHORTEST, LONGEST_PASSWORD = 10, 1000
_ACCOUNT: Final = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,99}")
_PROJECT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_ADDRESS: Final = re.compile(r"[a-z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-z0-9-]+(\.[a-z0-9-]+)+")
_LONGEST_ADDRESS: Final = 254
_LONGEST_LIFE: Final = 366 * 86400
_LABEL: Final = 200
#: Names that are routes of the server, or may become ones.
_RESERVED: Final = frozenset(
    {
        "about",
        "account",
        "accounts",
        "admin",
        "api",
        "assets",
        "audit",
        "auth",
        "callback",
        "device",
        "docs",
        "favicon.ico",
        "groups",
        "healthz",
        "help",
        "index.html",
        "info",
        "login",
        "logout",
        "members",
        "metrics",
        "oidc",
        "openapi",
        "openapi.json",
        "projects",
        "readyz",
        "robots.txt",
        "search",
        "settings",
        "signin",
        "signout",
        "static",
        "status",
        "tokens",
        "users",
        "whoami",
    }
)


def check_account(name: str) -> None:
    """Raise UsageError for what is no name of an account or group."""
    if not _ACCOUNT.fullmatch(name):
        hint = "lower-case letters, digits and . _ @ + -, at most 100, a letter or digit first"
        raise UsageError(f"{name[:100]!r} is no name for an account or group", subject=name[:100], hint=hint)


def check_password(password: str) -> None:
    """Raise UsageError for one that is too short or too long."""
    if not _SHORTEST <= len(password) <= LONGEST_PASSWORD:
        raise UsageError(f"a password has {_SHORTEST} to {LONGEST_PASSWORD} characters", subject="password")


def check_project(name: str) -> None:
    """Raise UsageError for what is no name of a project."""
    if not _PROJECT.fullmatch(name) or name.lower() in _RESERVED:
        hint = (
            "letters, digits and . _ -, at most 100, a letter or digit first; and no word that is a route of the server"
        )
        raise UsageError(f"{name[:100]!r} is no name for a project", subject=name[:100], hint=hint)


def check_token(seconds: int, label: str | None) -> None:
    """Raise UsageError for a life or a label that no token has."""
    if not 1 <= seconds <= _LONGEST_LIFE:
        raise UsageError("a token lives between a second and 366 days", subject="expires")
    if label is not None and len(label) > _LABEL:
        raise UsageError(f"a label has at most {_LABEL} characters", subject="label")


def address_of(email: str) -> str:
    """An address as it is kept.

    Raises:
        UsageError: it is none.
    """
    address = email.strip().lower()
    if not _ADDRESS.fullmatch(address) or len(address) > _LONGEST_ADDRESS:
        raise UsageError(f"{email[:100]!r} is no address", subject="email", hint="it reads like ann@example.com")
    return address
