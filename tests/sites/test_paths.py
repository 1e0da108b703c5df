"""Paths below a webroot are opened piece by piece: no link is followed, no mount entered, whatever is planted and when."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from holdfast import disk
from holdfast.errors import LocalError
from holdfast.model.digest import digest_of
from holdfast.sites.paths import Below


@pytest.fixture
def folders(tmp_path):
    """A webroot and a place outside of it with a secret."""
    (tmp_path / "www/a/b").mkdir(parents=True)
    (tmp_path / "www/a/b/file").write_text("file")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("secret")
    (tmp_path / "other").mkdir()
    return tmp_path


@pytest.mark.parametrize("planted", ["a", "a/b", "a/b/file"])
def test_planted__at_each_piece(folders, planted):
    """A link planted at any piece of a path is refused by name, and what it leads to stays as it was."""
    path = folders / "www" / planted
    path.rename(folders / "was")
    path.symlink_to(folders / "outside", target_is_directory=True)
    with Below(folders / "www") as root, Below(folders / "other") as other:
        if planted != "a/b/file":
            with pytest.raises(LocalError, match="not followed"):
                root.move("a/b/file", other, "x")
            with pytest.raises(LocalError, match="not followed"):
                root.make("a/b/c")
            with pytest.raises(LocalError, match="not followed"):
                root.digest("a/b/file")
        else:
            root.move("a/b/file", other, "x")  # the link itself
            assert (folders / "other/x").is_symlink()
            other.move("x", root, "a/b/file")
            with pytest.raises(LocalError):
                root.digest("a/b/file")
    assert os.listdir(folders / "outside") == ["secret"]
    assert (folders / "outside/secret").read_text() == "secret"


@pytest.mark.parametrize("path", ["../outside/secret", "a/../../outside", "/etc", "a//b", "."])
def test_path__that_leads_out(folders, path):
    """A path that leads out is refused."""
    with Below(folders / "www") as root, pytest.raises(LocalError):
        root.make(path)


def test_walk__links_are_told_not_followed(folders):
    """A walk tells links with where they lead, and does not go into them."""
    (folders / "www/out").symlink_to(folders / "outside")
    with Below(folders / "www") as root:
        met = {each.path: (each.kind, each.target) for each in root.walk()}
    assert met["out"] == ("link", str(folders / "outside"))
    assert set(met) == {"a", "a/b", "a/b/file", "out"}


def test_verbs(folders):
    """Making, moving, looking and digesting do what they say below the folder."""
    with Below(folders / "www") as root, Below(folders / "other") as other:
        assert root.digest("a/b/file") == digest_of(b"file")
        assert root.look("a/none") is None
        root.make("x/y", 0o700)
        assert (folders / "www/x/y").stat().st_mode & 0o777 == 0o700
        root.move("a/b/file", other, "deep/er/file")
        root.remove_directory("a/b")
        root.sync()
    assert (folders / "other/deep/er/file").read_text() == "file"
    assert not (folders / "www/a/b").exists()
    with pytest.raises(LocalError):
        Below(folders / "none")


SCRIPT = """
import sys
from holdfast.errors import ConflictError
from holdfast.sites.paths import Below
root = Below(sys.argv[1])
assert sorted(each.path for each in root.walk()) == ["a"], list(root.walk())
try:
    root.make("a/b/c")
except ConflictError as error:
    print(error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")
def test_mount__is_never_entered(folders):
    """Nothing is reached through a mount: it is refused by name, and a walk does not go in."""
    command = 'mount -t tmpfs none "$1/a/b" && exec "$2" -c "$3" "$1"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", command, "sh", str(folders / "www"), sys.executable, SCRIPT],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "a/b is mounted" in done.stdout


@pytest.mark.parametrize("knows", ["renames", "links", "neither"])
def test_move__never_over_what_is_there(folders, monkeypatch, knows):
    """What has a name already keeps it, whatever the file system knows of renaming; what has none gets it."""
    if knows != "renames":
        monkeypatch.setattr(disk, "_system_call", lambda _: None)
    if knows == "neither":
        monkeypatch.setattr(os, "link", refuse)
    (folders / "other/taken").write_text("taken")
    with Below(folders / "www") as root, Below(folders / "other") as other:
        with pytest.raises(LocalError) as refused:
            root.move("a/b/file", other, "taken")
        assert isinstance(refused.value.__cause__, FileExistsError)
        root.move("a/b/file", other, "free")
        root.move("a", other, "folder")
    assert {path.name: path.read_text() for path in (folders / "other").iterdir() if path.is_file()} == {
        "taken": "taken",
        "free": "file",
    }
    assert os.listdir(folders / "www") == []
    assert os.listdir(folders / "other/folder") == ["b"]


def refuse(*_args, **_options):
    """What a file system without hard links says."""
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
