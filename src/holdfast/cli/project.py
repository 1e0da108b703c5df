"""``asset project`` and ``asset env``: which projects there are on the server, and the one that is worked with."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from holdfast.cli.options import Session, command, dry_run, group
from holdfast.cli.output import marked, print_json, print_lines, print_table
from holdfast.cli.signin import server_address, signed_in
from holdfast.config import file
from holdfast.config.active import environment_of
from holdfast.errors import NotFoundError, nearest

if TYPE_CHECKING:
    from holdfast.formats.api import ProjectReply

__all__ = ["env_command", "project_command"]


@group("project")
def project_command(context: click.Context) -> None:
    """List the projects on the server that one has a role in.

    A project is a store under a name, with members; its URL, SERVER/NAME, works wherever a store's does.

    Examples:
      asset project
      asset project activate p
      asset project current
    """
    if context.invoked_subcommand is None:
        session = context.find_object(Session)
        assert session is not None  # noqa: S101 - made by main
        _list(session)


def _projects(session: Session) -> list[ProjectReply]:
    from holdfast.formats.api import ProjectReply

    return signed_in(session).ask("GET", "projects", list[ProjectReply])


def _list(session: Session) -> None:
    found = _projects(session)
    if session.json:
        print_json([{"name": each.name, "role": each.role, "url": each.url, "store": each.store} for each in found])
        return
    current = session.settings.project
    rows = [("*" if each.name == current else "", each.name, each.role, each.url) for each in found]
    print_table(("", "NAME", "ROLE", "BUCKET"), rows)


@command("list")
def list_command(session: Session) -> None:
    """List the projects, one's role in each, and where its bucket is.

    Examples:
      asset project list --json
    """
    _list(session)


@command("activate")
@click.argument("name")
@dry_run
def activate_command(session: Session, name: str, *, dry_run: bool) -> None:
    """Make a project on the server the one that commands work with from now on.

    It is kept in the settings, in the profile where --profile names one. A store that is set, or given, is stronger.

    Examples:
      asset project activate p
    """
    settings = session.settings
    known = [each.name for each in _projects(session)]
    if name not in known:
        hint = nearest(name, known) or f"projects: {', '.join(known) or 'none'}"
        raise NotFoundError(f"no project {name!r} on {server_address(settings)} for you", subject=name, hint=hint)
    file.set_value(settings.file, "project", name, profile=settings.profile, write=not dry_run)
    origin = settings.origins["store"]
    if settings.store is not None and not origin.startswith("project "):
        session.progress.warn(f"the store {settings.store} ({origin}) is stronger: asset config unset store")
    if session.json:
        print_json(marked({"project": name, "server": server_address(settings)}, dry_run=dry_run))
    elif not session.quiet:
        print_lines([f"{'would be ' * dry_run}working with {name} on {server_address(settings)}"])


@command("current")
def current_command(session: Session) -> None:
    """Say which project commands work with.

    Nobody is asked. Where none is set it is exit 3.

    Examples:
      asset project current
    """
    settings = session.settings
    store = settings.store
    if store is None or not store.startswith(("http://", "https://")):
        raise NotFoundError("no project is active", subject="project", hint="asset project activate NAME")
    server, _, name = store.rpartition("/")
    if session.json:
        print_json({"project": name, "server": server, "url": store, "origin": settings.origins["store"]})
    else:
        print_lines([f"{name} on {server} ({settings.origins['store']})"])


for _command in (activate_command, current_command, list_command):
    project_command.add_command(_command)


@command("env")
def env_command(session: Session) -> None:
    """Print the variables by which other programs find the same server, mounts, project and store.

    They are lines for a shell to read. The token is not among them: programs of the same user find it where this one does.

    Examples:
      eval "$(asset env)"
      asset env --json
    """
    variables = environment_of(session.settings)
    if session.json:
        print_json(variables)
        return
    print_lines(f"export {name}={shlex.quote(value)}" for name, value in variables.items())
