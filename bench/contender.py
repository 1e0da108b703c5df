"""What a contender is: its commands, and the place in which it has its turn."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bench.work import Work

__all__ = ["ROOT", "Command", "Contender", "Task", "find"]

ROOT: Final = Path(__file__).resolve().parents[1]
_PLACES: Final = (ROOT / ".venv" / "bin", ROOT / ".services" / "bench" / "bin")


@dataclass(frozen=True)
class Task:
    """One contender's turn: the data, an empty folder of its own, a fresh bucket (or None: a folder is the store)."""

    work: Work
    source: Path
    folder: Path
    bucket: str | None
    server: Mapping[str, str]
    machine: str = "first"

    def on(self, machine: str) -> Task:
        """The same as seen by a machine that has a home, a cache and a folder of assets of its own."""
        (self.folder / machine / "assets").mkdir(parents=True, exist_ok=True)
        return replace(self, machine=machine)

    @property
    def home(self) -> Path:
        """Where this machine keeps what it remembers."""
        return self.folder / self.machine

    @property
    def endpoint(self) -> str:
        """Where the bucket's server answers."""
        return self.server["AWS_ENDPOINT_URL"]

    @property
    def store(self) -> Path:
        """The folder that is the store where there is no bucket."""
        return self.folder / "store"

    @property
    def out(self) -> Path:
        """Where a fetch goes."""
        return self.folder / "out"


Command = list[str]


@dataclass(frozen=True)
class Contender:
    """A program. ``push`` and ``fetch`` are timed, what ``prepare`` and ``between`` do is not.

    ``where`` is a program that must be there, ``on`` the kinds of store it knows, ``versions`` whether the same push once more
    stores only what is new. A push is done by the machine "first", a fetch by "second", which knows nothing.
    """

    name: str
    where: str
    push: Callable[[Task], Command]
    fetch: Callable[[Task], Command]
    fetched: Callable[[Task], Path | None]
    env: Callable[[Task], Mapping[str, str]] = lambda _: {}
    prepare: Callable[[Task], None] = lambda _: None
    between: Callable[[Task], None] = lambda _: None
    on: tuple[str, ...] = ("bucket", "folder")
    versions: bool = False

    def missing(self) -> str | None:
        """Why it cannot be measured."""
        return None if find(self.where) else f"{self.name}: not installed ({Path(self.where).name})"


def find(name: str) -> str | None:
    """The path of an installed program."""
    return next((str(place / name) for place in _PLACES if (place / name).exists()), None) or shutil.which(name)
