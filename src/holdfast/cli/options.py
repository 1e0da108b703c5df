"""What all commands share: the session of one call, the options that stand before or after a command, types of values."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from inspect import cleandoc
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from holdfast.config import Settings, load, parse_size
from holdfast.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.model.result import Progress
    from holdfast.repository import Repository

    _ParamType = click.ParamType[int]  # generic for those who check types; older releases are not, when they run
    _TimeType = click.ParamType[float]
else:
    _ParamType = _TimeType = click.ParamType

__all__ = ["SIZE", "TIME", "Session", "command", "common", "described", "dry_run", "group", "labels", "print_help"]

_MOST_JOBS = 1024
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_Function = TypeVar("_Function", bound="Callable[..., Any]")

#: How help is laid out, everywhere.
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@dataclass
class Session:
    """One call of the program: what was said before and after the command, and what is opened once for it."""

    json: bool = False
    quiet: bool = False
    verbose: int = 0
    store: str | None = None
    profile: str | None = None
    assets_dir: str | None = None
    jobs: int | None = None
    limit_rate: int | None = None
    offline: bool = False
    overrides: dict[str, object] = field(default_factory=dict)

    @cached_property
    def settings(self) -> Settings:
        """The settings, with what this call overrides; names in the file that are no settings are warned of."""
        given = {"store": self.store, "assets_dir": self.assets_dir, **self.overrides}
        settings = load(given, profile=self.profile)
        for name in settings.unknown:
            self.progress.warn(f"{settings.file}: unknown setting {name!r}")
        return settings

    @cached_property
    def repository(self) -> Repository:
        """The repository of the store that the settings name."""
        from holdfast import wiring

        return wiring.open_settings(
            self.settings,
            progress=self.progress,
            jobs=self.jobs,
            limit_rate=self.limit_rate,
            offline=self.offline,
        )

    @cached_property
    def progress(self) -> Progress:
        """Who shows progress and warnings, on stderr: nothing moves where that is no terminal."""
        from holdfast.cli.progress import progress_for

        return progress_for(quiet=self.quiet)

    @property
    def interactive(self) -> bool:
        """Whether a question may be asked."""
        import sys

        return sys.stdin is not None and sys.stdin.isatty() and not self.json


class _Size(_ParamType):
    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Bytes from a text such as 10M."""
        try:
            size = parse_size(value)
        except UsageError as error:
            self.fail(f"{error.message}: {error.hint}", param, ctx)
        return size


SIZE = _Size()


class _Time(_TimeType):
    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds from a text such as 90d."""
        match = re.fullmatch(r"(\d+)([smhdw])", str(value))
        if match is None:
            self.fail(f"{value!r} is not a length of time: 90d, 12h, 2w", param, ctx)
        return float(match[1]) * _SECONDS[match[2]]


TIME = _Time()


def _remember(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Keep an option in the session; what stands after the command is said last and counts."""
    if parameter.name == "verbose" and value:
        _log(value)
    if value not in (None, False, 0):
        setattr(context.find_object(Session), str(parameter.name), value)


def _log(verbosity: int) -> None:
    import logging
    import sys

    level = logging.INFO if verbosity == 1 else logging.DEBUG
    logging.basicConfig(stream=sys.stderr, level=level, format="%(levelname)s %(name)s: %(message)s")


def _option(*names: str, **settings: Any) -> click.Option:
    return click.Option(names, expose_value=False, callback=_remember, **settings)


def common(*, transfers: bool = False) -> list[click.Parameter]:
    """The options that every command has, and the two that bound transfers where there are some."""
    options = [
        _option("--json", is_flag=True, help="Print one JSON document on stdout."),
        _option("-q", "--quiet", is_flag=True, help="No progress and no warnings."),
        _option("-v", "--verbose", count=True, help="Say more (-vv: everything); failures show where they happened."),
        _option("--store", metavar="URL", help="The store, instead of the setting."),
        _option("--profile", metavar="NAME", help="The profile in the settings' file."),
        _option("--assets-dir", metavar="DIR", help="Where fetched versions lie, instead of the setting."),
    ]
    if transfers:
        jobs = click.IntRange(1, _MOST_JOBS)
        options += [
            _option("--jobs", metavar="N", type=jobs, help="At most so many transfers at a time."),
            _option("--limit-rate", metavar="RATE", type=SIZE, help="At most so many bytes a second, e.g. 10M."),
        ]
    return list[click.Parameter](options)


def command(name: str, *, transfers: bool = False) -> Callable[[Callable[..., Any]], click.Command]:
    """A command of this name with the common options; its function gets the session first."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        made = click.command(name, click.Command, params=common(transfers=transfers), **described(function))
        return made(click.pass_obj(function))

    return decorate


def group(name: str) -> Callable[[Callable[..., Any]], click.Group]:
    """A group of commands that does something by itself where none of them is named."""

    def decorate(function: Callable[..., Any]) -> click.Group:
        made = click.group(name, click.Group, params=common(), invoke_without_command=True, **described(function))
        return made(click.pass_context(function))

    return decorate


def print_help(context: click.Context) -> None:
    """What a group says where none of its commands is named: its help, which is no JSON.

    Raises:
        UsageError: with ``--json``.
    """
    if context.invoked_subcommand is not None:
        return
    session = context.find_object(Session)
    if session is not None and session.json:
        raise UsageError("Missing command", hint=f"see '{context.command_path} --help'")
    click.echo(context.get_help())


def described(function: Callable[..., Any]) -> dict[str, Any]:
    """The function's docstring as help; its examples keep their lines (click's sign for that is a backspace)."""
    text = cleandoc(function.__doc__ or "")
    return {
        "context_settings": CONTEXT,
        "help": text.replace("\nExamples:\n", "\n\b\nExamples:\n"),
        "short_help": text.partition("\n")[0],
    }


def dry_run(function: _Function) -> _Function:
    """The option ``--dry-run``."""
    return click.option("--dry-run", is_flag=True, help="Say what would happen, and change nothing.")(function)


def labels(pairs: tuple[str, ...]) -> dict[str, str]:
    """``K=V`` texts as a dict.

    Raises:
        UsageError: no ``=``, nothing before it, or a key given twice.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key or key in found:
            raise UsageError(f"invalid label {pair!r}: KEY=VALUE, each key once", subject=pair)
        found[key] = value
    return found
