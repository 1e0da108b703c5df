"""A folder that is restored in place, reached from an operator's folder above it, and the folder beside it into which things go aside."""

from __future__ import annotations

import os
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from holdfast.cache.tree import Exclusion
from holdfast.sites.paths import Below

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Roots"]


@dataclass
class Roots:
    """One folder that is restored: the webroot, or a directory of media outside of it, at ``path`` below an operator's folder ``top``.

    Whoever may write between the two can plant a link there, so the one is only ever reached from the other.
    """

    copy: Path
    top: str
    path: str = ""
    scope: str | None = None
    skip: Exclusion = field(default_factory=lambda: Exclusion(()))

    @property
    def root(self) -> str:
        """Where it lies, for the table of mounts: links in the operator's own part are followed."""
        top = os.path.realpath(self.top)
        return f"{top.rstrip('/')}/{self.path}" if self.path else top

    @property
    def is_there(self) -> bool:
        """Whether there is such a folder, or anything in its place."""
        if not self.path:
            return os.path.exists(self.top)
        with Below(self.top) as top:
            return top.look(self.path) is not None

    def opened(self) -> Below:
        """Its insides."""
        return Below(self.top, self.path)

    def make(self) -> None:
        """Make it, where it is not there."""
        if self.is_there:
            return
        if not self.path:
            os.mkdir(self.top)
        else:
            with Below(self.top) as top:
                top.make(self.path)

    def beside(self) -> tuple[str, str]:
        """A new folder beside it, for its owner only; as an operator's folder and the path below that."""
        stamp = f"aside-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{secrets.token_hex(3)}"
        above, _, name = (self.path or self.top.rstrip("/")).rpartition("/")
        top, inner = (self.top, f"{above}/" if above else "") if self.path else (above or "/", "")
        with Below(top) as folder:
            folder.make(f"{inner}.{name}.{stamp}", 0o700)
        return top, f"{inner}.{name}.{stamp}"
