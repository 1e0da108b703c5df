"""Restores: whole, a directory, one file, at any moment, in place without losing a byte."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from holdfast.errors import ConflictError
from holdfast.failpoint import POINTS
from holdfast.model.manifest import Entry
from holdfast.sites.restoring import Change, Present, decide
from tests.sites.conftest import FILES, files_of

#: What a backup of the site has.
BACKED = {path: data for path, data in FILES.items() if not path.startswith(("logs/", "tmp/", "configuration.php"))}


def backed(site, text=None):
    """A backup, of another content where one is given; its version."""
    if text is not None:
        (site.webroot / "index.php").write_text(text)
    return site.site("backup", "--period", "hourly")["version"]


def test_decide():
    """What is not wanted goes aside, what differs too, what is the same stays, and a directory goes aside as one."""
    wanted = {
        "a": Entry("a", "dir"),
        "a/same": Entry("a/same", "file", digest="1"),
        "a/other": Entry("a/other", "file", digest="2"),
        "a/link": Entry("a/link", "link", target="same"),
        "was-dir": Entry("was-dir", "file", digest="3"),
        "new": Entry("new", "dir"),
    }
    present = {
        "a": Present("dir"),
        "a/same": Present("file", 0o644, "1"),
        "a/other": Present("file", 0o644, "9"),
        "a/link": Present("link", 0, "elsewhere"),
        "was-dir": Present("dir"),
        "was-dir/x": Present("file"),
        "strange": Present("dir"),
        "strange/deep": Present("dir"),
        "holds": Present("dir"),
        "holds/x": Present("other"),
    }
    changes, same = decide(wanted, present, {"holds"})
    assert same == 1
    assert [each.path for each in changes if each.what == "aside"] == [
        "a/link",
        "a/other",
        "holds/x",
        "strange",
        "was-dir",
    ]
    assert changes[5:] == [
        Change("place", "a/link"),
        Change("place", "a/other"),
        Change("make", "new"),
        Change("place", "was-dir"),
    ]
    with pytest.raises(ConflictError):
        decide({"holds": Entry("holds", "file", digest="1")}, present, {"holds"})


def test_restore__whole_site(site):
    """A webroot that was emptied comes back byte for byte, and what stays on the machine is left alone."""
    version = backed(site)
    for name in os.listdir(site.webroot):
        path = site.webroot / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (site.webroot / "configuration.php").write_text("mine")
    (site.webroot / "logs").mkdir()
    (site.webroot / "logs/new.log").write_text("log")
    report = site.site("restore", "hourly")
    assert (report["version"], report["placed"], report["moved"]) == (version, len(BACKED), 0)
    assert files_of(site.webroot) == BACKED | {"configuration.php": b"mine", "logs/new.log": b"log"}
    assert site.site("restore", "hourly")["placed"] == 0


def test_restore__nothing_is_lost(site):
    """What a restore changes or does not know goes aside, with its path, outside of the webroot, for its owner only."""
    backed(site)
    (site.webroot / "index.php").write_text("hacked")
    (site.webroot / "shell.php").write_text("shell")
    (site.webroot / "images/new").mkdir()
    (site.webroot / "images/new/upload.jpg").write_text("upload")
    (site.webroot / "images/logo.png").unlink()
    report = site.site("restore", "hourly")
    assert {path: data for path, data in files_of(site.webroot).items() if path in BACKED} == BACKED
    assert not (site.webroot / "shell.php").exists()
    aside = Path(report["aside"])
    assert aside.parent == site.webroot.parent
    assert aside.stat().st_mode & 0o777 == 0o700
    assert files_of(aside) == {"index.php": b"hacked", "shell.php": b"shell", "images/new/upload.jpg": b"upload"}
    assert (report["placed"], report["moved"]) == (2, 3)
    assert sorted(name for name in os.listdir(site.folder) if name.startswith(".www")) == [aside.name]


def test_restore__while_the_application_writes(site):
    """What the application writes to a path between its file's going aside and the restored one's coming is not written over: it goes aside, too."""
    names = [f"cache{number}.php" for number in range(300)]
    for name in names:
        (site.webroot / name).write_text("backed up")
    backed(site)
    for name in names:
        (site.webroot / name).write_text("changed")
    made, is_over = [], threading.Event()

    def write_where_nothing_is():
        while not is_over.is_set():
            for name in names:
                with suppress(FileExistsError), open(site.webroot / name, "x", encoding="ascii") as file:
                    file.write(f"written meanwhile {len(made)}")
                    made.append(f"written meanwhile {len(made)}")

    writer = threading.Thread(target=write_where_nothing_is)
    writer.start()
    try:
        report = site.site("restore", "hourly")
    finally:
        is_over.set()
        writer.join()
    assert made, "nothing was written meanwhile"
    assert {(site.webroot / name).read_text() for name in names} == {"backed up"}
    aside = [data for folder in site.folder.glob(".www.aside-*") for data in files_of(folder).values()]
    assert sorted(aside) == sorted([b"changed"] * len(names) + [text.encode() for text in made])
    assert report["moved"] == len(names) + len(made)


def test_restore__at_a_moment(site):
    """Any moment gives the newest backup made by then, and a moment before all of them says what the oldest is."""
    first = backed(site, "one")
    time.sleep(1.1)
    second = backed(site, "two")
    moment = second[:10] + "T" + second[11:19].replace("-", ":")
    assert site.site("restore", "hourly", "--at", moment)["version"] == second
    before = first[:10] + "T" + first[11:19].replace("-", ":") + "+00:00"
    assert site.site("restore", "hourly", "--at", before)["version"] == first
    assert (site.webroot / "index.php").read_text() == "one"
    assert first in site.fails(3, "restore", "hourly", "--at", "2020-01-01")["hint"]
    assert site.fails(2, "restore", "hourly", "--at", "yesterday")["kind"] == "usage"
    assert site.fails(2, "restore", f"hourly:{first}", "--at", moment)["kind"] == "usage"


def test_restore__a_directory_and_a_file(site):
    """A directory, or one file, comes back alone; the rest stays as it is."""
    backed(site)
    for path in ("index.php", "images/logo.png", "images/deep/photo.jpg"):
        (site.webroot / path).write_text("changed")
    (site.webroot / "images/extra").write_text("extra")
    report = site.site("restore", "hourly", "--path", "images/logo.png")
    assert (report["placed"], report["moved"]) == (1, 1)
    assert (site.webroot / "images/logo.png").read_bytes() == FILES["images/logo.png"]
    assert (site.webroot / "images/deep/photo.jpg").read_text() == "changed"
    assert (site.webroot / "images/extra").exists()
    site.site("restore", "hourly", "--path", "images/")
    assert files_of(site.webroot / "images") == files_of_images()
    assert (site.webroot / "index.php").read_text() == "changed"
    error = site.fails(3, "restore", "hourly", "--path", "images/logo.pgn")
    assert "logo.png" in (error["hint"] or "")


def files_of_images():
    """The site's images."""
    return {path.removeprefix("images/"): data for path, data in FILES.items() if path.startswith("images/")}


def test_restore__to_a_folder(site):
    """--to writes a backup into a folder of its own, and never into one that is not empty."""
    backed(site)
    out = site.folder / "out"
    report = site.site("restore", "hourly", "--to", str(out))
    assert files_of(out) == BACKED
    assert report["files"] == len(BACKED)
    assert site.fails(4, "restore", "hourly", "--to", str(out))["kind"] == "conflict"
    site.site("restore", "hourly", "--to", str(site.folder / "part"), "--path", "images/deep")
    assert list(files_of(site.folder / "part")) == ["images/deep/photo.jpg"]


def test_restore__dry_run(site):
    """A dry run says what would be done, and changes nothing."""
    backed(site)
    (site.webroot / "index.php").write_text("changed")
    before = files_of(site.folder)
    report = site.site("restore", "hourly", "--dry-run")
    assert (report["placed"], report["moved"], report["aside"]) == (1, 1, None)
    after = files_of(site.folder)
    assert {path for path in before.keys() ^ after.keys() if not path.startswith("home")} == set()
    assert after["www/index.php"] == b"changed"


def test_restore__from_another_store(site):
    """Where the nearest store is away, or what it has is damaged, the next one gives the backup."""
    site.write(stores=("one", "two"))
    backed(site)
    (site.webroot / "index.php").write_text("x")
    (site.folder / "one").rename(site.folder / "away")
    assert site.site("restore", "hourly")["store"].endswith("/two")
    (site.folder / "away").rename(site.folder / "one")
    for path in (site.folder / "one/.holdfast/pages").rglob("*"):
        if path.is_file():
            path.write_bytes(b"damaged")
    (site.webroot / "index.php").write_text("x")
    (site.folder / "home2").mkdir()  # another server, which has no manifest of it
    assert site.site("restore", "hourly", HOME=str(site.folder / "home2"))["store"].endswith("/two")
    assert (site.webroot / "index.php").read_bytes() == FILES["index.php"]


def test_restore__planted_links(site):
    """A link that was planted where a directory must be goes aside itself, and nothing is written where it leads."""
    backed(site)
    target = site.folder / "etc"
    target.mkdir()
    (target / "passwd").write_text("root")
    shutil.rmtree(site.webroot / "images")
    (site.webroot / "images").symlink_to(target)
    (site.webroot / "index.php").unlink()
    (site.webroot / "index.php").symlink_to(target / "passwd")
    report = site.site("restore", "hourly")
    assert (target / "passwd").read_text() == "root"
    assert os.listdir(target) == ["passwd"]
    assert files_of(site.webroot / "images") == files_of_images()
    assert (site.webroot / "index.php").read_bytes() == FILES["index.php"]
    assert files_of(Path(report["aside"])) == {
        "images": str(target).encode(),
        "index.php": str(target / "passwd").encode(),
    }


def test_restore__media_that_live_in_a_bucket(site):
    """Directories that live in buckets are left alone by a restore, and are not restored in place by name."""
    backed(site)
    site.write("persist_assets_to_cloud = 1\n")
    (site.webroot / "images/logo.png").write_text("in the bucket")
    (site.webroot / "index.php").write_text("x")
    report = site.site("restore", "hourly")
    assert report["skipped"] == ["images"]
    assert (site.webroot / "images/logo.png").read_text() == "in the bucket"
    assert (site.webroot / "index.php").read_bytes() == FILES["index.php"]
    assert "--to DIR" in site.fails(2, "restore", "hourly", "--path", "images")["hint"]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")
def test_restore__never_through_a_mount(site):
    """A restore whose files would go through a live mount is refused, and neither side changes."""
    from tests.sites.test_backup import unshared

    backed(site)
    done = unshared(site, "site", "restore", "hourly", "--json")
    assert done.returncode == 4, done.stdout + done.stderr
    assert "is mounted" in done.stdout
    assert files_of(site.webroot) == FILES


def test_restore__after_it(site):
    """after_restore gets what the commands before the backup made, which is not laid into the webroot."""
    site.write(
        after='[[before_backup]]\nrun = ["echo", "dump"]\ninto = "database.sql"\n'
        f'[[after_restore]]\nrun = ["cp", "{{dir}}/database.sql", "{site.folder}/loaded"]\n'
    )
    backed(site)
    (site.webroot / "index.php").write_text("x")
    site.site("restore", "hourly")
    assert (site.folder / "loaded").read_text() == "dump\n"
    assert not (site.webroot / ".holdfast-site").exists()
    site.write(after='[[after_restore]]\nrun = ["false"]\n')
    assert "ended with code 1" in site.fails(1, "restore", "hourly")["message"]


def test_restore__absolute_directories(site):
    """A directory outside of the webroot that is in the backup comes back to its own place."""
    private = site.folder / "private"
    private.mkdir()
    (private / "paper.pdf").write_text("paper")
    site.write(f'directories_to_mount = "{private}"\nabsolute_roots = ["{site.folder}"]\n')
    backed(site)
    (private / "paper.pdf").write_text("changed")
    site.site("restore", "hourly")
    assert (private / "paper.pdf").read_text() == "paper"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_restore__belongs_to_the_webroots_owner(site):
    """Files and directories that root brings back belong to whom the webroot belongs to."""
    os.chown(site.webroot, 65534, 65533)
    backed(site)
    shutil.rmtree(site.webroot / "images")
    site.site("restore", "hourly")
    for path in ("images", "images/deep", "images/deep/photo.jpg"):
        status = (site.webroot / path).stat()
        assert (status.st_uid, status.st_gid) == (65534, 65533)


def test_restore__link_in_place_of_an_absolute_directory(site):
    """No link is followed between absolute_roots and a directory: neither is anything behind one moved or written, nor is it backed up."""
    theirs, others = site.folder / "roots/theirs", site.folder / "others"
    private = theirs / "shared/private"
    private.mkdir(parents=True)
    (private / "paper.pdf").write_text("paper")
    (others / "private").mkdir(parents=True)
    (others / "private/shadow").write_text("secret")
    site.write(f'directories_to_mount = "{private}"\nabsolute_roots = ["{site.folder}/roots"]\n')
    backed(site)
    for planted, target in ((private, others / "private"), (theirs / "shared", others)):
        planted.rename(f"{planted}.old")
        planted.symlink_to(target)
        assert "is a link" in site.fails(1, "restore", "hourly")["message"]
        assert "is a link" in site.fails(1, "backup", "--period", "hourly")["message"]
        planted.unlink()
        (theirs / f"{planted}.old").rename(planted)
    assert files_of(others) == {"private/shadow": b"secret"}
    assert sorted(os.listdir(others)) == ["private"]
    (private / "paper.pdf").write_text("changed")
    told = site.site("restore", "hourly")
    assert (private / "paper.pdf").read_text() == "paper"
    assert (site.folder / told["aside"] / "paper.pdf").read_text() == "changed"


@pytest.mark.parametrize("point", [p for p in POINTS if "restore" in p])
def test_restore__killed(site, point):
    """Killed at any step, the same restore run again completes it, and every byte that was there is in the webroot or aside."""
    backed(site)
    (site.webroot / "index.php").write_text("mine")
    (site.webroot / "a.php").write_text("a")
    (site.webroot / "images/logo.png").unlink()
    assert site("site", "restore", "hourly", HOLDFAST_FAILPOINT=point).code == -signal.SIGKILL
    site.site("restore", "hourly")
    assert {path: data for path, data in files_of(site.webroot).items() if path in BACKED} == BACKED
    aside = [data for folder in site.folder.glob(".www.aside-*") for data in files_of(folder).values()]
    assert sorted(aside) == [b"a", b"mine"]
    assert not list(site.folder.glob(".www.*.part"))


def test_restore__modes_and_empty_directories(site):
    """Permission bits and empty directories come back."""
    (site.webroot / "bin").mkdir()
    (site.webroot / "bin/run").write_text("#!/bin/sh")
    (site.webroot / "bin/run").chmod(0o750)
    (site.webroot / "uploads").mkdir(mode=0o775)
    backed(site)
    shutil.rmtree(site.webroot / "bin")
    (site.webroot / "uploads").rmdir()
    site.site("restore", "hourly")
    assert (site.webroot / "bin/run").stat().st_mode & 0o777 == 0o750
    assert (site.webroot / "uploads").is_dir()
