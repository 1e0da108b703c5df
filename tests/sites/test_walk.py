"""The seed's workflow, line by line, on real parts: nginx, three web servers, Ceph's gateway, rclone and s3fs. Short unless HOLDFAST_TEST_IMAGES says 2000."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.mount.live import require_fuse
from tests.services.base import HOST, free_port, processes, program, wait_until
from tests.sites.attachments import Fleet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sites.attachments import WebServer

IMAGES = int(os.environ.get("HOLDFAST_TEST_IMAGES", "60"))
#: Seconds until what one server writes is seen on the others, and in which a request must be answered, if only by an error.
SEEN, ANSWERED = 15.0, 15.0
_CONFIG = """\
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 128; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{servers}}}
"""
_SERVER = "    server {{ listen {host}:{port}; root {root}; index index.php; location / {{ }} }}\n"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that the web server's own user can come into."""
    folder = Path(tempfile.mkdtemp(prefix="walk-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def nginx(folder: Path, servers: list[WebServer]) -> Iterator[list[int]]:
    """One nginx that serves every webroot on a port of its own, as the user www-data where it is root."""
    folder.mkdir(mode=0o755)
    ports = [free_port() for _ in servers]
    blocks = [
        _SERVER.format(host=HOST, port=port, root=server.webroot) for port, server in zip(ports, servers, strict=True)
    ]
    user = "user www-data;\n" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(user + _CONFIG.format(folder=folder, servers="".join(blocks)))
    with processes("nginx", folder / "run") as group:
        group.spawn([program("nginx", Path("/usr/sbin")), "-c", folder / "nginx.conf"])
        wait_until(lambda: answer(ports[0], "index.php") is not None, 20, "nginx to answer")
        yield ports


def answer(port: int, path: str, seconds: float = ANSWERED) -> tuple[int, bytes] | None:
    """What a visitor gets within so many seconds: the status and the bytes; None where nobody listens."""
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/{path}", timeout=seconds) as found:
            return found.status, found.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, b""
    except urllib.error.URLError as error:
        if isinstance(error.reason, ConnectionRefusedError):
            return None
        raise


def lay_images(web: WebServer) -> dict[str, bytes]:
    """The uploads of a site."""
    images = {f"{number % 7}/photo-{number}.jpg": os.urandom(1500 + number) for number in range(IMAGES)}
    for path, data in images.items():
        place = web.webroot / "images" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    return images


def test_walk__the_seeds_workflow(ceph, open_folder):
    """From a site with its media on its disk to three servers over one bucket, line by line, and back; every page is asked of nginx."""
    require_fuse()
    user = "www-data" if os.geteuid() == 0 else None
    fleet = Fleet(ceph, open_folder, **({"user": user} if user else {}))
    try:
        walk(fleet, open_folder)
    finally:
        fleet.end()


def walk(fleet: Fleet, folder: Path) -> None:
    """The workflow."""
    one = fleet.server("web1", persist=0)
    images = lay_images(one)
    two, three = fleet.server("web2", empty=True), fleet.server("web3", empty=True, mounter="s3fs")
    servers = [one, two, three]
    for server in servers:
        for place in (server.folder, server.webroot):
            place.chmod(0o755)
    with nginx(folder / "nginx", servers) as ports:
        # deployed with PERSIST_ASSETS_TO_CLOUD=0, the media are on the disk; an hourly backup has all of them
        check(ports[:1], images)
        version = one.site("backup", "--period", "hourly")["version"]
        name = f"sites/{fleet.site}/hourly"
        assert {f"images/{path}" for path in images} <= set(stored(one, f"{name}:{version}"))
        # offline; deployed from the hourly backup with PERSIST_ASSETS_TO_CLOUD=1
        fleet.settings(one, 1)
        fleet.build.site("deploy", "--from", f"hourly:{version}")
        assert images.items() <= fleet.media().items()
        # each web server mounts the bucket; the gate opens once all of them have
        names = folder / "servers.txt"
        names.write_text("web1\nweb2\nweb3\n")
        for server in servers:
            server.site("attach", "--from", "hourly", "--node", server.folder.name)
        assert fleet.build.site("status", "--wait", "--nodes", str(names))["ok"]
        check(ports, images)
        # an upload on one is visible on the others
        (one.webroot / "images/upload.jpg").write_bytes(b"an upload")
        wait_for(ports, "images/upload.jpg", b"an upload")
        # later backups omit the media
        (one.webroot / "index.php").write_bytes(b"<?php echo 'newer';")
        later = one.site("backup", "--period", "hourly")["version"]
        assert later != version
        assert not [path for path in stored(one, f"{name}:{later}") if path.startswith("images")]
        # a mounter is lost, of either kind: nobody who visits hangs, and it comes back
        lose_a_mounter(two, ports[1], images)
        lose_a_mounter(three, ports[2], images)
        # the disk is given back, and the way back is open
        assert one.site("purge")["copies"][0]["removed"] >= len(images)
        for server in servers:
            server.site("detach")
            assert server.mounted() == []
        assert fleet.build.site("detach", "--offline")["state"] == "offline"
        assert {**images, "upload.jpg": b"an upload"}.items() <= fleet.media().items()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can lay a directory over a mount")
def test_walk__whole_webroot(ceph, open_folder):
    """The workflow once more with WHOLE-WEBROOT and rclone: pages, images and uploads are all servers', configuration, logs and tmp each one's own."""
    require_fuse()
    fleet = Fleet(ceph, open_folder, user="www-data")
    try:
        walk_whole(fleet, open_folder)
    finally:
        fleet.end()


def walk_whole(fleet: Fleet, folder: Path) -> None:
    """The workflow with the whole webroot in one bucket."""
    whole = 'directories_to_mount = "WHOLE-WEBROOT"'
    one = fleet.server("web1", persist=0)
    images = lay_images(one)
    two, three = fleet.server("web2", empty=True, text=whole), fleet.server("web3", empty=True, text=whole)
    servers = [one, two, three]
    for server in servers:
        (server.webroot / "configuration.php").write_text(f"<?php $log = 'of {server.folder.name}';")
        for place in (server.folder, server.webroot):
            place.chmod(0o755)
        subprocess.run(["chown", "-R", "www-data", server.webroot], check=True)
    with nginx(folder / "nginx", servers) as ports:
        # a backup of the running site, which goes offline, and is deployed into one bucket
        version = one.site("backup", "--period", "hourly")["version"]
        for server in (one, fleet.build):
            fleet.settings(server, 1, text=whole)
        fleet.build.site("deploy", "--from", f"hourly:{version}")
        there = fleet.media("webroot")
        assert {f"images/{path}" for path in images} | {"index.php"} <= set(there)
        assert not [path for path in there if path.startswith(("logs", "tmp", "configuration"))]
        # each web server mounts it in the place of its webroot
        names = folder / "servers.txt"
        names.write_text("web1\nweb2\nweb3\n")
        for server in servers:
            server.site("attach", "--node", server.folder.name)
        assert fleet.build.site("status", "--wait", "--nodes", str(names))["ok"]
        check(ports, images)
        # an upload by the application on one is visible on the others, and so is a page
        as_web_user(f"echo -n 'an upload' > {one.webroot}/images/upload.jpg; echo -n page > {one.webroot}/new.html")
        wait_for(ports, "images/upload.jpg", b"an upload")
        wait_for(ports, "new.html", b"page")
        # configuration and logs are each server's own, written by the application
        for server, port in zip(servers, ports, strict=True):
            as_web_user(f"echo -n 'log of {server.folder.name}' > {server.webroot}/logs/own.log")
            assert answer(port, "configuration.php") == (200, f"<?php $log = 'of {server.folder.name}';".encode())
        for server, port in zip(servers, ports, strict=True):
            assert answer(port, "logs/own.log") == (200, f"log of {server.folder.name}".encode())
        # nothing is left to back up; a copy of the bucket is what there is
        assert "replicate" in one.fails(2, "backup", "--period", "hourly")["hint"]
        # a mounter is lost: nobody who visits hangs, nothing else is served, and it comes back with what is local
        lose_a_mounter(two, ports[1], images)
        assert answer(ports[1], "logs/own.log") == (200, b"log of web2")
        # and back
        for server in servers:
            server.site("detach")
            assert server.mounted() == []
            assert (server.webroot / "configuration.php").read_text() == f"<?php $log = 'of {server.folder.name}';"
            assert (server.webroot / "logs/own.log").read_text() == f"log of {server.folder.name}"
        assert fleet.build.site("detach", "--offline")["state"] == "offline"
        expected = {f"images/{path}": data for path, data in images.items()}
        there = fleet.media("webroot")
        assert {**expected, "images/upload.jpg": b"an upload", "new.html": b"page"}.items() <= there.items()
        assert not [path for path in there if path.startswith(("logs", "tmp", "configuration"))]


def as_web_user(script: str) -> None:
    """Have the application do something."""
    subprocess.run(["setpriv", "--reuid=www-data", "--clear-groups", "sh", "-ec", script], check=True)


def stored(server: WebServer, spec: str) -> list[str]:
    """The paths of a version."""
    return [each["path"] for each in server.ok("files", spec, "--json", HOLDFAST_STORE=store_of(server)).json]


def store_of(server: WebServer) -> str:
    """The store in a server's settings."""
    return (server.folder / "site.toml").read_text().rpartition('url = "')[2].split('"')[0]


def check(ports: list[int], images: dict[str, bytes]) -> None:
    """Every page and image is served by each server."""
    for port in ports:
        page = answer(port, "index.php")
        assert page is not None
        assert page[0] == 200
        for path, data in images.items():
            assert answer(port, f"images/{path}") == (200, data)


def wait_for(ports: list[int], path: str, data: bytes) -> None:
    """All servers show it in time."""
    began = time.monotonic()
    for port in ports:
        wait_until(lambda port=port: answer(port, path) == (200, data), SEEN, f"{path} on {port}")
    assert time.monotonic() - began < SEEN


def mount_of(server: WebServer) -> dict[str, Any]:
    """What is known of its one mount."""
    (mount,) = server.ok("mounts", "--json").json
    return dict(mount)


def lose_a_mounter(
    server: WebServer, port: int, images: dict[str, bytes], number: signal.Signals = signal.SIGKILL
) -> None:
    """Kill it, or stop it; requests are answered, if by errors, until it is back."""
    wait_until(lambda: mount_of(server)["state"] == "mounted", 60, "the mount to have a mounter")
    mount = mount_of(server)
    os.kill(mount["worker_pid"], number)
    path, data = next(iter(images.items()))
    deadline = time.monotonic() + 60
    while True:
        began = time.monotonic()
        found = answer(port, f"images/{path}")
        assert found is not None
        assert time.monotonic() - began < ANSWERED
        if found == (200, data) and mount_of(server)["restarts"] > mount["restarts"]:
            break
        assert time.monotonic() < deadline
        time.sleep(0.1)
