"""The directory under a mount, the program that mounts, and what waits to be sent: real folders, no mount of a bucket."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from holdfast.errors import (
    AlreadyExistsError,
    LocalError,
    NotFoundError,
    UnsupportedError,
)
from holdfast.mount.children import Child, LateError
from holdfast.mount.holders import holders, open_for_writing
from holdfast.mount.live import unsent
from holdfast.mount.live.finding import found
from holdfast.mount.live.templates import MOUNTERS
from holdfast.mount.live.underneath import Underneath, checked, resolved
from holdfast.mount.table import mounts

IS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root can make a directory immutable, or mount")


# The directory


def test_checked__refuses(tmp_path: Path) -> None:
    """A directory that is not there, is none, or is not empty is refused."""
    with pytest.raises(NotFoundError, match="no directory"):
        checked(str(tmp_path / "none"))
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalError, match="not a directory"):
        checked(str(tmp_path / "file"))
    with pytest.raises(AlreadyExistsError, match=r"not empty: file"):
        checked(str(tmp_path))


@needs_root
def test_checked__a_mount(tmp_path: Path) -> None:
    """A directory at which something is mounted is refused, whatever it is."""
    (tmp_path / "m").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path / "m"], check=True)
    with pytest.raises(AlreadyExistsError, match="is mounted at"):
        checked(str(tmp_path / "m"))
    (tmp_path / "m/inside").mkdir()
    assert checked(str(tmp_path / "m/inside")) == str(tmp_path / "m/inside")  # a disk of its own is no trouble


def test_resolved__follows_links(tmp_path: Path) -> None:
    """A path is the one without links, so that one directory has one record."""
    (tmp_path / "real/m").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert resolved(str(tmp_path / "link/m")) == resolved(str(tmp_path / "link/../real/m")) == str(tmp_path / "real/m")


@needs_root
def test_underneath__is_closed_to_root(tmp_path: Path) -> None:
    """While nothing is mounted, not even root can write into the directory, and afterwards it is as it was."""
    place = tmp_path / "m"
    place.mkdir(mode=0o750)
    below = Underneath(str(place))
    below.close_it()
    with pytest.raises(PermissionError):
        (place / "upload.jpg").write_text("lost")
    with pytest.raises(PermissionError):
        place.rmdir()
    assert place.stat().st_mode & 0o7777 == 0
    below.close_it()
    below.free()
    (place / "upload.jpg").write_text("kept")
    assert place.stat().st_mode & 0o7777 == 0o750
    below.release()


def test_underneath__without_privilege(tmp_path: Path) -> None:
    """Without privilege the directory has no permission bits while nothing is mounted."""
    script = """
import os, sys
from holdfast.mount.live.underneath import Underneath
os.setgid(65534); os.setuid(65534)
place = sys.argv[1]
below = Underneath(place)
below.close_it()
try:
    open(place + "/x", "w")
except PermissionError:
    print("closed", oct(os.stat(place).st_mode & 0o777))
below.open_it()
open(place + "/x", "w").close()
below.free()
print(below.names(), oct(os.stat(place).st_mode & 0o777))
"""
    place = tmp_path / "m"
    place.mkdir()
    if IS_ROOT:
        os.chown(place, 65534, 65534)
        for above in (tmp_path, *(path for path in tmp_path.parents if path.name.startswith(("pytest-", "popen-")))):
            above.chmod(0o755)  # pytest's own folders are private
    else:
        script = script.replace("os.setgid(65534); os.setuid(65534)", "")
    done = subprocess.run([sys.executable, "-c", script, place], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["closed 0o0", "['x'] 0o755"], done.stderr


@needs_root
def test_underneath__is_seen_below_a_mount(tmp_path: Path) -> None:
    """What lies underneath is seen while something is mounted over it, and a directory that was replaced is noticed."""
    place = tmp_path / "m"
    place.mkdir()
    below = Underneath(str(place))
    (place / "under").write_text("")
    assert below.is_in_place()
    subprocess.run(["mount", "-t", "tmpfs", "none", place], check=True)
    (place / "above").write_text("")
    assert below.names() == ["under"]
    subprocess.run(["umount", place], check=True)
    place.rename(tmp_path / "elsewhere")
    assert not below.is_in_place()
    place.mkdir()
    assert not below.is_in_place()
    below.release()


# The program


def program(folder: Path, name: str, text: str) -> Path:
    """A program that a test has written."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_found__missing(tmp_path: Path) -> None:
    """A mounter that is not installed is said to be missing, with where it was looked for."""
    with pytest.raises(LocalError, match=r"goofys is not installed: not in /nowhere") as told:
        found(MOUNTERS["goofys"], ["/nowhere"], {})
    assert "mount_path" in str(told.value.hint)


@needs_root
def test_found__never_along_the_path_of_a_caller(tmp_path: Path) -> None:
    """Root never takes a mounter from the caller's PATH."""
    program(tmp_path / "bin", "goofys", "echo goofys version 0.24.0")
    with pytest.raises(LocalError, match="not installed"):
        found(MOUNTERS["goofys"], None, {"PATH": str(tmp_path / "bin")})
    assert found(MOUNTERS["goofys"], [str(tmp_path / "bin")], {}) == str(tmp_path / "bin/goofys")


def test_found__that_others_may_write(tmp_path: Path) -> None:
    """A program that others may write, itself or by its folder, is not run."""
    path = program(tmp_path / "bin", "goofys", "echo goofys version 0.24.0")
    for shared in (path, path.parent):
        shared.chmod(0o777)
        with pytest.raises(LocalError, match=rf"{shared} can be written by others"):
            found(MOUNTERS["goofys"], [str(path.parent)], {})
        shared.chmod(0o755)
    assert found(MOUNTERS["goofys"], [str(path.parent)], {})


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        ("echo rclone v1.60.1-DEV", "is rclone 1.60.1, which is too old"),
        ("echo hello", "does not tell its version"),
        ("exit 3", "does not tell its version"),
    ],
)
def test_found__too_old(tmp_path: Path, says: str, reason: str) -> None:
    """A mounter that is too old, or that is another program, is refused with the version that is wanted."""
    program(tmp_path / "bin", "rclone", says)
    with pytest.raises(UnsupportedError, match=reason):
        found(MOUNTERS["rclone"], [str(tmp_path / "bin")], {})


def test_found__leaves_no_folders(tmp_path: Path) -> None:
    """To ask a mounter for its version leaves nothing behind, whatever it writes into its home."""
    program(
        tmp_path / "bin", "rclone", f'mkdir -p "$HOME/.config"; echo "$HOME" > {tmp_path}/home; echo rclone v1.70.0'
    )
    found(MOUNTERS["rclone"], [str(tmp_path / "bin")], {"PATH": "/nowhere"})
    assert not Path((tmp_path / "home").read_text().strip()).exists()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("rclone", "rclone v1.75.2\n- os/version: debian 12.11 (64 bit)"),
        ("s3fs", "Amazon Simple Storage Service File System V1.90 (commit:unknown) with GnuTLS(gcrypt)"),
        ("goofys", "goofys version 0.24.0-45b8d78375af1b24604439d2e60c567654bcdf88"),
        ("geesefs", "geesefs version 0.43.0"),
        ("mount-s3", "mount-s3 1.23.0"),
    ],
)
def test_found__version(tmp_path: Path, name: str, says: str) -> None:
    """Each mounter's way of telling its version is understood."""
    path = program(tmp_path / "bin", name, f"cat <<'END'\n{says}\nEND")
    assert found(MOUNTERS[name], [str(path.parent)], {}) == str(path)


def test_found__asked_once(tmp_path: Path) -> None:
    """A mounter is asked for its version once, and again where it was replaced."""
    text = f"echo x >> {tmp_path}/asked; echo rclone v1.70.0"
    for asked in (1, 2):
        program(tmp_path / "bin", "rclone", f"{text} # {asked}")
        for _ in range(2):
            found(MOUNTERS["rclone"], [str(tmp_path / "bin")], {})
        assert len((tmp_path / "asked").read_text().split()) == asked
    program(tmp_path / "bin", "rclone", "echo rclone v1.60.0")
    with pytest.raises(UnsupportedError, match="too old"):
        found(MOUNTERS["rclone"], [str(tmp_path / "bin")], {})


# Children, holders, the table


def test_child() -> None:
    """A call in a child gives its result or its error; one that is late is given up, and nobody waits for it."""
    assert Child(lambda: {"a": [1]}).result(5) == {"a": [1]}
    with pytest.raises(FileNotFoundError):
        Child(lambda: os.stat("/nonexistent")).result(5)
    with pytest.raises(OSError, match="without an answer"):
        Child(lambda: os._exit(9)).result(5)
    child, began = Child(lambda: time.sleep(60)), time.monotonic()
    with pytest.raises(LateError):
        child.result(0.1)
    assert time.monotonic() - began < 5
    with pytest.raises(OSError, match="without an answer"):
        Child(lambda: 1 / 0).result(5)


def test_child__given_up_is_reaped() -> None:
    """Children that were given up leave no entry in the table of processes once the next one is started."""
    others = zombies()  # of tests before this one, in the same process
    for _ in range(3):
        with pytest.raises(LateError):
            Child(lambda: time.sleep(60)).result(0.05)
    deadline, left = time.monotonic() + 10, {"some"}
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = zombies() - others
        assert Child(lambda: 1).result(10) == 1
    assert left == set()


def zombies() -> set[str]:
    """The numbers of this process's children that ended and were not reaped."""
    stats = [path.read_text() for path in Path("/proc").glob("[0-9]*/stat") if path.exists()]
    fields = [(stat.split()[0], *stat.rpartition(")")[2].split()) for stat in stats]
    return {each[0] for each in fields if each[1] == "Z" and each[2] == str(os.getpid())}


@needs_root
@pytest.mark.parametrize("which", ["worker", "child", "launched"])
def test_ended__number_of_another(tmp_path: Path, which: str) -> None:
    """A process that has the number of one that ended is not killed in its place."""
    script = Path(__file__).with_name("reused.py")
    words = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, str(script), which, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "lives\n"


def test_holders(tmp_path: Path) -> None:
    """Who has a file open below a directory, or works there, is named; and which files may be written."""
    (tmp_path / "m").mkdir()
    (tmp_path / "m/r").write_text("")
    code = "import sys; r=open('r'); w=open('w','w'); print('up', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path / "m", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        named = holders(str(tmp_path / "m"))
        assert [each.pid for each in named] == [process.pid]
        assert f"(process {process.pid}) holds {tmp_path}/m" in str(named[0])
        assert open_for_writing(str(tmp_path / "m")) == [str(tmp_path / "m/w")]
        assert unsent.open_files(str(tmp_path / "m")) == ["w"]
        assert holders(str(tmp_path / "n")) == []
        assert [each.path for each in holders(str(tmp_path / "m"), writing=True)] == [str(tmp_path / "m/w")]
        assert [each.path for each in holders(f"{tmp_path}", [str(tmp_path / "m/w")], writing=True)] == []
        assert holders(f"{tmp_path}", [str(tmp_path / "m")]) == []
        process.communicate()
    assert holders(str(tmp_path / "m")) == []


def test_table() -> None:
    """The kernel's table is read with its blanks, flags and numbers of devices."""
    line = r"42 27 0:39 / /mnt/a\040b rw,nosuid,nodev shared:1 - fuse.rclone s3://m/x\134y rw,user_id=0,default_permissions"
    (mounted,) = mounts(f"{line}\nbroken\n")
    assert (mounted.dir, mounted.type, mounted.source, mounted.device) == ("/mnt/a b", "fuse.rclone", "s3://m/x\\y", 39)
    assert {"nosuid", "default_permissions"} <= mounted.flags
    assert mounted.is_fuse
    assert any(each.dir == "/" for each in mounts())


# What waits to be sent


def cached(cache: Path, path: str, record: str | None, data: str = "data") -> None:
    """A file in a cache like rclone's, with what it knows of it."""
    for kind, text in (("vfs", data), ("vfsMeta", record)):
        if text is not None:
            file = cache / kind / "live/media/p" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)


def test_unsent(tmp_path: Path) -> None:
    """What waits to be sent is found by its path below the mount; a file whose record a kill has torn is set aside."""
    for path, dirty in (("a", True), ("sub/b", True), ("clean", False)):
        cached(tmp_path / "cache", path, json.dumps({"Size": 4, "Dirty": dirty}, indent=1))
    cached(tmp_path / "cache", "sub/torn", '{"Size": 4, "Di')
    cached(tmp_path / "cache", "unknown", None)
    cache, aside = str(tmp_path / "cache"), str(tmp_path / "aside")
    assert unsent.queued(cache, "s3://media/p") == ["a", "sub/b"]
    assert unsent.unsettled(cache, "s3://media/p") == ["a", "sub/b", "sub/torn", "unknown"]
    assert unsent.queued(str(tmp_path / "none"), "s3://media/p") == []
    assert unsent.set_aside(cache, "s3://media/p", aside) == ["sub/torn", "unknown"]
    assert unsent.set_aside(cache, "s3://media/p", aside) == []
    assert unsent.set_aside_now(aside) == ["sub/torn", "unknown"]
    assert (tmp_path / "aside/sub/torn").read_text() == "data"


def test_set_aside__twice(tmp_path: Path) -> None:
    """What was set aside and not put back yet is never written over by a later file of the same name."""
    cache, aside = str(tmp_path / "cache"), str(tmp_path / "aside")
    for data in ("first", "second", "second", "third"):
        cached(tmp_path / "cache", "torn", "{", data)
        unsent.set_aside(cache, "s3://media/p", aside)
    assert {path: (tmp_path / "aside" / path).read_text() for path in unsent.set_aside_now(aside)} == {
        "torn": "first",
        "torn.2": "second",
        "torn.3": "third",
    }


@pytest.mark.parametrize(("before", "torn", "both"), [("a", "a/b", ["a", "a.2/b"]), ("a/b", "a", ["a.2", "a/b"])])
def test_set_aside__a_file_in_the_way_of_a_folder(tmp_path: Path, before: str, torn: str, both: list[str]) -> None:
    """A torn write is set aside though an earlier one has the name of its folder, or a folder its name."""
    cache, aside = tmp_path / "cache", str(tmp_path / "aside")
    for path in (before, torn):
        cached(cache, path, "{", path)
        assert len(unsent.set_aside(str(cache), "s3://media/p", aside)) == 1
        shutil.rmtree(cache)
    assert unsent.set_aside_now(aside) == both
    assert {(tmp_path / "aside" / path).read_text() for path in both} == {before, torn}


@needs_root
def test_set_aside__that_cannot_be(tmp_path: Path) -> None:
    """A torn write that cannot be set aside is named by an error, after all others were set aside, and stays where it is."""
    cache, aside = tmp_path / "cache", tmp_path / "aside"
    for path in ("deep/torn", "other"):
        cached(cache, path, "{", path)
    (aside / "deep").mkdir(parents=True)
    subprocess.run(["chattr", "+i", aside / "deep"], check=True)
    try:
        with pytest.raises(LocalError, match=r"cannot be set aside .*: deep/torn \(") as caught:
            unsent.set_aside(str(cache), "s3://media/p", str(aside))
    finally:
        subprocess.run(["chattr", "-i", aside / "deep"], check=True)
    assert "deletes" in (caught.value.hint or "")
    assert unsent.set_aside_now(str(aside)) == ["other"]
    assert unsent.unsettled(str(cache), "s3://media/p") == ["deep/torn"]
    assert unsent.set_aside(str(cache), "s3://media/p", str(aside)) == ["deep/torn"]


@pytest.mark.parametrize("record", ["", "null", "{}", '{"Dirty": "yes"}', "\x00\x00"])
def test_set_aside__records_that_do_not_tell(tmp_path: Path, record: str) -> None:
    """Whatever a record has become, only one that says so is believed that its file was sent."""
    cached(tmp_path / "cache", "a", record)
    assert unsent.set_aside(str(tmp_path / "cache"), "s3://media/p", str(tmp_path / "aside")) == ["a"]


def test_put_back(tmp_path: Path) -> None:
    """What was set aside is written where it lacks, dropped where it is, and kept where another is or it is not whole."""
    aside, mounted = tmp_path / "aside", tmp_path / "mounted"
    (aside / "sub").mkdir(parents=True)
    mounted.mkdir()
    for path in ("sub/new", "same", "other"):
        (aside / path).write_text(path)
    with open(aside / "hole", "wb") as file:
        file.truncate(1 << 20)
    (mounted / "same").write_text("same")
    (mounted / "other").write_text("newer")
    assert unsent.put_back(str(aside), str(mounted)) == ["sub/new"]
    assert unsent.set_aside_now(str(aside)) == ["hole", "other"]
    assert (mounted / "sub/new").read_text() == "sub/new"
    assert (mounted / "other").read_text() == "newer"


@needs_root
def test_put_back__that_does_not_fit(tmp_path: Path) -> None:
    """Of what was set aside and cannot be written whole through the mount nothing is seen there, and it stays aside."""
    aside, mounted = tmp_path / "aside", tmp_path / "mounted"
    for folder in (aside, mounted):
        folder.mkdir()
    (aside / "film").write_bytes(os.urandom(1 << 20))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", mounted], check=True)
    try:
        assert unsent.put_back(str(aside), str(mounted)) == []
        assert os.listdir(mounted) == []
        subprocess.run(["mount", "-o", "remount,size=8m", mounted], check=True)
        (mounted / unsent.part_of("film")).write_bytes(b"of one that was killed")
        assert unsent.put_back(str(aside), str(mounted)) == ["film"]
        assert os.listdir(mounted) == ["film"]
    finally:
        subprocess.run(["umount", mounted], check=True)
