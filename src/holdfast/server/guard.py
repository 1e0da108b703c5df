"""The rule of each route, enforced before anything of it runs: public, signed in, an admin of the server (or, for ``operator``,
whoever is on its machine), or a role in the project.

A handler says its rule in ``opt``; an application with a handler that says none, or more than one, does not start.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from litestar import Request

from holdfast.server.access import Role, refused
from holdfast.server.given import PRINCIPAL, PROJECT, service_of
from holdfast.server.origin import bearer, is_here

if TYPE_CHECKING:
    from collections.abc import Iterator

    from litestar import Litestar
    from litestar.connection import ASGIConnection
    from litestar.handlers import BaseRouteHandler

    from holdfast.server.service import Service

__all__ = ["RULES", "guard", "require_rules", "routes", "rule_of"]

#: The options that say a rule; ``role`` holds a Role, the others True.
RULES: Final = ("role", "signed_in", "server_admin", "operator", "public")


async def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Let a request through to a handler, or raise AccessError."""
    if isinstance(connection, Request) and connection.method == "OPTIONS":
        return  # answered by the framework, with the methods of the route alone
    rule, value = rule_of(handler)
    if rule == "public":
        return
    service = service_of(connection.app)
    if service.database.local:
        _admit(service, connection, rule, value)
    else:
        await asyncio.to_thread(_admit, service, connection, rule, value)


def _admit(service: Service, connection: ASGIConnection[Any, Any, Any, Any], rule: str, value: Any) -> None:
    token, state = bearer(connection), connection.scope["state"]
    if rule == "role":
        project = service.access.open(token, connection.path_params["project_name"], value)
        state[PROJECT], state[PRINCIPAL] = project, project.principal
        return
    if rule == "operator" and is_here(connection.scope, service.settings.behind_proxy):
        return
    principal = state[PRINCIPAL] = service.access.principal(token)
    if rule in ("server_admin", "operator") and not principal.admin:
        raise refused()


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
    """Method, path and handler of every route; the framework's own answers to OPTIONS, which tell methods alone, apart."""
    for route in app.routes:
        for method, (handler, _) in sorted(getattr(route, "route_handler_map", {}).items()):
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
