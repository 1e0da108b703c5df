"""A push that is interrupted or fails says that it has ended: its number can be freed, and what it sent is gone on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

import holdfast
from holdfast.config import load
from holdfast.errors import SourceChangedError, UnreachableError
from holdfast.formats import layout as keys
from holdfast.maintain import repair, verify
from holdfast.model.result import NoProgress
from holdfast.wiring import open_on
from tests.e2e.driver import flat
from tests.fakes import Fault, FaultyStore, Interrupting, Script

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.repository import Repository
    from tests.fakes import Call


class Changing(NoProgress):
    """A file changes right before it is sent."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def start(self, what: str, total: int | None, files: int) -> None:
        """Change it."""
        if what == "push":
            self.file.write_text("changed")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Folders for a store and a cache, and a source of two files."""
    for name in ("store", "assets", "source"):
        (tmp_path / name).mkdir()
    (tmp_path / "source/a.txt").write_text("a")
    (tmp_path / "source/b.txt").write_text("b")
    return tmp_path


@pytest.fixture
def repository(place: Path) -> Repository:
    """A repository over them."""
    return holdfast.open((place / "store").as_uri(), assets_dir=place / "assets")


def interrupted(repository: Repository, place: Path, layout: str = "tree", **options: str) -> None:
    """A push of the source that is interrupted while it sends."""
    url = repository.store.url
    with pytest.raises(KeyboardInterrupt):
        holdfast.open(url, assets_dir=place / "assets", progress=Interrupting()).push(
            place / "source", "n/a", layout=layout, **options
        )


def records(place: Path) -> list[dict]:
    """The records of all pushes."""
    return [json.loads(path.read_text()) for path in (place / "store/.holdfast/pushes").iterdir()]


def minutes_pass(place: Path) -> None:
    """Every push was heard of two minutes earlier than it was."""
    for path in (place / "store/.holdfast/pushes").iterdir():
        os.utime(path, (time.time() - 120,) * 2)


@pytest.mark.parametrize("kind", ["file", "tree", "packs"])
def test_ctrl_c__frees_the_number_with_repair(asset, kind: str) -> None:
    """The number of a push that Ctrl-C ended is free a minute later, by `asset repair`, and other content can have it."""
    source = asset.folder / ("model/big" if kind == "file" else "model")
    (asset.folder / "model/big").write_bytes(os.urandom(1 << 20) * 8)
    heard = ["env", "--default-signal=INT"]  # whoever runs the tests in the background has it ignored
    line = [*heard, sys.executable, "-m", "holdfast.cli", "push", str(source), "n/a", "--version", "1.0", "--json"]
    process = subprocess.Popen(
        [*line, "--layout", kind, "--limit-rate", "200K"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=asset.folder, env=asset.environ(),
    )  # fmt: skip
    awaited = asset.folder / "store/.holdfast" / ("pushes" if kind == "packs" else "claims")
    deadline = time.monotonic() + 20
    while not list(awaited.glob("**/*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, json.loads(out)["error"]["kind"]) == (130, "interrupted"), err
    assert all(record.get("closed") for record in records(asset.folder))
    (asset.folder / "one.txt").write_text("another")
    if kind != "packs":  # which claim a number once all is sent
        assert "asset repair n/a" in asset.error(4, "push", "one.txt", "n/a", "--version", "1.0")["hint"]
        asset.error(4, "repair", "n/a")
        minutes_pass(asset.folder)
        asset.ok("repair", "n/a")
    assert asset.ok("push", "one.txt", "n/a", "--version", "1.0", "--json").json["created"]
    asset.ok("verify", "--all", "--deep")


_AGAIN = """
import os, signal, sys, threading, time
from holdfast.cli import main, output

def told(*args, tell=output.print_failure, **options):
    os.kill(os.getpid(), signal.SIGINT)  # while it is told
    tell(*args, **options)

def slow():
    while threading.main_thread().is_alive():  # until the interpreter's end waits for this thread
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1)

output.print_failure = told
threading.Thread(target=slow).start()
main._run = lambda _: os.kill(os.getpid(), signal.SIGINT)
main.main()
"""


def test_ctrl_c__again() -> None:
    """Ctrl-C pressed again is no traceback: what the first one says is said whole, and then the process ends at once."""
    line = ["env", "--default-signal=INT", sys.executable, "-c", _AGAIN, "list", "--json"]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")
    assert json.loads(done.stdout)["error"]["kind"] == "interrupted"


@pytest.mark.parametrize("layout", ["tree", "packs"])
def test_interrupted__goes_on_under_its_number(repository: Repository, place: Path, layout: str) -> None:
    """A push that was interrupted goes on under its own number when it is run again, as long as nobody freed it."""
    interrupted(repository, place, layout, version="3.0")
    assert [bool(record.get("closed")) for record in records(place)] == [True]
    minutes_pass(place)
    assert repository.push(place / "source", "n/a", layout=layout, version="3.0").version == "3.0"
    assert flat(repository.fetch("n/a:3.0")) == {"a.txt": b"a", "b.txt": b"b"}
    assert all(record.get("closed") for record in records(place))


def test_interrupted__and_freed(repository: Repository, place: Path) -> None:
    """Run again after its number was freed, an interrupted push begins anew."""
    interrupted(repository, place)
    minutes_pass(place)
    assert [finding.state for finding in repair(repository, "n/a")] == ["repaired"]
    assert not list((place / "store/n").glob("**/*.txt"))
    repository.push(place / "source/a.txt", "n/a", version="0.0")
    assert repository.push(place / "source", "n/a", layout="tree").version == "0.1"
    assert all(finding.ok for finding in verify(repository, deep=True))


def test_interrupted__goes_on_while_it_is_freed(repository: Repository, place: Path) -> None:
    """Repair that is about to free the number of an interrupted push leaves it alone where that push goes on at this moment."""
    interrupted(repository, place)
    minutes_pass(place)
    store = FaultyStore(repository.store)
    [record] = records(place)

    def reopen(call: Call) -> None:
        if call.verb == "put" and call.key == keys.claim_key("n/a", "0.0"):
            store.plan = lambda _: None
            again = {key: value for key, value in record.items() if key != "closed"}
            repository.store.put(keys.push_key(record["id"]), json.dumps(again).encode())

    store.plan = reopen
    late = open_on(store, load({"store": repository.store.url, "assets_dir": place / "assets"}))
    assert [finding.state for finding in repair(late, "n/a")] == ["conflict"]
    assert list((place / "store/n/a/0.0").iterdir())
    assert repository.push(place / "source", "n/a", layout="tree").version == "0.0"


def test_failed__is_no_more_waited_for(repository: Repository, place: Path) -> None:
    """A push that fails says that it has ended; one whose store does not answer is waited for, for nobody knows what arrives."""
    store = FaultyStore(repository.store)
    settings = load({"store": repository.store.url, "assets_dir": place / "assets"})
    store.plan = Script().add(Fault.BEFORE, "put*", "n/a/0.0/*", times=99)
    with pytest.raises(UnreachableError):
        open_on(store, settings).push(place / "source", "n/a", layout="tree")
    assert [record.get("closed") for record in records(place)] == [None]
    source = place / "source"
    with pytest.raises(SourceChangedError):
        holdfast.open(repository.store.url, assets_dir=place / "assets", progress=Changing(source / "b.txt")).push(
            source, "n/b", layout="tree"
        )
    assert all(record.get("closed") for record in records(place) if record["name"] == "n/b")
