"""Small objects into files: the modes and times that they get as they are written."""

from __future__ import annotations

import os
import stat
import struct

import pytest

from holdfast.cache.tree import umask_now
from holdfast.model.digest import digest_of
from holdfast.model.manifest import Entry, Manifest
from holdfast.store.memory import MemoryStore
from holdfast.transfer.download import Download
from holdfast.transfer.engine import Engine
from holdfast.transfer.plan import plan_objects

MODES = [0o644, 0o755, 0o600, 0o444, 0o664, 0o777, 0o000, 0o222, None]
TIME = 1_600_000_000_123_456_789


@pytest.fixture
def umask():
    """Sets the process's umask, and sets it back."""
    before = umask_now()
    yield os.umask
    os.umask(before)


@pytest.fixture
def manifest():
    """A file of each mode in a directory that may not be written."""
    files = [
        Entry(f"d/{number}", mode=mode, mtime=TIME + number, size=1, digest=digest_of(b"x"))
        for number, mode in enumerate(MODES)
    ]
    return Manifest.of([Entry("d", "dir", mode=0o555, mtime=TIME), *files])


@pytest.fixture
def store(manifest):
    """The files as objects of a tree."""
    found = MemoryStore("download")
    for item in plan_objects("n", "1.0", "tree", manifest.files).small:
        found.put(item.key, b"x")
    return found


def lay_out(store, manifest, folder):
    plan = plan_objects("n", "1.0", "tree", manifest.files)
    Download(store, Engine(), folder / "copy", folder / "scratch").files(plan, manifest)
    return {entry.path: (folder / "copy" / entry.path).stat() for entry in manifest.entries}


def expected(mode, mask):
    """As the umask leaves it; the owner may always read."""
    return 0o666 & ~mask if mode is None else mode & ~mask | 0o400


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077, 0o000, 0o477])
def test_small__mode_and_time(tmp_path, umask, store, manifest, mask):
    """Each file has its mode through the umask and its time, to the nanosecond; so has the directory."""
    umask(mask)
    found = lay_out(store, manifest, tmp_path)
    for number, mode in enumerate(MODES):
        status = found[f"d/{number}"]
        assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (expected(mode, mask), TIME + number)
    assert (found["d"].st_mtime_ns, stat.S_IMODE(found["d"].st_mode)) == (TIME, 0o555 & ~mask | 0o700)


def test_small__default_acl(tmp_path, umask, store, manifest):
    """A default ACL of the folder, which the kernel puts in the umask's place, changes no mode."""
    umask(0o027)
    # Version 2; the owner, the group and others may do everything.
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", tag, 7, 0xFFFFFFFF) for tag in (0x01, 0x04, 0x20))
    try:
        os.setxattr(tmp_path, "system.posix_acl_default", acl)
    except OSError as error:
        pytest.skip(f"no ACLs here: {error}")
    (tmp_path / "made").touch()
    assert stat.S_IMODE((tmp_path / "made").stat().st_mode) == 0o666  # it is in force
    found = lay_out(store, manifest, tmp_path)
    modes = {
        number: stat.S_IMODE(found[f"d/{number}"].st_mode) for number, mode in enumerate(MODES) if mode is not None
    }
    assert modes == {number: expected(mode, 0o027) for number, mode in enumerate(MODES) if mode is not None}


def test_small__left_by_a_killed_run(tmp_path, umask, store, manifest):
    """What an earlier run left, whole or not, readable or not, ends with the mode and time of the version."""
    umask(0o022)
    (tmp_path / "copy" / "d").mkdir(parents=True)
    for number, data in enumerate((b"x", b"y", b"longer")):
        (tmp_path / "copy" / "d" / str(number)).write_bytes(data)
        (tmp_path / "copy" / "d" / str(number)).chmod(0o440)
    found = lay_out(store, manifest, tmp_path)
    for number, mode in enumerate(MODES):
        status = found[f"d/{number}"]
        assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (expected(mode, 0o022), TIME + number)
        assert (tmp_path / "copy" / "d" / str(number)).read_bytes() == b"x"
