"""A version as a lazily read tree, through every door: the same names, the same bytes, and only what is asked for."""

from __future__ import annotations

import random
import time
from contextlib import closing

import pytest

from holdfast.mount.base import ROOT
from holdfast.mount.version import open_view
from tests.client.conftest import running
from tests.conformance.doors import Door
from tests.mount.trees import find, read_whole, walk

MIB = 1024 * 1024
CONTENT = {
    "large": random.Random(1).randbytes(9 * MIB),
    "text": b"all work and no play " * 20_000,
    "empty": b"",
    **{f"many/{number:03}": random.Random(number).randbytes(number * 50) for number in range(120)},
}


@pytest.mark.parametrize("layout", ["packs", "tree"])
def test_view(door, layout):
    """Every file of a version has its bytes, whole and at any place, through every door; looking around fetches no file."""
    door.push("n/v", CONTENT, layout=layout)
    (door.machine / "reader").mkdir()
    arguments = {"store": door.url, "spec": "n/v:0", "assets_dir": str(door.machine / "reader")}
    with door.entered(), closing(open_view(arguments)) as view:
        files = {path: shown for path, shown in walk(view) if not shown.mode & 0o040000}
        assert {path: shown.size for path, shown in files.items()} == {
            path: len(data) for path, data in CONTENT.items()
        }
        assert view.lookup(ROOT, b"nothing") is None
        assert view.bytes_fetched < 100_000
        assert bytes(view.read(files["large"].node, 5 * MIB, 70_000)) == CONTENT["large"][5 * MIB : 5 * MIB + 70_000]
        assert {path: read_whole(view, shown) for path, shown in files.items()} == CONTENT
    with door.entered(), closing(open_view(arguments)) as view:
        assert {path: read_whole(view, shown) for path, shown in walk(view) if path in CONTENT} == CONTENT
        assert view.bytes_fetched == 0


def test_view__leave_lapses(ceph, places, machine_of):
    """Through a server whose leave to read lapses after seconds, a mount goes on reading: it asks for new leave before."""
    keys = {key: ceph.env[key] for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    project = {
        "name": "short",
        "url": ceph.fresh_store(),
        "endpoint": ceph.env["AWS_ENDPOINT_URL"],
        "credentials": keys,
    }
    with running(places / "short", project, environ={"HOLDFAST_TEST_GRANTS": "3"}) as server:
        env = {"ASSET_SERVER_URL": server.url, "HOLDFAST_TOKEN": server.tokens["writer"]}
        door = Door("signed", f"{server.url}/short", machine_of("short"), env)
        door.push("n/v", CONTENT)
        (door.machine / "reader").mkdir()
        arguments = {"store": door.url, "spec": "n/v", "assets_dir": str(door.machine / "reader"), "cache": False}
        with door.entered(), closing(open_view(arguments)) as view:
            node = find(view, "large").node
            for at in (0, 4, 8):
                assert bytes(view.read(node, at * MIB, 4096)) == CONTENT["large"][at * MIB : at * MIB + 4096]
                time.sleep(3.5)
            assert {path: read_whole(view, shown) for path, shown in walk(view) if path in CONTENT} == CONTENT
