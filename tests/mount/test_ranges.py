"""The cache on disk: bounded, private, read around where the disk is full, and never trusted."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import random
import shutil
import subprocess
from contextlib import closing, contextmanager

import pytest

from holdfast.cache import ranges as ranges_of_cache
from holdfast.cache.ranges import FOLDER, Ranges
from holdfast.cache.wholes import Wholes
from holdfast.errors import IntegrityError, LocalError
from holdfast.model.digest import digest_of
from holdfast.mount.ahead import Ahead
from holdfast.mount.order import READ_AHEAD
from holdfast.mount.stretches import range_size
from holdfast.mount.view import Events, open_version
from holdfast.transfer.memory import Memory
from tests.fakes import repository_on
from tests.mount.trees import Recording, find, read_whole, walk

MIB = 1024 * 1024
DICE = random.Random(11)
KEY = ".holdfast/packs/ab/" + "ab" * 32
OTHERS = [f".holdfast/packs/{number:02x}/" + f"{number:02x}" * 32 for number in range(40)]


def held(ranges: Ranges) -> int:
    """Bytes of disk that it takes."""
    return sum(item.bytes for item in ranges.held())


def test_ranges__what_was_written(tmp_path):
    """What was written is read, by another process's cache, too; where anything is a hole there is nothing."""
    ranges, other = Ranges.open(tmp_path, None), Ranges.open(tmp_path, None)
    data = DICE.randbytes(100_000)
    ranges.write(KEY, 8 * 4096, data)
    for cache in (ranges, other):
        assert bytes(cache.read(KEY, 8 * 4096, 100_000)) == data
        assert bytes(cache.read(KEY, 8 * 4096 + 5, 10)) == data[5:15]
        assert cache.read(KEY, 0, 10) is None
        assert cache.read(KEY, 7 * 4096, 2 * 4096) is None
        assert cache.read(KEY, 8 * 4096 + 99_999, 10_000) is None
        assert cache.read(OTHERS[0], 0, 10) is None
    assert held(ranges) < 120_000  # only what was written takes the disk


def in_memory(start: int, data: bytes) -> memoryview:
    """Bytes as a range that was read has them."""
    view = Memory().take(start, len(data))
    view[:] = data
    return view


@pytest.fixture
def direct(tmp_path, monkeypatch):
    """What is written directly: start, length, and how many bytes went."""
    with open(tmp_path / "tried", "wb") as file:
        try:
            os.close(os.open(file.name, os.O_WRONLY | os.O_DIRECT))
        except OSError:
            pytest.skip("this file system knows no direct writes")
    done, real = [], os.pwrite

    def pwrite(descriptor, data, start):
        count = real(descriptor, data, start)
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT:
            done.append((start, len(data), count))
        return count

    monkeypatch.setattr(os, "pwrite", pwrite)
    return done


@pytest.mark.parametrize("start", [0, 1, 4095, 4096, 70_000])
def test_ranges__large_go_to_the_disk_directly(tmp_path, direct, start):
    """What is large is the same bytes at the same place, though whole pages of it take another way; nothing before and behind is touched."""
    ranges = Ranges.open(tmp_path / "cache", 1 << 40)
    data, at = random.Random(start).randbytes(3 * MIB + 5), start + 4 * MIB
    ranges.write(KEY, at, in_memory(at, data))
    pages = (len(data) - -start % 4096) // 4096 * 4096
    assert [(begin % 4096, size) for begin, size, count in direct if size == count] == [(0, pages)]
    assert ranges.read(KEY, at, len(data)) == data
    assert not ranges.has(KEY, at // 4096 * 4096 - 4096, 4096)
    ranges.write(KEY, at + len(data), data[:2000])  # on the page where the other ends
    assert ranges.read(KEY, at, len(data) + 2000) == data + data[:2000]


def test_ranges__a_disk_that_is_slow(tmp_path, direct, monkeypatch):
    """Whoever reads does not wait for a disk that takes direct writes slowly: for a while it gets none."""
    monkeypatch.setattr(ranges_of_cache, "_FAST", 1 << 60)
    ranges = Ranges.open(tmp_path / "cache", 1 << 40)
    data = random.Random(3).randbytes(3 * MIB)
    for turn in range(3):
        ranges.write(KEY, turn * 4 * MIB, in_memory(0, data))
        assert ranges.read(KEY, turn * 4 * MIB, len(data)) == data
    assert len(direct) == 1


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP, errno.EIO])
@pytest.mark.parametrize("broken", ["open", "pwrite"])
def test_ranges__where_nothing_goes_directly(tmp_path, monkeypatch, broken, number):
    """A file system that knows no direct writes, or refuses one, gets plain ones, and nobody is warned."""
    real, asked, warned = getattr(os, broken), [], []

    def refusing(what, *rest):
        flags = rest[0] if broken == "open" else fcntl.fcntl(what, fcntl.F_GETFL)
        if flags & os.O_DIRECT:
            asked.append(what)
            raise OSError(number, "no")
        return real(what, *rest)

    monkeypatch.setattr(os, broken, refusing)
    ranges = Ranges.open(tmp_path / "cache", 1 << 40, warn=warned.append)
    data = random.Random(3).randbytes(3 * MIB)
    ranges.write(KEY, 0, in_memory(0, data))
    assert ranges.read(KEY, 0, len(data)) == data
    assert len(asked) == 1
    assert not warned


def test_memory__used_again():
    """The memory of a large range is used for the next one once nobody holds any of it, and never before; it lies as the range does to a page."""
    memory = Memory()
    first = memory.take(5000, 3 * MIB)
    part = first[100:200]
    address = ctypes.addressof(ctypes.c_char.from_buffer(first))
    assert address % 4096 == 5000 % 4096
    del first
    part[:] = bytes(100)
    second = memory.take(5000, 3 * MIB)
    second[:] = b"x" * len(second)
    assert part == bytes(100)
    del part
    third = memory.take(5000, 4 * MIB)
    assert ctypes.addressof(ctypes.c_char.from_buffer(third)) == address
    assert [len(memory.take(0, size)) for size in (1, MIB, 6 * MIB, 7 * MIB, 11 * MIB)] == [
        1,
        MIB,
        6 * MIB,
        7 * MIB,
        11 * MIB,
    ]


def test_memory__no_more_than_is_counted():
    """However large and small ranges follow one another, what is held takes little more than its bytes."""
    memory, dice, held = Memory(), random.Random(1), []
    before = shared_and_own()
    for _ in range(300):
        size = dice.choice([4 * MIB, 8 * MIB]) if dice.random() < 0.2 else MIB
        view = memory.take(0, size)
        view[:] = b"x" * size
        held.append(view)
        while sum(map(len, held)) > 64 * MIB:
            held.pop(0)
    del view
    assert shared_and_own() - before < (64 + 8 * 6 + 16) * MIB


def shared_and_own() -> int:
    """Bytes of memory that this process has."""
    with open("/proc/self/status") as file:
        return 1024 * sum(int(line.split()[1]) for line in file if line.startswith(("RssAnon:", "RssShmem:")))


def test_ranges__bounded(tmp_path):
    """However much is written, the cache takes no more than a quarter of cache.max_size; what was used last stays."""
    ranges = Ranges.open(tmp_path, 16 * MIB)
    for key in OTHERS:
        ranges.write(key, 0, DICE.randbytes(300_000))
        assert held(ranges) <= 4 * MIB
    assert ranges.read(OTHERS[-1], 0, 300_000) is not None
    assert ranges.read(OTHERS[0], 0, 300_000) is None
    assert held(ranges) > 2 * MIB


def test_ranges__what_cannot_fit(tmp_path):
    """A file that is larger than the cache may be takes nothing out of it."""
    ranges = Ranges.open(tmp_path, 16 * MIB)
    for key in OTHERS[:6]:
        ranges.write(key, 0, DICE.randbytes(300_000))
    before = held(ranges)
    for _ in range(3):
        assert not Wholes(ranges).admit("ab" * 32, 5 * MIB, lambda _: None)
    assert held(ranges) == before
    assert Wholes(ranges).admit(digest_of(b"fits"), 3 * MIB, lambda path: path.write_bytes(b"fits"))


def test_ranges__removed_by_another(tmp_path):
    """What another process removes is gone for this one as well, and is written anew to a new file."""
    ranges, other = Ranges.open(tmp_path, None), Ranges.open(tmp_path, None)
    ranges.write(KEY, 0, b"x" * 5000)
    assert other.read(KEY, 0, 5000) is not None
    assert ranges.clear() > 0
    assert other.read(KEY, 0, 5000) is None
    other.write(KEY, 0, b"y" * 5000)
    assert bytes(ranges.read(KEY, 0, 5000)) == b"y" * 5000


def test_ranges__all_of_it_removed(tmp_path):
    """Where somebody removes the whole folder while it is in use, it is made anew, for its user alone, and things are kept in it."""
    warned: list[str] = []
    ranges = Ranges.open(tmp_path / "home" / "cache", 16 * MIB, warn=warned.append)
    ranges.write(KEY, 0, b"x" * 5000)
    for key in OTHERS[:20]:  # enough that room is looked for between
        shutil.rmtree(tmp_path / "home")
        ranges.write(key, 0, DICE.randbytes(300_000))
        assert ranges.read(key, 0, 300_000) is not None
        assert ranges.folder.stat().st_mode & 0o777 == ranges.folder.parent.stat().st_mode & 0o777 == 0o700
        shutil.rmtree(tmp_path / "home")
        assert Wholes(ranges).admit(digest_of(b"data"), 4, lambda path: path.write_bytes(b"data"))
    assert warned == []


def test_ranges__private(tmp_path):
    """The folder can be looked into by its user alone, whatever the umask, and becomes so again."""
    before = os.umask(0)
    try:
        ranges = Ranges.open(tmp_path / "cache", None)
        ranges.write(KEY, 0, b"x")
    finally:
        os.umask(before)
    modes = [os.stat(base).st_mode & 0o777 for base, _, _ in os.walk(ranges.folder)]
    assert modes == [0o700] * len(modes)
    assert os.stat(ranges.folder / KEY.removeprefix(".holdfast/")).st_mode & 0o777 == 0o600
    ranges.folder.chmod(0o777)
    Ranges.open(tmp_path / "cache", None)
    assert ranges.folder.stat().st_mode & 0o777 == 0o700


def test_ranges__where_others_write(tmp_path):
    """A folder that is a link, somebody else's, or below one that others may change is refused."""
    (tmp_path / "real").mkdir()
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / FOLDER).symlink_to(tmp_path / "real")
    with pytest.raises(LocalError, match="not a folder of this user"):
        Ranges.open(tmp_path / "linked", None)
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(LocalError, match="others may change"):
        Ranges.open(tmp_path / "open", None)
    if os.geteuid() == 0:
        (tmp_path / "theirs" / FOLDER).mkdir(parents=True)
        os.chown(tmp_path / "theirs" / FOLDER, 12345, 12345)
        with pytest.raises(LocalError, match="not a folder of this user"):
            Ranges.open(tmp_path / "theirs", None)


def test_ranges__a_link_in_its_place(tmp_path):
    """A link that stands where a file should be is not followed."""
    ranges = Ranges.open(tmp_path, None)
    path = ranges.folder / KEY.removeprefix(".holdfast/")
    path.parent.mkdir(parents=True)
    (tmp_path / "victim").write_bytes(b"mine")
    path.symlink_to(tmp_path / "victim")
    ranges.write(KEY, 0, b"data")
    assert ranges.read(KEY, 0, 4) is None
    assert (tmp_path / "victim").read_bytes() == b"mine"


@contextmanager
def small_disk(folder, size: int):
    """A file system of its own, which is soon full."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small disk can be mounted by root alone")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("keep_free", [None, 0])
def test_view__disk_full(tmp_path, keep_free):
    """On a disk that is full the mount reads around the cache: every byte is right, and it says once that nothing is kept."""
    source = tmp_path / "source"
    source.mkdir()
    for number in range(4):
        (source / f"large{number}").write_bytes(DICE.randbytes(3 * MIB))
    store = Recording()
    repository_on(store, tmp_path / "one").push(source, "n/v")
    told: list[str] = []
    with small_disk(tmp_path / "disk", 4 * MIB) as disk:
        events = Events(told.append)
        ranges = Ranges.open(disk, 10**9, keep_free, events)
        (disk / "filler").write_bytes(bytes(3 * MIB + MIB // 2))
        view = open_version(repository_on(store, tmp_path / "two"), "n/v", "0.0", ranges, events=events)
        with closing(view):
            for path, shown in walk(view):
                assert read_whole(view, shown) == (source / path).read_bytes()
        for opened in ranges._open.values():
            assert opened
        ranges._open.clear()
    assert len(told) <= 1


def test_view__disk_full_and_whole_files(tmp_path):
    """Files of layout tree that the disk has no room for are held in memory, and are right."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "large").write_bytes(DICE.randbytes(6 * MIB))
    store = Recording()
    repository_on(store, tmp_path / "one").push(source, "n/v", layout="tree")
    with small_disk(tmp_path / "disk", 4 * MIB) as disk:
        ranges = Ranges.open(disk, 10**9, 0)
        with closing(open_version(repository_on(store, tmp_path / "two"), "n/v", "0.0", ranges)) as view:
            assert read_whole(view, find(view, "large")) == (source / "large").read_bytes()
        assert [*(disk / FOLDER / "files").rglob("*")] == []


# whole files


def test_wholes__admitted(tmp_path):
    """A file is open to readers once it was verified, cannot be written, and another process verifies it before it uses it."""
    wholes = Wholes(Ranges.open(tmp_path, None))
    data = DICE.randbytes(50_000)
    digest = digest_of(data)
    assert wholes.open(digest) is None
    assert wholes.admit(digest, len(data), lambda path: path.write_bytes(data))
    with os.fdopen(wholes.open(digest), "rb") as file:
        assert file.read() == data
        assert os.fstat(file.fileno()).st_mode & 0o777 == 0o400
    other = Wholes(Ranges.open(tmp_path, None))
    assert other.open(digest) is None
    assert other.verify(digest)
    os.close(other.open(digest))


def test_wholes__marked(tmp_path, monkeypatch):
    """A large file that was verified on this boot and not written to since is used by other processes as it is."""
    data = DICE.randbytes(2_000_000)
    digest = digest_of(data)
    assert Wholes(Ranges.open(tmp_path, None)).admit(digest, len(data), lambda path: path.write_bytes(data))
    os.close(Wholes(Ranges.open(tmp_path, None)).open(digest))
    monkeypatch.setattr("holdfast.cache.wholes.boot", lambda: "another")
    assert Wholes(Ranges.open(tmp_path, None)).open(digest) is None
    monkeypatch.undo()
    (path,) = (tmp_path / FOLDER / "files").rglob("*" + digest[2:])
    status = path.stat()
    path.chmod(0o600)
    path.write_bytes(b"b" + data[1:])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    path.chmod(0o400)
    other = Wholes(Ranges.open(tmp_path, None))
    assert other.open(digest) is None
    assert not other.verify(digest)


def test_wholes__not_it(tmp_path):
    """What does not have the digest gets no name."""
    wholes = Wholes(Ranges.open(tmp_path, None))
    with pytest.raises(IntegrityError):
        wholes.admit("ab" * 32, 3, lambda path: path.write_bytes(b"abc"))
    assert wholes.open("ab" * 32) is None
    assert [item.name for item in wholes._ranges.held()] == []


def test_wholes__written_since(tmp_path):
    """A file that was written to since it was verified is not used, though its size and time say nothing."""
    wholes = Wholes(Ranges.open(tmp_path, None))
    data = b"a" * 10_000
    digest = digest_of(data)
    wholes.admit(digest, len(data), lambda path: path.write_bytes(data))
    (path,) = (tmp_path / FOLDER / "files").rglob("*" + digest[2:])
    status = path.stat()
    path.chmod(0o600)
    path.write_bytes(b"b" * 10_000)
    assert wholes.open(digest) is None
    path.chmod(0o400)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert wholes.open(digest) is None
    assert not wholes.verify(digest)
    assert not path.exists()


def test_view__whole_once_it_was_read(tmp_path):
    """A large file in packs is put together once it was read, for the kernel to read it itself; a version of another layout's is at once."""
    import time

    source = tmp_path / "source"
    source.mkdir()
    (source / "large").write_bytes(DICE.randbytes(3 * MIB))
    (source / "small").write_bytes(DICE.randbytes(3000))
    for layout in ("packs", "tree"):
        store = Recording()
        repository_on(store, tmp_path / f"one-{layout}").push(source, "n/v", layout=layout)
        repository = repository_on(store, tmp_path / f"two-{layout}")
        with closing(open_version(repository, "n/v", "0.0", Ranges.open(tmp_path / layout, None))) as view:
            large = find(view, "large")
            assert view.whole(large.node) is None
            assert read_whole(view, large) == (source / "large").read_bytes()
            end = time.monotonic() + 10
            while (found := view.whole(large.node)) is None:
                assert time.monotonic() < end
                time.sleep(0.01)
            with os.fdopen(found, "rb") as file:
                assert file.read() == (source / "large").read_bytes()
            if layout == "packs":
                assert view.whole(find(view, "small").node) is None
        if layout == "packs":  # the file is read from there, too, where its ranges are gone
            ranges = Ranges.open(tmp_path / layout, None)
            for item in [*ranges.held()]:
                if f"{FOLDER}/packs/" in item.name:
                    ranges.drop(item.name)
            with closing(open_version(repository, "n/v", "0.0", ranges)) as view:
                store.reads.clear()
                assert read_whole(view, find(view, "large")) == (source / "large").read_bytes()
                assert store.bytes_of_packs == 0


def test_view__put_together_once(tmp_path, monkeypatch):
    """A large file that is read several times while it is put together is put together once."""
    import threading
    import time

    source = tmp_path / "source"
    source.mkdir()
    (source / "large").write_bytes(DICE.randbytes(2 * MIB))
    store = Recording()
    repository_on(store, tmp_path / "one").push(source, "n/v")
    begun: list[str] = []
    go_on = threading.Event()
    admit = Wholes.admit

    def slowly(self, digest, size, fill):
        if size > MIB:
            begun.append(digest)
            go_on.wait(20)
        return admit(self, digest, size, fill)

    monkeypatch.setattr(Wholes, "admit", slowly)
    repository = repository_on(store, tmp_path / "two")
    with closing(open_version(repository, "n/v", "0.0", Ranges.open(tmp_path / "cache", None))) as view:
        large = find(view, "large")
        assert view.whole(large.node) is None
        for _ in range(5):
            read_whole(view, large)
        time.sleep(0.1)
        go_on.set()
        end = time.monotonic() + 10
        while (found := view.whole(large.node)) is None:
            assert time.monotonic() < end
            time.sleep(0.01)
        os.close(found)
    assert len(begun) == 1


def test_wholes__tell_how_they_get_on(tmp_path):
    """Whoever waits for a file hears of each byte that is read back of it, when it is made and when another process verifies it."""
    data, heard = DICE.randbytes(3 * MIB), []
    digest = digest_of(data)
    assert Wholes(Ranges.open(tmp_path, None)).admit(
        digest, len(data), lambda path: path.write_bytes(data), heard.append
    )
    assert heard == [MIB] * 3
    shutil.rmtree(tmp_path / FOLDER / "verified")
    assert Wholes(Ranges.open(tmp_path, None)).verify(digest, heard.append)
    assert heard == [MIB] * 6


# reading ahead


def test_ahead__grows_with_who_reads_on():
    """Reads that follow one another are read ahead of, further and further, no byte twice; up to a bound."""
    ahead = Ahead(8, 64, 2)
    spans = [ahead.after(start, start + 4) for start in range(0, 1000, 4)]
    asked = [span for span in spans if span is not None]
    assert asked[0] == (8, 16)
    assert [end for _, end in asked[:-1]] == [start for start, _ in asked[1:]]
    lengths = [end - start for start, end in asked]
    assert max(lengths) <= 64 + 32
    assert asked[-1][1] >= 1000


def test_ahead__none_for_who_reads_here_and_there():
    """Reads at random places are not read ahead of."""
    ahead, dice = Ahead(8, 64, 2), random.Random(1)
    spans = [ahead.after(start, start + 4) for start in (dice.randrange(10**9) for _ in range(1000))]
    assert spans == [None] * 1000


def test_ahead__none_around_a_place():
    """What a kernel asks for around a place in a mapped file, in pieces and in any order, is not read ahead of; who reads on from there is."""
    ahead = Ahead(8, 64, 2, least=2)
    for at in (100, 5000, 300, 7000):
        assert [ahead.after(at + 1, at + 2), ahead.after(at, at + 1)] == [None, None]
        assert [ahead.after(at + 1000, at + 1001), ahead.after(at + 1001, at + 1002)] == [None, None]
    assert ahead.after(8002, 8003) == (8003, 8011)


def test_range_size__by_how_fast_they_come():
    """Of a store that is near as much is asked for at once as comes in a tenth of a second, from 4 up to 8 MiB; of others 4."""
    assert [range_size(rate) for rate in (0, 1e6, 4e7, 6e7, 8e7, 1e9)] == [4 * MIB] * 3 + [
        6_000_000,
        8_000_000,
        8 * MIB,
    ]


def test_view__random_reads_fetch_little(tmp_path):
    """Reading at random places of a large file fetches the chunks of those places and nothing ahead of them."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "large").write_bytes(DICE.randbytes(24 * MIB))
    store = Recording()
    repository_on(store, tmp_path / "one").push(source, "n/v")
    store.reads.clear()
    with closing(open_version(repository_on(store, tmp_path / "two"), "n/v", "0.0", None)) as view:
        node = find(view, "large").node
        for at in (20, 3, 11, 7, 15):
            view.read(node, at * MIB, 65_536)
    assert store.bytes_of_packs <= 5 * 2 * 256 * 1024


def test_view__mapped_reads_fetch_little(tmp_path):
    """What the kernel reads around a place of a file that is mapped fetches the chunks of that, and nothing ahead of it."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "large").write_bytes(DICE.randbytes(24 * MIB))
    store = Recording()
    repository_on(store, tmp_path / "one").push(source, "n/v")
    store.reads.clear()
    with closing(open_version(repository_on(store, tmp_path / "two"), "n/v", "0.0", None)) as view:
        node = find(view, "large").node
        for at in (20, 3, 11):
            for start in range(at * MIB, at * MIB + READ_AHEAD, MIB):
                view.read(node, start, MIB)
    assert store.bytes_of_packs <= 3 * (READ_AHEAD + 4 * 256 * 1024)
