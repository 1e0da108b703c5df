"""``asset site sync --dry-run`` says what a sync would send, lay, delete and hold back, and writes neither here nor in the store."""

from __future__ import annotations

import os
import shutil
import signal
import time
from typing import TYPE_CHECKING

import pytest

from holdfast.sites.webroot import QUIET
from tests.sites.servers import Server, servers_in, settle

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any


@pytest.fixture
def two(tmp_path: Path) -> list[Server]:
    """Two servers that are alike."""
    servers = servers_in(tmp_path, 2)
    for name in ("index.php", "about.php", "images/logo.png", "images/old.png"):
        servers[0].put(name, f"first {name}")
    settle(*servers)
    return servers


def everything(*servers: Server) -> dict[str, Any]:
    """All that lies in the servers' folders but for their caches, and in the store beside them, with times."""
    found: dict[str, Any] = {}
    for server in servers:
        (server.folder / "home/.cache").mkdir(exist_ok=True)
    for top in (*(server.folder for server in servers), servers[0].folder.parent / "store"):
        for folder, inner, names in os.walk(top):
            inner[:] = [name for name in inner if name != ".cache"]
            for path in (folder, *(os.path.join(folder, name) for name in names)):
                status = os.lstat(path)
                found[path] = (status.st_mode, status.st_ino, status.st_size, status.st_mtime_ns)
    return found


def planned(server: Server, *args: str, code: int = 0) -> dict[str, Any]:
    """What a dry run tells, which leaves everything as it is."""
    before = everything(server)
    ended = server("site", "sync", "--dry-run", "--json", *args)
    assert everything(server) == before
    assert ended.code == code
    return dict(ended.json)


def facts(report: dict[str, Any]) -> dict[str, Any]:
    """What a dry run and the real one must agree on."""
    return {name: sorted(report[name]) for name in ("published", "laid", "deleted", "held", "skipped", "wrong")}


def test_sync_dry_run__says_what_a_sync_would_do(two: list[Server]):
    """sync --dry-run tells what would be sent, changed, deleted and kept, writes neither here nor in the store, and the sync after it does just that."""
    one, other = two
    other.put("index.php", "second")
    other.put("about.php", "theirs")
    (other.webroot / "images/old.png").unlink()
    time.sleep(QUIET)
    other.sync()
    (one.webroot / "images/logo.png").unlink()
    one.put("new.php", "new")
    time.sleep(QUIET)
    told = planned(one)
    assert (told["published"], told["laid"]) == (
        ["images/logo.png", "new.php"],
        ["about.php", "images/old.png", "index.php"],
    )
    assert told["deleted"] == ["images/logo.png", "images/old.png"]
    text = one.ok("site", "sync", "--dry-run").out.splitlines()
    assert "would be sent: new.php" in text
    assert "would be deleted elsewhere: images/logo.png" in text
    assert "would be deleted here: images/old.png" in text
    assert "would be changed here: index.php" in text
    assert facts(one.sync()) == facts(told)
    assert facts(planned(one)) == {name: [] for name in facts(told)}


def test_sync_dry_run__of_a_server_that_never_synced(tmp_path: Path):
    """A server that never synced makes no state, no name and no log by a dry run; what the others have and it has otherwise would be kept."""
    one, other = servers_in(tmp_path, 2)
    for text in ("first", "theirs"):
        one.put("index.php", text)
        time.sleep(QUIET)
        one.sync()
    other.put("index.php", "mine")
    other.put("mine.php", "mine")
    time.sleep(QUIET)
    told = planned(other)
    assert not other.state.exists()
    assert (told["laid"], told["kept"], told["published"]) == (["index.php"], ["index.php"], ["mine.php"])
    made = other.sync()
    assert facts(made) == facts(told)
    assert other.kept == [b"mine"]


def test_sync_dry_run__deletions_that_are_held_back(two: list[Server]):
    """Deletions that a sync would hold back are told with its exit code, and with --accept-deletes what would go; nothing does."""
    one, other = two
    shutil.rmtree(one.webroot)
    one.webroot.mkdir()
    told = planned(one, code=4)
    ended = one("site", "sync", "--json")
    assert (ended.code, facts(ended.json)) == (4, facts(told))
    assert "index.php" in told["held"]
    assert set(planned(one, "--accept-deletes")["deleted"]) == set(other.tree)
    other.sync()
    assert "index.php" in other.tree


def test_sync_dry_run__is_refused_as_a_sync_is(two: list[Server]):
    """sync --dry-run is refused with the words and exit code of a sync: without a webroot, while another process syncs it, where the site does not sync; and with --watch."""
    one, _ = two
    with one.opened():
        assert one.fails(1, "sync", "--dry-run") == one.fails(1, "sync")
    one.webroot.rename(one.folder / "away")
    assert one.fails(1, "sync", "--dry-run") == one.fails(1, "sync")
    (one.folder / "away").rename(one.webroot)
    one.settings((one.folder.parent / "store").as_uri(), "sync_webroots = 0\n")
    assert one.fails(2, "sync", "--dry-run") == one.fails(2, "sync")
    assert one.fails(2, "sync", "--watch", "--dry-run")["kind"] == "usage"


@pytest.mark.parametrize("point", ["sync.published", "sync.intended", "sync.laid"])
def test_sync_dry_run__after_a_sync_that_was_killed(two: list[Server], point: str):
    """After a sync that was killed a dry run leaves what that noted as it is, its log on the disk too, and the next sync does what it told."""
    one, other = two
    other.put("index.php", "second")
    one.put("new.php", "new")
    time.sleep(QUIET)
    other.sync()
    assert one("site", "sync", "--json", HOLDFAST_FAILPOINT=point).code == -signal.SIGKILL
    time.sleep(QUIET)
    told = planned(one)
    assert facts(one.sync()) == facts(told)
    assert one.tree["index.php"][1] == b"second"


def test_sync_dry_run__rejoin_and_forget(two: list[Server]):
    """--rejoin and --forget with --dry-run tell and refuse as without, and forget nothing."""
    one, other = two
    other.put("index.php", "theirs")
    time.sleep(QUIET)
    other.sync()
    one.put("index.php", "mine")
    time.sleep(QUIET)
    assert planned(one, "--rejoin")["kept"] == ["index.php"]
    assert planned(one)["published"] == ["index.php"]  # it still knows what was agreed
    (name,) = [each["node"] for each in other.sync("--status") if each["here"]]
    assert one.fails(2, "sync", "--forget", "nobody", "--dry-run") == one.fails(2, "sync", "--forget", "nobody")
    planned(one, "--forget", name)
    assert name in [each["node"] for each in one.sync("--status")]
