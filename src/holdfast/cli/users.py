"""``asset server user``: who there is on a server. No secret is ever an argument: passwords come on stdin."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from holdfast.cli.administration import reached, reaching, told
from holdfast.cli.options import Session, command, group, print_help
from holdfast.cli.output import print_json, print_lines, print_table
from holdfast.errors import UsageError

if TYPE_CHECKING:
    from holdfast.cli.administration import Place

__all__ = ["user_command"]


@group("user")
def user_command(context: click.Context) -> None:
    """Add accounts to a server, list them, shut them out and let them in.

    Examples:
      asset server user add ann --admin --password-stdin --data /srv/holdfast < password
      asset server user list --data /srv/holdfast
      asset server user disable bob --server https://assets.example.com
    """
    print_help(context)


@command("add")
@click.argument("name")
@click.option("--admin", is_flag=True, help="An admin of the server.")
@click.option("--service", is_flag=True, help="For a program: no password; a token is made and printed, this once.")
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin, one line.")
@click.option("--invite", metavar="EMAIL", help="No password: whoever signs in at a provider with this address.")
@reaching
def user_add_command(
    session: Session,
    name: str,
    *,
    admin: bool,
    service: bool,
    password_stdin: bool,
    invite: str | None,
    place: Place,
) -> None:
    """Add an account.

    A password has 10 characters or more. On a terminal it is asked for. An invitation is open for 30 days, to one person; an
    account that there is already can be given to somebody in the same way.

    Examples:
      asset server user add ann --admin --password-stdin --data /srv/holdfast < password
      asset server user add ci --service --data /srv/holdfast
      asset server user add bob --invite bob@example.com --data /srv/holdfast
    """
    if service and password_stdin:
        raise UsageError("a service account has no password", subject=name)
    if invite is not None:
        if service or password_stdin:
            raise UsageError("who is invited signs in at a provider", subject=name, hint="--invite EMAIL alone")
        _invite(session, name, invite, admin=admin, place=place)
        return
    password = None if service else _password(session, stdin=password_stdin)
    with reached(session, place, make=True) as deeds:
        from holdfast.formats.people import UserRequest

        deeds.add_user(UserRequest(name, password, admin, service))
        token = deeds.new_token(name) if service else None
    _tell_token(session, {"name": name, "token": token}, f"{name} can sign in")


def _tell_token(session: Session, value: dict[str, object], text: str) -> None:
    """What was done; of a service account its new token alone, which is told this once."""
    token = value["token"]
    if token is None or session.json:
        told(session, value, text)
        return
    print_lines([str(token)])
    session.progress.warn(f"this is the token of {value['name']}; its text is not shown again")


def _invite(session: Session, name: str, email: str, *, admin: bool, place: Place) -> None:
    with reached(session, place, make=True) as deeds:
        from holdfast.formats.people import InvitationRequest

        row = deeds.invite(InvitationRequest(email, name, admin))
    value = {"name": row.name, "token": None, "email": row.email, "expires": row.expires}
    told(session, value, f"whoever signs in as {row.email} is {row.name}")


@command("list")
@reaching
def user_list_command(session: Session, *, place: Place) -> None:
    """List every account.

    Examples:
      asset server user list --data /srv/holdfast --json
    """
    with reached(session, place) as deeds:
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
@reaching
def user_disable_command(session: Session, name: str, *, place: Place) -> None:
    """Shut an account out: its next request is refused, at every server on the database.

    Its tokens end for good. URLs that were signed for it before stay good until they expire, a quarter of an hour at most.

    Examples:
      asset server user disable bob --data /srv/holdfast
    """
    with reached(session, place) as deeds:
        deeds.set_disabled(name, disabled=True)
    told(session, {"name": name, "disabled": True}, f"{name} is shut out")


@command("enable")
@click.argument("name")
@reaching
def user_enable_command(session: Session, name: str, *, place: Place) -> None:
    """Let an account in again. Tokens from before stay ended: a person signs in anew, for a service one is made and printed.

    Examples:
      asset server user enable bob --data /srv/holdfast
    """
    with reached(session, place) as deeds:
        deeds.set_disabled(name, disabled=False)
        service = any(row.service for row in deeds.users() if row.name == name)
        token = deeds.new_token(name) if service else None
    _tell_token(session, {"name": name, "disabled": False, "token": token}, f"{name} is let in")


@command("passwd")
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin, one line.")
@reaching
def user_passwd_command(session: Session, name: str, *, password_stdin: bool, place: Place) -> None:
    """Give an account another password; its tokens end.

    Examples:
      asset server user passwd bob --password-stdin --data /srv/holdfast < password
    """
    password = _password(session, stdin=password_stdin)
    with reached(session, place) as deeds:
        deeds.set_password(name, password)
    told(session, {"name": name}, f"{name} has another password, and no token any more")


for _each in (user_add_command, user_list_command, user_disable_command, user_enable_command, user_passwd_command):
    user_command.add_command(_each)


def _password(session: Session, *, stdin: bool) -> str:
    """One line of stdin, or what is typed twice at a terminal."""
    if stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not session.interactive:
        raise UsageError("no password", subject="password", hint="--password-stdin, one line on stdin")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
