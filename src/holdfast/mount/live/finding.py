"""Which program mounts: found in folders that may be trusted, and asked for its version.

Root runs what it finds here, so it never looks along the caller's PATH: folders are those of the setting ``mount_path``, else the
system's. A program, or a folder above it, that others may write is refused.
"""

from __future__ import annotations

import os
import re
import stat
import subprocess
import tempfile
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from holdfast.errors import LocalError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from holdfast.mount.live.templates import Program

__all__ = ["SYSTEM_FOLDERS", "environment", "found", "version_of"]

#: Where the system keeps its programs; also the PATH of every mounter.
SYSTEM_FOLDERS: Final = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
#: Seconds to tell a version in.
_PATIENCE: Final = 10.0
_VERSION: Final = re.compile(r"\bv?(\d+(?:\.\d+)+)", re.IGNORECASE)


def environment(home: str) -> dict[str, str]:
    """The environment of a mounter, to which its credentials may be added: nothing of the caller's is in it."""
    return {"PATH": ":".join(SYSTEM_FOLDERS), "HOME": home, "LC_ALL": "C.UTF-8"}


def found(mounter: Program, folders: Sequence[str] | None, variables: Mapping[str, str]) -> str:
    """The path of a mounter's program: in these folders, else the system's; else, for who is not root, along PATH.

    Raises:
        LocalError: it is not there, or others may write it.
        UnsupportedError: it is too old, or does not tell its version.
    """
    places = list(folders or SYSTEM_FOLDERS)
    if folders is None and os.geteuid() != 0:
        places += [place for place in variables.get("PATH", "").split(":") if os.path.isabs(place)]
    candidates = (os.path.join(place, mounter.name) for place in places)
    program = next((path for path in candidates if os.path.isfile(path) and os.access(path, os.X_OK)), None)
    if program is None:
        hint = "install it, or name its folder in the setting mount_path"
        raise LocalError(
            f"{mounter.name} is not installed: not in {', '.join(places)}", subject=mounter.name, hint=hint
        )
    path = os.path.realpath(program)
    _refuse_untrusted(path)
    version = version_of(mounter, path)
    if version < mounter.oldest:
        wanted, seen = (".".join(map(str, numbers)) for numbers in (mounter.oldest, version))
        message = f"{path} is {mounter.name} {seen}, which is too old: {mounter.why}"
        raise UnsupportedError(message, subject=path, hint=f"install {mounter.name} {wanted} or newer")
    return path


def version_of(mounter: Program, program: str) -> tuple[int, ...]:
    """The version that a program tells; it is asked once, unless it was replaced since.

    Raises:
        UnsupportedError: it tells none, or not in time.
    """
    try:
        status = os.stat(program)
    except OSError as error:
        raise UnsupportedError(f"{program} cannot be run: {error.strerror}", subject=program) from error
    return _told(mounter.name, mounter.version_argument, program, (status.st_dev, status.st_ino, status.st_ctime_ns))


@lru_cache(maxsize=16)
def _told(name: str, argument: str, program: str, _: tuple[int, int, int]) -> tuple[int, ...]:
    try:
        with tempfile.TemporaryDirectory(
            prefix="holdfast-"
        ) as home:  # rclone makes folders in a home to tell its version
            done = subprocess.run(
                [program, argument],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment(home),
                cwd="/",
                timeout=_PATIENCE,
                check=False,
            )
    except subprocess.TimeoutExpired:
        raise UnsupportedError(
            f"{program} does not tell its version within {_PATIENCE:.0f} s", subject=program
        ) from None
    except OSError as error:
        raise UnsupportedError(f"{program} cannot be run: {error.strerror}", subject=program) from error
    match = _VERSION.search(done.stdout.decode(errors="replace"))
    if match is None:
        message = f"{program} does not tell its version, and may be another program than {name}"
        raise UnsupportedError(message, subject=program)
    return tuple(int(number) for number in match[1].split("."))


def _refuse_untrusted(program: str) -> None:
    """Refuse a program that somebody else than root and this user could have put there."""
    for path in _and_above(program):
        status = os.stat(path)
        is_shared = status.st_mode & 0o022 and not (stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX)
        if status.st_uid not in (0, os.geteuid()) or is_shared:
            raise LocalError(
                f"{program} is not run: {path} can be written by others",
                subject=program,
                hint="chown it to root and take the right to write from others",
            )


def _and_above(path: str) -> Iterable[str]:
    while True:
        yield path
        if (above := os.path.dirname(path)) == path:
            return
        path = above
