"""What goes wrong beneath, beside and above a mounted version, through real processes and the kernel: an error that is clear, and nothing left behind."""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import holdfast
from holdfast.mount import device
from tests.mount.conftest import mounted_below, processes_naming
from tests.mount.forwarder import forwarded
from tests.mount.test_daemon_worker import until
from tests.mount.test_mount_version import Shop
from tests.mount.versions import ROOT, mounts, needs_fuse  # noqa: F401

if TYPE_CHECKING:
    from tests.services import Service

pytestmark = needs_fuse


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A store with one version of nlp/bert."""
    return Shop(tmp_path, monkeypatch)


def expect_eio(path: Path) -> None:
    """Reading it fails as a disk does."""
    with pytest.raises(OSError) as caught:
        path.read_bytes()
    assert caught.value.errno == errno.EIO


def nothing_is_left(shop: Shop) -> None:
    until(lambda: processes_naming(shop.folder) == [], 5.0)
    assert mounted_below(shop.folder) == []
    assert shop.mounts() == []


# The store


@pytest.mark.parametrize("how", ["silent", "closed"])
def test_store__gone(mounts, ceph: Service, tmp_path, monkeypatch, how):  # noqa: F811
    """While the store is silent or gone, a mount gives EIO for what is not here, in time, and what is here; then all is well again."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("here", "there", "elsewhere"):
        (source / name).write_bytes(os.urandom(3_000_000))
    for name, value in ceph.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    store = ceph.fresh_store()
    holdfast.open(store, assets_dir=tmp_path / "assets").push(source, "n/v")
    with forwarded(ceph.env["AWS_ENDPOINT_URL"]) as forwarder:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{forwarder.port}")
        arguments = {"spec": "n/v", "store": store, "assets_dir": tmp_path / "assets", "deadline": 2.0}
        place = _mounted_version(mounts, arguments)
        assert (place / "here").read_bytes() == (source / "here").read_bytes()
        if how == "silent":
            forwarder.silent = True
        else:
            forwarder.close()
        begun = time.monotonic()
        expect_eio(place / "there")
        assert time.monotonic() - begun < 20
        assert sorted(os.listdir(place)) == ["elsewhere", "here", "there"]
        assert (place / "here").read_bytes() == (source / "here").read_bytes()
        until(lambda: "worker" in [event.event for event in mounts.record.events()])
        if how == "silent":
            forwarder.silent = False
            until(lambda: _is_read(place / "elsewhere"))
            assert (place / "there").read_bytes() == (source / "there").read_bytes()
    assert mounts.record.state.restarts == 0


def _mounted_version(mounts, arguments: dict) -> Path:  # noqa: F811
    from holdfast.mount.daemon import start
    from holdfast.mount.order import Order

    plain = {name: str(value) if isinstance(value, Path) else value for name, value in arguments.items()}
    place = mounts.folder / "mounted"
    place.mkdir()
    mounts.made.append(start(mounts.registry, place, "n/v", Order("holdfast.mount.version:open_view", plain)))
    return place


def _is_read(path: Path) -> bool:
    try:
        return bool(path.read_bytes())
    except OSError:
        return False


def test_store__gone_is_told(shop):
    """While reads of a mount fail `asset mounts` says why; once they do well again it does not."""
    shop.asset("mount", "nlp/bert", shop.place)
    (before,) = shop.mounts()
    store, away = shop.folder / "store", shop.folder / "away"
    store.rename(away)
    expect_eio(shop.place / "big")
    until(lambda: shop.mounts()[0]["health"] != before["health"])
    (during,) = shop.mounts()
    assert during["state"] == "mounted"
    assert "is missing, though a version needs it" in during["health"]
    away.rename(store)
    assert (shop.place / "big").read_bytes() == (shop.source / "big").read_bytes()
    until(lambda: shop.mounts()[0]["health"] == before["health"])
    shop.asset("unmount", shop.place)
    nothing_is_left(shop)


@pytest.mark.parametrize("how", ["zeros", "truncated", "removed", "another's"])
def test_store__other_bytes(shop, how):
    """Where packs are zeroed, cut off, removed or another's, reads through the kernel are EIO and never other bytes; an event says why."""
    (shop.source / "other").write_bytes(os.urandom(4_000_000))
    shop.repository.push(shop.source, "nlp/bert")
    shop.asset("mount", "nlp/bert", shop.place)
    expected = {name: (shop.source / name).read_bytes() for name in ("big", "other")}
    head = os.open(shop.place / "big", os.O_RDONLY)
    first = os.pread(head, 4096, 0)
    assert first == expected["big"][:4096]
    packs = [path for path in (shop.folder / "store").rglob("*") if path.is_file() and path.stat().st_size > 100_000]
    assert packs
    _spoil(packs, how)
    worker = shop.mounts()[0]["worker_pid"]
    for name, data in expected.items():
        for at in range(0, len(data), 300_000):
            got = _read_at(shop.place / name, at)
            assert got is None or (got and got == data[at : at + len(got)])
    assert _read_at(shop.place / "other", 3_900_000) is None
    with open(shop.place / "other", "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ):
        script = f"import mmap; f = open({str(shop.place / 'other')!r}, 'rb'); m = mmap.mmap(f.fileno(), 0, prot=1); print(m[3_900_000])"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
        assert (done.returncode, done.stdout) == (-signal.SIGBUS, b"")
    os.close(head)
    (log,) = (shop.folder / "state").rglob("events.log")
    until(lambda: '"worker"' in log.read_text())
    assert shop.mounts()[0]["worker_pid"] == worker


def _spoil(packs: list[Path], how: str) -> None:
    contents = [path.read_bytes() for path in packs]
    for number, path in enumerate(packs):
        path.chmod(0o644)
        if how == "zeros":
            path.write_bytes(b"\0" * len(contents[number]))
        elif how == "truncated":
            os.truncate(path, 1000)
        elif how == "removed":
            path.unlink()
        else:
            path.write_bytes(os.urandom(len(contents[number])))


def _read_at(path: Path, at: int) -> bytes | None:
    """64 KiB there, past the kernel's memory; None where that is EIO."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        return os.pread(descriptor, 65_536, at)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return None
    finally:
        os.close(descriptor)


def test_store__gone_before(shop):
    """Where nobody answers, or the store is not there, mounting says so in a sentence, and nothing is left behind."""
    code, _, errors = shop.asset("mount", "nlp/bert", shop.place, "--store", "http://127.0.0.1:9/p")
    assert code == 7
    assert "127.0.0.1:9" in errors
    (shop.folder / "store").rename(shop.folder / "away")
    code, _, errors = shop.asset("mount", "nlp/bert", shop.place)
    assert code in (3, 7)
    assert "Traceback" not in errors
    nothing_is_left(shop)


# The machine


def unprivileged(shop: Shop, script: str, *options: str, rights: str = "") -> tuple[int, str]:
    """Exit code and messages of ``asset mount`` in a mount namespace after a script there; ``rights`` are setpriv's words."""
    words = f"{script} exec setpriv {rights} {sys.executable} -m holdfast.cli mount nlp/bert {shop.place} {' '.join(options)}"
    done = subprocess.run(["unshare", "-m", "sh", "-c", words], capture_output=True, text=True, check=False, timeout=60)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def test_mount__not_permitted(shop):
    """A process that may not mount, as in a container without the right, is told so with what to give it; nothing is left behind."""
    code, errors = unprivileged(shop, "", rights="--bounding-set=-sys_admin")
    assert code == 1
    assert "the kernel does not let this process mount" in errors
    assert "CAP_SYS_ADMIN" in errors
    nothing_is_left(shop)


def test_mount__copy_that_is_closed(shop):
    """Where another user's copy in a shared cache may not be looked at, a mount reads the store."""
    copy = shop.repository.fetch("nlp/bert:0.0")
    for closed in (copy, copy / "sub", copy / "big"):
        mode = closed.stat().st_mode
        closed.chmod(0)
        rights = "--bounding-set=-dac_override,-dac_read_search --inh-caps=-dac_override,-dac_read_search"
        words = ["setpriv", *rights.split(), sys.executable, "-m", "holdfast.cli", "mount", "nlp/bert:0.0", shop.place]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        assert (shop.place / "big").read_bytes() == (shop.source / "big").read_bytes()
        assert (shop.place / "sub" / "7").read_bytes() == b"7"
        closed.chmod(mode)
        assert shop.asset("unmount", shop.place)[0] == 0
    nothing_is_left(shop)


def test_mount__no_device(shop):
    """Without the FUSE device the command says what to load or give, and nothing is left behind."""
    code, errors = unprivileged(
        shop, "mount -t tmpfs none /dev && mknod /dev/null c 1 3 && mknod /dev/urandom c 1 9 &&"
    )
    assert code == 1
    assert "/dev/fuse cannot be opened" in errors
    assert "modprobe fuse" in errors
    nothing_is_left(shop)


@pytest.fixture
def others_shop(shop: Shop) -> Shop:
    """The shop of an ordinary user."""
    for folder, _, files in os.walk(shop.folder):
        for path in (folder, *(os.path.join(folder, name) for name in files)):
            os.chown(path, 65534, 65534, follow_symlinks=False)
    return shop


# Python may lie where only root can read, and so may pytest's own folders.
AS_USER = "--reuid 65534 --regid 65534 --clear-groups --inh-caps=+dac_read_search --ambient-caps=+dac_read_search"


def test_mount__no_fusermount(others_shop):
    """An ordinary user without fusermount3 is told which package to install."""
    covered = " ".join(f"mount --bind /dev/null {path} &&" for path in device.HELPERS if os.path.exists(path))
    code, errors = unprivileged(others_shop, covered, rights=AS_USER)
    assert code == 1
    assert "needs fusermount3, which is not installed" in errors
    assert "package fuse3" in errors
    assert processes_naming(others_shop.folder) == []


def test_mount__for_others_by_an_ordinary_user(others_shop):
    """An ordinary user whom fuse.conf does not allow it cannot mount for others, and is told what to write there; for himself he can."""
    if not any(os.access(path, os.X_OK) for path in device.HELPERS):
        pytest.skip("fusermount3 is not installed")
    conf, fuse = others_shop.folder / "fuse.conf", others_shop.folder / "fuse"
    conf.write_text("")
    os.mknod(fuse, 0o020666, os.makedev(10, 229))
    fuse.chmod(0o666)
    # Seen at /mnt, for pytest's own folders are closed to others.
    script = f"mount --bind {fuse} /dev/fuse &&"
    script += f" mount --bind {conf} /etc/fuse.conf &&" if os.path.exists("/etc/fuse.conf") else ""
    script += f" mount --bind {others_shop.folder} /mnt &&"
    others_shop.place = Path("/mnt/mounted")
    code, errors = unprivileged(others_shop, script, rights=AS_USER)
    assert code == 0, errors
    for pid in processes_naming(others_shop.folder):
        os.kill(pid, signal.SIGKILL)
    until(lambda: processes_naming(others_shop.folder) == [])
    code, errors = unprivileged(others_shop, script, "-o", "allow_other", rights=AS_USER)
    assert code == 1
    assert "user_allow_other in /etc/fuse.conf" in errors
    until(lambda: processes_naming(others_shop.folder) == [])


# The directory


def test_directory__with_a_dead_mount(shop):
    """A directory where another program left a dead mount is refused, with what takes that away, and nobody hangs or touches it."""
    shop.asset("mount", "nlp/bert", shop.place)
    os.kill(shop.mounts()[0]["supervisor_pid"], signal.SIGKILL)
    until(lambda: shop.mounts()[0]["state"] == "dead")
    shutil.rmtree(shop.folder / "state")  # now it is nobody's
    for below in ("", "sub"):
        code, _, errors = shop.asset("mount", "nlp/bert", shop.place / below)
        assert code == 4
        assert "umount -l" in errors or "inside another mount" in errors
    assert len(mounted_below(shop.folder)) == 1
    subprocess.run(["umount", "-l", shop.place], check=True)
    assert shop.asset("mount", "nlp/bert", shop.place)[0] == 0
    assert shop.asset("unmount", shop.place)[0] == 0


@pytest.mark.parametrize("letter", ["\f", "\r", "\x85", "\u2028"], ids=["feed", "return", "next", "separator"])
def test_directory__with_a_line_end_in_its_name(shop, letter):
    """A dead mount is seen, and unmounted, though its directory's name holds what Unicode takes for the end of a line."""
    place = shop.folder / f"a{letter}b"
    place.mkdir()
    assert shop.asset("mount", "nlp/bert", place)[0] == 0
    os.kill(shop.mounts()[0]["supervisor_pid"], signal.SIGKILL)
    until(lambda: shop.mounts()[0]["state"] == "dead")
    assert shop.asset("unmount", place)[0] == 0
    assert os.listdir(place) == []


def test_directory__vanished(shop):
    """Where the directory of a mount was moved away, the mount goes on there, its record says where it was, and unmounting ends it all the same."""
    place = shop.folder / "above" / "mounted"
    place.mkdir(parents=True)
    assert shop.asset("mount", "nlp/bert", place)[0] == 0
    (shop.folder / "above").rename(shop.folder / "moved")
    assert (shop.folder / "moved" / "mounted" / "sub" / "7").read_bytes() == b"7"
    code, _, errors = shop.asset("unmount", place)
    assert code == 0, errors
    until(lambda: processes_naming(shop.folder) == [])
    assert mounted_below(shop.folder) == []
    assert shop.mounts() == []


def test_directory__removed_elsewhere(shop):
    """A directory that is removed in another mount namespace takes the mount with it: its processes end, and the record says so."""
    assert shop.asset("mount", "nlp/bert", shop.place)[0] == 0
    subprocess.run(["unshare", "-m", "sh", "-c", f"umount {shop.place} && rmdir {shop.place}"], check=True)
    until(lambda: processes_naming(shop.folder) == [])
    assert shop.mounts()[0]["state"] == "unmounted"
    assert shop.asset("unmount", shop.place)[0] == 0
    nothing_is_left(shop)


def test_mount__many_at_once(shop):
    """Of several who mount at one directory at once one mounts, and the others are told."""
    codes: list[tuple[int, str, str]] = []
    threads = [
        threading.Thread(target=lambda: codes.append(shop.asset("mount", "nlp/bert", shop.place))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [code for code, _, _ in codes].count(0) == 1
    assert not [errors for _, _, errors in codes if "Traceback" in errors]
    assert len(mounted_below(shop.folder)) == 1
    assert (shop.place / "sub" / "7").read_bytes() == b"7"
    assert shop.asset("unmount", shop.place)[0] == 0
    nothing_is_left(shop)
