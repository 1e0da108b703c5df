"""Live mounts whose store is gone: the mounter lives, and has nobody to ask."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from holdfast.errors import UnreachableError
from holdfast.mount.table import mounted_at
from tests.mount.forwarder import forwarded
from tests.mount.live import Reader, fresh_bucket, require_fuse, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services import Service


@pytest.mark.slow
@pytest.mark.parametrize(("mounter", "how"), [("rclone", "closed"), ("s3fs", "silent")])
def test_store__that_is_gone(ceph: Service, tmp_path: Path, mounter: str, how: str) -> None:
    """Where the store is gone readers get errors, none hangs, the mount's health says so, and it comes back with the store."""
    require_fuse()
    with forwarded(ceph.env["AWS_ENDPOINT_URL"]) as forwarder:
        env = ceph.env | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{forwarder.port}"}
        bucket = fresh_bucket(dataclasses.replace(ceph, env=env), tmp_path)
        bucket.store.put("other.txt", b"other")
        record = bucket.mount(mounter)
        assert (bucket.directory / "hello.txt").read_text() == "hello"
        if how == "closed":
            forwarder.close()
        else:
            forwarder.silent = True
        seen, worst = Reader(bucket.directory / "other.txt", 26).end()
        assert seen[-1][1].startswith("error: ")
        assert worst < 25
        until(lambda: "attempt" in record.state.health, 15, "the health to tell")
        assert record.state.state == "remounting"
        if how == "silent":
            forwarder.silent = False
            until(lambda: record.state.state == "mounted", 45, "the mount to come back")
            assert (bucket.directory / "other.txt").read_text() == "other"
        bucket.unmount(discard=True)
        assert bucket.left == {}


def test_store__gone_before(ceph: Service, tmp_path: Path) -> None:
    """A store that does not answer is told before anything is mounted."""
    require_fuse()
    with forwarded(ceph.env["AWS_ENDPOINT_URL"]) as forwarder:
        env = ceph.env | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{forwarder.port}"}
        bucket = fresh_bucket(dataclasses.replace(ceph, env=env), tmp_path)
        forwarder.close()
        with pytest.raises(UnreachableError):
            bucket.mount("rclone")
        assert mounted_at(str(bucket.directory)) is None
        assert bucket.left == {}
