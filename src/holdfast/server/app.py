"""The application: every route with its rule, what handlers are given, and how errors are answered.

Handlers take what ``given`` names: ``service: given.Service``, ``principal: given.Principal``, ``actor: given.Actor`` and, below a
project, ``project: given.Project``. A body is ``data: JSONBody[SomeRequest]`` of ``formats.api``; replies are returned as they are.

Example::

    app = make_app(Service(load_settings({"data": "/srv/holdfast"})))
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from litestar import Litestar, Router
from litestar.datastructures import State
from litestar.exceptions import NotFoundException
from litestar.openapi.config import OpenAPIConfig

from holdfast.formats.messages import learn_messages
from holdfast.server import guard
from holdfast.server.description import Description
from holdfast.server.failures import HANDLERS
from holdfast.server.given import DEPENDENCIES, service_of
from holdfast.server.heads import headed
from holdfast.server.logs import watched
from holdfast.server.pages.failing import nowhere
from holdfast.server.pages.routes import pages
from holdfast.server.routes import (
    admin,
    catalog,
    objects,
    operation,
    people,
    programs,
    projects,
    pushes,
    resolving,
    transfers,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.server.service import Service

__all__ = ["API", "PROJECT", "make_app"]

API: Final = "/api/v1"
#: Where the routes of one project lie; handlers there have a role as their rule.
PROJECT: Final = "/api/v1/projects/{project_name:str}"
#: Bodies that hold no meta are smaller than this; a route that takes more says so by ``request_max_body_size``.
SMALL_BODY: Final = 1 << 20
#: Handlers at a time that wait for a bucket or a database.
_AT_ONCE: Final = 64


def make_app(service: Service, *, more: Sequence[Any] = ()) -> Litestar:
    """The application over these parts. ``more`` are further handlers with whole paths, for tests.

    Raises:
        RuntimeError: a route has no rule.
    """
    learn_messages()
    app = Litestar(
        [
            Router(API, route_handlers=_api_handlers()),
            Router(PROJECT, route_handlers=_project_handlers()),
            *operation.handlers,
            pages(),
            *more,
        ],
        guards=[guard.guard],
        dependencies=DEPENDENCIES,
        exception_handlers={**HANDLERS, NotFoundException: nowhere},
        request_max_body_size=SMALL_BODY,
        state=State({"service": service}),
        on_startup=[_more_threads],
        on_shutdown=[_close],
        openapi_config=_openapi(),
        debug=False,
        logging_config=None,
    )
    guard.require_rules(app)
    app.asgi_handler = watched(headed(app.asgi_handler), lambda: service_of(app))
    return app


async def _more_threads() -> None:
    """Handlers wait for buckets, not for cores: more of them at a time than the event loop would allow by itself."""
    executor = ThreadPoolExecutor(_AT_ONCE, "holdfast")
    asyncio.get_running_loop().set_default_executor(executor)


def _api_handlers() -> list[Any]:
    """The handlers of no project."""
    return [*people.handlers, *programs.handlers, *projects.handlers, *admin.handlers, operation.openapi]


async def _close(app: Litestar) -> None:
    """What the application works with is closed: that of its state, which is the only place that holds it."""
    service_of(app).close()


def _project_handlers() -> list[Any]:
    """The handlers of one project's routes, paths relative to the project."""
    return [
        *catalog.handlers,
        *objects.handlers,
        *projects.project_handlers,
        *pushes.handlers,
        *resolving.handlers,
        *transfers.handlers,
    ]


def _openapi() -> OpenAPIConfig:
    return OpenAPIConfig(
        title="Holdfast",
        version=version("holdfast"),
        use_handler_docstrings=True,
        render_plugins=[Description(path="/openapi.json")],
        openapi_router=Router(f"{API}/openapi", route_handlers=[], opt={"public": True}),
    )
