"""A mount outlives its worker: killed, stopped, replaced, or dying of what it is asked."""

from __future__ import annotations

import errno
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from holdfast.mount.restarts import Patience
from tests.mount.versions import mounts, needs_fuse  # noqa: F401

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = needs_fuse

CONTENT = random.Random(2).randbytes(3_000_000)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with a large file and many small ones."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "big").write_bytes(CONTENT)
    for number in range(300):
        (folder / f"{number}").write_bytes(CONTENT[number : number + 500])
    return folder


class Readers:
    """Threads that read until they are told to stop, past the kernel's memory; what went wrong, and the longest wait in seconds."""

    def __init__(self, place: Path, many: int = 3) -> None:
        self.wrong: list[object] = []
        self.worst = 0.0
        self.reads = 0
        self._place = place
        self._ends = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(seed,)) for seed in range(many)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()

    def _run(self, seed: int) -> None:
        rng = random.Random(seed)
        while not self._ends.is_set():
            before = time.monotonic()
            try:
                self._read(rng)
            except Exception as error:
                self.wrong.append(error)
            self.worst = max(self.worst, time.monotonic() - before)
            self.reads += 1

    def _read(self, rng: random.Random) -> None:
        number = rng.randrange(300)
        for name, start, size in (("big", rng.randrange(2_900_000), 70_000), (f"{number}", 0, 500)):
            descriptor = os.open(self._place / name, os.O_RDONLY)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                data = os.pread(descriptor, size, start)
            finally:
                os.close(descriptor)
            shift = 0 if name == "big" else number
            if data != CONTENT[start + shift : start + shift + size]:
                self.wrong.append((name, start, len(data)))
        if not (self._place / f"{rng.randrange(300)}").is_file():
            self.wrong.append("a name is gone")


def until(what: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not become so in time"
        time.sleep(0.02)


def another_worker(mounts, before: int, seconds: float = 30.0) -> int:  # noqa: F811
    """Wait until another process serves; its id."""
    until(lambda: (state := mounts.record.state).worker is not None and state.worker.pid != before, seconds)
    return mounts.record.state.worker.pid


@pytest.mark.parametrize("opens", ["none", "passthrough"])
def test_worker__killed_under_load(mounts, source, opens):  # noqa: F811
    """A worker that is killed five times while programs read: none of them sees an error, or a wrong byte."""
    place = mounts.mount(folder=source, opens=opens, whole=False)
    worker = mounts.record.state.worker.pid
    with Readers(place) as readers:
        for _ in range(5):
            time.sleep(0.3)
            os.kill(worker, signal.SIGKILL)
            worker = another_worker(mounts, worker)
        so_far = readers.reads
        until(lambda: readers.reads > so_far + 20)
    print(f"worst stall {readers.worst:.3f} s in {readers.reads} reads")
    assert readers.wrong == []
    assert mounts.record.state.restarts == 5
    assert mounts.record.state.state == "mounted"


def test_worker__killed_with_files_open_by_passthrough(mounts, source):  # noqa: F811
    """Files that the kernel reads itself stay open over the worker's death, can be opened again meanwhile and after, and are given back."""
    place = mounts.mount(folder=source, opens="passthrough")
    with open(place / "big", "rb", buffering=0) as first:
        assert first.read(1000) == CONTENT[:1000]
        for _ in range(3):
            worker = mounts.record.state.worker.pid
            os.kill(worker, signal.SIGKILL)
            another_worker(mounts, worker)
            with open(place / "big", "rb", buffering=0) as again:
                assert again.read() == CONTENT
        assert os.pread(first.fileno(), 1000, 2_000_000) == CONTENT[2_000_000:2_001_000]
    for _ in range(5):
        assert (place / "big").read_bytes() == CONTENT
    assert mounts.counts()["reads"] == 0


def test_worker__killed_while_it_reads(mounts, source):  # noqa: F811
    """A read that was under way when its worker died is sent to the next one, and ends as if nothing had been."""
    place = mounts.mount(folder=source, slow="big", seconds=1.0)
    got = []
    thread = threading.Thread(target=lambda: got.append((place / "big").read_bytes()))
    thread.start()
    time.sleep(0.5)
    worker = mounts.record.state.worker.pid
    os.kill(worker, signal.SIGKILL)
    thread.join(30)
    assert got == [CONTENT]


def test_worker__killed_on_a_kernel_that_does_not_send_again(mounts, source):  # noqa: F811
    """Where the kernel cannot send again what a dead worker left, that ends in EIO and does not hang; all else goes on."""
    place = mounts.mount(folder=source, hang="big", deadline=120.0, resend=False)
    failed = []

    def look() -> None:
        try:
            os.stat(place / "big-name")
        except OSError as error:
            failed.append(error.errno)

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.7)
    os.kill(mounts.record.state.worker.pid, signal.SIGKILL)
    threads[0].join(20)
    until(lambda: errno.EIO in failed)
    assert (place / "9").read_bytes() == CONTENT[9:509]
    mounts.unmount(mounts.record, discard=True)  # the others have asked again meanwhile
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)


def test_worker__stopped(mounts, source):  # noqa: F811
    """A worker that hangs is found by its silence, and replaced; those who read wait, and see no error."""
    place = mounts.mount(folder=source)
    worker = mounts.record.state.worker.pid
    with Readers(place) as readers:
        time.sleep(0.2)
        os.kill(worker, signal.SIGSTOP)
        another_worker(mounts, worker)
        so_far = readers.reads
        until(lambda: readers.reads > so_far + 20)
    assert readers.wrong == []
    assert "silent" in [event.event for event in mounts.record.events()]


def test_worker__replaced_on_demand(mounts, source):  # noqa: F811
    """SIGHUP brings a worker with the code of today, without an error for anybody, and without a restart being counted."""
    place = mounts.mount(folder=source)
    before = mounts.record.state
    with Readers(place) as readers:
        for _ in range(3):
            worker = mounts.record.state.worker.pid
            os.kill(before.supervisor.pid, signal.SIGHUP)
            another_worker(mounts, worker)
    assert readers.wrong == []
    assert mounts.record.state.restarts == 0
    assert mounts.record.state.supervisor == before.supervisor


def test_worker__dies_while_its_successor_opens(mounts, source, tmp_path):  # noqa: F811
    """Where a worker dies before the one of SIGHUP has opened, that one still takes over, and no process is forgotten."""
    mark = tmp_path / "mark"
    place = mounts.mount("open_second_late", folder=source, mark=mark)
    before = mounts.record.state
    os.kill(before.supervisor.pid, signal.SIGHUP)
    until(lambda: mark.stat().st_size == 2)
    os.kill(before.worker.pid, signal.SIGKILL)
    assert (place / "5").read_bytes() == CONTENT[5:505]
    until(lambda: "upgraded" in [event.event for event in mounts.record.events()])
    until(lambda: children_of(before.supervisor.pid) == [mounts.record.state.worker.pid])
    assert (place / "6").read_bytes() == CONTENT[6:506]
    assert mark.stat().st_size == 3


def children_of(pid: int) -> list[int]:
    """The processes that it started, those that ended and were not reaped, too."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_worker__that_dies_again_and_again(mounts, source, tmp_path):  # noqa: F811
    """Where no worker lives, requests end in EIO and nobody hangs; it says so; and once one lives, all is well again."""
    mark = tmp_path / "mark"
    place = mounts.mount("open_dying", folder=source, mark=mark)
    assert (place / "1").read_bytes() == CONTENT[1:501]
    os.kill(mounts.record.state.worker.pid, signal.SIGKILL)
    until(lambda: mounts.record.state.state == "failing")
    with pytest.raises(OSError) as caught:
        os.stat(place / "2")
    assert caught.value.errno == errno.EIO
    assert "failing" in [event.event for event in mounts.record.events()]
    mark.unlink()
    until(lambda: mounts.record.state.state == "mounted")
    until((place / "2").exists)
    assert (place / "2").read_bytes() == CONTENT[2:502]


def test_worker__that_does_not_open(mounts, source, tmp_path):  # noqa: F811
    """Where the next worker cannot open the version, requests wait until their deadline, end in EIO, and the mount can be unmounted."""
    place = mounts.mount("open_hanging", folder=source, mark=tmp_path / "mark", deadline=2.0)
    assert (place / "1").read_bytes() == CONTENT[1:501]
    os.kill(mounts.record.state.worker.pid, signal.SIGKILL)
    before = time.monotonic()
    with pytest.raises(OSError) as caught:
        os.stat(place / "2")
    assert caught.value.errno == errno.EIO
    assert 1.0 < time.monotonic() - before < 20
    mounts.unmount(mounts.record)
    assert os.listdir(place) == []


@pytest.mark.parametrize("healed", [True, False])
def test_worker__whose_reads_hang_for_good(mounts, source, tmp_path, healed):  # noqa: F811
    """Where reads that never come back hold all threads of a worker, those reads end in EIO, and another worker takes over and reads."""
    for number in range(100):
        os.link(source / "1", source / f"{number}-bad")
    view, given = ("open_hanging_once", {"mark": tmp_path / "mark"}) if healed else ("open_folder", {})
    place = mounts.mount(view, folder=source, hang="bad", deadline=1.5, **given)
    worker = mounts.record.state.worker.pid
    failed = []

    def read(number: int) -> None:
        try:
            (place / f"{number}-bad").read_bytes()
        except OSError as error:
            failed.append(error.errno)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    another_worker(mounts, worker)
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert set(failed) == {errno.EIO}
    assert len(failed) >= 72
    assert (place / "5").read_bytes() == CONTENT[5:505]
    if healed:
        assert (place / "99-bad").read_bytes() == CONTENT[1:501]
    assert "hung" in [event.event for event in mounts.record.events()]
    until(lambda: mounts.record.state.restarts == 1)
    assert mounts.record.state.state == "mounted"


def test_patience__of_a_worker():
    """A worker gives way once it can begin no read and not a byte came for a deadline; while bytes come, or threads come back, it does not."""
    patience = Patience(10.0)

    def ends(now: float, fetched: int = 0, *, exhausted: bool = True) -> bool:
        return patience.ends(now, exhausted=exhausted, fetched=fetched)

    assert not any(ends(now, exhausted=False) for now in range(100))
    assert not any(ends(100 + now, fetched=now) for now in range(100))
    assert not ends(205, exhausted=False, fetched=99)
    assert [now for now in range(300, 325) if ends(now, fetched=99)] == [310, 320]


def test_worker__that_lives_and_answers_nobody(mounts, source, tmp_path):  # noqa: F811
    """A worker that gives signs of life and answers nothing is found out by asking the mount, and replaced; what waited is answered."""
    (source / "wedge").write_bytes(b"wedge")
    place = mounts.mount("open_wedged", folder=source, mark=tmp_path / "mark")
    worker = mounts.record.state.worker.pid
    readers = [subprocess.Popen(["cat", place / "wedge"], stdout=subprocess.PIPE)]
    until((tmp_path / "mark").exists)  # a thread that reads nothing more would go on to answer what needs no thread
    readers += [subprocess.Popen(["cat", place / name], stdout=subprocess.PIPE) for name in ("7", "8")]
    another_worker(mounts, worker, 60.0)
    assert [each.communicate(timeout=60)[0] for each in readers] == [b"wedge", CONTENT[7:507], CONTENT[8:508]]
    assert [each.event for each in mounts.record.events()].count("unanswered") == 1


def test_worker__that_cannot_be_killed(mounts, source):  # noqa: F811
    """A worker that was killed, and waits in the kernel for what does not come, keeps no other from taking its place; until then reads end in EIO."""
    below = mounts.mount(folder=source, name="below", hang="big", deadline=1000.0)
    record = mounts.record
    place = mounts.mount(folder=below, deadline=3.0)
    worker = mounts.record.state.worker.pid
    stopped = [record.state.supervisor.pid, record.state.worker.pid]
    try:
        assert outcome_of(place / "big") == "Input/output error"
        for pid in stopped:  # once it has taken the read, which cannot be taken back then
            os.kill(pid, signal.SIGSTOP)
        os.kill(worker, signal.SIGKILL)
        time.sleep(0.5)
        assert os.path.exists(f"/proc/{worker}")
        assert outcome_of(place / "7") == "Input/output error"
        until(lambda: "lost" in [each.event for each in mounts.record.events()])
    finally:
        for pid in stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    until(lambda: outcome_of(place / "7") == "", 60.0)
    assert not os.path.exists(f"/proc/{worker}")


def test_worker__that_cannot_be_killed__unmount(mounts, source):  # noqa: F811
    """Whoever reads a mount that is taken away gets an error in the end, though a worker that cannot be killed holds it still."""
    below = mounts.mount(folder=source, name="below", hang="big", deadline=1000.0)
    record = mounts.record
    place = mounts.mount(folder=below, deadline=60.0)
    worker, supervisor = mounts.record.state.worker.pid, mounts.record.state.supervisor.pid
    stopped = [record.state.supervisor.pid, record.state.worker.pid]
    reader = subprocess.Popen(["cat", place / "big"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        until(lambda: waits_in_the_kernel(worker))
        time.sleep(0.5)  # the read is taken by who serves the mount below, and cannot be taken back
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        os.kill(worker, signal.SIGKILL)
        until(lambda: "lost" in [event.event for event in mounts.record.events()])
        os.kill(supervisor, signal.SIGTERM)
        assert reader.communicate(timeout=40)[1]
        assert os.path.exists(f"/proc/{worker}")
    finally:
        for pid in stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        reader.kill()
        reader.wait()


def waits_in_the_kernel(pid: int) -> bool:
    """Whether a thread of a process waits for what cannot be interrupted."""
    states = [path.read_text().rpartition(")")[2].split()[0] for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    return "D" in states


def outcome_of(path: Path) -> str:
    """How reading a file by a process of its own ends: empty where it is read, else the error."""
    done = subprocess.run(["cat", path], capture_output=True, text=True, errors="replace", check=False, timeout=60)
    return done.stderr.rpartition(": ")[2].strip()


def test_worker__that_dies_of_a_request(mounts, source):  # noqa: F811
    """A request that kills every worker ends in EIO, and the mount lives on."""
    (source / "poison").write_bytes(b"x")
    place = mounts.mount("open_poisoned", folder=source)
    with pytest.raises(OSError) as caught:
        (place / "poison").read_bytes()
    assert caught.value.errno == errno.EIO
    until(lambda: mounts.record.state.state == "mounted")
    assert (place / "big").read_bytes() == CONTENT


def test_reads__that_are_slow(mounts, source):  # noqa: F811
    """Many slow reads hold up neither lookups nor reads of what is here."""
    for number in range(120):
        (source / f"slow-{number}").write_bytes(b"x")
        os.link(source / f"slow-{number}", source / f"{number}-slow")
    place = mounts.mount(folder=source, slow="slow", seconds=4.0)
    threads = [threading.Thread(target=(place / f"{number}-slow").read_bytes) for number in range(120)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    before = time.monotonic()
    for number in range(250, 300):
        assert (place / f"{number}").is_file()
        assert not (place / f"none-{number}").exists()
    took = time.monotonic() - before
    assert all(thread.is_alive() for thread in threads), "the reads were not slow"
    for thread in threads:
        thread.join()
    assert took < 3.0


def test_reads__where_no_thread_can_be_started(mounts, source):  # noqa: F811
    """Where the machine has no more threads for a worker, reads go on with those that it has, and nobody hangs."""
    with _large_stacks():
        place = mounts.mount(folder=source, slow="1", seconds=0.1)
    worker = mounts.record.state.worker.pid
    tasks = Path(f"/proc/{worker}/task")
    until(
        lambda: len(list(tasks.iterdir())) == 4
    )  # it is mounted before the last of those it cannot do without has begun
    limit = _memory_of(worker) + (STACK >> 2)  # too little for one more thread, and plenty for the reads themselves
    resource.prlimit(worker, resource.RLIMIT_AS, (limit, limit))
    found = {}
    names = [f"1{number}" for number in range(40)]
    threads = [
        threading.Thread(target=lambda name=name: found.update({name: (place / name).read_bytes()}), daemon=True)
        for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert found == {name: CONTENT[int(name) : int(name) + 500] for name in names}
    assert mounts.record.state.worker.pid == worker
    assert len(list(tasks.iterdir())) == 4


STACK = 1 << 30
"""What a thread asks for below ``_large_stacks``, in bytes: addresses, and no memory before it is used."""


@contextmanager
def _large_stacks() -> Iterator[None]:
    """Whoever is started within asks for a large stack for each of its threads: glibc takes the limit at its start."""
    before = resource.getrlimit(resource.RLIMIT_STACK)
    resource.setrlimit(resource.RLIMIT_STACK, (STACK, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_STACK, before)


def _memory_of(pid: int) -> int:
    """The addresses that a process has taken, in bytes."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def test_reads__past_their_deadline(mounts, source):  # noqa: F811
    """A read that nothing comes of ends in EIO at its deadline, and is counted."""
    place = mounts.mount(folder=source, hang="big", deadline=1.0)
    before = time.monotonic()
    with pytest.raises(OSError) as caught:
        (place / "big").read_bytes()
    assert caught.value.errno == errno.EIO
    assert 0.9 < time.monotonic() - before < 20
    assert (place / "7").read_bytes() == CONTENT[7:507]
    assert mounts.counts()["late"] > 0


def test_reads__of_a_large_file_whose_bytes_come(mounts, tmp_path):  # noqa: F811
    """Who reads a file of a layout without chunks waits while its bytes come, longer than any deadline."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "large").write_bytes(os.urandom(80 * 1024 * 1024))
    place = mounts.mount("open_trickling", folder=tmp_path, deadline=2.0)
    assert (place / "large").read_bytes() == (tmp_path / "source" / "large").read_bytes()
    assert mounts.counts()["late"] == 0


@pytest.mark.parametrize("words", [["head", "-c1", "big"], ["ls", "-d", "big-name"]])
def test_request__of_a_program_that_is_killed(mounts, source, words):  # noqa: F811
    """A program that waits for a slow read or lookup can be killed, and does not wait for its end."""
    import subprocess

    place = mounts.mount(folder=source, hang="big", deadline=30.0)
    with subprocess.Popen(words, cwd=source.parent / place.name) as program:
        time.sleep(0.7)
        assert program.poll() is None
        before = time.monotonic()
        program.send_signal(signal.SIGTERM)
        program.wait(20)
    assert time.monotonic() - before < 15


def test_request__of_a_program_that_gets_another_signal(mounts, source):  # noqa: F811
    """A signal that a program handles does not cut its slow request short."""
    import subprocess

    place = mounts.mount(folder=source, slow="big", seconds=1.5)
    script = "import signal, sys; signal.signal(signal.SIGUSR1, print); sys.exit(len(open(sys.argv[1], 'rb').read(9)))"
    with subprocess.Popen([sys.executable, "-c", script, place / "big"], stdout=subprocess.DEVNULL) as program:
        for _ in range(6):
            time.sleep(0.2)
            program.send_signal(signal.SIGUSR1)
        assert program.wait(20) == 9
