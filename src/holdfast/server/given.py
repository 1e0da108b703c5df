"""What handlers are given, by the names of their arguments: the parts of the server, and what the guard found out.

Example::

    from holdfast.server import given

    @get("/names", opt={"role": Role.READER}, sync_to_thread=True)
    def names(project: given.Project, after: FromQuery[str | None] = None) -> NamesReply: ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from litestar import Request  # noqa: TC002 - read by the framework
from litestar.di import NamedDependency, Provide
from litestar.params import SkipValidation

from holdfast.server import access, admin, audit, service
from holdfast.server.origin import client_address

if TYPE_CHECKING:
    from litestar import Litestar

__all__ = [
    "DEPENDENCIES",
    "FORM",
    "PRINCIPAL",
    "PROJECT",
    "Actor",
    "Admin",
    "Form",
    "Principal",
    "Project",
    "Service",
    "service_of",
]

Service: TypeAlias = NamedDependency[SkipValidation[service.Service]]
Principal: TypeAlias = NamedDependency[SkipValidation[access.Principal]]
Project: TypeAlias = NamedDependency[SkipValidation[access.OpenProject]]
Actor: TypeAlias = NamedDependency[SkipValidation[audit.Actor]]
Admin: TypeAlias = NamedDependency[SkipValidation[admin.Administration]]
Form: TypeAlias = NamedDependency[SkipValidation[dict[str, str]]]

#: Where the guard leaves what it found, in the state of the request.
PRINCIPAL: Final = "holdfast_principal"
PROJECT: Final = "holdfast_project"
FORM: Final = "holdfast_form"


def service_of(app: Litestar) -> service.Service:
    """The parts of the server that an application was made over."""
    found: service.Service = app.state["service"]
    return found


def _service(request: Request[Any, Any, Any]) -> service.Service:
    return service_of(request.app)


def _principal(request: Request[Any, Any, Any]) -> access.Principal:
    found: access.Principal = request.scope["state"][PRINCIPAL]
    return found


def _project(request: Request[Any, Any, Any]) -> access.OpenProject:
    found: access.OpenProject = request.scope["state"][PROJECT]
    return found


def _form(request: Request[Any, Any, Any]) -> dict[str, str]:
    found: dict[str, str] = request.scope["state"][FORM]
    return found


def _actor(request: Request[Any, Any, Any]) -> audit.Actor:
    principal: access.Principal | None = request.scope["state"].get(PRINCIPAL)
    address = client_address(request, service_of(request.app).settings.behind_proxy)
    return audit.Actor(None if principal is None else principal.name, address)


def _admin(request: Request[Any, Any, Any]) -> admin.Administration:
    return service_of(request.app).administration(_actor(request))


DEPENDENCIES: Final = {
    "service": Provide(_service, sync_to_thread=False),
    "principal": Provide(_principal, sync_to_thread=False),
    "project": Provide(_project, sync_to_thread=False),
    "form": Provide(_form, sync_to_thread=False),
    "actor": Provide(_actor, sync_to_thread=False),
    "admin": Provide(_admin, sync_to_thread=False),
}
