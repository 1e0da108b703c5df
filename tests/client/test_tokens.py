"""The tokens that are kept on this machine: for which server, in which file, and what damage does."""

from __future__ import annotations

import stat
import sys
import threading
import types

import pytest

from holdfast.config import load
from holdfast.config.tokens import Kept, Tokens, origin_of, token_for
from holdfast.errors import UsageError


@pytest.fixture(autouse=True)
def no_ring(monkeypatch):
    """The machine's own key ring is left alone."""
    monkeypatch.setitem(sys.modules, "keyring", None)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Host/p", "https://host:443"),
        ("http://host:8000", "http://host:8000"),
        ("http://[::1]:80/x", "http://[::1]:80"),
    ],
)
def test_origin_of(url, origin):
    """A token belongs to scheme, host and port."""
    assert origin_of(url) == origin


@pytest.mark.parametrize("url", ["", "host", "ftp://host", "https://host:port"])
def test_origin_of__no_address(url):
    """What is no address has no token."""
    with pytest.raises(UsageError):
        origin_of(url)


def test_keep__readable_by_its_owner_alone(tmp_path):
    """The file is 0600 in a folder 0700, whatever the umask (fault 6.2.5), and gives the token back."""
    tokens = Tokens(tmp_path, {})
    place = tokens.keep("https://host", Kept("secret", "ann", "7"))
    (file,) = (tmp_path / "tokens").iterdir()
    assert str(file) == place
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    found = tokens.find("https://host:443/any/project")
    assert found is not None
    assert (found.token, found.name, found.id) == ("secret", "ann", "7")
    assert "secret" not in repr(found)
    assert tokens.find("http://host") is None
    assert tokens.find("https://host:8443") is None


def test_keep__a_damaged_file(tmp_path):
    """A damaged file is an error, and no other server's token suffers (fault 6.2.4)."""
    tokens = Tokens(tmp_path, {})
    tokens.keep("https://one", Kept("1", "ann"))
    tokens.keep("https://two", Kept("2", "ann"))
    path = tmp_path / "tokens" / "https%3A%2F%2Fone%3A443.json"
    path.write_text("{")
    with pytest.raises(UsageError, match="cannot be read"):
        tokens.find("https://one")
    assert path.read_text() == "{"
    assert tokens.find("https://two").token == "2"
    assert tokens.forget("https://one")
    assert not tokens.forget("https://one")


def test_keep__at_the_same_time(tmp_path):
    """Sign-ins to several servers at once lose none (fault 6.2.17)."""
    threads = [
        threading.Thread(target=lambda n=n: Tokens(tmp_path, {}).keep(f"https://host{n}", Kept(str(n), "ann")))
        for n in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [Tokens(tmp_path, {}).find(f"https://host{n}").token for n in range(20)] == [str(n) for n in range(20)]


def test_keep__in_the_key_ring(tmp_path, monkeypatch):
    """Where there is a key ring that works, the token is in it and in no file; one that fails is as none."""
    kept = {}
    ring = types.SimpleNamespace(
        set_password=lambda s, o, text: kept.update({(s, o): text}),
        get_password=lambda s, o: kept.get((s, o)),
        delete_password=lambda s, o: kept.pop((s, o)),
    )
    monkeypatch.setitem(sys.modules, "keyring", ring)
    tokens = Tokens(tmp_path, {})
    assert tokens.keep("https://host", Kept("secret", "ann")) == "the key ring"
    assert not (tmp_path / "tokens").exists()
    assert tokens.find("https://host").token == "secret"
    assert tokens.forget("https://host")
    assert kept == {}
    ring.set_password = lambda *_: 1 / 0
    assert tokens.keep("https://host", Kept("secret", "ann")).endswith(".json")
    assert Tokens(tmp_path, {"HOLDFAST_KEYRING": "off"}).find("https://host").token == "secret"


def test_token_for__the_setting_belongs_to_the_server_setting(tmp_path):
    """HOLDFAST_TOKEN is shown to the server of the settings and to no other, which gets what was kept for it."""
    environ = {"HOME": str(tmp_path), "ASSET_SERVER_URL": "https://mine", "HOLDFAST_TOKEN": "given"}
    settings = load({}, environ)
    Tokens(settings.file.parent, {}).keep("https://other", Kept("kept", "ann"))
    assert token_for(settings, "https://mine/") == "given"
    assert token_for(settings, "https://mine:8443") is None
    assert token_for(settings, "http://mine") is None
    assert token_for(settings, "https://other") == "kept"
    assert token_for(load({}, {"HOME": str(tmp_path), "HOLDFAST_TOKEN": "given"}), "https://mine") is None
    assert "given" not in repr(settings)
