"""Push and fetch through a real server that signs URLs of a real bucket: bytes go directly."""

from __future__ import annotations

import os

import pytest

from tests.client.conftest import running
from tests.client.test_door import FILES, contents, tree


def requests_of(repository):
    """How many requests went to the server."""
    return repository.catalog._remote.server.requests


@pytest.mark.parametrize("layout", ["packs", "tree", "tar.gz"])
def test_push_and_fetch(signing, tmp_path, layout):
    """A folder pushed by signed URLs is fetched by them byte for byte, in every layout, with at most two requests to the server."""
    name = f"signed/{layout.replace('.', '')}"
    signing.open(tmp_path / "one", project="s").push(tree(tmp_path / "src", FILES), name, layout=layout)
    reader = signing.open(tmp_path / "two", "reader", project="s")
    assert contents(reader.fetch(name)) == FILES
    assert requests_of(reader) <= 2
    assert not reader.store._grants.streams


def test_push_and_fetch__a_large_file(signing, tmp_path):
    """A large file goes in parts that the server begins and completes, and comes in ranges for one request to the server."""
    source = tmp_path / "model.bin"
    source.write_bytes(os.urandom(30_000_001))
    signing.open(tmp_path / "one", project="s").push(source, "signed/file")
    reader = signing.open(tmp_path / "two", "reader", project="s")
    assert reader.fetch("signed/file").read_bytes() == source.read_bytes()
    assert requests_of(reader) == 1


def test_push__of_parts_on_a_slow_line(ceph, tmp_path):
    """A large file whose parts take longer than leave to send them is good for is pushed whole: new leave is asked for."""
    keys = {name: ceph.env[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    project = {"name": "slow", "url": ceph.fresh_store(), "endpoint": ceph.env["AWS_ENDPOINT_URL"], "credentials": keys}
    source = tmp_path / "model.bin"
    source.write_bytes(os.urandom(60_000_000))
    with running(tmp_path / "data", project, environ={"HOLDFAST_TEST_GRANTS": "4"}) as server:
        machine = server.open(tmp_path / "one", project="slow", limit_rate=8_000_000)
        machine.push(source, "slow/file")
        assert server.open(tmp_path / "two", project="slow").fetch("slow/file").read_bytes() == source.read_bytes()


def test_fetch__many_objects(signing, tmp_path):
    """A tree of 2,500 files costs one request for the first thousand with the meta, and one for each further thousand."""
    files = {f"{n % 7}/{n}": b"%d" % n for n in range(2500)}
    signing.open(tmp_path / "one", project="s").push(tree(tmp_path / "src", files), "signed/many", layout="tree")
    reader = signing.open(tmp_path / "two", "reader", project="s")
    assert contents(reader.fetch("signed/many")) == files
    assert requests_of(reader) == 3
