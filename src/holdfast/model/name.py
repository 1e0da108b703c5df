"""Names of assets: what may be read, and what a new one must keep to.

Readable names are those that modelkit wrote and that are safe in a path; new names also avoid what collides in a store
(design §2: no piece is a version of a known scheme or ends like a key of the convention; faults W9 and W14 of modelkit).
"""

from __future__ import annotations

import re

from holdfast.errors import InvalidNameError
from holdfast.model.version import BUILT_IN, VersionScheme

__all__ = ["LONGEST", "check_new", "check_readable", "is_readable"]

#: Longest name in characters; its encoded form is one piece of a key and must fit a file name.
LONGEST = 200

_CHARACTERS = re.compile(r"[A-Za-z0-9._/-]+\Z")
_RESERVED_ENDS = (".versions", ".meta", ".json")


def check_readable(name: str) -> str:
    """The name, if an asset of that name can be looked up.

    Raises:
        InvalidNameError: a character outside ``A-Z a-z 0-9 . _ - /``, an empty piece, ``.`` or ``..``, a leading or trailing
            sign, or too long; the message names the piece and the rule.
    """
    if not name:
        raise InvalidNameError("empty asset name", subject=name)
    if len(name) > LONGEST:
        raise InvalidNameError(f"asset name of {len(name)} characters: at most {LONGEST}", subject=name[:60])
    if not _CHARACTERS.match(name):
        bad = next(character for character in name if not _CHARACTERS.match(character))
        raise _refused(name, f"character {bad!r} is not one of letters, digits, '.', '_', '-', '/'")
    for piece in name.split("/"):
        if not piece:
            raise _refused(name, "empty piece (two slashes, or one at an end)")
        if piece in (".", ".."):
            raise _refused(name, f"piece {piece!r}")
    if not (name[0].isalnum() and name[-1].isalnum()):
        raise _refused(name, "it must start and end with a letter or digit")
    return name


def is_readable(name: str) -> bool:
    """Whether an asset of that name can be looked up."""
    try:
        check_readable(name)
    except InvalidNameError:
        return False
    return True


def check_new(name: str, schemes: dict[str, VersionScheme] = BUILT_IN) -> str:
    """The name, if a new asset may have it.

    Raises:
        InvalidNameError: not readable; or a piece starts with ``.``, is a valid version of a known scheme, or ends in
            ``.versions``, ``.meta`` or ``.json``.
    """
    check_readable(name)
    if len(name) + 2 * sum(not (c.isalnum() or c in "_-") for c in name) > LONGEST + 40:
        raise _refused(name, "too many '.' and '/' for its length")
    for piece in name.split("/"):
        if piece.startswith("."):
            raise _refused(name, f"piece {piece!r} starts with '.'")
        for ending in _RESERVED_ENDS:
            if piece.endswith(ending):
                raise _refused(name, f"piece {piece!r} ends in {ending!r}, which the convention uses")
        for scheme in schemes.values():
            if scheme.is_full(piece):
                raise _refused(name, f"piece {piece!r} reads as a version ({scheme.name}) and would collide with one")
    return name


def _refused(name: str, rule: str) -> InvalidNameError:
    return InvalidNameError(f"invalid asset name {name!r}: {rule}", subject=name)
