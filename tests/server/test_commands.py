"""``asset server`` by hand: from nothing to a server that people use, and back from a backup."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from holdfast.cli.main import run
from holdfast.server import migrate
from holdfast.server.backup import rotate_secret
from holdfast.server.database import Database, sqlite_url
from holdfast.server.secret import read_secret
from tests.server.conftest import small_disk

ROOT = Path(__file__).parents[2]
PASSWORD = "correct horse battery"


class Machine:
    """A machine with a home of its own, on which commands are typed: in this process, but for the server itself."""

    def __init__(self, folder: Path, monkeypatch, capsys) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.monkeypatch = monkeypatch
        self.capsys = capsys
        (folder / "home").mkdir()
        monkeypatch.setenv("HOLDFAST_KEYRING", "off")
        monkeypatch.setenv("HOLDFAST_CONFIG", str(folder / "home" / "config.toml"))

    def asset(self, *words: str, stdin: str = "", code: int = 0) -> dict:
        """Type a command with --json; what it printed."""
        self.monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        found = run([*words, "--json"])
        out, err = self.capsys.readouterr()
        assert found == code, out + err
        return json.loads(out)

    def server(self, *words: str, stdin: str = "", code: int = 0):
        """A command of ``asset server`` on the server's data."""
        return self.asset("server", *words, "--data", str(self.data), stdin=stdin, code=code)

    @contextmanager
    def serving(self, *more: str):
        """A server that runs; its address. It ends in order on SIGTERM."""
        line = [
            sys.executable,
            "-m",
            "holdfast.cli",
            "server",
            "start",
            "--port",
            "0",
            "--data",
            str(self.data),
            "--json",
        ]
        env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
        with subprocess.Popen(
            [*line, *more], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                assert process.stdout is not None
                yield json.loads(process.stdout.readline())["url"]
            finally:
                process.send_signal(signal.SIGTERM)
                assert process.wait(20) == 0, process.stderr.read()


@pytest.fixture
def machine(tmp_path, monkeypatch, capsys):
    """The machine."""
    return Machine(tmp_path, monkeypatch, capsys)


def people(machine: Machine) -> None:
    """An admin, a writer in the project ``p``."""
    machine.server("user", "add", "ann", "--admin", "--password-stdin", stdin=PASSWORD)
    machine.server("user", "add", "bob", "--password-stdin", stdin=PASSWORD)
    machine.server("project", "add", "p")
    machine.server("role", "p", "bob", "writer")


def test_from_nothing(machine):
    """One command serves, a few more let somebody push and fetch; who is shut out is refused at the next request."""
    people(machine)
    (machine.folder / "model").mkdir()
    (machine.folder / "model" / "w.txt").write_text("weights")
    with machine.serving() as url:
        machine.asset("login", url, "--user", "bob", "--password-stdin", stdin=PASSWORD)
        machine.asset("project", "activate", "p")
        assert machine.asset("push", str(machine.folder / "model"), "n/a")["created"]
        fetched = machine.asset("fetch", "n/a", "--to", str(machine.folder / "copy"))
        assert (Path(fetched["path"]) / "w.txt").read_text() == "weights"
        machine.server("user", "disable", "bob")
        assert machine.asset("list", code=6)["error"]["kind"] == "not_allowed"
        machine.server("user", "enable", "bob")
        machine.asset("list", code=6)
        machine.asset("login", url, "--user", "bob", "--password-stdin", stdin=PASSWORD)
        assert [each["name"] for each in machine.asset("list")] == ["n/a"]
        machine.server("user", "passwd", "bob", "--password-stdin", stdin="another long password")
        machine.asset("list", code=6)


def test_service_account(machine):
    """A service account gets a token when it is made, with which it signs in; it has no password."""
    people(machine)
    token = machine.server("user", "add", "ci", "--service")["token"]
    machine.server("role", "p", "ci", "reader")
    machine.server("user", "add", "cj", "--service", "--password-stdin", stdin=PASSWORD, code=2)
    with machine.serving() as url:
        machine.asset("login", url, "--token-stdin", stdin=token)
        assert machine.asset("whoami")["service"]


def test_invitation(machine):
    """Whoever is invited has an account that roles can be given to, no password, and signs in at a provider or not at all."""
    people(machine)
    made = machine.server("user", "add", "eve", "--invite", "Eve@Partner.example")
    assert (made["name"], made["email"], made["token"]) == ("eve", "eve@partner.example", None)
    machine.server("role", "p", "eve", "reader")
    machine.server("user", "add", "eve", "--invite", "no address", code=2)
    machine.server("user", "add", "eve", "--invite", "a@b.example", "--service", code=2)
    machine.server("user", "add", "eve", "--invite", "a@b.example", "--admin", code=4)


def test_groups(machine):
    """A group's role is its members', until they leave it."""
    people(machine)
    machine.server("group", "add", "vision", "ann", "bob")
    assert machine.server("role", "p", "@vision", "reader")["members"] == {"@vision": "reader", "bob": "writer"}
    told = machine.server("group", "members", "vision", "--remove", "bob")
    assert told == {"name": "vision", "members": ["ann"], "roles": {"p": "reader"}}
    machine.server("group", "remove", "vision")
    assert machine.server("project", "list")[0]["members"] == {"bob": "writer"}


def test_backup_and_restore(machine):
    """What is restored on another machine's database is what was backed up; nothing is restored over people, no file over."""
    people(machine)
    file = str(machine.folder / "backup")
    rows = machine.server("backup", file)
    assert (rows["accounts"], rows["projects"]) == (2, 1)
    assert os.stat(file).st_mode & 0o777 == 0o600
    machine.server("backup", file, code=1)
    machine.server("restore", file, code=4)
    before = machine.server("user", "list")
    secret = str(machine.data / "secret")
    machine.data = machine.folder / "other"
    assert machine.server("restore", file, "--secret-file", secret) == rows
    assert machine.server("user", "list", "--secret-file", secret) == before
    machine.server("restore", secret, "--secret-file", secret, code=2)


READING = (
    "user list", "user disable ann", "user enable ann", "user passwd ann --password-stdin", "group members g", "group remove g", "role p ann reader",
    "project list", "project remove p", "invite list", "invite withdraw a@b.c", "backup FILE", "rotate-secret", "rebuild",
)  # fmt: skip


@pytest.mark.parametrize("words", READING)
def test_mistyped_path(machine, words):
    """What needs a server that there is makes none: a path at which there is none is exit 2, and nothing is made there."""
    file = str(machine.folder / "backup")
    for place in ("--data", "--config"):
        (machine.folder / "server.toml").write_text(f"data = '{machine.folder}/none/a'\n")
        where = str(machine.folder / ("none/a" if place == "--data" else "server.toml"))
        line = [file if word == "FILE" else word for word in words.split()]
        error = machine.asset("server", *line, place, where, stdin=PASSWORD, code=2)["error"]
        assert "no server's database" in error["message"]
        assert not (machine.folder / "none").exists()
    assert not Path(file).exists()


def test_lost_secret(machine):
    """A secret that is gone is said, and no other is made in its place."""
    people(machine)
    (machine.data / "secret").unlink()
    assert "no secret file" in machine.server("user", "list", code=1)["error"]["message"]
    assert not (machine.data / "secret").exists()


def test_restore__needs_the_secret(machine):
    """A backup with sealed credentials is restored with a secret only, and where that does not open them the projects are named."""
    machine.server("project", "add", "p")
    keys = "AWS_ACCESS_KEY_ID=AK\nAWS_SECRET_ACCESS_KEY=SK\n"
    bare, full = str(machine.folder / "bare"), str(machine.folder / "full")
    machine.server("backup", bare)
    machine.server("project", "add", "m", "s3://bucket/m", "--credentials-stdin", stdin=keys)
    machine.server("backup", full)
    old, other = machine.data / "secret", machine.folder / "other-secret"
    machine.data = machine.folder / "new"
    assert "no secret file" in machine.server("restore", full, code=1)["error"]["message"]
    assert not machine.data.exists()
    assert machine.server("restore", bare)["projects"] == 1
    other.write_bytes((machine.data / "secret").read_bytes())
    other.chmod(0o600)
    machine.data = machine.folder / "newer"
    words = ["server", "restore", full, "--data", str(machine.data), "--secret-file"]
    assert run([*words, str(other), "--json"]) == 0
    out, err = machine.capsys.readouterr()
    assert json.loads(out)["projects"] == 2
    assert "credentials of m" in err
    machine.data = machine.folder / "newest"
    words[4] = str(machine.data)
    assert run([*words, str(old), "--json"]) == 0
    assert machine.capsys.readouterr().err == ""


def test_rotate_secret__credentials_stay_usable(machine):
    """After another secret the sealed credentials open with it, and not with the old one; they are told nowhere."""
    machine.server("user", "add", "ann", "--admin", "--password-stdin", stdin=PASSWORD)
    keys = "AWS_ACCESS_KEY_ID=AKEXAMPLE\nexport AWS_SECRET_ACCESS_KEY='very/secret+key='\n"
    (machine.folder / "keys.env").write_text(keys)
    made = machine.server(
        "project", "add", "m", "s3://bucket/m", "--credentials-file", str(machine.folder / "keys.env")
    )
    assert made["credentials"] == "own"
    old = (machine.data / "secret").read_text()
    assert machine.server("rotate-secret") == {"projects": 1}
    assert (machine.data / "secret").read_text() != old
    assert "secret+key" not in json.dumps(machine.server("project", "list"))
    assert b"secret+key" not in (machine.data / "holdfast.db").read_bytes()
    assert machine.server("rotate-secret") == {"projects": 1}
    (machine.data / "secret").write_text(old)
    machine.server("rotate-secret", code=5)


def test_rotate_secret__while_a_server_runs(machine):
    """What a server at work seals after its secret was changed is sealed with the new one, and opens when that server is gone."""
    people(machine)
    (machine.folder / "keys.env").write_text("AWS_ACCESS_KEY_ID=AKEXAMPLE\nAWS_SECRET_ACCESS_KEY=very-secret\n")
    adding = ("--credentials-file", str(machine.folder / "keys.env"))
    with machine.serving() as url:
        machine.asset("login", url, "--user", "ann", "--password-stdin", stdin=PASSWORD)
        machine.asset("server", "project", "add", "m", "s3://bucket/m", *adding)
        assert machine.server("rotate-secret") == {"projects": 1}
        machine.asset("server", "project", "add", "n", "s3://bucket/n", *adding)
    assert machine.server("rotate-secret") == {"projects": 2}


def test_rotate_secret__several_at_once(machine):
    """Of changes of the secret that are made at one moment each waits for the other, and all credentials open in the end."""
    keys = machine.folder / "keys.env"
    keys.write_text("AWS_ACCESS_KEY_ID=AKEXAMPLE\nAWS_SECRET_ACCESS_KEY=very-secret\n")
    machine.server("project", "add", "m", "s3://bucket/m", "--credentials-file", str(keys))
    secret, failed = machine.data / "secret", []

    def rotate(barrier):
        with closing(Database(sqlite_url(machine.data / "holdfast.db"))) as database:
            barrier.wait()
            try:
                rotate_secret(database, secret, 0.0)
            except Exception as error:
                failed.append(error)

    for _ in range(16):
        barrier = threading.Barrier(3)
        threads = [threading.Thread(target=rotate, args=(barrier,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failed == []
    assert len(read_secret(secret)) == 1
    assert machine.server("rotate-secret") == {"projects": 1}


def test_start__refusals(machine):
    """A host beyond loopback without TLS, a secret that others can read, and an unknown setting are refused with the reason."""
    machine.server("start", "--host", "0.0.0.0", code=2)
    machine.server("start", "--tls-cert", "cert.pem", code=2)
    (machine.folder / "server.toml").write_text("datta = '/x'\n")
    assert (
        "data"
        in machine.asset("server", "start", "--config", str(machine.folder / "server.toml"), code=2)["error"]["hint"]
    )
    machine.server("user", "add", "ann", "--password-stdin", stdin=PASSWORD)
    (machine.data / "secret").chmod(0o644)
    assert "chmod 600" in machine.server("user", "list", code=2)["error"]["hint"]


def test_start__certificate_that_is_none(machine):
    """A certificate or key that is not there, or is none, is refused by its name."""
    absent, none = machine.folder / "absent.pem", machine.folder / "none.pem"
    none.write_text("no certificate")
    start = ("start", "--port", "0", "--tls-cert", str(none), "--tls-key")
    told = machine.server(*start, str(absent), code=2)["error"]
    assert told["message"] == f"cannot read {absent}: No such file or directory"
    assert str(none) in machine.server(*start, str(none), code=2)["error"]["message"]


@pytest.mark.parametrize("words", [("user", "list"), ("migrate",), ("project", "add", "q"), ("start", "--port", "0")])
def test_damaged_database(machine, words):
    """A database's file that is damaged is said to be, with what to do about it."""
    people(machine)
    for each in machine.data.glob("holdfast.db*"):
        each.write_bytes(b"no database" * 1000)
    told = machine.server(*words, code=5)["error"]
    assert told["message"] == "the database is damaged: file is not a database"
    assert "asset server restore" in told["hint"]


def test_full_disk(machine):
    """Where the database's disk is full a command that writes says so, one that reads answers, and with room it is done."""
    with small_disk(machine.data) as fill:
        people(machine)
        with closing(Database(sqlite_url(machine.data / "holdfast.db"))) as database:  # open, as a server has it
            assert migrate.revision(database) == migrate.newest()
            filler = fill()
            told = machine.server("user", "add", "cyd", "--password-stdin", stdin=PASSWORD, code=7)["error"]
            assert told["message"] == "the database does not answer: database or disk is full"
            assert len(machine.server("user", "list")) == 2
            filler.unlink()
            machine.server("user", "add", "cyd", "--password-stdin", stdin=PASSWORD)


def test_backup__full_disk(machine):
    """A backup that has no room is an error, and nothing of it is left: passwords and tokens are in it."""
    people(machine)
    with small_disk(machine.folder / "disk") as fill:
        filler = fill()
        told = machine.server("backup", str(machine.folder / "disk" / "backup"), code=1)["error"]
        assert "No space left" in told["message"]
        assert [*filler.parent.iterdir()] == [filler]


def test_migrate(machine):
    """A new database is brought to this release's state, one of the first release too, with all that is in it; again changes nothing."""
    assert machine.server("migrate") == {"before": None, "after": migrate.newest()}
    people(machine)
    file = f"sqlite:///{machine.data}/holdfast.db"
    older = Database(file)
    migrate.downgrade(older, "0001")
    older.close()
    assert "migrate" in machine.server("user", "list", code=4)["error"]["hint"]
    assert machine.server("migrate") == {"before": "0001", "after": migrate.newest()}
    assert machine.server("migrate") == {"before": migrate.newest(), "after": migrate.newest()}
    assert [each["name"] for each in machine.server("user", "list")] == ["ann", "bob"]
    assert list(machine.server("rebuild")) == ["p"]


def test_newest__is_what_alembic_takes_for_the_last():
    """The migrations are one line, and the number that their last file's name begins with is its revision."""
    from alembic.script import ScriptDirectory

    assert ScriptDirectory(str(migrate._FOLDER)).get_heads() == [migrate.newest()]


def test_projects__refusals(machine):
    """A store in another's, a folder that is not the server's, a reserved name, and credentials that are none are refused."""
    people(machine)
    inside = (machine.data / "stores" / "p" / "q").as_uri()
    machine.server("project", "add", "q", inside, code=4)
    machine.server("project", "add", "etc", "file:///etc", code=2)
    machine.server("project", "add", "api", code=2)
    machine.server("project", "add", "p", code=4)
    told = machine.server("project", "add", "q", "s3://b/q", "--credentials-stdin", stdin="hush hush", code=2)
    assert "hush" not in json.dumps(told)
    machine.server("project", "remove", "p")
    machine.server("project", "remove", "p", code=3)
