"""A directory merged of several buckets: each branch is mounted outside of the webroot, mergerfs unites them, and all of it is there or nothing is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from holdfast.mount.table import mounted_at
from tests.mount.live import Reader, require_fuse, until
from tests.sites.attachments import Fleet
from tests.sites.conftest import FILES, files_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sites.attachments import WebServer

IMAGES = {path.removeprefix("images/"): data for path, data in FILES.items() if path.startswith("images/")}
MORE = {f"2026/{number}.jpg": f"picture {number}".encode() for number in range(12)}
ALL = {**IMAGES, **MORE}
TWO = 'directories_to_mount = "merge=images2"\n'


@pytest.fixture(scope="module")
def shared(ceph, tmp_path_factory) -> Iterator[Fleet]:
    """One deployed site, merged of two buckets, for all tests whose web servers leave these as they are."""
    yield from deployed(ceph, tmp_path_factory.mktemp("shared"))


@pytest.fixture
def fleet(ceph, tmp_path: Path) -> Iterator[Fleet]:
    """A deployed site, merged of two buckets."""
    yield from deployed(ceph, tmp_path)


def deployed(ceph, folder: Path, text: str = TWO, mounter: str = "rclone") -> Iterator[Fleet]:
    """A deployed site with more images than the application has of its own."""
    require_fuse()
    fleet = Fleet(ceph, folder, mounter=mounter, text=text)
    try:
        lay_more(fleet)
        fleet.deploy()
        yield fleet
    finally:
        fleet.end()


def lay_more(fleet: Fleet) -> None:
    """More images for the build machine."""
    for path, data in MORE.items():
        place = fleet.build.webroot / "images" / path
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(data)


def branches(fleet: Fleet, count: int = 2) -> list[dict[str, bytes]]:
    """What is in each bucket; empty keys are directories of a mounter's."""
    found = [fleet.media(f"images{number}") for number in range(1, count + 1)]
    return [{path: data for path, data in each.items() if data} for each in found]


def together(fleet: Fleet, count: int = 2) -> dict[str, bytes]:
    """What all buckets hold; no name lies in two."""
    each = branches(fleet, count)
    assert sum(map(len, each)) == len({path for one in each for path in one})
    return {path: data for one in each for path, data in one.items()}


def mount_at(web: WebServer, name: str) -> dict[str, object]:
    """What ``asset mounts`` says of a mount in the server's folder."""
    return next(each for each in web.ok("mounts", "--json").json if each["dir"] == f"{web.folder}/{name}")


def test_merged__the_whole_way(ceph, tmp_path):
    """Merged and plain directories beside each other: mounted, written, backed up without, purged and detached; a file lies in one bucket."""
    text = 'directories_to_mount = "merge=images3:media/system/images"\n'
    for fleet in deployed(ceph, tmp_path, text):
        assert together(fleet, 3) == ALL
        web = fleet.server("web1")
        (web.webroot / "images/only-here.jpg").write_bytes(b"only here")
        before = files_of(web.webroot / "images")
        report = web.site("attach", "--node", "web1")["directories"]
        assert [(each["state"], each["objects"]) for each in report] == [("mounted", len(ALL)), ("mounted", 1)]
        places = [f"{web.folder}/images{number}" for number in (1, 2, 3)]
        assert sorted(web.mounted()) == sorted([*places, f"{web.webroot}/images", f"{web.webroot}/media/system/images"])
        assert web.images() == ALL
        assert {f"images/{path}": data for path, data in before.items()}.items() <= web.aside().items()
        assert web.site("attach", "--node", "web1")["directories"][0]["state"] == "was mounted"
        (purged, icons) = web.site("purge")["copies"]
        assert (purged["removed"], icons["removed"]) == (len(before) - 1, 1)
        (web.webroot / "images/upload.jpg").write_bytes(b"upload")
        (web.webroot / "images/logo.png").write_bytes(b"new logo")
        (web.webroot / "images/.part").write_bytes(b"new photo")
        os.replace(web.webroot / "images/.part", web.webroot / "images/deep/photo.jpg")
        standing = web.site("status")
        assert [each["state"] for each in standing["directories"]] == ["MOUNTED", "MOUNTED"]
        assert web.site("backup", "--period", "daily")["omitted"] == ["images", "media/system/images"]
        assert [each["state"] for each in web.site("detach")["directories"]] == ["brought back", "unmounted"]
        assert web.mounted() == []
        assert [place for place in places if Path(place).exists()] == []
        assert web.images() == {"only-here.jpg": b"only here"}
        after = {**ALL, "upload.jpg": b"upload", "logo.png": b"new logo", "deep/photo.jpg": b"new photo"}
        assert together(fleet, 3) == after
        assert fleet.build.site("detach", "--offline")["state"] == "offline"


def test_merged__with_s3fs(ceph, tmp_path):
    """The same with s3fs for the branches."""
    for fleet in deployed(ceph, tmp_path, mounter="s3fs"):
        web = fleet.server("web1")
        web.site("attach")
        assert web.images() == ALL
        (web.webroot / "images/upload.jpg").write_bytes(b"upload")
        web.site("detach")
        assert together(fleet) == {**ALL, "upload.jpg": b"upload"}


def test_merged__two_servers(fleet):
    """What one web server writes the other reads, and overwrites where it lies."""
    one, two = fleet.server("web1"), fleet.server("web2")
    one.site("attach", "--node", "web1")
    two.site("attach", "--node", "web2")
    (one.webroot / "images/upload.jpg").write_bytes(b"upload")
    seen = two.webroot / "images/upload.jpg"
    until(lambda: seen.exists() and seen.read_bytes() == b"upload", 30, "the upload on the other server")
    seen.write_bytes(b"changed on the other")
    two.site("detach", "--node", "web2")
    one.site("detach", "--node", "web1")
    assert together(fleet)["upload.jpg"] == b"changed on the other"


@pytest.mark.parametrize("step", range(1, 9))
def test_merged__attach_killed(shared, step):
    """Killed at any step, the same attach run again completes it, and every byte that was there lies aside."""
    web = shared.server(shared.fresh())
    (web.webroot / "images/only-here.jpg").write_bytes(b"only here")
    before = {f"images/{path}": data for path, data in web.images().items()}
    assert web.fake("attach", HOLDFAST_FAILPOINT=f"site.step#{step}").code == -signal.SIGKILL
    web.site("attach")
    assert web.images() == ALL
    assert web.aside() == before
    web.site("detach")
    assert {f"images/{path}": data for path, data in web.images().items()} == before
    assert web.mounted() == []


def test_merged__branch_that_dies_for_good(shared):
    """With a branch and its supervisor killed nothing is shown, the directory is NOT MOUNTED, and no backup, purge or write goes by it; attach brings it back."""
    web = shared.server(shared.fresh())
    web.site("attach")
    branch = mount_at(web, "images2")
    for process in (branch["supervisor_pid"], branch["worker_pid"]):
        os.kill(process, signal.SIGKILL)
    until(lambda: mounted_at(f"{web.webroot}/images") is None, 10, "the union to go")
    standing = web.fake("status").json["directories"][0]
    assert standing["state"] == "NOT MOUNTED"
    assert "branch 2" in standing["why"]
    assert web.images() == {}
    with pytest.raises(OSError, match=r"not permitted|denied"):
        (web.webroot / "images/lost.jpg").write_bytes(b"lost")
    message = web.fails(4, "backup", "--period", "daily")["message"]
    assert "is to be mounted, and is not" in message
    assert "branch 2" in web.fails(4, "purge")["message"]
    assert len(web.aside()) == len(IMAGES)
    web.site("attach")
    assert web.images() == ALL
    assert web.site("status")["ok"]
    web.site("detach")


@pytest.mark.parametrize("which", ["images1", "www/images"])
def test_merged__killed_mounter(shared, which):
    """A killed mounter of a branch, or mergerfs itself, is back within five seconds; who lists meanwhile sees all files, or an error."""
    web = shared.server(shared.fresh())
    web.site("attach")
    whole = " ".join(sorted(os.listdir(web.webroot / "images")))
    reader = Reader(web.webroot / "images", 8, lists=True)
    time.sleep(1)
    os.kill(mount_at(web, which)["worker_pid"], signal.SIGKILL)
    seen, _ = reader.end()
    names = " ".join(name for name in whole.split() if not name.startswith(".holdfast"))
    assert seen[0][1] == seen[-1][1] == names
    assert {outcome for _, outcome in seen if outcome and not outcome.startswith("error: ")} == {names}
    assert seen[-1][0] < 1.5 + 5
    assert web.site("status", "--wait")["ok"]
    web.site("detach")


def test_merged__branch_taken_away(shared):
    """A branch that somebody unmounts is mounted again, and the union with it; meanwhile status says NOT MOUNTED or is right to say otherwise."""
    web = shared.server(shared.fresh())
    web.site("attach")
    subprocess.run(["umount", "-l", web.folder / "images1"], check=True)
    ended = web.fake("status")
    if ended.code == 1:  # else its supervisor was faster
        assert ended.json["directories"][0]["state"] == "NOT MOUNTED"
    assert web.site("status", "--wait")["ok"]
    assert web.images() == ALL
    assert f"{web.webroot}/images" in web.error(1, "unmount", f"{web.folder}/images1")["hint"]
    web.site("detach")


def test_merged__wrong_branch(fleet):
    """A bucket that carries the mark of another branch, or was deployed as one of another number, is refused by name before anything is touched."""
    web = fleet.server("web1")
    before = files_of(web.webroot)
    store, key = fleet.bucket("images2"), ".holdfast/branch-2.json"
    mark = bytes(store.get(key).data)
    store.delete(key)
    assert "carries no mark of branch 2" in web.fails(4, "attach")["message"]
    store.put(".holdfast/branch-1.json", mark.replace(b'"branch":2', b'"branch":1'))
    assert "carries the mark of branch 1 of images" in web.fails(4, "attach")["message"]
    store.delete(".holdfast/branch-1.json")
    store.put(key, mark)
    fleet.text = 'directories_to_mount = "merge=images1"\n'
    fleet.settings(web)
    assert "one of 2 branches" in web.fails(4, "attach")["message"]
    fleet.text = TWO
    fleet.settings(web)
    assert (files_of(web.webroot), web.mounted(), web.aside()) == (before, [], {})
    web.site("attach")
    store.put(key, mark.replace(b'"branch":2', b'"branch":3'))
    until(lambda: web.fake("status").code == 1, 40, "status to tell")
    assert web.fake("status").json["directories"][0]["state"] == "NOT MOUNTED"
    store.put(key, mark)
    until(lambda: web.fake("status").code == 0, 60, "the union to come back")
    assert web.images() == ALL


def test_merged__name_on_two_branches(fleet):
    """A name that two branches have is told by attach and status; the first one's file is shown."""
    web = fleet.server("web1")
    fleet.bucket("images1").put("both.jpg", b"first")
    fleet.bucket("images2").put("both.jpg", b"second")
    (report,) = web.site("attach")["directories"]
    assert report["doubled"] == ["both.jpg"]
    assert web.site("status")["directories"][0]["doubled"] == ["both.jpg"]
    assert "both.jpg" in web.ok("site", "status").out
    assert web.images()["both.jpg"] == b"first"
    web.site("detach")


def test_merged__detached_with_other_settings(shared):
    """Where the settings no longer merge a directory, detach takes away all its branches all the same: no bucket stays mounted."""
    web = shared.server(shared.fresh())
    before = files_of(web.webroot)
    web.site("attach")
    settings = web.folder / "site.toml"
    settings.write_text(settings.read_text().replace("merge=images2", "images"))
    web.site("detach")
    assert (web.mounted(), web.ok("mounts", "--json").json) == ([], [])
    assert files_of(web.webroot) == before
    assert [name for name in os.listdir(web.folder) if name.startswith("images")] == []


def test_merged__place_of_a_branch(shared):
    """Where a branch is to be mounted nothing may lie, and nobody else may write the folder that it lies in; nothing is touched."""
    web = shared.server(shared.fresh())
    before = files_of(web.webroot)
    (web.folder / "images2").mkdir()
    (web.folder / "images2/other-site.html").write_text("other")
    assert f"something lies in {web.folder}/images2" in web.fails(4, "attach")["message"]
    (web.folder / "images2/other-site.html").unlink()
    (web.folder / "images2").rmdir()
    web.folder.chmod(0o777)
    assert "can be written by others" in web.fails(4, "attach")["message"]
    web.folder.chmod(0o755)
    assert (files_of(web.webroot), web.mounted(), web.aside()) == (before, [], {})


def test_merged__without_mergerfs(shared):
    """Without mergerfs attach says so in one sentence, and what to do; nothing is touched, and doctor tells the same."""
    web = shared.server(shared.fresh())
    before = files_of(web.webroot)
    programs = str(Path(sys.executable).parent)
    error = web.fails(1, "attach", HOLDFAST_MOUNT_PATH=programs)
    assert "mergerfs is not installed" in error["message"]
    assert (files_of(web.webroot), web.mounted(), web.aside()) == (before, [], {})
    told = web("site", "doctor", "--json", HOLDFAST_MOUNT_PATH=programs).json
    assert "apt-get install mergerfs" in json.dumps(told)


def test_merged__a_failure_leaves_nothing(fleet):
    """Where a later branch cannot be mounted those before it are taken away again, and the directory is as it was."""
    web = fleet.server("web1")
    before = files_of(web.webroot)
    script = web.folder / "bin"
    script.mkdir()
    real = Path(sys.executable).parent / "rclone"
    text = f'#!/bin/sh\ncase "$*" in *images2*) exit 1;; esac\nexec {real} "$@"\n'
    (script / "rclone").write_text(text)
    (script / "rclone").chmod(0o755)
    assert "did not mount" in web.fails(1, "attach", HOLDFAST_MOUNT_PATH=f"{script}:/usr/bin")["message"]
    assert (files_of(web.webroot), web.mounted(), web.aside()) == (before, [], {})
    assert [name for name in os.listdir(web.folder) if name.startswith("images")] == []
