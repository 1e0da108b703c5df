"""Stores that disappear at each request, and disks that are full at each step, of a backup, a deployment and a restore."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from holdfast import wiring
from holdfast.errors import HoldfastError
from holdfast.model.result import NoProgress
from holdfast.sites.backup import back_up
from holdfast.sites.deploy import deploy
from holdfast.sites.guarded import Guarded
from holdfast.sites.loading import load_site
from holdfast.sites.offload import Agreed
from holdfast.sites.restore import restore
from holdfast.sites.stores import Stores
from tests.fakes import Fault, FaultyStore
from tests.sites.conftest import FILES, SiteRunner, files_of, lay_site
from tests.sites.test_backup import content, versions
from tests.sites.test_deploy import BUCKET, IMAGES, changed_later, make_leases_old, media

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.fakes import Call

#: More requests than any of these makes.
MOST = 1000


class Provider:
    """All stores of this process: they answer ``left`` requests more, do the next one or not, and answer none from then on."""

    def __init__(self) -> None:
        self.left: int | None = None
        self.last = Fault.BEFORE
        self.gone = False

    def __call__(self, call: Call) -> Fault | None:
        """What befalls a request; one is made at a time."""
        if self.left is None:
            return None
        if self.left > 0:
            self.left -= 1
            return None
        fault, self.gone = (Fault.BEFORE if self.gone else self.last), True
        return fault


@pytest.fixture
def provider(monkeypatch) -> Provider:
    """Whatever store is opened belongs to it."""
    made, real = Provider(), wiring.open_store
    monkeypatch.setattr(wiring, "open_store", lambda *args: FaultyStore(real(*args), made))
    return made


def at_each_request(provider: Provider, folder: Path, run: Callable[[], bool], check: Callable[[], None]) -> None:
    """Run it while all stores disappear at each request in turn, and once more when they are back; each time from what the folder held.

    ``run`` tells whether everything is done.
    """
    before = folder.with_name(f"{folder.name}.before")
    shutil.copytree(folder, before, symlinks=True)
    for number in range(MOST):
        shutil.rmtree(folder)
        shutil.copytree(before, folder, symlinks=True)
        provider.left, provider.last, provider.gone = number, (Fault.BEFORE, Fault.LOST)[number % 2], False
        is_done = False
        with suppress(HoldfastError):
            is_done = run()
        provider.left = None
        if not provider.gone:
            assert is_done
            assert number > 2
            return
        make_old(folder)
        assert is_done or run()
        check()
    raise AssertionError("it never ends")


def make_old(folder: Path) -> None:
    """The leases of the dead are over."""
    make_leases_old(SiteRunner(folder))


def parts(site: SiteRunner):
    """The site as a command has it."""
    guard, loaded = Guarded(NoProgress()), load_site(str(site.folder / "site.toml"), None)
    return loaded.plan, loaded.settings, Stores(loaded.plan.stores, progress=guard, jobs=1), guard


@pytest.fixture
def inner(tmp_path: Path) -> SiteRunner:
    """A small site in a folder of its own."""
    folder = tmp_path / "site"
    for name in ("home", "one", "two", "www"):
        (folder / name).mkdir(parents=True)
    lay_site(folder / "www")
    runner = SiteRunner(folder)
    runner.write()
    return runner


def test_deploy__stores_disappear(inner, provider):
    """Whichever request is the last that the stores answer, the same deployment completes once they are back, and all that was in the bucket is kept."""
    before = changed_later(inner)

    def run() -> bool:
        plan, settings, stores, guard = parts(inner)
        agreed = Agreed(overwrite=frozenset({BUCKET}), accept_loss=True)
        deploy(plan, settings, stores, guard, "hourly", agreed)
        return True

    def check() -> None:
        assert media(inner) == IMAGES
        assert content(inner, name=f"sites/www-example-com/safety/{BUCKET}") == before
        assert not (inner.folder / "state/deploy.journal").exists()

    at_each_request(provider, inner.folder, run, check)


def test_backup__stores_disappear(inner, provider):
    """Whichever request is the last that the stores answer, the next backup is in both, and so is each before it."""
    inner.write(stores=("one", "two"))
    first = inner.site("backup", "--period", "hourly")["version"]
    (inner.webroot / "index.php").write_bytes(b"new")

    def run() -> bool:
        plan, settings, stores, guard = parts(inner)
        return back_up(plan, settings, stores, "hourly", guard).failed is None

    def check() -> None:
        assert versions(inner, "one") == versions(inner, "two")
        assert versions(inner, "one")[-1] == first
        for store in ("one", "two"):
            assert content(inner, store)["index.php"] == b"new"

    at_each_request(provider, inner.folder, run, check)


def test_restore__stores_disappear(inner, provider):
    """Whichever request is the last that the stores answer, nothing of the webroot is lost, and the same restore completes once they are back."""
    inner.site("backup", "--period", "hourly")
    (inner.webroot / "index.php").write_bytes(b"mine")
    (inner.webroot / "images/logo.png").unlink()

    def run() -> bool:
        plan, settings, stores, _ = parts(inner)
        restore(plan, settings, stores, "hourly")
        return True

    def check() -> None:
        aside = [data for folder in inner.folder.glob(".www.aside-*") for data in files_of(folder).values()]
        assert aside == [b"mine"]
        assert {**FILES, **files_of(inner.webroot)} == FILES

    at_each_request(provider, inner.folder, run, check)


# A disk that is full

BACKUP = ("backup", "--period", "hourly")
RESTORE = ("restore", "hourly")
DEPLOY = ("deploy", "--from", "hourly")
POINTS = {
    BACKUP: ("", "site.before-push", "push.scanned", "site.pushed", "site.proven", "site.copied"),
    RESTORE: ("", "site.restore-brought", "site.restore-aside", "site.restore-placed"),
    DEPLOY: ("", "site.media-partly", *(f"site.step#{number}" for number in range(1, 6))),
}


@pytest.fixture
def small(tmp_path: Path) -> Iterator[SiteRunner]:
    """A site on a small disk of its own, its store on another."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    (disk := tmp_path / "disk").mkdir()
    (tmp_path / "one").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], check=True)
    try:
        for name in ("home", "www"):
            (disk / name).mkdir()
        lay_site(disk / "www")
        yield SiteRunner(disk)
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def settle(site: SiteRunner, text: str = "") -> None:
    """Its settings; the store lies beside the disk."""
    site.write(text, stores=(), after=f'[[stores]]\nurl = "{(site.folder.parent / "one").as_uri()}"\n')


def fill(path: Path) -> None:
    """Write until nothing fits."""
    with open(path, "wb", buffering=0) as file:
        for size in (1 << 16, 1):
            with suppress(OSError):
                file.writelines(itertools.repeat(bytes(size)))


@pytest.mark.parametrize(("command", "point"), [(command, point) for command in POINTS for point in POINTS[command]])
def test_full_disk__at_each_step(small, command, point):
    """On a disk that is full a command fails by an error that says so, or does without, and loses nothing; with room the same command completes."""
    settle(small)
    small.site(*BACKUP)
    (small.webroot / "index.php").write_bytes(b"mine")
    if command == DEPLOY:
        settle(small, "persist_assets_to_cloud = 1\n")
    if point:
        assert small("site", *command, HOLDFAST_FAILPOINT=point).code == -signal.SIGKILL
        make_old(small.folder.parent)
    fill(small.folder / "filler")
    ended = small("site", *command, "--json")
    if ended.code != 0:
        assert "No space left" in str(ended.json["error"]), ended
    aside = [data for folder in small.folder.glob(".www.aside-*") for data in files_of(folder).values()]
    assert b"mine" in [*files_of(small.webroot).values(), *aside]
    (small.folder / "filler").unlink()
    make_old(small.folder.parent)
    small.site(*command)
    if command == BACKUP:
        assert content(SiteRunner(small.folder.parent))["index.php"] == b"mine"
    elif command == DEPLOY:
        assert files_of(small.folder.parent / BUCKET).items() >= IMAGES.items()
    else:
        assert {**FILES, **files_of(small.webroot)} == FILES
