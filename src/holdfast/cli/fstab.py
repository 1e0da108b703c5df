"""``mount.fuse.holdfast``: how mount(8) mounts a version, by hand or for a line of ``/etc/fstab``.

mount(8) looks for the program of a type in ``/sbin`` alone, so a link must lie there. It takes ``HOME`` and ``PATH`` out of the environment, and
makes an absolute path of a spec where a file of that name lies. It calls the program as
``mount.fuse.holdfast SPEC DIR [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE]``, and passes its exit code on: 1 for a line that cannot be,
8 interrupted, 32 not mounted. What a line says is decided by :func:`parsed`, which is pure.

Example::

    parsed(["nlp/bert:1", "/mnt/bert", "-o", "rw,_netdev,store=s3://bucket/assets"])
"""

from __future__ import annotations

import getopt
import os
import re
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from holdfast.errors import HoldfastError, UsageError, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Line", "main", "parsed", "run"]

_NAME: Final = "mount.fuse.holdfast"
_USAGE: Final = f"{_NAME} SPEC DIR [-sfnv] [-o OPTION,...]: it is called by mount -t fuse.holdfast"

#: Exit codes, as mount(8) lists them.
_WRONG_LINE, _INTERRUPTED, _NOT_MOUNTED = 1, 8, 32

#: Our own: settings with a value, and words.
_SETTINGS: Final = ("store", "profile", "assets_dir")
_WORDS: Final = ("follow", "allow_other")
#: What lets ordinary users mount brings noexec with it, unless exec comes after it, says mount(8).
_FOR_USERS: Final = frozenset({"user", "users", "owner", "group", "noexec"})
#: What mount(8) and systemd take for themselves, and what every version is, or makes no difference to one: it is never written to, and holds no devices.
_OTHERS: Final = re.compile(
    r"rw|ro|defaults|(no)?auto|nofail|_netdev|nouser|comment|u?helper|(no)?suid|(no)?dev|default_permissions|silent|loud"
    r"|(no)?(a|dira|rela|stricta|lazy)time|(dir|a)?sync|[xX]-.*"
)
_ELSEWHERE: Final = {
    "writable": "asset mount SPEC DIR --writable",
    "with": "a unit of systemd mounts a live bucket: deploy/holdfast-bucket@.service",
    "remount": "asset unmount DIR, then mount it again",
    "bind": "mount --bind, once it is mounted",
}


@dataclass(slots=True)
class Line:
    """What is to be mounted where. ``settings`` are those that stand in the line; with ``fake`` it is only looked at."""

    spec: str
    directory: str
    settings: dict[str, str] = field(default_factory=dict)
    words: set[str] = field(default_factory=set)
    noexec: bool = False
    fake: bool = False
    verbose: bool = False


def parsed(words: Sequence[str], folder: str = "/") -> Line:
    """What mount(8) asks for, from a folder.

    Raises:
        UsageError: an option that is none here, or without its value; not one spec and one directory.
    """
    try:
        options, places = getopt.gnu_getopt(list(words), "sfnvo:t:N:")
    except getopt.GetoptError as error:
        raise UsageError(error.msg, subject=f"-{error.opt}", hint=_USAGE) from None
    given = {flag for flag, _ in options}
    if len(places) != 2:
        raise UsageError("one spec and one directory", subject="DIR", hint=_USAGE)
    if "-N" in given:
        raise UsageError(
            "mounting in another namespace is not supported", subject="-N", hint="nsenter -m, and mount there"
        )
    places[0] = _spec(places[0], folder)
    if "://" in places[0]:
        raise UsageError(f"{places[0]} is a bucket, and no spec", subject=places[0], hint=_ELSEWHERE["with"])
    line = Line(places[0], places[1], fake="-f" in given, verbose="-v" in given)
    for option in (each for flag, text in options if flag == "-o" for each in split(text)):
        _take(line, option, sloppy="-s" in given)
    return line


def _spec(source: str, folder: str) -> str:
    """The spec as it stood in the line: mount(8) makes a path of one that a file has the name of."""
    inside = folder.rstrip("/") + "/"
    if not source.startswith("/"):
        return source
    if source.startswith(inside):
        return source.removeprefix(inside)
    raise UsageError(
        f"{source} is a path, and no spec",
        subject=source,
        hint="a spec is NAME[:VERSION]; cd / first, for mount(8) takes it for a file",
    )


def split(options: str) -> list[str]:
    """The options of a text with commas; one in quotation marks may hold commas, and loses the marks."""
    found, quoted = [""], False
    for letter in options:
        if letter == '"':
            quoted = not quoted
        elif letter == "," and not quoted:
            found.append("")
        else:
            found[-1] += letter
    return [option for option in found if option]


def _take(line: Line, option: str, *, sloppy: bool) -> None:
    """One option.

    Raises:
        UsageError: there is none of this name, or it lacks its value; ``sloppy`` lets an unknown one be.
    """
    name, equals, value = option.partition("=")
    if name in _SETTINGS:
        if not value:
            raise UsageError(f"the option {name} lacks its value", subject=name, hint=f"{name}=...")
        line.settings[name] = value
    elif name in _WORDS and not equals:
        line.words.add(name)
    elif name in ("exec", *_FOR_USERS):
        line.noexec = name != "exec"
    elif not sloppy and _OTHERS.fullmatch(name) is None:
        hint = (
            _ELSEWHERE.get(name)
            or nearest(name, [*_SETTINGS, *_WORDS])
            or f"{', '.join(_SETTINGS)}, {', '.join(_WORDS)}"
        )
        raise UsageError(f"there is no option {option!r} for {_NAME}", subject=name, hint=hint)


def main() -> None:
    """Mount what the process's own command line says, and end the process."""
    sys.exit(run(sys.argv[1:]))


def run(words: Sequence[str]) -> int:
    """Mount what these words say; the exit code of mount(8) for it. What is wrong is said on stderr."""
    try:
        line = parsed(words, os.getcwd())
        if not line.fake:
            _mount(line)
    except HoldfastError as error:
        hint = f" ({error.hint})" if error.hint else ""
        print(f"{_NAME}: {error.message}{hint}", file=sys.stderr)
        return _WRONG_LINE if isinstance(error, UsageError) else _NOT_MOUNTED
    except KeyboardInterrupt:
        return _INTERRUPTED
    except OSError as error:
        print(f"{_NAME}: {error}", file=sys.stderr)
        return _NOT_MOUNTED
    return 0


def _mount(line: Line) -> None:
    from holdfast.config import load
    from holdfast.mount.mounting import mount_version

    given: dict[str, object] = {name: value for name, value in line.settings.items() if name != "profile"}
    settings = load(given, profile=line.settings.get("profile"))
    record = mount_version(
        line.spec,
        line.directory,
        settings=settings,
        follow="follow" in line.words,
        allow_other="allow_other" in line.words,
        noexec=line.noexec,
    )
    if line.verbose:
        print(f"{record.settings.source} is mounted at {record.settings.dir}")
