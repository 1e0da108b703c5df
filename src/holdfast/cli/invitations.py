"""``asset server invite``: the invitations that are open. ``asset server user add NAME --invite EMAIL`` makes one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from holdfast.cli.administration import reached, reaching, told
from holdfast.cli.options import Session, command, dry_run, group, print_help
from holdfast.cli.output import print_json, print_table

if TYPE_CHECKING:
    from holdfast.cli.administration import Place

__all__ = ["invite_command"]


@group("invite")
def invite_command(context: click.Context) -> None:
    """List the open invitations to a server, and take them back.

    Examples:
      asset server user add bob --invite bob@example.com --data /srv/holdfast
      asset server invite list --data /srv/holdfast
    """
    print_help(context)


@command("list")
@reaching
def invite_list_command(session: Session, *, place: Place) -> None:
    """List the open invitations: the address, the account that it opens, and until when.

    Examples:
      asset server invite list --data /srv/holdfast --json
    """
    with reached(session, place) as deeds:
        rows = deeds.invitations()
    if session.json:
        print_json([{"email": row.email, "name": row.name, "expires": row.expires} for row in rows])
        return
    lines = [(row.email, row.name, f"{datetime.fromtimestamp(row.expires, UTC):%Y-%m-%d}") for row in rows]
    print_table(("EMAIL", "NAME", "EXPIRES"), lines)


@command("withdraw")
@click.argument("email")
@dry_run
@reaching
def invite_withdraw_command(session: Session, email: str, *, dry_run: bool, place: Place) -> None:
    """Take an invitation back; the account stays as it is.

    Examples:
      asset server invite withdraw bob@example.com --data /srv/holdfast
    """
    with reached(session, place, dry_run=dry_run) as deeds:
        deeds.withdraw(email)
    text = f"the invitation to {email} {'would be' if dry_run else 'is'} taken back"
    told(session, {"email": email}, text, dry_run=dry_run)


for _each in (invite_list_command, invite_withdraw_command):
    invite_command.add_command(_each)
