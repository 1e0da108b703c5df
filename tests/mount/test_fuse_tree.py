"""A mount beside the plain folder that it shows: the same tree, the same bytes, through the kernel."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import random
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.mount.versions import mounts, needs_fuse  # noqa: F401

pytestmark = needs_fuse

OPENS = pytest.mark.parametrize("opens", ["none", "passthrough"])

names = st.text(
    st.characters(blacklist_characters="/\0", blacklist_categories=("Cs",)), min_size=1, max_size=20
).filter(lambda name: name not in (".", "..") and len(name.encode()) <= 255)
trees = st.recursive(
    st.one_of(st.binary(max_size=9000), st.integers(0, 300_000), st.just("link")),
    lambda inner: st.dictionaries(names, inner, max_size=6),
    max_leaves=25,
)


def write(path: Path, tree: object) -> None:
    """Make a tree: bytes, a size of random bytes, a symlink, or a folder of such."""
    if isinstance(tree, dict):
        path.mkdir()
        for name, inner in tree.items():
            write(path / name, inner)
        os.chmod(path, 0o755 if len(path.name) % 2 else 0o700)
    elif tree == "link":
        path.symlink_to("../somewhere else")
    else:
        path.write_bytes(tree if isinstance(tree, bytes) else random.Random(tree).randbytes(tree))
        os.chmod(path, 0o644 if len(path.name) % 2 else 0o555)
        os.utime(path, ns=(1, 1_600_000_000_123_456_789 + len(path.name)))


def shown(folder: Path) -> dict[str, tuple]:
    """All that a program can see of a folder."""
    found = {}
    for place, folders, files in os.walk(folder):
        for name in [".", *folders, *files]:
            path = os.path.join(place, name)
            status = os.lstat(path)
            kind = stat.S_IFMT(status.st_mode)
            content: object = None
            if kind == stat.S_IFREG:
                content = content_of(path)
            elif kind == stat.S_IFLNK:
                content = os.readlink(path)
            size = status.st_size if kind != stat.S_IFDIR else 0
            key = os.path.relpath(path, folder)
            found[key] = (status.st_mode, size, status.st_mtime_ns, status.st_nlink, status.st_uid, content)
    return found


def content_of(path: str) -> bytes:
    """A file's bytes, without the question whether it is a terminal, which ``open`` asks each time and no kernel keeps."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return b"".join(iter(lambda: os.read(descriptor, 1 << 20), b""))
    finally:
        os.close(descriptor)


@OPENS
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(tree=st.dictionaries(names, trees, min_size=1, max_size=6))
def test_tree__is_the_folders(mounts, tmp_path_factory, opens, tree):  # noqa: F811
    """A mount shows the names, attributes, links and bytes of what it was made of, and nothing else, on every walk."""
    source = tmp_path_factory.mktemp("tree") / "source"
    write(source, tree)
    place = mounts.mount(folder=source, opens=opens, name="mounted")
    expected = shown(source)
    assert shown(place) == expected
    assert shown(place) == expected
    mounts.end()


@OPENS
def test_reads__anywhere(mounts, tmp_path, opens):  # noqa: F811
    """Reads at any offset, of any length, by several programs at once, by descriptor and by memory map, give the file's bytes."""
    content = random.Random(1).randbytes(5_000_123)
    source = tmp_path / "source"
    source.mkdir()
    (source / "big").write_bytes(content)
    place = mounts.mount(folder=source, opens=opens)
    wrong = []

    def read(seed: int) -> None:
        rng = random.Random(seed)
        with open(place / "big", "rb", buffering=0) as file:
            for _ in range(200):
                offset, size = rng.randrange(5_100_000), rng.choice([1, 100, 4096, 65536, 1 << 20])
                if os.pread(file.fileno(), size, offset) != content[offset : offset + size]:
                    wrong.append((offset, size))

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    with open(place / "big", "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert mapped[:] == content


@OPENS
def test_writes__are_refused(mounts, tmp_path, opens):  # noqa: F811
    """Whatever writes fails with EROFS, and changes nothing."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_bytes(b"content")
    (source / "folder").mkdir()
    place = mounts.mount(folder=source, opens=opens)
    file, folder, new = place / "file", place / "folder", place / "new"
    deeds = {
        "create": lambda: os.open(new, os.O_CREAT | os.O_WRONLY),
        "write": lambda: os.open(file, os.O_WRONLY),
        "read and write": lambda: os.open(file, os.O_RDWR),
        "append": lambda: os.open(file, os.O_WRONLY | os.O_APPEND),
        "truncate": lambda: os.truncate(file, 0),
        "temporary": lambda: os.open(place, os.O_TMPFILE | os.O_RDWR),
        "unlink": lambda: os.unlink(file),
        "mkdir": lambda: os.mkdir(new),
        "rmdir": lambda: os.rmdir(folder),
        "rename": lambda: os.rename(file, new),
        "link": lambda: os.link(file, new),
        "symlink": lambda: os.symlink("file", new),
        "mknod": lambda: os.mknod(new),
        "chmod": lambda: os.chmod(file, 0o600),
        "chown": lambda: os.chown(file, 1, 1),
        "utime": lambda: os.utime(file),
        "setxattr": lambda: os.setxattr(file, "user.x", b"x"),
        "removexattr": lambda: os.removexattr(file, "user.x"),
    }
    for name, deed in deeds.items():
        with pytest.raises(OSError) as caught:
            deed()
        assert caught.value.errno == errno.EROFS, name
    assert sorted(os.listdir(place)) == ["file", "folder"]
    assert file.read_bytes() == b"content"


def test_directory__of_many(mounts, tmp_path):  # noqa: F811
    """A folder of 12,000 names is listed whole, and a program that goes back to where it was (seekdir) goes on from there."""
    source = tmp_path / "source"
    source.mkdir()
    wanted = [f"{number:05d}-{'x' * (number % 30)}".encode() for number in range(12_000)]
    for name in wanted:
        os.close(os.open(os.fsencode(source) + b"/" + name, os.O_CREAT | os.O_WRONLY))
    place = mounts.mount(folder=source)
    for _ in range(2):  # the second is out of the kernel's memory
        listed = _walked(place)
        assert sorted(name for name, _ in listed) == sorted([b".", b"..", *wanted])
        for at in (0, 1, 2, 5_000, 11_999):
            assert _walked(place, listed[at][1], 20) == listed[at + 1 : at + 21]


def _walked(place: Path, position: int = 0, most: int = 1 << 30) -> list[tuple[bytes, int]]:
    """Names and the positions behind them, by the C library."""

    class Entry(ctypes.Structure):
        _fields_ = (
            ("ino", ctypes.c_uint64),
            ("off", ctypes.c_int64),
            ("length", ctypes.c_ushort),
            ("type", ctypes.c_ubyte),
            ("name", ctypes.c_char * 256),
        )

    libc = ctypes.CDLL(None)
    libc.opendir.restype = ctypes.c_void_p
    libc.readdir.restype = ctypes.POINTER(Entry)
    libc.telldir.restype = ctypes.c_long
    handle = ctypes.c_void_p(libc.opendir(os.fsencode(place)))
    found = []
    try:
        if position:
            libc.seekdir(handle, ctypes.c_long(position))
        while len(found) < most and (entry := libc.readdir(handle)):
            found.append((entry.contents.name, libc.telldir(handle)))
    finally:
        libc.closedir(handle)
    return found


def test_names__as_long_as_can_be(mounts, tmp_path):  # noqa: F811
    """Names of 255 bytes are there, longer ones are ENAMETOOLONG, and bytes that are no text are names as any."""
    source = tmp_path / "source"
    source.mkdir()
    long, odd = b"n" * 255, b"\xff\xfe \n\t"
    for name in (long, odd):
        (Path(os.fsdecode(os.fsencode(source) + b"/" + name))).write_bytes(name)
    place = os.fsencode(mounts.mount(folder=source))
    assert sorted(os.listdir(place)) == sorted([long, odd])
    for name in (long, odd):
        with open(place + b"/" + name, "rb") as file:
            assert file.read() == name
    with pytest.raises(OSError) as caught:
        os.stat(place + b"/" + b"n" * 256)
    assert caught.value.errno == errno.ENAMETOOLONG


@pytest.mark.parametrize(
    "arguments",
    [
        {"names": ["good", "a/b"]},
        {"names": [".."]},
        {"names": ["a\0b"]},
        {"names": [""]},
        {"names": ["n" * 256]},
        {"names": ["a", "b"], "positions": [5, 5]},
        {"names": ["a"], "positions": [2**63]},
    ],
)
def test_view__is_not_trusted(mounts, arguments):  # noqa: F811
    """A folder with a name that no file can have, or whose listing would not end, cannot be listed; nothing of it reaches the kernel."""
    place = mounts.mount("open_hostile", **arguments)
    with pytest.raises(OSError) as caught:
        os.listdir(place)
    assert caught.value.errno == errno.EIO


def test_view__gives_more_than_asked_for(mounts):  # noqa: F811
    """Bytes beyond what was asked for are cut off, and a file is never longer than it says."""
    place = mounts.mount("open_hostile", names=["file"])
    assert (place / "file").read_bytes() == b"x" * 10


def test_looks__are_answered_once(mounts, tmp_path):  # noqa: F811
    """The kernel keeps names, attributes, listings, and that nothing lies under a name: later looks do not reach the worker."""
    source = tmp_path / "source"
    write(source, {"folder": {f"{number}": b"x" for number in range(100)}, "link": "link"})
    place = mounts.mount(folder=source)

    def look() -> None:
        shown(place)
        for number in range(100):
            assert not (place / "folder" / f"none-{number}").exists()
        with pytest.raises(OSError):
            os.getxattr(place / "folder" / "1", "user.x")

    look()
    before = mounts.counts()
    for _ in range(5):
        look()
    after = mounts.counts()
    # A few, for the kernel may drop what it keeps whenever it wants the memory; five looks that reach the worker are a thousand.
    assert after["requests"] - before["requests"] <= 10
    assert 100 <= before["reads"] <= after["reads"] <= 110


def test_passthrough__asks_for_no_bytes(mounts, tmp_path):  # noqa: F811
    """A file that is whole in the cache is read by the kernel itself; one that is not, through the worker."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "big").write_bytes(b"x" * 3_000_000)
    place = mounts.mount(folder=source, opens="passthrough")
    assert (place / "big").read_bytes() == b"x" * 3_000_000
    assert mounts.counts()["reads"] == 0
    plain = mounts.mount(folder=source, opens="passthrough", whole=False, name="plain")
    assert (plain / "big").read_bytes() == b"x" * 3_000_000
    assert mounts.counts()["bytes_read"] == 3_000_000


def test_options__of_a_mount(mounts, tmp_path):  # noqa: F811
    """A mount is read-only, without devices and set-user-id, checks rights, tells its spec, and belongs to who mounted it."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "secret").write_bytes(b"x")
    os.chmod(source / "secret", 0o600)
    place = mounts.mount(folder=source, source="nlp/a,b:1", owner=(12, 34), totals=(5000, 7))
    line = next(line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f" {place} " in line)
    assert {"ro", "nosuid", "nodev"} <= set(line.split()[5].split(","))
    assert " fuse.holdfast nlp/a,b:1 " in line
    assert "default_permissions" in line
    assert "allow_other" not in line
    status = os.stat(place / "secret")
    assert (status.st_uid, status.st_gid) == (12, 34)
    df = os.statvfs(place)
    assert (df.f_blocks * df.f_frsize, df.f_bfree, df.f_files) == (8192, 0, 7)
