"""Where a project may lie, against an admin who points it at the server's own machine, and a folder whose users make links."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from holdfast.server.stores import NotOpenError, open_bucket
from holdfast.store.bucket import BucketStore
from holdfast.store.settings import bucket_settings
from tests.server.test_push_routes import Push, error

ADMIN = "/api/v1/admin/projects"
AZURE = {"AZURE_STORAGE_ACCOUNT_NAME": "127.0.0.1:1/x#", "AZURE_STORAGE_ACCOUNT_KEY": "aGVsbG8="}


ENDPOINTS = [
    "http://2130706433",
    "http://0x7f.1",
    "http://[::ffff:127.0.0.1]",
    "http://[::127.0.0.1]",
    "http://[::ffff:0:127.0.0.1]",
    "http://[64:ff9b::7f00:1]",
    "http://[2002:7f00:1::]",
    "http://169.254.169.254",
    "http://[fd00:ec2::254]",
    "https://168.63.129.16",
    "https://100.100.100.200",
    "http://good.example\\@127.0.0.1",
    "http://user@127.0.0.1",
    "http://1.1.1.1",
]
OTHER_WAYS = [
    {"url": "s3://b/p", "region": "127.0.0.1/#"},
    {"url": "s3://evil.example#/p"},
    {"url": "s3://user@evil.example:99/p"},
    {"url": "az://b/p", "credentials": AZURE},
    {"url": "s3://b/p", "server": True, "endpoint": "https://1.1.1.1"},
]


def test_endpoint__of_the_server_itself(server):
    """As a project's endpoint, this machine, its link, what clouds tell their machines, and plain HTTP to the internet are refused, however spelled."""
    for endpoint in ENDPOINTS:
        reply = server.post(ADMIN, "root", json={"name": "x", "url": "s3://b/p", "endpoint": endpoint})
        assert error(reply) == (400, "usage"), endpoint


def test_host__by_another_way(server):
    """No name that becomes part of a host says where requests go, and the server's own credentials go only where they may."""
    for wanted in OTHER_WAYS:
        assert error(server.post(ADMIN, "root", json={"name": "x", **wanted})) == (400, "usage"), wanted


def account(**more):
    """A service account's key."""
    key = rsa.generate_private_key(65537, 2048)
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    told = {"type": "service_account", "client_email": "robot@example.iam", "private_key": text, "private_key_id": "1"}
    return json.dumps(told | more)


def test_google__own_credentials():
    """A project's own key for Google signs for it, and nobody looks for the server's."""
    store = open_bucket("gs://bucket/p", {"GOOGLE_SERVICE_ACCOUNT_KEY": account()}, None, None, None)
    assert "robot%40example.iam" in store.sign_downloads(["k"], 60)[0]


def test_google__refused_credentials(server):
    """A key that is none, or names an endpoint, is refused, and not shown."""
    for key in (account(gcs_base_url="http://127.0.0.1:1"), "{}", "[]", "no JSON", "{"):
        credentials = {"GOOGLE_SERVICE_ACCOUNT_KEY": key}
        reply = server.post(ADMIN, "root", json={"name": "x", "url": "gs://b/p", "credentials": credentials})
        assert error(reply) == (400, "usage"), key[:20]
        assert "PRIVATE" not in reply.text


def test_open__judged_again(server):
    """A project whose place the operator does not list any more is not opened; its members are not told why."""
    service = server.service
    service.settings = replace(service.settings, allow_endpoints=("http://127.0.0.1:1",))
    made = server.post(ADMIN, "root", json={"name": "x", "url": "s3://b/p", "endpoint": "http://127.0.0.1:1"})
    assert made.status_code == 201
    service.settings = replace(service.settings, allow_endpoints=())
    reply = server.get("/api/v1/projects/x/store", "root")
    assert error(reply) == (403, "not_allowed")
    assert "127.0.0.1" not in reply.text


@pytest.fixture
def links(server):
    """The server, whose project's folder has links made by somebody who may write there."""
    Push(server).whole("0.0", b"inside")
    data = server.service.settings.data
    server.get("list", params={"prefix": ""})
    for name, target in (("secret", data / "secret"), ("data", data), ("here", server.folder / "a/b/0.0")):
        os.symlink(target, server.folder / name)
    return server


def test_link__leads_out(links):
    """What a link leads out to is neither read, listed nor written."""
    for key in ("secret", "data/secret", "data/holdfast.db"):
        assert links.get("objects", params={"key": key}).status_code == 404
        assert links.request("HEAD", "objects", "reader", params={"key": key}).status_code == 404
    assert links.get("list", params={"prefix": "data"}).json() == {"objects": []}
    level = links.get("list", params={"prefix": "", "level": "true"}).json()
    assert [row["key"] for row in level["objects"]] == ["here"]
    assert "data" not in level["prefixes"]
    assert links.get("objects", params={"key": "here"}).content == b"inside"


def test_link__in_the_way_of_a_write(links):
    """A push does not write through a link that leads out, be it of its version or of what the store keeps for itself."""
    outside = links.service.settings.data / "outside"
    outside.mkdir()
    push = Push(links, name="a/c")
    assert push.number("claim", "0.0").status_code == 204
    os.symlink(outside, links.folder / "a/c")
    assert push.put("a/c/0.0/x", b"x").status_code == 404
    (links.folder / ".holdfast/tmp").rename(links.folder / ".holdfast/old")
    os.symlink(outside, links.folder / ".holdfast/tmp")
    assert push.put(".holdfast/packs/aa/" + "a" * 64, b"x").status_code >= 400
    assert list(outside.iterdir()) == []


def test_link__in_the_place_of_the_project(server):
    """A project's folder that becomes a link leads nowhere; one of the operator's, above it, is followed."""
    stores = server.service.settings.data / "stores"
    server.project("q")
    server.project("r")
    (stores / "r").rmdir()
    os.symlink(server.service.settings.data, stores / "r")
    assert server.get("/api/v1/projects/r/objects", "root", params={"key": "secret"}).status_code >= 400
    stores.rename(server.service.settings.data / "moved")
    os.symlink(server.service.settings.data / "moved", stores)
    assert server.get("/api/v1/projects/q/list", "root").status_code == 200


class Elsewhere(BaseHTTPRequestHandler):
    """Sends whoever asks to another path."""

    def do_HEAD(self):
        self.server.seen.append(self.path)
        self.send_response(302)
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_):
        pass


def test_checksums__sent_elsewhere():
    """A store that answers a question for checksums with another address is not followed there."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as bucket:
        bucket.seen = []
        thread = threading.Thread(target=bucket.serve_forever)
        thread.start()
        try:
            keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
            endpoint = f"http://127.0.0.1:{bucket.server_port}"
            store = BucketStore(bucket_settings("s3://b/p", keys, endpoint=endpoint))
            assert store.checksums("k") == {}
        finally:
            bucket.shutdown()
            thread.join()
        assert len(bucket.seen) == 1


def test_server_credentials__where_listed(server):
    """To an endpoint that the operator listed, the server's own credentials go."""
    server.service.settings = replace(server.service.settings, allow_endpoints=("https://10.0.0.1",))
    wanted = {"name": "x", "url": "s3://b/p", "server": True, "endpoint": "https://10.0.0.1"}
    assert server.post(ADMIN, "root", json=wanted).status_code == 201


def test_open__where_nobody_else_waits(server):
    """A store is not opened where all other requests would wait for it, for an address may have to be asked for; once open, it is used there."""
    with pytest.raises(NotOpenError):
        server.service.stores.store(1, 1, wait=False)
    assert server.get("list").status_code in (200, 404)
    assert server.service.stores.store(1, 1, wait=False) is server.service.stores.store(1, 1)
