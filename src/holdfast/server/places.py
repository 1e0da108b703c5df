"""Where a project may lie: never on the server's own disk or network but where its operator listed it, never over another project."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from holdfast.errors import UnreachableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.server.settings import ServerSettings
    from holdfast.store.settings import BucketSettings

__all__ = ["Place", "folder_of", "is_listed", "place_of"]

_PORTS: Final = {"http": 80, "https": 443}
#: What becomes part of a host name where there is no endpoint; nothing in it may end the name.
_BUCKET: Final = re.compile(r"[A-Za-z0-9$][A-Za-z0-9._-]{0,254}")
_PIECE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
#: Where clouds tell their machines secrets, beside the link-local addresses: AWS, Azure, Alibaba, Oracle.
_METADATA: Final = tuple(map(ip_network, ("fd00:ec2::/32", "168.63.129.16/32", "100.100.100.200/32", "192.0.0.192/32")))
#: IPv6 networks whose addresses end in one of IPv4, to which gateways and systems take them.
_EMBEDDING: Final = tuple(
    map(ip_network, ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48"))
)


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
    url: str,
    endpoint: str | None,
    environ: Mapping[str, str],
    settings: ServerSettings,
    *,
    region: str | None = None,
    judge: bool = True,
) -> Place:
    """The place of a store with these variables; ``judge`` applies the operator's rules, for a project that is set now.

    Raises:
        UsageError: the URL or endpoint is none, or one that the operator did not list.
    """
    if url.startswith("file:"):
        return _folder(url, endpoint, settings, judge=judge)
    from holdfast.store.settings import bucket_settings

    found = bucket_settings(url, environ, endpoint=endpoint, region=region)
    _refuse_steps(found.prefix, url)
    if judge:
        _refuse_hosts(found)
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
    if judge and not any(real.is_relative_to(root) and real != root for _, root in _roots(settings)):
        raise _no_folder(url)
    return Place(real.as_uri(), "file", real.parts)


def folder_of(url: str, settings: ServerSettings) -> Path:
    """The folder of a project that was set, as a path without links: those of its root are followed, and none below it.

    Raises:
        UsageError: it is below no root.
    """
    path = Path(unquote(urlsplit(url).path))
    for root, real in _roots(settings):
        for each in (root, real):
            if path.is_relative_to(each) and path != each:
                return real / path.relative_to(each)
    raise _no_folder(url)


def _roots(settings: ServerSettings) -> list[tuple[Path, Path]]:
    """What projects may lie below, as it is set and with its links followed."""
    roots = [*settings.roots, *([settings.stores] if settings.stores else [])]
    return [(root, root.resolve()) for root in roots]


def _no_folder(url: str) -> UsageError:
    hint = "file:// projects lie below DATA/stores, or below roots listed in the settings file"
    return UsageError(f"{url} is not below a folder for projects", subject=url, hint=hint)


def _refuse_hosts(found: BucketSettings) -> None:
    """Names that become part of a host's name are names, and end there."""
    if not _BUCKET.fullmatch(found.bucket):
        raise UsageError(f"{found.bucket[:100]!r} is no name of a bucket", subject="url")
    for what, name in (("region", found.region), ("account", found.azure_account)):
        if name is not None and not _PIECE.fullmatch(name):
            raise UsageError(f"{name[:100]!r} is no name of a {what}", subject=what)


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


def is_listed(endpoint: str, settings: ServerSettings) -> bool:
    """Whether the operator has listed the endpoint."""
    return _normal(endpoint) in {_normal(each) for each in settings.allow_endpoints}


def _judge(service: str, settings: ServerSettings) -> None:
    """Refuse this machine and its link, whatever name they hide behind, and the internet in the clear, unless the operator listed it."""
    if is_listed(service, settings):
        return
    parts = urlsplit(service)
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or _PORTS[parts.scheme], type=socket.SOCK_STREAM)
    except OSError:
        raise UnreachableError(f"no host {parts.hostname}", subject="endpoint") from None
    hint = "the server's operator may list it: allow_endpoints in the settings file"
    for *_, address in found:
        parsed = ip_address(str(address[0]).partition("%")[0])
        if any(_is_inside(each) for each in (parsed, *_embedded(parsed))):
            raise UsageError("the endpoint is on the server's own machine or link", subject="endpoint", hint=hint)
        if parts.scheme == "http" and parsed.is_global:
            # Without TLS, whoever answers could send the server on to any address of its own network.
            raise UsageError("the endpoint is on the internet, and without TLS", subject="endpoint", hint=hint)


def _is_inside(address: IPv4Address | IPv6Address) -> bool:
    special = (address.is_loopback, address.is_link_local, address.is_unspecified, address.is_multicast)
    return any(special) or any(address in network for network in _METADATA)


def _embedded(address: IPv4Address | IPv6Address) -> list[IPv4Address]:
    """The IPv4 addresses that an IPv6 address stands for."""
    if isinstance(address, IPv4Address):
        return []
    found = [IPv4Address(int(address) & 0xFFFFFFFF)] if any(address in network for network in _EMBEDDING) else []
    return found if address.sixtofour is None else [*found, address.sixtofour]
