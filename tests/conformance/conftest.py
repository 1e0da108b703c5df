"""Real stores, servers and mounts for the conformance suite, each started once."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

import pytest

from tests.conformance.doors import Door, Site

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: Which doors lead to one store.
SITES = {
    "ceph": ("bucket", "signed", "rclone", "s3fs"),
    "disk": ("folder", "streamed", "mounted-folder"),
}
KINDS = ["bucket", "folder", "mounted-folder"]


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where everything of this suite lies."""
    return tmp_path_factory.mktemp("conformance")


@pytest.fixture
def machine_of(places: Path) -> Callable[[str], Path]:
    """Makes a client's machine of its own."""

    def make(kind: str) -> Path:
        machine = places / "machines" / f"{kind}-{uuid.uuid4().hex[:8]}"
        machine.mkdir(parents=True)
        return machine

    return make


@pytest.fixture
def site_of(request: pytest.FixtureRequest, places: Path, machine_of: Callable[[str], Path]) -> Callable[..., Site]:
    """A function that gives a new store and the doors of these kinds to it."""

    def make(*kinds: str) -> Site:
        name = uuid.uuid4().hex[:12]
        return Site({kind: request.getfixturevalue(f"door_{kind.replace('-', '_')}")(name) for kind in kinds})

    return make


@pytest.fixture
def door_bucket(ceph, machine_of):
    """A bucket with one's own keys."""
    return lambda name: Door("bucket", f"{ceph.store_url}/{name}", machine_of("bucket"), ceph.env)


@pytest.fixture
def disk(places: Path) -> Path:
    """A folder below which stores lie."""
    folder = places / "disk"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def door_folder(disk, machine_of):
    """A folder of a disk."""

    def make(name: str) -> Door:
        (disk / name).mkdir(exist_ok=True)
        return Door("folder", (disk / name).as_uri(), machine_of("folder"))

    return make


@pytest.fixture
def door_mounted_folder(disk, machine_of):
    """A folder of a disk that is configured as the mount of a bucket, without a server."""

    def make(name: str) -> Door:
        (disk / name).mkdir(exist_ok=True)
        env = {"ASSET_BUCKET_MT_CONFIG": json.dumps({"s3://disk": str(disk)})}
        return Door("mounted-folder", f"s3://disk/{name}", machine_of("mounted-folder"), env)

    return make


@pytest.fixture(params=KINDS)
def door(request: pytest.FixtureRequest, site_of: Callable[..., Site]) -> Door:
    """A door to a store that nobody has used."""
    return site_of(request.param).doors[request.param]
