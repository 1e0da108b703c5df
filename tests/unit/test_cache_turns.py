"""Turns at one piece of work: by number and by lock, each where the other says nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from holdfast.cache.turns import hold
from holdfast.errors import BusyError


def queue(tmp_path):
    """Where the numbers of the lock file are drawn."""
    folder = tmp_path / ".lock.queue"
    folder.mkdir(exist_ok=True)
    return folder


def dead_owner() -> str:
    """What a process that is gone was called."""
    code = "from holdfast.cache.owners import owner; print(owner())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def living_owner() -> str:
    """What this process's parent would be called, if it had a part in this."""
    from holdfast.cache.owners import birth, machine

    return f"{machine()}-{os.getppid()}-{birth(os.getppid())}-abcd"


def test_hold__leaves_nothing(tmp_path):
    """A turn that has ended leaves no number."""
    with hold(tmp_path / "lock", "n:1.0", 1):
        assert os.listdir(queue(tmp_path)) == ["1"]
    assert os.listdir(queue(tmp_path)) == []


def test_hold__living_number(tmp_path):
    """Where a living process has a smaller number its turn is first, though the lock is free."""
    (queue(tmp_path) / "3").symlink_to(living_owner())
    with pytest.raises(BusyError), hold(tmp_path / "lock", "n:1.0", 0.05):
        pass
    assert os.listdir(queue(tmp_path)) == ["3"]
    (queue(tmp_path) / "3").unlink()
    with hold(tmp_path / "lock", "n:1.0", 0.05):
        pass


def test_hold__dead_number(tmp_path):
    """The number of a process that is gone is swept, and holds nobody up."""
    (queue(tmp_path) / "1").symlink_to(dead_owner())
    with hold(tmp_path / "lock", "n:1.0", 0.05):
        assert os.listdir(queue(tmp_path)) == ["2"]


@pytest.mark.parametrize(("locks", "age", "waits"), [(True, 0, False), (False, 0, True), (False, 400, False)])
def test_hold__stranger(tmp_path, monkeypatch, locks, age, waits):
    """The number of another machine counts for five minutes where locks lock nothing, and not where they work."""
    import fcntl

    if not locks:
        monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    number = queue(tmp_path) / "1"
    number.symlink_to("elsewhere-1-2-abcd")
    os.utime(number, (time.time() - age,) * 2, follow_symlinks=False)
    try:
        with hold(tmp_path / "lock", "n:1.0", 0.05):
            assert not waits
    except BusyError:
        assert waits


def test_hold__done(tmp_path):
    """Who waits goes on as soon as it is done, without a turn."""
    (queue(tmp_path) / "1").symlink_to(living_owner())
    done = threading.Event()
    threading.Timer(0.05, done.set).start()
    with hold(tmp_path / "lock", "n:1.0", 10, done.is_set):
        assert sorted(os.listdir(queue(tmp_path))) == ["1", "2"]


def test_hold__no_symlinks(tmp_path):
    """Without numbers the lock alone decides."""
    (tmp_path / ".lock.queue").write_text("no folder")
    with (
        hold(tmp_path / "lock", "n:1.0", 1),
        pytest.raises(BusyError),
        hold(tmp_path / "lock", "n:1.0", 0.05),
    ):
        pass
