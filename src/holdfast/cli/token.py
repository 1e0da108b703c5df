"""``asset token``: one's own tokens on the server, made for a program or a machine, listed and revoked."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import click

from holdfast.cli.options import TIME, Session, command, dry_run, group
from holdfast.cli.output import marked, print_json, print_lines, print_table
from holdfast.cli.signin import day, signed_in, token_value
from holdfast.errors import AccessError, NotFoundError
from holdfast.model.people import check_token

if TYPE_CHECKING:
    from holdfast.formats.api import Role, TokenRequest, WhoamiReply
    from holdfast.remote import Server

__all__ = ["token_command"]

#: From the least to the most.
_ROLES: Final = ("reader", "writer", "admin")


@group("token")
def token_command(context: click.Context) -> None:
    """List one's own tokens on the server.

    A token's text is told once, when it is made; the server keeps no more than a digest of it.

    Examples:
      asset token
      asset token create --name ci --expires 30d --project p --role writer
      asset token revoke ID
    """
    if context.invoked_subcommand is None:
        session = context.find_object(Session)
        assert session is not None  # noqa: S101 - made by main
        _list(session)


def _list(session: Session) -> None:
    from holdfast.formats.api import TokenRow

    rows = signed_in(session).ask("GET", "tokens", list[TokenRow])
    if session.json:
        print_json([token_value(row) for row in rows])
        return
    lines = [
        (row.id, row.label or "-", row.project or "all", row.role or "as mine", day(row.expires), day(row.used))
        for row in rows
    ]
    print_table(("ID", "NAME", "PROJECT", "ROLE", "EXPIRES", "USED"), lines)


@command("list")
def list_command(session: Session) -> None:
    """List one's own tokens that are good.

    Examples:
      asset token list --json
    """
    _list(session)


@command("create")
@click.option("--name", metavar="NAME", help="What it is for.")
@click.option("--expires", metavar="TIME", type=TIME, help="How long it is good: 30d, 12h; 90 days unless told.")
@click.option("--project", "only", metavar="PROJECT", help="For this project alone.")
@click.option("--role", type=click.Choice(["reader", "writer", "admin"]), help="For no more than this role.")
@dry_run
def create_command(
    session: Session, *, name: str | None, expires: float | None, only: str | None, role: Role | None, dry_run: bool
) -> None:
    """Make a token, and print it: this once, and never again.

    It gives what its owner has and no more, whenever it is used; a project and a role narrow that further.

    Examples:
      asset token create --name ci --expires 30d --project p --role writer
    """
    from holdfast.formats.api import TokenReply, TokenRequest

    body = TokenRequest(name, None if expires is None else int(expires), only, role)
    if dry_run:
        _would_create(session, body)
        return
    made = signed_in(session).ask("POST", "tokens", TokenReply, body=body, again=False)
    if session.json:
        print_json({"token": made.token, **token_value(made.row)})
        return
    print_lines([made.token])
    if not session.quiet:
        session.progress.warn(f"{made.row.id} is good until {day(made.row.expires)}; its text is not shown again")


def _would_create(session: Session, wanted: TokenRequest) -> None:
    """Say what would be made; how long it lives where nothing is told, the server alone knows."""
    from holdfast.formats.api import WhoamiReply

    found = signed_in(session).ask("GET", "whoami", WhoamiReply)
    project, role = _narrowed(found, wanted)
    label = wanted.label
    if session.json:
        known = {"label": label, "project": project, "role": role}
        names = ("token", "id", "label", "created", "expires", "project", "role", "used")
        print_json(marked({name: known.get(name) for name in names}, dry_run=True))
    elif not session.quiet:
        where = f"for {project or 'all projects'}, {f'as {role}' if role else 'as its owner'}"
        print_lines([f"a token of {found.name} would be made, {where}"])


def _narrowed(found: WhoamiReply, wanted: TokenRequest) -> tuple[str | None, Role | None]:
    """The project and role of a token that is asked for with another one; refused as the server refuses it.

    Raises:
        AccessError: it would be wider than that one, or outlive it.
        UsageError: a life or a label that cannot be.
    """
    own, seconds = found.token, wanted.expires
    is_narrow = own.project is not None or own.role is not None
    if is_narrow and seconds is not None and seconds > max(1, own.expires - time.time()):
        raise AccessError("a narrowed token makes none that outlives it", subject="expires")
    if wanted.project is not None and wanted.project not in {each.name for each in found.projects}:
        raise AccessError("not allowed", hint="ask an administrator of the server for a role")
    if wanted.role is not None and own.role is not None and _ROLES.index(own.role) < _ROLES.index(wanted.role):
        raise AccessError("a token cannot give more than the one it is made with", subject="role")
    check_token(1 if seconds is None else seconds, wanted.label)
    return wanted.project or own.project, wanted.role or own.role


@command("revoke")
@click.argument("token_id", metavar="ID")
@dry_run
def revoke_command(session: Session, token_id: str, *, dry_run: bool) -> None:
    """Revoke a token: it is refused from the next request on.

    An administrator may revoke anybody's.

    Examples:
      asset token revoke ID
    """
    server = signed_in(session)
    if dry_run:
        text = f"{token_id} would be revoked" + ("" if _is_own(server, token_id) else ", if it is somebody's token")
    else:
        server.ask("DELETE", f"tokens/{quote(token_id, safe='')}", type(None))
        text = f"{token_id} is revoked"
    if session.json:
        print_json(marked({"revoked": token_id}, dry_run=dry_run))
    elif not session.quiet:
        print_lines([text])


def _is_own(server: Server, token_id: str) -> bool:
    """Whether a token is one's own; an administrator may revoke another's, too, and cannot see whether there is such a one.

    Raises:
        NotFoundError: it is none that one may revoke.
    """
    from holdfast.formats.api import TokenRow, WhoamiReply

    if token_id in {row.id for row in server.ask("GET", "tokens", list[TokenRow])}:
        return True
    if not server.ask("GET", "whoami", WhoamiReply).admin:
        raise NotFoundError("no such token", subject="token", hint="asset token list")
    return False


for _command in (create_command, list_command, revoke_command):
    token_command.add_command(_command)
