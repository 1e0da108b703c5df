"""An admin's deeds at a server that runs: each a request with the admin's own token, and in the audit log under that name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from holdfast.errors import AccessError, NotFoundError
from holdfast.formats.people import (
    GroupRow,
    MemberRequest,
    MemberRow,
    MembersRequest,
    PasswordRequest,
    ProjectRequest,
    ProjectRow,
    ServiceTokenReply,
    UserRequest,
    UserRow,
)

if TYPE_CHECKING:
    from holdfast.formats.api import Request
    from holdfast.remote import Server

__all__ = ["RemoteAdministration"]

Reply = TypeVar("Reply")
_NOTHING: type[None] = type(None)


@dataclass(frozen=True, slots=True)
class RemoteAdministration:
    """The deeds of ``holdfast.server.admin``, asked of a server. What it refuses is raised as there."""

    server: Server

    def users(self) -> list[UserRow]:
        """Every account."""
        return self._ask("GET", list[UserRow], "users")

    def add_user(self, wanted: UserRequest) -> None:
        """A new account."""
        self._ask("POST", _NOTHING, "users", body=wanted)

    def new_token(self, name: str) -> str:
        """A token of a service account, told this once."""
        return self._ask("POST", ServiceTokenReply, "users", name, "tokens").token

    def set_disabled(self, name: str, *, disabled: bool) -> None:
        """Shut an account out, or let it in again."""
        self._ask("POST", _NOTHING, "users", name, "disable" if disabled else "enable")

    def set_password(self, name: str, password: str) -> None:
        """Another password; the account's tokens end."""
        self._ask("POST", _NOTHING, "users", name, "password", body=PasswordRequest(password))

    def add_group(self, name: str, members: list[str]) -> None:
        """A new group, with these members."""
        self._ask("POST", _NOTHING, "groups", body=MembersRequest(name, members))

    def remove_group(self, name: str) -> None:
        """Take a group away, and the roles that it gave."""
        self._ask("DELETE", _NOTHING, "groups", name)

    def change_members(self, name: str, change: MembersRequest) -> GroupRow:
        """Accounts into a group and out of it."""
        return self._ask("POST", GroupRow, "groups", name, "members", body=change)

    def projects(self) -> list[ProjectRow]:
        """Every project with its members."""
        return self._ask("GET", list[ProjectRow], "projects")

    def add_project(self, wanted: ProjectRequest) -> ProjectRow:
        """A new project."""
        return self._ask("POST", ProjectRow, "projects", body=wanted)

    def remove_project(self, name: str) -> None:
        """Forget a project; its store stays as it is."""
        self._ask("DELETE", _NOTHING, "projects", name)

    def set_role(self, project: str, change: MemberRequest) -> list[MemberRow]:
        """Give a person or a group a role in a project, or take it away; an admin of the project may, too.

        Raises:
            NotFoundError: there is no such project, which only an admin of the server is told.
        """
        try:
            return self.server.ask("PUT", f"projects/{_piece(project)}/members", list[MemberRow], body=change)
        except AccessError:
            if project in {each.name for each in self.projects()}:
                raise
            raise NotFoundError(f"no project {project!r}", subject=project, hint="asset server project list") from None

    def _ask(self, method: str, reply: type[Reply], *pieces: str, body: Request | None = None) -> Reply:
        """The answer of a route of admins. Sent once: what is done must not be answered with 'it is there already'."""
        route = "/".join(("admin", *map(_piece, pieces)))
        return self.server.ask(method, route, reply, body=body, again=method == "GET")


def _piece(name: str) -> str:
    return quote(name, safe="")
