"""Reads below a mount, in a process of their own: a mount may hang, and who waits for it cannot be ended.

Example::

    told = look_below("/srv/www/images", {"logo.png": True}, seconds=5.0)
    told["logo.png"]    # [size, digest, None], or [what the system said]

Run as ``python -m holdfast.sites.probing DIR`` it reads ``{path: whether to read it}`` as JSON from its input and prints the answers.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from holdfast.model.digest import Hasher
from holdfast.mount.live.finding import environment

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Probe", "look_below"]

_STEP: Final = 1 << 20
_TEXT: Final = 4096
_LATE: Final = "it did not answer in time"


class Probe:
    """Some reads under way."""

    def __init__(self, directory: str, paths: Mapping[str, bool], *, text: bool = False) -> None:
        self._paths = dict(paths)
        variables = environment("/") | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "holdfast.sites.probing", directory, *["--text"] * text],
            env=variables,
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def result(self, seconds: float) -> dict[str, list[object]]:
        """Of each path its size, digest (None where it was not to be read) and ``text``; or one text alone: why it could not be read."""
        try:
            out, _ = self._process.communicate(json.dumps(self._paths).encode(), timeout=seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()  # and nobody waits for it: it ends when the mount is cut off
            return {path: [_LATE] for path in self._paths}
        try:
            told = json.loads(out)
        except ValueError:
            told = {}
        return {path: told.get(path) or ["it could not be looked at"] for path in self._paths}


def look_below(directory: str, paths: Mapping[str, bool], *, seconds: float) -> dict[str, list[object]]:
    """Look at these paths below a directory; those that are True are read whole."""
    return Probe(directory, paths).result(seconds)


def _main(directory: str, *, text: bool) -> None:
    paths = json.loads(sys.stdin.read())
    answers = {path: _answer(os.path.join(directory, path), read=read, text=text) for path, read in paths.items()}
    json.dump(answers, sys.stdout)


def _answer(path: str, *, read: bool, text: bool) -> list[object]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb", buffering=0) as file:
            size = os.fstat(descriptor).st_size
            if not read:
                return [size, None, None]
            hasher, first = Hasher(), b""
            while data := file.read(_STEP):
                first = first or data[:_TEXT]
                hasher.update(data)
            return [size, hasher.hexdigest(), first.decode("utf-8", "replace") if text else None]
    except OSError as error:
        return [error.strerror or str(error)]


if __name__ == "__main__":
    _main(sys.argv[1], text="--text" in sys.argv[2:])
