"""Projects, a project's assets, an asset's versions, a version's files, and what differs between two versions."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Final

from litestar import Request, get
from litestar.params import FromQuery
from litestar.response import Response

from holdfast.errors import HoldfastError
from holdfast.server import given, reading, searching
from holdfast.server.access import Role
from holdfast.server.histories import history
from holdfast.server.memberships import projects_of
from holdfast.server.origin import is_here
from holdfast.server.pages.rendering import page

if TYPE_CHECKING:
    from holdfast.server.access import OpenProject

__all__ = ["commands", "handlers", "project_handlers"]

_READER: Final = {"role": Role.READER}
_ASSETS: Final = 50
_FILES: Final = 200
#: So many paths of a kind are shown of a difference.
_PATHS: Final = 500


@get("/projects", opt={"signed_in": True}, sync_to_thread=True)
def projects(request: Request[Any, Any, Any], service: given.Service, principal: given.Principal) -> Response[str]:
    """The projects that one has a role in."""
    with service.database.read() as connection:
        found = projects_of(connection, principal)
    return page(request, "projects.html", projects=found)


@get("/", opt=_READER, sync_to_thread=True)
def assets(
    request: Request[Any, Any, Any],
    project: given.Project,
    service: given.Service,
    q: FromQuery[str] = "",
    after: FromQuery[str | None] = None,
) -> Response[str]:
    """A project's assets, or those in which all the words are found."""
    service.scans.ensure(project)
    if q.strip():
        found = searching.search(service.database, project.id, q, None, after, _ASSETS)
    else:
        found = searching.list_assets(service.database, project.id, None, after, _ASSETS)
    return page(request, "assets.html", project=project, found=found, q=q, admin=project.role >= Role.ADMIN)


@get("/asset", opt=_READER, sync_to_thread=True)
def asset(
    request: Request[Any, Any, Any],
    project: given.Project,
    service: given.Service,
    name: FromQuery[str],
    after: FromQuery[str | None] = None,
) -> Response[str]:
    """An asset's versions."""
    found = history(project, service, name, after)
    typed = commands(request, project, name)
    return page(request, "asset.html", project=project, asset=found, commands=typed)


@get("/version", opt=_READER, sync_to_thread=True)
def version(
    request: Request[Any, Any, Any],
    project: given.Project,
    service: given.Service,
    name: FromQuery[str],
    version: FromQuery[str],
    after: FromQuery[str | None] = None,
) -> Response[str]:
    """A version: what its meta says, and a page of its files."""
    answer = service.resolving.resolve(project, f"{name}:{version}")
    state = service.resolving.state(project, answer.name)
    every, aliases = state.listed.versions, state.record.aliases
    older = every[every.index(answer.version) + 1 :] if answer.version in every else ()
    files, problem = None, None
    try:
        spec = f"{answer.name}:{answer.version}"
        files = reading.files(project.store, project.catalog, spec, after, _FILES)
    except HoldfastError as error:
        problem = error
    return page(
        request,
        "version.html",
        project=project,
        name=answer.name,
        version=answer.version,
        meta=answer.published.meta,
        before=next((each for each in older if each not in state.record.tombstones), None),
        aliases=sorted(alias for alias, target in aliases.items() if target == answer.version),
        files=files,
        problem=problem,
        commands=commands(request, project, f"{answer.name}:{answer.version}"),
    )


@get("/diff", opt=_READER, sync_to_thread=True)
def diff(
    request: Request[Any, Any, Any],
    project: given.Project,
    name: FromQuery[str],
    one: FromQuery[str],
    other: FromQuery[str],
) -> Response[str]:
    """What changed from one version of an asset to another."""
    first, _, _ = reading.resolve(project.store, project.catalog, f"{name}:{one}")
    found, before, after = reading.compared(project.store, project.catalog, f"{name}:{one}", f"{name}:{other}")
    kinds = [("Added", found.added, after), ("Removed", found.removed, before), ("Changed", found.changed, after)]
    typed = f"asset --store {shlex.quote(_store(request, project))} diff {first}:{one} {first}:{other}"
    return page(
        request,
        "diff.html",
        project=project,
        name=first,
        one=one,
        other=other,
        found=found,
        kinds=[
            (title, [(each, each in files) for each in paths[:_PATHS]], len(paths)) for title, paths, files in kinds
        ],
        commands=[typed],
    )


def commands(request: Request[Any, Any, Any], project: OpenProject, spec: str) -> list[str]:
    """What one types to have it. A path that a terminal would take for more than text is in no command."""
    if not spec.isprintable():
        return []
    return [f"asset --store {shlex.quote(_store(request, project))} fetch {shlex.quote(spec)}"]


def _store(request: Request[Any, Any, Any], project: OpenProject) -> str:
    """The project's URL, at the address by which the browser knows this server."""
    proxies = given.service_of(request.app).settings.behind_proxy
    plain = request.scope["scheme"] == "http" and not proxies and is_here(request.scope, proxies)
    host = request.headers.get("host", "")
    return f"{'http' if plain else 'https'}://{host if host.isprintable() else ''}/{project.name}"


handlers = [projects]
project_handlers = [assets, asset, version, diff]
