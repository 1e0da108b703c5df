"""``asset server group`` and ``role``: who may do what on a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from holdfast.cli.administration import confirmed, reached, reaching, told
from holdfast.cli.options import Session, command, dry_run, group, print_help
from holdfast.cli.output import marked, print_json, print_lines

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
@dry_run
@reaching
def group_add_command(session: Session, name: str, members: tuple[str, ...], *, dry_run: bool, place: Place) -> None:
    """Add a group, with these accounts in it.

    Examples:
      asset server group add vision ann bob --data /srv/holdfast
    """
    with reached(session, place, make=True, dry_run=dry_run) as deeds:
        deeds.add_group(name, list(members))
    text = f"the group {name} {'would have' if dry_run else 'has'} {len(members)} members"
    told(session, {"name": name, "members": sorted(members)}, text, dry_run=dry_run)


@command("remove")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask on a terminal.")
@dry_run
@reaching
def group_remove_command(session: Session, name: str, *, yes: bool, dry_run: bool, place: Place) -> None:
    """Take a group away, and the roles that it gave.

    Examples:
      asset server group remove vision --data /srv/holdfast
    """
    confirmed(session, f"Remove the group {name}, and the roles that it gives?", yes=yes or dry_run)
    with reached(session, place, dry_run=dry_run) as deeds:
        deeds.remove_group(name)
    told(session, {"name": name}, f"the group {name} {'would be' if dry_run else 'is'} gone", dry_run=dry_run)


@command("members")
@click.argument("name")
@click.option("--add", metavar="NAME", multiple=True, help="Put an account in; as often as you like.")
@click.option("--remove", metavar="NAME", multiple=True, help="Take an account out.")
@dry_run
@reaching
def group_members_command(
    session: Session, name: str, *, add: tuple[str, ...], remove: tuple[str, ...], dry_run: bool, place: Place
) -> None:
    """Change who is in a group, and list them.

    Examples:
      asset server group members vision --add eve --data /srv/holdfast
    """
    with reached(session, place, dry_run=dry_run) as deeds:
        from holdfast.formats.people import MembersRequest

        row = deeds.change_members(name, MembersRequest(None, list(add), list(remove)))
    if session.json:
        print_json(marked({"name": row.name, "members": row.members, "roles": row.roles}, dry_run=dry_run))
    elif dry_run:
        print_lines([f"the group {row.name} would have {', '.join(row.members) or 'no members'}"])
    else:
        print_lines(row.members)


for _each in (group_add_command, group_remove_command, group_members_command):
    group_command.add_command(_each)


@command("role")
@click.argument("project")
@click.argument("whom", metavar="USER|@GROUP")
@click.argument("role", type=click.Choice(["reader", "writer", "admin", "none"]))
@dry_run
@reaching
def role_command(
    session: Session,
    project: str,
    whom: str,
    role: Literal["reader", "writer", "admin", "none"],
    *,
    dry_run: bool,
    place: Place,
) -> None:
    """Give a person or a group a role in a project, or take it away.

    A reader fetches, a writer pushes too, an admin of the project gives roles in it. It counts from the next request on.

    Examples:
      asset server role models bob writer --data /srv/holdfast
      asset server role models @vision reader --data /srv/holdfast
      asset server role models bob none --data /srv/holdfast
    """
    with reached(session, place, dry_run=dry_run) as deeds:
        from holdfast.formats.people import MemberRequest

        change = MemberRequest(whom, None if role == "none" else role)
        rows = deeds.set_role(project, change)
    members = {row.whom: row.role for row in rows}
    text = f"{whom} {'would be' if dry_run else 'is'} {role} in {project}"
    told(session, {"project": project, "members": members}, text, dry_run=dry_run)
