"""What an admin does, each thing in one transaction with its line in the audit log.

The routes below ``/api/v1/admin`` and the commands ``asset server …`` that work on the database both call these, so that they do
the same. Whether the caller may is asked before: by the guard, or by the file system that holds the database.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.errors import UsageError
from holdfast.formats.people import AuditReply, AuditRow, GroupRow, InvitationRow, MemberRow, ProjectRow
from holdfast.model.people import INVITED
from holdfast.server import accounts, identities, memberships, projects, tokens
from holdfast.server.access import Role
from holdfast.server.alone import administering
from holdfast.server.audit import list_audit, note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Row

    from holdfast.catalog.base import Clock
    from holdfast.formats.people import (
        InvitationRequest,
        MemberRequest,
        MembersRequest,
        ProjectRequest,
        UserRequest,
        UserRow,
    )
    from holdfast.server.audit import Actor
    from holdfast.server.database import Database
    from holdfast.server.secret import Vault
    from holdfast.server.settings import ServerSettings

__all__ = ["Administration"]

_PAGE = 200
_DAY = 86400
#: More than any line has as its number, and no more than a database takes.
_LAST = (1 << 63) - 1


@dataclass(frozen=True)
class Administration:
    """The deeds of an admin, done in the actor's name; in a ``dry_run`` each is taken back once it is done, with its line in the log."""

    database: Database
    settings: ServerSettings
    vault: Vault
    clock: Clock
    actor: Actor
    dry_run: bool = False

    def users(self) -> list[UserRow]:
        """Every account."""
        with self.database.read() as connection:
            return accounts.list_accounts(connection)

    def add_user(self, wanted: UserRequest) -> None:
        """A new account."""
        with self._noting("user.add", wanted.name) as (connection, now):
            accounts.add_account(
                connection, wanted.name, wanted.password, now, admin=wanted.admin, service=wanted.service
            )

    def invite(self, wanted: InvitationRequest) -> InvitationRow:
        """Whoever signs in at a provider with a verified address has an account from then on."""
        with self._noting("user.invite", wanted.email[:200], detail=wanted.name) as (connection, now):
            name = identities.invite(connection, wanted.email, wanted.name, now, admin=wanted.admin)
            return InvitationRow(wanted.email.strip().lower(), name, now, now + INVITED)

    def invitations(self) -> list[InvitationRow]:
        """The open invitations."""
        with self.database.read() as connection:
            rows = identities.list_invitations(connection, self.clock.now().timestamp())
        return [InvitationRow(row.email, row.name, row.created, row.expires) for row in rows]

    def withdraw(self, email: str) -> None:
        """Take an invitation back."""
        with self._noting("user.withdraw", email[:200]) as (connection, _):
            identities.withdraw(connection, email)

    def new_token(self, name: str) -> str:
        """A token of a service account, which cannot sign in to make its own.

        Raises:
            UsageError: it is a person's account, in whose name nobody else acts.
        """
        with self._noting("token.create", name) as (connection, now):
            row = accounts.find_account(connection, name)
            if not row.service:
                raise UsageError(f"{name} is no service account", subject=name, hint="asset token create, signed in")
            return tokens.create_token(connection, int(row.id), now, seconds=self.settings.token_days * _DAY).text

    def set_disabled(self, name: str, *, disabled: bool) -> None:
        """Shut an account out, or let it in again; it counts from its next request on."""
        with self._noting("user.disable" if disabled else "user.enable", name) as (connection, _):
            accounts.set_disabled(connection, name, disabled=disabled)

    def set_password(self, name: str, password: str) -> None:
        """Another password; the account's tokens end."""
        with self._noting("user.password", name) as (connection, _):
            accounts.set_password(connection, name, password)

    def groups(self) -> list[GroupRow]:
        """Every group."""
        with self.database.read() as connection:
            return _groups(connection)

    def add_group(self, name: str, members: list[str]) -> None:
        """A new group, with these members."""
        with self._noting("group.add", name) as (connection, _):
            accounts.add_group(connection, name)
            accounts.change_members(connection, name, members)

    def remove_group(self, name: str) -> None:
        """Take a group away, and the roles that it gave."""
        with self._noting("group.remove", name) as (connection, _):
            accounts.remove_group(connection, name)

    def change_members(self, name: str, change: MembersRequest) -> GroupRow:
        """Accounts into a group and out of it."""
        told = " ".join([*(f"+{each}" for each in change.add), *(f"-{each}" for each in change.remove)])
        with self._noting("group.members", name, detail=told) as (connection, _):
            accounts.change_members(connection, name, change.add, change.remove)
            return next(row for row in _groups(connection) if row.name == name)

    def projects(self) -> list[ProjectRow]:
        """Every project with its members, without its credentials."""
        with self.database.read() as connection:
            return [_project(connection, row) for row in projects.list_projects(connection)]

    def add_project(self, wanted: ProjectRequest) -> ProjectRow:
        """A new project."""
        with self._noting("project.add", wanted.url, project=wanted.name) as (connection, now):
            projects.add_project(connection, self.settings, self.vault, wanted, now, dry_run=self.dry_run)
            return _project(connection, projects.find_project(connection, wanted.name))

    def change_project(self, wanted: ProjectRequest) -> ProjectRow:
        """Another place or other credentials for a project."""
        with self._noting("project.change", wanted.url, project=wanted.name) as (connection, _):
            projects.change_project(connection, self.settings, self.vault, wanted)
            return _project(connection, projects.find_project(connection, wanted.name))

    def remove_project(self, name: str) -> None:
        """Forget a project; its store stays as it is."""
        with self._noting("project.remove", project=name) as (connection, _):
            projects.remove_project(connection, name)

    def members(self, project: str) -> list[MemberRow]:
        """Who has which role in a project."""
        with self.database.read() as connection:
            return _members(connection, projects.find_project(connection, project).id)

    def set_role(self, project: str, change: MemberRequest) -> list[MemberRow]:
        """Give a person or group a role in a project, or take it away."""
        with self._noting("role", change.whom, project=project, detail=change.role or "none") as (connection, _):
            row = projects.find_project(connection, project)
            role = None if change.role is None else Role.named(change.role)
            memberships.set_role(connection, row.id, change.whom, role)
            return _members(connection, row.id)

    def audit(self, before: int | None, limit: int | None) -> AuditReply:
        """A page of the audit log, the newest line first."""
        most = max(1, min(limit or _PAGE, _PAGE))
        before = None if before is None else max(0, min(before, _LAST))
        with self.database.read() as connection:
            rows = list_audit(connection, before, most)
        lines = [AuditRow(r.id, r.at, r.action, r.who, r.address, r.project, r.subject, r.detail) for r in rows]
        return AuditReply(lines, lines[-1].id if len(lines) == most else None)

    @contextmanager
    def _noting(
        self, action: str, subject: str | None = None, *, project: str | None = None, detail: str | None = None
    ) -> Iterator[tuple[Connection, float]]:
        """A transaction whose line in the audit log is written with it; one admin at a time has one."""
        now = self.clock.now().timestamp()
        with administering(self.database) as connection:
            yield connection, now
            note(connection, self.actor, now, action, subject, project=project, detail=detail)
            if self.dry_run:
                connection.rollback()


def _groups(connection: Connection) -> list[GroupRow]:
    return [
        GroupRow(name, members, {project: Role(role).word for project, role in sorted(roles.items())})
        for name, members, roles in accounts.list_groups(connection)
    ]


def _members(connection: Connection, project: int) -> list[MemberRow]:
    return [MemberRow(whom, role.word) for whom, role in memberships.roles_in(connection, project).items()]


def _project(connection: Connection, row: Row[tuple[object, ...]]) -> ProjectRow:
    members = {whom: role.word for whom, role in memberships.roles_in(connection, row.id).items()}
    return ProjectRow(row.name, row.url, row.endpoint, row.region, row.credentials, members)
