"""``asset login`` and the commands around it, against a real server."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from holdfast.cli.main import run
from tests.client.answering import answering


@pytest.fixture
def asset(monkeypatch, capsys):
    """A function that runs a command line: its exit code, stdout (from JSON where there is some) and stderr."""
    monkeypatch.setenv("HOLDFAST_KEYRING", "off")

    def call(*args, stdin=""):
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        code = run(list(args))
        out, err = capsys.readouterr()
        return code, json.loads(out) if "--json" in args and out else out, err

    return call


def test_login__password(server, asset):
    """With a password on stdin one is signed in; the server is the setting from then on; signing out revokes the token."""
    code, out, err = asset(
        "login", server.url, "--user", "root", "--password-stdin", "--json", stdin=server.password + "\n"
    )
    assert code == 0, err
    assert (out["server"], out["name"]) == (server.url, "root")
    code, out, _ = asset("whoami", "--json")
    assert (code, out["name"], out["admin"], out["server"]) == (0, "root", True, server.url)
    assert asset("config", "--json")[1]["settings"]["server"]["value"] == server.url
    code, out, _ = asset("logout", "--json")
    assert (code, out["revoked"]) == (0, True)
    code, _, err = asset("whoami")
    assert code == 6
    assert f"hint: asset login {server.url}" in err


def test_login__wrong_password(server, asset):
    """A wrong password is exit 6, and nothing is kept or set."""
    code, _, err = asset("login", server.url, "--user", "keeper", "--password-stdin", stdin="wrong\n")
    assert code == 6
    assert "wrong" in err
    assert asset("config", "--json")[1]["settings"]["server"]["value"] is None


def test_login__token(server, asset):
    """A token on stdin is proven and kept; a bad one is refused and an earlier one stays (fault 6.2.20)."""
    assert asset("login", server.url, "--token-stdin", stdin=server.tokens["reader"])[0] == 0
    code, _, err = asset("login", server.url, "--token-stdin", stdin="hft_nonsense")
    assert code == 6, err
    assert "hft_nonsense" not in err
    assert asset("whoami", "--json")[1]["name"] == "reader"


def test_login__nothing_to_ask(server, asset):
    """Without a terminal nothing is asked: exit 2."""
    assert asset("login", server.url)[0] == 2
    assert asset("login", server.url, "--user", "root", "--password-stdin")[0] == 2
    assert asset("login", server.url, "--token-stdin", "--browser")[0] == 2
    assert asset("login")[0] == 2


def test_settings_come_first(server, asset, monkeypatch):
    """Every command asks the server of the settings and no other (fault 6.1.10), and not at all without a token (6.2.8)."""
    with answering(lambda _: (200, {}, {})) as (other, asked):
        assert asset("config", "set", "server", other)[0] == 0
        assert asset("whoami")[0] == 6
        assert asset("project", "list")[0] == 6
        assert asked == []
    monkeypatch.setenv("ASSET_SERVER_URL", server.url)
    monkeypatch.setenv("HOLDFAST_TOKEN", server.tokens["writer"])
    assert asset("whoami", "--json")[1]["name"] == "writer"


def test_token(server, asset, monkeypatch):
    """A token is made, narrowed, told once, listed without its text, works as narrowed, and is revoked."""
    monkeypatch.setenv("ASSET_SERVER_URL", server.url)
    monkeypatch.setenv("HOLDFAST_TOKEN", server.tokens["writer"])
    args = ("--name", "ci", "--expires", "2d", "--project", "p", "--role", "reader")
    code, made, err = asset("token", "create", *args, "--json")
    assert code == 0, err
    assert (made["label"], made["project"], made["role"]) == ("ci", "p", "reader")
    assert 2 * 86400 - 60 < made["expires"] - made["created"] <= 2 * 86400
    listed = asset("token", "list", "--json")[1]
    assert made["id"] in {each["id"] for each in listed}
    assert made["token"] not in json.dumps(listed)
    monkeypatch.setenv("HOLDFAST_TOKEN", made["token"])
    assert asset("--store", f"{server.url}/p", "list", "--json")[0] == 0
    monkeypatch.setenv("HOLDFAST_TOKEN", server.tokens["writer"])
    assert asset("token", "revoke", made["id"], "--json")[1] == {"revoked": made["id"]}
    monkeypatch.setenv("HOLDFAST_TOKEN", made["token"])
    assert asset("--store", f"{server.url}/p", "list")[0] == 6


def test_project(server, asset, monkeypatch, tmp_path):
    """A project is listed, activated and used: push and fetch without a store named."""
    assert asset("login", server.url, "--token-stdin", stdin=server.tokens["writer"])[0] == 0
    assert asset("project", "current")[0] == 3
    assert [(each["name"], each["role"]) for each in asset("project", "list", "--json")[1]] == [("p", "writer")]
    code, _, err = asset("project", "activate", "q")
    assert (code, "no project 'q'" in err) == (3, True)
    assert asset("project", "activate", "p", "--json")[1]["project"] == "p"
    assert asset("project", "current", "--json")[1]["url"] == f"{server.url}/p"
    source = tmp_path / "x.txt"
    source.write_text("x")
    assert asset("push", str(source), "cli/x", "--json")[1]["version"] == "0.0"
    path = asset("fetch", "cli/x")[1].strip()
    assert Path(path).read_text() == "x"
    assert [each["name"] for each in asset("list", "cli/*", "--json")[1]] == ["cli/x"]
    env = asset("env", "--json")[1]
    assert env == {"ASSET_SERVER_URL": server.url, "ASSET_PROJECT": "p", "HOLDFAST_STORE": f"{server.url}/p"}
    assert f"export ASSET_PROJECT={'p'}\n" in asset("env")[1]


@pytest.mark.parametrize("command", [("collect",), ("repair",), ("repair", "cli/x")])
def test_maintenance(server, asset, monkeypatch, command):
    """What maintains a store is refused through a server, naming what to do instead, and nothing is done."""
    monkeypatch.setenv("ASSET_SERVER_URL", server.url)
    monkeypatch.setenv("HOLDFAST_TOKEN", server.tokens["keeper"])
    code, _, err = asset("--store", f"{server.url}/p", *command)
    assert code == 1
    assert "through the server" in err
    assert "--store s3://" in err


def test_verify(server, asset, monkeypatch, tmp_path):
    """Versions are verified through a server, down to their bytes."""
    monkeypatch.setenv("ASSET_SERVER_URL", server.url)
    monkeypatch.setenv("HOLDFAST_TOKEN", server.tokens["writer"])
    store = ("--store", f"{server.url}/p")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "x").write_text("x")
    assert asset(*store, "push", str(tmp_path / "d"), "verified/x")[0] == 0
    code, out, err = asset(*store, "verify", "verified/x", "--deep", "--json")
    assert code == 0, err + str(out)


def test_login__in_the_clear(server, asset):
    """Whoever signs in without TLS to another machine is warned before anything is sent; on this machine nobody is."""
    word = "--password-stdin"
    away = server.url.replace("127.0.0.1", "0.0.0.0")
    assert away != server.url
    assert "without TLS" in asset("login", away, "--user", "root", word, stdin=server.password + "\n")[2]
    assert "without TLS" not in asset("login", server.url, "--user", "root", word, stdin=server.password + "\n")[2]
