"""A command line to run: each call is a process of its own, on a store in a folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests import forking

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on stdout."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        """The lines on stdout."""
        return self.out.splitlines()


@dataclass(frozen=True)
class Asset:
    """The program ``asset`` with a home, a store and a working folder of its own."""

    folder: Path

    @property
    def store(self) -> str:
        """The store's URL."""
        return f"file://{self.folder / 'store'}"

    @property
    def assets_dir(self) -> Path:
        """Where fetched versions lie."""
        return self.folder / "home" / ".cache" / "holdfast" / "assets"

    @property
    def config(self) -> Path:
        """The settings' file."""
        return self.folder / "home" / ".config" / "holdfast" / "config.toml"

    def environ(self, **more: str | None) -> dict[str, str]:
        """The environment of a call; None takes a variable out."""
        kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "PYTHONPATH") if name in os.environ}
        given = (
            kept | {"HOME": str(self.folder / "home"), "HOLDFAST_STORE": self.store, "PYTHONWARNINGS": "error"} | more
        )
        return {name: value for name, value in given.items() if value is not None}

    def __call__(self, *args: str, stdin: str = "", **environ: str | None) -> Ended:
        """Run it to its end."""
        done = forking.run("holdfast.cli", args, stdin=stdin, cwd=self.folder, env=self.environ(**environ))
        return Ended(done.returncode, done.stdout, done.stderr)

    def without_rights(self, *args: str) -> tuple[int, Any]:
        """Exit code and document of a command whose user may not read or write everything: as root may, but for that."""
        taken = "-dac_override,-dac_read_search"
        prefix = ["setpriv", f"--bounding-set={taken}", f"--inh-caps={taken}"] if os.geteuid() == 0 else []
        line = [*prefix, sys.executable, "-m", "holdfast.cli", *args, "--json"]
        done = subprocess.run(line, capture_output=True, check=False, text=True, cwd=self.folder, env=self.environ())
        return done.returncode, json.loads(done.stdout)

    def ok(self, *args: str, **environ: str | None) -> Ended:
        """Run it; it must end well."""
        ended = self(*args, **environ)
        assert ended.code == 0, ended
        return ended

    def error(self, code: int, *args: str, **environ: str | None) -> dict[str, Any]:
        """Run it with ``--json``; it must fail with this code, and with an error of the documented shape."""
        ended = self(*args, "--json", **environ)
        assert ended.code == code, ended
        error: dict[str, Any] = ended.json["error"]
        assert set(error) == {"kind", "message", "hint"}
        return error


needs_rights = pytest.mark.skipif(
    os.geteuid() == 0 and shutil.which("setpriv") is None, reason="setpriv takes root's rights away"
)


def made(folder: Path) -> Path:
    """A home, an empty store, and a directory ``model`` of three files."""
    for name in ("home", "store", "model/sub"):
        (folder / name).mkdir(parents=True)
    (folder / "model" / "config.json").write_text("{}")
    (folder / "model" / "sub" / "weights.bin").write_bytes(b"\x00\xff" * 500)
    (folder / "model" / ".hidden").write_text("h")
    return folder


@pytest.fixture
def asset(tmp_path: Path) -> Asset:
    """The program, with a directory ``model`` of three files to push."""
    return Asset(made(tmp_path))


@pytest.fixture(scope="session")
def _pushed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which was pushed what ``pushed`` promises; copied for each test."""
    asset = Asset(made(tmp_path_factory.mktemp("pushed")))
    asset.ok("push", "model", "nlp/bert", "--message", "first")
    (asset.folder / "model" / "more.txt").write_text("more")
    asset.ok("push", "model", "nlp/bert", "--alias", "stable")
    return asset.folder


@pytest.fixture
def pushed(_pushed_once: Path, tmp_path: Path) -> Asset:
    """The program, with ``nlp/bert`` pushed twice: 0.0 and, with one file more, 0.1, which is ``stable``."""
    shutil.copytree(_pushed_once, tmp_path, dirs_exist_ok=True, symlinks=True)
    return Asset(tmp_path)
