"""Runs the commands of a site, around a backup and after a restore: without a shell, with a deadline, in a process group of their own.

``{dir}`` in an argument is a folder that is part of the backup. A command that fails, or takes longer than its deadline, fails what
it belongs to; its whole group is killed then.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from typing import TYPE_CHECKING, Final

from holdfast.errors import HoldfastError, LocalError
from holdfast.sites.groups import code_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from holdfast.sites.values import Command

__all__ = ["run_commands"]

#: So much of what a failed command said at its end is told.
_TOLD: Final = 400


def run_commands(
    commands: Sequence[Command], folder: Path, environ: Mapping[str, str], alive: Callable[[], None] = lambda: None
) -> None:
    """Run them one after the other. ``alive`` is asked meanwhile, and stops them by raising.

    Raises:
        HoldfastError: one failed, or took too long; it is named, with what it said last.
        LocalError: one cannot be started.
    """
    for command in commands:
        words = [word.replace("{dir}", str(folder)) for word in command.run]
        with tempfile.TemporaryFile() as said:
            code = _run(words, command, folder, environ, alive, said.fileno())
            said.seek(max(0, said.seek(0, os.SEEK_END) - _TOLD))
            tail = said.read().decode(errors="replace").strip()
        if code is None:
            raise HoldfastError(
                f"{words[0]} was killed: it took longer than {command.deadline:.0f} s",
                subject=words[0],
                hint=tail or None,
            )
        if code != 0:
            how = f"ended with code {code}" if code > 0 else f"was killed by signal {-code}"
            raise HoldfastError(f"{words[0]} {how}", subject=words[0], hint=tail or "it said nothing")


def _run(
    words: list[str], command: Command, folder: Path, environ: Mapping[str, str], alive: Callable[[], None], said: int
) -> int | None:
    """Its exit code; None where it was killed at its deadline."""
    output = _output(folder / command.into) if command.into is not None else said
    try:
        process = subprocess.Popen(
            words,
            cwd=folder,
            env=dict(environ) | {"HOLDFAST_SITE_DIR": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=said,
            start_new_session=True,
        )
    except OSError as error:
        raise LocalError(f"cannot start {words[0]}: {error.strerror}", subject=words[0]) from error
    finally:
        if command.into is not None:
            os.close(output)
    return code_of(process, command.deadline, alive)


def _output(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
