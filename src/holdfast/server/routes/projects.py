"""The projects that one has a role in."""

from __future__ import annotations

from litestar import get

from holdfast.formats.api import ProjectReply
from holdfast.server import given
from holdfast.server.memberships import projects_of

__all__ = ["handlers"]


@get("/projects", opt={"signed_in": True}, sync_to_thread=True)
def list_projects(principal: given.Principal, service: given.Service) -> list[ProjectReply]:
    """The projects that the token opens, with the role that it has there."""
    with service.database.read() as connection:
        return projects_of(connection, principal)


handlers = [list_projects]
