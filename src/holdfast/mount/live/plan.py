"""What a supervisor needs to know to mount a live bucket again and again: plain values, kept as the options of the mount's record."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from holdfast.disk import local_errors
from holdfast.mount.live.parts import Parts
from holdfast.mount.live.templates import MOUNTERS
from holdfast.mount.live.union import UNION
from holdfast.mount.live.unsent import set_aside_now, unsettled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.mount.registry import Record

__all__ = ["KINDS", "Plan", "waiting", "write_private"]

#: What is kept mounted by a live supervisor.
KINDS: Final = frozenset((*MOUNTERS, UNION))


@dataclass(frozen=True, slots=True)
class Plan:
    """How it is mounted. ``mode`` are the directory's own bits, ``deadline`` the seconds that the mounter may be silent.

    What holds credentials stands in files below ``private``, its environment among them, and never here. ``branches`` are those of a union, as
    values; ``above`` is the directory of the union that this mount is a branch of, or empty. ``laid`` is what lies over the mount
    on this machine. ``apart`` is where the mounter of root mounts (:mod:`.apart`), or empty.
    Where the supervisor ``keeps_closed`` the directory, whoever started it, or unmounts, opens that.
    """

    program: str
    arguments: list[str]
    private: str
    cache: str
    mode: int
    deadline: float
    canary: str
    needs: list[str]
    flags: list[str]
    branches: list[dict[str, Any]] = field(default_factory=list)
    above: str = ""
    laid: dict[str, Any] | None = None
    apart: str = ""
    keeps_closed: bool = False

    @classmethod
    def of(cls, record: Record) -> Plan:
        """The plan in a mount's record."""
        return cls(**record.settings.options)

    @property
    def parts(self) -> Parts | None:
        """What lies over the mount."""
        return None if self.laid is None else Parts.of(self.laid)

    @property
    def aside(self) -> str:
        """Where files lie that were saved from a cache, beside it."""
        return f"{self.cache}.aside"

    def options(self) -> dict[str, Any]:
        """As a record keeps it."""
        return asdict(self)

    def environment(self) -> dict[str, str]:
        """The mounter's environment."""
        text = Path(self.private, "environment.json").read_text("utf-8")
        return {str(name): str(value) for name, value in json.loads(text).items()}


def waiting(record: Record) -> list[str]:
    """What was written to a live mount and is not in its bucket yet, by its path below the mount."""
    plan = Plan.of(record)
    return sorted({*unsettled(plan.cache, record.settings.source), *set_aside_now(plan.aside)})


def write_private(folder: str, files: Mapping[str, str], environment: Mapping[str, str]) -> None:
    """Put files with credentials, and the environment, where this user alone may read them."""
    with local_errors(Path(folder)):
        os.makedirs(folder, mode=0o700, exist_ok=True)
        os.chmod(folder, 0o700)
        for name, text in {**files, "environment.json": json.dumps(dict(environment))}.items():
            path = os.path.join(folder, name)
            part = f"{path}.part"
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(part, path)
