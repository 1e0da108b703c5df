"""Signing in at an OIDC provider: sent there, and back with a session."""

from __future__ import annotations

from typing import Any

from litestar import Request, get
from litestar.params import FromPath, FromQuery
from litestar.response import Response

from holdfast.server import given, sessions, signins
from holdfast.server.origin import neighbourhood
from holdfast.server.pages.rendering import page, redirect

__all__ = ["handlers"]

_PUBLIC = {"public": True}


@get("/login/oidc/{provider:str}", opt=_PUBLIC, sync_to_thread=True)
def leave(
    provider: FromPath[str],
    request: Request[Any, Any, Any],
    service: given.Service,
    actor: given.Actor,
    to: FromQuery[str] = "/",
) -> Response[str]:
    """To the provider, from where one comes back to ``to``."""
    service.attempts.begin(_key(actor.address))
    sent = signins.begin(service, provider, to, sessions.errand_of(request, service.settings))
    return redirect(sent.url, [sessions.errand_cookie(sent.secret, request, service.settings)])


@get("/login/oidc/{provider:str}/back", opt=_PUBLIC, sync_to_thread=True)
def back(
    provider: FromPath[str], request: Request[Any, Any, Any], service: given.Service, actor: given.Actor
) -> Response[str]:
    """From the provider. A page and no redirect: of what another site began, the session's cookie would not be sent on."""
    settings = service.settings
    brought = {name: value for name, value in request.query_params.items() if isinstance(value, str)}
    secret, browser = sessions.errand_of(request, settings), request.headers.get("user-agent")
    found = signins.finish(service, provider, brought, secret, actor, browser)
    service.attempts.take_back(_key(actor.address))
    cookies = [
        sessions.session_cookie(found.session, request, settings),
        sessions.no_visit(request, settings),
        sessions.no_errand(request, settings),
    ]
    return page(request, "arrived.html", cookies=cookies, name=found.name, to=found.target)


def _key(address: str | None) -> str:
    return f"provider {neighbourhood(address)}"


handlers = [leave, back]
