"""A dry run of an admin's command says what would be done and is refused as the real one is, on a database and at a server, and changes nothing."""

# ruff: noqa: F811 - the fixtures of neighbours
from __future__ import annotations

import io
import os
import sqlite3
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from holdfast.cli.main import run
from holdfast.server import migrate
from holdfast.server.database import Database
from tests.client.running import make
from tests.server.test_administration import KEYS, TABLE, Terminal, admin, asset, server  # noqa: F401 - fixtures
from tests.server.test_commands import Machine, machine, people  # noqa: F401

if TYPE_CHECKING:
    from pathlib import Path

#: What an admin far away is not told: the server's own rules of where a store may be.
FOLDER = "project add etc file:///etc"
SQLITE = (".db", ".db-wal", ".db-shm")


def everything(folder: Path) -> dict[str, Any]:
    """All files in a server's folder, with times, and all rows of its database but when a token was last used."""
    found: dict[str, Any] = {}
    for place, inner, names in os.walk(folder):
        for path in (os.path.join(place, name) for name in (*inner, *names)):
            if not path.endswith(SQLITE):
                status = os.lstat(path)  # SQLite's own files come and go, which a folder's time tells
                found[path] = (status.st_mode, None if os.path.isdir(path) else status.st_mtime_ns)
    for file in folder.glob("*.db"):
        with closing(sqlite3.connect(file)) as database:
            for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                columns = "id, account" if table == "tokens" else "*"
                found[table] = database.execute(f"SELECT {columns} FROM {table}").fetchall()  # noqa: S608
    return found


def dried(answer: tuple[int, Any]) -> tuple[int, Any]:
    """What a dry run said of itself, but that it was one."""
    code, value = answer
    if code == 0:
        assert value.pop("dry_run") is True
    return code, value


def test_dry_run__of_every_command(tmp_path, server, asset, admin):
    """Before every command its dry run says the same on the database and at the server, ends with the same code, makes no token, and changes neither."""
    data, there = tmp_path / "data", server.folder.parent.parent
    make(data, [])
    for words, stdin, code in TABLE:
        line, here = words.split(), ("--data", str(data))
        if line[1] != "list":
            before = everything(data), everything(there)
            told = dried(asset(*line, "--dry-run", *here, stdin=stdin))
            far = dried(asset(*line, "--dry-run", stdin=stdin))
            assert (everything(data), everything(there)) == before, words
            done = asset(*line, *here, stdin=stdin)
            assert told[0] == done[0] == code, (words, told)
            assert far[0] == (0 if words == FOLDER else code), (words, far)
            if code == 0:
                unknown = {"token", "expires"} & done[1].keys()
                assert told[1] | {name: done[1][name] for name in unknown} == done[1], words
                assert told[1].get("token") is far[1].get("token") is None
                assert far[1].keys() == told[1].keys()
            elif words != FOLDER:
                assert far[1]["error"] == told[1]["error"] == done[1]["error"], words
            assert asset(*line, stdin=stdin)[0] == code


@pytest.mark.parametrize(
    "words", ["user add eve --service", "group add g", "project add z", "role p eve none", "user disable eve"]
)
def test_dry_run__without_rights(server, asset, monkeypatch, words):
    """A dry run at a server by who is no admin of it, or not signed in, is exit 6."""
    monkeypatch.setenv("ASSET_SERVER_URL", server.url)
    assert asset(*words.split(), "--dry-run")[0] == 6
    monkeypatch.setenv("HOLDFAST_TOKEN", server.tokens["writer"])
    assert asset(*words.split(), "--dry-run")[0] == 6


def test_dry_run__of_a_role_by_an_admin_of_the_project(server, asset, monkeypatch):
    """An admin of a project alone is told what a role would make of its members."""
    monkeypatch.setenv("ASSET_SERVER_URL", server.url)
    monkeypatch.setenv("HOLDFAST_TOKEN", server.tokens["keeper"])
    assert asset("role", "p", "root", "reader", "--dry-run")[1]["members"]["root"] == "reader"
    assert asset("role", "none-such", "root", "reader", "--dry-run")[0] == 6


@pytest.mark.parametrize("words", ["user add ann", "user passwd root", "group remove g", "project remove p"])
def test_dry_run__asks_nobody(tmp_path, monkeypatch, capsys, words):
    """On a terminal a dry run asks neither for a password nor for a yes."""
    make(tmp_path / "data", [])
    data = ("--data", str(tmp_path / "data"))
    assert run(["server", "group", "add", "g", *data]) == 0
    capsys.readouterr()
    monkeypatch.setattr(sys, "stdin", Terminal(""))
    assert run(["server", *words.split(), "--dry-run", *data]) == 0
    out, err = capsys.readouterr()
    assert ("would" in out or "could" in out, err) == (True, "")


@pytest.mark.parametrize("words", ["user add ann --admin --password-stdin", "group add g", "project add p"])
def test_dry_run__where_no_server_is_yet(asset, tmp_path, words):
    """A dry run of what begins a new server makes no folder, no database and no secret."""
    data = ("--data", str(tmp_path / "data"))
    told = dried(asset(*words.split(), "--dry-run", *data, stdin="long enough a word"))
    assert list(tmp_path.iterdir()) == []
    assert asset(*words.split(), *data, stdin="long enough a word") == told


def refused_alike(machine: Machine, code: int, *words: str) -> None:
    """A dry run is refused with the words of the real run, and changes nothing."""
    before = everything(machine.folder)
    error = machine.server(*words, "--dry-run", code=code)
    assert everything(machine.folder) == before
    assert machine.server(*words, code=code) == error


def told(machine: Machine, *words: str) -> Any:
    """What a dry run says, which changes nothing."""
    before = everything(machine.folder), everything(machine.data)
    found = machine.server(*words, "--dry-run")
    assert (everything(machine.folder), everything(machine.data)) == before
    return found


def test_backup_and_restore_dry_run(machine):
    """backup and restore --dry-run count the rows that would be written, are refused as the real ones are, and write no file and no row."""
    people(machine)
    file, none = str(machine.folder / "backup"), str(machine.folder / "none/backup")
    rows = told(machine, "backup", file)
    assert machine.server("backup", file) | {"dry_run": True} == rows
    for words in (("backup", file), ("backup", none)):
        refused_alike(machine, 1, *words)
    refused_alike(machine, 4, "restore", file)
    refused_alike(machine, 2, "restore", none)
    secret = str(machine.data / "secret")
    refused_alike(machine, 2, "restore", secret)
    machine.data = machine.folder / "other"
    words = ("restore", file, "--secret-file", secret)
    assert told(machine, *words) == rows
    assert not machine.data.exists()
    assert machine.server(*words) | {"dry_run": True} == rows


def test_rotate_secret_dry_run(machine):
    """rotate-secret --dry-run counts the credentials that it opens, is refused where it cannot, and leaves secret and database as they are."""
    machine.server("project", "add", "m", "s3://bucket/m", "--credentials-stdin", stdin=KEYS)
    assert told(machine, "rotate-secret") == {"projects": 1, "dry_run": True}
    old = (machine.data / "secret").read_text()
    machine.server("rotate-secret")
    (machine.data / "secret").write_text(old)
    refused_alike(machine, 5, "rotate-secret")


def test_migrate_dry_run(machine):
    """migrate --dry-run tells from which state to which the database would be brought, and leaves it there; one of a newer release is refused."""
    assert told(machine, "migrate") == {"before": None, "after": migrate.newest(), "dry_run": True}
    assert not machine.data.exists()
    people(machine)
    older = Database(f"sqlite:///{machine.data}/holdfast.db")
    migrate.downgrade(older, "0001")
    older.close()
    assert told(machine, "migrate") == {"before": "0001", "after": migrate.newest(), "dry_run": True}
    refused_alike(machine, 4, "rotate-secret")
    with closing(sqlite3.connect(machine.data / "holdfast.db")) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.commit()
    refused_alike(machine, 4, "migrate")


def test_rebuild_dry_run(machine, monkeypatch):
    """rebuild --dry-run counts the assets in the buckets, and leaves the copy of the catalogs as it is."""
    people(machine)
    (machine.folder / "a").write_text("a")
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    machine.asset("push", str(machine.folder / "a"), "n/a", "--store", (machine.data / "stores/p").as_uri())
    assert told(machine, "rebuild") == {"p": 1}
    assert machine.server("rebuild") == {"p": 1}
    (machine.data / "secret").rename(machine.folder / "secret")
    refused_alike(machine, 1, "rebuild")
