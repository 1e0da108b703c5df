"""What a server and its admins say to each other: accounts, groups, roles, projects, the audit log. As ``formats.api``.

Routes below ``/api/v1/admin`` (an admin of the server)::

    GET  users                     [UserRow]
    POST users                     UserRequest
    POST users/{name}/enable|disable
    POST users/{name}/password     PasswordRequest    the account's tokens end
    GET  invitations               [InvitationRow]
    POST invitations               InvitationRequest  InvitationRow; to sign in at a provider
    DELETE invitations?email       the account stays
    POST users/{name}/tokens       ServiceTokenReply  a service account's
    GET  groups                    [GroupRow]
    POST groups                    MembersRequest     a new group
    POST groups/{name}/members     MembersRequest     GroupRow
    DELETE groups/{name}
    GET  projects                  [ProjectRow]
    POST projects                  ProjectRequest     ProjectRow
    PUT  projects/{name}           ProjectRequest     ProjectRow; another place or other credentials
    DELETE projects/{name}
    GET  audit?before&limit        AuditReply

Below ``/api/v1/projects/{project}`` (an admin of the project)::

    GET  members                   [MemberRow]
    PUT  members                   MemberRequest      [MemberRow]
"""

from __future__ import annotations

from holdfast.formats.api import Reply, Request, Role

__all__ = [
    "AuditReply",
    "AuditRow",
    "GroupRow",
    "InvitationRequest",
    "InvitationRow",
    "MemberRequest",
    "MemberRow",
    "MembersRequest",
    "PasswordRequest",
    "ProjectRequest",
    "ProjectRow",
    "ServiceTokenReply",
    "UserRequest",
    "UserRow",
]


class UserRequest(Request, frozen=True):
    """A new account; a service has no password."""

    name: str
    password: str | None = None
    admin: bool = False
    service: bool = False


class PasswordRequest(Request, frozen=True):
    """Another password."""

    password: str


class ServiceTokenReply(Reply, frozen=True):
    """A new token of a service account, the only time that its text is told."""

    name: str
    token: str


class UserRow(Reply, frozen=True, omit_defaults=False):
    """An account as it is listed."""

    name: str
    admin: bool
    service: bool
    disabled: bool
    groups: list[str]


class InvitationRequest(Request, frozen=True):
    """Whoever signs in with this verified address has this account (None: one of the address's name), made where there is none."""

    email: str
    name: str | None = None
    admin: bool = False


class InvitationRow(Reply, frozen=True):
    """An open invitation."""

    email: str
    name: str
    created: float
    expires: float


class MembersRequest(Request, frozen=True):
    """Accounts into a group and out of it; ``name`` is that of a new group."""

    name: str | None = None
    add: list[str] = []  # noqa: RUF012 - msgspec copies it
    remove: list[str] = []  # noqa: RUF012


class GroupRow(Reply, frozen=True, omit_defaults=False):
    """A group, its members, and the roles that it gives by project."""

    name: str
    members: list[str]
    roles: dict[str, Role]


class MemberRequest(Request, frozen=True):
    """A role in the project for a person, or a group as ``@name``; None takes it away."""

    whom: str
    role: Role | None = None


class MemberRow(Reply, frozen=True):
    """Somebody with a role in a project."""

    whom: str
    role: Role


class ProjectRequest(Request, frozen=True):
    """A project: its store, and the credentials of its own (a cloud's variables by name), or the server's own."""

    name: str
    url: str | None = None
    endpoint: str | None = None
    region: str | None = None
    credentials: dict[str, str] | None = None
    server: bool = False


class ProjectRow(Reply, frozen=True, omit_defaults=False):
    """A project as it is listed; never its credentials, only whose they are: ``none``, ``own`` or ``server``."""

    name: str
    url: str
    endpoint: str | None
    region: str | None
    credentials: str
    members: dict[str, Role]


class AuditRow(Reply, frozen=True):
    """A line of the audit log."""

    id: int
    at: float
    action: str
    who: str | None = None
    address: str | None = None
    project: str | None = None
    subject: str | None = None
    detail: str | None = None


class AuditReply(Reply, frozen=True):
    """Lines, the newest first; ``next`` is what to give as ``before``, None at the end."""

    lines: list[AuditRow]
    next: int | None = None
