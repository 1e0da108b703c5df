"""One store, many doors: what one of them wrote, the others read. And a client that can reach the server and nothing else."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager, suppress
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.conformance.conftest import SITES
from tests.e2e.driver import content_of, flat
from tests.fakes import Interrupting

if TYPE_CHECKING:
    from collections.abc import Iterator

LAYOUTS = ("packs", "tree", "tar.gz")


@pytest.mark.parametrize("site", SITES)
def test_one_store(site, site_of):
    """What is pushed by one door is, byte for byte, what every other door to that store fetches."""
    doors = site_of(*SITES[site]).doors
    pushed = {}
    for (kind, door), layout in zip(doors.items(), cycle(LAYOUTS), strict=False):
        made = door.push("nlp/x", content_of(kind), layout=layout, message=kind)
        pushed[made.version] = (kind, made.hash)
    assert len(pushed) == len(doors)
    for door in doors.values():
        with door.entered():
            repository = door.open("across")
            for version, (kind, digest) in pushed.items():
                fetched = repository.fetch_info(f"nlp/x:{version}")
                assert (flat(Path(fetched.path)), fetched.meta["hash"]) == (content_of(kind), digest)
                assert repository.show(f"nlp/x:{version}").message == kind


@pytest.mark.parametrize(("direct", "door"), [("folder", "streamed"), ("bucket", "signed"), ("bucket", "s3fs")])
def test_interrupted_through_a_server(direct, door, site_of):
    """A push through a server that is interrupted says that it has ended, and goes on under its number when it is run again."""
    doors = site_of(direct, door).doors
    source, far = doors[door].lay(content_of("one")), doors[door]
    with far.entered(), pytest.raises(KeyboardInterrupt):
        far.open(progress=Interrupting()).push(source, "n/a", layout="tree")
    with doors[direct].entered():
        store = doors[direct].open().store
        records = [json.loads(bytes(store.get(info.key).data)) for info in store.list(".holdfast/pushes")]
        assert [bool(each.get("closed")) for each in records] == [True]
    with far.entered():
        assert far.open().push(source, "n/a", layout="tree").version == "0.0"
        assert flat(far.open("other").fetch("n/a")) == content_of("one")


def test_no_request_leaves_for_the_bucket(site_of, ceph, tmp_path):
    """In a network that leads to the server alone, a client with a mount pushes and fetches; the bucket is not to be reached."""
    if os.geteuid() or shutil.which("ip") is None:
        pytest.skip("network namespaces need root, and ip")
    door = site_of("rclone").doors["rclone"]
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "w.bin").write_bytes(secrets.token_bytes(300_000))
    with network() as (name, address), forwarded(address, door.env["ASSET_SERVER_URL"]) as url:
        project = urlsplit(door.url).path
        env = door.environ | {
            "ASSET_SERVER_URL": url,
            "PATH": os.environ["PATH"],
            "HOLDFAST_ASSETS_DIR": str(tmp_path / "c"),
        }
        (tmp_path / "c").mkdir()

        def asset(*words: str) -> dict:
            line = [
                "ip",
                "netns",
                "exec",
                name,
                sys.executable,
                "-m",
                "holdfast.cli",
                "--store",
                f"{url}{project}",
                *words,
            ]
            done = subprocess.run([*line, "--json"], env=env, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            return json.loads(done.stdout)

        assert asset("push", str(tmp_path / "model"), "nlp/far")["created"]
        fetched = asset("fetch", "nlp/far:0.0")
        assert flat(Path(fetched["path"])) == flat(tmp_path / "model")
        probe = "import socket,sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)"
        bucket = urlsplit(ceph.env["AWS_ENDPOINT_URL"])
        line = ["ip", "netns", "exec", name, sys.executable, "-c", probe, str(bucket.hostname), str(bucket.port)]
        assert subprocess.run(line, capture_output=True, check=False).returncode != 0


@contextmanager
def network() -> Iterator[tuple[str, str]]:
    """A network of its own that leads to one address of this machine: the namespace's name, and that address."""
    token = secrets.token_hex(3)
    name, outside, inside = f"hf{token}", f"hfa{token}", f"hfb{token}"
    third = 1 + secrets.randbelow(250)
    here, there = f"10.213.{third}.1", f"10.213.{third}.2"

    def ip(*words: str, check: bool = True) -> None:
        subprocess.run(["ip", *words], check=check, capture_output=True)

    try:
        ip("netns", "add", name)
        ip("link", "add", outside, "type", "veth", "peer", "name", inside, "netns", name)
    except subprocess.CalledProcessError as error:
        ip("netns", "del", name, check=False)
        pytest.skip(f"no network namespaces here: {error.stderr}")
    try:
        ip("addr", "add", f"{here}/24", "dev", outside)
        ip("link", "set", outside, "up")
        for words in (("addr", "add", f"{there}/24", "dev", inside), ("link", "set", inside, "up")):
            ip("-n", name, *words)
        ip("-n", name, "link", "set", "lo", "up")
        yield name, here
    finally:
        ip("netns", "del", name, check=False)
        ip("link", "del", outside, check=False)


@contextmanager
def forwarded(address: str, url: str) -> Iterator[str]:
    """The server at another address: whatever comes there goes to it, and back."""
    place = urlsplit(url)
    with socket.create_server((address, 0)) as listening, ExitStack() as opened:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    near = opened.enter_context(listening.accept()[0])
                    far = opened.enter_context(socket.create_connection((place.hostname, place.port)))
                    for one, other in ((near, far), (far, near)):
                        threading.Thread(target=copy, args=(one, other), daemon=True).start()

        def copy(one: socket.socket, other: socket.socket) -> None:
            with suppress(OSError):
                while data := one.recv(65536):
                    other.sendall(data)
            with suppress(OSError):
                other.shutdown(socket.SHUT_WR)

        serving = threading.Thread(target=serve)
        serving.start()
        try:
            yield f"http://{address}:{listening.getsockname()[1]}"
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            serving.join()
