"""A dry run of what mounts and unmounts media says what would happen, refuses what the real run refuses, and writes nothing anywhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from holdfast import wiring
from holdfast.config import load
from tests.mount.live import require_fuse
from tests.sites.attachments import Fleet, fleet_of
from tests.sites.test_attach import IMAGES
from tests.sites.two_stores import UNREACHABLE, two_stores

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import Any

    from tests.services import Service
    from tests.sites.attachments import WebServer


@pytest.fixture
def fleet(ceph, tmp_path: Path) -> Iterator[Fleet]:
    """A deployed site, and a build machine."""
    require_fuse()
    with fleet_of(ceph, tmp_path) as found:
        yield found


def everything(fleet: Fleet, web: WebServer, buckets: Sequence[str] = ("images",)) -> dict[str, Any]:
    """All that a web server has on its disk but for its cache, with times, all that lies in the site's store and buckets, with tags, and what is mounted."""
    (web.folder / "home/.cache").mkdir(exist_ok=True)
    found: dict[str, Any] = {}
    for folder, inner, names in os.walk(web.folder):
        inner[:] = [name for name in inner if name != ".cache" and not os.path.ismount(os.path.join(folder, name))]
        for path in (folder, *(os.path.join(folder, name) for name in names)):
            status = os.lstat(path)
            found[path] = (status.st_mode, status.st_ino, status.st_size, status.st_mtime_ns)
    settings = load({}, {**fleet.variables, "HOME": str(fleet.folder)})
    for store in (wiring.open_store(fleet.store_url, settings), *map(fleet.bucket, buckets)):
        for info in store.list(""):
            found[f"{store.url}/{info.key}"] = (info.size, info.etag, info.modified)
    return {**found, "mounted": web.mounted()}


def test_attach_dry_run__says_what_attach_would_do(fleet):
    """attach --dry-run tells of each directory what would be mounted and go aside, before and after attach; neither the machine nor a store changes."""
    web = fleet.server("web1")
    before = everything(fleet, web)
    (told,) = web.site("attach", "--dry-run", "--node", "other")["directories"]
    assert everything(fleet, web) == before
    assert (told["state"], told["objects"], told["missing"]) == ("would be mounted", len(IMAGES), 0)
    assert told["held"] == str(web.held)
    assert "nothing was done" in web.ok("site", "attach", "--dry-run").out
    (made,) = web.site("attach", "--node", "web1")["directories"]
    assert os.path.dirname(made["held"]) == told["held"]
    before = everything(fleet, web)
    report = web.site("attach", "--dry-run")
    assert everything(fleet, web) == before
    assert (report["node"], report["directories"][0]["state"]) == ("web1", "is mounted")


def test_attach_dry_run__of_an_empty_webroot(fleet):
    """attach --dry-run of an empty webroot tells from which backup it would be filled; where none is named, or there is no such backup, it fails as attach does."""
    web = fleet.server("web1", empty=True)
    (version,) = [each["version"] for each in web.site("backups") if each["period"] == "hourly"]
    before = everything(fleet, web)
    assert "--from" in web.fails(2, "attach", "--dry-run")["hint"]
    refused = web.fails(3, "attach", "--from", "weekly", "--dry-run")
    report = web.site("attach", "--from", "hourly", "--dry-run")
    assert everything(fleet, web) == before
    assert (report["restored"], report["directories"][0]["held"]) == (f"hourly:{version}", None)
    assert web.fails(3, "attach", "--from", "weekly") == refused


def refused_alike(fleet: Fleet, web: WebServer, code: int, *args: str, **environ: str | None) -> Any:
    """What a dry run is refused with, which touches nothing, and the real run with the very same words."""
    before = everything(fleet, web)
    error = web.fails(code, *args, "--dry-run", **environ)
    assert everything(fleet, web) == before
    assert web.fails(code, *args, **environ) == error
    return error


def test_attach_dry_run__is_refused_as_attach_is(fleet, tmp_path):
    """attach --dry-run is refused with the words and exit code of attach: by a bucket that lost something, a missing mounter, another mount, a folder for moved-aside copies that others can enter, and without a deployment."""
    web = fleet.server("web1")
    (tmp_path / "nothing").mkdir()
    refused_alike(fleet, web, 1, "attach", HOLDFAST_MOUNT_PATH=str(tmp_path / "nothing"))
    web.held.mkdir(mode=0o755)
    assert "alone can enter" in refused_alike(fleet, web, 4, "attach")["message"]
    web.held.rmdir()
    fleet.bucket().delete("logo.png")
    assert refused_alike(fleet, web, 5, "attach")["kind"] == "integrity"
    report = web.site("attach", "--accept-changes", "--dry-run")["directories"][0]
    assert (report["state"], report["missing"]) == ("would be mounted", 1)
    with mounted_tmpfs(web.webroot / "images"):
        assert "is mounted at" in refused_alike(fleet, web, 4, "attach")["message"]
    fleet.build.site("detach", "--offline")
    assert "no deployment" in refused_alike(fleet, web, 4, "attach")["message"]


@contextmanager
def mounted_tmpfs(place: Path) -> Iterator[None]:
    """Something else that is mounted there."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    subprocess.run(["mount", "-t", "tmpfs", "none", place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True)


def test_attach_dry_run__after_a_killed_attach(fleet):
    """attach --dry-run after an attach that was killed tells where what lay there is, leaves the journal alone, and the next attach completes."""
    web = fleet.server("web1")
    assert web.fake("attach", HOLDFAST_FAILPOINT="site.step#3").code < 0
    before = everything(fleet, web)
    told = web.site("attach", "--dry-run")["directories"][0]
    assert everything(fleet, web) == before
    made = web.site("attach")["directories"][0]
    assert told["held"] == made["held"] is not None
    assert web.images() == IMAGES


def listed_copies(ceph: Service, web: WebServer) -> dict[str, Any]:
    """All that lies in the place of the copies, with tags."""
    url = tomllib.loads((web.folder / "site.toml").read_text())["copies"][0]["url"]
    store = wiring.open_store(url, load({}, {**ceph.env, **ceph.second, "HOME": str(web.folder)}))
    return {info.key: (info.size, info.etag, info.modified) for info in store.list("")}


def test_attach_dry_run__while_the_store_is_away(ceph, tmp_path):
    """attach --dry-run with the store away tells which copies would be shown, and why, with the exit code of attach; once they are shown it says so."""
    require_fuse()
    with two_stores(ceph, tmp_path) as (fleet, forwarder):
        fleet.deploy()
        web = fleet.server("web1")
        web.site("attach")
        web.site("replicate")
        web.site("detach")
        before, copies = everything(fleet, web), listed_copies(ceph, web)
        forwarder.silent = True
        ended = web("site", "attach", "--dry-run", "--json")
        forwarder.silent = False
        assert everything(fleet, web) == before
        assert listed_copies(ceph, web) == copies
        assert ended.code == UNREACHABLE
        (told,) = ended.json["directories"]
        assert (told["state"], told["objects"], told["read_only"]) == (
            "would be mounted from a copy",
            len(IMAGES),
            True,
        )
        assert told["held"] == str(web.held)
        assert ended.json["why"]
        forwarder.silent = True
        assert "would be mounted, and not the buckets" in web("site", "attach", "--dry-run").out
        assert web("site", "attach", "--json").code == UNREACHABLE
        (told,) = web("site", "attach", "--dry-run", "--json").json["directories"]
        assert told["state"] == "is mounted from a copy"
        forwarder.silent = False
        before = everything(fleet, web)
        assert web.site("attach", "--dry-run")["directories"][0]["state"] == "would be mounted"
        assert everything(fleet, web) == before


def test_detach_dry_run__says_what_detach_would_do(fleet):
    """detach --dry-run tells what would be unmounted and which moved-aside copy would come back, with --offline what would be over; neither the machine nor a store changes."""
    web = fleet.server("web1")
    web.site("attach")
    before = everything(fleet, web)
    report = web.site("detach", "--dry-run", "--node", "other")
    assert everything(fleet, web) == before
    (told,) = report["directories"]
    assert told["state"] == "would be brought back"
    assert os.path.dirname(told["back"]) == str(web.held)
    assert f"from {told['back']}" in web.ok("site", "detach", "--dry-run").out
    (made,) = web.site("detach")["directories"]
    assert (made["state"], made["back"]) == ("brought back", told["back"])
    before = everything(fleet, web)
    assert web.site("detach", "--offline", "--dry-run")["state"] == "offline"
    assert "nothing was done" in web.ok("site", "detach", "--offline", "--dry-run").out
    assert everything(fleet, web) == before
    web.site("attach")  # the deployment is online still
    shutil.rmtree(web.held)
    assert web.site("detach", "--dry-run")["directories"][0]["state"] == "would be unmounted"


def test_detach_dry_run__is_refused_as_detach_is(fleet):
    """detach --dry-run is refused with the words and exit code of detach: while somebody uses a mount, who is named, where nothing is mounted or something else is, and with --offline while a web server is attached."""
    web = fleet.server("web1")
    assert refused_alike(fleet, web, 3, "detach")["kind"] == "not_found"
    with mounted_tmpfs(web.webroot / "images"):
        refused_alike(fleet, web, 4, "detach")
    web.site("attach", "--node", "web1")
    with open(web.webroot / "images/logo.png", "rb"):
        assert f"process {os.getpid()}" in refused_alike(fleet, web, 1, "detach")["message"]
        assert web.site("detach", "--wait", "--dry-run")["directories"][0]["state"] == "would be brought back"
    assert "web1" in refused_alike(fleet, web, 4, "detach", "--offline")["message"]
    (mount,) = web.ok("mounts", "--json").json
    assert mount["state"] == "mounted"


def test_detach_dry_run__after_a_reboot(fleet):
    """detach --dry-run after a mount ended with unsent writes is refused as detach is, and leaves the cache with them where it is."""
    web = fleet.server("web1")
    web.site("attach")
    web.killed_unsent("upload.jpg", b"upload")
    before = everything(fleet, web)
    error = web.fails(4, "detach", "--dry-run")
    assert "upload.jpg" in error["message"]
    assert everything(fleet, web) == before
    assert web.fails(4, "detach")["kind"] == error["kind"]


@pytest.mark.parametrize(
    ("setting", "buckets"), [("merge=images2", ["images1", "images2"]), ("WHOLE-WEBROOT", ["webroot"])]
)
def test_dry_run__of_merged_directories_and_a_whole_webroot(ceph, tmp_path, setting, buckets):
    """Of a merged directory and of a whole webroot attach --dry-run and detach --dry-run say what attach and detach do, and change nothing."""
    require_fuse()
    if os.geteuid() != 0:
        pytest.skip("only root can lay a directory over a mount")
    with fleet_of(ceph, tmp_path, text=f'directories_to_mount = "{setting}"\n') as fleet:
        web = fleet.server("web1")
        for state in ("would be mounted", "is mounted"):
            before = everything(fleet, web, buckets)
            (told,) = web.site("attach", "--dry-run")["directories"]
            assert everything(fleet, web, buckets) == before
            assert told["state"] == state
            (made,) = web.site("attach")["directories"]
            assert (told["objects"], told["local"]) == (made["objects"], made["local"])
        before = everything(fleet, web, buckets)
        (told,) = web.site("detach", "--dry-run")["directories"]
        assert everything(fleet, web, buckets) == before
        (made,) = web.site("detach")["directories"]
        assert (told["state"], made["state"]) == ("would be brought back", "brought back")
        assert (told["back"], told["local"], told["held"]) == (made["back"], made["local"], made["held"])
