"""The entry point: runs a command line, and turns every way it can end into an exit code and a message.

Start-up counts: nothing else is imported before it is known what was asked for. What a failure looks like is decided
here alone (interface.md §1): text on stderr, or with ``--json`` one document on stdout.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import TYPE_CHECKING

from holdfast.cli import shortcut

if TYPE_CHECKING:
    from holdfast.errors import HoldfastError

__all__ = ["main", "run"]

_PROGRAMS = ("asset", "holdfast")
#: The exit code of ``interrupted``, without a look at the others.
_INTERRUPTED = 130


def main() -> None:
    """Run the process's own command line and end the process."""
    _read_names_as_utf8()
    code = run(sys.argv[1:])
    _end_at_once(code)
    gc.freeze()  # everything goes now: the interpreter need not look for cycles first
    sys.exit(code)


def _end_at_once(code: int) -> None:
    """From here on Ctrl-C ends the process without a word: all is told, and only threads and the interpreter have yet to end.

    After Ctrl-C they have little time for it.
    """
    if code == _INTERRUPTED:
        from holdfast.cli.interrupting import end_soon

        end_soon(code)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # whoever had it ignored has it ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _read_names_as_utf8() -> None:
    """In a locale of another encoding the program starts again in Python's UTF-8 mode.

    A version's names are UTF-8, as they are on the disk: read as Latin-1 they would be pushed as other names, and names
    beyond it could not be laid out. Python settles that before our first line, so nothing less than a new start changes it.
    """
    if sys.getfilesystemencoding().lower() == "utf-8" or sys.flags.utf8_mode or not sys.executable:
        return
    os.putenv("PYTHONUTF8", "1")  # for the processes that this one starts: supervisors, workers
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606 - itself, as it was called


def run(args: list[str]) -> int:
    """Run a command line; the exit code. Nothing but an exit by a signal gets past here."""
    _open_closed_streams()
    _allow_any_path()
    code = 0
    try:
        if args == ["--version"]:
            print(version_line())
        elif "fetch" not in args or not shortcut.answered(args):
            # A short life with much to remember and no cycles: looking for them cost a tenth of a push of 20,000 files.
            gc.set_threshold(200_000, 20, 20)
            code = _run(args)
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()  # whoever read it stopped reading: no reason for noise
        return code or 1
    except KeyboardInterrupt:
        return _interrupted(as_json=_json_wanted(args))
    except OSError as error:
        _discard_output()
        return code or _failed(_local(error), verbose=False, as_json=False)
    return code


def _open_closed_streams() -> None:
    """A stream that the caller closed is an empty one: what it would show is for nobody, and no file of ours gets its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, open(nowhere, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - until the process ends


def _allow_any_path() -> None:
    """Paths that are not in the terminal's encoding go out as the bytes that they are; other text never fails."""
    if hasattr(sys.stdout, "reconfigure"):
        utf8 = sys.stdout.encoding.lower() == "utf-8"
        sys.stdout.reconfigure(errors="surrogateescape" if utf8 else "backslashreplace")


def version_line() -> str:
    """``asset 1.2.3``."""
    from holdfast import __version__

    return f"asset {__version__}"


def program_name() -> str:
    """The name by which the user called us."""
    name = sys.argv[0].replace("\\", "/").rpartition("/")[2].removesuffix(".exe")
    return name if name in _PROGRAMS else _PROGRAMS[0]


def _json_wanted(args: list[str]) -> bool:
    """Whether ``--json`` was given, known before the line is parsed: a usage error is JSON, too."""
    return "--json" in (args[: args.index("--")] if "--" in args else args)


def _run(args: list[str]) -> int:
    import click

    from holdfast.cli import interrupting
    from holdfast.cli.options import Session
    from holdfast.cli.program import program
    from holdfast.errors import KINDS, HoldfastError

    session = Session(json=_json_wanted(args))
    problem: HoldfastError
    try:
        if not args:
            program.main(["--help"], prog_name=program_name(), standalone_mode=False)
            return KINDS["usage"][0]
        with interrupting.heard(lambda: _end_interrupted(as_json=session.json)):
            code = program.main(args, prog_name=program_name(), standalone_mode=False, obj=session)
    except HoldfastError as error:
        problem = error
    except click.Abort:
        return _interrupted(as_json=session.json)
    except click.ClickException as error:
        problem = _usage(error)
    except BrokenPipeError:
        raise
    except OSError as error:
        problem = _local(error)
    except Exception as error:  # noqa: BLE001 - the last resort: one clear line instead of a traceback
        problem = _not_text(error, args) or _unexpected(error)
    else:
        return code if isinstance(code, int) else 0
    return _failed(problem, verbose=bool(session.verbose), as_json=session.json)


def _failed(error: HoldfastError, *, verbose: bool, as_json: bool) -> int:
    from holdfast.cli.output import print_error

    if verbose:
        import traceback

        traceback.print_exception(error.__cause__ or error, file=sys.stderr)
    print_error(error, as_json=as_json)
    return error.exit_code


def _usage(error: Exception) -> HoldfastError:
    """Click's own complaint as one of our errors."""
    import click

    from holdfast.errors import UsageError

    message = error.format_message() if isinstance(error, click.ClickException) else str(error)
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else program_name()
    return UsageError(message.rstrip("."), hint=f"see '{command} --help'")


def _local(error: OSError) -> HoldfastError:
    from holdfast.errors import LocalError

    what = f"{error.strerror or error}: {error.filename}" if error.filename else str(error)
    ours = LocalError(what, subject=None if error.filename is None else str(error.filename))
    ours.__cause__ = error
    return ours


def _not_text(error: Exception, args: list[str]) -> HoldfastError | None:
    """Bad input: an argument that is not UTF-8 where only a text can be, as a setting or what a server is asked for."""
    from holdfast.errors import UsageError

    strange = [arg for arg in args if any("\udc80" <= char <= "\udcff" for char in arg)]
    if not strange or not isinstance(error, UnicodeEncodeError):
        return None
    ours = UsageError(f"{strange[0]!r} is not UTF-8", subject=strange[0])
    ours.__cause__ = error
    return ours


def _unexpected(error: Exception) -> HoldfastError:
    from holdfast.errors import HoldfastError

    text = " ".join(str(error).split()) or "no message"
    ours = HoldfastError(f"unexpected {type(error).__name__}: {text}", hint="this is a fault of ours; -v shows where")
    ours.__cause__ = error
    return ours


def _interrupted(*, as_json: bool) -> int:
    """Say so, whole, though Ctrl-C is pressed again meanwhile."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return _say_interrupted(as_json=as_json)
    finally:
        signal.signal(signal.SIGINT, before)


def _end_interrupted(*, as_json: bool) -> None:
    """End the process, in another thread than the one that would have to end first."""
    os._exit(_say_interrupted(as_json=as_json))


def _say_interrupted(*, as_json: bool) -> int:
    from holdfast.cli.output import print_failure

    try:
        print_failure("interrupted", "interrupted", None, as_json=as_json)
        sys.stdout.flush()
    except OSError:
        _discard_output()  # the same Ctrl-C ended who read it
    return _INTERRUPTED


def _discard_output() -> None:
    """Stdout cannot be written: what is left of it must not fail once more when the interpreter ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
