"""``holdfast.project`` and ``holdfast.activate``: which project this program works with, and what is put back afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

import pytest

import holdfast
from holdfast.config import load
from holdfast.errors import ConflictError, UsageError

SERVER = "https://assets.example.com"
NAMES = ("ASSET_SERVER_URL", "ASSET_BUCKET_MT_CONFIG", "ASSET_PROJECT", "HOLDFAST_STORE")


@pytest.fixture(autouse=True)
def nothing_active():
    """Whatever a test leaves active ends with it."""
    yield
    holdfast.deactivate()


@pytest.fixture
def server(monkeypatch):
    """A server is set in the environment."""
    monkeypatch.setenv("ASSET_SERVER_URL", SERVER)


def variables():
    """The variables that an activation sets."""
    return {name: os.environ.get(name) for name in NAMES}


def test_project__within_the_block(server):
    """Within the block the store is the project; the process environment is never touched."""
    before = dict(os.environ)
    with holdfast.project("p"):
        assert load().store == f"{SERVER}/p"
        with holdfast.project("q", server="https://other"):
            assert load().store == "https://other/q"
        assert load().store == f"{SERVER}/p"
        assert dict(os.environ) == before
    assert load().store is None


def test_project__stronger_than_a_store_that_is_set(server, monkeypatch):
    """A project chosen in Python is stronger than a store of the settings; a store that is given is stronger still."""
    monkeypatch.setenv("HOLDFAST_STORE", "s3://bucket")
    with holdfast.project("p"):
        assert load().store == f"{SERVER}/p"
        assert load({"store": "s3://given"}).store == "s3://given"


def test_project__ends_on_errors(server):
    """An error leaves no project behind (fault 6.2.6)."""
    with pytest.raises(RuntimeError), holdfast.project("p"):
        raise RuntimeError
    assert load().store is None


def test_project__of_one_thread(server):
    """Two threads work with two projects at the same time."""
    both, found = threading.Barrier(2), {}

    def work(name):
        with holdfast.project(name):
            both.wait()
            found[name] = load().store
            both.wait()

    threads = [threading.Thread(target=work, args=(name,)) for name in ("p", "q")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {"p": f"{SERVER}/p", "q": f"{SERVER}/q"}
    assert load().store is None


def test_project__no_name(server):
    """What is no project's name is refused."""
    with pytest.raises(UsageError), holdfast.project("a/b"):
        pass


def test_activate__sets_and_puts_back(server, monkeypatch):
    """The variables are set for the block, mounts among them, and put back after it, those that were not there removed."""
    monkeypatch.setenv("ASSET_BUCKET_MT_CONFIG", '"s3://b":"/mnt/b"')
    before = variables()
    with holdfast.activate("p"):
        assert os.environ["ASSET_SERVER_URL"] == SERVER
        assert os.environ["ASSET_PROJECT"] == "p"
        assert json.loads(os.environ["ASSET_BUCKET_MT_CONFIG"]) == {"s3://b": "/mnt/b"}
        assert load().store == f"{SERVER}/p"
    assert variables() == before


def test_activate__settings_of_the_file(monkeypatch, tmp_path):
    """Server and mounts come from the user's settings before anything else happens (faults 6.1.9 and 6.1.10)."""
    file = tmp_path / "config.toml"
    file.write_text(f'server = "{SERVER}"\nstore = "s3://elsewhere"\n[mounts]\n"s3://b" = "/mnt/b"\n')
    monkeypatch.setenv("HOLDFAST_CONFIG", str(file))
    with holdfast.activate("p"):
        assert os.environ["ASSET_SERVER_URL"] == SERVER
        assert json.loads(os.environ["ASSET_BUCKET_MT_CONFIG"]) == {"s3://b": "/mnt/b"}
        code = "from holdfast.config import load; s = load(); print(s.store, s.server, dict(s.mounts))"
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == f"{SERVER}/p {SERVER} {{'s3://b': '/mnt/b'}}"
    assert variables() == dict.fromkeys(NAMES)


def test_activate__put_back_on_errors(server):
    """An error in the block puts everything back (faults 6.2.1 and 6.2.6)."""
    before = variables()
    with pytest.raises(RuntimeError), holdfast.activate("p"):
        raise RuntimeError
    assert variables() == before


def test_activate__without_a_server():
    """Without a server nothing is changed."""
    before = variables()
    with pytest.raises(UsageError, match="no server"):
        holdfast.activate("p")
    assert variables() == before


def test_activate__a_second_one(server):
    """A second, different project is refused and the first stays (fault 6.1.11); the same one ends when the outer one does."""
    with holdfast.activate("p"):
        with pytest.raises(ConflictError, match="p on"):
            holdfast.activate("q")
        with holdfast.activate("p"):
            pass
        assert os.environ["ASSET_PROJECT"] == "p"
    assert "ASSET_PROJECT" not in os.environ
    with holdfast.activate("q"):
        assert os.environ["ASSET_PROJECT"] == "q"


def test_deactivate(server):
    """An activation without a block is ended by ``deactivate``; where nothing is active it does nothing."""
    assert not holdfast.deactivate()
    holdfast.activate("p")
    holdfast.activate("p")
    assert holdfast.deactivate()
    assert "ASSET_PROJECT" not in os.environ
    assert load().store is None


def test_activate__what_somebody_changed_since_stays(server, monkeypatch):
    """A variable that the program itself changes meanwhile is not put back over."""
    monkeypatch.delenv("ASSET_PROJECT", raising=False)  # which is how it is left
    with holdfast.activate("p"):
        os.environ["ASSET_PROJECT"] = "mine"
    assert os.environ["ASSET_PROJECT"] == "mine"
    del os.environ["ASSET_PROJECT"]


def test_public_names():
    """There are at most twenty public names, and each is there."""
    assert len(holdfast.__all__) <= 20
    assert all(getattr(holdfast, name) is not None for name in holdfast.__all__)
