"""The command ``asset`` itself: which commands there are, and where each is when it is called."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

import click

from holdfast.cli.main import version_line
from holdfast.cli.options import common, described
from holdfast.errors import UsageError, nearest

__all__ = ["COMMANDS", "program"]

#: Command → module that has it, in the order in which help lists them.
COMMANDS: Final[dict[str, str]] = {
    "push": "transfer",
    "fetch": "transfer",
    "list": "catalog",
    "versions": "catalog",
    "show": "catalog",
    "files": "content",
    "cat": "content",
    "diff": "content",
    "status": "content",
    "alias": "catalog",
    "remove": "catalog",
    "restore": "catalog",
    "prune": "collect",
    "verify": "maintain",
    "repair": "maintain",
    "collect": "collect",
    "copy": "replicate",
    "export": "replicate",
    "import": "replicate",
    "doctor": "maintain",
    "mount": "mount",
    "mounts": "mount",
    "unmount": "mount",
    "cache": "cache",
    "config": "config",
    "login": "signin",
    "logout": "signin",
    "whoami": "signin",
    "token": "token",
    "project": "project",
    "env": "project",
    "completion": "completion",
    "server": "server",
    "site": "site",
}


class _Program(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names, in our order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command, from its module."""
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = getattr(import_module(f"holdfast.cli.{COMMANDS[cmd_name]}"), f"{cmd_name}_command")
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but an unknown command is answered with the nearest."""
        if not ctx.resilient_parsing and args[0] not in COMMANDS and not args[0].startswith("-"):
            hint = nearest(args[0], list(COMMANDS)) or f"see '{ctx.command_path} --help'"
            raise UsageError(f"no command {args[0]!r}", subject=args[0], hint=hint)
        return super().resolve_command(ctx, args)


def _print_version(context: click.Context, parameter: click.Parameter, value: Any) -> None:  # noqa: ARG001
    if value:
        click.echo(version_line())
        context.exit()


def _program() -> None:
    """Versioned assets - files and directories - in an object store.

    Push one, fetch it anywhere, whole and verified. A SPEC is NAME[:VERSION][[PATH]]: a version may be full (1.2), partial
    (1 is the newest 1.*), an alias (stable), or absent (the newest).

    Examples:
      asset config set store s3://bucket/prefix
      asset push ./model nlp/bert
      asset fetch nlp/bert:1
      asset list 'nlp/*'
    """


def _made() -> click.Group:
    """The program with the options of all commands, which may stand before the command, too."""
    version = click.Option(
        ["--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_print_version,
        help="Print the version.",
    )
    params = [version, *common(transfers=True)]
    return click.group("asset", cls=_Program, params=params, **described(_program))(_program)


program: Final = _made()
