"""A site of a small application, stores in folders, and the program that is run on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.conftest import Asset

if TYPE_CHECKING:
    from pathlib import Path

FILES = {
    "index.php": b"<?php echo 'www.example.com';",
    ".htaccess": b"deny",
    "configuration.php": b"<?php $password = 'secret';",
    "images/logo.png": b"\x89PNG\x00logo",
    "images/.hidden": b"h",
    "images/deep/photo.jpg": b"\xff\xd8\x00photo",
    "media/system/images/icon.svg": b"<svg/>",
    "logs/error.log": b"error",
    "tmp/session": b"session",
}


class SiteRunner(Asset):
    """The program, with a webroot, stores ``one`` and ``two``, and a ``site.toml``."""

    @property
    def webroot(self) -> Path:
        """The webroot."""
        return self.folder / "www"

    def stores(self, *names: str) -> str:
        """These stores as they stand in the settings."""
        return "".join(f'[[stores]]\nurl = "{(self.folder / name).as_uri()}"\n' for name in names)

    def write(self, text: str = "", *, stores: tuple[str, ...] = ("one",), after: str = "") -> None:
        """The settings: what every site has, these, the stores, and what comes after them."""
        head = {"site_url": "www.example.com", "webroot": str(self.webroot), "application": "joomla", "build": "hourly"}
        lines = [f'{name} = "{value}"\n' for name, value in head.items() if f"{name} =" not in text]
        state = f'state = "{self.folder / "state"}"\n'
        (self.folder / "site.toml").write_text("".join(lines) + state + text + "\n" + self.stores(*stores) + after)

    def site(self, *args: str, **environ: str | None):
        """``asset site …`` that must end well; its JSON."""
        return self.ok("site", *args, "--json", **environ).json

    def fails(self, code: int, *args: str, **environ: str | None):
        """``asset site …`` that must fail; its error."""
        return self.error(code, "site", *args, **environ)


def lay_site(folder: Path) -> None:
    """The files of the application."""
    for path, data in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, links as their targets."""
    return {
        str(path.relative_to(folder)): path.readlink().as_posix().encode() if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


@pytest.fixture
def site(tmp_path: Path) -> SiteRunner:
    """A small site, whose settings are written with one store."""
    for name in ("home", "one", "two", "www"):
        (tmp_path / name).mkdir()
    lay_site(tmp_path / "www")
    runner = SiteRunner(tmp_path)
    runner.write()
    return runner
