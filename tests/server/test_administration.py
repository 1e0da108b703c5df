"""An admin's commands on the database and at a server that runs: one table of them, typed both ways."""

from __future__ import annotations

import io
import json
import sys
import time

import pytest

from holdfast.cli.main import run
from holdfast.errors import AccessError
from holdfast.formats.api import WhoamiReply
from holdfast.formats.people import AuditReply
from holdfast.remote import Server
from tests.client.conftest import running
from tests.client.running import make

PASSWORD = "another long password"
KEYS = "AWS_ACCESS_KEY_ID=AKEXAMPLE\nexport AWS_SECRET_ACCESS_KEY='very/secret+key='\n"
#: Words after ``asset server``, what is on stdin, the exit code; in this order.
TABLE = [
    ("user list", "", 0),
    ("user add ann --admin --password-stdin", PASSWORD, 0),
    ("user add ann --password-stdin", PASSWORD, 4),
    ("user add Ann! --password-stdin", PASSWORD, 2),
    ("user add eve --password-stdin", "short", 2),
    ("user add eve", "", 2),
    ("user add ci --service", "", 0),
    ("user add cj --service --password-stdin", PASSWORD, 2),
    ("user add gil --invite gil@partner.example", "", 0),
    ("user add ann --invite ann@partner.example", "", 0),
    ("user add ann --admin --invite ann@partner.example", "", 0),
    ("user add bot --service --invite bot@partner.example", "", 2),
    ("user add gil --password-stdin --invite gil@partner.example", PASSWORD, 2),
    ("user add gil --invite nonsense", "", 2),
    ("user add gil --admin --invite gil@partner.example", "", 4),
    ("user add ci --invite ci@partner.example", "", 2),
    ("invite withdraw ANN@partner.example", "", 0),
    ("invite withdraw ann@partner.example", "", 3),
    ("invite withdraw nonsense", "", 3),
    ("user disable ci", "", 0),
    ("user enable ci", "", 0),
    ("user disable ann", "", 0),
    ("user list", "", 0),
    ("user disable root", "", 4),
    ("user enable ann", "", 0),
    ("user disable nobody", "", 3),
    ("user disable a/b", "", 3),
    ("user disable ..", "", 3),
    ("project remove a/b", "", 3),
    ("group remove .", "", 3),
    ("role a/b ci none", "", 3),
    ("user passwd ann --password-stdin", PASSWORD, 0),
    ("user passwd ci --password-stdin", PASSWORD, 2),
    ("user passwd nobody --password-stdin", PASSWORD, 3),
    ("group add vision ann reader", "", 0),
    ("group add vision", "", 4),
    ("group add other nobody", "", 3),
    ("group members vision --remove reader --add writer", "", 0),
    ("group members other", "", 3),
    ("role p @vision reader", "", 0),
    ("role p ci writer", "", 0),
    ("role p nobody writer", "", 3),
    ("role none-such ci writer", "", 3),
    ("role p ci boss", "", 2),
    ("role p ci none", "", 0),
    ("group members vision", "", 0),
    ("project add q", "", 0),
    ("project add q", "", 4),
    ("project add api", "", 2),
    ("project add etc file:///etc", "", 2),
    ("project add m s3://bucket/m --region us-east-1 --credentials-stdin", KEYS, 0),
    ("project add n s3://bucket/n --credentials-stdin", "hush hush", 2),
    ("project list", "", 0),
    ("group remove vision", "", 0),
    ("group remove vision", "", 3),
    ("project remove q", "", 0),
    ("project remove q", "", 3),
    ("project list", "", 0),
    ("user list", "", 0),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server that runs."""
    with running(tmp_path_factory.mktemp("there") / "data") as found:
        yield found


@pytest.fixture
def asset(monkeypatch, capsys):
    """A function that types a command of ``asset server``: its exit code, and what it printed."""
    monkeypatch.setenv("HOLDFAST_KEYRING", "off")

    def call(*words, stdin="", text=False):
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        code = run(["server", *words, *([] if text else ["--json"])])
        out, err = capsys.readouterr()
        return code, out + err if text else json.loads(out)

    return call


@pytest.fixture
def admin(monkeypatch, server):
    """The settings name the server, and root is signed in there."""
    monkeypatch.setenv("ASSET_SERVER_URL", server.url)
    monkeypatch.setenv("HOLDFAST_TOKEN", server.tokens["root"])


def told(answer, data):
    """What was printed, without what differs from server to server: folders, tokens."""
    code, value = answer
    if isinstance(value, dict) and value.get("token"):
        assert value["token"].startswith("hft_")
        value = value | {"token": "hft_"}
    if isinstance(value, dict) and "expires" in value:
        assert 29 * 86400 < value["expires"] - time.time() <= 30 * 86400
        value = value | {"expires": 0}
    return code, json.loads(json.dumps(value).replace(str(data), "DATA"))


def test_both_ways(tmp_path, server, asset, admin):
    """Every command prints the same JSON and ends with the same code on a database and at a server; secrets are told by neither."""
    data = tmp_path / "data"
    make(data, [])
    for words, stdin, code in TABLE:
        here = told(asset(*words.split(), "--data", str(data), stdin=stdin), data)
        there = told(asset(*words.split(), stdin=stdin), server.folder.parent.parent)
        assert here == there, words
        assert here[0] == code, (words, here)
        assert not any(secret in json.dumps(here) for secret in ("secret+key", "hush", PASSWORD)), words


class Terminal(io.StringIO):
    """Somebody who types."""

    def isatty(self):
        return True


@pytest.mark.parametrize("words", ["group remove g", "project remove g"])
def test_remove__asks_on_a_terminal(asset, monkeypatch, capsys, tmp_path, words):
    """On a terminal a group and a project are removed once that was confirmed, by an answer or by `--yes`; elsewhere nobody is asked."""
    data = ("--data", str(tmp_path / "data"))
    kind = words.split()[0]

    def typed(answer, *more):
        monkeypatch.setattr(sys, "stdin", Terminal(answer))
        code = run(["server", *words.split(), *data, *more])
        return code, capsys.readouterr().err

    assert asset(kind, "add", "g", *data)[0] == 0
    code, told = typed("n\n")
    assert (code, f"the {kind} g" in told) == (130, True)
    assert typed("y\n")[0] == 0
    assert typed("", "--yes")[0] == 3
    for more in ((), ("--yes",)):
        assert asset(kind, "add", "g", *data)[0] == 0
        assert asset(*words.split(), *data, *more)[0] == 0


def test_text(server, asset, admin):
    """For people, too, it says the same."""
    assert "root" in asset("user", "list", text=True)[1]
    assert asset("project", "list", text=True)[1].startswith("NAME")
    assert asset("user", "add", "dan", "--service", text=True)[1].startswith("hft_")
    asset("user", "add", "gus", "--invite", "gus@partner.example")
    assert "gus@partner.example  gus" in asset("invite", "list", text=True)[1]


def test_service__its_token(server, asset, admin):
    """The token of a new service account is good, and nobody gets one in the name of a person."""
    token = asset("user", "add", "bot", "--service")[1]["token"]
    assert Server(server.url, token).ask("GET", "whoami", WhoamiReply).name == "bot"
    with pytest.raises(ValueError, match="no service account"):
        Server(server.url, server.tokens["root"]).ask("POST", "admin/users/reader/tokens", type(None))


def test_service__let_in_again(server, asset, admin):
    """A service account that is let in again gets another token, and the one from before stays ended."""
    old = asset("user", "add", "robot", "--service")[1]["token"]
    asset("user", "disable", "robot")
    new = asset("user", "enable", "robot")[1]["token"]
    assert Server(server.url, new).ask("GET", "whoami", WhoamiReply).name == "robot"
    with pytest.raises(AccessError):
        Server(server.url, old).ask("GET", "whoami", WhoamiReply)


def test_invitations(asset, admin):
    """Open invitations are listed, with the account that each opens, until they are taken back."""
    asset("user", "add", "ira", "--invite", "ira@partner.example")
    found = [row for row in asset("invite", "list")[1] if row["name"] == "ira"]
    assert [row["email"] for row in found] == ["ira@partner.example"]
    assert time.time() < found[0]["expires"] < time.time() + 31 * 86400
    assert asset("invite", "withdraw", "ira@partner.example") == (0, {"email": "ira@partner.example"})
    assert not [row for row in asset("invite", "list")[1] if row["name"] == "ira"]


def test_audit__names_the_admin(server, asset, admin):
    """What is done at a server is in the audit log under the name of who did it."""
    asset("user", "disable", "reader")
    asset("user", "enable", "reader")
    lines = Server(server.url, server.tokens["root"]).ask("GET", "admin/audit", AuditReply, query={"limit": 1}).lines
    assert (lines[0].action, lines[0].who, lines[0].subject) == ("user.enable", "root", "reader")


@pytest.mark.parametrize(
    "words", ["user list", "user add eve --service", "group add g", "project add z", "role p eve none"]
)
def test_refused(server, asset, monkeypatch, words):
    """Who is no admin is refused with exit 6, and so is who is not signed in."""
    monkeypatch.setenv("ASSET_SERVER_URL", server.url)
    assert asset(*words.split())[0] == 6
    monkeypatch.setenv("HOLDFAST_TOKEN", server.tokens["writer"])
    code, value = asset(*words.split())
    assert (code, value["error"]["kind"]) == (6, "not_allowed")


def test_role__by_an_admin_of_the_project(server, asset, monkeypatch):
    """An admin of a project gives roles in it without being one of the server."""
    monkeypatch.setenv("ASSET_SERVER_URL", server.url)
    monkeypatch.setenv("HOLDFAST_TOKEN", server.tokens["keeper"])
    assert asset("role", "p", "root", "reader")[1]["members"]["root"] == "reader"
    assert asset("role", "p", "root", "none")[0] == 0
    assert asset("role", "none-such", "root", "reader")[0] == 6


def test_which(server, asset, admin, monkeypatch, tmp_path):
    """``--server`` is stronger than the setting; with a database, or with neither, it is a usage error; silence is exit 7."""
    monkeypatch.setenv("ASSET_SERVER_URL", "http://127.0.0.1:1")
    assert asset("user", "list")[0] == 7
    assert asset("user", "list", "--server", server.url)[0] == 6  # the token is the setting's server's
    assert asset("user", "list", "--server", server.url, "--data", str(tmp_path))[0] == 2
    assert asset("user", "list", "--server", "nonsense")[0] == 2
    monkeypatch.delenv("ASSET_SERVER_URL")
    code, value = asset("user", "list")
    assert code == 2
    assert "--data" in value["error"]["hint"]
