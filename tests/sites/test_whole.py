"""A whole webroot is mounted from its bucket, and what must stay on each machine stays: read and written there, and in no bucket."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from holdfast.mount.table import detach, mounted_at
from tests.mount.live import require_fuse
from tests.services.base import wait_until
from tests.sites.attachments import Fleet, fleet_of
from tests.sites.conftest import FILES, files_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sites.attachments import WebServer

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can lay a directory over a mount")

LOCAL = ("administrator/cache", "administrator/logs", "cache", "configuration.php", "logs", "tmp")
SHARED = {path: data for path, data in FILES.items() if path.partition("/")[0] not in LOCAL}
WHOLE = 'directories_to_mount = "WHOLE-WEBROOT"\n'


@pytest.fixture(scope="module")
def shared(ceph, tmp_path_factory) -> Iterator[Fleet]:
    """One deployed site for all tests whose web servers leave its bucket as it is."""
    require_fuse()
    with fleet_of(ceph, tmp_path_factory.mktemp("whole"), text=WHOLE) as found:
        yield found


def seen(web: WebServer) -> dict[str, bytes]:
    """Every file of the webroot, but for keys of ours."""
    return {path: data for path, data in files_of(web.webroot).items() if not path.startswith(".holdfast/")}


def everything(web: WebServer) -> list[bytes]:
    """The bytes of every file of a server's disk: in its webroot while nothing is mounted, aside, and kept beside it."""
    places = [web.folder / ".www.local", web.held, *([] if web.mounted() else [web.webroot])]
    return [data for place in places if place.exists() for data in files_of(place).values()]


def laid(web: WebServer) -> list[str]:
    """What is mounted, below the webroot."""
    return sorted(each for each in web.mounted() if f"{each}/".startswith(f"{web.webroot}/"))


def test_attach__whole_webroot_with_what_stays(ceph, tmp_path):
    """Configuration, logs and tmp are each server's own, read and written in their places; all else is the bucket's, which holds nothing of them, and neither does a copy aside."""
    require_fuse()
    with fleet_of(ceph, tmp_path, text=WHOLE) as fleet:
        one, two = fleet.server("web1"), fleet.server("web2")
        (two.webroot / "configuration.php").write_bytes(b"<?php $host = 'two';")
        before = files_of(one.webroot)
        (report,) = one.site("attach", "--node", "web1")["directories"]
        assert (report["state"], tuple(sorted(report["local"]))) == ("mounted", LOCAL)
        two.site("attach", "--node", "web2")
        assert laid(one) == sorted([str(one.webroot), *(f"{one.webroot}/{path}" for path in LOCAL)])
        assert seen(one) == before
        assert (two.webroot / "configuration.php").read_bytes() == b"<?php $host = 'two';"
        (one.webroot / "logs/error.log").write_bytes(b"only one")
        (one.webroot / "administrator/cache/page").write_bytes(b"cached")
        (one.webroot / "configuration.php").write_bytes(b"<?php $host = 'one';")
        (one.webroot / "administrator/index.php").write_bytes(b"shared")
        (one.webroot / "deep/er").mkdir(parents=True)
        (one.webroot / "deep/er/page.php").write_bytes(b"new")
        (one.webroot / "index.php").rename(one.webroot / "old.php")
        wait_until(lambda: seen(two).get("deep/er/page.php") == b"new", 20, "the other server to see it")
        assert (two.webroot / "logs/error.log").read_bytes() == FILES["logs/error.log"]
        assert not (two.webroot / "administrator/cache/page").exists()
        standing = one.site("status")
        assert (standing["ok"], tuple(sorted(standing["directories"][0]["local"]))) == (True, LOCAL)
        assert "replicate" in one.fails(2, "backup", "--period", "hourly")["hint"]
        assert "mounted" in one.fails(4, "restore", "hourly")["message"]
        assert set(files_of(one.held)) & {"configuration.php"} == set()
        assert one.site("purge")["copies"][0]["removed"] == len(SHARED) - 1  # index.php was renamed
        for web in (one, two):
            web.site("detach")
            assert web.mounted() == []
            assert sorted(set(os.listdir(web.folder)) & {".www.local", ".www.mount"}) == []
        assert (one.webroot / "configuration.php").read_bytes() == b"<?php $host = 'one';"
        assert (one.webroot / "administrator/cache/page").read_bytes() == b"cached"
        assert (two.webroot / "configuration.php").read_bytes() == b"<?php $host = 'two';"
        expected = {path: data for path, data in SHARED.items() if path != "index.php"}
        expected |= {
            "old.php": FILES["index.php"],
            "administrator/index.php": b"shared",
            "deep/er/page.php": b"new",
        }
        assert fleet.media("webroot") == expected


@pytest.mark.parametrize(
    "point", ["site.aside-exchanged", "site.part#1", "site.part#4", *(f"site.step#{n}" for n in range(1, 6))]
)
def test_attach__killed(shared, point):
    """Killed at any step, the same attach run again completes it, detach goes back from there, and no byte of what was there is lost."""
    web, other = shared.server(shared.fresh()), shared.server(shared.fresh())
    before = files_of(web.webroot)
    for each in (web, other):
        assert each.fake("attach", HOLDFAST_FAILPOINT=point).code == -signal.SIGKILL
        assert sorted(everything(each)) == sorted(before.values())
    web.site("attach")
    assert seen(web) == before
    assert (web.webroot / "configuration.php").read_bytes() == FILES["configuration.php"]
    assert len(laid(web)) == len(LOCAL) + 1
    for each in (web, other):
        if each.fake("detach").code != 0:  # it had mounted nothing yet
            assert each is other
        assert each.mounted() == []
        assert files_of(each.webroot) == before


@pytest.mark.parametrize("number", [1, 3, 6])
def test_detach__killed(shared, number):
    """Killed while the parts go back, the same detach run again completes it, and each is in its place."""
    web = shared.server(shared.fresh())
    before = files_of(web.webroot)
    web.site("attach")
    assert web.fake("detach", HOLDFAST_FAILPOINT=f"site.part#{number}").code == -signal.SIGKILL
    assert sorted(everything(web)) == sorted(before.values())
    web.site("detach")
    assert files_of(web.webroot) == before


@pytest.mark.parametrize("victim", ["mounter", "mergerfs"])
def test_killed_mounter__has_its_parts_again(shared, victim):
    """With either program killed nothing is served until all is mounted again, with every part in its place; what is written to them meanwhile is on this disk."""
    web = shared.server(shared.fresh())
    web.site("attach")
    before = seen(web)
    with open(web.webroot / "logs/error.log", "ab", buffering=0) as log:
        os.kill(process_of(web, victim), signal.SIGKILL)
        wait_until(lambda: web.ok("mounts", "--json").json[0]["restarts"] >= 1, 20, "it to be noticed")
        log.write(b" more")
    wait_until(lambda: web.ok("mounts", "--json").json[0]["state"] == "mounted", 60, "it to be mounted again")
    assert len(laid(web)) == len(LOCAL) + 1
    assert seen(web) == {**before, "logs/error.log": before["logs/error.log"] + b" more"}
    web.site("detach")
    assert "logs/error.log" not in shared.media("webroot")


def process_of(web: WebServer, name: str) -> int:
    """A process of the mount: its mounter, or mergerfs above it."""
    (mount,) = web.ok("mounts", "--json").json
    if name == "mounter":
        return int(mount["worker_pid"])
    listed = subprocess.run(["ps", "-eo", "pid,ppid,comm"], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listed.splitlines()]
    return next(int(pid) for pid, parent, comm in rows if comm == name and int(parent) == mount["supervisor_pid"])


def test_part_taken_away__nothing_reaches_the_bucket(shared):
    """Where a part no longer lies over the mount, who is not root can read and write nothing in its place, and it is laid again."""
    web = shared.server(shared.fresh())
    web.site("attach")
    (mount,) = web.ok("mounts", "--json").json
    os.kill(mount["supervisor_pid"], signal.SIGSTOP)
    try:
        for path in ("logs", "configuration.php"):
            assert detach(f"{web.webroot}/{path}")
        for path in ("logs/leak.log", "configuration.php"):
            ended = subprocess.run(
                ["setpriv", "--reuid=65534", "--clear-groups", "sh", "-c", f"echo secret > {web.webroot}/{path}"],
                capture_output=True,
                text=True,
                check=False,
            )
            assert "denied" in ended.stderr
        assert web.fake("status").json["directories"][0]["state"] == "NOT MOUNTED"
    finally:
        os.kill(mount["supervisor_pid"], signal.SIGCONT)
    wait_until(lambda: web.ok("mounts", "--json").json[0]["restarts"] == 1, 20, "it to be noticed")
    wait_until(lambda: web.fake("status").code == 0, 60, "them to be laid again")
    assert (web.webroot / "configuration.php").read_bytes() == FILES["configuration.php"]
    web.site("detach")
    assert shared.media("webroot") == SHARED


def test_attach__idle_mount_keeps_its_parts(shared):
    """The parts stay where they are though nobody asked for anything until the mounter forgot every name."""
    web = shared.server(shared.fresh())
    web.site("attach")
    time.sleep(25)  # twice the time that rclone keeps a listing, and more
    assert (web.webroot / "configuration.php").read_bytes() == FILES["configuration.php"]
    assert web.ok("mounts", "--json").json[0]["restarts"] == 0
    web.site("detach")


def test_attach__after_its_processes_were_killed(shared):
    """With all processes killed, as after a reboot, the webroot serves nothing; attach mounts it again with its parts, and detach goes back."""
    web = shared.server(shared.fresh())
    before = files_of(web.webroot)
    web.site("attach")
    (mount,) = web.ok("mounts", "--json").json
    for process in (mount["supervisor_pid"], process_of(web, "mergerfs"), mount["worker_pid"]):
        os.kill(process, signal.SIGKILL)
    wait_until(lambda: web.fake("status").json["directories"][0]["state"] == "NOT MOUNTED", 20, "it to be dead")
    web.site("attach")
    assert seen(web) == before
    web.site("detach")
    assert files_of(web.webroot) == before


def test_settings__changed_while_it_is_mounted(shared):
    """What is to stay local from now on is not so while the webroot is mounted: attach says what to type, and detach brings back all that lies beside, whatever the settings say."""
    web = shared.server(shared.fresh())
    before = files_of(web.webroot)
    web.site("attach")
    shared.settings(web, text='local = ["uploads"]\n')
    error = web.fails(4, "attach")
    assert "uploads" in error["message"]
    assert "detach" in error["hint"]
    assert web.fake("status").code == 1
    shared.settings(web, text='application = "none"\n')
    assert "configuration.php" in web.fails(4, "attach")["message"]
    assert "configuration.php" in web.site("detach")["directories"][0]["local"]
    assert files_of(web.webroot) == before
    assert not (web.folder / ".www.local").exists()


def test_detach__where_something_lies_in_the_webroot(shared):
    """What somebody wrote underneath stays; what was there before lies in one piece, with its local parts, where detach says."""
    web = shared.server(shared.fresh())
    before = files_of(web.webroot)
    web.site("attach")
    (mount,) = web.ok("mounts", "--json").json
    for process in (mount["supervisor_pid"], process_of(web, "mergerfs"), mount["worker_pid"]):
        os.kill(process, signal.SIGKILL)
    subprocess.run(["umount", "-l", web.webroot], check=True)
    subprocess.run(["chattr", "-i", web.webroot], check=False)
    web.webroot.chmod(0o755)
    (web.webroot / "under.txt").write_bytes(b"under")
    (report,) = web.site("detach")["directories"]
    assert (report["state"], report["local"]) == ("unmounted", [])
    assert files_of(web.webroot) == {"under.txt": b"under"}
    assert files_of(Path(report["held"])) == before
    assert web.mounted() == []


def test_attach__without_a_configuration_file(shared):
    """Where a server has no configuration file of its own, attach says where to write it and touches nothing; an empty webroot with one is enough."""
    web = shared.server(shared.fresh())
    (web.webroot / "configuration.php").unlink()
    before = files_of(web.webroot)
    assert "configuration.php" in web.fails(4, "attach")["message"]
    assert (files_of(web.webroot), web.mounted(), os.path.exists(web.held)) == (before, [], False)
    shutil.rmtree(web.webroot)
    web.webroot.mkdir()
    (web.webroot / "configuration.php").write_bytes(b"mine")
    web.site("attach")
    assert seen(web) == {**SHARED, "configuration.php": b"mine"}
    web.site("detach")
    assert files_of(web.webroot) == {"configuration.php": b"mine"}


def test_attach__part_that_is_a_link(shared):
    """A link in the place of what stays local is refused by name, whoever planted it, and nothing is touched."""
    web = shared.server(shared.fresh())
    shutil.rmtree(web.webroot / "logs")
    (web.webroot / "logs").symlink_to("/var/log")
    assert "logs is a link" in web.fails(1, "attach")["message"]
    assert (web.mounted(), os.path.exists(web.held)) == ([], False)
    (web.webroot / "logs").unlink()
    (web.webroot / "administrator").symlink_to("/etc")
    assert "link" in web.fails(1, "attach")["message"]
    assert mounted_at(str(web.webroot)) is None


def test_attach__folder_that_others_can_write(shared):
    """Where the web user could plant what root mounts at beside the webroot, attach refuses and touches nothing; nor is anything mounted through what was planted before."""
    web = shared.server(shared.fresh())
    before = files_of(web.webroot)
    os.chown(web.folder, 65534, 65534)
    assert "can be written by others" in web.fails(4, "attach")["message"]
    assert (files_of(web.webroot), web.mounted(), os.path.exists(web.held)) == (before, [], False)
    os.chown(web.folder, os.geteuid(), os.getegid())
    victim, planted = web.folder / "victim", web.folder / ".www.mount"
    for folder in (victim, planted):
        folder.mkdir()
    (planted / "bucket").symlink_to(victim)
    assert f"{planted}/bucket is a link" in web.fails(1, "attach")["message"]
    (planted / "bucket").unlink()
    os.chown(planted, 65534, 65534)
    assert f"{planted} is a link, or others can write it" in web.fails(1, "attach")["message"]
    assert (files_of(web.webroot), web.mounted(), os.listdir(victim)) == (before, [], [])
    web.site("attach")
    web.site("detach")
    assert files_of(web.webroot) == before


def test_attach__bucket_with_what_must_stay_local(ceph, tmp_path):
    """A bucket that holds a log or a configuration file is refused, or with --accept-changes hidden; neither is served."""
    require_fuse()
    with fleet_of(ceph, tmp_path, text=WHOLE) as fleet:
        web = fleet.server("web1")
        fleet.bucket("webroot").put("logs/stray.log", b"stray")
        assert "logs/stray.log" in web.fails(4, "attach")["message"]
        web.site("attach", "--accept-changes")
        assert "logs/stray.log" not in seen(web)
        web.site("detach")
