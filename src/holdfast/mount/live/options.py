"""What is said with ``-o`` of a live mount, read as ``mount(8)`` reads it. Pure.

Options of ours are the same for every mounter: ``ro``, ``allow_other``, ``exec``, ``uid=N``, ``gid=N``, ``needs=rename+append``,
``canary=KEY``, ``deadline=SECONDS``. Any other is one of the mounter's own, in its own spelling without the leading dashes, and wins over the
template; ``!NAME`` takes one of the template's out. What holds credentials, or what the mount's safety rests on, is refused.

Example::

    >>> Choices.parse(["ro,allow_other", "vfs-cache-max-size=1G"]).given
    {'vfs-cache-max-size': '1G'}
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from holdfast.errors import UsageError, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import TypeAlias

    _Reader: TypeAlias = Callable[[str, str | None], dict[str, object]]

__all__ = ["ABILITIES", "Choices", "chosen"]

#: What the self-test tries, in its order.
ABILITIES: Final = ("write", "read_after_write", "overwrite", "append", "rename", "utime")

_NAME: Final = re.compile(r"!?[A-Za-z0-9][A-Za-z0-9_-]*\Z")
_SECRET: Final = re.compile(
    r"secret|passw|passphrase|(^|_)pass$|token|access_key|customer_key(_base64)?$|credential|header"
)
#: What would take away what every mount promises.
_NEVER: Final = frozenset(("suid", "dev", "nonempty", "allow_non_empty", "allow_root", "daemon", "background"))
_MOST_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class Choices:
    """What was chosen. ``deadline`` is how many seconds a mounter may be silent; ``canary`` a key that is read now and then.

    ``given`` are the mounter's own options (None: one without a value), ``dropped`` those of the template that are not wanted.
    """

    read_only: bool = False
    allow_other: bool = False
    executable: bool = False
    uid: int | None = None
    gid: int | None = None
    needs: tuple[str, ...] = ()
    canary: str = ".holdfast-canary"
    deadline: float = 5.0
    given: Mapping[str, str | None] = field(default_factory=dict)
    dropped: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, options: Sequence[str], needs: Iterable[str] = ()) -> Choices:
        """The choices in these texts, each one or more options with commas between; what is said last counts.

        Raises:
            UsageError: an option that cannot be, or may not be chosen.
        """
        ours: dict[str, object] = {}
        given: dict[str, str | None] = {}
        dropped: set[str] = set()
        for name, value in _pairs(options):
            if name.replace("-", "_") in _OURS:
                ours |= _OURS[name.replace("-", "_")](name, value)
            elif name.startswith("!"):
                dropped.add(name[1:])
            else:
                given[_allowed(name)] = value
        wanted = (*ours.pop("needs", ()), *_abilities("needs", "+".join(needs)))  # type: ignore[misc]
        return cls(**ours, needs=tuple(dict.fromkeys(wanted)), given=given, dropped=frozenset(dropped))  # type: ignore[arg-type]


def chosen(
    template: Mapping[str, str | None], choices: Choices, fixed: Iterable[str], *, dash: str
) -> dict[str, str | None]:
    """The template's options with those given in their place, names spelled with ``dash`` between words.

    Raises:
        UsageError: one of ``fixed`` was given: the mount sets it itself.
    """
    merged = dict(template)
    for name in choices.dropped:
        merged.pop(_spelled(name, dash), None)
    for name, value in choices.given.items():
        spelled = _spelled(name, dash)
        if spelled in fixed:
            hint = "it is set for every mount, and cannot be chosen"
            raise UsageError(f"option {name!r} is not one to choose", subject=name, hint=hint)
        merged[spelled] = value
    return merged


def _spelled(name: str, dash: str) -> str:
    return name.replace("-", dash).replace("_", dash)


def _pairs(options: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    for text in options:
        for piece in text.split(","):
            name, equals, value = piece.strip().partition("=")
            if not _NAME.match(name) or not value.isprintable() or (equals and not value):
                hint = "it reads like NAME or NAME=VALUE, several with commas between"
                raise UsageError(f"{piece!r} is not an option of a mount", subject=piece, hint=hint)
            yield name, value if equals else None


def _allowed(name: str) -> str:
    plain = name.lower().replace("-", "_")
    if _SECRET.search(plain):
        hint = "set it where the cloud's own tools look: environment, profile, credentials file"
        raise UsageError(f"option {name!r} would show a secret in the list of processes", subject=name, hint=hint)
    if plain in _NEVER:
        raise UsageError(
            f"option {name!r} is refused: every mount is nosuid, nodev, and over an empty folder", subject=name
        )
    return name


def _flag(attribute: str, *, on: bool) -> _Reader:
    def read(name: str, value: str | None) -> dict[str, object]:
        if value is not None:
            raise UsageError(f"option {name!r} takes no value", subject=name)
        return {attribute: on}

    return read


def _number(name: str, value: str | None) -> dict[str, object]:
    if value is None or not value.isdecimal() or int(value) >= 1 << 32:
        raise UsageError(f"option {name}={value} is not a number of a user or group", subject=name)
    return {name: int(value)}


def _seconds(name: str, value: str | None) -> dict[str, object]:
    try:
        seconds = float(value or "")
    except ValueError:
        seconds = 0.0
    if not 0.5 <= seconds <= _MOST_SECONDS:
        raise UsageError(f"option {name}={value} is not a number of seconds", subject=name, hint="0.5 to 600")
    return {name: seconds}


def _key(name: str, value: str | None) -> dict[str, object]:
    if not value or value != os.path.normpath(value) or value.startswith(("/", "..")):
        raise UsageError(f"option {name}={value} is not a key below the mount", subject=name)
    return {name: value}


def _abilities(name: str, value: str | None) -> tuple[str, ...]:
    wanted = tuple(word.replace("-", "_") for word in (value or "").split("+") if word)
    for word in wanted:
        if word not in ABILITIES:
            hint = nearest(word, list(ABILITIES)) or f"abilities: {', '.join(ABILITIES)}"
            raise UsageError(f"{name}: {word!r} is nothing that a mount is tested for", subject=word, hint=hint)
    return wanted


_OURS: Final[dict[str, _Reader]] = {
    "ro": _flag("read_only", on=True),
    "rw": _flag("read_only", on=False),
    "allow_other": _flag("allow_other", on=True),
    "exec": _flag("executable", on=True),
    "noexec": _flag("executable", on=False),
    "uid": _number,
    "gid": _number,
    "canary": _key,
    "deadline": _seconds,
    "needs": lambda name, value: {"needs": _abilities(name, value)},
}
