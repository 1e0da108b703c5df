"""Documents that tests type as they stand: their commands, in order, and what the document says that each prints.

Blocks marked ``console`` hold commands after ``$ `` or ``machine# ``; a backslash goes on on the next line. What follows a command is what it
prints in essence: each such line is met, in that order, among the lines that it printed; ``…`` stands for any text, and spaces for any number of
them. ``exit code 4`` at the end says how it ends where that is not 0. A comment above a block says what else is done with it::

    <!-- made: a mounter is killed on web2 -->        something happens to the machines
    <!-- write: web2 /etc/holdfast/site.keys -->      the next block is the text of a file there
    <!-- change: web2 /etc/holdfast/site.toml -->     the next block has settings that are changed or added there
    <!-- not typed: why -->                           the next block is left out
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Made", "Typed", "Written", "commands", "missed", "steps"]

_PIECE: Final = re.compile(
    r"^```(\w*)\n(.*?)^```$|^<!-- (made|write|change|not typed): (.*?) -->$", re.DOTALL | re.MULTILINE
)
_PROMPT: Final = re.compile(r"(?:\$|([a-z][a-z0-9]*)#) (.*)")
_CODE: Final = re.compile(r"exit code (\d+)")


@dataclass(frozen=True, slots=True)
class Typed:
    """A command: on which machine (empty: this one), what it shows, its exit code, and the line of the document."""

    machine: str
    command: str
    shown: tuple[str, ...]
    code: int
    line: int


@dataclass(frozen=True, slots=True)
class Written:
    """A block that becomes a file, or changes settings in one: ``how`` is ``write`` or ``change``."""

    how: str
    machine: str
    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Made:
    """What happens to the machines at this place."""

    what: str


def steps(text: str) -> Iterator[Typed | Written | Made]:
    """All that is done with a document, in order."""
    pending: tuple[str, str] | None = None
    for piece in _PIECE.finditer(text):
        kind, block, directive, argument = piece.groups()
        if directive == "made":
            yield Made(argument)
        elif directive is not None:
            pending = directive, argument
        else:
            line = text.count("\n", 0, piece.start()) + 2
            if pending is not None and pending[0] != "not typed":
                machine, _, path = pending[1].partition(" ")
                yield Written(pending[0], machine, path, block)
            elif pending is None and kind == "console":
                yield from _typed(block, line)
            pending = None


def _typed(block: str, number: int) -> Iterator[Typed]:
    lines = block.splitlines()
    at = 0
    while at < len(lines):
        begun = at
        prompt = _PROMPT.fullmatch(lines[at])
        assert prompt, f"line {number + at} is no command: {lines[at]}"
        command = prompt[2]
        while command.endswith("\\"):
            at += 1
            command = command[:-1] + lines[at].strip()
        at += 1
        shown = []
        while at < len(lines) and not _PROMPT.fullmatch(lines[at]):
            shown.append(lines[at])
            at += 1
        code = _CODE.fullmatch(shown[-1]) if shown else None
        yield Typed(
            prompt[1] or "", command, tuple(shown[:-1] if code else shown), int(code[1]) if code else 0, number + begun
        )


def commands(text: str) -> list[str]:
    """The commands alone."""
    return [each.command for each in steps(text) if isinstance(each, Typed)]


def missed(shown: tuple[str, ...], printed: str) -> str | None:
    """The first line that should have been printed and was not, in order; None where all were."""
    left = iter(printed.splitlines())
    for line in shown:
        pattern = re.compile(r"\s+".join(_pattern(word) for word in line.split()))
        if line.strip() != "…" and not any(pattern.fullmatch(each.strip()) for each in left):
            return line
    return None


def _pattern(word: str) -> str:
    return ".*".join(map(re.escape, word.split("…")))
