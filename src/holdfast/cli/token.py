"""``asset token``: one's own tokens on the server, made for a program or a machine, listed and revoked."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from holdfast.cli.options import TIME, Session, command, group
from holdfast.cli.output import print_json, print_lines, print_table
from holdfast.cli.signin import day, signed_in, token_value

if TYPE_CHECKING:
    from holdfast.formats.api import Role

__all__ = ["token_command"]


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
def create_command(
    session: Session, *, name: str | None, expires: float | None, only: str | None, role: Role | None
) -> None:
    """Make a token, and print it: this once, and never again.

    It gives what its owner has and no more, whenever it is used; a project and a role narrow that further.

    Examples:
      asset token create --name ci --expires 30d --project p --role writer
    """
    from holdfast.formats.api import TokenReply, TokenRequest

    body = TokenRequest(name, None if expires is None else int(expires), only, role)
    made = signed_in(session).ask("POST", "tokens", TokenReply, body=body, again=False)
    if session.json:
        print_json({"token": made.token, **token_value(made.row)})
        return
    print_lines([made.token])
    if not session.quiet:
        session.progress.warn(f"{made.row.id} is good until {day(made.row.expires)}; its text is not shown again")


@command("revoke")
@click.argument("token_id", metavar="ID")
def revoke_command(session: Session, token_id: str) -> None:
    """Revoke a token: it is refused from the next request on.

    An administrator may revoke anybody's.

    Examples:
      asset token revoke ID
    """
    signed_in(session).ask("DELETE", f"tokens/{quote(token_id, safe='')}", type(None))
    if session.json:
        print_json({"revoked": token_id})
    elif not session.quiet:
        print_lines([f"{token_id} is revoked"])


for _command in (create_command, list_command, revoke_command):
    token_command.add_command(_command)
