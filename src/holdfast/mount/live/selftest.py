"""What a live mount can do, found out by doing it on a scratch key that is removed again. Runs in a child: a mount may hang."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from holdfast.mount.live.options import ABILITIES

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["WORKS", "lacking", "look", "pulse", "tried"]

#: What stands for an ability that there is; any other text says why there is none.
WORKS: Final = "yes"
_FIRST, _SECOND, _MORE = b"first\n", b"second, and longer\n", b"more\n"
_LONG_AGO: Final = 1_000_000_000


def tried(directory: str) -> dict[str, str]:
    """Every ability with ``yes``, or why not."""
    path = os.path.join(directory, f".holdfast-scratch-{secrets.token_hex(8)}")
    found: dict[str, str] = {}
    try:
        for ability, attempt in zip(ABILITIES, _ATTEMPTS, strict=True):
            is_pointless = found.get("write", WORKS) != WORKS
            found[ability] = "nothing can be written" if is_pointless else _outcome(attempt, path)
    finally:
        for left in (path, f"{path}.moved"):
            with suppress(OSError):
                os.unlink(left)
    return found


def lacking(needs: tuple[str, ...], abilities: dict[str, str]) -> list[str]:
    """What is needed and there is not, with the reason."""
    return [f"{need} ({abilities.get(need, 'not tried')})" for need in needs if abilities.get(need) != WORKS]


def pulse(directory: str) -> str:
    """Have the mounter answer; the kernel keeps no answer to this question, and no mounter asks its store for it."""
    os.statvfs(directory)
    return WORKS


def look(directory: str, canary: str) -> str:
    """Have the mounter ask its store: read the canary's first bytes. One that is not there is an answer as well."""
    try:
        descriptor = os.open(os.path.join(directory, canary), os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return WORKS
    try:
        os.read(descriptor, 4096)
    finally:
        os.close(descriptor)
    return WORKS


def _outcome(attempt: Callable[[str], bool], path: str) -> str:
    try:
        return WORKS if attempt(path) else "it seemed to work, and left something else"
    except OSError as error:
        return error.strerror or str(error)


def _write(path: str) -> bool:
    return _put(path, os.O_CREAT | os.O_EXCL, _FIRST)


def _read_back(path: str) -> bool:
    return _content(path) == _FIRST


def _overwrite(path: str) -> bool:
    return _put(path, os.O_TRUNC, _SECOND) and _content(path) == _SECOND


def _append(path: str) -> bool:
    before = _content(path)
    return _put(path, os.O_APPEND, _MORE) and _content(path) == before + _MORE


def _rename(path: str) -> bool:
    before = _content(path)
    os.rename(path, f"{path}.moved")
    works = not os.path.lexists(path) and _content(f"{path}.moved") == before
    os.rename(f"{path}.moved", path)
    return works


def _utime(path: str) -> bool:
    os.utime(path, (_LONG_AGO, _LONG_AGO))
    return abs(os.stat(path).st_mtime - _LONG_AGO) < 2


def _put(path: str, flags: int, data: bytes) -> bool:
    descriptor = os.open(path, os.O_WRONLY | flags, 0o600)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)  # where most of them send it, and say whether that worked
    return True


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


_ATTEMPTS: Final = (_write, _read_back, _overwrite, _append, _rename, _utime)
