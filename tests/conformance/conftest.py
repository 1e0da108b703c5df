"""Real stores, servers and mounts for the conformance suite, each started once."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.client.conftest import running
from tests.client.running import _settings
from tests.conformance.balancer import balanced
from tests.conformance.doors import Door, Site
from tests.conformance.fuse import mounted
from tests.services.gcs_double import as_project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

#: Which doors lead to one store.
SITES = {
    "ceph": ("bucket", "signed", "replicas", "rclone", "s3fs"),
    "disk": ("folder", "streamed", "mounted-folder"),
    "google": ("google-bucket", "google-signed"),
}
KINDS = [kind for kinds in SITES.values() for kind in kinds]


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
    """A folder below which stores lie, those of a server too."""
    folder = places / "data" / "stores"
    folder.mkdir(parents=True, exist_ok=True)
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


def at_ceph(ceph) -> dict:
    """Where the bucket is, and its keys, as a project has them."""
    keys = {key: ceph.env[key] for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    return {"endpoint": ceph.env["AWS_ENDPOINT_URL"], "region": ceph.env["AWS_REGION"], "credentials": keys}


@dataclass
class Server:
    """A server whose projects are made by the tests, on stores of their own."""

    url: str
    token: str
    data: Path
    projects: list[dict]
    database: str | None = None

    def add(self, name: str, url: str | None, **more) -> str:
        """A project on a store, with a writer; its URL. Asked again for a name, it is the same. ``more`` is of a ProjectRequest."""
        from holdfast.formats.people import ProjectRequest
        from holdfast.server import memberships, projects
        from holdfast.server.access import Role
        from holdfast.server.service import Service

        with pytest.MonkeyPatch.context() as patch:
            if self.database:
                patch.setenv("HOLDFAST_TEST_DATABASE", self.database)
            service = Service(_settings(self.data, self.projects), make=True)
        try:
            with service.database.write() as connection:
                if name not in {each.name for each in projects.list_projects(connection)}:
                    request = ProjectRequest(name, url, **more)
                    projects.add_project(connection, service.settings, service.vault, request, 0.0)
                    number = projects.find_project(connection, name).id
                    memberships.set_role(connection, number, "writer", Role.ADMIN)
        finally:
            service.close()
        return f"{self.url}/{name}"

    def env(self) -> dict[str, str]:
        """What a client that is signed in needs: no keys of any bucket."""
        return {"ASSET_SERVER_URL": self.url, "HOLDFAST_TOKEN": self.token}


@pytest.fixture(scope="session")
def server(ceph, gcs_double, places: Path) -> Iterator[Server]:
    """One server for all tests."""
    first = {"name": "first", "url": ceph.fresh_store(), **at_ceph(ceph)}
    second = {"name": "second", "url": gcs_double.fresh_store(), **as_project(gcs_double)}
    with running(places / "data", first, second) as found:
        yield Server(found.url, found.tokens["writer"], places / "data", [first, second])


@pytest.fixture
def door_google_bucket(gcs_double, machine_of):
    """A bucket of Google's kind, with the service account's key."""
    return lambda name: Door(
        "google-bucket", f"{gcs_double.store_url}/{name}", machine_of("google-bucket"), gcs_double.env
    )


@pytest.fixture
def door_google_signed(server, gcs_double, machine_of):
    """A server that signs URLs of that bucket."""

    def make(name: str) -> Door:
        url = server.add(f"g-{name}", f"{gcs_double.store_url}/{name}", **as_project(gcs_double))
        return Door("google-signed", url, machine_of("google-signed"), server.env())

    return make


@pytest.fixture
def door_signed(server, ceph, machine_of):
    """A server that signs URLs of the bucket."""

    def make(name: str) -> Door:
        url = server.add(f"s-{name}", f"{ceph.store_url}/{name}", **at_ceph(ceph))
        return Door("signed", url, machine_of("signed"), server.env())

    return make


@pytest.fixture
def door_streamed(server, disk, machine_of):
    """A server through which the bytes go, for its store is a folder."""

    def make(name: str) -> Door:
        (disk / name).mkdir(exist_ok=True)
        return Door("streamed", server.add(f"f-{name}", (disk / name).as_uri()), machine_of("streamed"), server.env())

    return make


@pytest.fixture(scope="session")
def replicas(ceph, places: Path, new_postgres) -> Iterator[Server]:
    """Two server processes on one PostgreSQL database, at one address: every further connection is the other's."""
    first = {"name": "first", "url": ceph.fresh_store(), **at_ceph(ceph)}
    database, data = new_postgres(), places / "replicas"
    env = {"HOLDFAST_TEST_DATABASE": database}
    with (
        running(data, first, environ=env) as one,
        running(data, first, environ=env | {"HOLDFAST_TEST_SERVER": "made"}) as other,
        balanced([one.url, other.url]) as url,
    ):
        yield Server(url, one.tokens["writer"], data, [first], database)


@pytest.fixture
def door_replicas(replicas, ceph, machine_of):
    """The two, which sign URLs of the bucket."""

    def make(name: str) -> Door:
        url = replicas.add(f"r-{name}", f"{ceph.store_url}/{name}", **at_ceph(ceph))
        return Door("replicas", url, machine_of("replicas"), replicas.env())

    return make


@pytest.fixture(scope="session")
def mount_rclone(ceph, places: Path) -> Iterator[Path]:
    """The bucket, mounted by rclone."""
    with mounted("rclone", ceph, places / "rclone") as root:
        yield root


@pytest.fixture(scope="session")
def mount_s3fs(ceph, places: Path) -> Iterator[Path]:
    """The bucket, mounted by s3fs."""
    with mounted("s3fs", ceph, places / "s3fs") as root:
        yield root


def _door_mounted(kind: str, root: Path, server: Server, ceph, machine_of) -> Callable[[str], Door]:
    def make(name: str) -> Door:
        url = server.add(f"s-{name}", f"{ceph.store_url}/{name}", **at_ceph(ceph))
        env = server.env() | {
            "ASSET_BUCKET_MT_CONFIG": json.dumps({ceph.store_url: str(root)}),
            "HOLDFAST_MOUNT_TIMEOUT": "20",
        }
        return Door(kind, url, machine_of(kind), env)

    return make


@pytest.fixture
def door_rclone(server, ceph, mount_rclone, machine_of):
    """A mount by rclone, with a server."""
    return _door_mounted("rclone", mount_rclone, server, ceph, machine_of)


@pytest.fixture
def door_s3fs(server, ceph, mount_s3fs, machine_of):
    """A mount by s3fs, with a server."""
    return _door_mounted("s3fs", mount_s3fs, server, ceph, machine_of)


@pytest.fixture(params=KINDS)
def door(request: pytest.FixtureRequest, site_of: Callable[..., Site]) -> Door:
    """A door to a store that nobody has used."""
    return site_of(request.param).doors[request.param]
