"""``asset server project``: a server's projects, and where their stores are.

Credentials are never arguments: they come on stdin, or in a file.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from holdfast.cli.administration import confirmed, reached, reaching, told
from holdfast.cli.options import Session, command, dry_run, group, print_help
from holdfast.cli.output import print_json, print_table
from holdfast.errors import LocalError, UsageError

if TYPE_CHECKING:
    from holdfast.cli.administration import Place

__all__ = ["project_command"]


@group("project")
def project_command(context: click.Context) -> None:
    """Add projects to a server: a store under a name, with members.

    Examples:
      asset server project add models s3://bucket/models --credentials-file keys.env --data /srv/holdfast
      asset server project list --server https://assets.example.com
    """
    print_help(context)


@command("add")
@click.argument("name")
@click.argument("store_url", metavar="[STORE_URL]", required=False)
@click.option("--credentials-file", metavar="FILE", help="The store's credentials: NAME=value lines, or JSON.")
@click.option("--credentials-stdin", is_flag=True, help="Read them from stdin.")
@click.option("--server-credentials", is_flag=True, help="Use the server's own, as its environment gives them.")
@click.option("--endpoint", metavar="URL", help="The endpoint of the store's cloud, where it is not the usual one.")
@click.option("--region", metavar="REGION", help="The store's region.")
@dry_run
@reaching
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
    dry_run: bool,
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
    with reached(session, place, make=True, dry_run=dry_run) as deeds:
        from holdfast.formats.people import ProjectRequest

        row = deeds.add_project(ProjectRequest(name, store_url, endpoint, region, credentials, server_credentials))
    text = f"{row.name} {'would be' if dry_run else 'is'} at {row.url or 'a place of the server'}"
    value = {"name": row.name, "url": row.url or None, "credentials": row.credentials}
    told(session, value, text, dry_run=dry_run)


@command("list")
@reaching
def project_list_command(session: Session, *, place: Place) -> None:
    """List every project, where its store is, and who has a role in it.

    Examples:
      asset server project list --data /srv/holdfast --json
    """
    with reached(session, place) as deeds:
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
@click.option("--yes", is_flag=True, help="Do not ask on a terminal.")
@dry_run
@reaching
def project_remove_command(session: Session, name: str, *, yes: bool, dry_run: bool, place: Place) -> None:
    """Forget a project, its roles and the tokens for it alone; its store stays as it is.

    Examples:
      asset server project remove scratch --data /srv/holdfast
    """
    confirmed(session, f"Forget the project {name}, its roles, its tokens and its credentials?", yes=yes or dry_run)
    with reached(session, place, dry_run=dry_run) as deeds:
        deeds.remove_project(name)
    text = f"{name} {'would be' if dry_run else 'is'} no project any more; its store stays as it is"
    told(session, {"name": name}, text, dry_run=dry_run)


for _each in (project_add_command, project_list_command, project_remove_command):
    project_command.add_command(_each)


def _read(file: str) -> str:
    try:
        return Path(file).read_text("utf-8")
    except FileNotFoundError:
        raise UsageError(f"there is no {file}", subject=file) from None
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
