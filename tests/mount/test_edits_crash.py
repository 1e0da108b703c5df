"""A push of a writable mount that is killed at any step: the next command goes on, and no change is lost."""

from __future__ import annotations

import json
import os

import pytest

import holdfast.failpoint
from holdfast.mount.table import stacked_at
from tests import forking
from tests.mount.edit_operations import content, lay
from tests.mount.overlays import needs_overlay, needs_root
from tests.mount.test_edits_in_place import Desk

pytestmark = [needs_overlay, needs_root]

POINTS = [point for point in holdfast.failpoint.POINTS if point.startswith(("push.", "edits."))]
#: Not passed by a push of a mount: the data of other layouts, and an alias.
PASSED = [point for point in POINTS if point != "push.data-partly"]
#: Those between which the changes, the version or the mount are others.
TELLING = [point for point in PASSED if point.startswith("edits.") or point in ("push.claimed", "push.meta-written")]


def run(desk, *words, point=""):
    environ = {**os.environ, "HOLDFAST_FAILPOINT": point}
    return forking.run("tests.mount.edit_program", [desk.place, *words], env=environ)


def change(folder):
    """Changes of every kind; returns what the folder is then."""
    (folder / "a").write_bytes(b"changed")
    (folder / "d" / "b").unlink()
    (folder / "new").mkdir()
    (folder / "new" / "file").write_bytes(b"new")
    (folder / "short").write_bytes(b"short-lived")
    return content(folder)


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path)
    desk.mount()
    return desk


@pytest.mark.parametrize(
    ("point", "reboot"), [(point, False) for point in PASSED] + [(point, True) for point in TELLING]
)
def test_push__killed(desk, point, reboot):
    """Whatever was done when it died: more is changed, the next push publishes all of it, and the mount shows it all the while."""
    expected = change(desk.dir)
    killed = run(desk, "push", desk.dir, point=point)
    assert killed.returncode == -9, killed.stderr
    assert content(desk.dir) == expected
    if reboot:
        desk.reboot()
        assert run(desk, "mount", "n", desk.dir).returncode == 0
        assert content(desk.dir) == expected
    elif not _is_held(desk):
        (desk.dir / "short").unlink()
        (desk.dir / "a").write_bytes(b"changed after the crash")
        expected = content(desk.dir)
    done = run(desk, "push", desk.dir)
    assert done.returncode == 0, done.stderr
    assert content(desk.dir) == expected
    version = json.loads(done.stdout)["version"]
    assert content(desk.fetched(version)) == expected
    assert version == desk.repository.resolve("n")
    assert desk.status() == ([], [], [], [])
    assert len(stacked_at(str(desk.dir))) == 1
    assert sorted(path.name for path in desk.edits.folder.iterdir() if path.is_dir()) == [
        str(desk.edits.read().generation)
    ]
    (desk.dir / "a").write_bytes(b"it can be written")
    desk.push()
    desk.unmount()


def _is_held(desk) -> bool:
    try:
        (desk.dir / "a").open("ab").close()
    except OSError:
        return True
    return False


@pytest.mark.parametrize("point", TELLING)
def test_unmount__after_a_killed_push(desk, point):
    """Unmounting after it is refused where changes are unpushed, and loses none that is."""
    expected = change(desk.dir)
    assert run(desk, "push", desk.dir, point=point).returncode == -9
    done = run(desk, "unmount", desk.dir)
    if done.returncode == 4:
        assert "unpushed changes" in done.stderr
        assert content(desk.dir) == expected
        (desk.dir / "a").write_bytes(b"it can be written")
        assert run(desk, "discard", desk.dir).returncode == 0
    else:
        assert done.returncode == 0, done.stderr
        assert content(desk.fetched(desk.repository.resolve("n"))) == expected
    assert stacked_at(str(desk.dir)) == []
    assert desk.edits is None


def test_push__the_same_was_pushed_meanwhile(desk):
    """Where somebody has pushed the very same, there is no new version, and the mount goes on from that one."""
    change(desk.dir)
    desk.repository.push(desk.dir, "n")
    pushed = desk.push()
    assert (pushed.version, pushed.created) == ("0.1", False)
    assert desk.edits.read().base.version == "0.1"
    assert desk.status() == ([], [], [], [])


def test_push__killed_and_another_pushed_on(desk):
    """A version of the killed push that is followed by another's stays in the list, and the mount goes on from it."""
    expected = change(desk.dir)
    assert run(desk, "push", desk.dir, point="push.meta-written").returncode == -9
    desk.repository.push(lay(desk.place / "other", {"a": b"other"}), "n")
    assert run(desk, "push", desk.dir).returncode == 0
    assert content(desk.dir) == expected
    assert set(desk.repository.versions("n").versions) == {"0.0", "0.1", "0.2"}
    assert desk.edits.read().base.version == "0.1"
