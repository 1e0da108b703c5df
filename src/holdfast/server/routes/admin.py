"""What admins of the server do: accounts, groups, projects, the audit log."""

from __future__ import annotations

from litestar import delete, get, post, put
from litestar.params import FromPath, FromQuery, JSONBody

from holdfast.errors import UsageError
from holdfast.formats.people import (
    AuditReply,
    GroupRow,
    InvitationRequest,
    InvitationRow,
    MembersRequest,
    PasswordRequest,
    ProjectRequest,
    ProjectRow,
    ServiceTokenReply,
    UserRequest,
    UserRow,
)
from holdfast.server import given

__all__ = ["handlers"]

_ADMIN = {"server_admin": True}


@get("/admin/users", opt=_ADMIN, sync_to_thread=True)
def users(admin: given.Admin) -> list[UserRow]:
    """Every account."""
    return admin.users()


@post("/admin/users", opt=_ADMIN, status_code=204, sync_to_thread=True)
def add_user(data: JSONBody[UserRequest], admin: given.Admin) -> None:
    """A new account."""
    admin.add_user(data)


@post("/admin/users/{name:str}/enable", opt=_ADMIN, status_code=204, sync_to_thread=True)
def enable(name: FromPath[str], admin: given.Admin) -> None:
    """Let an account in again."""
    admin.set_disabled(name, disabled=False)


@post("/admin/users/{name:str}/disable", opt=_ADMIN, status_code=204, sync_to_thread=True)
def disable(name: FromPath[str], admin: given.Admin) -> None:
    """Shut an account out, from its next request on."""
    admin.set_disabled(name, disabled=True)


@post("/admin/users/{name:str}/password", opt=_ADMIN, status_code=204, sync_to_thread=True)
def set_password(name: FromPath[str], data: JSONBody[PasswordRequest], admin: given.Admin) -> None:
    """Another password; the account's tokens end."""
    admin.set_password(name, data.password)


@get("/admin/invitations", opt=_ADMIN, sync_to_thread=True)
def invitations(admin: given.Admin) -> list[InvitationRow]:
    """The open invitations."""
    return admin.invitations()


@post("/admin/invitations", opt=_ADMIN, status_code=200, sync_to_thread=True)
def invite(data: JSONBody[InvitationRequest], admin: given.Admin) -> InvitationRow:
    """Whoever signs in at a provider with a verified address has an account from then on."""
    return admin.invite(data)


@delete("/admin/invitations", opt=_ADMIN, status_code=204, sync_to_thread=True)
def withdraw(admin: given.Admin, email: FromQuery[str]) -> None:
    """Take an invitation back."""
    admin.withdraw(email)


@post("/admin/users/{name:str}/tokens", opt=_ADMIN, status_code=201, sync_to_thread=True)
def new_token(name: FromPath[str], admin: given.Admin) -> ServiceTokenReply:
    """A token of a service account, which cannot sign in to make its own; told this once."""
    return ServiceTokenReply(name, admin.new_token(name))


@get("/admin/groups", opt=_ADMIN, sync_to_thread=True)
def groups(admin: given.Admin) -> list[GroupRow]:
    """Every group, its members, and the roles that it gives."""
    return admin.groups()


@post("/admin/groups", opt=_ADMIN, status_code=204, sync_to_thread=True)
def add_group(data: JSONBody[MembersRequest], admin: given.Admin) -> None:
    """A new group."""
    if data.name is None or data.remove:
        raise UsageError("a new group has a name and members to add", subject="name")
    admin.add_group(data.name, data.add)


@post("/admin/groups/{name:str}/members", opt=_ADMIN, status_code=200, sync_to_thread=True)
def change_members(name: FromPath[str], data: JSONBody[MembersRequest], admin: given.Admin) -> GroupRow:
    """Accounts into a group and out of it."""
    return admin.change_members(name, data)


@delete("/admin/groups/{name:str}", opt=_ADMIN, status_code=204, sync_to_thread=True)
def remove_group(name: FromPath[str], admin: given.Admin) -> None:
    """Take a group away, and the roles that it gave."""
    admin.remove_group(name)


@get("/admin/projects", opt=_ADMIN, sync_to_thread=True)
def projects(admin: given.Admin) -> list[ProjectRow]:
    """Every project and its members, never its credentials."""
    return admin.projects()


@post("/admin/projects", opt=_ADMIN, status_code=201, sync_to_thread=True)
def add_project(data: JSONBody[ProjectRequest], admin: given.Admin) -> ProjectRow:
    """A new project."""
    return admin.add_project(data)


@put("/admin/projects/{name:str}", opt=_ADMIN, sync_to_thread=True)
def change_project(name: FromPath[str], data: JSONBody[ProjectRequest], admin: given.Admin) -> ProjectRow:
    """Another place or other credentials for a project."""
    if data.name != name:
        raise UsageError("a project keeps its name", subject="name")
    return admin.change_project(data)


@delete("/admin/projects/{name:str}", opt=_ADMIN, status_code=204, sync_to_thread=True)
def remove_project(name: FromPath[str], admin: given.Admin) -> None:
    """Forget a project; its store stays as it is."""
    admin.remove_project(name)


@get("/admin/audit", opt=_ADMIN, sync_to_thread=True)
def audit(admin: given.Admin, before: FromQuery[int | None] = None, limit: FromQuery[int | None] = None) -> AuditReply:
    """The audit log, the newest line first."""
    return admin.audit(before, limit)


handlers = [
    users,
    add_user,
    enable,
    disable,
    set_password,
    invitations,
    invite,
    withdraw,
    new_token,
    groups,
    add_group,
    change_members,
    remove_group,
    projects,
    add_project,
    change_project,
    remove_project,
    audit,
]
