"""``asset server user``, ``group``, ``role`` and ``project``: who may do what on a server, and where its projects' stores are.

No secret is ever an argument: passwords and credentials come on stdin, or in a file.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from holdfast.cli.administration import administration, placed
from holdfast.cli.options import Session, command, group
from holdfast.cli.output import print_json, print_lines, print_table
from holdfast.errors import LocalError, UsageError

if TYPE_CHECKING:
    from holdfast.cli.administration import Place

__all__ = ["group_command", "project_command", "role_command", "user_command"]


def _told(session: Session, value: dict[str, Any], text: str) -> None:
    if session.json:
        print_json(value)
    elif not session.quiet:
        print_lines([text])


# accounts


@group("user")
def user_command(context: click.Context) -> None:
    """Add accounts to a server, list them, shut them out and let them in.

    Examples:
      asset server user add ann --admin --password-stdin --data /srv/holdfast < password
      asset server user list --data /srv/holdfast
      asset server user disable bob --data /srv/holdfast
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@command("add")
@click.argument("name")
@click.option("--admin", is_flag=True, help="An admin of the server.")
@click.option("--service", is_flag=True, help="For a program: no password; a token is made and printed, this once.")
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin, one line.")
@placed
def user_add_command(
    session: Session, name: str, *, admin: bool, service: bool, password_stdin: bool, place: Place
) -> None:
    """Add an account.

    A password has 10 characters or more. On a terminal it is asked for.

    Examples:
      asset server user add ann --admin --password-stdin --data /srv/holdfast < password
      asset server user add ci --service --data /srv/holdfast
    """
    if service and password_stdin:
        raise UsageError("a service account has no password", subject=name)
    password = None if service else _password(session, stdin=password_stdin)
    with administration(session, place) as deeds:
        from holdfast.formats.people import UserRequest

        deeds.add_user(UserRequest(name, password, admin, service))
        token = deeds.new_token(name) if service else None
    if token is None:
        _told(session, {"name": name, "token": None}, f"{name} can sign in")
    elif session.json:
        print_json({"name": name, "token": token})
    else:
        print_lines([token])
        session.progress.warn(f"this is the token of {name}; its text is not shown again")


@command("list")
@placed
def user_list_command(session: Session, *, place: Place) -> None:
    """List every account.

    Examples:
      asset server user list --data /srv/holdfast --json
    """
    with administration(session, place) as deeds:
        rows = deeds.users()
    if session.json:
        names = ("name", "admin", "service", "disabled", "groups")
        print_json([{each: getattr(row, each) for each in names} for row in rows])
        return
    marks = [(("admin", row.admin), ("service", row.service), ("disabled", row.disabled)) for row in rows]
    kinds = [" ".join(word for word, holds in each if holds) or "-" for each in marks]
    lines = [(row.name, kind, " ".join(row.groups) or "-") for row, kind in zip(rows, kinds, strict=True)]
    print_table(("NAME", "KIND", "GROUPS"), lines)


@command("disable")
@click.argument("name")
@placed
def user_disable_command(session: Session, name: str, *, place: Place) -> None:
    """Shut an account out: its next request is refused, at every server on the database.

    URLs that were signed for it before stay good until they expire, a quarter of an hour at most.

    Examples:
      asset server user disable bob --data /srv/holdfast
    """
    with administration(session, place) as deeds:
        deeds.set_disabled(name, disabled=True)
    _told(session, {"name": name, "disabled": True}, f"{name} is shut out")


@command("enable")
@click.argument("name")
@placed
def user_enable_command(session: Session, name: str, *, place: Place) -> None:
    """Let an account in again.

    Examples:
      asset server user enable bob --data /srv/holdfast
    """
    with administration(session, place) as deeds:
        deeds.set_disabled(name, disabled=False)
    _told(session, {"name": name, "disabled": False}, f"{name} is let in")


@command("passwd")
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin, one line.")
@placed
def user_passwd_command(session: Session, name: str, *, password_stdin: bool, place: Place) -> None:
    """Give an account another password; its tokens end.

    Examples:
      asset server user passwd bob --password-stdin --data /srv/holdfast < password
    """
    password = _password(session, stdin=password_stdin)
    with administration(session, place) as deeds:
        deeds.set_password(name, password)
    _told(session, {"name": name}, f"{name} has another password, and no token any more")


for _each in (user_add_command, user_list_command, user_disable_command, user_enable_command, user_passwd_command):
    user_command.add_command(_each)


# groups and roles


@group("group")
def group_command(context: click.Context) -> None:
    """Put accounts into groups, to which roles are given as to people.

    Examples:
      asset server group add vision ann bob --data /srv/holdfast
      asset server group members vision --add eve --remove bob --data /srv/holdfast
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@command("add")
@click.argument("name")
@click.argument("members", nargs=-1)
@placed
def group_add_command(session: Session, name: str, members: tuple[str, ...], *, place: Place) -> None:
    """Add a group, with these accounts in it.

    Examples:
      asset server group add vision ann bob --data /srv/holdfast
    """
    with administration(session, place) as deeds:
        deeds.add_group(name, list(members))
    _told(session, {"name": name, "members": sorted(members)}, f"the group {name} has {len(members)} members")


@command("remove")
@click.argument("name")
@placed
def group_remove_command(session: Session, name: str, *, place: Place) -> None:
    """Take a group away, and the roles that it gave.

    Examples:
      asset server group remove vision --data /srv/holdfast
    """
    with administration(session, place) as deeds:
        deeds.remove_group(name)
    _told(session, {"name": name}, f"the group {name} is gone")


@command("members")
@click.argument("name")
@click.option("--add", metavar="NAME", multiple=True, help="Put an account in; as often as you like.")
@click.option("--remove", metavar="NAME", multiple=True, help="Take an account out.")
@placed
def group_members_command(
    session: Session, name: str, *, add: tuple[str, ...], remove: tuple[str, ...], place: Place
) -> None:
    """Change who is in a group, and list them.

    Examples:
      asset server group members vision --add eve --data /srv/holdfast
    """
    with administration(session, place) as deeds:
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
@placed
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
    with administration(session, place) as deeds:
        from holdfast.formats.people import MemberRequest

        change = MemberRequest(whom, None if role == "none" else role)
        rows = deeds.set_role(project, change)
    members = {row.whom: row.role for row in rows}
    _told(session, {"project": project, "members": members}, f"{whom} is {role} in {project}")


# projects


@group("project")
def project_command(context: click.Context) -> None:
    """Add projects to a server: a store under a name, with members.

    Examples:
      asset server project add models s3://bucket/models --credentials-file keys.env --data /srv/holdfast
      asset server project list --data /srv/holdfast
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@command("add")
@click.argument("name")
@click.argument("store_url", metavar="[STORE_URL]", required=False)
@click.option("--credentials-file", metavar="FILE", help="The store's credentials: NAME=value lines, or JSON.")
@click.option("--credentials-stdin", is_flag=True, help="Read them from stdin.")
@click.option("--server-credentials", is_flag=True, help="Use the server's own, as its environment gives them.")
@click.option("--endpoint", metavar="URL", help="The endpoint of the store's cloud, where it is not the usual one.")
@click.option("--region", metavar="REGION", help="The store's region.")
@placed
def project_add_command(
    session: Session,
    name: str,
    store_url: str | None,
    *,
    credentials_file: str | None,
    credentials_stdin: bool,
    server_credentials: bool,
    endpoint: str | None,
    region: str | None,
    place: Place,
) -> None:
    """Add a project: a store under a name.

    Credentials are the cloud's own variables (AWS_ACCESS_KEY_ID …); they are sealed, and never shown again. Without a URL the store
    is a folder of the server's own. Stores of two projects may not lie in each other.

    Examples:
      asset server project add scratch --data /srv/holdfast
      asset server project add models s3://bucket/models --credentials-file keys.env --data /srv/holdfast
    """
    if credentials_file is not None and credentials_stdin:
        raise UsageError("credentials come from a file or from stdin", subject="credentials")
    text = _read(credentials_file) if credentials_file is not None else sys.stdin.read() if credentials_stdin else None
    credentials = None if text is None else _variables(text)
    with administration(session, place) as deeds:
        from holdfast.formats.people import ProjectRequest

        row = deeds.add_project(ProjectRequest(name, store_url, endpoint, region, credentials, server_credentials))
    _told(session, {"name": row.name, "url": row.url, "credentials": row.credentials}, f"{row.name} is at {row.url}")


@command("list")
@placed
def project_list_command(session: Session, *, place: Place) -> None:
    """List every project, where its store is, and who has a role in it.

    Examples:
      asset server project list --data /srv/holdfast --json
    """
    with administration(session, place) as deeds:
        rows = deeds.projects()
    names = ("name", "url", "endpoint", "region", "credentials", "members")
    if session.json:
        print_json([{each: getattr(row, each) for each in names} for row in rows])
        return
    members = [" ".join(f"{whom}:{role}" for whom, role in row.members.items()) or "-" for row in rows]
    lines = [(row.name, row.url, row.credentials, each) for row, each in zip(rows, members, strict=True)]
    print_table(("NAME", "STORE", "CREDENTIALS", "MEMBERS"), lines)


@command("remove")
@click.argument("name")
@placed
def project_remove_command(session: Session, name: str, *, place: Place) -> None:
    """Forget a project, its roles and the tokens for it alone; its store stays as it is.

    Examples:
      asset server project remove scratch --data /srv/holdfast
    """
    with administration(session, place) as deeds:
        deeds.remove_project(name)
    _told(session, {"name": name}, f"{name} is no project any more; its store stays as it is")


for _each in (project_add_command, project_list_command, project_remove_command):
    project_command.add_command(_each)


# what is secret


def _password(session: Session, *, stdin: bool) -> str:
    """One line of stdin, or what is typed twice at a terminal."""
    if stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not session.interactive:
        raise UsageError("no password", subject="password", hint="--password-stdin, one line on stdin")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))


def _read(file: str) -> str:
    try:
        return Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise LocalError(f"cannot read {file}: {reason}", subject=file) from error


def _variables(text: str) -> dict[str, str]:
    """Variables by name, from JSON or from lines NAME=value; a refusal never repeats what was read."""
    if text.lstrip().startswith("{"):
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
            raise UsageError("the credentials are no JSON object of texts", subject="credentials")
        return found
    lines = [line.strip().removeprefix("export ") for line in text.splitlines()]
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    if not pairs or not all(name.strip() and equals for name, equals, _ in pairs):
        raise UsageError("the credentials are no lines NAME=value", subject="credentials")
    return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}
