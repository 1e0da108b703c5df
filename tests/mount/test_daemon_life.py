"""A mount's beginning and end: what is refused, what is left behind, who may do it."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from holdfast.config import load
from holdfast.errors import BusyError, HoldfastError, VersionNotFoundError
from holdfast.mount import device
from holdfast.mount.daemon import WAYS, start
from holdfast.mount.mounting import mount_version
from holdfast.mount.order import Order, chosen
from holdfast.mount.registry import Registry, State
from holdfast.mount.restarts import Restarts
from holdfast.mount.unmounting import unmount
from tests.mount.conftest import mounted_below, processes_naming
from tests.mount.test_daemon_worker import until
from tests.mount.versions import ROOT, mounts, needs_fuse  # noqa: F401


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with one file."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "file").write_bytes(b"content")
    return folder


@needs_fuse
def test_mount__a_version_that_is_not_there(mounts, tmp_path):  # noqa: F811
    """What is wrong with the version is said with its own error, before anything is mounted, and nothing stays behind."""
    with pytest.raises(VersionNotFoundError, match="there is no version 9 of a/b") as caught:
        mounts.mount("open_nothing")
    assert caught.value.hint == "asset versions a/b"
    assert mounted_below(tmp_path) == []
    assert processes_naming(tmp_path) == []
    assert mounts.registry.records() == []


@needs_fuse
def test_mount__a_view_that_breaks(mounts, tmp_path):  # noqa: F811
    """A worker that breaks at its start is told in a sentence, without a traceback."""
    with pytest.raises(HoldfastError, match="FileNotFoundError"):
        mounts.mount(folder=tmp_path / "not there")
    assert mounted_below(tmp_path) == []


@needs_fuse
def test_mount__without_a_device(source, tmp_path):
    """Where there is no FUSE device, a sentence says so, and what to do."""
    script = f"""
from pathlib import Path
from holdfast.errors import HoldfastError
from holdfast.mount.daemon import start
from holdfast.mount.order import Order
from holdfast.mount.registry import Registry
order = Order("tests.mount.views:open_folder", {{"folder": {str(source)!r}}})
place = Path({str(tmp_path / "mounted")!r})
place.mkdir()
try:
    start(Registry(Path({str(tmp_path)!r}) / "mounts"), place, "nlp/x:1", order)
except HoldfastError as error:
    print(error.kind, error.message, "|", error.hint)
"""
    words = f'mount -t tmpfs none /dev && mknod /dev/null c 1 3 && exec {sys.executable} -c "$SCRIPT"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", words],
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SCRIPT": script},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout.startswith("unsupported /dev/fuse cannot be opened: No such file or directory | load "), (
        done.stderr
    )
    assert mounted_below(tmp_path) == []
    assert processes_naming(tmp_path) == []


@needs_fuse
def test_mount__two_of_one_version(mounts, source):  # noqa: F811
    """One version can be mounted at two places, and each ends alone."""
    one = mounts.mount(folder=source, name="one")
    two = mounts.mount(folder=source, name="two")
    mounts.unmount(mounts.made[0])
    assert os.listdir(one) == []
    assert os.listdir(two) == ["file"]


@needs_fuse
def test_stop__leaves_nothing(mounts, source, tmp_path):  # noqa: F811
    """After an unmount there is neither mount nor process nor record."""
    mounts.mount(folder=source)
    mounts.unmount(mounts.record)
    until(lambda: processes_naming(tmp_path) == [])
    assert mounted_below(tmp_path) == []
    assert mounts.registry.records() == []


@needs_fuse
def test_stop__in_use(mounts, source):  # noqa: F811
    """A mount in use is not unmounted unless that is asked for; then what is open can be read to its end."""
    (source / "large").write_bytes(bytes(range(256)) * 40_000)
    place = mounts.mount(folder=source)
    with open(place / "large", "rb", buffering=0) as file:
        assert file.read(10) == bytes(range(10))
        with subprocess.Popen(["sleep", "100"], stdin=file) as holder:
            with pytest.raises(BusyError, match=rf"is in use: sleep \(process {holder.pid}\) holds .*/large"):
                mounts.unmount(mounts.record)
            holder.kill()
        assert (place / "file").read_bytes() == b"content"
        os.kill(mounts.record.state.supervisor.pid, signal.SIGTERM)
        until(lambda: not (place / "file").exists())
        assert os.pread(file.fileno(), 256, 256 * 39_000) == bytes(range(256))
    until(lambda: not mounts.record.is_served)


@needs_fuse
def test_unmount__by_somebody_else(mounts, source, tmp_path):  # noqa: F811
    """A mount that was unmounted by hand has ended: its processes go, and its record says so."""
    place = mounts.mount(folder=source)
    subprocess.run(["umount", place], check=True)
    until(lambda: processes_naming(tmp_path) == [])
    assert mounts.record.state.state == "unmounted"


@needs_fuse
def test_mount__while_another_is_just_mounting(mounts, source, tmp_path):  # noqa: F811
    """A mount that another command has made a moment ago, and that nobody is known to serve yet, is not taken away."""
    place = mounts.mount(folder=source)
    state = mounts.record.state
    with mounts.registry.turn(str(place)):
        mounts.record.write(State())
        settings = load({"store": (tmp_path / "store").as_uri()})
        with pytest.raises(BusyError, match="at this moment"):
            mount_version("nlp/x:1", place, settings=settings, registry=mounts.registry)
    assert (place / "file").read_bytes() == b"content"
    mounts.record.write(state)


@needs_fuse
def test_start__the_starter_is_killed(mounts, source, tmp_path):  # noqa: F811
    """Where the command that mounts is killed before it is told, nothing is mounted, and no dead mount stays."""
    place, mark = tmp_path / "mounted", tmp_path / "mark"
    place.mkdir()
    script = f"""
from pathlib import Path
from holdfast.mount.daemon import start
from holdfast.mount.order import Order
from holdfast.mount.registry import Registry
order = Order("tests.mount.views:open_late", {{"folder": {str(source)!r}, "mark": {str(mark)!r}, "seconds": 1.0}})
start(Registry(Path({str(mounts.registry.folder)!r})), Path({str(place)!r}), "nlp/x:1", order)
"""
    with subprocess.Popen([sys.executable, "-c", script]) as starter:
        until(mark.exists)
        starter.kill()
    until(lambda: not processes_naming(tmp_path))
    assert mounted_below(tmp_path) == []
    assert os.listdir(place) == []
    assert mounts.registry.records()[0].state.state == "unmounted"


@needs_fuse
def test_start__fails_once_the_kernel_has_mounted(mounts, source, tmp_path):  # noqa: F811
    """Where something fails once the kernel has mounted, a sentence says what, and no mount and no process stays."""
    place = tmp_path / "mounted"
    place.mkdir()
    script = f"""
import resource
from pathlib import Path
from holdfast.errors import LocalError
from holdfast.mount.daemon import start
from holdfast.mount.order import Order
from holdfast.mount.registry import Registry
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))  # less than the memory that workers share
order = Order("tests.mount.views:open_folder", {{"folder": {str(source)!r}}})
try:
    start(Registry(Path({str(mounts.registry.folder)!r})), Path({str(place)!r}), "nlp/x:1", order)
except LocalError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.startswith("cannot mount nlp/x:1")
    assert "File too large" in done.stdout
    until(lambda: not processes_naming(tmp_path))
    assert mounted_below(tmp_path) == []


@needs_fuse
def test_supervisor__where_no_worker_can_be_started(mounts, source):  # noqa: F811
    """Where the machine lets no worker be started, requests wait; once it does, all is well again."""
    place = mounts.mount(folder=source)
    state = mounts.record.state
    before = resource.prlimit(state.supervisor.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(state.supervisor.pid, resource.RLIMIT_NOFILE, (3, before[1]))
    os.kill(state.worker.pid, signal.SIGKILL)
    time.sleep(0.5)  # in which it tries
    resource.prlimit(state.supervisor.pid, resource.RLIMIT_NOFILE, before)
    assert (place / "file").read_bytes() == b"content"
    assert mounts.record.state.supervisor == state.supervisor
    until(lambda: mounts.record.state.state == "mounted")


@needs_fuse
def test_supervisor__killed(mounts, source, tmp_path):  # noqa: F811
    """Without its supervisor a mount is dead: reads fail at once, no process stays, the record says so, and an unmount cleans up."""
    place = mounts.mount(folder=source)
    os.kill(mounts.record.state.supervisor.pid, signal.SIGKILL)
    until(lambda: processes_naming(tmp_path) == [])
    with pytest.raises(OSError) as caught:
        os.stat(place / "file")
    assert caught.value.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    assert mounts.record.state.state == "dead"
    mounts.unmount(mounts.record)
    assert mounted_below(tmp_path) == []
    assert mounts.mount(folder=source).joinpath("file").read_bytes() == b"content"


@needs_fuse
def test_supervisor__killed_while_its_worker_is_stopped(mounts, source, tmp_path):  # noqa: F811
    """A worker that hangs ends with its supervisor all the same."""
    mounts.mount(folder=source)
    state = mounts.record.state
    os.kill(state.worker.pid, signal.SIGSTOP)
    os.kill(state.supervisor.pid, signal.SIGKILL)
    until(lambda: not state.worker.lives)


@needs_fuse
def test_supervisor__is_small(mounts, source):  # noqa: F811
    """The supervisor, which stays for as long as the mount, takes less than 20 MB."""
    mounts.mount(folder=source)
    status = Path(f"/proc/{mounts.record.state.supervisor.pid}/status").read_text()
    assert int(status.partition("VmRSS:")[2].split()[0]) < 20 * 1024


@needs_fuse
def test_start__in_the_foreground(mounts, source, tmp_path):  # noqa: F811
    """In the foreground a mount lasts as long as the command, and Ctrl-C unmounts."""
    place = tmp_path / "mounted"
    place.mkdir()
    script = f"""
from pathlib import Path
from holdfast.mount.daemon import start
from holdfast.mount.order import Order
from holdfast.mount.registry import Registry
order = Order("tests.mount.views:open_folder", {{"folder": {str(source)!r}}})
start(Registry(Path({str(tmp_path)!r}) / "mounts"), Path({str(place)!r}), "nlp/x:1", order, foreground=print)
"""
    with subprocess.Popen([sys.executable, "-c", script], start_new_session=True) as program:
        until((place / "file").exists)
        os.killpg(program.pid, signal.SIGINT)
        program.wait(20)
    assert mounted_below(tmp_path) == []
    assert processes_naming(tmp_path) == []


@needs_fuse
def test_start__in_the_foreground_of_a_thread(mounts, source, tmp_path):  # noqa: F811
    """A program may mount in a thread of its own: it returns once the mount has ended."""
    place, registry = tmp_path / "mounted", Registry(tmp_path / "mounts")
    place.mkdir()
    order = Order("tests.mount.views:open_folder", {"folder": str(source)})
    errors: list[BaseException] = []

    def stay() -> None:
        try:
            start(registry, place, "nlp/x:1", order, foreground=lambda _: None)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=stay)
    thread.start()
    until((place / "file").exists)
    unmount(registry, registry.find(str(place)), WAYS)
    thread.join(20)
    assert not thread.is_alive()
    assert errors == []
    assert mounted_below(tmp_path) == []


@needs_fuse
def test_mount__by_an_ordinary_user(source, tmp_path):
    """An ordinary user mounts by fusermount3, for nobody else to see, and unmounts it again."""
    if not any(os.access(path, os.X_OK) for path in device.HELPERS):
        pytest.skip("fusermount3 is not installed")
    home = tmp_path / "home"
    (home / "mounted").mkdir(parents=True)
    for path in (home, home / "mounted"):
        os.chown(path, 65534, 65534)
    for path in [source, tmp_path, *(path for path in tmp_path.parents if path.name.startswith(("pytest-", "popen-")))]:
        path.chmod(0o711)
    script = home / "script.py"
    script.write_text(f"""
import os
from pathlib import Path
from holdfast.mount.daemon import WAYS, start
from holdfast.mount.order import Order
from holdfast.mount.registry import Registry
from holdfast.mount.unmounting import unmount
order = Order("tests.mount.views:open_folder", {{"folder": {str(source)!r}}}, owner=(65534, 65534), opens="passthrough")
place = Path({str(home / "mounted")!r})
registry = Registry(Path({str(home)!r}) / "mounts")
record = start(registry, place, "nlp/x:1", order)
assert (place / "file").read_bytes() == b"content"
assert os.stat(place).st_uid == 65534
line = next(line for line in open("/proc/self/mountinfo") if str(place) in line)
assert "fuse.holdfast nlp/x:1" in line and "nosuid,nodev" in line and " ro," in line and "user_id=65534" in line
unmount(registry, record, WAYS)
assert str(place) not in open("/proc/self/mountinfo").read()
print("well")
""")
    # In a mount namespace of its own, whose device others than root may open; Python may lie where only root can read.
    words = f"mknod {home}/fuse c 10 229 && chmod 666 {home}/fuse && mount --bind {home}/fuse /dev/fuse && "
    words += f"exec setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=+dac_read_search --ambient-caps=+dac_read_search {sys.executable} {script}"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", words],
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout == "well\n", done.stderr


def test_restarts__patience():
    """Workers that die at once are waited for eight times; then requests fail, and the next tries come more and more rarely."""
    restarts = Restarts()
    assert [restarts.died(0.1) for _ in range(7)] == [0.0] * 7
    assert not restarts.gave_up
    delays = [restarts.died(0.0) for _ in range(30)]
    assert restarts.gave_up
    assert delays == sorted(delays)
    assert (delays[0], delays[-1]) == (0.2, 30.0)
    assert restarts.died(5.0) == 0.0
    assert not restarts.gave_up
    assert restarts.total == 38


def test_chosen__by_size():
    """The kernel reads files itself where they are large and it may; small ones are not opened at all."""
    assert chosen(10 * 1024**3, 10, privileged=True) == "passthrough"
    assert chosen(10 * 1024**3, 10, privileged=False) == "none"
    assert chosen(10 * 1024**3, 1_000_000, privileged=True) == "none"
    assert chosen(0, 0, privileged=True) == "none"


@needs_fuse
def test_mount__chooses_how_to_open(mounts, source):  # noqa: F811
    """A mount of large files has the kernel read them itself, one of small ones does not open them; nobody need say so."""
    mounts.mount(folder=source, totals=[10_000_000, 3], name="large")
    assert mounts.record.state.health == "the kernel reads what is whole in the cache itself"
    mounts.mount(folder=source, totals=[10_000_000, 3000], name="small")
    assert mounts.record.state.health == ""


def test_order__passes_as_json():
    """An order is the same after it was JSON."""
    import json

    order = Order("a:b", {"x": 1}, owner=(5, 6), allow_other=True, opens="passthrough")
    assert Order.of(json.loads(json.dumps(order.value()))) == order
