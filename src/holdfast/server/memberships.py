"""Roles in projects: who has which, given to a person or to a group, and the projects that somebody has a role in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, literal, select, union_all

from holdfast.formats.api import ProjectReply
from holdfast.server.access import Role
from holdfast.server.accounts import find_account, find_group
from holdfast.server.tables import account_roles, accounts, group_roles, groups, members, projects, tokens

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from holdfast.server.access import Principal

__all__ = ["projects_of", "roles_in", "set_role"]


def set_role(connection: Connection, project: int, whom: str, role: Role | None) -> None:
    """Give a person, or ``@group``, a role in a project; None takes it away.

    Raises:
        NotFoundError: there is nobody of that name.
    """
    if whom.startswith("@"):
        table, column, number = group_roles, group_roles.c.group, find_group(connection, whom[1:])
    else:
        table, column, number = account_roles, account_roles.c.account, int(find_account(connection, whom).id)
    connection.execute(delete(table).where(table.c.project == project, column == number))
    if role is not None:
        connection.execute(insert(table).values({"project": project, column.name: number, "role": int(role)}))


def roles_in(connection: Connection, project: int) -> dict[str, Role]:
    """Who has which role in a project: names, and groups as ``@name``."""
    people = select(accounts.c.name, account_roles.c.role).join(accounts, accounts.c.id == account_roles.c.account)
    shared = select(groups.c.name, group_roles.c.role).join(groups, groups.c.id == group_roles.c.group)
    found = {name: Role(role) for name, role in connection.execute(people.where(account_roles.c.project == project))}
    for name, role in connection.execute(shared.where(group_roles.c.project == project)):
        found[f"@{name}"] = Role(role)
    return dict(sorted(found.items()))


def projects_of(connection: Connection, who: Principal) -> list[ProjectReply]:
    """The projects that a token opens, with the role that it has there; by name."""
    scope = connection.execute(select(tokens.c.project, tokens.c.role).where(tokens.c.id == who.token)).one()
    admin = connection.execute(select(accounts.c.admin).where(accounts.c.id == who.account)).scalar_one()
    own = select(account_roles.c.project, account_roles.c.role).where(account_roles.c.account == who.account)
    shared = (
        select(group_roles.c.project, group_roles.c.role)
        .join(members, members.c.group == group_roles.c.group)
        .where(members.c.account == who.account)
    )
    every = select(projects.c.id, literal(int(Role.ADMIN)))
    best: dict[int, int] = {}
    for project, role in connection.execute(every if admin else union_all(own, shared)):
        best[project] = max(role, best.get(project, 0))
    found = []
    for number, name, url in connection.execute(select(projects.c.id, projects.c.name, projects.c.url)):
        if number in best and scope.project in (None, number):
            role = Role(min(best[number], scope.role or Role.ADMIN))
            found.append(ProjectReply(name, role.word, url))
    return sorted(found, key=lambda each: each.name)
