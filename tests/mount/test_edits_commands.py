"""``asset mount --writable`` and what goes with it, as people type it: the version is mounted for real, by its daemon."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from holdfast.mount.registry import MountSettings, Registry
from holdfast.mount.table import stacked_at
from tests import forking
from tests.mount.edit_operations import content, lay
from tests.mount.overlays import needs_overlay

pytestmark = [
    needs_overlay,
    pytest.mark.skipif(not os.access("/dev/fuse", os.R_OK | os.W_OK), reason="there is no FUSE device"),
]

TREE = {"a": b"one", "d/b": os.urandom(300_000), "d/c": b"three"}


class Shell:
    """A store with one version of ``nlp/n``, a directory, and the commands."""

    def __init__(self, place: Path):
        self.place, self.dir = place, place / "dir"
        for name in ("store", "dir", "assets"):
            (place / name).mkdir()
        folders = {f"XDG_{name}_HOME": str(place / name.lower()) for name in ("CACHE", "STATE", "CONFIG")}
        self.environ = {**os.environ, **folders, "HOLDFAST_ASSETS_DIR": str(place / "assets")}
        self.environ["HOLDFAST_STORE"] = f"file://{place}/store"
        self.source = lay(place / "source", TREE)
        self.ok("push", self.source, "nlp/n")

    def run(self, *words, **environ):
        return forking.run("holdfast.cli", words, env=self.environ | environ, timeout=120)

    def ok(self, *words, **environ):
        done = self.run(*words, **environ)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def json(self, *words):
        return json.loads(self.ok(*words, "--json"))

    def refused(self, code, *words, **environ):
        done = self.run(*words, "--json", **environ)
        assert done.returncode == code, (done.stdout, done.stderr)
        return json.loads(done.stdout)["error"]

    def reboot(self):
        """As the machine going down leaves it."""
        for mount in self.json("mounts"):
            for name in ("supervisor_pid", "worker_pid"):
                if mount[name]:
                    os.kill(mount[name], signal.SIGKILL)
        for place in [self.dir, *(self.place / "cache/holdfast/edits").glob("*/*/lower")]:
            while stacked_at(str(place)):
                subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture
def shell(tmp_path):
    return Shell(tmp_path)


def test_writable__from_mount_to_unmount(shell):
    """A version is mounted, changed, pushed and unmounted by commands, of which each tells what it did."""
    shell.ok("mount", "nlp/n", shell.dir, "--writable")
    (shell.dir / "a").write_bytes(b"changed")
    (shell.dir / "d" / "c").unlink()
    (shell.dir / "new").write_bytes(b"new")
    expected = {"added": ["new"], "removed": ["d/c"], "changed": ["a"], "bytes_added": 10, "bytes_removed": 8}
    assert shell.json("status", shell.dir) == expected
    assert shell.json("diff", "nlp/n:0.0", shell.dir) == expected
    pushed = shell.json("push", shell.dir, "-m", "in place")
    assert (pushed["version"], pushed["created"], pushed["layout"]) == ("0.1", True, "packs")
    assert shell.json("show", "nlp/n:0.1")["parent"] == "0.0"
    assert not any(shell.json("status", shell.dir).values())
    assert shell.json("diff", "nlp/n:0.0", shell.dir) == expected
    [mount] = shell.json("mounts")
    assert (mount["dir"], mount["source"], mount["kind"]) == (str(shell.dir), "nlp/n:0.1", "version")
    assert mount["state"] == "mounted"
    assert content(Path(shell.ok("fetch", "nlp/n:0.1").strip())) == content(shell.dir)
    assert shell.json("unmount", shell.dir) == {"unmounted": [str(shell.dir)]}
    assert shell.json("mounts") == []
    assert os.listdir(shell.dir) == []
    assert os.listdir(shell.place / "cache" / "holdfast" / "edits") == []
    assert stacked_at(str(shell.dir)) == []


def test_writable__where_no_record_can_be_written(shell):
    """Where the record of a writable mount cannot be written nothing is mounted, and changes from before are there at the next mount."""
    shell.ok("mount", "nlp/n", shell.dir, "--writable")
    (shell.dir / "a").write_bytes(b"changed")
    shell.reboot()
    records = shell.place / "state/holdfast/mounts"
    records.chmod(0o777)
    assert shell.refused(1, "mount", "nlp/n", shell.dir, "--writable")["kind"] == "local"
    assert stacked_at(str(shell.dir)) == []
    records.chmod(0o700)
    assert shell.refused(3, "mount", "nlp/n:7", shell.dir, "--writable")["kind"] == "not_found"
    assert [each["source"] for each in shell.json("mounts")] == ["nlp/n:0.0"]
    shell.ok("mount", "nlp/n", shell.dir, "--writable")
    assert (shell.dir / "a").read_bytes() == b"changed"
    assert [each["state"] for each in shell.json("mounts")] == ["mounted"]


def test_writable__where_a_live_mount_was(shell):
    """Where a live mount was not unmounted no writable mount takes its place: what it has not sent would go with the record of that."""
    registry = Registry(shell.place / "state/holdfast/mounts")
    with registry.claimed(MountSettings(str(shell.dir), "s3://media", "rclone", {})) as record:
        unsent = record.folder / "cache" / "unsent"
        unsent.parent.mkdir()
        unsent.write_bytes(b"unsent")
    error = shell.refused(4, "mount", "nlp/n", shell.dir, "--writable")
    assert (error["kind"], error["hint"]) == ("conflict", f"asset unmount {shell.dir}")
    assert registry.find(str(shell.dir)).settings == record.settings
    assert unsent.read_bytes() == b"unsent"
    assert stacked_at(str(shell.dir)) == []


def test_writable__unpushed_changes(shell):
    """Unmounting with unpushed changes is exit 4 and names them; --discard says what it threw away."""
    shell.ok("mount", "nlp/n", shell.dir, "--writable")
    (shell.dir / "a").write_bytes(b"changed")
    error = shell.refused(4, "unmount", shell.dir)
    assert error["kind"] == "conflict"
    assert "unpushed changes: a" in error["message"]
    assert "--discard" in error["hint"]
    assert (shell.dir / "a").read_bytes() == b"changed"
    assert shell.refused(4, "unmount", "--all")["kind"] == "conflict"
    gone = shell.json("unmount", shell.dir, "--discard")
    assert gone["discarded"] == {
        str(shell.dir): {"added": [], "removed": [], "changed": ["a"], "bytes_added": 7, "bytes_removed": 3}
    }


@pytest.mark.parametrize("words", [("push",), ("status",), ("diff", "nlp/n"), ("unmount",)], ids=lambda words: words[0])
def test_writable__whose_version_was_collected(shell, words):
    """Where the version below was removed and collected, a command that needs it says so, and where the changes lie; none is lost."""
    shell.ok("mount", "nlp/n", shell.dir, "--writable")
    (shell.dir / "new").write_bytes(b"new")
    store = shell.place / "store"
    (store / "nlp/n/0.0.meta").unlink()  # as a collector leaves it once the undo window and the grace are over
    (store / "nlp/n/0.0").unlink()
    shutil.rmtree(store / ".holdfast/packs")
    shutil.rmtree(shell.place / "cache/holdfast/manifests")
    if words[0] == "diff":  # against what is there
        shell.ok("push", lay(shell.place / "other", {"x": b"x"}), "nlp/n")
    done = shell.run(*words, shell.dir, "--json")
    error = json.loads(done.stdout)["error"]
    assert f"nlp/n:0.0, which {shell.dir} shows, was removed and collected" in error["message"]
    upper = Path(error["hint"].removeprefix("copy what was changed out of ").partition(",")[0])
    assert (upper / "new").read_bytes() == (shell.dir / "new").read_bytes() == b"new"
    assert f"asset unmount {shell.dir} --discard" in error["hint"]
    assert list(shell.json("unmount", shell.dir, "--discard")["discarded"]) == [str(shell.dir)]


def test_writable__after_a_reboot(shell):
    """After a reboot the mount is told to be dead; mounting it again brings every change, and unmounting it without is refused."""
    shell.ok("mount", "nlp/n", shell.dir, "--writable")
    (shell.dir / "a").write_bytes(b"changed")
    shell.reboot()
    [mount] = shell.json("mounts")
    assert (mount["source"], mount["state"]) == ("nlp/n:0.0", "dead")
    assert shell.json("status", shell.dir)["changed"] == ["a"]
    assert shell.refused(4, "unmount", shell.dir)["kind"] == "conflict"
    shell.ok("mount", "nlp/n", shell.dir, "--writable")
    assert (shell.dir / "a").read_bytes() == b"changed"
    assert (shell.dir / "d" / "b").read_bytes() == TREE["d/b"]
    assert shell.json("mounts")[0]["state"] == "mounted"
    assert shell.json("push", shell.dir)["version"] == "0.1"
    shell.ok("unmount", shell.dir)


def test_writable__readers_outlive_a_push(shell):
    """A file of the version that is open goes on being read after the mount has gone on to the next version."""
    shell.ok("mount", "nlp/n", shell.dir, "--writable")
    with (shell.dir / "d" / "b").open("rb") as file:
        assert file.read(1000) == TREE["d/b"][:1000]
        (shell.dir / "a").write_bytes(b"changed")
        shell.ok("push", shell.dir)
        time.sleep(1)
        assert file.read() == TREE["d/b"][1000:]
    shell.ok("unmount", shell.dir)


def test_writable__worker_killed(shell):
    """A worker of the version below that is killed is replaced, and the mount with its changes goes on."""
    shell.ok("mount", "nlp/n", shell.dir, "--writable")
    (shell.dir / "a").write_bytes(b"changed")
    os.kill(shell.json("mounts")[0]["worker_pid"], signal.SIGKILL)
    assert (shell.dir / "d" / "b").read_bytes() == TREE["d/b"]
    assert (shell.dir / "a").read_bytes() == b"changed"
    shell.ok("unmount", shell.dir, "--discard")


def test_writable__supervisor_killed(shell):
    """Where the supervisor of the version below was killed, the next writable mount there has every change; who is in the dead one is named."""
    shell.ok("mount", "nlp/n", shell.dir, "--writable")
    (shell.dir / "a").write_bytes(b"changed")
    (shell.dir / "d" / "c").unlink()
    os.kill(shell.json("mounts")[0]["supervisor_pid"], signal.SIGKILL)
    _until(lambda: shell.json("mounts")[0]["state"] == "dead")
    with (shell.dir / "a").open("rb"):
        error = shell.refused(1, "mount", "nlp/n", shell.dir, "--writable")
        assert (error["kind"], f"process {os.getpid()}" in error["message"]) == ("busy", True), error
    assert shell.refused(4, "unmount", shell.dir)["kind"] == "conflict"
    shell.ok("mount", "nlp/n", shell.dir, "--writable")
    assert [each["state"] for each in shell.json("mounts")] == ["mounted"]
    assert ((shell.dir / "a").read_bytes(), (shell.dir / "d" / "b").read_bytes()) == (b"changed", TREE["d/b"])
    assert os.listdir(shell.dir / "d") == ["b"]
    (shell.dir / "new").write_bytes(b"new")
    assert shell.json("status", shell.dir)["added"] == ["new"]
    assert len(stacked_at(str(shell.dir))) == 1
    shell.ok("unmount", shell.dir, "--discard")


def _until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    "words", [["--follow"], ["--foreground"], ["-o", "ro"], ["-o", "noexec"], ["--with", "rclone"]]
)
def test_writable__with_what_it_does_not_go(shell, words):
    """--writable with --follow, --foreground, -o ro, -o noexec or a mounter is exit 2, and nothing is mounted."""
    source = "s3://bucket" if "--with" in words else "nlp/n"
    assert shell.refused(2, "mount", source, shell.dir, "--writable", *words)["kind"] == "usage"
    assert shell.json("mounts") == []
    assert stacked_at(str(shell.dir)) == []


def test_writable__in_use(shell):
    """A mount that somebody is in stays, and who it is is named; --wait waits for him."""
    shell.ok("mount", "nlp/n", shell.dir, "--writable")
    holder = subprocess.Popen(["sleep", "3"], cwd=shell.dir)
    try:
        error = shell.refused(1, "unmount", shell.dir)
        assert error["kind"] == "busy"
        assert f"sleep (process {holder.pid})" in error["message"]
        shell.ok("unmount", shell.dir, "--wait")
        assert stacked_at(str(shell.dir)) == []
    finally:
        holder.kill()
        holder.wait()


def test_writable__of_another_store(shell):
    """A mount is pushed to the store that it is from: with another one set, that is said and nothing is done."""
    shell.ok("mount", "nlp/n", shell.dir, "--writable")
    (shell.dir / "a").write_bytes(b"changed")
    (shell.place / "other").mkdir()
    error = shell.refused(2, "push", shell.dir, HOLDFAST_STORE=f"file://{shell.place}/other")
    assert f"file://{shell.place}/store" in error["message"]
    shell.ok("unmount", shell.dir, "--discard", HOLDFAST_STORE=f"file://{shell.place}/other")


def test_writable__bad_places(shell):
    """A directory that is not there, not empty or mounted already is refused, and what is there stays."""
    assert shell.refused(3, "mount", "nlp/n", shell.place / "nowhere", "--writable")["kind"] == "not_found"
    assert shell.refused(4, "mount", "nlp/n", shell.source, "--writable")["kind"] == "already_exists"
    shell.ok("mount", "nlp/n", shell.dir, "--writable")
    assert "asset unmount" in shell.refused(1, "mount", "nlp/n", shell.dir, "--writable")["hint"]
    assert shell.refused(4, "mount", "nlp/n", shell.dir / "d", "--writable")["kind"] in ("conflict", "already_exists")
    shell.ok("unmount", shell.dir)


SCRIPT = """
set -e
asset() { "$PYTHON" -m holdfast.cli "$@"; }
asset mount nlp/n "$DIR" --writable
test "$(cat "$DIR/a")" = one
echo two > "$DIR/a"; rm -r "$DIR/d"; mkdir "$DIR/d"; echo new > "$DIR/d/new"
asset status "$DIR"
asset push "$DIR"
test "$(ls "$DIR/d")" = new
echo three > "$DIR/a"
exec 5< "$DIR/a"
asset push "$DIR"
exec 5<&-
asset push "$DIR"
asset status "$DIR"
echo four > "$DIR/a"
asset unmount "$DIR" && exit 1
asset unmount "$DIR" --discard
test -z "$(ls "$DIR")"
"""


needs_another_user = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("fuse-overlayfs", "fusermount3", "unshare", "setpriv"))),
    reason="fuse-overlayfs, fusermount3, unshare and setpriv are needed, and root to become another user",
)


def as_user(shell, script, allowed=""):
    """Run a script of the shell as an ordinary user, on a machine whose fuse.conf says what is ``allowed``."""
    node, conf, ids = shell.place / "fuse", shell.place / "fuse.conf", ["--reuid", "1000", "--regid", "1000"]
    os.mknod(node, 0o666 | stat.S_IFCHR, os.makedev(10, 229))
    os.chmod(node, 0o666)  # noqa: S103 - as udev makes it
    conf.write_text(f"{allowed}\n")
    reach = ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]  # Python may lie in root's home
    subprocess.run(["chown", "-R", "1000:1000", shell.place], check=True)
    subprocess.run(["chown", "0:0", conf], check=True)
    for folder in [path for path in shell.place.parents if path.name.startswith(("pytest-", "popen-"))]:
        folder.chmod(0o711)
    bound = 'mount --bind "$0" /dev/fuse && mount --bind "$1" /etc/fuse.conf && shift && exec "$@"'
    words = ["unshare", "-m", "sh", "-c", bound, node, conf, "setpriv", *ids, "--clear-groups", *reach]
    environ = shell.environ | {"PYTHON": sys.executable, "DIR": str(shell.dir), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [*words, "sh", "-c", script], env=environ, capture_output=True, text=True, check=False, timeout=120
    )


@needs_another_user
def test_writable__without_root(shell):
    """An ordinary user has it by fuse-overlayfs: the mount moves while nobody is in it, else the next push moves it."""
    done = as_user(shell, SCRIPT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "stays at nlp/n:0.1 while somebody is in it" in done.stderr
    assert "M a\n" in done.stdout
    assert "nlp/n:0.2" in done.stdout
    assert "unpushed changes: a" in done.stderr


NOT_FOR_OTHERS = """
asset() { "$PYTHON" -P -m holdfast.cli "$@"; }
asset mount nlp/n "$DIR" --writable -o allow_other; echo "exit $?"
set -e
test -z "$(ls "$XDG_CACHE_HOME/holdfast/edits")"
test -z "$(ls "$DIR")"
asset mount nlp/n "$DIR" --writable
echo two > "$DIR/a"
asset unmount "$DIR" --discard
"""


@needs_another_user
def test_writable__for_others_that_fuse_conf_does_not_allow(shell):
    """An ordinary user whom fuse.conf does not allow it cannot mount a version for others to change, and is told what to write there; for himself he can."""
    done = as_user(shell, NOT_FOR_OTHERS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "exit 1\n" in done.stdout
    assert "option allow_other only allowed if" in done.stderr
    assert "hint: allow_other needs user_allow_other in /etc/fuse.conf" in done.stderr


FOR_OTHERS = """
set -e
asset() { "$PYTHON" -P -m holdfast.cli "$@"; }
flags() { grep -F " $DIR fuse.fuse-overlayfs" /proc/self/mounts; }
asset mount nlp/n "$DIR" --writable -o allow_other
flags
echo two > "$DIR/a"
asset push "$DIR"
flags
asset unmount "$DIR"
asset mount nlp/n "$DIR" --writable
test -z "$(flags | grep allow_other)"
asset unmount "$DIR"
"""


@needs_another_user
def test_writable__for_others_without_root(shell):
    """An ordinary user's writable mount is for others only with -o allow_other, and so it stays when it moves to the version that was pushed."""
    done = as_user(shell, FOR_OTHERS, "user_allow_other")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(",allow_other ") == 2, done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("first", [(), ("-o", "allow_other")], ids=["closed", "open"])
def test_writable__for_others_after_a_reboot(shell, first):
    """Whether others come into changes that are mounted again, the new mount says, and not the one before."""
    then = () if first else ("-o", "allow_other")
    shell.ok("mount", "nlp/n", shell.dir, "--writable", *first)
    (shell.dir / "a").write_bytes(b"changed")
    shell.reboot()
    shell.ok("mount", "nlp/n", shell.dir, "--writable", *then)
    assert (shell.dir / "a").read_bytes() == b"changed"
    assert shell.dir.stat().st_mode & 0o777 == (0o755 if then else 0o700)
    shell.ok("unmount", shell.dir, "--discard")
