"""``asset server user``: who there is on a server. No secret is ever an argument: passwords come on stdin."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import click

from holdfast.cli.administration import reached, reaching, told
from holdfast.cli.options import Session, command, dry_run, group, print_help
from holdfast.cli.output import print_json, print_lines, print_table
from holdfast.errors import UsageError

if TYPE_CHECKING:
    from holdfast.cli.administration import Place

__all__ = ["user_command"]

#: Stands for a password that nobody was asked for.
_UNASKED: Final = "is asked for when it is done"


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
@dry_run
@reaching
def user_add_command(
    session: Session,
    name: str,
    *,
    admin: bool,
    service: bool,
    password_stdin: bool,
    invite: str | None,
    dry_run: bool,
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
        _invite(session, name, invite, admin=admin, place=place, dry_run=dry_run)
        return
    password = None if service else _password(session, stdin=password_stdin, dry_run=dry_run)
    with reached(session, place, make=True, dry_run=dry_run) as deeds:
        from holdfast.formats.people import UserRequest

        deeds.add_user(UserRequest(name, password, admin, service))
        token = deeds.new_token(name) if service and not dry_run else None
    text = f"{name} could sign in" if dry_run else f"{name} can sign in"
    _tell_token(session, {"name": name, "token": token}, text, dry_run=dry_run)


def _tell_token(session: Session, value: dict[str, object], text: str, *, dry_run: bool) -> None:
    """What was done, or would be; of a service account its new token alone, which is told this once."""
    token = value["token"]
    if token is None or session.json:
        told(session, value, text, dry_run=dry_run)
        return
    print_lines([str(token)])
    session.progress.warn(f"this is the token of {value['name']}; its text is not shown again")


def _invite(session: Session, name: str, email: str, *, admin: bool, place: Place, dry_run: bool) -> None:
    with reached(session, place, make=True, dry_run=dry_run) as deeds:
        from holdfast.formats.people import InvitationRequest

        row = deeds.invite(InvitationRequest(email, name, admin))
    value = {"name": row.name, "token": None, "email": row.email, "expires": row.expires}
    text = f"whoever signs in as {row.email} {'would be' if dry_run else 'is'} {row.name}"
    told(session, value, text, dry_run=dry_run)


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
@dry_run
@reaching
def user_disable_command(session: Session, name: str, *, dry_run: bool, place: Place) -> None:
    """Shut an account out: its next request is refused, at every server on the database.

    Its tokens end for good. URLs that were signed for it before stay good until they expire, a quarter of an hour at most.

    Examples:
      asset server user disable bob --data /srv/holdfast
    """
    with reached(session, place, dry_run=dry_run) as deeds:
        deeds.set_disabled(name, disabled=True)
    text = f"{name} {'would be' if dry_run else 'is'} shut out"
    told(session, {"name": name, "disabled": True}, text, dry_run=dry_run)


@command("enable")
@click.argument("name")
@dry_run
@reaching
def user_enable_command(session: Session, name: str, *, dry_run: bool, place: Place) -> None:
    """Let an account in again. Tokens from before stay ended: a person signs in anew, for a service one is made and printed.

    Examples:
      asset server user enable bob --data /srv/holdfast
    """
    with reached(session, place, dry_run=dry_run) as deeds:
        deeds.set_disabled(name, disabled=False)
        service = any(row.service for row in deeds.users() if row.name == name)
        token = deeds.new_token(name) if service and not dry_run else None
    text = f"{name} {'would be' if dry_run else 'is'} let in"
    _tell_token(session, {"name": name, "disabled": False, "token": token}, text, dry_run=dry_run)


@command("passwd")
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin, one line.")
@dry_run
@reaching
def user_passwd_command(session: Session, name: str, *, password_stdin: bool, dry_run: bool, place: Place) -> None:
    """Give an account another password; its tokens end.

    Examples:
      asset server user passwd bob --password-stdin --data /srv/holdfast < password
    """
    password = _password(session, stdin=password_stdin, dry_run=dry_run)
    with reached(session, place, dry_run=dry_run) as deeds:
        deeds.set_password(name, password)
    text = f"{name} {'would have' if dry_run else 'has'} another password, and no token any more"
    told(session, {"name": name}, text, dry_run=dry_run)


for _each in (user_add_command, user_list_command, user_disable_command, user_enable_command, user_passwd_command):
    user_command.add_command(_each)


def _password(session: Session, *, stdin: bool, dry_run: bool) -> str:
    """One line of stdin, or what is typed twice at a terminal; a dry run does not ask for it, and takes it for a good one."""
    if stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not session.interactive:
        raise UsageError("no password", subject="password", hint="--password-stdin, one line on stdin")
    if dry_run:
        return _UNASKED
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
