"""The registry of mounts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from holdfast.errors import BusyError, LocalError
from holdfast.mount import process as processes
from holdfast.mount.process import Process
from holdfast.mount.registry import MountSettings, Registry, State

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """An empty registry."""
    return Registry(tmp_path / "state" / "mounts")


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that does nothing."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as started:
        yield started
        started.kill()


SETTINGS = MountSettings("/mnt/a", "s3://bucket/p", "rclone", {"read_only": True})


def test_record__is_found_again(registry: Registry) -> None:
    """What is mounted where is found by another program, by its directory, and sorted."""
    assert registry.records() == []
    for place in ("/mnt/b", "/mnt/a"):
        with registry.claimed(replace(SETTINGS, dir=place)) as record:
            record.write(State("mounted", Process.of(os.getpid()), bytes_read=7, more={"rename": "ok"}))
    other = Registry(registry.folder)
    assert [record.settings.dir for record in other.records()] == ["/mnt/a", "/mnt/b"]
    found = other.find("/mnt/a")
    assert found is not None
    assert (found.settings, found.state.state, found.state.more) == (SETTINGS, "mounted", {"rename": "ok"})
    assert found.value() == {
        "dir": "/mnt/a", "source": "s3://bucket/p", "kind": "rclone", "state": "mounted", "supervisor_pid": os.getpid(),
        "worker_pid": None, "restarts": 0, "health": "", "bytes_read": 7, "bytes_fetched": None,
    }  # fmt: skip
    assert other.find("/mnt/c") is None
    assert (above := other.above("/mnt/a/x/y")) is not None
    assert above.settings.dir == "/mnt/a"
    assert other.above("/mnt/a") is None
    assert other.above("/mnt/ab") is None


def test_record__any_directory(registry: Registry) -> None:
    """A directory may have any name: long, alike, or not in the terminal's encoding."""
    names = ["/mnt/" + "ä" * 100, "/mnt/.hidden", "/mnt/a b\n", os.fsdecode(b"/mnt/\xff\xfe"), "/other/.hidden", "/"]
    for name in names:
        with registry.claimed(replace(SETTINGS, dir=name)) as record:
            record.write(State("unmounted"))
    assert sorted(names) == [record.settings.dir for record in registry.records()]


def test_state__of_a_dead_supervisor(registry: Registry, sleeper: subprocess.Popen[bytes]) -> None:
    """A supervisor that is gone is noticed, though its number may be used again, and so is a worker that goes on alone."""
    with registry.claimed(SETTINGS) as record:
        me, worker = Process.of(os.getpid()), Process.of(sleeper.pid)
        record.write(State("mounted", me, worker))
        assert record.state.state == "mounted"
        record.write(State("mounted", replace(me, start="1"), worker))
        assert (record.state.state, record.state.supervisor, record.is_served) == ("unsupervised", None, True)
        sleeper.kill()
        sleeper.wait()
        assert (record.state.state, record.state.worker, record.is_served) == ("dead", None, False)


def test_state__after_a_reboot(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a reboot a mount is found again, dead, though the same numbers are alive."""
    with registry.claimed(SETTINGS) as record:
        record.write(State("mounted", Process.of(os.getpid()), Process.of(os.getpid())))
    monkeypatch.setattr(processes, "boot", lambda: "another")
    assert [record.state.state for record in registry.records()] == ["dead"]


def test_state__since(registry: Registry) -> None:
    """Since when a state is so is kept while it stays the same."""
    with registry.claimed(SETTINGS) as record:
        first = record.write(State("mounted"))
        assert record.write(State("mounted", restarts=1)).since == first.since > 0
        assert record.write(State("failed")).since >= first.since


def test_claimed__once(registry: Registry) -> None:
    """Two who mount at one directory at once: the second is refused, and so is one where something is served."""
    with registry.claimed(SETTINGS) as record:
        with pytest.raises(BusyError, match="at this moment"), registry.claimed(SETTINGS):
            pass
        record.write(State("mounted", Process.of(os.getpid())))
    with pytest.raises(BusyError, match="is a mount of s3://bucket/p already"), registry.claimed(SETTINGS):
        pass
    record.write(State("unmounted"))
    (record.folder / "cache").mkdir()
    with registry.claimed(replace(SETTINGS, source="s3://other")) as again:
        assert again.folder == record.folder
        assert (again.folder / "cache").is_dir()


def test_remove(registry: Registry) -> None:
    """A mount that is removed is gone, with its folder."""
    with registry.claimed(SETTINGS) as record:
        record.remove()
    assert registry.records() == []
    assert list(registry.folder.iterdir()) == []


def test_events(registry: Registry) -> None:
    """Events come back in order; a log that grew long is cut by half, and a torn line is left out."""
    with registry.claimed(SETTINGS) as record:
        record.event("mounted", "in 0.3 s")
        record.event("remounted", "it hung\nfor 6 s")
        assert [(each.event, each.text) for each in record.events()] == [
            ("mounted", "in 0.3 s"),
            ("remounted", "it hung\nfor 6 s"),
        ]
        with open(record.folder / "events.log", "a") as log:
            log.write('{"time": 1, "ev')
        assert len(record.events()) == 2
        for number in range(24):
            record.event("noise", f"{number} {'x' * 100_000}")
        assert record.events()[-1].text.startswith("23 ")
        assert sum(path.stat().st_size for path in record.folder.glob("events.log*")) < 3 << 20


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"dir": 1}', '{"dir": "/a", "source": "s", "kind": "k", "options": 1}']
)
def test_damage(registry: Registry, text: str) -> None:
    """A record that cannot be read is none, and one whose state cannot be read is dead."""
    with registry.claimed(SETTINGS) as record:
        (record.folder / "state.json").write_text(text)
        assert record.state.state == "dead"
        (record.folder / "mount.json").write_text(text)
    assert registry.records() == []
    with registry.claimed(SETTINGS):
        assert len(registry.records()) == 1


def test_folder__that_others_may_write(registry: Registry) -> None:
    """A registry that somebody else may write is refused, for it says which processes are ended."""
    with registry.claimed(SETTINGS):
        pass
    registry.folder.chmod(0o777)
    with pytest.raises(LocalError, match="you alone may write"):
        registry.records()
    registry.folder.rename(moved := registry.folder.with_name("elsewhere"))
    registry.folder.symlink_to(moved)
    with pytest.raises(LocalError, match="you alone may write"):
        registry.find("/mnt/a")


def test_files__are_private(registry: Registry) -> None:
    """Settings of a mount are readable by its user alone."""
    with registry.claimed(SETTINGS) as record:
        modes = {path.name: path.stat().st_mode & 0o077 for path in (record.folder, record.folder / "mount.json")}
        assert set(modes.values()) == {0}
        assert json.loads((record.folder / "mount.json").read_text())["kind"] == "rclone"


def test_turn__of_a_folder_that_goes(registry: Registry) -> None:
    """Of many who take turns at a directory whose folder comes and goes with each, two never have it at once."""
    inside, wrong = [], []

    def take(number: int) -> None:
        for _ in range(300):
            with suppress(BusyError, LocalError), registry.turn("/mnt/a"):
                inside.append(number)
                if len(inside) != 1 or not registry.folder_of("/mnt/a").exists():
                    wrong.append(number)
                inside.remove(number)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
