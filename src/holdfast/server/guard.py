"""The rule of each route, enforced before anything of it runs: public, signed in, an admin of the server (or, for ``operator``,
where the settings say so, whoever is on its machine), or a role in the project.

A handler says its rule in ``opt``; an application with a handler that says none, or more than one, does not start. A handler with
``page`` in its ``opt`` is for browsers: who asks is known by the session in a cookie, never by a token, and a form must carry its mark.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from litestar import Request
from litestar.routes import HTTPRoute

from holdfast.server import forms, sessions
from holdfast.server.access import Role, refused
from holdfast.server.given import FORM, PRINCIPAL, PROJECT, service_of
from holdfast.server.origin import bearer, is_here
from holdfast.server.stores import NotOpenError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from litestar import Litestar
    from litestar.connection import ASGIConnection
    from litestar.handlers import BaseRouteHandler

    from holdfast.server.service import Service

__all__ = ["RULES", "guard", "is_page", "require_rules", "routes", "rule_of"]

#: The options that say a rule; ``role`` holds a Role, the others True.
RULES: Final = ("role", "signed_in", "server_admin", "operator", "public")
#: Methods that change nothing.
_READS: Final = ("GET", "HEAD")


async def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Let a request through to a handler, or raise AccessError."""
    if isinstance(connection, Request) and connection.method == "OPTIONS":
        return  # answered by the framework, with the methods of the route alone
    if rule_of(handler)[0] != "public":
        await _admitted(connection, handler)
    if is_page(handler) and isinstance(connection, Request) and connection.method not in _READS:
        await _take_form(connection)


async def _admitted(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    service = service_of(connection.app)
    if service.database.local:
        with suppress(NotOpenError):
            _admit(service, connection, handler, wait=False)
            return
    await asyncio.to_thread(_admit, service, connection, handler)


def _admit(
    service: Service, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler, *, wait: bool = True
) -> None:
    (rule, value), page = rule_of(handler), is_page(handler)
    token = sessions.session_of(connection, service.settings) if page else bearer(connection)
    state = connection.scope["state"]
    if rule == "role":
        name = connection.path_params["project_name"]
        project = service.access.open(token, name, value, wait=wait, pages=page)
        state[PROJECT], state[PRINCIPAL] = project, project.principal
        return
    settings = service.settings
    if rule == "operator" and settings.local_metrics and is_here(connection.scope, settings.behind_proxy):
        return
    principal = state[PRINCIPAL] = service.access.principal(token, pages=page)
    if rule in ("server_admin", "operator") and not principal.admin:
        raise refused()


async def _take_form(request: Request[Any, Any, Any]) -> None:
    """Read the fields of a form, if it was shown in this session (or, to somebody who is not signed in, in this visit).

    Raises:
        AccessError: it was not.
    """
    settings = service_of(request.app).settings
    text = sessions.session_of(request, settings) if PRINCIPAL in request.scope["state"] else None
    fields = await forms.read(request)
    if not sessions.is_form_mark(text or sessions.visit_of(request, settings), fields.pop(forms.MARK, None)):
        raise forms.refused()
    request.scope["state"][FORM] = fields


def is_page(handler: BaseRouteHandler) -> bool:
    """Whether a handler is for browsers."""
    return bool(handler.opt.get("page"))


def rule_of(handler: BaseRouteHandler) -> tuple[str, Any]:
    """The rule that a handler says.

    Raises:
        RuntimeError: it says none, or several.
    """
    said = [(name, handler.opt[name]) for name in RULES if handler.opt.get(name)]
    if len(said) != 1 or (said[0][0] == "role") != isinstance(said[0][1], Role):
        raise RuntimeError(f"{handler} has no rule: give it opt with one of {', '.join(RULES)}")
    return said[0]


def routes(app: Litestar) -> Iterator[tuple[str, str, BaseRouteHandler]]:
    """Method, path and handler of every route, a socket's or a mounted application's too (the scope's type is then the method); the
    framework's own answers to OPTIONS, which tell methods alone, apart.
    """
    for route in app.routes:
        if not isinstance(route, HTTPRoute):
            yield route.scope_type.value, route.path, route.route_handler
            continue
        for method, (handler, _) in sorted(route.route_handler_map.items()):
            if method != "OPTIONS":
                yield method, route.path, handler


def require_rules(app: Litestar) -> None:
    """Refuse an application with a route that has no rule, or a project's rule without a project.

    Raises:
        RuntimeError: there is one.
    """
    for method, path, handler in routes(app):
        rule, _ = rule_of(handler)
        if (rule == "role") != ("{project_name:str}" in path):
            raise RuntimeError(f"{method} {path}: a role is of a project, and a project's routes have roles")
