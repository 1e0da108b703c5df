"""Webroots kept alike through a store in a folder: real files, real links, real mounts."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest

from holdfast.errors import BusyError, ConflictError, LocalError
from holdfast.sites.changes import Content, first
from holdfast.sites.laying import Laying
from holdfast.sites.merging import Deed
from holdfast.sites.webroot import QUIET, Webroot
from tests.sites.servers import ME, Server, servers_in, settle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROOT = os.geteuid() == 0


@pytest.fixture
def three(tmp_path: Path) -> list[Server]:
    """Three servers, of which the first has an application, and the others are alike."""
    servers = servers_in(tmp_path, 3)
    servers[0].put("index.php", "<?php")
    servers[0].put("images/logo.png", b"\x89PNG" * 100)
    servers[0].put("bin/tool", "#!", mode=0o750)
    (servers[0].webroot / "empty").mkdir()
    (servers[0].webroot / "current").symlink_to("images/logo.png")
    settle(*servers)
    return servers


def test_changes__reach_every_server(three: list[Server]):
    """Files, modes, empty folders and links that are added, changed or deleted on one web server are so on all."""
    one, two, other = three
    assert set(one.tree) == {"index.php", "images", "images/logo.png", "bin", "bin/tool", "empty", "current"}
    assert one.tree == two.tree == other.tree
    two.put("index.php", "<?php 2")
    other.put("deep/er/file", "new")
    (one.webroot / "images/logo.png").unlink()
    (one.webroot / "bin/tool").chmod(0o640)
    (other.webroot / "empty").rmdir()
    settle(*three)
    assert one.tree == two.tree == other.tree
    assert one.tree["index.php"] == ("0o644", b"<?php 2")
    assert one.tree["bin/tool"] == ("0o640", b"#!")
    assert one.tree["deep/er/file"] == ("0o644", b"new")
    assert not {"images/logo.png", "empty"} & set(one.tree)
    assert [server.kept for server in three] == [[], [], []]


def test_large_file__comes_whole(tmp_path: Path):
    """A file that takes several packs comes as it was, and its time with it."""
    one, two = servers_in(tmp_path, 2)
    data = os.urandom(9 * 1024 * 1024) * 8
    path = one.put("video.mp4", data)
    os.utime(path, ns=(10**18, 10**18))
    settle(one, two)
    assert (two.webroot / "video.mp4").read_bytes() == data
    assert (two.webroot / "video.mp4").stat().st_mtime_ns == 10**18


PERSISTED = "persist_assets_to_cloud = 1\ndirectories_to_mount = 'images:media/videos'\nexclude = ['*.bak']\n"
LOCAL = ("configuration.php", "logs/error.log", "tmp/x", "cache/x", "administrator/cache/x", "images/a.png")


def test_local__never_leaves(tmp_path: Path):
    """Mounted directories, the configuration file, logs, tmp, cache and what `exclude` names never leave, nor are they brought."""
    one, two = servers_in(tmp_path, 2, text=PERSISTED)
    for path in (*LOCAL, "media/videos/deep/b.mp4", "old.bak", "index.php", "media/logo.png"):
        one.put(path, f"secret {path}")
    settle(one, two)
    assert {path for path in two.tree if "." in path} == {"index.php", "media/logo.png"}
    assert not any("secret configuration" in each for each in texts_in(tmp_path / "store"))
    (three := Server(tmp_path / "web2")).folder.mkdir()
    for name in ("home", "www"):
        (three.folder / name).mkdir()
    three.settings((tmp_path / "store").as_uri(), "application = 'none'\n")
    for path in (*LOCAL, "old.bak"):
        three.put(path, "foreign")
    settle(three, one, two)
    assert (one.webroot / "configuration.php").read_bytes() == b"secret configuration.php"
    assert (one.webroot / "images/a.png").read_bytes() == b"secret images/a.png"
    assert {path for path in two.tree if "." in path} == {"index.php", "media/logo.png"}


def texts_in(store: Path) -> list[str]:
    """Every pack, unfolded: what is in it as text."""
    from holdfast.formats.codec import unpack
    from holdfast.formats.container import PACK, TRAILER, check_trailer, decode_table

    found = []
    for path in (store / ".holdfast/sites").rglob("sync/packs/*/*"):
        data = path.read_bytes()
        length = check_trailer(data[-TRAILER:], len(data), PACK, path.name)
        table = decode_table(data[-TRAILER - length :], len(data), PACK, data[8 - TRAILER : -8].hex())
        for piece in table.pieces:
            raw = unpack(data[piece.offset : piece.offset + piece.stored], piece.codec, piece.raw, path.name)
            found.append(bytes(raw).decode(errors="replace"))
    return found


def test_conflict__the_newest_wins_and_the_other_is_kept(three: list[Server]):
    """Of two changes of one file the newer wins on every server; the other is kept outside of the webroot where it was replaced."""
    one, two, other = three
    one.put("index.php", "older")
    time.sleep(0.05)
    two.put("index.php", "newer")
    settle(*three)
    assert {server.tree["index.php"] for server in three} == {("0o644", b"newer")}
    assert (one.kept, two.kept, other.kept) == ([b"older"], [], [])


def test_edit__beats_a_delete_at_the_same_time(three: list[Server]):
    """A file that is edited on one server while it is deleted on another stays, edited, on all."""
    one, two, _ = three
    two.put("index.php", "edited")
    time.sleep(0.05)
    (one.webroot / "index.php").unlink()
    settle(*three)
    assert {server.tree["index.php"] for server in three} == {("0o644", b"edited")}


def test_file_and_folder__of_one_name(three: list[Server]):
    """Where a file on one server has the name of a folder on another, the newer stays and the other is kept."""
    one, two, other = three
    one.put("news", "a file")
    time.sleep(0.05)
    two.put("news/today.html", "in a folder")
    settle(*three, rounds=8)
    assert one.tree == two.tree == other.tree
    assert one.tree["news/today.html"] == ("0o644", b"in a folder")
    assert b"a file" in [data for server in three for data in server.kept]


@pytest.mark.parametrize("hours", [-1, 1])
def test_clock__an_hour_off(three: list[Server], hours: int):
    """A server whose clock is an hour off neither wins with what is older nor loses with what is newer."""
    one, two, other = three
    with one.opened() as wrong:
        wrong.repository._clock = Skewed(hours * 3600)
        for number in range(3):
            one.put("index.php", f"from the wrong clock {number}")
            time.sleep(QUIET + 0.05)
            wrong.cycle()
            two.once()
            assert (two.webroot / "index.php").read_text() == f"from the wrong clock {number}"
            two.put("index.php", f"and its answer {number}")
            time.sleep(QUIET + 0.05)
            two.once()
            wrong.cycle()
            assert (one.webroot / "index.php").read_text() == f"and its answer {number}"
    assert (one.kept, two.kept, other.kept) == ([], [], [])


class Skewed:
    """A clock that is wrong."""

    def __init__(self, seconds: float) -> None:
        from holdfast.clock import SystemClock

        self._clock = SystemClock()
        self._seconds = seconds

    def now(self):
        from datetime import timedelta

        return self._clock.now() + timedelta(seconds=self._seconds)

    def sleep(self, seconds: float) -> None:
        self._clock.sleep(seconds)

    def since_boot(self) -> float:
        return self._clock.since_boot()


def test_replaced_again_and_again__is_never_reported_deleted(three: list[Server]):
    """A file that is saved again and again while a server looks is never taken for deleted."""
    one, two, _ = three
    over = threading.Event()

    def save() -> None:
        number = 0
        while not over.is_set():
            number += 1
            part = one.put(f"images/.saving-{number % 5}", f"version {number}")
            part.rename(one.webroot / "images/logo.png")

    thread = threading.Thread(target=save)
    thread.start()
    try:
        with one.opened() as syncer:
            for _ in range(60):
                assert "images/logo.png" not in syncer.cycle().published or (one.webroot / "images/logo.png").exists()
    finally:
        over.set()
        thread.join()
    with two.opened() as syncer:
        syncer.cycle()
        assert all(
            log.changes["images/logo.png"].content is not None
            for log in syncer.logs.known.values()
            if "images/logo.png" in log.changes
        )
    settle(*three)
    assert one.tree == two.tree


def test_new_and_returning_servers__catch_up(three: list[Server], tmp_path: Path):
    """A server that was away, one that is new, and one built from an old backup come to the tree of the others."""
    one, two, other = three
    (new := servers_in(tmp_path / "more", 2, (tmp_path / "store").as_uri()))[0].put("index.php", "<?php from a backup")
    new[0].put("removed.php", "of yesterday")
    two.put("removed.php", "of yesterday")
    settle(one, two)
    (two.webroot / "removed.php").unlink()
    one.put("index.php", "<?php of today")
    settle(one, two)
    settle(one, two, other, *new)
    assert one.tree == two.tree == other.tree == new[0].tree == new[1].tree
    assert one.tree["index.php"] == ("0o644", b"<?php of today")
    assert "removed.php" not in one.tree
    assert new[0].kept == [b"<?php from a backup", b"of yesterday"]


def test_first_server__does_not_wipe_what_is_shared(three: list[Server]):
    """A first server that was built anew with an empty webroot takes the tree of the others."""
    one, two, _ = three
    before = two.tree
    shutil.rmtree(one.folder / "www")
    shutil.rmtree(one.folder / "state")
    (one.folder / "www").mkdir()
    settle(*three)
    assert one.tree == two.tree == before


def test_empty_webroot__deletes_nothing(three: list[Server]):
    """A webroot that is suddenly empty deletes nothing on the other servers, and is not filled, before somebody says so."""
    one, two, _ = three
    before = two.tree
    shutil.move(one.webroot, one.folder / "gone")
    one.webroot.mkdir()
    error = one("site", "sync", "--json")
    assert error.code == 4
    assert "index.php" in error.json["held"]
    two.put("later.html", "later")
    time.sleep(QUIET)
    two.once()
    one.once()
    assert one.tree == {}
    settle(two)
    assert two.tree.keys() == before.keys() | {"later.html"}
    assert one.sync("--rejoin")["laid"]
    settle(*three)
    assert one.tree == two.tree


def test_webroot_that_is_not_there__is_an_error(three: list[Server]):
    """A webroot that is not there is an error, and nobody deletes anything."""
    one, two, _ = three
    before = two.tree
    one.webroot.rename(one.folder / "gone")
    assert "cannot be opened" in one.fails(1, "sync")["message"]
    settle(two)
    assert two.tree == before


def test_many_deletions__wait_for_a_yes(three: list[Server]):
    """More deletions than 50 files and a fifth of all are held back until --accept-deletes; what else changed is synced."""
    one, two, other = three
    for number in range(60):
        one.put(f"plugin/{number}.php", str(number))
    settle(*three)
    shutil.rmtree(one.webroot / "plugin")
    one.put("index.php", "still synced")
    ended = one("site", "sync", "--json")
    assert ended.code == 4
    assert len(ended.json["held"]) == 61
    two.once()
    assert len(list((two.webroot / "plugin").iterdir())) == 60
    assert (two.webroot / "index.php").read_text() == "still synced"
    one.sync("--accept-deletes")
    settle(*three)
    assert one.tree == two.tree == other.tree
    assert "plugin" not in two.tree


def test_planted_links__are_not_followed(three: list[Server], tmp_path: Path):
    """A link that leads out is told and not synced, and nothing is read or written through one that took a folder's place."""
    one, two, other = three
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "logo.png").write_text("the machine's own")
    (one.webroot / "etc").symlink_to("/etc")
    shutil.rmtree(two.webroot / "images")
    (two.webroot / "images").symlink_to(outside)
    one.put("images/logo.png", "changed")
    one.put("images/new.png", "new")
    time.sleep(QUIET)
    assert one.once().skipped == {"etc": "it is a symlink that leads out of the webroot"}
    report = two.once()
    assert set(report.skipped) == {"images"}
    other.once()
    assert {path.name: path.read_text() for path in outside.iterdir()} == {"logo.png": "the machine's own"}
    assert (other.webroot / "images/new.png").read_text() == "new"
    assert not (other.webroot / "etc").exists()
    assert not (other.webroot / "images").is_symlink()
    (two.webroot / "images").unlink()
    (one.webroot / "etc").unlink()
    (two.webroot / "images").mkdir()
    settle(*three)


def test_what_cannot_be_synced__stops_nothing(three: list[Server]):
    """A fifo, a name that is not UTF-8 and a folder that may not be read are told, and the rest is synced; none counts as deleted."""
    one, two, _ = three
    (one.webroot / "index.php").unlink()
    os.mkfifo(one.webroot / "index.php")
    (one.webroot / os.fsdecode(b"caf\xe9")).write_text("x")
    one.put("other.html", "x")
    time.sleep(QUIET)
    report = one.once()
    assert report.skipped == {
        "index.php": "it is a device, a fifo or a socket",
        repr(b"caf\xe9"): "its name is not UTF-8",
    }
    two.once()
    assert (two.webroot / "index.php").read_text() == "<?php"
    assert (two.webroot / "other.html").read_text() == "x"


@pytest.mark.skipif(not ROOT, reason="only root mounts")
def test_mounted__is_left_alone_and_not_deleted(three: list[Server]):
    """What is mounted below a webroot, said by no setting, is not synced, and what it covers is not taken for deleted."""
    one, two, _ = three
    place = one.webroot / "images"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(place)], check=True)
    try:
        (place / "mounted.png").write_text("x")
        time.sleep(QUIET)
        one.once()
        two.once()
        assert (two.webroot / "images/logo.png").exists()
        assert not (two.webroot / "images/mounted.png").exists()
    finally:
        subprocess.run(["umount", str(place)], check=True)
    settle(*three)
    assert one.tree == two.tree


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB."""
    if not ROOT:
        pytest.skip("only root mounts")
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_full_disk__changes_nothing_there(three: list[Server], small_disk: Path):
    """Where the disk is full nothing is half laid, the error says so, and what was there stays; with room it goes on."""
    one, two, _ = three
    shutil.copytree(two.webroot, small_disk / "www", symlinks=True)
    two.write(
        f'webroot = "{small_disk / "www"}"\nsync_webroots = 1\nweb_user = "{ME}"\n',
        stores=(),
        after=f'[[stores]]\nurl = "{(one.folder.parent / "store").as_uri()}"\n',
    )
    filler = small_disk / "filler"
    filler.write_bytes(bytes(700_000))
    one.put("index.php", "changed")
    one.put("large.bin", os.urandom(600_000))
    time.sleep(QUIET)
    one.once()
    before = {path.name for path in (small_disk / "www").iterdir()}
    message = two.fails(1, "sync")["message"]
    assert "No space left" in message
    assert {path.name for path in (small_disk / "www").iterdir()} == before
    assert (small_disk / "www/index.php").read_text() == "<?php"
    filler.unlink()
    two.sync()
    assert (small_disk / "www/index.php").read_text() == "changed"
    assert (small_disk / "www/large.bin").stat().st_size == 600_000


def test_store_that_disappears__is_waited_for(three: list[Server], tmp_path: Path):
    """While the store is away nothing is changed, and afterwards the servers come together."""
    one, two, other = three
    one.put("index.php", "meanwhile")
    (two.webroot / "bin/tool").unlink()
    before = two.tree
    (tmp_path / "store").rename(tmp_path / "away")
    one.fails(3, "sync")
    two.fails(3, "sync")
    assert two.tree == before
    (tmp_path / "away").rename(tmp_path / "store")
    settle(*three)
    assert one.tree == two.tree == other.tree
    assert one.tree["index.php"] == ("0o644", b"meanwhile")


def test_store_that_was_emptied__is_filled_again(three: list[Server], tmp_path: Path):
    """Where all logs are gone from the store, the servers say again what they have, and delete nothing."""
    one, two, other = three
    before = one.tree
    shutil.rmtree(tmp_path / "store/.holdfast/sites")
    shutil.rmtree(tmp_path / "store/.holdfast/gen", ignore_errors=True)
    settle(*three)
    assert one.tree == two.tree == other.tree == before
    (new := servers_in(tmp_path / "more", 1, (tmp_path / "store").as_uri())[0]).once()
    assert new.tree == before


def test_two_processes__on_one_webroot(three: list[Server]):
    """A second process on one webroot is refused, and a copied machine that has another's name is told what to do."""
    one, two, _ = three
    with one.opened(), pytest.raises(BusyError):
        one.once()
    shutil.rmtree(two.folder / "state")
    shutil.copytree(one.folder / "state", two.folder / "state")
    with one.opened() as first, two.opened() as second:
        one.put("a", "1")
        two.put("b", "2")
        time.sleep(QUIET + 0.05)
        first.cycle()
        told = []
        for number in range(4):
            for server, syncer in ((two, second), (one, first)):
                server.put("a", f"{server.folder.name} again {number}")
                time.sleep(QUIET + 0.05)
                try:
                    syncer.cycle()
                except ConflictError as error:
                    told.append(error)
        assert any("syncs as" in error.message and "copied machine" in error.hint for error in told)


def test_logs__stay_small(three: list[Server], tmp_path: Path):
    """A file that changes a hundred times leaves a log of a few packs, and what nobody needs any more is removed."""
    one, two, _ = three
    with one.opened() as first:
        for number in range(100):
            one.put("index.php", os.urandom(2000) + str(number).encode())
            time.sleep(0.01)
            first._begun = True
            look_now(first)
        assert len(first.own.log.head.packs) <= 20
    two.once()
    size = sum(path.stat().st_size for path in (tmp_path / "store").rglob("sync/packs/**/*") if path.is_file())
    assert size < 200_000
    assert (two.webroot / "index.php").read_bytes() == (one.webroot / "index.php").read_bytes()


def look_now(syncer) -> None:
    """A cycle that does not wait until a file is quiet."""
    from holdfast.sites import webroot

    before, webroot.QUIET = webroot.QUIET, 0.0
    try:
        syncer.cycle()
    finally:
        webroot.QUIET = before


def test_gone_server__is_forgotten(three: list[Server], tmp_path: Path):
    """The log of a server that is gone can be removed, once another has all that it said; nothing is lost."""
    one, two, other = three
    node = one.sync()["node"]
    shutil.rmtree(one.folder)
    before = two.tree
    two.sync("--forget", node)
    settle(two, other)
    assert not list((tmp_path / "store/.holdfast/sites").rglob(f"sync/packs/{node}/*"))
    (new := servers_in(tmp_path / "more", 1, (tmp_path / "store").as_uri())[0]).once()
    assert new.tree == two.tree == other.tree == before
    assert two.fails(2, "sync", "--forget", "nobody")["hint"].startswith("there are: ")


def test_status__tells_every_server(three: list[Server]):
    """`asset site sync --status` tells each server, how long it has said nothing, and what of it is not here yet."""
    one, two, _ = three
    one.put("new.html", "x")
    time.sleep(QUIET)
    one.once()
    shown = two.sync("--status")
    assert len(shown) == 3
    assert sum(each["here"] for each in shown) == 1
    assert sum(each["missing"] for each in shown) == 1
    assert all(each["silent"] < 600 for each in shown)


@pytest.mark.skipif(not ROOT, reason="only root gives files away")
def test_owner__is_the_web_user(tmp_path: Path):
    """What is laid belongs to the web user, and setuid bits never come."""
    one, two = servers_in(tmp_path, 2, text='web_user = "nobody"\n')
    one.put("deep/tool", "x", mode=0o4755)
    settle(one, two)
    import pwd

    user = pwd.getpwnam("nobody")
    for path in ("deep", "deep/tool"):
        status = (two.webroot / path).stat()
        assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (user.pw_uid, user.pw_gid, 0o755)


def test_settings__that_cannot_sync(tmp_path: Path):
    """A site that does not sync, or whose whole webroot is mounted, and a user that is not there, are refused before anything is done."""
    (one,) = servers_in(tmp_path, 1)
    one.settings((tmp_path / "store").as_uri(), "sync_webroots = 0\n")
    assert "does not sync" in one.fails(2, "sync")["message"]
    one.settings((tmp_path / "store").as_uri(), "persist_assets_to_cloud = 1\ndirectories_to_mount = 'WHOLE-WEBROOT'\n")
    assert "whole webroot" in one.fails(2, "sync")["message"]
    one.settings((tmp_path / "store").as_uri(), "")
    assert "goes with" in one.fails(2, "sync", "--watch", "--status")["message"]
    assert "goes with" in one.fails(2, "sync", "--interval", "2s")["message"]
    if ROOT:
        one.settings((tmp_path / "store").as_uri(), 'web_user = "no-such-user"\n')
        assert "no user" in one.fails(2, "sync")["message"]
    assert not (tmp_path / "store/.holdfast/sites").exists()


def test_state_that_is_damaged__is_an_error(three: list[Server]):
    """A state file that is damaged is an error that says what to do; without it the server joins anew and loses nothing."""
    one, two, _ = three
    one.once()
    before = two.tree
    (one.state / "agreed.sqlite").write_bytes(b"no database" * 1000)
    for end in ("-wal", "-shm"):
        (one.state / f"agreed.sqlite{end}").unlink(missing_ok=True)
    with pytest.raises(LocalError, match="agreed"):
        one.once()
    (one.state / "agreed.sqlite").unlink()
    settle(*three)
    assert one.tree == two.tree == before


def regions(tmp_path: Path) -> list[Server]:
    """Two servers in each of two regions, whose first store is the nearest."""
    servers = servers_in(tmp_path, 4)
    urls = [(tmp_path / name).as_uri() for name in ("here", "there")]
    for number, server in enumerate(servers):
        near, far = urls if number < 2 else reversed(urls)
        server.settings(near, "")
        with (server.folder / "site.toml").open("a") as file:
            file.write(f'[[stores]]\nurl = "{far}"\n')
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    return servers


def test_regions__are_alike_through_every_store(tmp_path: Path):
    """With several stores each region reads its own, and a log is brought to all: a store that is away gets what it missed."""
    servers = regions(tmp_path)
    servers[0].put("index.php", "from here")
    settle(*servers)
    servers[3].put("there.html", "from there")
    servers[1].put("images/a.png", os.urandom(2000))
    settle(*servers)
    assert servers[0].tree == servers[1].tree == servers[2].tree == servers[3].tree
    assert set(servers[0].tree) == {"index.php", "there.html", "images", "images/a.png"}
    (tmp_path / "there").rename(tmp_path / "away")
    servers[0].put("index.php", "while the other store is away")
    ended = servers[0]("site", "sync", "--json")
    assert ended.code == 7
    assert list(ended.json["behind"]) == [(tmp_path / "there").as_uri()]
    servers[1].once()
    assert servers[1].tree["index.php"] == ("0o644", b"while the other store is away")
    (tmp_path / "away").rename(tmp_path / "there")
    servers[0].sync()
    servers[2].once()
    assert servers[2].tree["index.php"] == ("0o644", b"while the other store is away")


def test_regions__killed_between_packs_and_head(tmp_path: Path):
    """A server that is killed while its log is on its way to another store brings the rest when it is run again."""
    servers = regions(tmp_path)
    servers[0].put("index.php", "first")
    assert servers[0]("site", "sync", HOLDFAST_FAILPOINT="sync.mirrored").code == -9
    servers[3].once()
    assert servers[3].tree == {}
    servers[0].sync()
    settle(*servers)
    assert servers[3].tree == servers[0].tree == {"index.php": ("0o644", b"first")}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_mounted_since_the_look__is_not_written_through(tmp_path: Path):
    """What was mounted below the webroot between the look and the write is neither written to nor read: the change is left for the next look."""
    place = tmp_path / "www/images"
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], check=True)
    try:
        (place / "theirs").write_text("theirs")
        webroot = Webroot(str(tmp_path / "www"))
        laying = Laying(webroot, "1a2b", tmp_path / "kept", None, lambda _path, _why: None)
        laying.begin()
        deed = Deed(first(Content("dir", 0o755)), None, keep=False)
        assert laying.lay({"images/new": deed, "other": deed}, {}, lambda _path, _deed: iter(())) == ["other"]
        laying.end()
        assert os.listdir(place) == ["theirs"]
        assert webroot.read("images/theirs", 6, 100) is None
    finally:
        subprocess.run(["umount", place], check=True)
