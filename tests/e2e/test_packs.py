"""Layout packs end to end: what is stored, what is read again, what a kill costs, and what a push says no to."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import subprocess
import sys
import time
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path

import pytest

from holdfast.cache.manifests import Manifests
from holdfast.errors import LocalError, SourceChangedError, UnreachableError, UsageError
from holdfast.model.result import NoProgress
from holdfast.publish import READ_ONCE
from holdfast.selection import Selection
from holdfast.transfer.containers import Container, Sender
from holdfast.transfer.manifests import ManifestReader
from holdfast.unpacked import PackedVersion
from tests.e2e.counting import Yard
from tests.e2e.driver import Runner, finished, flat, lay
from tests.fakes import Call, Fault
from tests.formats import second_reader

ROOT = Path(__file__).resolve().parents[2]
KIB, MIB = 1024, 1024 * 1024


@pytest.fixture
def yard(tmp_path):
    """A fresh store in a folder."""
    return Yard(tmp_path)


def noise(word: str, size: int) -> bytes:
    """Bytes that no codec makes shorter."""
    return random.Random(word).randbytes(size)


def test_push__one_percent_changed(yard):
    """Of 5,000 files of 8 KiB one in a hundred changed: the second version stores about 1 %, at most 2 %."""
    source = lay(yard.folder / "source", {f"{at % 50:02}/{at:05}": noise(str(at), 8 * KIB) for at in range(5000)})
    machine, counted = yard.machine()
    first = machine.push(source, "n")
    assert first.uploaded_bytes >= 5000 * 8 * KIB
    assert first.uploaded_objects <= 6
    counted.writes.clear()
    for at in range(0, 5000, 100):
        (source / f"{at % 50:02}" / f"{at:05}").write_bytes(noise(f"new {at}", 8 * KIB))
    second = machine.push(source, "n")
    part = counted.written() / first.uploaded_bytes
    print(f"\n1 % changed: {part:.2%} stored, {second.uploaded_objects} objects")
    assert part <= 0.02
    assert second.uploaded_objects <= 5
    other, counted = yard.machine()
    assert flat(other.fetch("n")) == flat(source)
    assert counted.read("packs") <= 5000 * 8 * KIB * 1.05


def test_push__unchanged_elsewhere(yard):
    """Another machine that pushes the same content makes no version and stores nothing."""
    source = lay(yard.folder / "source", {"a": noise("a", MIB), "b/c": b"c" * 1000})
    assert yard.machine()[0].push(source, "n").created
    copy = shutil.copytree(source, yard.folder / "copy")
    machine, counted = yard.machine()
    assert not machine.push(copy, "n").created
    assert counted.written("packs") == 0


def test_push__random_edits_read_by_the_second_reader(yard):
    """A tree that is edited at random and pushed each time, by one machine or another, is read back right every time."""
    dice = random.Random(5)
    files = {f"{at % 9}/{at:04}": noise(str(at), dice.randrange(700)) for at in range(1500)}
    files |= {f"large/{at}": noise(f"large {at}", 300 * KIB) for at in range(3)}
    source = lay(yard.folder / "source", files)
    machines = [yard.machine()[0] for _ in range(2)]
    shared = []
    for step in range(6):
        version = machines[step % 2 if step > 2 else 0].push(source, "n").version
        items = second_reader.read(yard.store, "n", version)
        assert {path: item.data for path, item in items.items() if item.kind == "f"} == flat(source)
        modes = {str(path.relative_to(source)): path.stat().st_mode & 0o777 for path in source.rglob("*")}
        assert {path: item.mode for path, item in items.items()} == modes
        shared.append(set(second_reader.page_chunks(yard.store, "n", version)))
        edit(source, dice)
    assert all(len(one & other) > 500 for one, other in pairwise(shared))
    assert set(second_reader.packed_chunks(yard.store)) >= set().union(*shared)


def edit(source: Path, dice: random.Random) -> None:
    """A few changes of every kind."""
    paths = sorted(path for path in source.rglob("*") if path.is_file())
    for path in dice.sample(paths, 4):
        path.write_bytes(dice.randbytes(dice.randrange(900)))
    for path in dice.sample(paths, 2):
        path.unlink()
    for path in dice.sample([path for path in paths if path.exists()], 2):
        path.rename(path.with_name(f"new-{dice.randrange(999)}"))
    dice.choice([path for path in paths if path.exists()]).chmod(0o755)
    lay(source, {f"added/{dice.randrange(999)}/x": dice.randbytes(2000)})
    large = source / "large" / "1"
    if large.exists():
        data = large.read_bytes()
        large.write_bytes(data[: len(data) // 2] + b"inserted" + data[len(data) // 2 :])


def test_push__changed_within_the_tick(yard):
    """A file that changes right after a push, size and time as before, is in the next version."""
    source = lay(yard.folder / "source", {"a": b"old", "b": b"b"})
    machine, _ = yard.machine()
    for word in (b"new", b"NEW", b"nEw"):
        status = (source / "a").stat()
        machine.push(source, "n")
        (source / "a").write_bytes(word)
        os.utime(source / "a", ns=(status.st_atime_ns, status.st_mtime_ns))
        pushed = machine.push(source, "n")
        assert pushed.created
        assert second_reader.read(yard.store, "n", pushed.version)["a"].data == word


def test_push__store_made_anew(yard):
    """After the store was wiped, a push from a machine that remembers it refers to nothing that is gone."""
    source = lay(yard.folder / "source", {f"{at}": noise(str(at), 4 * KIB) for at in range(400)})
    machine, _ = yard.machine()
    machine.push(source, "n")
    machine.push(lay(source, {"more": b"more" * 1000}), "n")
    for again in (False, True):
        shutil.rmtree(yard.store)
        yard.store.mkdir()
        if again:  # somebody else's version has the number by now
            yard.machine()[0].push(lay(yard.folder / "other", {"other": b"other" * 1000}), "n")
        pushed = machine.push(lay(source, {"more": b"most" * (1000 + again)}), "n")
        assert pushed.created
        assert flat(yard.machine()[0].fetch(f"n:{pushed.version}")) == flat(source)
        assert set(second_reader.page_chunks(yard.store, "n", pushed.version)) <= set(
            second_reader.packed_chunks(yard.store)
        )


# kills


def test_push__killed_and_touched(yard):
    """A number that was asked for, under which a killed try left the root of other times, is said to be taken, with the way out."""
    source, runner = lay(yard.folder / "source", {"a": b"a", "b": b"b" * 1000}), Runner(yard.folder / "home")
    store, assets = yard.store.as_uri(), yard.folder / "assets"
    assets.mkdir()
    step = ["push", str(source), "n", {"version": "1.0"}]
    runner.kill(store, assets, step, failpoint="push.root-written")
    (source / "a").touch()
    (said,) = finished(runner.start(store, assets, step), code=4)
    assert said["error"] == "already_exists"
    assert "another number" in said["hint"]
    (pushed,) = runner.run(store, assets, ["push", str(source), "n"])
    assert pushed["created"]
    assert second_reader.read(yard.store, "n", pushed["version"])["a"].data == b"a"


def test_push__damaged_pack_in_the_way(yard):
    """A pack that was cut short where a push needs it is written again: nobody could push this content otherwise."""
    source = lay(yard.folder / "source", {f"{at}": noise(str(at), 4 * KIB) for at in range(100)})
    yard.machine()[0].push(source, "n")
    (pack,) = (yard.store / ".holdfast" / "packs").glob("??/*")
    whole = pack.read_bytes()
    pack.chmod(0o644)
    pack.write_bytes(whole[:1000])
    yard.machine()[0].push(source, "other")
    assert pack.read_bytes() == whole
    assert flat(yard.machine()[0].fetch("n")) == flat(source)


def test_push__inodes_beyond_a_signed_number(yard, monkeypatch):
    """Some file systems give inodes of 64 bits: they are pushed, unchanged ones are not read again, and changes are noticed."""
    source = lay(yard.folder / "source", {"a": b"a" * 1000, "b/c": noise("c", 300 * KIB)})
    for path in (source / "a", source / "b", source / "b" / "c", source):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    time.sleep(2.1)  # their ctimes are old enough to be trusted

    class Status:
        def __init__(self, status: os.stat_result) -> None:
            self._status = status
            self.st_ino = status.st_ino + (1 << 63)

        def __getattr__(self, name: str):
            return getattr(self._status, name)

    class Item:
        def __init__(self, item: os.DirEntry[str]) -> None:
            self._item = item

        def stat(self, **options: bool) -> Status:
            return Status(self._item.stat(**options))

        def __getattr__(self, name: str):
            return getattr(self._item, name)

    def scandir(path: str):
        if not str(path).startswith(str(source)):
            return originals["scandir"](path)
        with originals["scandir"](path) as found:
            return nullcontext([Item(item) for item in found])

    originals = {name: getattr(os, name) for name in ("stat", "fstat", "scandir")}
    machine, counted = yard.machine()
    with monkeypatch.context() as patch:
        patch.setattr("holdfast.cache.stats.os.scandir", scandir)
        patch.setattr("holdfast.cache.stats.os.stat", lambda *a, **k: Status(originals["stat"](*a, **k)))
        patch.setattr("holdfast.cache.blocks.os.fstat", lambda *a: Status(originals["fstat"](*a)))
        first = machine.push(source, "n")
        counted.writes.clear()
        assert not machine.push(source, "n").created
        assert not counted.writes
        (source / "a").write_bytes(b"A" * 1000)
        second = machine.push(source, "n")
    assert second_reader.read(yard.store, "n", first.version)["a"].data == b"a" * 1000
    assert second_reader.read(yard.store, "n", second.version)["a"].data == b"A" * 1000


def test_push__time_beyond_what_is_kept(yard):
    """A time that no manifest can hold is said, with the file."""
    source = lay(yard.folder / "source", {"a": b"a", "b": b"b"})
    os.utime(source / "a", ns=(9_400_000_000_000_000_000,) * 2)
    with pytest.raises(UsageError, match=r"source/a has a time"):
        yard.machine()[0].push(source, "n")


def big(yard) -> Path:
    """A folder of some 90 MiB: three packs."""
    return lay(yard.folder / "big", {f"{at}": noise(f"big {at}", 15 * MIB) for at in range(6)})


def test_push__killed_uploads_what_is_missing(yard):
    """A push killed when its first pack was there sends the others when it is run again, and no pack twice."""
    source, runner = big(yard), Runner(yard.folder / "home")
    assets = yard.folder / "assets"
    assets.mkdir()
    step = ["push", str(source), "n"]
    runner.kill(yard.store.as_uri(), assets, step, failpoint="push.pack-written")
    sent = yard.packs()
    assert sent
    (pushed,) = runner.run(yard.store.as_uri(), assets, step)
    packs = yard.packs()
    assert len(packs) == 3
    assert sent.items() <= packs.items()
    assert pushed["uploaded_bytes"] <= sum(packs.values()) - sum(sent.values()) + 100 * KIB
    assert flat(yard.machine()[0].fetch("n")) == flat(source)


def test_fetch__interrupted_reads_little_again(yard):
    """A fetch that broke off goes on where it was: together both read no more than a pack beyond what there is."""
    source = big(yard)
    yard.machine()[0].push(source, "n")
    machine, counted = yard.machine()
    limit = [12]

    def plan(call: Call) -> Fault | None:
        if call.verb == "get_range" and "packs" in call.key:
            limit[0] -= 1
            return Fault.BEFORE if limit[0] < 0 else None
        return None

    counted.plan = plan
    with pytest.raises(UnreachableError):
        machine.fetch("n")
    first = counted.read("packs")
    limit[0] = 10**9
    assert flat(machine.fetch("n")) == flat(source)
    print(f"\nread again: {(counted.read('packs') - 90 * MIB) / MIB:.1f} MiB after {first / MIB:.0f} MiB")
    assert first >= 12 * MIB
    assert counted.read("packs") <= 90 * MIB + 40 * MIB


def test_fetch__killed_reads_little_again(yard):
    """So does one that was killed."""
    source, runner = big(yard), Runner(yard.folder / "home")
    yard.machine()[0].push(source, "n")
    assets = yard.folder / "assets"
    assets.mkdir()
    runner.kill(yard.store.as_uri(), assets, ["fetch", "n:0.0"], failpoint="fetch.data-partly")
    (fetched,) = runner.run(yard.store.as_uri(), assets, ["fetch", "n:0.0"])
    assert fetched["downloaded_bytes"] < 90 * MIB
    assert flat(Path(fetched["path"])) == flat(source)


def test_fetch__killed_when_all_but_the_name_was_done(yard, monkeypatch):
    """What is read-only in the copy by then is gone on with all the same, and a file that has grown since is made anew."""
    source = lay(yard.folder / "source", {"large": noise("large", MIB), "small": noise("small", 1000)})
    for name in ("large", "small"):
        (source / name).chmod(0o444)
    machine, _ = yard.machine()
    version = machine.push(source, "n").version
    meta = machine.catalog.published("n", version).meta
    reader = ManifestReader(machine.store, machine.engine, Manifests(yard.folder / "state", "place"))
    packed, copy = PackedVersion(reader, "n", version, meta), yard.folder / "copy"
    packed.fetch(machine.store, machine.engine, copy, Selection())
    with open(copy / "small", "ab") as file:
        file.write(b"more")

    def opened(path, flags: int, *mode: int) -> int:
        """As for a user who is not root."""
        writes = flags & (os.O_WRONLY | os.O_RDWR) and not flags & os.O_EXCL
        if writes and os.path.exists(path) and not os.stat(path).st_mode & 0o200:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return original(path, flags, *mode)

    original = os.open
    monkeypatch.setattr("holdfast.transfer.unpacking.os.open", opened)
    _, count = packed.fetch(machine.store, machine.engine, copy, Selection())
    assert count == 1000
    assert flat(copy) == flat(source)
    assert {path.stat().st_mode & 0o777 for path in copy.iterdir()} == {0o444}


# parts and reuse


def test_fetch__parts_read_what_they_need(yard):
    """A file by sub-path costs the root, a page or two and its chunk; a pattern all pages, and little beyond its chunks."""
    files = {f"{at % 40:02}/{at:05}.bin": noise(str(at), 3 * KIB) for at in range(4000)}
    files |= {f"{at:02}/special.txt": b"special %d" % at * 300 for at in range(0, 40, 10)}
    source = lay(yard.folder / "source", files)
    yard.machine()[0].push(source, "n")
    root = (yard.store / "n" / "0.0").stat().st_size
    machine, counted = yard.machine()
    assert machine.fetch("n:0.0[07/00047.bin]").read_bytes() == files["07/00047.bin"]
    assert counted.read("packs") == 3 * KIB
    assert counted.read("pages") <= 2 * 100 * KIB
    assert counted.read("n/0.0") <= root + 2 * KIB
    print(f"\none file of {sum(map(len, files.values())) / MIB:.0f} MiB: {counted.read() / KIB:.0f} KiB read")
    machine, counted = yard.machine()
    with machine.read("n:0.0[07/00047.bin]") as file:
        assert file.read() == files["07/00047.bin"]
    assert counted.read("packs") == 3 * KIB
    machine, counted = yard.machine()
    found = flat(machine.fetch("n:0.0", include=("*.txt",)))
    assert found == {path: data for path, data in files.items() if path.endswith(".txt")}
    assert counted.read("packs") <= 10 * KIB
    machine, counted = yard.machine()
    assert len(flat(machine.fetch("n:0.0[07]"))) == 100
    assert counted.read("packs") <= 100 * 3 * KIB + 10 * KIB


def test_fetch__reuses_other_versions(yard):
    """What another cached version has is not read again: whole files, and all chunks of a file but the changed ones."""
    files = {"large": noise("large", 20 * MIB), "same": noise("same", 5 * MIB), "small": b"s" * 1000}
    source = lay(yard.folder / "source", files)
    yard.machine()[0].push(source, "n")
    machine, counted = yard.machine()
    machine.fetch("n:0.0")
    data = files["large"]
    (source / "large").write_bytes(data[: 10 * MIB] + b"inserted" + data[10 * MIB :])
    yard.machine()[0].push(source, "n")
    counted.reads.clear()
    fetched = machine.fetch_info("n:0.1")
    assert flat(Path(fetched.path)) == flat(source)
    print(f"\n20 MiB with an insertion: {fetched.downloaded_bytes / KIB:.0f} KiB downloaded")
    assert fetched.downloaded_bytes <= 2 * MIB
    assert counted.read("packs") <= fetched.downloaded_bytes


def test_fetch__reuse_is_checked(yard):
    """A local copy that was changed is no source: its bytes are read from the store instead."""
    source = lay(yard.folder / "source", {"a": noise("a", MIB), "b": noise("b", MIB), "c": b"1"})
    yard.machine()[0].push(source, "n")
    machine, _ = yard.machine()
    copy = machine.fetch("n:0.0")
    (copy / "a").write_bytes(noise("changed", MIB))
    (copy / "b").unlink()
    (source / "c").write_bytes(b"2")
    yard.machine()[0].push(source, "n")
    assert flat(machine.fetch("n:0.1")) == flat(source)


def test_fetch__reuse_of_what_is_no_file_any_more(yard):
    """A pipe, a link or a directory where a copy had a file are not taken, nor waited for."""
    content = {name: noise(name, MIB) for name in ("pipe", "link", "folder", "file")}
    source = lay(yard.folder / "source", content)
    machine, _ = yard.machine()
    machine.push(source, "n")
    copy = Path(machine.fetch("n"))
    for name, data in content.items():
        (source / name).write_bytes(b"inserted" + data)
        if name != "file":
            (copy / name).unlink()
    os.mkfifo(copy / "pipe")
    (copy / "link").symlink_to("/etc/passwd")
    (copy / "folder").mkdir()
    machine.push(source, "n")
    fetched = machine.fetch_info("n")
    assert flat(Path(fetched.path)) == flat(source)
    assert 3 * MIB <= fetched.downloaded_bytes < 4 * MIB


# what folders there are


def test_push__next_to_nothing(yard):
    """An empty directory, one with one empty file, one with only directories and links: all come back as they were."""
    machine, _ = yard.machine()
    empty = yard.folder / "empty"
    empty.mkdir()
    assert machine.push(empty, "n").files == 0
    (empty / "file").touch()
    assert machine.push(empty, "n").version == "0.1"
    (empty / "file").unlink()
    (empty / "in" / "side").mkdir(parents=True)
    (empty / "link").symlink_to("in")
    assert machine.push(empty, "n").version == "0.2"
    other, counted = yard.machine()
    assert sorted(path.name for path in other.fetch("n:0.0").iterdir()) == [".SUCCESS"]
    assert flat(other.fetch("n:0.1")) == {"file": b""}
    assert (other.fetch("n:0.2") / "link").readlink() == Path("in")
    assert (other.fetch("n:0.2") / "in" / "side").is_dir()
    assert counted.read("packs") == 0


def test_push__links_followed(yard):
    """With links followed, what they lead to is pushed in their place."""
    source = lay(yard.folder / "source", {"real/a": b"a" * 500, "b": b"b" * 500})
    outside = lay(yard.folder / "outside", {"x": b"outside" * 100})
    (source / "link").symlink_to("real")
    (source / "out").symlink_to(outside / "x")
    machine, _ = yard.machine()
    with pytest.raises(UsageError, match="out"):
        machine.push(source, "n")
    machine.push(source, "n", follow_links=True)
    expected = flat(source) | {"link/a": b"a" * 500, "out": b"outside" * 100}
    copy = yard.machine()[0].fetch("n")
    assert flat(copy) == expected
    assert not [path for path in copy.rglob("*") if path.is_symlink()]


def test_push__pipe(yard):
    """A pipe is refused by name, and no version is made."""
    source = lay(yard.folder / "source", {"a": b"a"})
    os.mkfifo(source / "pipe")
    machine, _ = yard.machine()
    with pytest.raises(UsageError, match="pipe"):
        machine.push(source, "n")
    assert not (yard.store / "n.versions").exists()


@pytest.mark.parametrize("pushed", ["source", "source/secret"])
def test_push__unreadable_file(yard, pushed):
    """A file that may not be read is named, the push exits 1, and no version is made; of much, which is read late, nothing at all."""
    source = lay(yard.folder / "source", {"a": b"a" * 1000, "secret": b"s" * 1000})
    os.truncate(source / "secret", READ_ONCE)
    (source / "secret").chmod(0)
    runner, assets = Runner(yard.folder / "home"), yard.folder / "assets"
    assets.mkdir()
    given = ["push", str(yard.folder / pushed), "n"]
    if os.geteuid() == 0:  # who may read everything, unless told not to
        may_not = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
        driver = [sys.executable, "-m", "tests.e2e.driver", yard.store.as_uri(), str(assets), json.dumps([given])]
        process = subprocess.Popen(
            [*may_not, *driver], cwd=ROOT, env=runner.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    else:
        process = runner.start(yard.store.as_uri(), assets, given)
    answer = finished(process, code=1)[-1]
    assert answer["error"] == LocalError.kind
    assert "secret" in answer["message"]
    assert not (yard.store / "n.versions").exists()
    assert pushed == "source" or not list(yard.store.rglob("claims"))


class Meddler(NoProgress):
    """Does something once, when so many bytes were pushed."""

    def __init__(self, after: int, act) -> None:
        self._left = after
        self._act = act

    def advance(self, count: int) -> None:
        self._left -= count
        if self._left <= 0 and self._act is not None:
            act, self._act = self._act, None
            act()


@pytest.mark.parametrize("change", ["grows", "shrinks", "replaced", "removed", "edited", "another file", "new mode"])
@pytest.mark.parametrize("size", [50 * KIB, 30 * MIB], ids=["small", "large"])
def test_push__file_changes_meanwhile(yard, change, size):
    """A file that changes while it is pushed is named, the push exits 1, and no version is made; the next push goes through."""
    source = lay(yard.folder / "source", {"a": noise("a", 1000), "b": noise("b", size), "c": noise("c", 1000)})
    path = source / ("c" if change == "another file" else "b")

    def act() -> None:
        if change == "grows":
            path.write_bytes(path.read_bytes() + b"x")
        elif change == "shrinks":
            os.truncate(path, size - 10)
        elif change == "replaced":
            path.with_name("new").write_bytes(noise("other", size))
            path.with_name("new").rename(path)
        elif change == "removed":
            path.unlink()
        elif change == "new mode":
            path.chmod(0o700)
        else:
            with path.open("r+b") as file:
                file.write(b"edited")

    machine, _ = yard.machine()
    machine.engine.progress = Meddler(1000 + (size if size < MIB else 9 * MIB), act)
    with pytest.raises(SourceChangedError, match=str(path)) as caught:
        machine.push(source, "n")
    assert caught.value.exit_code == 1
    assert not (yard.store / "n.versions").exists()
    assert not list((yard.store / "n").glob("*.meta"))
    machine.push(source, "n")
    assert flat(yard.machine()[0].fetch("n")) == flat(source)


# memory

PEAK = """
import re, sys
import holdfast
store, assets, verb, *arguments = sys.argv[1:]
print(getattr(holdfast.open(store, assets_dir=assets), verb)(*arguments))
print(int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]) // 1024)
"""


def test_memory__large_files_and_many(yard):
    """A push and a fetch of 300 MiB in a few large files, and of many small ones, each take at most 256 MiB of memory."""
    source = lay(yard.folder / "source", {f"large/{at}": noise(f"m{at}", 100 * MIB) for at in range(3)})
    lay(source, {f"small/{at}": noise(str(at), 2 * KIB) for at in range(3000)})
    assets = yard.folder / "assets"
    assets.mkdir()
    runner = Runner(yard.folder / "home")
    for step in (["push", str(source), "n"], ["fetch", "n"]):
        command = [sys.executable, "-c", PEAK, yard.store.as_uri(), str(assets), *step]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=runner.env)
        peak = int(done.stdout.splitlines()[-1])
        print(f"\n{step[0]}: {peak} MiB")
        assert peak <= 256


def test_memory__few_new_chunks_in_a_large_file(yard, monkeypatch):
    """Where a large file changed here and there, what waits for its pack is the new chunks, not the blocks that they were read in."""
    source = lay(yard.folder / "source", {"large": noise("large", 40 * MIB)})
    machine, _ = yard.machine()
    machine.push(source, "n")
    with open(source / "large", "r+b") as file:
        for at in range(5):
            file.seek(at * 8 * MIB + 4 * MIB)
            file.write(b"changed")
    held = {}

    def send(sender: Sender, container: Container) -> None:
        held.update({id(memoryview(piece).obj): len(memoryview(memoryview(piece).obj)) for piece in container.pieces})
        original(sender, container)

    original = Sender.send
    monkeypatch.setattr(Sender, "send", send)
    second = machine.push(source, "n")
    assert second.uploaded_bytes < 2 * MIB
    assert sum(held.values()) < 3 * MIB
    assert second_reader.read(yard.store, "n", second.version)["large"].data == (source / "large").read_bytes()


def test_commands__push_change_push_diff_fetch(asset):
    """The tour by commands: push, change, push, diff, fetch, cat; then the first version once more."""
    model = asset.folder / "model"
    lay(model, {f"parts/{at:03}": noise(str(at), 5 * KIB) for at in range(200)})
    first = asset.ok("push", "model", "nlp/bert", "--json").json
    assert first["layout"] == "packs"
    (model / "parts" / "007").write_bytes(b"seven" * 100)
    (model / "parts" / "008").unlink()
    second = asset.ok("push", "model", "nlp/bert", "--json").json
    assert second["uploaded_bytes"] < first["uploaded_bytes"] / 20
    assert asset.ok("diff", "nlp/bert:0.0", "nlp/bert:0.1").lines == ["M parts/007", "D parts/008"]
    assert asset.ok("push", "model", "nlp/bert", "--json").json["created"] is False
    assert flat(Path(asset.ok("fetch", "nlp/bert").out.strip())) == flat(model)
    assert asset.ok("cat", "nlp/bert:0.1[parts/007]").out == "seven" * 100
    assert len(flat(Path(asset.ok("fetch", "nlp/bert:0.0[parts]").out.strip()))) == 200
    assert asset.ok("verify", "--all", "--deep").code == 0
