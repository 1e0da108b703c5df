"""``asset mount``, ``mounts`` and ``unmount``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from holdfast.mount.table import mounted_at
from tests.e2e.conftest import Asset
from tests.mount.conftest import processes_naming
from tests.mount.live import PROGRAMS, attributes, require_fuse, until

if TYPE_CHECKING:
    from tests.services import Service


@pytest.fixture
def asset(tmp_path: Path, ceph: Service, monkeypatch: pytest.MonkeyPatch) -> Asset:
    """The program, with a store on Ceph and a directory ``m``."""
    for name, value in {**ceph.env, "HOLDFAST_MOUNT_PATH": PROGRAMS}.items():
        monkeypatch.setenv(name, value)
    for name in ("home", "m"):
        (tmp_path / name).mkdir(mode=0o755)
    kept = {name: os.environ[name] for name in (*ceph.env, "HOLDFAST_MOUNT_PATH")}
    return _Asset(tmp_path, kept)


class _Asset(Asset):
    """The program, with these variables in its environment."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        super().__init__(folder)
        object.__setattr__(self, "variables", variables)

    def environ(self, **more: str | None) -> dict[str, str]:
        """Those of the driver, and the service's."""
        return super().environ(**{**self.variables, **more})  # type: ignore[attr-defined]


SHOWN = {
    *(
        "health",
        "dir",
        "source",
        "kind",
        "state",
        "supervisor_pid",
        "worker_pid",
        "restarts",
        "bytes_read",
        "bytes_fetched",
    )
}


def test_mount__and_unmount(asset: Asset, ceph: Service) -> None:
    """A bucket is mounted, listed and unmounted by the program, as text and as JSON."""
    require_fuse()
    place = asset.folder / "m"
    assert asset.ok("mounts", "--json").json == []
    told = asset.ok("mount", ceph.fresh_store(), "m", "--with", "rclone")
    assert told.lines[0].endswith(f"is mounted at {place}")
    (place / "a.txt").write_text("a")
    (shown,) = asset.ok("mounts", "--json").json
    assert set(shown) == SHOWN | {"unsent"}
    assert (shown["dir"], shown["kind"], shown["state"], shown["restarts"]) == (str(place), "rclone", "mounted", 0)
    assert Path(f"/proc/{shown['worker_pid']}/comm").read_text().strip() == "rclone"
    assert asset.ok("mounts").lines[1].split()[3:4] == ["mounted"]
    assert asset.error(1, "mount", ceph.store_url, "m", "--with", "rclone")["kind"] == "busy"
    assert asset.error(4, "mount", ceph.store_url, "m/sub", "--with", "rclone")["kind"] == "conflict"
    assert asset.ok("unmount", "m", "--json").json == {"unmounted": [str(place)]}
    assert mounted_at(str(place)) is None
    assert asset.ok("mounts").out == ""
    shown = asset.ok("mount", ceph.fresh_store(), "m", "--with", "s3fs", "-o", "ro", "--json").json
    assert set(shown) == SHOWN
    assert asset.ok("unmount", "--all").lines == [f"{place} is unmounted"]
    assert list((asset.folder / "home/.local/state/holdfast/mounts").iterdir()) == []


def test_mount__foreground(asset: Asset, ceph: Service) -> None:
    """In the foreground the program stays until Ctrl-C, which unmounts; SIGTERM leaves the directory closed for the next mount."""
    require_fuse()
    place = asset.folder / "m"
    command = [
        sys.executable,
        "-m",
        "holdfast.cli",
        "mount",
        ceph.fresh_store(),
        str(place),
        "--with",
        "rclone",
        "--foreground",
    ]
    for number, writes in product((signal.SIGTERM, signal.SIGINT), (True, False)):
        with subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE, env=asset.environ(), text=True) as process:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["state"] == "mounted"
            if writes:
                (place / f"{number}.txt").write_text("kept")
            process.send_signal(number)  # it may be ended from the moment on at which it says that it has mounted
            try:
                assert process.wait(30) == 0
            finally:
                process.kill()
        assert mounted_at(str(place)) is None
        assert processes_naming(place) == []
        states = [shown["state"] for shown in asset.ok("mounts", "--json").json]
        assert states == (["unmounted"] if number == signal.SIGTERM else [])
    assert (place.stat().st_mode & 0o777, "i" in attributes(place)) == (0o755, False)


@pytest.mark.parametrize("moment", ["mount.json", '"supervisor": {', '"worker": {'])
def test_mount__interrupted(asset: Asset, ceph: Service, moment: str) -> None:
    """Ctrl-C before the mount of a live bucket stands, at whatever moment, leaves no mount, no process and no record, and the directory as it was."""
    require_fuse()
    place, programs = asset.folder / "m", asset.folder / "bin"
    programs.mkdir()
    slow = f'#!/bin/sh\n[ "$1" = mount ] && sleep 2\nexec {Path(sys.executable).with_name("rclone")} "$@"\n'
    (programs / "rclone").write_text(slow)
    (programs / "rclone").chmod(0o755)
    records = asset.folder / "home/.local/state/holdfast/mounts"
    command = [sys.executable, "-m", "holdfast.cli", "mount", ceph.fresh_store(), str(place), "--with", "rclone"]
    environ = asset.environ(HOLDFAST_MOUNT_PATH=f"{programs}:/usr/bin")

    def has_come() -> bool:
        found = [*records.glob("*/mount.json")] if moment == "mount.json" else [*records.glob("*/state.json")]
        return bool(found) and (moment == "mount.json" or moment in found[0].read_text())

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ) as process:
        until(has_come, 20, "the moment")
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(60) == 130
        finally:
            process.kill()
    assert mounted_at(str(place)) is None
    assert processes_naming(asset.folder) == []
    assert list(records.iterdir()) == []
    assert (place.stat().st_mode & 0o777, "i" in attributes(place)) == (0o755, False)


def test_mounts__while_one_hangs(asset: Asset, ceph: Service) -> None:
    """Listing and unmounting touch no mount, so a hung one does not hang them."""
    require_fuse()
    shown = asset.ok("mount", ceph.fresh_store(), "m", "--with", "s3fs", "-o", "deadline=60", "--json").json
    os.kill(shown["worker_pid"], signal.SIGSTOP)
    time.sleep(1.5)  # the kernel has forgotten the attributes that it was told
    assert asset.ok("mounts", "--json").json[0]["state"] == "mounted"
    os.kill(shown["supervisor_pid"], signal.SIGKILL)
    until(lambda: asset.ok("mounts", "--json").json[0]["state"] == "unsupervised", 5, "the loss to be seen")
    asset.ok("unmount", "m", "--discard")
    assert mounted_at(str(asset.folder / "m")) is None


@pytest.mark.parametrize(
    ("code", "kind", "arguments"),
    [
        (2, "usage", ("mount", "s3://b", "m")),
        (2, "usage", ("mount", "s3://b", "m", "--with", "rklone")),
        (2, "usage", ("mount", "gs://b", "m", "--with", "rclone")),
        (2, "usage", ("mount", "nlp/bert:1", "m", "--with", "rclone")),
        (2, "usage", ("mount", "s3://b", "m", "--with", "rclone", "-o", "suid")),
        (2, "usage", ("mount", "s3://b", "m", "--with", "rclone", "-o", "needs=flying")),
        (2, "usage", ("mount", "nlp/bert:1", "m", "-o", "needs=rename")),
        (2, "usage", ("mount", "s3://b")),
        (1, "local", ("mount", "s3://b", "m", "--with", "goofys")),
        (2, "usage", ("unmount",)),
        (2, "usage", ("unmount", "m", "--all")),
        (3, "not_found", ("unmount", "m")),
    ],
)
def test_bad_input(asset: Asset, code: int, kind: str, arguments: tuple[str, ...]) -> None:
    """What cannot be is refused with its exit code, and nothing is changed."""
    assert asset.error(code, *arguments)["kind"] == kind
    assert (asset.folder / "m").stat().st_mode & 0o777 == 0o755
    assert not (asset.folder / "home/.local").exists()


def test_mount__places_that_cannot_be(asset: Asset, ceph: Service) -> None:
    """A directory that is not there is exit 3, one that is not empty exit 4, and a bucket that is not there exit 3."""
    store = ceph.fresh_store()
    (asset.folder / "full").mkdir()
    (asset.folder / "full" / "x").write_text("x")
    assert asset.error(3, "mount", store, "none", "--with", "rclone")["message"].startswith("there is no directory")
    assert asset.error(4, "mount", store, "full", "--with", "rclone")["kind"] == "already_exists"
    assert asset.error(1, "mount", store, "full/x", "--with", "rclone")["kind"] == "local"
    assert asset.error(3, "mount", "s3://no-such-bucket", "m", "--with", "rclone")["kind"] == "not_found"
    wrong = asset.error(6, "mount", store, "m", "--with", "rclone", AWS_SECRET_ACCESS_KEY="wrong")
    assert wrong["kind"] == "not_allowed"
    assert asset.ok("mounts", "--json").json == []
