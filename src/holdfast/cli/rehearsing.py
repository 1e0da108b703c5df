"""An admin's deeds at a server that runs, as they would be: it is asked what there is, by the routes that tell it, and never to do anything.

What only the server knows is not judged: what its operator allows as a project's store, and how long something lives there.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.cli.remotely import RemoteAdministration, absent
from holdfast.errors import AccessError, AlreadyExistsError, ConflictError, NotFoundError, UsageError
from holdfast.formats.people import GroupRow, InvitationRow, MemberRow, ProjectRow
from holdfast.model.people import INVITED, address_of, check_account, check_password, check_project

if TYPE_CHECKING:
    from holdfast.formats.people import (
        InvitationRequest,
        MemberRequest,
        MembersRequest,
        ProjectRequest,
        UserRequest,
        UserRow,
    )
    from holdfast.remote import Server

__all__ = ["RemoteRehearsal"]


@dataclass(frozen=True, slots=True)
class RemoteRehearsal:
    """The deeds of ``holdfast.server.admin``: each is refused as there, as far as what the server tells says it, and told, and not done."""

    server: Server

    @property
    def _there(self) -> RemoteAdministration:
        return RemoteAdministration(self.server)

    def users(self) -> list[UserRow]:
        """Every account."""
        return self._there.users()

    def add_user(self, wanted: UserRequest) -> None:
        """A new account."""
        accounts = {row.name for row in self.users()}
        check_account(wanted.name)
        if wanted.password is not None:
            check_password(wanted.password)
        if wanted.name in accounts:
            raise AlreadyExistsError(f"there is an account {wanted.name} already", subject=wanted.name)

    def invite(self, wanted: InvitationRequest) -> InvitationRow:
        """Somebody with a verified address."""
        accounts = {row.name: row for row in self.users()}
        address, name = address_of(wanted.email), str(wanted.name)
        row = accounts.get(name)
        if row is None:
            check_account(name)
        elif row.service:
            raise UsageError("a service account signs in with its token alone", subject=name)
        elif wanted.admin and not row.admin:
            raise ConflictError(f"{name} is an account already, and no admin", subject=name)
        now = time.time()
        return InvitationRow(address, name, now, now + INVITED)

    def invitations(self) -> list[InvitationRow]:
        """The open invitations."""
        return self._there.invitations()

    def withdraw(self, email: str) -> None:
        """Take an invitation back."""
        if email.strip().lower() not in {row.email for row in self.invitations()}:
            raise NotFoundError("no such invitation", subject=email[:100], hint="asset server invite list")

    def new_token(self, name: str) -> str:
        """No token is made: there is nothing to tell."""
        self._account(name)
        return ""

    def set_disabled(self, name: str, *, disabled: bool) -> None:
        """Shut an account out, or let it in again."""
        row = self._account(name)
        others = [each for each in self.users() if each.admin and not each.disabled and each.name != name]
        if disabled and row.admin and not others:
            raise ConflictError(f"{name} is the last admin", subject=name, hint="make another admin first")

    def set_password(self, name: str, password: str) -> None:
        """Another password."""
        if self._account(name).service:
            raise UsageError("a service account has no password", subject=name)
        check_password(password)

    def add_group(self, name: str, members: list[str]) -> None:
        """A new group."""
        groups = {row.name for row in self._there.groups()}
        check_account(name)
        if name in groups:
            raise AlreadyExistsError(f"there is a group {name} already", subject=name)
        self._require(members)

    def remove_group(self, name: str) -> None:
        """Take a group away."""
        self._group(name)

    def change_members(self, name: str, change: MembersRequest) -> GroupRow:
        """Accounts into a group and out of it."""
        row = self._group(name)
        self._require([*change.remove, *change.add])
        return GroupRow(row.name, sorted({*row.members}.difference(change.remove).union(change.add)), row.roles)

    def projects(self) -> list[ProjectRow]:
        """Every project."""
        return self._there.projects()

    def add_project(self, wanted: ProjectRequest) -> ProjectRow:
        """A new project; without a URL of its own it has none yet, for the server chooses it."""
        projects = {row.name for row in self.projects()}
        check_project(wanted.name)
        if wanted.name in projects:
            raise AlreadyExistsError(f"there is a project {wanted.name} already", subject=wanted.name)
        if wanted.credentials is not None and wanted.server:
            raise UsageError("a project has its own credentials or the server's", subject="credentials")
        kind = "server" if wanted.server else "none" if wanted.credentials is None else "own"
        return ProjectRow(wanted.name, wanted.url or "", wanted.endpoint, wanted.region, kind, {})

    def remove_project(self, name: str) -> None:
        """Forget a project."""
        if name not in {row.name for row in self.projects()}:
            raise absent("projects", name)

    def set_role(self, project: str, change: MemberRequest) -> list[MemberRow]:
        """Give a role in a project, or take it away. Who there is, an admin of the project alone is not told."""
        found = {row.whom: row.role for row in self._there.members(project)}
        try:
            if change.whom.startswith("@"):
                self._group(change.whom[1:])
            else:
                self._account(change.whom)
        except AccessError:
            pass
        found.pop(change.whom, None)
        if change.role is not None:
            found[change.whom] = change.role
        return [MemberRow(whom, role) for whom, role in sorted(found.items())]

    def _account(self, name: str) -> UserRow:
        row = next((row for row in self.users() if row.name == name), None)
        if row is None:
            raise absent("users", name)
        return row

    def _group(self, name: str) -> GroupRow:
        row = next((row for row in self._there.groups() if row.name == name), None)
        if row is None:
            raise absent("groups", name)
        return row

    def _require(self, names: list[str]) -> None:
        """Raise NotFoundError for the first account that there is not."""
        known = {row.name for row in self.users()} if names else set()
        for name in names:
            if name not in known:
                raise absent("users", name)
