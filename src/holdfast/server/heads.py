"""HEAD, which load balancers and monitors send: answered as GET is, without the body (RFC 9110, 9.3.2).

A route that has an answer of its own to it, as an object's has, gives that.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from litestar.types import ASGIApp, Message, Receive, Send

__all__ = ["headed"]

_NOT_ALLOWED: Final = 405


def headed(app: ASGIApp) -> ASGIApp:
    """The application, which answers HEAD wherever it answers GET."""

    async def answer(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await app(scope, receive, send)
        elif not await _answered(app, scope, receive, send):
            scope["method"] = "GET"
            try:
                await app(scope, *_bodiless(send))
            finally:
                scope["method"] = "HEAD"

    return answer


async def _answered(app: ASGIApp, scope: Any, receive: Receive, send: Send) -> bool:
    """Whether the route takes HEAD itself; then it is answered."""
    tried: Any = {**scope, "state": {**scope.get("state", {})}}
    refused = False

    async def trying(message: Message) -> None:
        nonlocal refused
        if message["type"] == "http.response.start":
            refused = message["status"] == _NOT_ALLOWED
        if not refused:
            await send(message)

    await app(tried, receive, trying)
    if not refused:
        scope.update(tried)  # for whoever watches
    return not refused


def _bodiless(send: Send) -> tuple[Receive, Send]:
    """No body comes, and none goes: to what would send more, as of a large file, the client is gone."""
    enough = asyncio.Event()
    bodies = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receiving() -> Any:
        if (body := next(bodies, None)) is None:
            await enough.wait()
        return body or {"type": "http.disconnect"}

    async def sending(message: Message) -> None:
        if message["type"] != "http.response.body":
            await send(message)
        elif not enough.is_set():
            enough.set()
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    return receiving, sending
