"""A dry run of mount and unmount says what would happen, refuses what the real run refuses with the same exit code, and changes nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from holdfast.cli.main import run
from tests.mount.conftest import mounted_below
from tests.mount.live import PROGRAMS, require_fuse
from tests.mount.overlays import needs_overlay
from tests.mount.test_edits_commands import Shell
from tests.mount.test_live_union import united_of
from tests.mount.versions import needs_fuse

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services import Service

pytestmark = needs_fuse


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A store with one version of nlp/n, a directory, and the commands."""
    return Shell(tmp_path)


def everything(shell: Shell) -> dict[str, Any]:
    """All that lies below the test's folder but in what is mounted there, with times, and what is mounted; what living mounts report has but its name, and copies of manifests do not count."""
    found: dict[str, Any] = {"mounted": mounted_below(shell.place)}
    for folder, inner, names in os.walk(shell.place):
        inner[:] = [name for name in inner if not os.path.ismount(os.path.join(folder, name))]
        for path in (os.path.join(folder, name) for name in (*inner, *names)):
            if "/mounts/" in path and not path.endswith(".part"):
                found[path] = None
            elif "/cache/holdfast/manifests" not in path:
                status = os.lstat(path)
                found[path] = (status.st_mode, status.st_ino, status.st_size, status.st_mtime_ns)
    return found


def told(shell: Shell, *words: object) -> Any:
    """What a dry run says, which changes nothing."""
    before = everything(shell)
    found = shell.json(*words, "--dry-run")
    assert everything(shell) == before
    assert found.pop("dry_run") is True
    return found


def refused_alike(shell: Shell, code: int, *words: object) -> Any:
    """What a dry run is refused with, which changes nothing, and the real run with the same kind of error."""
    before = everything(shell)
    error = shell.refused(code, *words, "--dry-run")
    assert everything(shell) == before
    assert shell.refused(code, *words)["kind"] == error["kind"]
    return error


def test_mount_dry_run__of_a_version(shell):
    """mount --dry-run of a version tells what would be mounted where, and mounts nothing."""
    assert told(shell, "mount", "nlp/n", shell.dir) == {"dir": str(shell.dir), "source": "nlp/n", "kind": "version"}
    assert shell.ok("mount", "nlp/n", shell.dir, "--dry-run") == f"nlp/n would be mounted at {shell.dir}\n"
    assert shell.json("mounts") == []


@pytest.mark.parametrize("more", [[], pytest.param(["--writable"], marks=needs_overlay)])
def test_mount_dry_run__is_refused_as_mount_is(shell, more):
    """mount --dry-run is refused as mount is: no such version or directory, a part of a version, an unknown word, a directory that is not empty or a mount already."""
    refused_alike(shell, 3, "mount", "nlp/n:7", shell.dir, *more)
    refused_alike(shell, 3, "mount", "nlp/n", shell.place / "none", *more)
    refused_alike(shell, 2, "mount", "nlp/n[a]", shell.dir, *more)
    refused_alike(shell, 2, "mount", "nlp/n", shell.dir, "-o", "uid=1", *more)
    (shell.dir / "mine").touch()
    refused_alike(shell, 4, "mount", "nlp/n", shell.dir, *more)
    (shell.dir / "mine").unlink()
    shell.ok("mount", "nlp/n", shell.dir, *more)
    refused_alike(shell, 1, "mount", "nlp/n", shell.dir, *more)
    refused_alike(shell, 4, "mount", "nlp/n", shell.dir / "d", *more)
    assert told(shell, "unmount", shell.dir) == {"unmounted": [str(shell.dir)]}
    assert f"{shell.dir} would be unmounted" in shell.ok("unmount", "--all", "--dry-run")
    with open(shell.dir / "a", "rb"):
        assert f"process {os.getpid()}" in refused_alike(shell, 1, "unmount", shell.dir)["message"]
    shell.ok("unmount", shell.dir)
    refused_alike(shell, 3, "unmount", shell.dir)
    refused_alike(shell, 2, "unmount")


@needs_overlay
def test_unmount_dry_run__names_what_would_be_thrown_away(shell):
    """unmount --dry-run of unpushed changes is exit 4 and names them, with --discard it tells what would be thrown away; all of them stay."""
    shell.ok("mount", "nlp/n", shell.dir, "--writable")
    (shell.dir / "a").write_bytes(b"changed")
    assert "unpushed changes: a" in refused_alike(shell, 4, "unmount", shell.dir)["message"]
    expected = {"added": [], "removed": [], "changed": ["a"], "bytes_added": 7, "bytes_removed": 3}
    found = told(shell, "unmount", shell.dir, "--discard")
    assert found == {"unmounted": [str(shell.dir)], "discarded": {str(shell.dir): expected}}
    shell.ok("push", shell.source, "nlp/n", "--version", "0.1")
    shell.reboot()
    refused_alike(shell, 4, "mount", "nlp/n:0.1", shell.dir, "--writable")
    assert told(shell, "mount", "nlp/n:0.0", shell.dir, "--writable")["source"] == "nlp/n:0.0"
    assert shell.json("unmount", shell.dir, "--discard") == found


@needs_overlay
def test_unmount_dry_run__after_a_push_that_was_killed(shell):
    """After a push that was killed once its version was whole, unmount --dry-run counts as lost only what was changed since."""
    shell.ok("mount", "nlp/n", shell.dir, "--writable")
    (shell.dir / "a").write_bytes(b"changed")
    assert shell.run("push", shell.dir, HOLDFAST_FAILPOINT="edits.pushed").returncode < 0
    assert told(shell, "unmount", shell.dir) == {"unmounted": [str(shell.dir)]}
    (shell.dir / "d/c").write_bytes(b"since")
    assert "changes: d/c" in refused_alike(shell, 4, "unmount", shell.dir)["message"]


@pytest.fixture
def live(shell, ceph: Service, monkeypatch) -> tuple[Shell, str]:
    """The same, and a bucket that can be mounted live."""
    require_fuse()
    shell.environ |= {**ceph.env, "HOLDFAST_MOUNT_PATH": PROGRAMS}
    return shell, ceph.fresh_store()


def test_dry_run__of_a_live_mount(live):
    """mount and unmount --dry-run of a live bucket tell what would happen, are refused as the real ones are, and with --discard name what is not sent."""
    shell, url = live
    words = ["mount", url, shell.dir, "--with", "rclone"]
    assert told(shell, *words) == {"dir": str(shell.dir), "source": url, "kind": "rclone"}
    refused_alike(shell, 2, "mount", url, shell.dir, "--with", "nothing")
    refused_alike(shell, 2, "mount", "file:///tmp", shell.dir, "--with", "rclone")
    refused_alike(shell, 3, "mount", "s3://there-is-no-such-bucket", shell.dir, "--with", "rclone")
    shell.ok(*words)
    refused_alike(shell, 1, *words)
    assert told(shell, "unmount", shell.dir, "--wait") == {"unmounted": [str(shell.dir)]}
    with open(shell.dir / "upload", "wb") as file:
        file.write(b"not sent")
        file.flush()
        assert "is in use" in refused_alike(shell, 1, "unmount", shell.dir)["message"]
        found = told(shell, "unmount", shell.dir, "--discard")
        assert found == {"unmounted": [str(shell.dir)], "unsent": {str(shell.dir): ["upload"]}}
    shell.ok("unmount", shell.dir, "--wait")


def test_unmount_dry_run__of_a_union(ceph: Service, tmp_path: Path, monkeypatch, capsys):
    """unmount --dry-run of a branch is refused while its union stands, and with --all, which takes the union away first, it is not."""
    united = united_of(ceph, tmp_path)
    united.mount()
    for name, value in united.one.environ.items():
        monkeypatch.setenv(name, value)
    assert run(["unmount", str(united.one.directory), "--dry-run"]) == 1
    assert "is a branch of" in capsys.readouterr().err
    assert run(["unmount", "--all", "--dry-run"]) == 0
    places = (united.directory, united.one.directory, united.two.directory)
    assert capsys.readouterr().out.splitlines() == [f"{place} would be unmounted" for place in places]
    united.end()
