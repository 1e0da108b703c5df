"""Watching requests: each is counted, and told in one line of JSON on the access log. Paths without their queries; no secret.

The watch stands around the whole application, so that what is refused before any route is found is seen, too.
"""

from __future__ import annotations

import json
import logging
from time import perf_counter, time
from typing import TYPE_CHECKING, Any, Final

from holdfast.server.given import PRINCIPAL
from holdfast.server.origin import address_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from litestar.types import ASGIApp, Message, Receive, Scope, Send

    from holdfast.server.service import Service

__all__ = ["ACCESS", "watched"]

#: One line a request, at INFO.
ACCESS: Final = logging.getLogger("holdfast.server.access")
_METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"))
_LONGEST: Final = 500


def watched(app: ASGIApp, parts: Callable[[], Service]) -> ASGIApp:
    """The application, watched; ``parts`` tells what it works with."""

    async def watch(scope: Scope, receive: Receive, send: Send) -> None:
        if str(scope["type"]) != "http":
            await app(scope, receive, send)
            return
        begun, status, service = perf_counter(), 0, parts()

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        service.metrics.begun()
        try:
            await app(scope, receive, noting)
        finally:
            _note(service, scope, status, perf_counter() - begun)

    return watch


def _note(service: Service, scope: Any, status: int, seconds: float) -> None:
    """Count a request that has ended; status 0 where the client went before there was an answer."""
    method = scope["method"] if scope["method"] in _METHODS else "other"
    service.metrics.ended(scope.get("path_template") or "none", method, status, seconds)
    if not ACCESS.isEnabledFor(logging.INFO):
        return
    principal = scope.get("state", {}).get(PRINCIPAL)
    line = {
        "at": round(time(), 3),
        "method": method,
        "path": scope["path"][:_LONGEST],
        "status": status,
        "ms": round(seconds * 1000, 1),
        "who": None if principal is None else principal.name,
        "from": address_of(scope, service.settings.behind_proxy),
    }
    ACCESS.info(json.dumps(line))
