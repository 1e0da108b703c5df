"""Copies of buckets that are shown while their store is away: what is written to them, the way there and the way back."""

from __future__ import annotations

import shutil
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.mount.live import PROGRAMS, require_fuse
from tests.services.base import wait_until
from tests.sites.test_attach import ICONS
from tests.sites.test_merged import ALL, lay_more, together
from tests.sites.two_stores import UNREACHABLE, look, on_a_copy, shown, two_stores

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sites.attachments import WebServer


def test_copies__what_is_written_to_a_copy(ceph, tmp_path):
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


def test_copies__a_copy_that_is_written_to_keeps_no_other(ceph, tmp_path):
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


def test_copies__unsent_writes_to_a_copy_after_a_reboot(ceph, tmp_path):
    """What was written to a copy and not sent when the machine went down is sent by the next attach, which shows that copy again; then the bucket is shown with it."""
    require_fuse()
    with two_stores(ceph, tmp_path, two_way=True) as (fleet, forwarder):
        server = on_a_copy(fleet, forwarder)
        time.sleep(2)  # the clocks of stores tell seconds
        server.site("replicate")
        server.killed_unsent("upload.jpg", b"upload")
        ended = server("site", "attach", "--json")
        assert (ended.code, ended.json["directories"][0]["state"]) == (UNREACHABLE, "mounted from a copy")
        assert "not sent" in ended.json["why"]
        wait_until(lambda: server.ok("mounts", "--json").json[0]["unsent"] == [], 60, "the upload to be sent")
        time.sleep(2)
        server.site("replicate")
        assert server.site("attach")["directories"][0]["state"] == "mounted"
        assert server.images()["upload.jpg"] == fleet.media()["upload.jpg"] == b"upload"


def test_copies__on_the_way_back_nothing_is_written_to_the_disk(ceph, tmp_path):
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


def test_copies__a_bucket_that_answers_and_cannot_be_mounted(ceph, tmp_path):
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


def test_copies__a_copy_that_cannot_be_mounted_in_the_place_of_a_bucket(ceph, tmp_path):
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


def test_copies__no_copy_that_was_whole(ceph, tmp_path):
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


@pytest.mark.parametrize("two_way", [True, False])
def test_copies__of_a_merged_directory(ceph, tmp_path, two_way):
    """A merged directory shows copies of all its buckets while their store is away, after kills at its steps, too, and goes back to them with what was written."""
    require_fuse()
    with two_stores(ceph, tmp_path, two_way=two_way, directories="merge=images2") as (fleet, forwarder):
        lay_more(fleet)
        fleet.deploy()
        server = fleet.server("web1", empty=True)
        server.site("attach", "--from", "hourly")
        server.site("replicate")
        forwarder.silent = True
        for _ in range(2):  # once the first branch is mounted, and once both are
            assert server.fake("attach", HOLDFAST_FAILPOINT="site.step").code == -signal.SIGKILL
        ended = server("site", "attach", "--json")
        assert (ended.code, ended.json["directories"][0]["store"].count("+")) == (UNREACHABLE, 1)
        assert server.images() == ALL
        code, state, store = shown(server)
        assert (code, state, store) == (1, "MOUNTED from a copy", ended.json["directories"][0]["store"])
        if two_way:
            (server.webroot / "images/upload.jpg").write_bytes(b"upload")
        else:
            with pytest.raises(OSError, match=r"Read-only|not permitted|denied"):
                (server.webroot / "images/upload.jpg").write_bytes(b"upload")
        after = {**ALL, "upload.jpg": b"upload"} if two_way else ALL
        wait_until(lambda: not any(each.get("unsent") for each in server.ok("mounts", "--json").json), 60, "the upload")
        forwarder.silent = False
        time.sleep(2)  # the clocks of stores tell seconds
        server.site("replicate")
        assert server.site("attach")["directories"][0]["state"] == "mounted"
        assert shown(server) == (0, "MOUNTED", None)
        assert server.images() == after
        assert together(fleet) == after
        server.site("detach")
        assert server.mounted() == []
