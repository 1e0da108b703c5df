"""What only a store below a mount does: mounts that fail, names that are not seen, the server's word on what is missing."""

from __future__ import annotations

import errno
import os
import threading
import time
from typing import TYPE_CHECKING

import pytest

from holdfast.errors import (
    AccessError,
    ChangedError,
    ObjectNotFoundError,
    UnreachableError,
    UnsupportedError,
)
from holdfast.store.base import CREATE
from holdfast.store.deadline import LateError, within
from holdfast.store.far import Far
from holdfast.store.filesystem import file_system_of, mount_points
from holdfast.store.memory import MemoryStore
from holdfast.store.mount import MountStore
from holdfast.store.mountpoint import MountPoint, followed

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def root(tmp_path):
    """A folder that stands for a mount, with a store in it."""
    (tmp_path / "mnt" / "store" / "a").mkdir(parents=True)
    (tmp_path / "mnt" / "store" / "a" / "1").write_bytes(b"one")
    return tmp_path / "mnt"


def point(root: Path, seconds: float = 20.0) -> MountPoint:
    return MountPoint("s3://bucket/store", str(root), str(root / "store"), seconds)


class Hanging(MountPoint):
    """A mount whose calls do not come back until the test ends."""

    def call(self, call, size=0):
        return super().call(lambda: self.released.wait() and call(), 0)


@pytest.fixture
def hanging(root):
    mount = Hanging("s3://bucket/store", str(root), str(root / "store"), 0.2)
    released = threading.Event()
    object.__setattr__(mount, "released", released)
    yield mount
    released.set()


def test_reads(root):
    """Files are objects: whole, in ranges, their length and time."""
    store = MountStore(point(root))
    assert store.url == "s3://bucket/store"
    assert bytes(store.get("a/1").data) == b"one"
    assert bytes(store.get_range("a/1", 1, 10).data) == b"ne"
    assert store.head("a/1").size == 3
    assert abs(store.head("a/1").modified - time.time()) < 60
    assert [info.key for info in store.list("")] == ["a/1"]
    assert store.list_level("").prefixes == ("a",)


def test_as_a_bucket(root):
    """A folder is no object and an empty one no prefix; what mounting programs hide there is not seen."""
    store = MountStore(point(root))
    (root / "store" / "empty" / "deeper").mkdir(parents=True)
    (root / "store" / "a" / ".fuse_hidden0000000300000001").write_bytes(b"x")
    (root / "store" / "a" / ".nfs000000000123456700000001").write_bytes(b"x")
    for look in (store.get, store.head, lambda key: store.get_range(key, 0, 1)):
        with pytest.raises(ObjectNotFoundError):
            look("a")
    assert store.list_level("").prefixes == ("a",)
    assert [info.key for info in store.list("a")] == ["a/1"]
    assert list(store.list("nothing")) == []
    assert store.list_level("a/1").objects == ()


def test_pinned(root):
    """A range pinned to a version that was written over is refused as changed."""
    store = MountStore(point(root))
    version = store.head("a/1").version
    assert bytes(store.get_range("a/1", 0, 3, version=version).data) == b"one"
    (root / "store" / "a" / "1").write_bytes(b"other")
    with pytest.raises(ChangedError):
        store.get_range("a/1", 0, 3, version=version)


def test_read_only(root):
    """Nothing is written: the error says why, and names the way out."""
    store = MountStore(point(root))
    assert not store.promises().create
    for write in (
        lambda: store.put("k", b"", CREATE),
        lambda: store.delete("a/1"),
        lambda: store.copy("a/1", "b"),
        lambda: store.put_file("k", None, 0, None),
    ):
        with pytest.raises(UnsupportedError) as caught:
            write()
        assert str(root) in caught.value.message
        assert "asset login" in caught.value.hint
    with pytest.raises(UnsupportedError):
        store.sign("a/1", "GET", 60)


def test_missing(tmp_path):
    """A mount that is not there is named, and not taken for an empty store."""
    store = MountStore(point(tmp_path / "nowhere"))
    with pytest.raises(UnreachableError) as caught:
        store.get("a/1")
    assert str(tmp_path / "nowhere") in caught.value.message


def test_not_mounted(tmp_path):
    """The empty folder of a bucket that is not mounted is not taken for an empty bucket."""
    (tmp_path / "mnt").mkdir()
    store = MountStore(point(tmp_path / "mnt"))
    for look in (lambda: store.get("a/1"), lambda: store.list_level(""), lambda: list(store.list(""))):
        with pytest.raises(UnreachableError, match="nothing is mounted"):
            look()


def test_a_file_in_its_place(tmp_path):
    """A mount that is no folder is told so."""
    (tmp_path / "mnt").write_bytes(b"")
    with pytest.raises(UnreachableError, match="no folder"):
        MountStore(point(tmp_path / "mnt")).get("a/1")


@pytest.mark.parametrize("code", [errno.ENOTCONN, errno.ESTALE, errno.EIO])
def test_stale(root, monkeypatch, code):
    """ "Transport endpoint is not connected" and its like are the mount's, which is named."""
    store = MountStore(point(root))
    store.get("a/1")

    def fail(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("holdfast.store.mount._info", fail)
    for look in (store.get, store.head, store.list_level):
        with pytest.raises(UnreachableError) as caught:
            look("a/1" if look != store.list_level else "a")
        assert str(root) in caught.value.message
        assert os.strerror(code) in caught.value.message


def test_hanging(hanging):
    """A call that does not come back ends in an error which names the mount and the setting."""
    start = time.monotonic()
    for look in (lambda s: s.get("a/1"), lambda s: s.list_level(""), lambda s: s.get_range("a/1", 0, 1)):
        with pytest.raises(UnreachableError, match="has not answered") as caught:
            look(MountStore(hanging))
        assert "mount_timeout" in caught.value.hint
    assert time.monotonic() - start < 5


def test_no_right(root, monkeypatch):
    """A file that may not be read is refused as not allowed."""

    def fail(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("holdfast.store.mount._info", fail)
    with pytest.raises(AccessError):
        MountStore(point(root)).get("a/1")


def test_not_found__asked_elsewhere(root):
    """What the mount does not show is asked of the server, who knows better."""
    far = MemoryStore("far")
    far.put("a/2", b"two" * 5)
    store = MountStore(point(root), Far(lambda: far))
    assert bytes(store.get("a/2").data) == b"two" * 5
    assert bytes(store.get_range("a/2", 3, 3).data) == b"two"
    assert store.head("a/2").size == 15
    with pytest.raises(ObjectNotFoundError):
        store.get("a/3")


def test_not_found__nobody_answers(root):
    """Where the server does not answer, what the mount shows is believed."""

    class Silent:
        def __getattr__(self, name):
            def silent(*_, **__):
                raise UnreachableError("no answer")

            return silent

    store = MountStore(point(root), Far(Silent))
    with pytest.raises(ObjectNotFoundError):
        store.get("a/2")
    assert store.head("a/1").size == 3
    assert [info.key for info in store.list("a")] == ["a/1"]


def test_far__left_alone_after_silence():
    """A server that does not answer is not asked again for half a minute, so that not every question waits for it."""
    now, asked = [0.0], []

    def ask(_):
        asked.append(now[0])
        raise UnreachableError("no answer", hint="look")

    far = Far(lambda: None, lambda: now[0])
    for moment in (0.0, 1.0, 29.0, 31.0):
        now[0] = moment
        with pytest.raises(UnreachableError, match="no answer") as caught:
            far.ask(ask)
        assert caught.value.hint == "look"
    assert asked == [0.0, 31.0]
    with pytest.raises(UnreachableError):  # what is beside it on that server is silent with it
        Far(lambda: None, lambda: now[0], beside=far).ask(lambda _: None)


def test_proved_once(root):
    """Whether it is the right bucket is found out once, before anything is read."""
    seen = []
    store = MountStore(point(root), prove=lambda store: seen.append(store.read_near("a/1")))
    assert seen == []
    store.get("a/1")
    store.list_level("")
    assert seen == [b"one"]


def test_unmounted_meanwhile(root, monkeypatch):
    """A mount that was taken away while it was in use is told, not taken for a store that lost everything."""
    store = MountStore(point(root))
    store.get("a/1")
    monkeypatch.setattr(store, "_device", -1)
    with pytest.raises(UnreachableError, match="unmounted"):
        store.get("a/2")
    with pytest.raises(UnreachableError, match="unmounted"):
        store.list_level("b")


def test_followed(tmp_path):
    """Links and ``..`` are followed before anything is compared."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert followed(f"{tmp_path}/link/x/../y", 5) == f"{tmp_path.resolve()}/real/y"


def test_within():
    """A call in time answers or raises as it does; a late one is an error, after which others go on."""
    assert within(5, lambda: 3) == 3
    with pytest.raises(ValueError, match="mine"):
        within(5, int_or_fail)
    released = threading.Event()
    with pytest.raises(LateError):
        within(0.05, released.wait)
    assert within(5, lambda: 4) == 4
    released.set()


def int_or_fail():
    raise ValueError("mine")


TABLE = """\
22 27 0:21 / /proc rw - proc proc rw
27 1 254:0 / / rw - ext4 /dev/vda rw
40 27 0:40 / /mnt/s3 rw - fuse.s3fs s3fs rw
41 27 0:41 / /mnt/with\\040blank rw - ceph 10.0.0.1:/ rw
42 27 0:42 / /mnt/nfs rw - nfs4 server:/x rw
43 27 0:43 / /mnt/old rw - nfs server:/x rw
44 27 0:44 / /mnt/gone rw - fuse.rclone a: rw
45 27 0:45 / /mnt/gone rw - ext4 /dev/vdb rw
"""


@pytest.mark.parametrize(
    ("path", "kind", "atomic"),
    [
        ("/home/x", "ext4", True),
        ("/mnt/s3/a/b", "fuse.s3fs", False),
        ("/mnt/s3x", "ext4", True),
        ("/mnt/with blank/a", "ceph", True),
        ("/mnt/nfs", "nfs4", True),
        ("/mnt/old/a", "nfs", False),
        ("/mnt/gone", "ext4", True),
    ],
)
def test_file_systems(path, kind, atomic):
    """A path's file system is that of its deepest, latest mount; those of disks and four shared ones create atomically, no FUSE does."""
    found = file_system_of(path, TABLE)
    assert (found.type, found.is_atomic) == (kind, atomic)


@pytest.mark.parametrize("letter", ["\f", "\r", "\x85", "\u2028"], ids=["feed", "return", "next", "separator"])
def test_file_systems__below_an_odd_name(letter):
    """A mount whose directory's name holds what Unicode takes for the end of a line is in the table as any other."""
    table = f"1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 0:9 / /m/a{letter}b rw - fuse.s3fs s3fs rw\n"
    assert file_system_of(f"/m/a{letter}b/x", table).type == "fuse.s3fs"
    assert mount_points(table) == {"/": "ext4", f"/m/a{letter}b": "fuse.s3fs"}


def test_file_systems__here(tmp_path):
    """The kernel's own table is read, and a file system nobody knows is not relied on."""
    assert file_system_of(str(tmp_path)).root
    assert not file_system_of("/x", "").is_atomic


def test_a_link_to_a_mount(root, tmp_path):
    """A mount that is named by a link is of the file system that the link leads to, not of the link's own."""
    (tmp_path / "link").symlink_to("/proc")
    assert point(tmp_path / "link").file_system.type == "proc"
    assert not point(tmp_path / "link").file_system.is_atomic
