"""An admin's deeds at a server that runs: each a request with the admin's own token, and in the audit log under that name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import quote

from holdfast.errors import AccessError, NotFoundError
from holdfast.formats.people import (
    GroupRow,
    InvitationRequest,
    InvitationRow,
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

__all__ = ["RemoteAdministration", "absent"]

Reply = TypeVar("Reply")
_NOTHING: type[None] = type(None)
#: What the routes are about, and the command that lists the names.
_NAMED: Final = {
    "users": ("account", "asset server user list"),
    "groups": ("group", "asset server user list"),
    "projects": ("project", "asset server project list"),
}


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

    def invite(self, wanted: InvitationRequest) -> InvitationRow:
        """Somebody with a verified address."""
        return self._ask("POST", InvitationRow, "invitations", body=wanted)

    def invitations(self) -> list[InvitationRow]:
        """The open invitations."""
        return self._ask("GET", list[InvitationRow], "invitations")

    def withdraw(self, email: str) -> None:
        """Take an invitation back; the account stays."""
        query = {"email": email}
        self.server.ask("DELETE", "admin/invitations", _NOTHING, query=query, again=False)

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

    def groups(self) -> list[GroupRow]:
        """Every group."""
        return self._ask("GET", list[GroupRow], "groups")

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
        return self._members("PUT", project, change)

    def members(self, project: str) -> list[MemberRow]:
        """Who has which role in a project.

        Raises:
            NotFoundError: as above.
        """
        return self._members("GET", project)

    def _members(self, method: str, project: str, change: MemberRequest | None = None) -> list[MemberRow]:
        route = _route("projects", project, "members")
        try:
            return self.server.ask(method, route, list[MemberRow], body=change)
        except AccessError:
            if project in {each.name for each in self.projects()}:
                raise
            raise absent("projects", project) from None

    def _ask(self, method: str, reply: type[Reply], *pieces: str, body: Request | None = None) -> Reply:
        """The answer of a route of admins. Sent once: what is done must not be answered with 'it is there already'."""
        return self.server.ask(method, f"admin/{_route(*pieces)}", reply, body=body, again=method == "GET")


def _route(about: str, name: str | None = None, *more: str) -> str:
    """A route about a name; one that cannot be a piece of a path is nobody's, and nobody is asked."""
    if name is None:
        return about
    if "/" in name or name in ("", ".", ".."):
        raise absent(about, name)
    return "/".join((about, quote(name, safe=""), *more))


def absent(about: str, name: str) -> NotFoundError:
    """What a server says where there is nothing of that name."""
    what, hint = _NAMED[about]
    return NotFoundError(f"no {what} {name!r}", subject=name, hint=hint)
