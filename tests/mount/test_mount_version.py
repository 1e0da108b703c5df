"""Versions mounted by the command line, from a store, through real processes and the kernel."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import threading
from pathlib import Path

import pytest

import holdfast
from holdfast.config import load
from holdfast.mount.mounting import mount_version
from holdfast.mount.table import detach
from tests import forking
from tests.mount.conftest import mounted_below, processes_naming
from tests.mount.test_daemon_worker import until
from tests.mount.test_fuse_tree import shown
from tests.mount.versions import ROOT, needs_fuse

pytestmark = needs_fuse


class Shop:
    """A store with an asset, and the environment of somebody who uses it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.source = folder / "source"
        self.place = folder / "mounted"
        (self.source / "sub").mkdir(parents=True)
        for path in (self.place, folder / "assets", folder / "store"):
            path.mkdir()
        (self.source / "big").write_bytes(random.Random(3).randbytes(5_000_000))
        for number in range(50):
            (self.source / "sub" / f"{number}").write_bytes(b"%d" % number)
        (self.source / "link").symlink_to("sub/1")
        monkeypatch.setenv("HOLDFAST_STORE", f"file://{folder / 'store'}")
        monkeypatch.setenv("HOLDFAST_ASSETS_DIR", str(folder / "assets"))
        monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
        self.repository = holdfast.open()
        self.repository.push(self.source, "nlp/bert")

    def asset(self, *words: object) -> tuple[int, str, str]:
        """Exit code, output and messages of a command."""
        done = forking.run("holdfast.cli", words, env=dict(os.environ), timeout=60)
        return done.returncode, done.stdout, done.stderr

    def mounts(self) -> list[dict]:
        return json.loads(self.asset("mounts", "--json")[1])


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A store with one version of nlp/bert."""
    return Shop(tmp_path, monkeypatch)


def files_of(folder: Path) -> dict[str, object]:
    """All that is shown of files and links, and which directories there are: of those a version tells neither links nor the root's time."""
    return {path: found if found[-1] is not None else "directory" for path, found in shown(folder).items()}


def test_mount__shows_the_version(shop):
    """``asset mount SPEC DIR`` shows the version as the folder that it was pushed from, until ``asset unmount DIR``."""
    expected = files_of(shop.source)
    code, out, _ = shop.asset("mount", "nlp/bert:0", shop.place, "--json")
    assert code == 0
    told = json.loads(out)
    assert (told["dir"], told["source"], told["kind"], told["state"]) == (
        str(shop.place),
        "nlp/bert:0",
        "version",
        "mounted",
    )
    assert files_of(shop.place) == expected
    (one,) = shop.mounts()
    assert (one["supervisor_pid"], one["worker_pid"]) == (told["supervisor_pid"], told["worker_pid"])
    assert shop.asset("unmount", shop.place)[0] == 0
    assert os.listdir(shop.place) == []
    assert shop.mounts() == []
    assert processes_naming(shop.folder) == []


def test_mount__outlives_its_worker(shop):
    """A version whose worker is killed is read on without an error, and what it read is counted on."""
    shop.asset("mount", "nlp/bert", shop.place)
    (before,) = shop.mounts()
    for number in range(3):
        assert (shop.place / "sub" / f"{number}").read_bytes() == b"%d" % number
        worker = shop.mounts()[0]["worker_pid"]
        os.kill(worker, signal.SIGKILL)
        until(lambda worker=worker: shop.mounts()[0]["worker_pid"] not in (None, worker))
    assert (shop.place / "big").read_bytes() == (shop.source / "big").read_bytes()
    until(lambda: shop.mounts()[0]["bytes_read"] >= 5_000_000)
    (after,) = shop.mounts()
    assert (after["supervisor_pid"], after["restarts"]) == (before["supervisor_pid"], 3)


def test_mount__follows(shop):
    """With --follow the mount shows the next version once it is there, also names that were not there before; without, it stays."""
    pinned = shop.folder / "pinned"
    pinned.mkdir()
    assert shop.asset("mount", "nlp/bert", shop.place, "--follow")[0] == 0
    assert shop.asset("mount", "nlp/bert", pinned)[0] == 0
    for place in (shop.place, pinned):
        assert not (place / "new").exists()
    with open(shop.place / "sub" / "7", "rb", buffering=0) as old:
        (shop.source / "new").write_bytes(b"new")
        (shop.source / "sub" / "7").write_bytes(b"seven")
        shop.repository.push(shop.source, "nlp/bert")
        until((shop.place / "new").exists)
        assert (shop.place / "new").read_bytes() == b"new"
        assert (shop.place / "sub" / "7").read_bytes() == b"seven"
        assert old.read() == b"7"
    assert "new" in os.listdir(shop.place)
    assert not (pinned / "new").exists()
    assert (pinned / "sub" / "7").read_bytes() == b"7"


def test_mount__follows_though_its_worker_dies_between(shop, monkeypatch):
    """A worker that dies once it has noted a newer version, and before it told the kernel: its successor tells, and no old name is shown."""
    monkeypatch.setenv("HOLDFAST_FAILPOINT", "follow.added")
    assert shop.asset("mount", "nlp/bert", shop.place, "--follow")[0] == 0
    assert not (shop.place / "new").exists()
    assert (shop.place / "link").is_symlink()
    assert (shop.place / "big").stat().st_size == 5_000_000
    (shop.source / "new").write_bytes(b"new")
    (shop.source / "big").write_bytes(b"small")
    (shop.source / "link").unlink()
    monkeypatch.delenv("HOLDFAST_FAILPOINT")
    shop.repository.push(shop.source, "nlp/bert")
    until(lambda: shop.mounts()[0]["restarts"] == 1)
    until((shop.place / "new").exists)
    assert (shop.place / "big").read_bytes() == b"small"
    assert not (shop.place / "link").is_symlink()


@pytest.mark.parametrize("words", [["status"], ["push"], ["diff", "nlp/bert"]])
def test_commands__on_a_mount_that_hangs(shop, words):
    """asset status, push and diff with a directory in a mount that hangs end after ten seconds with exit code 7 and its name."""
    shop.asset("mount", "nlp/bert", shop.place)
    (told,) = shop.mounts()
    pids = told["supervisor_pid"], told["worker_pid"]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        code, _, said = shop.asset(*words, shop.place)
    finally:
        for pid in reversed(pids):  # else the supervisor may have ended its silent worker by then
            os.kill(pid, signal.SIGCONT)
    assert (code, "has not answered for 10 s" in said) == (7, True), said


def test_mount__what_cannot_be(shop):
    """A version, asset or directory that is not there, or a directory that is not empty, is said in one sentence; nothing is left behind."""
    full = shop.folder / "full"
    full.mkdir()
    (full / "file").touch()
    cases = [
        (3, "no version 9 of nlp/bert", "nlp/bert:9", shop.place),
        (3, "no asset 'nlp/none'", "nlp/none", shop.place),
        (3, "there is no directory", "nlp/bert", shop.folder / "none"),
        (4, "is not empty", "nlp/bert", full),
        (2, "names a part of a version", "nlp/bert[sub]", shop.place),
        (2, "it needs --with", "s3://bucket", shop.place),
    ]
    for code, said, spec, place in cases:
        found, _, errors = shop.asset("mount", spec, place)
        assert found == code, errors
        assert said in errors
        assert "Traceback" not in errors
    assert shop.asset("mount", "nlp/bert", shop.place, "-o", "vfs=1")[0] == 2
    assert shop.mounts() == []
    assert mounted_below(shop.folder) == []
    assert processes_naming(shop.folder) == []
    assert list((full).iterdir()) == [full / "file"]


def test_mount__twice(shop):
    """A directory that is a mount already, or lies inside one, is not mounted on again."""
    shop.asset("mount", "nlp/bert", shop.place)
    code, _, errors = shop.asset("mount", "nlp/bert:0.0", shop.place)
    assert code == 1
    assert "is a mount of nlp/bert already" in errors
    code, _, errors = shop.asset("mount", "nlp/bert", shop.place / "sub")
    assert code == 4
    assert "lies inside the mount of nlp/bert" in errors


def test_mount__after_a_crash(shop):
    """What a killed supervisor left is shown as dead, taken away by ``asset unmount``, and by the next mount there."""
    for again in ("unmount", "mount"):
        shop.asset("mount", "nlp/bert", shop.place)
        os.kill(shop.mounts()[0]["supervisor_pid"], signal.SIGKILL)
        until(lambda: shop.mounts()[0]["state"] == "dead")
        with pytest.raises(OSError) as caught:
            os.listdir(shop.place)
        assert caught.value.errno in (errno.ENOTCONN, errno.ECONNABORTED)
        if again == "mount":
            assert shop.asset("mount", "nlp/bert", shop.place)[0] == 0
            assert len(mounted_below(shop.folder)) == 1
        assert shop.asset("unmount", shop.place)[0] == 0
        assert mounted_below(shop.folder) == []
        assert shop.mounts() == []


def test_mount__in_use(shop):
    """A version in use is not unmounted: who holds it is named; --wait waits for that."""
    shop.asset("mount", "nlp/bert", shop.place)
    with open(shop.place / "big", "rb") as file, subprocess.Popen(["sleep", "60"], stdin=file) as holder:
        file.close()
        code, _, errors = shop.asset("unmount", shop.place)
        assert code == 1
        assert f"sleep (process {holder.pid}) holds {shop.place}/big" in errors
        threading.Timer(1.0, holder.terminate).start()
        assert shop.asset("unmount", shop.place, "--wait")[0] == 0
    assert os.listdir(shop.place) == []


def test_mount__below_changes(shop):
    """A mounted version can lie below an overlay, which goes on showing it after it was unmounted, until the overlay goes."""
    upper, work, top = (shop.folder / name for name in ("upper", "work", "top"))
    for path in (upper, work, top):
        path.mkdir()
    record = mount_version("nlp/bert:0.0", shop.place, settings=load())
    options = f"lowerdir={shop.place},upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, top], check=True)
    (top / "sub" / "1").write_bytes(b"changed")
    assert detach(str(shop.place))
    assert os.listdir(shop.place) == []
    assert (top / "big").read_bytes() == (shop.source / "big").read_bytes()
    assert (top / "sub" / "1").read_bytes() == b"changed"
    assert (top / "sub" / "2").read_bytes() == b"2"
    subprocess.run(["umount", top], check=True)
    until(lambda: processes_naming(shop.folder) == [])
    assert record.state.state == "unmounted"


class Guest:
    """Somebody else than who mounts, who stands in the folder of the shop: what a command of his says."""

    def __init__(self, shop: Shop) -> None:
        self.folder = shop.folder
        self.folder.chmod(0o711)

    def run(self, *words: object) -> tuple[int, bytes, str]:
        """Exit code, output and messages."""
        as_guest = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set=-all"]
        done = subprocess.run(
            [*as_guest, *map(str, words)], capture_output=True, check=False, timeout=60, cwd=self.folder
        )
        return done.returncode, done.stdout, done.stderr.decode()


def test_mount__for_other_users(shop):
    """With -o allow_other other users read what its modes let them, also after a worker was replaced; without, they do not come into it."""
    (shop.source / "secret").write_bytes(b"secret")
    (shop.source / "secret").chmod(0o600)
    shop.repository.push(shop.source, "nlp/bert")
    guest, place = Guest(shop), Path(shop.place.name)
    assert shop.asset("mount", "nlp/bert", shop.place)[0] == 0
    code, _, errors = guest.run("cat", place / "sub" / "7")
    assert code == 1
    assert "Permission denied" in errors
    assert shop.asset("unmount", shop.place)[0] == 0
    assert shop.asset("mount", "nlp/bert", shop.place, "-o", "allow_other,noexec")[0] == 0
    for number in (7, 8):
        assert guest.run("cat", place / "sub" / f"{number}") == (0, b"%d" % number, "")
        assert guest.run("sha256sum", place / "big")[0] == 0
        assert "Permission denied" in guest.run("cat", place / "secret")[2]
        assert "Read-only file system" in guest.run("touch", place / "sub" / "new")[2]
        assert (shop.place / "secret").read_bytes() == b"secret"
        worker = shop.mounts()[0]["worker_pid"]
        os.kill(worker, signal.SIGKILL)
        until(lambda worker=worker: shop.mounts()[0]["worker_pid"] not in (None, worker))
    assert shop.asset("unmount", shop.place)[0] == 0


def test_mount__for_other_users_of_a_cache_that_others_write(shop):
    """A mount for other users is refused where others could write what they are shown, and nothing is left behind."""
    shop.asset("mount", "nlp/bert", shop.place)
    shop.asset("unmount", shop.place)
    (state,) = (shop.folder / "cache").rglob("ranges-1")
    state.parent.chmod(0o777)
    code, _, errors = shop.asset("mount", "nlp/bert", shop.place, "-o", "allow_other")
    assert code == 1
    assert str(state.parent) in errors
    assert "Traceback" not in errors
    assert mounted_below(shop.folder) == []
    assert shop.mounts() == []


def test_mount__programs_in_it(shop):
    """With -o noexec no program in the mount is run; without, it is."""
    (shop.source / "run").write_text("#!/bin/sh\necho ran\n")
    (shop.source / "run").chmod(0o755)
    shop.repository.push(shop.source, "nlp/bert")
    for words in ([], ["-o", "noexec"]):
        assert shop.asset("mount", "nlp/bert", shop.place, *words)[0] == 0
        if words:
            with pytest.raises(PermissionError):
                subprocess.run([shop.place / "run"], check=True)
        else:
            assert subprocess.run([shop.place / "run"], check=True, capture_output=True).stdout == b"ran\n"
        assert shop.asset("unmount", shop.place)[0] == 0
