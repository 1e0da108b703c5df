"""What a piece of a site's work has done so far, on this machine: a killed run is gone on with, and knows what it had consent for.

Steps are idempotent, so the journal decides nothing that is not looked at again; it keeps what cannot be found out otherwise: the
identity of the work, what the operator agreed to, and where safety copies and moved-aside folders lie. It is written whole, synced,
and readable by its owner only.
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from holdfast.disk import local_errors, sync_directory
from holdfast.errors import IntegrityError
from holdfast.failpoint import reach

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ASIDE", "BITS", "Journal"]

#: With what the names of facts begin that outlive the work: where a directory was moved, and the permission bits that it had.
ASIDE: Final = "aside "
BITS: Final = "bits "


class Journal:
    """One piece of work: its identity, facts by name, and the names of the steps that are done."""

    def __init__(self, folder: str | Path, work: str) -> None:
        self.path = Path(folder) / f"{work}.journal"
        self._told: dict[str, Any] = self._read()

    def begin(self, wish: Mapping[str, str], *, dry_run: bool = False) -> str:
        """The identity of this work: of an earlier run where that wanted the same, else a new one, and nothing is done yet.

        What an earlier run noted of the disk (:data:`ASIDE`, :data:`BITS`) is as true for the new one. A dry run begins it in memory alone.
        """
        if self._told.get("wish") != dict(wish) or not self._told.get("id"):
            facts = {name: fact for name, fact in self._told.get("facts", {}).items() if name.startswith((ASIDE, BITS))}
            self._told = {"id": secrets.token_hex(8), "wish": dict(wish), "facts": facts, "done": []}
            if not dry_run:
                self._write()
        return str(self._told["id"])

    def is_of(self, identity: str, wish: Mapping[str, str]) -> bool:
        """Whether an earlier run of this very work was not finished."""
        return self._told.get("id") == identity and self._told.get("wish") == dict(wish)

    @property
    def wish(self) -> dict[str, str]:
        """What an earlier run wanted that was not finished; empty where there is none."""
        return dict(self._told.get("wish", {}))

    @property
    def is_open(self) -> bool:
        """Whether an earlier run was not finished."""
        return bool(self._told.get("id"))

    def fact(self, name: str) -> str | None:
        """What was noted under a name."""
        found = self._told.get("facts", {}).get(name)
        return None if found is None else str(found)

    def note(self, name: str, value: str) -> None:
        """Note a fact, before what rests on it is done."""
        self._told["facts"][name] = value
        self._write()

    def is_done(self, step: str) -> bool:
        """Whether a step is done."""
        return step in self._told.get("done", ())

    def did(self, step: str) -> None:
        """A step is done, durably."""
        if step not in self._told["done"]:
            self._told["done"].append(step)
            self._write()
        reach("site.step")

    def end(self) -> None:
        """All is done: nothing is left to go on with."""
        with local_errors(self.path.parent):
            self.path.unlink(missing_ok=True)
        self._told = {}

    def _read(self) -> dict[str, Any]:
        try:
            with local_errors(self.path.parent):
                text = self.path.read_text("utf-8") if os.path.lexists(self.path) else "{}"
            told = json.loads(text)
        except (ValueError, UnicodeDecodeError):
            raise IntegrityError(
                f"{self.path} is damaged", subject=str(self.path), hint="remove it: the work then begins anew"
            ) from None
        if not isinstance(told, dict):
            raise IntegrityError(f"{self.path} is no journal", subject=str(self.path), hint="remove it")
        return told

    def _write(self) -> None:
        with local_errors(self.path.parent):
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}.part")
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with open(descriptor, "w", encoding="utf-8") as file:
                    json.dump(self._told, file)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(self.path)
            finally:
                temporary.unlink(missing_ok=True)
            sync_directory(self.path.parent)
