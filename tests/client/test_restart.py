"""A server that is started anew under its clients' hands."""

from __future__ import annotations

import threading
import time

import pytest

from tests.client.conftest import running

MIB = 1024 * 1024


@pytest.mark.parametrize("layout", ["tree", "packs"])
def test_fetch__while_the_server_is_started_anew(tmp_path, layout):
    """A fetch waits for a server that dies in its midst and is started anew, and is whole."""
    source, found = tmp_path / "source", []
    source.mkdir()
    for number in range(100):
        (source / f"{number:03}").write_bytes(number.to_bytes(4, "big") * (MIB // 2))
    with running(tmp_path / "data") as first:
        first.open(tmp_path / "writer").push(source, "n/large", layout=layout)
        reader = first.open(tmp_path / "reader", "reader")
        fetch = threading.Thread(target=lambda: found.append(reader.fetch("n/large")))
        fetch.start()
        while not [path for path in (tmp_path / "reader").rglob("*.part/copy/*") if path.stat().st_size]:
            assert fetch.is_alive()
            time.sleep(0.001)
        assert not found
        first.die()
    time.sleep(1)  # as a service manager waits
    environ = {"HOLDFAST_TEST_SERVER": "it is made"}
    with running(tmp_path / "data", environ=environ, port=first.port):
        fetch.join(60)
    assert {path.name: path.read_bytes() for path in found[0].iterdir() if path.name != ".SUCCESS"} == {
        path.name: path.read_bytes() for path in source.iterdir()
    }
