"""Leases: whose they are, when they count, and how a removal gives way to them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from holdfast.cache.eviction import evict
from holdfast.cache.leases import Leases
from holdfast.cache.owners import owner
from holdfast.errors import UsageError
from holdfast.store.memory import MemoryStore
from tests.fakes import repository_on


@pytest.fixture
def leases(tmp_path):
    """An empty folder of them."""
    return Leases(tmp_path / "leases")


def dead_owner() -> str:
    """What a process that is gone was called."""
    code = "from holdfast.cache.owners import owner; print(owner())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def files(leases):
    return [path for path in leases._folder.rglob("*") if not path.is_dir()]


def test_hold__ends(leases):
    """A lease is there as long as it is held, tells its bytes, and leaves nothing."""
    with leases.hold("group/n", "1.0", 77) as lease:
        assert [(found.name, found.version, found.bytes) for found in leases.living()] == [("group/n", "1.0", 77)]
        assert leases.of("group/n", "1.0") == [lease]
        assert leases.of("group/n", "1.0", lease) == []
        assert leases.of("group/n", "1") == []
    assert leases.living() == []
    assert files(leases) == []


def test_hold__twice(leases):
    """One process may use a version several times; each use ends by itself."""
    with leases.hold("n", "1.0"):
        with leases.hold("n", "1.0"):
            assert len(leases.of("n", "1.0")) == 2
        assert len(leases.of("n", "1.0")) == 1


def test_lease__of_the_dead(leases):
    """A lease of a process of this machine that is gone does not count, and is swept."""
    place = leases._folder / "n"
    place.mkdir(parents=True)
    (place / f"1.0@{dead_owner()}.1.5").touch()
    (place / "1.0@nonsense").touch()
    assert leases.living() == []
    assert [path.name for path in files(leases)] == ["1.0@nonsense"]


def test_lease__of_a_stranger(leases):
    """A lease of another machine counts until it is six hours old."""
    place = leases._folder / "n"
    place.mkdir(parents=True)
    path = place / "1.0@elsewhere-1-2-abcd.1.5"
    path.touch()
    assert len(leases.living()) == 1
    os.utime(path, (time.time() - 7 * 3600,) * 2)
    assert leases.living() == []


def test_hold__read_only(tmp_path):
    """Where no lease can be written there is none, and nobody fails."""
    (tmp_path / "leases").write_text("no folder")
    with Leases(tmp_path / "leases").hold("n", "1.0") as lease:
        assert lease is None


def test_removal__gives_way(leases):
    """What is in use is not removed, and of two removals one goes on."""
    with leases.hold("n", "1.0") as lease:
        with leases.removal("n", "1.0") as free:
            assert not free
        with leases.removal("n", "1.0", lease) as free:
            assert free
    with leases.removal("n", "1.0") as first, leases.removal("n", "1.0") as second:
        assert (first, second) == (True, False)
    assert files(leases) == []


def test_hold__waits_for_a_removal(leases):
    """Who begins to use a version that is being removed finds out, and does not see it vanish later."""
    seen = []
    with leases.removal("n", "1.0") as free:
        assert free

        def use():
            with leases.hold("n", "1.0"):
                seen.append(time.monotonic())

        user = threading.Thread(target=use)
        user.start()
        time.sleep(0.1)
        assert seen == []
        ended = time.monotonic()
    user.join()
    assert seen[0] >= ended


def test_removal__of_the_dead(leases):
    """A removal that was killed holds nobody up."""
    place = leases._folder / "n" / ".1.0.doomed"
    place.parent.mkdir(parents=True)
    place.symlink_to(dead_owner())
    begun = time.monotonic()
    with leases.hold("n", "1.0"):
        pass
    assert time.monotonic() - begun < 1
    with leases.removal("n", "1.0") as free:
        assert free


def test_owner__of_a_fork():
    """A forked child is another owner than its parent."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, owner().encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 1000).decode() != owner()


def test_read__in_use_until_closed(tmp_path):
    """A version whose file is read is in use until the stream is closed, and is fetched again where it went before that."""
    repository = repository_on(MemoryStore("read"), tmp_path / "m")
    (tmp_path / "f").write_text("content")
    repository.push(tmp_path / "f", "n")
    with repository.read("n") as stream:
        assert [lease.version for lease in repository.assets.leases.of("n", "0.0")] == ["0.0"]
        (entry,) = repository.assets.entries()
        assert evict(repository.assets, entry) == "in use"
        assert stream.read() == b"content"
    assert repository.assets.leases.living() == []
    assert evict(repository.assets, entry) is None
    (tmp_path / "d").mkdir()
    repository.push(tmp_path / "d", "d")
    with pytest.raises(UsageError, match="directory"):
        repository.read("d")
    assert repository.assets.leases.living() == []
