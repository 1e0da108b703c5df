"""The doors of the conformance suite: each is a store's URL and the environment in which a client finds its way to it.

A *site* is one store with all the doors that lead to it. A client of a door has that door's means alone: through a server no keys of the
bucket, in the bucket no token.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.e2e.driver import Runner, lay

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Names of the environment that belong to a door.
OWN = ("AWS_", "S3_", "GOOGLE_", "HOLDFAST_", "ASSET_")


@dataclass(frozen=True)
class Door:
    """A way to a store. ``machine`` is the client's: its settings, its cache, its assets."""

    kind: str
    url: str
    machine: Path
    env: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """This process is on that machine."""
        with pytest.MonkeyPatch.context() as patch:
            for name in list(os.environ):
                if name.startswith(OWN) and not name.startswith("HOLDFAST_TEST_"):
                    patch.delenv(name)
            for name, value in self.environ.items():
                patch.setenv(name, value)
            yield

    @property
    def environ(self) -> dict[str, str]:
        """What the client's environment holds beside PATH."""
        home = self.machine / "home"
        kept = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
        return (
            self.env
            | kept
            | {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "XDG_CONFIG_HOME": str(home / "config")}
        )

    def open(self, assets: str = "assets", **options):
        """The client; ``assets`` names its folder of fetched versions, empty where no test has used the name."""
        import holdfast

        (self.machine / assets).mkdir(parents=True, exist_ok=True)
        with self.entered():
            return holdfast.open(self.url, assets_dir=self.machine / assets, **options)

    def push(self, name: str, content: dict[str, bytes] | bytes, **options):
        """Push these files, or this one file."""
        with self.entered():
            return self.open().push(self.lay(content), name, **options)

    def lay(self, content: dict[str, bytes] | bytes) -> Path:
        """A source with this content, in a folder that nobody has used."""
        self.machine.mkdir(parents=True, exist_ok=True)
        source = self.machine / f"source-{len(list(self.machine.glob('source-*')))}"
        if isinstance(content, bytes):
            source.write_bytes(content)
            return source
        return lay(source, content)

    def runner(self) -> Runner:
        """Processes on that machine."""
        return Runner(self.machine / "home", self.environ)


@dataclass(frozen=True)
class Site:
    """A store that nobody has used, and every door to it by kind."""

    doors: dict[str, Door]
