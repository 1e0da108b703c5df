"""The branches of a union, as its supervisor sees them: each mounted and supervised, from the source that it must have, with the mark that it must carry.

What their supervisors wrote down is read all the time; the marks are read through the branches in a child, for a branch may hang.
"""

from __future__ import annotations

import errno
import json
import os
from typing import TYPE_CHECKING, Final

from holdfast.errors import ConflictError, UnreachableError
from holdfast.mount.children import Child, LateError
from holdfast.mount.live.apart import place_for
from holdfast.mount.live.union import UNION, Branch
from holdfast.mount.registry import Registry
from holdfast.mount.table import abort, mounted_at, mounts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from holdfast.mount.registry import Record

__all__ = ["Branches", "cut_off", "marked"]

#: Seconds within which the marks of all branches must have been read.
_DEADLINE: Final = 10.0
_LONGEST: Final = 1 << 16


class Branches:
    """Those of one union; of any other mount there are none, and they are always well."""

    def __bool__(self) -> bool:
        return bool(self._all)

    def __init__(self, branches: Sequence[Branch], registry: Path) -> None:
        self._all = tuple(branches)
        self._registry = Registry(registry)

    @classmethod
    def of(cls, record: Record, values: Sequence[dict[str, object]]) -> Branches:
        """Those of a record, from the values of its plan."""
        return cls([Branch(**value) for value in values], record.folder.parent)  # type: ignore[arg-type]

    def trouble(self) -> str | None:
        """What is wrong with the first that is not well, by what is known without touching any; None where all are."""
        served = {each.dir for each in mounts() if each.is_fuse} if self._all else set()
        for number, branch in enumerate(self._all, 1):
            why = self._why(branch) or (None if branch.dir in served else "is not mounted")
            if why is not None:
                return f"branch {number} at {branch.dir} {why}"
        return None

    def _why(self, branch: Branch) -> str | None:
        record = self._registry.find(branch.dir)
        if record is None:
            return "is not mounted"
        if record.settings.source != branch.source:
            return f"is a mount of {record.settings.source}, and not of {branch.source}"
        state = record.state
        if state.state == "mounted":
            return None
        return f"is {state.state}: {state.health}" if state.health else f"is {state.state}"

    def check(self) -> None:
        """See that every branch is there, and reads the mark that it must carry.

        Raises:
            UnreachableError: one is not mounted, or does not answer.
            ConflictError: one is another than it must be.
        """
        trouble = self.trouble()
        if trouble is not None:
            raise UnreachableError(trouble, hint="it is united again once all branches are there")
        if not self._all:
            return
        try:
            wrong = Child(self.look).result(_DEADLINE)
        except LateError:
            raise UnreachableError(f"the branches have not all been read within {_DEADLINE:g} s") from None
        except OSError as error:
            raise UnreachableError(f"{error.filename or 'a branch'} cannot be read: {error.strerror}") from error
        if wrong is not None:
            raise ConflictError(wrong, hint="look which bucket is mounted there, and who changed its mark")

    def look(self) -> str | None:
        """What is wrong with the marks, read through the branches; None where nothing is. It may hang: ask it in a child.

        Raises:
            OSError: one cannot be read.
        """
        for number, branch in enumerate(self._all, 1):
            try:
                with open(os.path.join(branch.dir, branch.mark), "rb", opener=_opener) as file:
                    text = file.read(_LONGEST)
            except FileNotFoundError:
                return f"branch {number} at {branch.dir} has no mark {branch.mark}"
            if not marked(text, branch.says):
                return f"branch {number} at {branch.dir} carries the mark of another in {branch.mark}"
        return None

    def probe(self) -> str:
        """As :meth:`look`, for a question that is asked again and again: what is wrong is an error of its own.

        Raises:
            OSError: one cannot be read, or is another (ESTALE).
        """
        wrong = self.look()
        if wrong is not None:
            raise OSError(errno.ESTALE, wrong)
        return "yes"


def marked(text: bytes | str, says: dict[str, object]) -> bool:
    """Whether a mark is JSON that has these values."""
    try:
        value = json.loads(text)
    except ValueError:
        return False
    return isinstance(value, dict) and all(value.get(name) == wanted for name, wanted in says.items())


def cut_off(directory: str) -> None:
    """End the union at this directory, if one is there: who reads gets an error, instead of what the other branches have alone."""
    for place in (place_for(directory), directory) if directory else ():  # it is shown before it goes from the first
        mounted = mounted_at(place)
        if mounted is not None and mounted.type == f"fuse.{UNION}":
            abort(mounted)


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC)
