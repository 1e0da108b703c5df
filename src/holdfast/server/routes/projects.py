"""The projects that one has a role in, and who else has one there."""

from __future__ import annotations

from litestar import get, put
from litestar.params import JSONBody

from holdfast.formats.api import ProjectReply
from holdfast.formats.people import MemberRequest, MemberRow
from holdfast.server import given
from holdfast.server.access import Role
from holdfast.server.memberships import projects_of

__all__ = ["handlers", "project_handlers"]


@get("/projects", opt={"signed_in": True}, sync_to_thread=True)
def list_projects(principal: given.Principal, service: given.Service) -> list[ProjectReply]:
    """The projects that the token opens, with the role that it has there."""
    with service.database.read() as connection:
        return projects_of(connection, principal)


@get("/members", opt={"role": Role.ADMIN}, sync_to_thread=True)
def members(project: given.Project, admin: given.Admin) -> list[MemberRow]:
    """Who has which role in the project."""
    return admin.members(project.name)


@put("/members", opt={"role": Role.ADMIN}, sync_to_thread=True)
def set_role(project: given.Project, data: JSONBody[MemberRequest], admin: given.Admin) -> list[MemberRow]:
    """Give a person or group a role in the project, or take it away."""
    return admin.set_role(project.name, data)


handlers = [list_projects]
project_handlers = [members, set_role]
