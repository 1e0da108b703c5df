"""What is lost comes back: one store of two, one mount, one web server; nginx answers all the while, and nothing that was written goes."""

from __future__ import annotations

import os
import shutil
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.mount.forwarder import Forwarder, forwarded
from tests.mount.live import PROGRAMS, require_fuse
from tests.services.base import make_bucket, wait_until
from tests.sites.attachments import Fleet, WebServer
from tests.sites.test_attach import ICONS
from tests.sites.test_walk import ANSWERED, answer, check, lay_images, lose_a_mounter, nginx, open_folder
from tests.sites.test_whole import LOCAL, SHARED, WHOLE, everything, seen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.services import Service

__all__ = ["open_folder"]
#: Seconds after which a store that fails is left, and one that is well is come back to.
AFTER = 5
UNREACHABLE = 7
#: Connections to a store that is silent: one question, asked twice.
ONE_QUESTION = 2


@contextmanager
def two_stores(
    ceph: Service, folder: Path, *, two_way: bool = False, directories: str = "", **more: str
) -> Iterator[tuple[Fleet, Forwarder]]:
    """A fleet whose buckets are reached through a forwarder, with copies of them in another account, reached without."""
    place = f"copies-{os.urandom(4).hex()}"
    make_bucket(ceph.second, place)
    keys = folder / "copies.keys"
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    keys.write_text("".join(f"{name}={ceph.second[name]}\n" for name in names))
    keys.chmod(0o600)
    text = f'directories_to_mount = "{directories}"\n' if directories else ""
    text += (
        f'[[copies]]\nurl = "s3://{place}/site"\nendpoint = "{ceph.env["AWS_ENDPOINT_URL"]}"\nregion = "us-east-1"\n'
        f'credentials = "{keys}"\ntwo_way = {str(two_way).lower()}\n'
        f'[run]\nfailover_after = "{AFTER}s"\nfailback_after = "{AFTER}s"\n'
    )
    with forwarded(ceph.env["AWS_ENDPOINT_URL"]) as forwarder:
        fleet = Fleet(ceph, folder, text=text, **more)
        fleet.variables["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{forwarder.port}"
        try:
            yield fleet, forwarder
        finally:
            forwarder.silent = False
            fleet.end()


def look(server: WebServer, times: int = 2) -> dict[str, str]:
    """What ``asset site run`` does by itself, now: look at the stores, long enough to believe it, and have mounts go over."""
    for number in range(times):
        if number:
            time.sleep(AFTER)
        assert server.site("run", "--job", "stores")["state"] == "ok"
    ended = server("site", "run", "--job", "failover", "--json")
    return ended.json


def shown(server: WebServer) -> tuple[int, str, str | None]:
    """The exit code of status, and of the images what it says: the state, and the copy that is shown."""
    ended = server("site", "status", "--json")
    (each,) = ended.json["directories"]
    return ended.code, each["state"], each["store"]


def is_answered(port: int, path: str) -> tuple[int, bytes]:
    """What a visitor gets, if only an error; in time even where the mounter waits for its store until it is cut off."""
    found = answer(port, path, 2 * ANSWERED)
    assert found is not None
    return found


def test_losses__a_store_a_mount_a_server(ceph, open_folder):
    """Whatever of a site is lost, its web servers answer, and the documented commands bring it back."""
    require_fuse()
    user = {"user": "www-data"} if os.geteuid() == 0 else {}
    with two_stores(ceph, open_folder, **user) as (fleet, forwarder):
        one = fleet.server("web1", persist=0)
        images = lay_images(one)
        one.site("backup", "--period", "hourly")
        fleet.settings(one, 1)
        fleet.build.site("deploy", "--from", "hourly")
        two, three = fleet.server("web2", empty=True), fleet.server("web3", empty=True)
        for server in (one, two, three):
            for place in (server.folder, server.webroot):
                place.chmod(0o755)
            server.site("attach", "--from", "hourly", "--node", server.folder.name)
        assert one.site("replicate")[0]["state"] == "whole"
        three.site("detach")
        with nginx(open_folder / "nginx", [one, two, three]) as ports:
            lose_the_store(fleet, forwarder, [one, three], [ports[0], ports[2]], images)
            lose_a_mounter(two, ports[1], images, signal.SIGSTOP)
            lose_the_server(two, ports[1], images)
            check(ports, images)
            (two.webroot / "images/last.jpg").write_bytes(b"last")
            wait_until(lambda: answer(ports[0], "images/last.jpg") == (200, b"last"), 20, "an upload to be seen")


def lose_the_store(
    fleet: Fleet, forwarder: Forwarder, servers: list[WebServer], ports: list[int], images: dict[str, bytes]
) -> None:
    """One server has the bucket mounted when the store goes silent, the other is attached while it is."""
    one, other = servers
    path = next(iter(images))
    forwarder.silent = True
    assert is_answered(ports[0], f"images/{path}")[0] in (200, 403, 404, 500)
    ended = other("site", "attach", "--json")
    assert ended.code == UNREACHABLE, ended
    (report,) = ended.json["directories"]
    assert (report["state"], report["read_only"]) == ("mounted from a copy", True)
    assert 0 <= report["lag"] < 3600
    assert ended.json["why"]
    code, state, store = shown(other)
    assert (code, state) == (1, "MOUNTED from a copy")
    assert str(store).endswith(f"{fleet.site}-assets-images")
    wait_until(lambda: one.ok("mounts", "--json").json[0]["state"] != "mounted", 60, "the broken mount to be seen")
    assert look(one)["state"] == "ok"
    check(ports, images)
    for server in servers:
        with pytest.raises(OSError, match="Read-only"):
            (server.webroot / "images/upload.jpg").write_bytes(b"refused")
    forwarder.silent = False
    for server in servers:
        assert look(server)["state"] == "ok"
        assert shown(server) == (0, "MOUNTED", None)
    check(ports, images)
    assert fleet.media() == images | fleet_media_of_the_application()


def fleet_media_of_the_application() -> dict[str, bytes]:
    """What lies in the directory beside the images that the test laid."""
    from tests.sites.conftest import FILES

    return {path[len("images/") :]: data for path, data in FILES.items() if path.startswith("images/")}


def lose_the_server(server: WebServer, port: int, images: dict[str, bytes]) -> None:
    """Its disk is gone: webroot, state and all; a new one of the same name takes its place."""
    server("unmount", "--all", "--discard")
    settings = (server.folder / "site.toml").read_text()
    for place in server.folder.iterdir():
        if place.name != "www":
            shutil.rmtree(place) if place.is_dir() else place.unlink()
    for place in server.webroot.iterdir():
        shutil.rmtree(place) if place.is_dir() else place.unlink()
    assert is_answered(port, "index.php")[0] in (403, 404)
    (server.folder / "home").mkdir()
    (server.folder / "site.toml").write_text(settings)
    server.site("attach", "--from", "hourly", "--node", server.folder.name)
    check([port], images)


def test_losses__what_is_written_to_a_copy(ceph, tmp_path):
    """What web servers write to a copy that goes both ways, up to the last moment, is in the bucket once that is shown again."""
    require_fuse()
    with two_stores(ceph, tmp_path, two_way=True) as (fleet, forwarder):
        fleet.deploy()
        server = fleet.server("web1")
        server.site("attach")
        server.site("replicate")
        server.site("detach")
        forwarder.silent = True
        assert server("site", "attach", "--json").code == UNREACHABLE
        (server.folder / "state/places.json").unlink()  # as if it had been killed before it said what is shown
        assert server("site", "attach", "--json").code == UNREACHABLE
        (server.webroot / "images/first.jpg").write_bytes(b"first")
        wait_until(lambda: server("site", "status", "--json").json["directories"][0]["objects"] == 4, 60, "the upload")
        forwarder.silent = False
        look(server)
        assert shown(server)[1] == "MOUNTED from a copy"  # the bucket has not got it yet
        assert server("site", "attach", "--json").code == UNREACHABLE
        server.site("replicate")
        (server.webroot / "images/second.jpg").write_bytes(b"second")
        assert look(server)["state"] == "ok"
        assert shown(server) == (0, "MOUNTED", None)
        found = fleet.media()
        assert (found["first.jpg"], found["second.jpg"]) == (b"first", b"second")
        wait_until(lambda: server.images().get("second.jpg") == b"second", 30, "the bucket to be shown with all of it")


def on_a_copy(fleet: Fleet, forwarder: Forwarder) -> WebServer:
    """A web server that was attached while the first store was away, which is well again."""
    fleet.deploy()
    server = fleet.server("web1", empty=True)
    server.site("attach", "--from", "hourly")
    server.site("replicate")
    server.site("detach")
    forwarder.silent = True
    assert server("site", "attach", "--json").code == UNREACHABLE
    forwarder.silent = False
    return server


def test_losses__a_copy_that_is_written_to_keeps_no_other(ceph, tmp_path):
    """Where somebody writes to the copy in one directory, the others go back to their buckets all the same, and that one once he is done."""
    require_fuse()
    with two_stores(ceph, tmp_path, two_way=True, directories=f"images:{ICONS}") as (fleet, forwarder):
        server = on_a_copy(fleet, forwarder)
        time.sleep(2)  # the clocks of stores tell seconds
        server.site("replicate")
        states = {each["directory"]: each["state"] for each in server("site", "status", "--json").json["directories"]}
        assert set(states.values()) == {"MOUNTED from a copy"}
        other, written = states
        with open(server.webroot / written / "upload.jpg", "wb") as upload:
            upload.write(b"half")
            assert "is in use" in server.fails(1, "attach")["message"]
            after = {
                each["directory"]: each["state"] for each in server("site", "status", "--json").json["directories"]
            }
            assert after == {other: "MOUNTED", written: "MOUNTED from a copy"}
            upload.write(b" and whole")
        wait_until(lambda: server("site", "attach", "--json").code != 1, 60, "the upload to be sent")
        server.site("replicate")
        server.site("attach")
        assert server.site("status")["ok"]
        assert (server.webroot / written / "upload.jpg").read_bytes() == b"half and whole"


def test_losses__unsent_writes_to_a_copy_after_a_reboot(ceph, tmp_path):
    """What was written to a copy and not sent when the machine went down is sent by the next attach, which shows that copy again; then the bucket is shown with it."""
    require_fuse()
    with two_stores(ceph, tmp_path, two_way=True) as (fleet, forwarder):
        server = on_a_copy(fleet, forwarder)
        time.sleep(2)  # the clocks of stores tell seconds
        server.site("replicate")
        (mount,) = server.ok("mounts", "--json").json
        (server.webroot / "images/upload.jpg").write_bytes(b"upload")
        for process in (mount["supervisor_pid"], mount["worker_pid"]):
            os.kill(process, signal.SIGKILL)
        assert server.ok("mounts", "--json").json[0]["unsent"] == ["upload.jpg"]
        ended = server("site", "attach", "--json")
        assert (ended.code, ended.json["directories"][0]["state"]) == (UNREACHABLE, "mounted from a copy")
        assert "not sent" in ended.json["why"]
        wait_until(lambda: server.ok("mounts", "--json").json[0]["unsent"] == [], 60, "the upload to be sent")
        time.sleep(2)
        server.site("replicate")
        assert server.site("attach")["directories"][0]["state"] == "mounted"
        assert server.images()["upload.jpg"] == fleet.media()["upload.jpg"] == b"upload"


def test_losses__on_the_way_back_nothing_is_written_to_the_disk(ceph, tmp_path):
    """Between a copy and its bucket the directory is closed, and stays so where the bucket cannot be mounted; the next attach mounts it, and nothing lies aside."""
    require_fuse()
    with two_stores(ceph, tmp_path) as (fleet, forwarder):
        server = on_a_copy(fleet, forwarder)
        failed = server.fails(1, "attach", HOLDFAST_MOUNT_PATH=f"{mounts_nothing(server, but='trial')}:/usr/bin")
        assert "did not mount" in failed["message"]
        with pytest.raises(PermissionError):
            (server.webroot / "images/upload.jpg").write_bytes(b"lost")
        assert server.site("attach")["directories"][0]["held"] is None
        assert shown(server) == (0, "MOUNTED", None)
        server.site("detach")
        (server.webroot / "images/upload.jpg").write_bytes(b"free again")


def test_losses__a_bucket_that_answers_and_cannot_be_mounted(ceph, tmp_path):
    """A copy stays mounted while its bucket answers and cannot be mounted, and readers see nothing of the trial, nor of one that was killed; then the bucket is shown."""
    require_fuse()
    with two_stores(ceph, tmp_path) as (fleet, forwarder):
        server = on_a_copy(fleet, forwarder)
        code, state, copy = shown(server)
        assert (code, state) == (1, "MOUNTED from a copy")
        assert copy is not None
        with open(server.webroot / "images" / min(server.images()), "rb") as held:
            failed = server.fails(1, "attach", HOLDFAST_MOUNT_PATH=f"{mounts_nothing(server)}:/usr/bin")
            assert "did not mount" in failed["message"]
            assert shown(server) == (1, "MOUNTED from a copy", copy)
            assert server.fake("attach", HOLDFAST_FAILPOINT="site.tried").code == -signal.SIGKILL
            assert shown(server) == (1, "MOUNTED from a copy", copy)
            assert len(server.mounted()) == 2
            assert held.read() == server.images()[min(server.images())]
        server.site("attach")
        assert shown(server) == (0, "MOUNTED", None)
        assert server.mounted() == [f"{server.webroot}/images"]
        forwarder.silent = True
        assert server("site", "attach", "--json").code == UNREACHABLE
        forwarder.silent = False
        assert server.fake("attach", HOLDFAST_FAILPOINT="site.tried").code == -signal.SIGKILL
        server.site("detach")
        assert server.mounted() == []


def mounts_nothing(server: WebServer, but: str = "nothing") -> Path:
    """A folder of a mounter that fails, but where the directory's name is this."""
    rclone = shutil.which("rclone", path=PROGRAMS)
    (folder := server.folder / "bin").mkdir()
    (folder / "rclone").write_text(
        f'#!/bin/sh\ncase "$1 $* " in version*|*"/{but}-"*) exec {rclone} "$@";; *) exit 1;; esac\n'
    )
    (folder / "rclone").chmod(0o755)
    return folder


def test_losses__a_copy_that_cannot_be_mounted_in_the_place_of_a_bucket(ceph, tmp_path):
    """A directory whose bucket was mounted stays closed where its copy cannot be, though the attach before was killed at its end: what lay there before stays aside."""
    require_fuse()
    with two_stores(ceph, tmp_path) as (fleet, forwarder):
        fleet.deploy()
        server = fleet.server("web1")
        before = server.images()
        assert server.fake("attach", HOLDFAST_FAILPOINT="site.step#4").code == -signal.SIGKILL
        assert server.images() == before
        assert len(server.mounted()) == 1
        server.site("replicate")
        forwarder.silent = True
        failed = server.fails(1, "attach", HOLDFAST_MOUNT_PATH=f"{mounts_nothing(server)}:/usr/bin")
        assert "did not mount" in failed["message"]
        with pytest.raises(PermissionError):
            (server.webroot / "images/upload.jpg").write_bytes(b"lost")
        assert server.aside() == {f"images/{path}": data for path, data in before.items()}
        forwarder.silent = False
        server.site("attach")
        assert shown(server) == (0, "MOUNTED", None)
        server.site("detach")
        assert server.images() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can lay a directory over a mount")
def test_losses__the_store_of_a_whole_webroot(ceph, tmp_path):
    """A whole webroot is shown from its copy while its store is away, with what stays on each machine in its place and written there, and from its bucket again after that."""
    require_fuse()
    with two_stores(ceph, tmp_path) as (fleet, forwarder):
        fleet.text = WHOLE + fleet.text
        fleet.deploy()
        fleet.bucket("webroot").put("cache/stray", b"hidden on every machine")
        one, other = fleet.server("web1"), fleet.server("web2")
        before = seen(one)
        one.site("attach", "--node", "web1", "--accept-changes")
        one.site("replicate")
        forwarder.silent = True
        killed = other.fake("attach", "--node", "web2", HOLDFAST_FAILPOINT="site.part#2")
        assert (killed.code, sorted(everything(other))) == (-signal.SIGKILL, sorted(before.values()))
        ended = other("site", "attach", "--node", "web2", "--json")
        (report,) = ended.json["directories"]
        assert (ended.code, report["state"]) == (UNREACHABLE, "mounted from a copy")
        assert tuple(sorted(report["local"])) == LOCAL
        wait_until(lambda: one.ok("mounts", "--json").json[0]["state"] != "mounted", 60, "the broken mount to be seen")
        assert look(one)["state"] == "ok"
        for server in (one, other):
            assert shown(server)[:2] == (1, "MOUNTED from a copy")
            assert seen(server) == before
            with pytest.raises(OSError, match="Read-only"):
                (server.webroot / "index.php").write_bytes(b"refused")
            (server.webroot / "logs/error.log").write_text(server.folder.name)
        forwarder.silent = False
        path = other.folder / "site.toml"
        path.write_text(f'local = ["uploads"]\n{(settings := path.read_text())}')
        assert "uploads" in other.fails(4, "attach")["message"]
        path.write_text(settings)
        for server in (one, other):
            page = os.open(server.webroot / "index.php", os.O_RDONLY)
            with open(server.webroot / "logs/error.log", "ab", buffering=0) as log:
                assert look(server)["state"] == "ok"
                log.write(b" writes on")
            with pytest.raises(OSError, match="not connected"):  # who read the copy is cut off
                os.close(page)
            assert shown(server) == (0, "MOUNTED", None)
        (other.webroot / "new.html").write_bytes(b"new")
        for server in (one, other):
            server.site("detach")
            assert seen(server) == {**before, "logs/error.log": f"{server.folder.name} writes on".encode()}
        assert fleet.media("webroot") == {**SHARED, "new.html": b"new", "cache/stray": b"hidden on every machine"}


def test_losses__no_copy_that_was_whole(ceph, tmp_path):
    """Without a copy that was whole nothing is mounted, nothing is touched, and both reasons are told."""
    require_fuse()
    with two_stores(ceph, tmp_path) as (fleet, forwarder):
        fleet.deploy()
        server = fleet.server("web1")
        before = server.images()
        forwarder.silent = True
        error = server.fails(UNREACHABLE, "attach")
        assert "does not answer" in error["message"]
        assert "never whole" in error["message"]
        assert server.images() == before
        assert server.mounted() == []
        forwarder.silent = False
        server.site("attach")
        assert shown(server) == (0, "MOUNTED", None)


def test_losses__restore_while_the_first_store_is_away(ceph, tmp_path):
    """Backups come back from the second store, and jobs of asset site run that need the first ask it once and say so, while the first is silent."""
    second = tmp_path / "second"
    second.mkdir()
    with two_stores(ceph, tmp_path) as (fleet, forwarder):
        fleet.text = f'[[stores]]\nurl = "{fleet.store_url}"\n[[stores]]\nurl = "{second.as_uri()}"\n'
        server = fleet.server("web1", persist=0)
        path = server.folder / "site.toml"
        path.write_text(path.read_text().removesuffix(f'[[stores]]\nurl = "{fleet.store_url}"\n'))
        made = server.site("backup", "--period", "hourly")["version"]
        forwarder.silent = True
        found = server.site("restore", "hourly", "--to", str(tmp_path / "back"))
        assert (found["version"], found["store"]) == (made, second.as_uri())
        (server.webroot / "index.php").write_bytes(b"newer")
        before = forwarder.taken
        ended = server("site", "run", "--job", "backup hourly", "--json")
        assert forwarder.taken - before == ONE_QUESTION
        assert (ended.code, ended.json["state"]) == (1, "failed")
        assert "has it not" in ended.json["message"]
        forwarder.silent = False
        assert server.site("run", "--job", "backup hourly")["state"] == "ok"
        assert len(server.site("backups")) == 2
        assert all(len(each["stores"]) == 2 for each in server.site("backups"))
