"""``asset server group`` and ``role``: who may do what on a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from holdfast.cli.administration import confirmed, reached, reaching, told
from holdfast.cli.options import Session, command, group, print_help
from holdfast.cli.output import print_json, print_lines

if TYPE_CHECKING:
    from holdfast.cli.administration import Place

__all__ = ["group_command", "role_command"]


@group("group")
def group_command(context: click.Context) -> None:
    """Put accounts into groups, to which roles are given as to people.

    Examples:
      asset server group add vision ann bob --data /srv/holdfast
      asset server group members vision --add eve --remove bob --server https://assets.example.com
    """
    print_help(context)


@command("add")
@click.argument("name")
@click.argument("members", nargs=-1)
@reaching
def group_add_command(session: Session, name: str, members: tuple[str, ...], *, place: Place) -> None:
    """Add a group, with these accounts in it.

    Examples:
      asset server group add vision ann bob --data /srv/holdfast
    """
    with reached(session, place, make=True) as deeds:
        deeds.add_group(name, list(members))
    told(session, {"name": name, "members": sorted(members)}, f"the group {name} has {len(members)} members")


@command("remove")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask on a terminal.")
@reaching
def group_remove_command(session: Session, name: str, *, yes: bool, place: Place) -> None:
    """Take a group away, and the roles that it gave.

    Examples:
      asset server group remove vision --data /srv/holdfast
    """
    confirmed(session, f"Remove the group {name}, and the roles that it gives?", yes=yes)
    with reached(session, place) as deeds:
        deeds.remove_group(name)
    told(session, {"name": name}, f"the group {name} is gone")


@command("members")
@click.argument("name")
@click.option("--add", metavar="NAME", multiple=True, help="Put an account in; as often as you like.")
@click.option("--remove", metavar="NAME", multiple=True, help="Take an account out.")
@reaching
def group_members_command(
    session: Session, name: str, *, add: tuple[str, ...], remove: tuple[str, ...], place: Place
) -> None:
    """Change who is in a group, and list them.

    Examples:
      asset server group members vision --add eve --data /srv/holdfast
    """
    with reached(session, place) as deeds:
        from holdfast.formats.people import MembersRequest

        row = deeds.change_members(name, MembersRequest(None, list(add), list(remove)))
    if session.json:
        print_json({"name": row.name, "members": row.members, "roles": row.roles})
    else:
        print_lines(row.members)


for _each in (group_add_command, group_remove_command, group_members_command):
    group_command.add_command(_each)


@command("role")
@click.argument("project")
@click.argument("whom", metavar="USER|@GROUP")
@click.argument("role", type=click.Choice(["reader", "writer", "admin", "none"]))
@reaching
def role_command(
    session: Session, project: str, whom: str, role: Literal["reader", "writer", "admin", "none"], *, place: Place
) -> None:
    """Give a person or a group a role in a project, or take it away.

    A reader fetches, a writer pushes too, an admin of the project gives roles in it. It counts from the next request on.

    Examples:
      asset server role models bob writer --data /srv/holdfast
      asset server role models @vision reader --data /srv/holdfast
      asset server role models bob none --data /srv/holdfast
    """
    with reached(session, place) as deeds:
        from holdfast.formats.people import MemberRequest

        change = MemberRequest(whom, None if role == "none" else role)
        rows = deeds.set_role(project, change)
    members = {row.whom: row.role for row in rows}
    told(session, {"project": project, "members": members}, f"{whom} is {role} in {project}")
