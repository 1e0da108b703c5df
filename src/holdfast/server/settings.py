"""The server's settings: from the command line, then a TOML file, then defaults. Values only; nothing is opened.

Example of a file::

    data = "/srv/holdfast"
    database = "postgresql+psycopg://holdfast@db/holdfast"
    roots = ["/mnt/share"]                       # file:// projects may lie below these, beside the data folder
    allow_endpoints = ["http://127.0.0.1:9000"]  # endpoints on this machine or link-local, which are refused otherwise
    freshness = 5.0

OIDC providers, ``[[oidc]]``, are described in :mod:`~holdfast.server.providers`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from holdfast.errors import LocalError, UsageError, nearest
from holdfast.server.database import sqlite_url
from holdfast.server.providers import Provider, checked_url, read_providers

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ServerSettings", "load_settings"]

#: Days that a token lives unless told.
TOKEN_DAYS: Final = 90


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """Everything that an operator may choose.

    ``roots`` are folders that ``file://`` projects may lie below, beside the data folder; ``allow_endpoints`` endpoints of projects
    on this machine or its link; ``behind_proxy`` the proxies whose forwarded headers count; ``freshness`` how old, in seconds, the
    copy of a list may be before the bucket is asked again; ``silence`` for how long, in seconds, whoever sends an object may send nothing; ``ending`` how many seconds requests that have begun get to end when the server is told to; ``session_hours`` how long a browser stays
    signed in; ``local_metrics`` whether programs on this machine see the counters without a token, which a proxy on it that tells
    nothing of itself would hand on to everybody; ``url`` where browsers find this server, and ``oidc`` the providers that send them there. ``environ`` is the process's own, for projects that use its credentials.
    """

    data: Path | None = None
    database: str = ""
    secret_file: Path | None = None
    roots: tuple[Path, ...] = ()
    allow_endpoints: tuple[str, ...] = ()
    behind_proxy: tuple[IPv4Network | IPv6Network, ...] = ()
    freshness: float = 5.0
    silence: float = 120.0
    ending: float = 25.0
    token_days: int = TOKEN_DAYS
    session_hours: float = 12.0
    login_attempts: int = 10
    login_window: float = 60.0
    local_metrics: bool = False
    url: str = ""
    oidc: tuple[Provider, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def secret(self) -> Path:
        """Where the secret is."""
        if self.secret_file is not None:
            return self.secret_file
        if self.data is None:
            raise UsageError("no secret file", subject="secret_file", hint="--secret-file FILE, or --data DIR")
        return self.data / "secret"

    @property
    def stores(self) -> Path | None:
        """Where projects without a URL of their own have their stores."""
        return None if self.data is None else self.data / "stores"


def load_settings(given: Mapping[str, Any], file: Path | None = None) -> ServerSettings:
    """The settings; values of ``given`` that are None, or empty, count as not given.

    Raises:
        UsageError: there is no such file, a name or value that is none, or neither ``data`` nor ``database``.
        LocalError: the file cannot be read.
    """
    table = {} if file is None else _read(file)
    known = {each.name for each in fields(ServerSettings)} - {"environ"}
    for name in table:
        if name not in known:
            raise UsageError(f"no setting {name!r} in {file}", subject=name, hint=nearest(name, sorted(known)))
    chosen = table | {name: value for name, value in given.items() if value not in (None, ())}
    values = {name: _checked(name, value) for name, value in chosen.items()}
    if not values.get("database"):
        if values.get("data") is None:
            raise UsageError("where is the server's data?", subject="data", hint="--data DIR, or --database URL")
        values["database"] = sqlite_url(values["data"] / "holdfast.db")
    if values.get("oidc") and not values.get("url"):
        hint = 'url = "https://host" names the address at which browsers find this server'
        raise UsageError("providers need to know where this server is", subject="url", hint=hint)
    return ServerSettings(**values)


def _read(file: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(file.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} is not TOML: {error}", subject=str(file)) from None
    except FileNotFoundError:
        raise UsageError(f"there is no {file}", subject=str(file)) from None
    except OSError as error:
        raise LocalError(f"cannot read {file}: {error.strerror}", subject=str(file)) from error


def _checked(name: str, value: Any) -> Any:
    try:
        if name in ("data", "secret_file"):
            return Path(value).expanduser().absolute()
        if name == "roots":
            return tuple(Path(each).expanduser().absolute() for each in _many(value))
        if name == "allow_endpoints":
            return tuple(str(each).rstrip("/").lower() for each in _many(value))
        if name == "behind_proxy":
            return tuple(ip_network(str(each)) for each in _many(value))
        if name == "url":
            return checked_url(str(value).rstrip("/")) if value else ""
        if name == "oidc":
            return read_providers(value)
        if name in ("freshness", "login_window"):
            return _at_least(float(value), 0.0)
        if name in ("silence", "ending", "session_hours"):
            return _at_least(float(value), 0.01)
        if name == "local_metrics":
            return _truth(value)
        if name in ("token_days", "login_attempts"):
            return _at_least(int(value), 1)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name} cannot be {value!r}: {error}", subject=name) from None
    return value if name == "environ" else str(value)


def _many(value: Any) -> list[Any]:
    return [value] if isinstance(value, str | Path) else list(value)


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")  # noqa: TRY004 - told as any other value that cannot be
    return value


def _at_least(value: Any, least: Any) -> Any:
    if value < least:
        raise ValueError(f"at least {least}")
    return value
