"""Live buckets, mounted by rclone and s3fs over Ceph's gateway, and what goes wrong with them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from holdfast.errors import (
    AlreadyExistsError,
    BusyError,
    ConflictError,
    HoldfastError,
    NotFoundError,
    UnsupportedError,
)
from holdfast.mount import live
from holdfast.mount.table import mounted_at, mounts
from tests.mount.conftest import command_line, processes_naming
from tests.mount.live import PROGRAMS, Bucket, Reader, attributes, fresh_bucket, require_fuse, until

if TYPE_CHECKING:
    from holdfast.mount.registry import Record
    from tests.services import Service

MOUNTERS = ("rclone", "s3fs")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a directory immutable, or mount")


@pytest.fixture
def bucket(ceph: Service, tmp_path: Path) -> Bucket:
    """A fresh place in a bucket, and a directory to mount it at."""
    require_fuse()
    return fresh_bucket(ceph, tmp_path)


def worker(record: Record) -> int:
    """The mounter's process."""
    process = record.state.worker
    assert process is not None
    return process.pid


def wrapped(bucket: Bucket, name: str, before: str) -> None:
    """Have the mounter be a script that does something first; ``$REAL`` is the mounter itself."""
    real = next(str(Path(place) / name) for place in PROGRAMS.split(":") if (Path(place) / name).exists())
    folder = bucket.folder / "bin"
    folder.mkdir()
    version = {"rclone": "version", "s3fs": "--version"}[name]
    text = f'#!/bin/sh\nREAL={real}\n[ "$1" = {version} ] && exec $REAL "$@"\n{before}\nexec $REAL "$@"\n'
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)
    bucket.programs = str(folder)


# Mounted


@pytest.mark.parametrize(
    ("mounter", "is_sent", "there"), [("rclone", False, b"old"), ("rclone", True, None), ("s3fs", False, None)]
)
def test_replaced__and_deleted(bucket: Bucket, mounter: str, is_sent: bool, there: bytes | None) -> None:
    """A file that was replaced by renaming, and is deleted, is gone; but rclone brings it back as it was where it has not sent the new one yet."""
    bucket.store.put("it", b"old")
    bucket.mount(mounter, *[f"vfs-write-back={'100ms' if is_sent else '30s'}"] * (mounter == "rclone"))
    (bucket.directory / "part").write_text("new")
    os.replace(bucket.directory / "part", bucket.directory / "it")
    if is_sent:
        until(lambda: bucket.store.get("it").data == b"new", 10, "it is sent")
    (bucket.directory / "it").unlink()
    assert not (bucket.directory / "it").exists()
    bucket.unmount()
    found = [bytes(bucket.store.get(info.key).data) for info in bucket.store.list("") if info.key == "it"]
    assert found == ([] if there is None else [there])


@pytest.mark.parametrize("mounter", MOUNTERS)
def test_mount__reads_and_writes_the_bucket(bucket: Bucket, mounter: str) -> None:
    """A live mount reads and writes the bucket, and unmounting leaves nothing behind."""
    record = bucket.mount(mounter)
    assert record.state.state == "mounted"
    assert (bucket.directory / "hello.txt").read_text() == "hello"
    (bucket.directory / "new.txt").write_text("new")
    abilities = record.state.more["abilities"]
    assert {abilities[name] for name in ("write", "read_after_write", "overwrite", "append", "rename", "utime")} == {
        "yes"
    }
    assert [name for name in os.listdir(bucket.directory) if name.startswith(".holdfast")] == []
    bucket.unmount()
    assert bucket.left == {}
    assert bucket.store.get("new.txt").data == b"new"


@pytest.mark.parametrize("mounter", MOUNTERS)
def test_mount__flags(bucket: Bucket, mounter: str) -> None:
    """Every live mount is nosuid, nodev, noexec and default_permissions, owned by who mounts, and closed to others unless asked."""
    wanted = {"nosuid", "nodev", "noexec", "default_permissions"}
    if mounter == "rclone" and os.geteuid() != 0:
        wanted.remove("noexec")  # which rclone cannot for who is not root: SEMANTICS.md says so
    bucket.mount(mounter)
    mounted = mounted_at(str(bucket.directory))
    assert mounted is not None
    assert wanted <= mounted.flags
    assert "allow_other" not in mounted.flags
    assert (bucket.directory / "hello.txt").stat().st_uid == os.geteuid()
    bucket.unmount()
    if os.geteuid() != 0 and "user_allow_other" not in Path("/etc/fuse.conf").read_text().split():
        pytest.skip("fuse.conf lets root alone mount for others")
    bucket.mount(mounter, "exec,allow_other,ro")
    mounted = mounted_at(str(bucket.directory))
    assert mounted is not None
    assert {"ro", "allow_other"} <= mounted.flags
    assert "noexec" not in mounted.flags
    with pytest.raises(OSError, match="Read-only"):
        (bucket.directory / "x").write_text("")


def test_mount__secrets_stay_private(bucket: Bucket) -> None:
    """Credentials are in files that only their user can read, and in no process's arguments."""
    record = bucket.mount("rclone")
    secret = bucket.service.env["AWS_SECRET_ACCESS_KEY"]
    lines = [command_line(pid) for pid in processes_naming(bucket.folder)]
    assert len(lines) == 2
    assert not any(secret in line for line in lines)
    holding = [
        path for path in record.folder.rglob("*") if path.is_file() and secret in path.read_text(errors="replace")
    ]
    assert [path.name for path in holding] == ["rclone.conf"]
    assert [path.stat().st_mode & 0o077 for path in (*holding, holding[0].parent, record.folder)] == [0, 0, 0]


def test_mount__two_at_once(bucket: Bucket) -> None:
    """Of two who mount at one directory at once, one is refused."""
    outcomes: list[str] = []

    def attempt() -> None:
        try:
            bucket.mount("rclone")
            outcomes.append("mounted")
        except (BusyError, AlreadyExistsError):
            outcomes.append("refused")

    threads = [threading.Thread(target=attempt) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["mounted", "refused"]
    with pytest.raises(BusyError, match="is a mount of"):
        bucket.mount("rclone")
    bucket.unmount()
    assert bucket.left == {}


def test_mount__inside_another(bucket: Bucket) -> None:
    """A directory inside another mount is refused, and so is one that holds something."""
    bucket.mount("rclone")
    (bucket.directory / "sub").mkdir()
    with pytest.raises(ConflictError, match="inside another mount"):
        live.mount(bucket.url, bucket.directory / "sub", mounter="s3fs", settings=bucket.settings)
    bucket.unmount()
    (bucket.directory / "mine").write_text("mine")
    with pytest.raises(AlreadyExistsError, match="not empty: mine"):
        bucket.mount("rclone")
    (bucket.directory / "mine").unlink()
    assert bucket.left == {}


# Broken


@pytest.mark.parametrize("mounter", MOUNTERS)
def test_killed__is_mounted_again(bucket: Bucket, mounter: str) -> None:
    """A mounter that was killed is replaced within five seconds; readers get errors meanwhile, and none hangs."""
    record = bucket.mount(mounter)
    reader = Reader(bucket.directory / "hello.txt", 7)
    time.sleep(1)
    os.kill(worker(record), signal.SIGKILL)
    seen, worst = reader.end()
    outcomes = [outcome for _, outcome in seen]
    assert outcomes[0] == outcomes[-1] == "hello"
    assert {outcome for outcome in outcomes if outcome != "hello"} <= {
        "error: Transport endpoint is not connected",
        "error: Software caused connection abort",
        "error: No such file or directory",
        "error: Permission denied",
    }
    assert seen[-1][0] < 1.5 + 5
    assert worst < 5
    assert (record.state.state, record.state.restarts) == ("mounted", 1)
    assert "SIGKILL" in bucket.events()["died"]


@pytest.mark.parametrize("mounter", MOUNTERS)
def test_stopped__is_aborted_and_mounted_again(bucket: Bucket, mounter: str) -> None:
    """A mounter that hangs is cut off, so that readers get errors, and is replaced within fifteen seconds."""
    record = bucket.mount(mounter)
    reader = Reader(bucket.directory / "hello.txt", 17)
    time.sleep(1)
    os.kill(worker(record), signal.SIGSTOP)
    with pytest.raises(OSError, match="Software caused connection abort"):
        os.listdir(bucket.directory)
    seen, worst = reader.end()
    outcomes = [outcome for _, outcome in seen]
    assert outcomes[0] == outcomes[-1] == "hello"
    assert seen[-1][0] < 1.5 + 15
    assert worst < 15
    # A name that was being looked up again when it was cut off is looked up anew by the kernel, which gets the second.
    assert {"error: Software caused connection abort", "error: Transport endpoint is not connected"} & {*outcomes}
    assert "not answered for 5 s" in bucket.events()["hung"]


def test_stopped__unsent_writes_are_named_and_sent(bucket: Bucket) -> None:
    """Aborting a mount names the writes that it strands, and they are sent after the remount; who was writing is named, too."""
    record = bucket.mount("rclone", "vfs-write-back=30s,deadline=1")
    (bucket.directory / "closed.txt").write_text("closed")
    code = (
        "import sys,time; f=open(sys.argv[1],'w'); f.write('half'); f.flush(); print('up',flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(bucket.directory / "open.txt")], stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        os.kill(worker(record), signal.SIGSTOP)
        until(lambda: record.state.restarts == 1 and record.state.state == "mounted", 15, "the remount")
        writer.kill()
    assert "closed.txt" in bucket.events()["stranded"]
    assert "open.txt" in bucket.events()["cut off"]
    assert record.state.more["cut_off"] == ["open.txt"]
    bucket.unmount(wait=True)
    assert bucket.store.get("closed.txt").data == b"closed"
    assert bucket.left == {}


def test_killed__torn_record_of_the_mounter(bucket: Bucket) -> None:
    """An unsent file whose record the kill tore, which rclone would delete, is saved and sent."""
    record = bucket.mount("rclone", "vfs-write-back=2s")
    (bucket.directory / "torn.txt").write_text("torn")
    os.kill(worker(record), signal.SIGSTOP)
    (torn,) = (record.folder / "cache" / "vfsMeta").rglob("torn.txt")
    torn.write_text("")
    os.kill(worker(record), signal.SIGKILL)
    until(lambda: "put back" in bucket.events(), 15, "the file to be put back")
    assert "torn.txt" in bucket.events()["set aside"]
    bucket.unmount(wait=True)
    assert bucket.store.get("torn.txt").data == b"torn"


def test_killed__torn_record_that_cannot_be_saved(bucket: Bucket) -> None:
    """While a file whose record is torn cannot be saved, rclone, which would delete it, is not started, and the events name it."""
    record = bucket.mount("rclone", "vfs-write-back=30s")
    (bucket.directory / "torn.txt").write_text("torn")
    os.kill(worker(record), signal.SIGSTOP)
    (torn,) = (record.folder / "cache" / "vfsMeta").rglob("torn.txt")
    torn.write_text("")
    aside = record.folder / "cache.aside"
    aside.write_text("in the way")
    os.kill(worker(record), signal.SIGKILL)
    until(lambda: "failed" in bucket.events(), 15, "an attempt to fail")
    assert "torn.txt" in bucket.events()["failed"]
    aside.unlink()
    until(lambda: "put back" in bucket.events(), 30, "the file to be put back")
    bucket.unmount(wait=True)
    assert bucket.store.get("torn.txt").data == b"torn"


def test_unmounted_by_others__is_mounted_again(bucket: Bucket) -> None:
    """A mount that somebody else took away comes back."""
    record = bucket.mount("s3fs")
    subprocess.run(["umount", "-l", bucket.directory], check=True)
    until(lambda: record.state.restarts == 1 and record.state.state == "mounted", 10, "the remount")
    assert (bucket.directory / "hello.txt").read_text() == "hello"
    assert {"unmounted", "died"} & bucket.events().keys()  # s3fs ends when its mount is taken


# Fail closed


@needs_root
def test_down__nothing_is_written_underneath(bucket: Bucket) -> None:
    """While a mount is down its directory cannot be written, not even by root; files that got there all the same are reported."""
    wrapped(bucket, "rclone", f"[ -e {bucket.folder}/down ] && {{ echo no network; exit 1; }}")
    record = bucket.mount("rclone")
    (bucket.folder / "down").write_text("")
    os.kill(worker(record), signal.SIGKILL)
    until(lambda: "attempt 2 failed" in record.state.health, 15, "the mount to be down")
    assert record.state.state == "remounting"
    assert "no network" in record.state.health
    with pytest.raises(PermissionError):
        (bucket.directory / "upload.jpg").write_text("lost")
    subprocess.run(["chattr", "-i", bucket.directory], check=True)
    (bucket.directory / "sneaked.jpg").write_text("lost")
    (bucket.folder / "down").unlink()
    until(lambda: record.state.state == "mounted", 15, "the remount")
    assert "sneaked.jpg" in bucket.events()["underneath"]
    assert record.state.more["underneath"] == ["sneaked.jpg"]
    assert (bucket.directory / "hello.txt").read_text() == "hello"
    bucket.unmount()
    (bucket.directory / "sneaked.jpg").unlink()
    assert bucket.left == {}


@needs_root
def test_shutdown__stays_closed(bucket: Bucket) -> None:
    """When the machine goes down the directory stays closed, the mount is found again, and what was not sent is sent by the next."""
    record = bucket.mount("rclone", "vfs-write-back=2s")
    supervisor = record.state.supervisor
    assert supervisor is not None
    (bucket.directory / "late.txt").write_text("late")
    os.kill(supervisor.pid, signal.SIGTERM)
    until(lambda: not supervisor.lives, 20, "the supervisor to end")
    assert record.state.state == "unmounted"
    assert bucket.store.get("late.txt").data == b"late"
    with pytest.raises(PermissionError):
        (bucket.directory / "upload.jpg").write_text("lost")
    with pytest.raises(HoldfastError):
        bucket.mount("rclone", "no-such-option=1")
    assert "i" in attributes(bucket.directory)
    again = bucket.mount("rclone")
    assert (again.state.state, again.folder) == ("mounted", record.folder)
    bucket.unmount()
    assert bucket.left == {}


def test_vanished__directory(bucket: Bucket) -> None:
    """A directory that is gone is said to be gone, and unmounting leaves nothing behind."""
    place = bucket.folder / "parent" / "m"
    place.mkdir(parents=True)
    record = live.mount(bucket.url, place, mounter="s3fs", settings=bucket.settings)
    pid = worker(record)
    subprocess.run(["umount", "-l", place], check=True)
    place.parent.rename(bucket.folder / "moved")
    os.kill(pid, signal.SIGKILL)
    until(lambda: "is gone, or another" in record.state.health, 10, "the loss to be noticed")
    live.unmount(place, settings=bucket.settings)
    assert live.status(place, settings=bucket.settings) is None


# Refused, with nothing left behind


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo the bucket is not yours; exit 3", r"did not mount: it ended, exit code 3: the bucket is not yours"),
        ("kill -9 $$", r"did not mount: it ended, by SIGKILL"),
    ],
)
def test_mounter__dies_at_once(bucket: Bucket, script: str, message: str) -> None:
    """A mounter that dies at once is told in a sentence, and nothing is left behind."""
    wrapped(bucket, "rclone", script)
    with pytest.raises(HoldfastError, match=message):
        bucket.mount("rclone")
    assert bucket.left == {}


def test_mounter__dies_again_and_again(bucket: Bucket) -> None:
    """A mounter that dies again and again is started again, ever later, and unmounting leaves nothing behind."""
    wrapped(bucket, "rclone", '$REAL "$@" & sleep 2; kill -9 $!; exit 1')
    record = bucket.mount("rclone")
    until(lambda: record.state.restarts >= 2, 30, "the second restart")
    bucket.unmount(discard=True)
    assert bucket.left == {}


def test_mounter__leaves_a_dead_mount_point(bucket: Bucket) -> None:
    """A mounter that mounts and does not live to answer leaves no dead mount point."""
    wrapped(
        bucket,
        "rclone",
        '$REAL "$@" & while ! grep -q " $3 " /proc/self/mountinfo; do :; done; kill -9 $!; exit 1',
    )
    with pytest.raises(HoldfastError, match="dead mount point, which was taken away"):
        bucket.mount("rclone")
    assert bucket.left == {}


def test_mounter__hangs(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mounter that mounts and then does not answer is cut off and told in a sentence, and nothing is left behind."""
    wrapped(
        bucket, "rclone",
        '$REAL "$@" & while ! grep -q " $3 " /proc/self/mountinfo; do :; done; kill -STOP $!; sleep 60',
    )  # fmt: skip
    with pytest.raises(HoldfastError, match="mounted, and does not answer within 1 s"):
        bucket.mount("rclone", "deadline=1")
    assert bucket.left == {}


@needs_root
@pytest.mark.parametrize("way", ["link", "moved"])
def test_mount__directory_turned_elsewhere(bucket: Bucket, way: str) -> None:
    """Who may write above a directory cannot have root mount elsewhere: a link that is put in its path while a mounter starts is not followed, and nothing stays mounted."""
    above, other = bucket.folder / "uploads", bucket.folder / "other"
    for folder in (above, other):
        (folder / "images").mkdir(parents=True)
    turn = {"link": f"ln -s {other} {above}", "moved": "true"}[way]
    wrapped(bucket, "rclone", f'if [ "$1" = mount ]; then mv {above} {above}.real; {turn}; fi; exec $REAL "$@"')
    with pytest.raises(ConflictError, match="was moved, or a link put in its path"):
        live.mount(bucket.url, above / "images", mounter="rclone", settings=bucket.settings)
    assert [each.dir for each in mounts() if each.source == bucket.url] == []
    assert [each.dir for each in mounts() if each.dir.startswith(f"{bucket.folder}/")] == []
    assert bucket.left == {}
    assert oct((other / "images").stat().st_mode & 0o7777) == "0o755"
    assert attributes(other / "images").count("i") == 0
    assert os.listdir(other / "images") == os.listdir(f"{above}.real/images") == []


ORDINARY = """
import os, signal
from pathlib import Path
from tests.mount.live import Bucket, until
from tests.services import Service

bucket = Bucket(Service("ceph", {store!r}, {env!r}), Path({folder!r}), {url!r})
record = bucket.mount({mounter!r})
assert (bucket.directory / "hello.txt").read_text() == "hello"
assert bucket.directory.stat().st_uid == os.getuid() == 65534
os.kill(record.state.worker.pid, signal.SIGKILL)
until(lambda: record.state.restarts == 1 and record.state.state == "mounted", 20, "the mount")
(bucket.directory / "new.txt").write_text("new")
until(lambda: "new.txt" in {{info.key for info in bucket.store.list("")}}, 30, "it to be sent")
state = record.state
for process in (state.supervisor, state.worker):
    os.kill(process.pid, signal.SIGKILL)
until(lambda: not record.is_served, 10, "their end")
record = bucket.mount({mounter!r})
assert (bucket.directory / "new.txt").read_text() == "new"
bucket.unmount()
assert bucket.store.get("new.txt").data == b"new"
print(bucket.left)
"""


@needs_root
@pytest.mark.parametrize("mounter", MOUNTERS)
def test_mount__by_an_ordinary_user(bucket: Bucket, mounter: str) -> None:
    """An ordinary user mounts a bucket by fusermount3, has it again when its mounter is killed, or all of its processes were, and unmounts it, all with his own rights."""
    for path in (bucket.folder, bucket.directory):
        os.chown(path, 65534, 65534)
    for path in [path for path in bucket.folder.parents if path.name.startswith(("pytest-", "popen-"))]:
        path.chmod(0o711)
    script, node, root = bucket.folder / "script.py", bucket.folder / "fuse", Path(__file__).parents[2]
    given = {"store": bucket.service.store_url, "env": dict(bucket.service.env), "url": bucket.url}
    script.write_text(ORDINARY.format(**given, folder=str(bucket.folder), mounter=mounter))
    # In a mount namespace of its own, whose device others than root may open; Python may lie where only root can read.
    words = f"mknod {node} c 10 229 && chmod 666 {node} && mount --bind {node} /dev/fuse && "
    words += "exec setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=+dac_read_search "
    words += f"--ambient-caps=+dac_read_search {sys.executable} {script}"
    environ = {**os.environ, "PYTHONPATH": f"{root}:{root / 'src'}", "HOME": str(bucket.folder)}
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", words], env=environ, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stdout == "{}\n", done.stdout + done.stderr


@needs_root
def test_mounts__whose_directories_change_places(bucket: Bucket) -> None:
    """Of two mounts whose directories changed places neither serves the other's bucket, and each comes back with its directory."""
    places = [bucket.folder / name / "images" for name in ("x", "y")]
    records = []
    for number, place in enumerate(places):
        place.mkdir(parents=True)
        bucket.store.put(f"{number}/only.txt", b"%d" % number)
        records.append(live.mount(f"{bucket.url}/{number}", place, mounter="rclone", settings=bucket.settings))

    def change_places() -> None:
        for one, other in (("x", "t"), ("y", "x"), ("t", "y")):
            (bucket.folder / one).rename(bucket.folder / other)

    change_places()
    until(lambda: {each.state.state for each in records} == {"remounting"}, 10, "both to be taken away")
    until(lambda: [mounted_at(str(place)) for place in places] == [None, None], 10, "both to be gone")
    change_places()
    until(lambda: {each.state.state for each in records} == {"mounted"}, 30, "both to be back")
    assert [(place / "only.txt").read_text() for place in places] == ["0", "1"]
    for place in places:
        live.unmount(place, settings=bucket.settings)
    assert bucket.left == {}


@needs_root
def test_mount__nobody_comes_before_it_is_shown(bucket: Bucket) -> None:
    """Where root's mounter mounts first, no other user can come."""
    bucket.mount("rclone", "allow_other")
    places = Path("/run/holdfast")
    assert (places.stat().st_uid, places.stat().st_mode & 0o777) == (0, 0o700)
    bucket.unmount()


@needs_root
def test_unmount__directory_moved(bucket: Bucket) -> None:
    """A mount whose directory was moved with the one above it is taken away where it is by then, and nothing at its old path."""
    above = bucket.folder / "uploads"
    (above / "images").mkdir(parents=True)
    record = live.mount(bucket.url, above / "images", mounter="rclone", settings=bucket.settings)
    above.rename(f"{above}.real")
    assert mounted_at(f"{above}.real/images") is not None
    until(lambda: record.state.state == "remounting", 10, "the loss to be seen")
    until(lambda: mounted_at(f"{above}.real/images") is None, 10, "the mount to be gone")
    until(lambda: "is gone, or another" in record.state.health, 10, "the reason")
    Path(f"{above}.real").rename(above)
    until(lambda: record.state.state == "mounted", 30, "the mount")
    assert (above / "images/hello.txt").read_text() == "hello"
    live.unmount(above / "images", settings=bucket.settings)
    assert bucket.left == {}


@pytest.mark.slow
def test_mounter__never_mounts(bucket: Bucket) -> None:
    """A mounter that never mounts is ended after twenty seconds, with what it printed."""
    wrapped(bucket, "rclone", "echo thinking; exec sleep 120")
    with pytest.raises(HoldfastError, match="hangs: it has not mounted within 20 s; it printed: thinking"):
        bucket.mount("rclone")
    assert bucket.left == {}


def test_needs__that_are_lacking(bucket: Bucket) -> None:
    """A mount that lacks what the use needs is refused, with what it lacks and why."""
    with pytest.raises(UnsupportedError, match=r"lacks what is needed: rename \(nothing can be written\)"):
        bucket.mount("rclone", "ro", needs=["rename"])
    assert bucket.left == {}
    assert bucket.mount("rclone", needs=["rename", "overwrite", "append", "utime"]).state.state == "mounted"


@pytest.mark.parametrize("mounter", MOUNTERS)
def test_bucket__that_is_not_there(bucket: Bucket, mounter: str) -> None:
    """A bucket that does not exist is no mount that seems to work."""
    bucket.url = "s3://no-such-bucket-of-ours"
    with pytest.raises(NotFoundError, match="no-such-bucket-of-ours"):
        bucket.mount(mounter)
    assert bucket.left == {}


# Unmounting


def test_unmount__in_use(bucket: Bucket) -> None:
    """A mount that somebody uses stays, and who uses it is named; `--wait` waits for him, `--discard` does not."""
    bucket.mount("s3fs")
    code = "import sys; f=open(sys.argv[1]); print('up',flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(bucket.directory / "hello.txt")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        holder.stdout.readline()
        with pytest.raises(BusyError, match=rf"in use: python.* \(process {holder.pid}\) holds .*hello.txt"):
            bucket.unmount()
        said: list[str] = []
        waiting = threading.Thread(target=lambda: bucket.unmount(wait=True, say=said.append))
        waiting.start()
        until(lambda: bool(said), 5, "the holder to be named")
        assert str(holder.pid) in said[0]
        assert mounted_at(str(bucket.directory)) is not None
        holder.stdin.close()
        waiting.join(20)
    assert bucket.left == {}
    bucket.mount("s3fs")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        bucket.unmount(discard=True)
        holder.kill()
    assert bucket.left == {}
    with pytest.raises(NotFoundError, match="no live bucket"):
        bucket.unmount()


@pytest.mark.parametrize("both", [False, True])
def test_supervisor__killed(bucket: Bucket, *, both: bool) -> None:
    """A mount whose supervisor was killed is told apart, can be mounted again, and is cleaned up by unmounting."""
    record = bucket.mount("rclone")
    supervisor, pid = record.state.supervisor, worker(record)
    assert supervisor is not None
    os.kill(supervisor.pid, signal.SIGKILL)
    until(lambda: record.state.state == "unsupervised", 5, "the loss to be seen")
    assert (bucket.directory / "hello.txt").read_text() == "hello"
    if both:
        os.kill(pid, signal.SIGKILL)
        until(lambda: record.state.state == "dead", 5, "the loss to be seen")
        assert mounted_at(str(bucket.directory)) is not None
        assert bucket.mount("rclone").state.state == "mounted"
    bucket.unmount()
    assert bucket.left == {}


def test_unsent__of_a_dead_mount(bucket: Bucket) -> None:
    """What a mount that died has not sent keeps its cache, is sent by the next mount of the same, and is given up only when asked."""
    record = bucket.mount("rclone", "vfs-write-back=60s")
    (bucket.directory / "unsent.txt").write_text("unsent")
    supervisor, pid = record.state.supervisor, worker(record)
    assert supervisor is not None
    os.kill(supervisor.pid, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    until(lambda: record.state.state == "dead", 5, "the loss to be seen")
    with pytest.raises(ConflictError, match=r"not sent: unsent\.txt"):
        bucket.unmount()
    with pytest.raises(ConflictError, match=r"has not sent unsent\.txt"):
        bucket.mount("s3fs")
    bucket.mount("rclone", "vfs-write-back=1s")
    bucket.unmount(wait=True)
    assert bucket.store.get("unsent.txt").data == b"unsent"
    assert bucket.left == {}
