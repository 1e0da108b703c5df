"""Where a request comes from: the peer's address, or what a trusted proxy says of it; and the token that it carries."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Network, IPv6Network

    from litestar.connection import ASGIConnection

__all__ = ["address_of", "bearer", "client_address", "is_here", "neighbourhood"]

_LONGEST = 500
#: What proxies say of a request that they hand on.
_FORWARDED = (b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip", b"forwarded", b"via")


def bearer(connection: ASGIConnection[Any, Any, Any, Any]) -> str | None:
    """The token of the Authorization header, or None."""
    scheme, _, token = (connection.headers.get("authorization") or "").partition(" ")
    token = token.strip()
    return token if scheme.lower() == "bearer" and 0 < len(token) <= _LONGEST else None


def client_address(
    connection: ASGIConnection[Any, Any, Any, Any], proxies: Sequence[IPv4Network | IPv6Network]
) -> str | None:
    """The client's address. ``X-Forwarded-For`` is read from its end, and only as far as trusted proxies wrote it."""
    return address_of(connection.scope, proxies)


def address_of(scope: Any, proxies: Sequence[IPv4Network | IPv6Network]) -> str | None:
    """The same, from what the server knows of a request."""
    peer: str | None = scope["client"][0] if scope.get("client") else None
    if peer is None or not proxies:
        return peer
    said = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
    hops = [each.strip() for each in ",".join(said).split(",")]
    address = peer
    while hops and _is_within(address, proxies):
        hop = hops.pop()
        if not _is_address(hop):
            break
        address = hop
    return address


def neighbourhood(address: str | None) -> str:
    """Whom an address belongs to: of IPv6, the network that one customer is given."""
    if address is None or not _is_address(address):
        return "unknown"
    parsed = ip_address(address)
    if parsed.version == 4 or parsed.ipv4_mapped is not None:
        return str(parsed if parsed.version == 4 else parsed.ipv4_mapped)
    return str(ip_network((int(parsed), 64), strict=False))


def is_here(scope: Any, proxies: Sequence[IPv4Network | IPv6Network]) -> bool:
    """Whether a request comes from this machine itself, and not from a proxy on it, whatever that one says or does not say."""
    peer: str | None = scope["client"][0] if scope.get("client") else None
    if peer is None or not _is_address(peer) or _is_within(peer, proxies):
        return False
    forwarded = any(name in _FORWARDED for name, _ in scope["headers"])
    return not forwarded and ip_address(peer).is_loopback


def _is_within(address: str, networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return any((mapped or parsed) in network for network in networks)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
