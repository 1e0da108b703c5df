"""Where a project may lie: never on the server's own disk or network but where its operator listed it, never over another project."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from holdfast.errors import UnreachableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.server.settings import ServerSettings

__all__ = ["Place", "place_of"]

_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Place:
    """A store's place: ``url`` as it is kept, ``service`` who answers there, ``path`` the bucket and prefix, or the folder."""

    url: str
    service: str
    path: tuple[str, ...]

    def overlaps(self, other: Place) -> bool:
        """Whether one lies in the other, on path borders."""
        shared = min(len(self.path), len(other.path))
        return self.service == other.service and self.path[:shared] == other.path[:shared]


def place_of(
    url: str, endpoint: str | None, environ: Mapping[str, str], settings: ServerSettings, *, judge: bool = True
) -> Place:
    """The place of a store with these variables; ``judge`` applies the operator's rules, for a project that is set now.

    Raises:
        UsageError: the URL or endpoint is none, or one that the operator did not list.
    """
    if url.startswith("file:"):
        return _folder(url, endpoint, settings, judge=judge)
    from holdfast.store.settings import bucket_settings

    found = bucket_settings(url, environ, endpoint=endpoint)
    _refuse_steps(found.prefix, url)
    if found.endpoint is None:
        return Place(found.url, found.scheme, (found.bucket, *_pieces(found.prefix)))
    service = _normal(found.endpoint)
    if judge:
        _judge(service, settings)
    return Place(found.url, f"{found.scheme} {service}", (found.bucket, *_pieces(found.prefix)))


def _folder(url: str, endpoint: str | None, settings: ServerSettings, *, judge: bool) -> Place:
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.netloc not in ("", "localhost") or not path.startswith("/") or parts.query or parts.fragment:
        raise UsageError(f"{url!r} names no folder", subject=url, hint="file:///absolute/path")
    if endpoint is not None:
        raise UsageError("a folder has no endpoint", subject="endpoint")
    _refuse_steps(path, url)
    real = Path(path).resolve()  # a link below a root must not lead out of it
    roots = [*settings.roots, *([settings.stores] if settings.stores else [])]
    if judge and not any(real.is_relative_to(root.resolve()) and real != root.resolve() for root in roots):
        hint = "file:// projects lie below DATA/stores, or below roots listed in the settings file"
        raise UsageError(f"{url} is not below a folder for projects", subject=url, hint=hint)
    return Place(real.as_uri(), "file", real.parts)


def _refuse_steps(path: str, url: str) -> None:
    if "\0" in path or any(piece in (".", "..") for piece in unquote(path).split("/")):
        raise UsageError(f"{url!r} has steps in its path", subject=url)


def _pieces(prefix: str) -> tuple[str, ...]:
    return tuple(piece for piece in prefix.split("/") if piece)


def _normal(endpoint: str) -> str:
    parts = urlsplit(endpoint)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if (
        parts.scheme not in _PORTS
        or not parts.hostname
        or port == -1
        or parts.username
        or parts.query
        or parts.fragment
    ):
        raise UsageError("the endpoint is no plain http or https URL", subject="endpoint")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname.lower().rstrip(".")
    shown = "" if port in (None, _PORTS[parts.scheme]) else f":{port}"
    return f"{parts.scheme}://{host}{shown}{parts.path.rstrip('/')}"


def _judge(service: str, settings: ServerSettings) -> None:
    """Refuse this machine and its link, whatever name they hide behind, unless the operator listed the endpoint."""
    if service in {_normal(each) for each in settings.allow_endpoints}:
        return
    parts = urlsplit(service)
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or _PORTS[parts.scheme], type=socket.SOCK_STREAM)
    except OSError:
        raise UnreachableError(f"no host {parts.hostname}", subject="endpoint") from None
    for *_, address in found:
        parsed = ip_address(str(address[0]).partition("%")[0])
        parsed = getattr(parsed, "ipv4_mapped", None) or parsed
        inside = (parsed.is_loopback, parsed.is_link_local, parsed.is_unspecified, parsed.is_multicast)
        if any(inside):
            hint = "the server's operator may list it: allow_endpoints in the settings file"
            raise UsageError("the endpoint is on the server's own machine or link", subject="endpoint", hint=hint)
