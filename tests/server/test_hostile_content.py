"""What lies in a bucket, and what a request holds, against the server: neither memory without end, nor a project that fails as a whole."""

from __future__ import annotations

import json
import resource

import pytest

from holdfast.formats.people import ProjectRequest
from holdfast.server import accounts, memberships, projects, tokens
from holdfast.server.access import Role
from holdfast.server.app import make_app
from holdfast.server.migrate import upgrade
from holdfast.server.service import Service
from holdfast.server.settings import load_settings
from holdfast.store.base import SMALL
from tests.server.conftest import PASSWORD, Server, TestClient
from tests.server.test_push_routes import Push, error

HUGE = 8 * 1024**3
ADMIN = "/api/v1/admin"


@pytest.fixture
def postgres(tmp_path, new_postgres):
    """As ``server``, on PostgreSQL."""
    service = Service(load_settings({"data": tmp_path / "data", "database": new_postgres()}), make=True)
    upgrade(service.database)
    with TestClient(make_app(service), raise_server_exceptions=False) as client:
        made = Server(service, client, tmp_path / "data" / "stores" / "p")
        with service.database.write() as connection:
            projects.add_project(connection, service.settings, service.vault, ProjectRequest("p"), 0.0)
            number = accounts.add_account(connection, "root", PASSWORD, service.now(), admin=True)
            memberships.set_role(connection, projects.find_project(connection, "p").id, "root", Role.ADMIN)
            made.tokens["root"] = tokens.create_token(connection, number, service.now(), seconds=60).text
        made.tokens |= dict.fromkeys(("reader", "writer"), made.tokens["root"])
        yield made


def plant(folder):
    """Assets that another program wrote, which are all that they should not be; one that is well."""
    meta = {"push_date": "2020-01-01", "is_directory": True}
    ours = {"format": 1, "layout": "packs", "root": "0" * 64, "files": 1, "message": "a\0b", "who": "\0"}
    (folder / "h").mkdir(parents=True)
    for version, more in (("1.0", {"bytes": 1 << 63}), ("1.1", {"bytes": -1, "push": "x" * 500 + "\0"})):
        (folder / f"h/{version}.meta").write_text(json.dumps(meta | {"holdfast": ours | more}))
    (folder / "h.versions").write_text(json.dumps({"versions": ["1.1", "1.0"]}))
    (folder / "odd.versions").write_text(json.dumps({"versions": ["\0" * 9, "x" * 9000]}))
    for name in ("n" * 240, "ü", "a b", "-"):
        (folder / f"{name}.versions").write_text(json.dumps({"versions": []}))


def test_bucket__of_another_program(server):
    """Numbers, names and texts that no column holds do not keep anybody from listing, finding and reading what else is there."""
    check_planted(server)


def test_bucket__of_another_program__postgres(postgres):
    """The same on PostgreSQL, which takes fewer texts; and a request with such a text is a bad one, or somebody that there is not."""
    check_planted(postgres)
    assert postgres.post("/api/v1/login", None, json={"name": "a\0", "password": PASSWORD}).status_code in (400, 403)
    assert postgres.get("/api/v1/projects/p%00/names").status_code == 403
    assert error(postgres.post(f"{ADMIN}/users/a%00/disable", "root"))[0] in (400, 404)
    assert error(postgres.request("PUT", "members", "root", json={"whom": "a\0", "role": "reader"}))[0] in (400, 404)


def check_planted(server):
    Push(server, name="good").whole("0.0")
    server.post("enlist", json={"name": "good", "versions": ["0.0"]})
    plant(server.folder)
    reply = server.get("names")
    assert reply.status_code == 200, reply.text
    assert reply.json()["names"] == ["good", "h", "odd"]
    rows = {row["name"]: row for row in server.get("assets").json()["assets"]}
    assert (rows["good"]["latest"], rows["h"]["latest"]) == ("0.0", "1.1")
    assert server.get("search", params={"q": "ab"}).status_code == 200
    assert server.get("resolve", params={"spec": "h:1.0"}).status_code < 500
    assert server.get("resolve", params={"spec": "good"}).status_code == 200


def test_numbers__of_a_request(server):
    """A number that no column holds is answered."""
    for value in (10**30, -(10**30), 1 << 63):
        assert server.get(f"{ADMIN}/audit", "root", params={"before": str(value)}).status_code == 200
    assert error(server.get("search", params={"q": "x" * 60_000})) == (400, "usage")


def sparse(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(HUGE)


def test_memory__of_what_is_read_whole(server):
    """A list, a meta, a record or a root that is larger than any is refused before it is read; a file that is only named so is streamed."""
    push = Push(server)
    push.whole("1.0")
    for key in ("a/x.versions", "a/x/1.0.meta", "a/y/1.0.meta", ".holdfast/assets/z", ".holdfast/claims/z/1.0"):
        sparse(server.folder / key)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    asked = [
        ("listed", {"name": "a/x"}),
        ("meta", {"name": "a/x", "version": "1.0"}),
        ("record", {"name": "z"}),
        ("claim", {"name": "z", "version": "1.0"}),
        ("resolve", {"spec": "a/x"}),
        ("resolve", {"spec": "a/y:1.0"}),
        ("files", {"spec": "a/y:1.0"}),
        ("names", {}),
    ]
    for route, params in asked:
        reply = server.get(route, params=params)
        assert reply.status_code < 500 or reply.json()["error"]["kind"] == "integrity", (route, reply.text)
    reply = server.get("objects", params={"key": "a/x.versions"}, headers={"Range": "bytes=5-7"})
    assert (reply.status_code, reply.content) == (206, b"\0\0\0")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2 * SMALL / 1024 * 2


def test_memory__of_a_bucket(ceph, server):
    """The same of an object in a bucket."""
    from holdfast.errors import IntegrityError
    from holdfast.store.bucket import BucketStore
    from holdfast.store.settings import bucket_settings

    store = BucketStore(bucket_settings(ceph.fresh_store(), ceph.env, whole=10))
    store.put("small", b"0123456789")
    store.put("large", b"0123456789+")
    assert len(store.get("small").data) == 10
    assert len(store.get_range("large", 0, 100).data) == 11
    with pytest.raises(IntegrityError):
        store.get("large")
