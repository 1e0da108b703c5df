"""A fleet whose first store can fall silent, and copies of its buckets in another account; what tests of both doors share."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.mount.forwarder import Forwarder, forwarded
from tests.services.base import make_bucket
from tests.sites.attachments import Fleet, WebServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.services import Service

#: Seconds after which a store that fails is left, and one that is well is come back to.
AFTER = 5
UNREACHABLE = 7


@contextmanager
def two_stores(
    ceph: Service, folder: Path, *, two_way: bool = False, directories: str = "", **more: str
) -> Iterator[tuple[Fleet, Forwarder]]:
    """A fleet whose buckets are reached through a forwarder, with copies of them in another account, reached without."""
    place = f"copies-{os.urandom(4).hex()}"
    make_bucket(ceph.second, place)
    keys = folder / "copies.keys"
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    keys.write_text("".join(f"{name}={ceph.second[name]}\n" for name in names))
    keys.chmod(0o600)
    text = f'directories_to_mount = "{directories}"\n' if directories else ""
    text += (
        f'[[copies]]\nurl = "s3://{place}/site"\nendpoint = "{ceph.env["AWS_ENDPOINT_URL"]}"\nregion = "us-east-1"\n'
        f'credentials = "{keys}"\ntwo_way = {str(two_way).lower()}\n'
        f'[run]\nfailover_after = "{AFTER}s"\nfailback_after = "{AFTER}s"\n'
    )
    with forwarded(ceph.env["AWS_ENDPOINT_URL"]) as forwarder:
        fleet = Fleet(ceph, folder, text=text, **more)
        fleet.variables["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{forwarder.port}"
        try:
            yield fleet, forwarder
        finally:
            forwarder.silent = False
            fleet.end()


def look(server: WebServer, times: int = 2) -> dict[str, str]:
    """What ``asset site run`` does by itself, now: look at the stores, long enough to believe it, and have mounts go over."""
    for number in range(times):
        if number:
            time.sleep(AFTER)
        assert server.site("run", "--job", "stores")["state"] == "ok"
    ended = server("site", "run", "--job", "failover", "--json")
    return ended.json


def shown(server: WebServer) -> tuple[int, str, str | None]:
    """The exit code of status, and of the images what it says: the state, and the copy that is shown."""
    ended = server("site", "status", "--json")
    (each,) = ended.json["directories"]
    return ended.code, each["state"], each["store"]


def on_a_copy(fleet: Fleet, forwarder: Forwarder) -> WebServer:
    """A web server that was attached while the first store was away, which is well again."""
    fleet.deploy()
    server = fleet.server("web1", empty=True)
    server.site("attach", "--from", "hourly")
    server.site("replicate")
    server.site("detach")
    forwarder.silent = True
    assert server("site", "attach", "--json").code == UNREACHABLE
    forwarder.silent = False
    return server
