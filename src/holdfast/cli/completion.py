"""``asset completion`` and what it completes: names and versions, where the store answers fast; silent on errors."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem, get_completion_class

from holdfast.cli.options import Session, command
from holdfast.cli.output import print_lines
from holdfast.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.repository import Repository

__all__ = [
    "complete_directory",
    "complete_mounted",
    "complete_mounter",
    "complete_name",
    "complete_path",
    "complete_spec",
    "completion_command",
]

#: Seconds that a person who pressed a key waits at most.
_PATIENCE = 1.0

_PROGRAMS = ("asset", "holdfast")

#: Not click's own: bash breaks words at the colon in NAME:VERSION, so the line is read anew, and what bash has already is
#: cut from the answers. Which words a line has, where some are quoted, is click's to say: what is completed is its last (-1).
_BASH = """\
%(complete_func)s() {
    local line="${COMP_LINE:0:$COMP_POINT}" cut="" type value
    local current="${line##* }"
    [[ "$current" == *:* && "$COMP_WORDBREAKS" == *:* ]] && cut="${current%%:*}:"
    [[ "$line" == *" " ]] && line+="''"
    COMPREPLY=()
    while IFS=, read -r type value; do
        case "$type" in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("${value#"$cut"}") ;;
        esac
    done < <(COMP_WORDS="$line" COMP_CWORD=-1 %(complete_var)s=bash_complete "$1" 2> /dev/null)
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


@command("completion")
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def completion_command(session: Session, shell: str) -> None:
    """Print the script that completes commands, options, names and versions in a shell.

    It serves both names of the program. Names and versions come from the store, as far as it answers within a second.

    Examples:
      eval "$(asset completion bash)"                  # in ~/.bashrc
      eval "$(asset completion zsh)"                   # in ~/.zshrc
      asset completion fish > ~/.config/fish/completions/asset.fish
    """
    from holdfast.cli.program import program

    if session.json:
        raise UsageError("completion prints a script", subject="--json", hint="leave --json out")
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - click has a class for each choice
    for name in _PROGRAMS:
        completer = kind(program, {}, name, f"_{name.upper()}_COMPLETE")
        template = _BASH if shell == "bash" else completer.source_template
        print_lines([(template % completer.source_vars()).strip("\n")])


def complete_name(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """Names of assets that start so."""
    return _answered(context, lambda repository: _names(repository, incomplete))


def complete_spec(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """Names of assets that start so; behind a colon, versions and aliases of that asset."""
    name, colon, version = incomplete.partition(":")
    if not colon:
        return _answered(context, lambda repository: _names(repository, incomplete))
    return _answered(context, lambda repository: _specs(repository, name, version))


def complete_directory(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001
    """Directories, as the shell finds them itself: one that may be a hung mount is not looked at here."""
    return [CompletionItem(incomplete, type="dir")]


def complete_path(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001
    """Files and directories, as the shell finds them itself."""
    return [CompletionItem(incomplete, type="file")]


def complete_mounted(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """Where this user has mounted something, as the records tell; no mount is touched."""
    session = context.find_object(Session) or Session()
    with contextlib.suppress(Exception):
        from holdfast.mount.live.mounting import registry_of

        places = [record.settings.dir for record in registry_of(session.settings).records()]
        return [place for place in places if place.startswith(incomplete)]
    return []


def complete_mounter(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """Programs that mount a live bucket."""
    from holdfast.mount.live.templates import MOUNTERS

    return [name for name in MOUNTERS if name.startswith(incomplete)]


def _names(repository: Repository, incomplete: str) -> list[str]:
    return [name for name in repository.catalog.names() if name.startswith(incomplete)]


def _specs(repository: Repository, name: str, incomplete: str) -> list[str]:
    known = repository.versions(name)
    return [f"{name}:{each}" for each in (*known.aliases, *known.versions) if each.startswith(incomplete)]


def _answered(context: click.Context, ask: Callable[[Repository], list[str]]) -> list[str]:
    """What the store answers in time; nothing where it does not, or fails."""
    found: list[str] = []
    session = context.find_object(Session) or Session()

    def work() -> None:
        with contextlib.suppress(Exception):  # a line that is being typed is no place for error messages
            found.extend(ask(session.repository))

    session.quiet = True
    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worker.join(_PATIENCE)
    return found if not worker.is_alive() else []
