"""Reads the seed's names out of a shell template without running it.

A template is lines ``export NAME="value"`` (or without ``export``), comments, and nothing else; a web server's own list has lines
``NAME:value``. Whatever a shell would replace (``$(…)``, backquotes, ``$NAME``) or run is refused with its line: a value that is
not what stands there would be a wrong value. Example::

    >>> parse_template('export SYNC_WEBROOTS="1"  # on')
    {'SYNC_WEBROOTS': '1'}
"""

from __future__ import annotations

import re
from typing import Final

from holdfast.errors import UsageError

__all__ = ["parse_template"]

_ASSIGNMENT: Final = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)\Z", re.DOTALL)
_LISTED: Final = re.compile(r"([A-Z][A-Z0-9_]*):(.*)\Z")
_REPLACED: Final = {"`": "a command substitution", "$": "a substitution"}
_RUN: Final = frozenset(";&|<>(){}")
_ESCAPABLE: Final = frozenset('"\\$`')


def parse_template(text: str) -> dict[str, str]:
    """Names and values; a name that is assigned twice has its last value.

    Raises:
        UsageError: a line is something else, or has a value that only a shell could tell.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        if not bare or bare.startswith("#"):
            continue
        listed, assigned = _LISTED.match(bare), _ASSIGNMENT.match(line)
        if assigned is not None:
            found[assigned[1]] = _value(assigned[2], assigned[1], number)
        elif listed is not None:
            found[listed[1]] = listed[2]
        else:
            raise _refused(number, f"is no assignment: {bare[:60]!r}")
    return found


def _value(text: str, name: str, number: int) -> str:
    """The value as a shell would see it, if it need replace nothing for that."""
    pieces: list[str] = []
    at = 0
    while at < len(text) and not text[at].isspace():
        sign = text[at]
        if sign == "'":
            at = _single(text, at, pieces, number)
        elif sign == '"':
            at = _double(text, at, pieces, name, number)
        elif sign in _REPLACED:
            raise _shell(text, at, name, number)
        elif sign in _RUN:
            raise _refused(number, f"has {sign!r} outside of quotes, which only a shell would understand")
        elif sign == "\\":
            pieces.append(text[at + 1 : at + 2])
            at += 2
        else:
            pieces.append(sign)
            at += 1
    rest = text[at:].strip()
    if rest and not rest.startswith("#"):
        raise _refused(number, f"goes on after the value of {name}: {rest[:60]!r}")
    return "".join(pieces)


def _single(text: str, at: int, pieces: list[str], number: int) -> int:
    end = text.find("'", at + 1)
    if end < 0:
        raise _refused(number, "has a quote that does not end")
    pieces.append(text[at + 1 : end])
    return end + 1


def _double(text: str, at: int, pieces: list[str], name: str, number: int) -> int:
    at += 1
    while at < len(text):
        sign = text[at]
        if sign == '"':
            return at + 1
        if sign in _REPLACED:
            raise _shell(text, at, name, number)
        if sign == "\\" and text[at + 1 : at + 2] in _ESCAPABLE:
            at += 1
            sign = text[at]
        pieces.append(sign)
        at += 1
    raise _refused(number, "has a quote that does not end")


def _shell(text: str, at: int, name: str, number: int) -> UsageError:
    what = "a command substitution" if text[at : at + 2] == "$(" else _REPLACED[text[at]]
    return _refused(number, f"has {what} in the value of {name}")


def _refused(number: int, what: str) -> UsageError:
    return UsageError(
        f"line {number} of the template {what}",
        subject=f"line {number}",
        hint="a template is read and never run: write the value itself",
    )
