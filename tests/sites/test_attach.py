"""Attaching puts a bucket in the place of a directory, proven at every step, and no byte of what was there is lost."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from holdfast.mount.table import detach, mounted_at
from tests.mount.live import require_fuse
from tests.services.base import make_bucket
from tests.sites.attachments import Fleet, fleet_of
from tests.sites.conftest import FILES, files_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sites.attachments import WebServer

IMAGES = {path.removeprefix("images/"): data for path, data in FILES.items() if path.startswith("images/")}
ICONS = "media/system/images"


@pytest.fixture
def fleet(ceph, tmp_path: Path) -> Iterator[Fleet]:
    """A deployed site, and a build machine."""
    require_fuse()
    with fleet_of(ceph, tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def shared(ceph, tmp_path_factory) -> Iterator[Fleet]:
    """One deployed site for all tests whose web servers leave its bucket as it is."""
    require_fuse()
    with fleet_of(ceph, tmp_path_factory.mktemp("shared")) as found:
        yield found


def local(web: WebServer) -> dict[str, bytes]:
    """What a web server has on its disk beside the application's own images."""
    (web.webroot / "images/only-here.jpg").write_bytes(b"only here")
    return {f"images/{path}": data for path, data in {**IMAGES, "only-here.jpg": b"only here"}.items()}


RCLONE = Path(sys.executable).with_name("rclone")


def rclone_that(web: WebServer, script: str) -> Path:
    """A folder with an rclone that does this."""
    folder = web.folder / "bin"
    folder.mkdir(exist_ok=True)
    (folder / "rclone").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "rclone").chmod(0o755)
    return folder


def broken_rclone(web: WebServer) -> Path:
    """A folder with an rclone that tells its version and cannot mount."""
    return rclone_that(web, 'case "$1" in version|--version) echo rclone v1.75.2;; *) exit 1;; esac')


def test_attach__the_whole_way(fleet):
    """attach moves what is there aside, hidden files too, mounts the bucket, and the application reads and writes it; purge and detach end it."""
    web = fleet.server("web1")
    before = local(web)
    (report,) = web.site("attach", "--node", "web1")["directories"]
    assert (report["state"], report["objects"], report["missing"]) == ("mounted", len(IMAGES), 0)
    assert web.mounted() == [str(web.webroot / "images")]
    assert web.images() == IMAGES
    assert web.aside() == before
    assert stat.S_IMODE(web.held.stat().st_mode) == 0o700
    (web.webroot / "images/upload.jpg").write_bytes(b"upload")
    standing = web.site("status")
    assert standing["ok"]
    assert standing["directories"][0]["state"] == "MOUNTED"
    assert standing["directories"][0]["held_bytes"] == sum(map(len, before.values()))
    assert web.site("attach")["directories"][0]["state"] == "was mounted"
    (purged,) = web.site("purge")["copies"]
    assert (purged["removed"], purged["kept"]) == (len(IMAGES), 1)
    assert web.aside() == {"images/only-here.jpg": b"only here"}
    assert web.site("detach")["directories"][0]["state"] == "brought back"
    assert web.mounted() == []
    assert web.images() == {"only-here.jpg": b"only here"}
    assert fleet.media() == {**IMAGES, "upload.jpg": b"upload"}
    assert web.fails(3, "detach")["kind"] == "not_found"
    assert fleet.build.site("detach", "--offline")["state"] == "offline"


@pytest.mark.parametrize("mounter", ["rclone", "s3fs"])
def test_attach__keys_with_every_sign(ceph, tmp_path, mounter):
    """A secret with / + = works from the deployment to the mount, with each mounter."""
    require_fuse()
    url = f"s3://second-{os.urandom(4).hex()}"
    make_bucket(ceph.second, url.removeprefix("s3://"))
    account = type(ceph)("ceph", url, ceph.second)
    with fleet_of(account, tmp_path, mounter=mounter) as fleet:
        web = fleet.server("web1")
        web.site("attach")
        assert web.images() == IMAGES
        (web.webroot / "images/new.jpg").write_bytes(b"new")
        web.site("detach")
        assert fleet.media() == {**IMAGES, "new.jpg": b"new"}


def test_attach__empty_webroot(shared):
    """An empty webroot is filled from the backup that is named, without the mounted directories, and then attached."""
    web = shared.server(shared.fresh(), empty=True)
    assert "--from" in web.fails(2, "attach")["hint"]
    assert web.mounted() == []
    report = web.site("attach", "--from", "hourly")
    assert report["restored"] == "hourly"
    assert web.images() == IMAGES
    there = {path for path in files_of(web.webroot) if not path.startswith("images/")}
    assert there == {"index.php", ".htaccess", "media/system/images/icon.svg"}
    assert not web.held.exists()


@pytest.mark.parametrize("point", ["site.aside-made", "site.aside-exchanged", *(f"site.step#{n}" for n in range(1, 5))])
def test_attach__killed(shared, point):
    """Killed at any step, the same attach run again completes it, and every byte that was there lies aside."""
    web = shared.server(shared.fresh())
    before = local(web)
    assert web.fake("attach", HOLDFAST_FAILPOINT=point).code == -signal.SIGKILL
    assert web.fails(4, "purge")["kind"] == "conflict"
    web.site("attach")
    assert web.images() == IMAGES
    assert web.aside() == before
    assert [each for each in os.listdir(web.folder / "state") if each.endswith((".journal", ".part"))] == []
    web.site("detach")
    assert {f"images/{path}": data for path, data in web.images().items()} == before


def test_attach__killed_once_it_had_mounted(fleet):
    """A server whose attach was killed once it had mounted keeps the deployment online; one whose attach mounted nothing does not."""
    web = fleet.server("web0")
    assert web.fake("attach", "--node", "web0", HOLDFAST_FAILPOINT="site.step#2").code == -signal.SIGKILL
    assert web.mounted() == [f"{web.webroot}/images"]
    assert "mounted on web0" in fleet.build.fails(4, "detach", "--offline")["message"]
    web.site("detach")
    web.held.mkdir(exist_ok=True)
    web.held.chmod(0o755)
    assert "you alone" in web.fails(4, "attach")["message"]
    assert web.mounted() == []
    assert fleet.build.site("detach", "--offline")["state"] == "offline"


@pytest.mark.parametrize(
    "point", ["site.restore-brought", "site.restore-placed", *(f"site.step#{n}" for n in range(1, 5))]
)
def test_attach__killed_while_a_webroot_is_filled(shared, point):
    """Killed at any step of filling an empty webroot and attaching it, the same run again completes both."""
    web = shared.server(shared.fresh(), empty=True)
    assert web.fake("attach", "--from", "hourly", HOLDFAST_FAILPOINT=point).code == -signal.SIGKILL
    web.site("attach", "--from", "hourly")
    assert web.images() == IMAGES
    assert (web.webroot / "index.php").read_bytes() == FILES["index.php"]


def test_attach__killed_while_a_webroot_is_filled_for_another_deployment(fleet):
    """A webroot whose filling was killed is filled to its end by the next attach, though that is of another deployment and names no backup."""
    web = fleet.server("web1", empty=True)
    ended = web.fake("attach", "--from", "hourly", HOLDFAST_FAILPOINT="site.restore-placed")
    assert ended.code == -signal.SIGKILL
    there = set(FILES) - {"configuration.php", "logs/error.log", "tmp/session"} - {f"images/{path}" for path in IMAGES}
    assert 0 < len(files_of(web.webroot)) < len(there)
    fleet.build.site("detach", "--offline")
    fleet.build.site("deploy", "--from", "hourly")
    assert web.site("attach")["restored"] == "hourly"
    assert {path for path in files_of(web.webroot) if not path.startswith("images/")} == there
    (web.webroot / "index.php").write_bytes(b"written since")
    assert web.site("attach", "--from", "hourly")["restored"] is None
    assert (web.webroot / "index.php").read_bytes() == b"written since"


def test_attach__of_a_webroot_that_was_restored_after_its_filling_was_killed(shared):
    """A webroot that was restored as a whole after its filling was killed is as it is: nothing more is filled into it."""
    web = shared.server(shared.fresh(), empty=True)
    ended = web.fake("attach", "--from", "hourly", HOLDFAST_FAILPOINT="site.restore-placed")
    assert ended.code == -signal.SIGKILL
    web.site("restore", "hourly")
    (web.webroot / "index.php").write_bytes(b"written since")
    assert web.site("attach")["restored"] is None
    assert (web.webroot / "index.php").read_bytes() == b"written since"


def test_attach__names_another_backup_while_the_webroot_is_empty(shared):
    """As long as nothing lies in the webroot, it is filled from the backup that is named last."""
    web = shared.server(shared.fresh(), empty=True)
    assert web.fails(3, "attach", "--from", "hourly:9.9")["kind"] == "not_found"
    assert "--from" in web.fails(2, "attach")["hint"]
    assert web.site("attach", "--from", "hourly")["restored"] == "hourly"
    assert web.images() == IMAGES


@pytest.mark.parametrize("step", range(1, 5))
def test_attach__store_gone(shared, step):
    """With the store gone after any step nothing is lost and the command says so; once it is back the same run completes."""
    web = shared.server(shared.fresh())
    before = local(web)
    assert web.fake("attach", HOLDFAST_FAILPOINT=f"site.step#{step}").code == -signal.SIGKILL
    assert web.fails(7, "attach", AWS_ENDPOINT_URL="http://127.0.0.1:9")["kind"] == "unreachable"
    everything = {**web.aside(), **{f"images/{path}": data for path, data in web.images().items()}}
    assert before.items() <= everything.items()
    web.site("attach")
    assert (web.images(), web.aside()) == (IMAGES, before)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
@pytest.mark.parametrize("step", range(4))
def test_attach__disk_full(shared, step):
    """On a full disk attach fails with an error and loses nothing, at whatever step; with room it completes."""
    name = shared.fresh()
    place = shared.folder / name
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place], check=True)
    try:
        web = shared.server(name)
        before = local(web)
        if step:
            assert web.fake("attach", HOLDFAST_FAILPOINT=f"site.step#{step}").code == -signal.SIGKILL
        fill(place / "filler")
        ended = web.fake("attach", HOME=str(shared.folder / "build/home"))
        if ended.code != 0:
            assert ended.json["error"]["message"]
        lying = {} if web.mounted() else {f"images/{path}": data for path, data in web.images().items()}
        assert before.items() <= {**web.aside(), **lying}.items()
        (place / "filler").unlink()
        web.site("attach", HOME=str(shared.folder / "build/home"))
        assert (web.images(), web.aside()) == (IMAGES, before)
        web.site("detach", HOME=str(shared.folder / "build/home"))
    finally:
        shared.end()
        detach(str(place))


def fill(path: Path) -> None:
    """Leave no room."""
    with open(path, "wb", buffering=0) as file:
        for size in (1 << 16, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue


def test_attach__links_planted_in_the_path(ceph, tmp_path):
    """A link at any piece of a directory's path is refused by name; what it leads to is neither mounted over, moved nor written."""
    require_fuse()
    with fleet_of(ceph, tmp_path, text=f'directories_to_mount = "{ICONS}"') as fleet:
        web = fleet.server("web1")
        pieces = ICONS.split("/")
        for depth in range(1, len(pieces) + 1):
            planted = web.webroot.joinpath(*pieces[:depth])
            target = tmp_path / f"target{depth}"
            shutil.copytree(planted, target)
            shutil.rmtree(planted)
            planted.symlink_to(target)
            before = files_of(target)
            error = web.fails(1, "attach")
            assert str(planted) in error["message"]
            assert "link" in error["message"]
            assert (web.mounted(), files_of(target), web.aside()) == ([], before, {})
            planted.unlink()
            shutil.copytree(target, planted)
        empty = tmp_path / "empty"
        empty.mkdir()
        web.webroot.joinpath(*pieces).rename(tmp_path / "away")
        web.webroot.joinpath(*pieces).symlink_to(empty)
        web.fails(1, "attach")
        assert mounted_at(str(empty)) is None


def test_attach__whole_webroot(ceph, tmp_path):
    """A whole webroot without anything that stays local is mounted in place of the webroot, and can be written over."""
    require_fuse()
    text = 'directories_to_mount = "WHOLE-WEBROOT"\n'
    with fleet_of(ceph, tmp_path, text=text + 'application = "none"\n') as fleet:
        web = fleet.server("web1")
        before = files_of(web.webroot)
        web.site("attach")
        assert web.mounted() == [str(web.webroot)]
        there = {path: data for path, data in files_of(web.webroot).items() if not path.startswith(".holdfast/")}
        assert there == before
        (web.webroot / "index.php").write_bytes(b"a new page")
        assert set(os.listdir(web.folder)) >= {"www", ".www.held"}
        web.site("detach")
        assert files_of(web.webroot) == before
        assert fleet.media("webroot")["index.php"] == b"a new page"


def test_attach__linked_webroot(shared):
    """A webroot whose own path has a link is refused, with the path to write instead."""
    web = shared.server(shared.fresh())
    web.webroot.rename(web.folder / "real")
    web.webroot.symlink_to(web.folder / "real")
    assert str(web.folder / "real") in web.fails(2, "attach")["message"]


def test_attach__without_a_deployment(fleet):
    """Without a deployment that is online, and with directories that it does not have, attach is refused and touches nothing."""
    web = fleet.server("web1", text=f'directories_to_mount = "images:{ICONS}"')
    assert f"{fleet.site}-assets-media-system-images" in web.fails(4, "attach")["message"]
    fleet.build.site("detach", "--offline")
    fleet.settings(web)
    before = files_of(web.webroot)
    assert "deploy" in web.fails(4, "attach")["hint"]
    assert (files_of(web.webroot), web.mounted()) == (before, [])


def test_attach__bucket_that_is_not_what_was_deployed(fleet):
    """Before a first server serves a deployment, a bucket that lacks or changed one object is refused; afterwards an application may change it."""
    web = fleet.server("web1")
    before = files_of(web.webroot)
    fleet.bucket().delete("logo.png")
    assert "'logo.png'" in web.fails(5, "attach")["message"]
    fleet.bucket().put("logo.png", b"x" * len(IMAGES["logo.png"]))
    assert "1 differ" in web.fails(5, "attach")["message"]
    assert (files_of(web.webroot), web.mounted()) == (before, [])
    fleet.bucket().put("logo.png", IMAGES["logo.png"])
    web.site("attach", "--node", "web1")
    (web.webroot / "images/logo.png").write_bytes(b"a new logo")
    web.site("detach")
    (report,) = fleet.server("web2").site("attach", "--node", "web2")["directories"]
    assert (report["missing"], report["changed"]) == (0, 1)


def test_attach__something_else_is_mounted(shared):
    """Where something else is mounted attach is refused, and that stays."""
    web = shared.server(shared.fresh())
    if os.geteuid() != 0:
        pytest.skip("only root can mount something else")
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", web.webroot / "images"], check=True)
    try:
        assert "tmpfs" in web.fails(4, "attach")["message"]
        assert web.fake("status").code == 1
    finally:
        subprocess.run(["umount", web.webroot / "images"], check=True)


def test_attach__two_servers_at_once(fleet):
    """Two web servers that attach at one moment both serve the bucket; on one server the second of two runs waits for its turn, or is told to."""
    one, two = fleet.server("web1"), fleet.server("web2")
    with ThreadPoolExecutor(3) as pool:
        first, second, again = pool.map(
            lambda each: each[0].fake("attach", "--node", each[1]), [(one, "web1"), (two, "web2"), (one, "web1")]
        )
    assert second.code == 0
    assert sorted((first.code, again.code)) in ([0, 0], [0, 1])
    assert one.images() == two.images() == IMAGES
    (one.webroot / "images/upload.jpg").write_bytes(b"upload")
    one.site("detach")
    assert "web2" in fleet.build.fails(4, "detach", "--offline")["message"]
    assert fleet.build.site("detach", "--offline", "--gone", "web2")["state"] == "offline"


def test_status__is_a_real_read(fleet):
    """status says NOT MOUNTED where nothing is mounted, where another bucket is, and where the mounter is dead; the gate names who is not ready."""
    one, two = fleet.server("web1"), fleet.server("web2")
    names = fleet.folder / "servers.txt"
    names.write_text("web1\nweb2  # the second\n")
    assert one.fake("status").code == 1
    gate = ("status", "--nodes", str(names))
    assert one.fake(*gate).json["waiting"] == {"web1": "said nothing yet", "web2": "said nothing yet"}
    one.site("attach", "--node", "web1")
    two.site("attach", "--node", "web2")
    assert one.fake(*gate, "--wait").json == {
        "site": fleet.site,
        "nodes": ["web1", "web2"],
        "waiting": {},
        "ok": True,
    }
    subprocess.run(["umount", "-l", two.webroot / "images"], check=True)
    ended = two.fake("status")
    if ended.code == 1:  # else its supervisor was faster
        assert ended.json["directories"][0]["state"] == "NOT MOUNTED"
    assert two.site("status", "--wait")["ok"]
    mark = bytes(fleet.bucket().get(".holdfast/site.json").data)
    fleet.bucket().put(".holdfast/site.json", mark.replace(fleet.site.encode(), b"other"))
    assert "mark of other" in fleet.server("web3").fails(4, "attach")["message"]


def test_attach__after_its_processes_were_killed(shared):
    """With the supervisor and the mounter killed, as after a reboot, nothing can be written into the directory; attach mounts it again."""
    web = shared.server(shared.fresh())
    web.site("attach")
    (mount,) = web.ok("mounts", "--json").json
    for process in (mount["supervisor_pid"], mount["worker_pid"]):
        os.kill(process, signal.SIGKILL)
    assert web.fake("status").json["directories"][0]["state"] == "NOT MOUNTED"
    with pytest.raises(OSError, match=r"not connected|not permitted|denied"):
        (web.webroot / "images/lost.jpg").write_bytes(b"lost")
    assert web.site("attach")["directories"][0]["state"] == "mounted"
    assert web.images() == IMAGES
    assert len(web.aside()) == len(IMAGES)


@pytest.mark.parametrize("killed", [None, "site.step#3"])
def test_attach__that_fails_after_its_processes_were_killed(shared, killed):
    """Where the directory was closed, as after a reboot, an attach that cannot mount, or mounts what the bucket has not, leaves it closed: nothing is written to the disk in place of the bucket."""
    web = shared.server(shared.fresh())
    web.fake("attach", HOLDFAST_FAILPOINT=killed)  # or one that an attach left which was killed itself
    (mount,) = web.ok("mounts", "--json").json
    for process in (mount["supervisor_pid"], mount["worker_pid"]):
        os.kill(process, signal.SIGKILL)
    script = broken_rclone(web)
    assert "did not mount" in web.fails(1, "attach", HOLDFAST_MOUNT_PATH=f"{script}:/usr/bin")["message"]
    with pytest.raises(PermissionError):
        (web.webroot / "images/lost.jpg").write_bytes(b"lost")
    rclone_that(web, f'case "$1" in mount) exec {RCLONE} "$@" --exclude logo.png;; *) exec {RCLONE} "$@";; esac')
    told = web.fails(5, "attach", HOLDFAST_MOUNT_PATH=f"{script}:/usr/bin")["message"]
    assert "is not what" in told
    with pytest.raises(PermissionError):
        (web.webroot / "images/lost.jpg").write_bytes(b"lost")
    web.site("attach")
    assert web.images() == IMAGES
    web.site("detach")
    assert web.images() == IMAGES


UPLOADER = """
number=0
trap ended=yes TERM
while [ -z "$ended" ]; do
    if echo upload > "images/$0-$number.jpg"; then echo "$0-$number.jpg"; number=$((number + 1)); fi
    sleep 0.005
done
"""


@contextmanager
def uploads(web: WebServer, name: str) -> Iterator[list[str]]:
    """Somebody who is not root writes into the directory again and again; what he could write, once the block is over."""
    done: list[str] = []
    given: dict[str, Any] = {"cwd": web.webroot, "user": 65534, "group": 65534, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(["/bin/sh", "-c", UPLOADER, name], stdout=subprocess.PIPE, text=True, **given) as writer:
        assert writer.stdout is not None
        if os.stat(web.webroot / "images").st_mode & 0o002:
            done.append(writer.stdout.readline().strip())
        try:
            yield done
        finally:
            writer.terminate()  # upon which it tells the last one, too
            with suppress(subprocess.TimeoutExpired):
                writer.wait(20)
            writer.kill()
            done += writer.stdout.read().split()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can keep others out of their directory")
def test_attach__while_visitors_upload(shared):
    """What visitors upload while a directory is attached, for the first time and after a reboot, is aside or in the bucket, and never hidden under the mount; its permission bits come back."""
    web = shared.server(shared.fresh())
    (web.webroot / "images").chmod(0o2777)
    with uploads(web, "first") as first:
        web.site("attach")
    assert len(first) > 1
    assert {f"images/{name}" for name in first} <= web.aside().keys()
    (mount,) = web.ok("mounts", "--json").json
    for process in (mount["supervisor_pid"], mount["worker_pid"]):
        os.kill(process, signal.SIGKILL)
    with uploads(web, "second") as second:
        web.site("attach")
    assert second == []
    web.site("detach")
    assert web.images().keys() >= {*first}
    assert stat.S_IMODE(os.stat(web.webroot / "images").st_mode) == 0o2777


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can keep others out of their directory")
def test_attach__that_fails_while_visitors_upload(shared):
    """An attach that fails opens no directory for a moment in which what visitors upload would land on the disk: the first one brings back what lay there, and one after a reboot leaves it closed."""
    web = shared.server(shared.fresh())
    before = local(web)
    (web.webroot / "images").chmod(0o2777)
    cannot = f"{broken_rclone(web)}:/usr/bin"
    with uploads(web, "first") as first:
        assert "did not mount" in web.fails(1, "attach", HOLDFAST_MOUNT_PATH=cannot)["message"]
    there = {f"images/{path}" for path in web.images()}
    assert there == {*before, *(f"images/{name}" for name in first)}
    assert web.aside() == {}
    assert stat.S_IMODE(os.stat(web.webroot / "images").st_mode) == 0o2777
    web.site("attach")
    (mount,) = web.ok("mounts", "--json").json
    for process in (mount["supervisor_pid"], mount["worker_pid"]):
        os.kill(process, signal.SIGKILL)
    detach(mount["dir"])
    for name in ("second", "third"):
        with uploads(web, name) as later:
            assert "did not mount" in web.fails(1, "attach", HOLDFAST_MOUNT_PATH=cannot)["message"]
        assert later == []
        assert stat.S_IMODE(os.stat(web.webroot / "images").st_mode) == 0
    web.site("attach")
    with uploads(web, "fourth"):
        assert web.site("detach")["directories"][0]["state"] == "brought back"
    assert {f"images/{path}" for path in web.images()} >= there
    assert stat.S_IMODE(os.stat(web.webroot / "images").st_mode) == 0o2777


@pytest.mark.skipif(os.geteuid() != 0, reason="what others turn elsewhere is unmounted by root")
def test_attach__link_to_another_mount(ceph, tmp_path):
    """A link that is put in a directory's path while that is mounted, and leads to another mount, has nobody take that one away."""
    require_fuse()
    with fleet_of(ceph, tmp_path, text=f'directories_to_mount = "images:{ICONS}"') as fleet:
        web = fleet.server("web1")
        web.site("attach")
        mounts = {each["dir"]: each for each in web.ok("mounts", "--json").json}
        icons, images = mounts[f"{web.webroot}/{ICONS}"], mounts[f"{web.webroot}/images"]
        for process in (icons["supervisor_pid"], icons["worker_pid"]):
            os.kill(process, signal.SIGKILL)
        turn = f"mv {web.webroot}/media/system {web.webroot}/media/away; ln -s {web.webroot} {web.webroot}/media/system"
        script = rclone_that(web, f'case "$1" in mount) {turn}; exit 1;; *) exec {RCLONE} "$@";; esac')
        web.fails(1, "attach", HOLDFAST_MOUNT_PATH=f"{script}:/usr/bin")
        assert os.path.samefile(web.webroot / ICONS, web.webroot / "images")
        assert web.images() == IMAGES
        after = {each["dir"]: each for each in web.ok("mounts", "--json").json}
        assert after[images["dir"]]["worker_pid"] == images["worker_pid"]
        web.fails(1, "attach")
        web.fake("detach")
        (web.webroot / "media/system").unlink()
        (web.webroot / "media/away").rename(web.webroot / "media/system")
        assert web.site("attach")["directories"][1]["state"] == "mounted"


def test_attach__killed_before_its_mount_came(shared):
    """A directory that was closed for a mount which a killed attach never made is opened again by detach, with the permission bits that it had."""
    web = shared.server(shared.fresh())
    (web.webroot / "images").chmod(0o2775)
    before = local(web)
    assert web.fake("attach", HOLDFAST_FAILPOINT="site.step#1").code == -signal.SIGKILL
    web.site("detach")
    assert web.images() == {path.removeprefix("images/"): data for path, data in before.items()}
    assert stat.S_IMODE(os.stat(web.webroot / "images").st_mode) == 0o2775
    for path in web.images():
        (web.webroot / "images" / path).unlink()
    assert web.fake("attach", HOLDFAST_FAILPOINT="site.step#1").code == -signal.SIGKILL
    web.site("detach")
    assert stat.S_IMODE(os.stat(web.webroot / "images").st_mode) == 0o2775


def test_attach__that_finds_a_mount_wrong_which_serves(fleet):
    """A directory that an attach had mounted and proven stays mounted where another run finds something wrong with it."""
    web = fleet.server("web1")
    before = local(web)
    blind = rclone_that(web, f'case "$1" in mount) exec {RCLONE} "$@" --exclude new.jpg;; *) exec {RCLONE} "$@";; esac')
    killed = web.fake("attach", HOLDFAST_FAILPOINT="site.step#3", HOLDFAST_MOUNT_PATH=f"{blind}:/usr/bin")
    assert killed.code == -signal.SIGKILL
    (web.webroot / "images/upload.jpg").write_bytes(b"upload")
    assert web.images() == {**IMAGES, "upload.jpg": b"upload"}
    fleet.bucket().put("new.jpg", b"by another, and never seen here")
    assert "is not what" in web.fails(5, "attach")["message"]
    assert web.images() == {**IMAGES, "upload.jpg": b"upload"}
    assert web.mounted() == [f"{web.webroot}/images"]
    assert web.aside() == before


def test_attach__again_while_others_upload(fleet):
    """What another web server uploaded a moment ago, and the mount here does not show yet, is no reason to say that this is wrong."""
    web = fleet.server("web1")
    web.site("attach")
    web.images()  # the mounter knows now what there is, for a while
    fleet.bucket().put("new.jpg", b"by another")
    assert web.site("attach")["directories"][0]["state"] == "was mounted"
    assert web.images()["new.jpg"] == b"by another"


def test_attach__where_the_supervisor_alone_was_killed(shared):
    """A mounter that goes on without its supervisor is replaced; where that cannot be, the directory is closed, and what lies aside stays there."""
    web = shared.server(shared.fresh())
    before = local(web)
    web.site("attach")
    (mount,) = web.ok("mounts", "--json").json
    os.kill(mount["supervisor_pid"], signal.SIGKILL)
    assert web.images() == IMAGES
    told = web.fails(1, "attach", HOLDFAST_MOUNT_PATH=f"{broken_rclone(web)}:/usr/bin")["message"]
    assert "did not mount" in told
    with pytest.raises(PermissionError):
        (web.webroot / "images/lost.jpg").write_bytes(b"lost")
    assert web.aside() == before
    assert web.site("attach")["directories"][0]["state"] == "mounted"
    assert web.images() == IMAGES


def test_status__quota(shared):
    """status tells what the buckets hold, and of which quota; with a store that is away what is mounted is told all the same."""
    web = shared.server(shared.fresh(), text='quota = "1M"')
    web.site("attach")
    report = web.site("status")
    assert (report["quota"], report["bytes"]) == (1 << 20, sum(map(len, IMAGES.values())))
    away = web.site("status", AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert (away["directories"][0]["state"], away["directories"][0]["bytes"]) == ("MOUNTED", None)


def test_purge__keeps_what_differs(fleet):
    """purge removes what the bucket has byte for byte at that moment; what it lacks or has otherwise, and links, stay and are named."""
    web = fleet.server("web1")
    before = local(web)
    (web.webroot / "images/link.jpg").symlink_to("/etc/hostname")
    web.site("attach")
    fleet.bucket().put("logo.png", b"y" * len(IMAGES["logo.png"]))
    (dry,) = web.site("purge", "--dry-run")["copies"]
    assert (dry["removed"], len(web.aside())) == (2, len(before) + 1)
    (report,) = web.site("purge")["copies"]
    assert report["removed"] == 2
    assert set(report["reasons"]) == {"logo.png", "only-here.jpg", "link.jpg"}
    kept = {path: data for path, data in web.aside().items() if path != "images/link.jpg"}
    assert kept == {path: before[path] for path in ("images/logo.png", "images/only-here.jpg")}
    assert web.images()["logo.png"] == b"y" * len(IMAGES["logo.png"]) or web.images()["logo.png"] == IMAGES["logo.png"]


def test_purge__killed(shared):
    """A purge that was killed removed only what the bucket has, and the next one goes on."""
    web = shared.server(shared.fresh())
    before = local(web)
    web.site("attach")
    assert web.fake("purge", HOLDFAST_FAILPOINT="site.purged#2").code == -signal.SIGKILL
    assert len(web.aside()) == len(before) - 2
    web.site("purge")
    assert web.aside() == {"images/only-here.jpg": b"only here"}


def test_restore__through_a_mount(fleet):
    """Nothing that restores reaches through a live mount: with media mounted a restore leaves the bucket as it is."""
    web = fleet.server("web1")
    web.site("attach")
    (web.webroot / "images/upload.jpg").write_bytes(b"upload")
    (web.webroot / "index.php").write_bytes(b"defaced")
    web.site("restore", "hourly")
    assert (web.webroot / "index.php").read_bytes() == FILES["index.php"]
    assert web.images() == {**IMAGES, "upload.jpg": b"upload"}
    web.site("detach")
    assert fleet.media() == {**IMAGES, "upload.jpg": b"upload"}
