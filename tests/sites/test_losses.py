"""What is lost comes back: one store of two, one mount, one web server; nginx answers all the while, and nothing that was written goes."""

from __future__ import annotations

import os
import shutil
import signal
from typing import TYPE_CHECKING

import pytest

from tests.mount.live import require_fuse
from tests.services.base import wait_until
from tests.sites.test_walk import ANSWERED, answer, check, lay_images, lose_a_mounter, nginx, open_folder
from tests.sites.test_whole import LOCAL, SHARED, WHOLE, everything, seen
from tests.sites.two_stores import UNREACHABLE, look, shown, two_stores

if TYPE_CHECKING:
    from tests.mount.forwarder import Forwarder
    from tests.sites.attachments import Fleet, WebServer

__all__ = ["open_folder"]
#: Connections to a store that is silent: one question, asked twice.
ONE_QUESTION = 2


def is_answered(port: int, path: str) -> tuple[int, bytes]:
    """What a visitor gets, if only an error; in time even where the mounter waits for its store until it is cut off."""
    found = answer(port, path, 2 * ANSWERED)
    assert found is not None
    return found


def test_losses__a_store_a_mount_a_server(ceph, open_folder):
    """Whatever of a site is lost, its web servers answer, and the documented commands bring it back."""
    require_fuse()
    user = {"user": "www-data"} if os.geteuid() == 0 else {}
    with two_stores(ceph, open_folder, **user) as (fleet, forwarder):
        one = fleet.server("web1", persist=0)
        images = lay_images(one)
        one.site("backup", "--period", "hourly")
        fleet.settings(one, 1)
        fleet.build.site("deploy", "--from", "hourly")
        two, three = fleet.server("web2", empty=True), fleet.server("web3", empty=True)
        for server in (one, two, three):
            for place in (server.folder, server.webroot):
                place.chmod(0o755)
            server.site("attach", "--from", "hourly", "--node", server.folder.name)
        assert one.site("replicate")[0]["state"] == "whole"
        three.site("detach")
        with nginx(open_folder / "nginx", [one, two, three]) as ports:
            lose_the_store(fleet, forwarder, [one, three], [ports[0], ports[2]], images)
            lose_a_mounter(two, ports[1], images, signal.SIGSTOP)
            lose_the_server(two, ports[1], images)
            check(ports, images)
            (two.webroot / "images/last.jpg").write_bytes(b"last")
            wait_until(lambda: answer(ports[0], "images/last.jpg") == (200, b"last"), 20, "an upload to be seen")


def lose_the_store(
    fleet: Fleet, forwarder: Forwarder, servers: list[WebServer], ports: list[int], images: dict[str, bytes]
) -> None:
    """One server has the bucket mounted when the store goes silent, the other is attached while it is."""
    one, other = servers
    path = next(iter(images))
    forwarder.silent = True
    assert is_answered(ports[0], f"images/{path}")[0] in (200, 403, 404, 500)
    ended = other("site", "attach", "--json")
    assert ended.code == UNREACHABLE, ended
    (report,) = ended.json["directories"]
    assert (report["state"], report["read_only"]) == ("mounted from a copy", True)
    assert 0 <= report["lag"] < 3600
    assert ended.json["why"]
    code, state, store = shown(other)
    assert (code, state) == (1, "MOUNTED from a copy")
    assert str(store).endswith(f"{fleet.site}-assets-images")
    wait_until(lambda: one.ok("mounts", "--json").json[0]["state"] != "mounted", 60, "the broken mount to be seen")
    assert look(one)["state"] == "ok"
    check(ports, images)
    for server in servers:
        with pytest.raises(OSError, match="Read-only"):
            (server.webroot / "images/upload.jpg").write_bytes(b"refused")
    forwarder.silent = False
    for server in servers:
        assert look(server)["state"] == "ok"
        assert shown(server) == (0, "MOUNTED", None)
    check(ports, images)
    assert fleet.media() == images | fleet_media_of_the_application()


def fleet_media_of_the_application() -> dict[str, bytes]:
    """What lies in the directory beside the images that the test laid."""
    from tests.sites.conftest import FILES

    return {path[len("images/") :]: data for path, data in FILES.items() if path.startswith("images/")}


def lose_the_server(server: WebServer, port: int, images: dict[str, bytes]) -> None:
    """Its disk is gone: webroot, state and all; a new one of the same name takes its place."""
    server("unmount", "--all", "--discard")
    settings = (server.folder / "site.toml").read_text()
    for place in server.folder.iterdir():
        if place.name != "www":
            shutil.rmtree(place) if place.is_dir() else place.unlink()
    for place in server.webroot.iterdir():
        shutil.rmtree(place) if place.is_dir() else place.unlink()
    assert is_answered(port, "index.php")[0] in (403, 404)
    (server.folder / "home").mkdir()
    (server.folder / "site.toml").write_text(settings)
    server.site("attach", "--from", "hourly", "--node", server.folder.name)
    check([port], images)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can lay a directory over a mount")
def test_losses__the_store_of_a_whole_webroot(ceph, tmp_path):
    """A whole webroot is shown from its copy while its store is away, with what stays on each machine in its place and written there, and from its bucket again after that."""
    require_fuse()
    with two_stores(ceph, tmp_path) as (fleet, forwarder):
        fleet.text = WHOLE + fleet.text
        fleet.deploy()
        fleet.bucket("webroot").put("cache/stray", b"hidden on every machine")
        one, other = fleet.server("web1"), fleet.server("web2")
        before = seen(one)
        one.site("attach", "--node", "web1", "--accept-changes")
        one.site("replicate")
        forwarder.silent = True
        killed = other.fake("attach", "--node", "web2", HOLDFAST_FAILPOINT="site.part#2")
        assert (killed.code, sorted(everything(other))) == (-signal.SIGKILL, sorted(before.values()))
        ended = other("site", "attach", "--node", "web2", "--json")
        (report,) = ended.json["directories"]
        assert (ended.code, report["state"]) == (UNREACHABLE, "mounted from a copy")
        assert tuple(sorted(report["local"])) == LOCAL
        wait_until(lambda: one.ok("mounts", "--json").json[0]["state"] != "mounted", 60, "the broken mount to be seen")
        assert look(one)["state"] == "ok"
        for server in (one, other):
            assert shown(server)[:2] == (1, "MOUNTED from a copy")
            assert seen(server) == before
            with pytest.raises(OSError, match="Read-only"):
                (server.webroot / "index.php").write_bytes(b"refused")
            (server.webroot / "logs/error.log").write_text(server.folder.name)
        forwarder.silent = False
        path = other.folder / "site.toml"
        path.write_text(f'local = ["uploads"]\n{(settings := path.read_text())}')
        assert "uploads" in other.fails(4, "attach")["message"]
        path.write_text(settings)
        for server in (one, other):
            page = os.open(server.webroot / "index.php", os.O_RDONLY)
            with open(server.webroot / "logs/error.log", "ab", buffering=0) as log:
                assert look(server)["state"] == "ok"
                log.write(b" writes on")
            with pytest.raises(OSError, match="not connected"):  # who read the copy is cut off
                os.close(page)
            assert shown(server) == (0, "MOUNTED", None)
        (other.webroot / "new.html").write_bytes(b"new")
        for server in (one, other):
            server.site("detach")
            assert seen(server) == {**before, "logs/error.log": f"{server.folder.name} writes on".encode()}
        assert fleet.media("webroot") == {**SHARED, "new.html": b"new", "cache/stray": b"hidden on every machine"}


def test_losses__restore_while_the_first_store_is_away(ceph, tmp_path):
    """Backups come back from the second store, and jobs of asset site run that need the first ask it once and say so, while the first is silent."""
    second = tmp_path / "second"
    second.mkdir()
    with two_stores(ceph, tmp_path) as (fleet, forwarder):
        fleet.text = f'[[stores]]\nurl = "{fleet.store_url}"\n[[stores]]\nurl = "{second.as_uri()}"\n'
        server = fleet.server("web1", persist=0)
        path = server.folder / "site.toml"
        path.write_text(path.read_text().removesuffix(f'[[stores]]\nurl = "{fleet.store_url}"\n'))
        made = server.site("backup", "--period", "hourly")["version"]
        forwarder.silent = True
        found = server.site("restore", "hourly", "--to", str(tmp_path / "back"))
        assert (found["version"], found["store"]) == (made, second.as_uri())
        (server.webroot / "index.php").write_bytes(b"newer")
        before = forwarder.taken
        ended = server("site", "run", "--job", "backup hourly", "--json")
        assert forwarder.taken - before == ONE_QUESTION
        assert (ended.code, ended.json["state"]) == (1, "failed")
        assert "has it not" in ended.json["message"]
        forwarder.silent = False
        assert server.site("run", "--job", "backup hourly")["state"] == "ok"
        assert len(server.site("backups")) == 2
        assert all(len(each["stores"]) == 2 for each in server.site("backups"))
