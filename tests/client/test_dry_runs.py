"""A dry run of login, logout, token and project activate says what would happen, is refused as the real one is, and changes nothing here or at the server."""

# ruff: noqa: F811 - the fixture of a neighbour
from __future__ import annotations

import io
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from holdfast.cli.main import run
from holdfast.config import config_file
from tests.client.test_signin import asset  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from tests.client.running import Running


def everything(server: Running) -> dict[Any, Any]:
    """The settings and tokens that are kept here, and the server's tokens and audit log."""
    folder = Path(config_file()).parent
    found: dict[Any, Any] = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with closing(sqlite3.connect(server.folder.parent.parent / "holdfast.db")) as database:
        for columns in ("id, revoked FROM tokens", "* FROM audit"):
            found[columns] = database.execute(f"SELECT {columns}").fetchall()
    return found


@pytest.fixture
def dried(server, asset):
    """A function that types a dry run, which changes nothing: its exit code, and its JSON."""

    def call(*words: str, stdin: str = "") -> tuple[int, Any]:
        before = everything(server)
        code, out, _ = asset(*words, "--dry-run", "--json", stdin=stdin)
        assert everything(server) == before
        assert code or out.pop("dry_run") is True
        return code, out

    return call


def real(asset, *words: str, stdin: str = "") -> tuple[int, Any]:
    """The real run."""
    return asset(*words, "--json", stdin=stdin)[:2]


def test_login_and_logout_dry_run(server, asset, dried):
    """login --dry-run proves a token and keeps none, and says as whom; logout --dry-run says from where, and the token stays good."""
    words = ("login", server.url)
    assert dried(*words, "--user", "root", "--password-stdin", stdin=server.password)[1]["name"] == "root"
    assert dried(*words, "--browser") == (0, {"server": server.url, "name": None, "kept": None})
    assert dried(*words, "--token-stdin", stdin=server.tokens["reader"])[1]["name"] == "reader"
    assert dried("logout", server.url) == (0, {"server": server.url, "name": None, "revoked": False})
    asset(*words, "--user", "root", "--password-stdin", stdin=server.password)
    told = dried("logout")
    assert asset("whoami")[0] == 0
    assert told == real(asset, "logout") == (0, {"server": server.url, "name": "root", "revoked": True})


@pytest.mark.parametrize(
    ("words", "stdin", "code"),
    [
        (["--token-stdin"], "hft_nonsense", 6),
        (["--token-stdin"], "", 2),
        (["--user", "root"], "", 2),
        ([], "", 2),
        (["--browser", "--device"], "", 2),
    ],
)
def test_login_dry_run__is_refused_as_login_is(server, asset, dried, words, stdin, code):
    """login --dry-run is refused as login is: a bad token, nothing on stdin, nobody named, two ways at once, a server that is not there."""
    told = dried("login", server.url, *words, stdin=stdin)
    assert told == real(asset, "login", server.url, *words, stdin=stdin)
    assert told[0] == code
    assert dried("login", "http://127.0.0.1:1", "--user", "root", stdin="x")[0] == 7


def test_login_dry_run__asks_nobody(server, monkeypatch, capsys):
    """On a terminal login --dry-run asks neither for a name nor for a password."""
    typed = io.StringIO("")
    monkeypatch.setattr(typed, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", typed)
    monkeypatch.setenv("HOLDFAST_KEYRING", "off")
    assert run(["login", server.url, "--dry-run"]) == 0
    assert capsys.readouterr().out == f"would be signed in to {server.url}\n"


@pytest.fixture
def writer(server, monkeypatch):
    """The writer is signed in."""
    monkeypatch.setenv("ASSET_SERVER_URL", server.url)
    monkeypatch.setenv("HOLDFAST_TOKEN", server.tokens["writer"])


def test_token_dry_run(server, asset, dried, writer, monkeypatch):
    """token create --dry-run makes none and says what for, token revoke --dry-run leaves the token good; each is refused as the real one is."""
    words = ("token", "create", "--name", "ci", "--expires", "2d", "--project", "p", "--role", "reader")
    told, made = dried(*words), real(asset, *words)
    assert told[1].keys() == made[1].keys()
    assert [told[1][name] for name in ("label", "project", "role")] == ["ci", "p", "reader"]
    assert (told[1]["token"], told[1]["id"]) == (None, None)
    for more in (["--expires", "999d"], ["--project", "none-such"], ["--name", "x" * 201]):
        assert dried("token", "create", *more) == real(asset, "token", "create", *more)
    assert dried("token", "revoke", "none-such") == real(asset, "token", "revoke", "none-such")
    assert dried("token", "revoke", made[1]["id"]) == (0, {"revoked": made[1]["id"]})
    monkeypatch.setenv("HOLDFAST_TOKEN", made[1]["token"])
    for more in (["--role", "writer"], ["--expires", "9d"]):
        told = dried("token", "create", *more)
        assert told == real(asset, "token", "create", *more)
        assert told[0] == 6
    monkeypatch.setenv("HOLDFAST_TOKEN", server.tokens["root"])
    assert "if it is somebody's" in asset("token", "revoke", made[1]["id"], "--dry-run")[1]
    assert real(asset, "token", "revoke", made[1]["id"])[0] == 0


def test_activate_dry_run(server, asset, dried, writer):
    """project activate --dry-run says with which project one would work, writes no setting, and is refused for one that is not there."""
    assert dried("project", "activate", "none-such") == real(asset, "project", "activate", "none-such")
    told = dried("project", "activate", "p")
    assert real(asset, "project", "current")[0] == 3
    assert told == real(asset, "project", "activate", "p")


@pytest.mark.parametrize("words", ["token create", "token revoke x", "project activate p"])
def test_dry_run__not_signed_in(server, dried, monkeypatch, words):
    """Who is not signed in is told so by a dry run, too: exit 6."""
    monkeypatch.setenv("ASSET_SERVER_URL", server.url)
    assert dried(*words.split())[0] == 6
