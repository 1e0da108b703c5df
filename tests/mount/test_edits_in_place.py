"""A version that is changed where it is mounted: what is shown, pushed, refused, and found again."""

from __future__ import annotations

import mmap
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.comparison import local_manifest
from holdfast.errors import BusyError, ConflictError, HoldfastError, SourceChangedError, UsageError
from holdfast.mount.editing import find_edits, mount_writable, push_edits, status_of, unmount_writable
from holdfast.mount.table import stacked_at
from tests.mount.edit_operations import OPERATIONS, TREES, apply, content, lay
from tests.mount.edit_program import opened
from tests.mount.overlays import needs_overlay, needs_root

#: The version below is a folder that is bound, which only root may do.
pytestmark = [needs_overlay, pytest.mark.skipif(os.geteuid() != 0, reason="only root binds folders")]

TREE = {"a": b"one", "d/b": b"two" * 200, "d/e/c": b"three" * 10_000, "d/e/l": "c", "empty": None}


class Desk:
    """A store with one version of ``n``, and a directory to mount at."""

    def __init__(self, place: Path, tree=TREE, layout=None, cache=None):
        os.environ["XDG_CACHE_HOME"] = str(cache or place / "cache")  # a fixture puts it back
        self.place = place
        (place / "store").mkdir(parents=True)
        self.repository, self.versions = opened(place)
        self.source = lay(place / "source", tree)
        self.repository.push(self.source, "n", **({"layout": layout} if layout else {}))
        self.dir = place / "dir"
        self.dir.mkdir()

    def mount(self, spec="n"):
        mount_writable(self.repository, spec, self.dir, lambda _: self.versions)

    @property
    def edits(self):
        return find_edits(self.repository, self.dir)

    def push(self, **options):
        return push_edits(self.repository, self.edits, options, self.versions)

    def status(self):
        found = status_of(self.repository, self.edits)
        return [*found.difference.added], [*found.difference.removed], [*found.difference.changed], [*found.folders]

    def unmount(self, **options):
        return unmount_writable(self.repository, self.edits, self.versions, **options)

    def reboot(self):
        """As a reboot leaves it: nothing mounted, and everything in the cache as it was."""
        for place in [self.dir, *self.repository.state.rglob("lower")]:
            while stacked_at(str(place)):
                subprocess.run(["umount", "-l", place], check=True)

    def meta(self, version):
        return self.repository.resolver.published("n", version).meta

    def fetched(self, version):
        to = self.place / f"again-{version}"
        shutil.rmtree(to, ignore_errors=True)
        return self.repository.fetch(f"n:{version}", to=to, force=True)


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


def test_push__what_changed(desk):
    """A push publishes what the mount shows, the mounted version is its parent, and the mount goes on from it."""
    desk.mount()
    (desk.dir / "a").write_bytes(b"changed")
    (desk.dir / "d" / "new").write_bytes(b"new")
    (desk.dir / "d" / "e" / "c").unlink()
    assert desk.status() == (["d/new"], ["d/e/c"], ["a"], [])
    pushed = desk.push(message="in place")
    assert (pushed.version, pushed.created, pushed.layout) == ("0.1", True, "packs")
    assert desk.repository.show("n:0.1").parent == "0.0"
    assert content(desk.fetched("0.1")) == content(desk.dir)
    assert desk.status() == ([], [], [], [])
    assert desk.edits.read().base.version == "0.1"
    assert len(stacked_at(str(desk.dir))) == 1
    (desk.dir / "a").write_bytes(b"again")
    assert desk.push().version == "0.2"
    assert content(desk.fetched("0.2")) == content(desk.dir)
    desk.unmount()
    assert os.listdir(desk.dir) == []
    assert desk.edits is None


def test_push__nothing_changed(desk):
    """A push of a mount in which nothing changed makes no version, nor does one of files written with what they had."""
    desk.mount()
    assert desk.push().created is False
    (desk.dir / "a").write_bytes(b"one")
    os.chmod(desk.dir / "d" / "b", 0o600)
    assert desk.status() == ([], [], [], [])
    pushed = desk.push()
    assert (pushed.version, pushed.created) == ("0.0", False)


def test_push__dry_run(desk):
    """A dry run tells the number and makes nothing; the mount stays where it is."""
    desk.mount()
    (desk.dir / "a").write_bytes(b"changed")
    assert desk.push(dry_run=True).version == "0.1"
    assert desk.repository.versions("n").versions == ("0.0",)
    assert desk.status() == ([], [], ["a"], [])


def test_push__reads_only_what_changed(tmp_path):
    """The files of the version are not read: it is pushed upon where they could not be."""
    large = os.urandom(3 << 20)
    desk = Desk(tmp_path, {"a": b"one", "d/b": large, "d/c": b"small"})
    desk.mount()
    (desk.dir / "a").write_bytes(b"changed")
    for path in (desk.place / "n-0.0" / "d").iterdir():
        path.write_bytes(b"damaged")
    assert desk.push().version == "0.1"
    assert (desk.fetched("0.1") / "d" / "b").read_bytes() == large
    assert (desk.fetched("0.1") / "d" / "c").read_bytes() == b"small"


def test_push__alias_message_and_label(desk):
    """The options of a push are those of every push."""
    desk.mount()
    (desk.dir / "a").write_bytes(b"changed")
    assert desk.push(message="m", labels={"k": "v"}, alias="stable", new_major=True).version == "1.0"
    shown = desk.repository.show("n:stable")
    assert (shown.version, shown.message, shown.labels, shown.parent) == ("1.0", "m", {"k": "v"}, "0.0")


@pytest.mark.parametrize("options", [{"exclude": ("*.tmp",)}, {"follow_links": True}])
def test_push__a_part(desk, options):
    """A mount is pushed whole: it could not go on from a version of a part of it."""
    desk.mount()
    with pytest.raises(UsageError, match="as a whole"):
        desk.push(**options)


@pytest.mark.parametrize("layout", ["tree", "tar.gz"])
def test_push__other_layouts(tmp_path, layout):
    """A version of another layout is read through the mount, and the mount goes on from what became of it."""
    desk = Desk(tmp_path, {**TREE, "x": b"x"}, layout)
    desk.mount()
    (desk.dir / "a").write_bytes(b"changed")
    (desk.dir / "x").unlink()
    assert desk.status() == ([], ["x"], ["a"], [])
    assert desk.push(layout=layout).layout == layout
    assert content(desk.fetched("0.1")) == content(desk.dir)
    assert desk.status() == ([], [], [], [])
    (desk.dir / "a").write_bytes(b"more")
    assert desk.push(layout="packs").layout == "packs"
    (desk.dir / "a").write_bytes(b"and more")
    assert desk.push().version == "0.3"
    assert content(desk.fetched("0.3")) == content(desk.dir)


def test_push__what_an_asset_cannot_hold(desk):
    """A fifo is refused by name, in status, push and unmount alike, and stays."""
    desk.mount()
    os.mkfifo(desk.dir / "d" / "pipe")
    with pytest.raises(UsageError, match="d/pipe"):
        desk.push()
    with pytest.raises(ConflictError, match="d/pipe"):
        desk.unmount()
    assert desk.unmount(discard=True).difference.added == ("d/pipe",)


def test_push__link_that_leads_out(desk):
    """A link that leads out of the version is refused as in every push."""
    desk.mount()
    os.symlink("/etc/passwd", desk.dir / "d" / "out")
    with pytest.raises(UsageError, match="leads outside"):
        desk.push()


@contextmanager
def changed_meanwhile(desk):
    """Once a push has its number, somebody writes a file that it has not sent yet."""
    publisher = desk.repository.publisher

    def changing(claimed):
        def then(version, content_hash):
            claimed(version, content_hash)
            (desk.dir / "a").write_bytes(b"changed again")

        return publisher(claimed=then)

    desk.repository.publisher = changing
    yield
    desk.repository.publisher = publisher


def test_push__a_file_changes_meanwhile(desk):
    """A file that is written while it is pushed ends the push: no version, no lost change, and the next push has it."""
    desk.mount()
    (desk.dir / "a").write_bytes(b"changed")
    with changed_meanwhile(desk), pytest.raises(SourceChangedError):
        desk.push()
    assert desk.repository.versions("n").versions == ("0.0",)
    assert desk.status() == ([], [], ["a"], [])
    assert desk.push().created
    assert (desk.fetched(desk.repository.resolve("n")) / "a").read_bytes() == b"changed again"


def test_push__a_file_changes_meanwhile_is_named(desk):
    """A file that changes while it is pushed is named where it is seen, and not where its changes are kept."""
    desk.mount()
    (desk.dir / "a").write_bytes(b"changed")
    with changed_meanwhile(desk), pytest.raises(SourceChangedError) as found:
        desk.push()
    assert found.value.message.startswith(f"{desk.dir}/a changed")
    assert found.value.subject == f"{desk.dir}/a"


def test_push__changes_after_the_scan(desk):
    """What is changed after the push has read it is in the mount after the move, and in the next version."""
    desk.mount()
    (desk.dir / "a").write_bytes(b"changed")
    (desk.dir / "short").write_bytes(b"short-lived")
    (desk.dir / "deep" / "er").mkdir(parents=True)
    publisher = desk.repository.publisher

    def changing(claimed):
        def then(version, content_hash):
            claimed(version, content_hash)
            (desk.dir / "late").write_bytes(b"late")
            (desk.dir / "d" / "b").unlink()
            (desk.dir / "deep" / "er" / "file").write_bytes(b"deep")
            shutil.rmtree(desk.dir / "d" / "e")
            (desk.dir / "d" / "e").mkdir()

        return publisher(claimed=then)

    desk.repository.publisher = changing
    desk.push()
    desk.repository.publisher = publisher
    assert (desk.dir / "late").read_bytes() == b"late"
    assert not (desk.dir / "d" / "b").exists()
    assert desk.status() == (["deep/er/file", "late"], ["d/b", "d/e/c", "d/e/l"], [], [])
    desk.push()
    assert content(desk.fetched("0.2")) == content(desk.dir)


@needs_root
def test_push__a_file_is_open_for_writing(desk):
    """While somebody writes, the version is made and the mount stays with every change; the next push moves it."""
    desk.mount()
    with (desk.dir / "log").open("wb", buffering=0) as log:
        log.write(b"first")
        assert desk.push().version == "0.1"
        assert desk.edits.read().base.version == "0.0"
        log.write(b", second")
        with pytest.raises(BusyError, match="is in use"):
            desk.unmount()
    assert (desk.dir / "log").read_bytes() == b"first, second"
    assert desk.push().version == "0.2"
    assert desk.repository.show("n:0.2").parent == "0.1"
    assert (desk.fetched("0.2") / "log").read_bytes() == b"first, second"
    assert desk.edits.read().base.version == "0.2"


@needs_root
def test_push__a_file_is_written_by_way_of_memory(tmp_path):
    """What a program writes into its memory map of a file after a push has read that is in the next version, and in the mount."""
    with _disk_of_its_own(tmp_path) as disk:  # which nobody else syncs meanwhile
        desk = Desk(tmp_path / "desk", cache=disk)
        desk.mount()
        (desk.dir / "log").write_bytes(bytes(8192))
        os.sync()
        with (desk.dir / "log").open("r+b") as log, mmap.mmap(log.fileno(), 0) as written:
            written[:5] = b"first"
            time.sleep(0.1)
            desk.push()
            written[:5] = b"later"  # into a page that is written already: by that alone no time of the file changes
        desk.push()
        assert (desk.dir / "log").read_bytes()[:5] == b"later"
        assert (desk.fetched(desk.repository.resolve("n")) / "log").read_bytes()[:5] == b"later"
        desk.unmount()


@contextmanager
def _disk_of_its_own(place):
    image, disk = place / "image", place / "disk"
    with image.open("wb") as file:
        file.truncate(64 << 20)
    disk.mkdir()
    try:
        subprocess.run(["mkfs.ext4", "-q", image], check=True, env={"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"})
        subprocess.run(["mount", "-o", "loop", image, disk], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no file system can be made in a file here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


@needs_root
@pytest.mark.parametrize("how", ["namespace", "bind"])
def test_push__a_file_is_open_for_writing_elsewhere(desk, tmp_path, how):
    """Who writes by way of another mount of it, as a container or a service does, is waited for like everybody else; nothing of his is lost."""
    desk.mount()
    there = tmp_path / "bound" if how == "bind" else desk.dir
    if how == "bind":
        there.mkdir()
        subprocess.run(["mount", "--bind", desk.dir, there], check=True)
    around = ["unshare", "--mount", "--propagation", "private"] if how == "namespace" else []
    script = f"exec 3> {there}/log; printf first >&3; echo begun; read word; printf ', second' >&3 && echo written"
    with subprocess.Popen(
        [*around, "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout.readline() == "begun\n"
        time.sleep(2.1)  # a file of this moment would be taken along for its time alone
        assert desk.push().version == "0.1"
        with pytest.raises(BusyError, match="is in use"):
            desk.unmount()
        assert writer.communicate("go on\n")[0] == "written\n"
    assert (desk.dir / "log").read_bytes() == b"first, second"
    assert desk.push().version == "0.2"
    assert (desk.fetched("0.2") / "log").read_bytes() == b"first, second"
    with suppress(OSError):  # what lies elsewhere is of before, and takes nothing more that would be lost
        (there / "late").write_bytes(b"late")
        assert (desk.dir / "late").read_bytes() == b"late"


@needs_root
def test_push__a_removed_file_is_still_open(desk):
    """While a file that was removed is still open, the mount stays, and the next push moves it."""
    desk.mount()
    with (desk.dir / "d" / "b").open("rb") as file:
        (desk.dir / "d" / "b").unlink()
        assert desk.push().version == "0.1"
        assert file.read() == TREE["d/b"]
        assert not (desk.dir / "d" / "b").exists()
    assert not desk.push().created
    assert desk.edits.read().base.version == "0.1"
    assert desk.status() == ([], [], [], [])


@needs_root
def test_push__readers_go_on(desk):
    """What is open for reading across a push is read to its end, and the directory is at no moment empty."""
    desk.mount()
    stop, missed, file = threading.Event(), [], (desk.dir / "d" / "e" / "c").open("rb")

    def look():
        while not stop.is_set():
            try:
                if b"three" not in (desk.dir / "d" / "e" / "c").read_bytes():
                    missed.append("bytes")
            except OSError as error:
                missed.append(error)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for number in range(5):
            (desk.dir / "a").write_bytes(b"%d" % number)
            desk.push()
    finally:
        stop.set()
        looking.join()
    assert missed == []
    with file:
        assert file.read() == TREE["d/e/c"]


def test_reboot__changes_are_found_again(desk):
    """After a reboot nothing is mounted, and the next writable mount of the asset there has every change."""
    desk.mount()
    (desk.dir / "a").write_bytes(b"changed")
    (desk.dir / "d" / "b").unlink()
    before = content(desk.dir)
    desk.reboot()
    assert os.listdir(desk.dir) == []
    assert desk.status() == ([], ["d/b"], ["a"], [])
    desk.mount()
    assert content(desk.dir) == before


def test_push__not_mounted(desk):
    """Changes of before a reboot can be pushed as they are, without mounting them."""
    desk.mount()
    (desk.dir / "a").write_bytes(b"changed")
    desk.reboot()
    assert desk.push().version == "0.1"
    assert (desk.fetched("0.1") / "a").read_bytes() == b"changed"
    assert desk.status() == ([], [], [], [])


def test_mount__another_version(desk):
    """With unpushed changes, another version is refused: the changes are named, and what to type."""
    desk.repository.push(lay(desk.place / "other", {"a": b"other"}), "n")
    desk.mount("n:0.0")
    (desk.dir / "a").write_bytes(b"changed")
    desk.reboot()
    with pytest.raises(ConflictError, match=r"unpushed changes of n:0\.0: a") as caught:
        desk.mount("n:0.1")
    assert caught.value.exit_code == 4
    assert f"asset mount n:0.0 {desk.dir} --writable" in caught.value.hint
    assert f"asset unmount {desk.dir} --discard" in caught.value.hint
    desk.mount("n:0.0")
    assert (desk.dir / "a").read_bytes() == b"changed"


def test_mount__another_version_without_changes(desk):
    """Without changes, what was mounted before does not matter."""
    desk.repository.push(lay(desk.place / "other", {"a": b"other"}), "n")
    desk.mount("n:0.0")
    desk.reboot()
    desk.mount("n:0.1")
    assert (desk.dir / "a").read_bytes() == b"other"


def test_mount__twice(desk):
    """The changes of one directory are mounted once."""
    desk.mount()
    with pytest.raises(BusyError, match="writable mount of n:0"):
        desk.mount()
    with desk.edits.turn(), pytest.raises(BusyError, match=f"another process works on the changes in {desk.dir}$"):
        desk.push()


def test_mount__bad_places(desk, tmp_path):
    """A directory that is not there, is not empty or is a file is refused, and no folder of changes is left."""
    desk.repository.push(desk.source / "a", "f")
    for spec, place, words in [
        ("n", tmp_path / "nowhere", "there is no directory"),
        ("n", desk.source, "not empty"),
        ("n", desk.source / "a", "not a directory"),
        ("f", desk.dir, "is a file"),
        ("n[d]", desk.dir, "part of a version"),
        ("n:7.7", desk.dir, r"7\.7"),
    ]:
        with pytest.raises(HoldfastError, match=words):
            mount_writable(desk.repository, spec, place, lambda _: desk.versions)
        assert find_edits(desk.repository, place) is None
    assert not (desk.repository.state / "edits").exists()


def test_unmount__unpushed_changes(desk):
    """With unpushed changes it is refused and everything stays; --discard tells what it threw away."""
    desk.mount()
    (desk.dir / "a").write_bytes(b"changed")
    (desk.dir / "folder").mkdir()
    with pytest.raises(ConflictError, match="unpushed changes: a, folder/") as caught:
        desk.unmount()
    assert caught.value.exit_code == 4
    (desk.dir / "b").write_bytes(b"it can be written still")
    gone = desk.unmount(discard=True)
    assert (gone.difference.changed, gone.difference.added, gone.folders) == (("a",), ("b",), ("folder",))
    assert os.listdir(desk.dir) == []
    assert desk.edits is None
    assert os.listdir(desk.repository.state / "edits") == []


def test_unmount__in_use(desk):
    """While a shell stands in it, it stays mounted and can be written."""
    desk.mount()
    with (desk.dir / "a").open("rb"), pytest.raises(BusyError):
        desk.unmount()
    (desk.dir / "a").write_bytes(b"changed")
    assert desk.status() == ([], [], ["a"], [])


def test_unmount__discard_while_in_use(desk):
    """With --discard it goes though somebody is in it, and what was changed is told."""
    desk.mount()
    (desk.dir / "b").write_bytes(b"new")
    with (desk.dir / "a").open("rb") as file:
        assert desk.unmount(discard=True).difference.added == ("b",)
        assert file.read() == b"one"
    assert os.listdir(desk.dir) == []


@needs_root
def test_mount__is_private(desk):
    """Other users do not come into it, unless that was asked for; after a push that is as it was."""
    desk.mount()
    assert desk.dir.stat().st_mode & 0o777 == 0o700
    (desk.dir / "a").write_bytes(b"changed")
    desk.push()
    assert desk.dir.stat().st_mode & 0o777 == 0o700
    desk.unmount()
    mount_writable(desk.repository, "n", desk.dir, lambda _: desk.versions, others=True)
    assert desk.dir.stat().st_mode & 0o777 == 0o755


def test_cache_prune__spares_changes(desk):
    """Pruning the cache of all that is in it leaves changes alone."""
    desk.mount()
    (desk.dir / "a").write_bytes(b"changed")
    desk.reboot()
    command = [sys.executable, "-m", "holdfast.cli", "cache", "prune", "--max-size", "0"]
    environ = {**os.environ, "HOLDFAST_ASSETS_DIR": str(desk.place / "assets")}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert desk.status() == ([], [], ["a"], [])


@given(tree=TREES, rounds=st.lists(st.lists(OPERATIONS, max_size=8), min_size=1, max_size=3))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_push__random_operations(tmp_path, tree, rounds):
    """Whatever is done between pushes: every version, fetched elsewhere, is what a plain folder has become."""
    desk = Desk(Path(tempfile.mkdtemp(dir=tmp_path)), tree)
    plain = lay(desk.place / "plain", tree)
    desk.mount()
    for operations in rounds:
        for each in operations:
            assert apply(desk.dir, each) == apply(plain, each)
        version = desk.push().version
        assert content(desk.dir) == content(plain)
        files = [entry for entry in content(desk.fetched(version)) if entry[1] != "dir"]
        expected = [entry for entry in content(plain) if entry[1] != "dir"]
        assert [entry[:4] for entry in files] == [entry[:4] for entry in expected]
        assert desk.status() == ([], [], [], [])
    desk.unmount()
    shutil.rmtree(desk.place)


def test_push__pages_in_which_nothing_changed(tmp_path):
    """Of a version with many pages, those without a change are kept as they are; content and hash are those of the folder."""
    tree = {f"dir{at % 40:02}/{'sub/' if at % 3 else ''}file{at:05}": b"%d" % at * (1 + at % 90) for at in range(6000)}
    desk = Desk(tmp_path, tree | {"dir07/empty": None, "zz": None, "dir20/link": "file00020"})
    desk.mount()
    version = "0.0"
    for round_ in range(4):
        (desk.dir / f"dir0{round_}" / "new").write_bytes(b"new" * round_)
        shutil.rmtree(desk.dir / f"dir1{round_}")
        (desk.dir / f"dir2{round_}" / "sub" / next(iter(os.listdir(desk.dir / f"dir2{round_}" / "sub")))).unlink()
        (desk.dir / "zz" / f"last{round_}").write_bytes(b"last")
        (desk.dir / f"a{round_}").mkdir()
        pages = _pages(desk, version)
        pushed = desk.push()
        version = pushed.version
        assert pushed.hash == local_manifest(desk.dir).content_hash
        assert content(desk.fetched(version)) == content(desk.dir)
        now = _pages(desk, version)
        assert len(pages) > 12
        assert 0 < len(now - pages) <= 6
        assert desk.repository.push(desk.fetched(version), "n").created is False


def _pages(desk, version):
    return {page.digest for page in desk.repository.local.packed("n", version, desk.meta(version)).root()[0].pages}


@needs_root
def test_disk_full__the_writer_is_told(tmp_path):
    """Where the disk of the cache is full the writer gets ENOSPC, and what was written before is there and can be pushed."""
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", small], check=True)
    desk = Desk(tmp_path / "desk", cache=small)
    desk.mount()
    (desk.dir / "a").write_bytes(b"changed")
    with pytest.raises(OSError, match="No space left"):
        (desk.dir / "large").write_bytes(b"x" * (8 << 20))
    (desk.dir / "large").unlink()
    assert (desk.dir / "a").read_bytes() == b"changed"
    assert desk.push().version == "0.1"
    assert (desk.fetched("0.1") / "a").read_bytes() == b"changed"
    desk.unmount()
