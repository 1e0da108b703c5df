"""A mount over an upgrade of the program: its files are changed beneath it, and SIGHUP has a worker run what they are now."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.mount.test_daemon_worker import Readers, until
from tests.mount.test_mount_version import Shop
from tests.mount.versions import ROOT, needs_fuse

pytestmark = needs_fuse

GROUP = 54321
OLD, NEW = "wire.Owner(*order.owner)", f"wire.Owner(order.owner[0], {GROUP})"


class Installed:
    """A copy of the program, of which a mount runs."""

    def __init__(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shop = shop
        self.folder = shop.folder / "program"
        shutil.copytree(
            ROOT / "src" / "holdfast", self.folder / "holdfast", ignore=shutil.ignore_patterns("__pycache__")
        )
        monkeypatch.setenv("PYTHONPATH", str(self.folder))
        assert shop.asset("mount", "nlp/bert", shop.place)[0] == 0
        (before,) = shop.mounts()
        self.supervisor, self.worker = before["supervisor_pid"], before["worker_pid"]
        assert str(self.folder) in Path(f"/proc/{self.worker}/environ").read_text()

    def replace(self, old: str, new: str, name: str = "holdfast/mount/worker.py") -> None:
        """Change a file of the program, as an installer does: a new one in its place."""
        path = self.folder / name
        text = path.read_text()
        assert text.count(old) == 1
        part = path.with_name("part")
        part.write_text(text.replace(old, new))
        os.replace(part, path)

    def ask(self) -> None:
        """SIGHUP to the supervisor."""
        os.kill(self.supervisor, signal.SIGHUP)

    def events(self) -> str:
        """What happened so far."""
        (log,) = (self.shop.folder / "state").rglob("events.log")
        return log.read_text()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installed:
    """A mount that runs of a copy of the program."""
    return Installed(Shop(tmp_path, monkeypatch), monkeypatch)


def group_of(path: Path) -> int:
    return path.stat().st_gid


def test_upgrade__to_other_code(installed):
    """After the program's files changed, SIGHUP has the mount served by what they are now; who reads meanwhile sees no error."""
    shop = installed.shop
    assert group_of(shop.place / "sub" / "1") == 0
    with open(shop.place / "sub" / "7", "rb", buffering=0) as before, OfShop(shop) as readers:
        installed.replace(OLD, NEW)
        assert group_of(shop.place / "sub" / "2") == 0
        installed.ask()
        until(lambda: shop.mounts()[0]["worker_pid"] not in (None, installed.worker))
        assert (
            os.lstat(shop.place / "link").st_gid == GROUP
        )  # a name that nobody has asked for, nor is listed ahead of others
        assert before.read() == b"7"
        so_far = readers.reads
        until(lambda: readers.reads > so_far + 20)
    assert readers.wrong == []
    (after,) = shop.mounts()
    assert (after["supervisor_pid"], after["restarts"], after["state"]) == (installed.supervisor, 0, "mounted")
    assert shop.asset("unmount", shop.place)[0] == 0


@pytest.mark.parametrize("how", ["broken", "gone"])
def test_upgrade__to_code_that_does_not_run(installed, how):
    """Where the new code does not run, an event says so and the old worker goes on; the next SIGHUP with code that runs has it served by that."""
    shop, code = installed.shop, installed.folder / "holdfast" / "mount" / "worker.py"
    if how == "broken":
        installed.replace(OLD, f"{NEW} (")
    else:
        code.rename(installed.folder / "away")
    installed.ask()
    until(lambda: "upgrade failed" in installed.events())
    assert (shop.place / "sub" / "3").read_bytes() == b"3"
    assert group_of(shop.place / "sub" / "3") == 0
    if how == "broken":
        installed.replace(f"{NEW} (", NEW)
    else:
        (installed.folder / "away").rename(code)
        installed.replace(OLD, NEW)
    installed.ask()
    until(lambda: shop.mounts()[0]["worker_pid"] not in (None, installed.worker))
    assert group_of(shop.place / "sub" / "4") == GROUP
    assert shop.mounts()[0]["restarts"] == 0


class OfShop(Readers):
    """Threads that read what a shop's version has."""

    def __init__(self, shop: Shop) -> None:
        super().__init__(shop.place)
        self._big = (shop.source / "big").read_bytes()

    def _read(self, rng) -> None:
        start, number = rng.randrange(4_900_000), rng.randrange(10, 50)
        descriptor = os.open(self._place / "big", os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            data = os.pread(descriptor, 70_000, start)
        finally:
            os.close(descriptor)
        if (
            data != self._big[start : start + 70_000]
            or (self._place / "sub" / f"{number}").read_bytes() != b"%d" % number
        ):
            self.wrong.append((start, number))
