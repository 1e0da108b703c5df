"""URLs that the server signs for a real S3 store: what they allow, and everything that they do not."""

from __future__ import annotations

import secrets
import time
from base64 import b64encode
from dataclasses import replace
from hashlib import md5
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import pytest
import urllib3

from holdfast.errors import UnsupportedError
from holdfast.formats.people import ProjectRequest
from holdfast.server import memberships, projects
from holdfast.server.access import Role
from holdfast.store.base import UploadWish
from holdfast.store.bucket import BucketStore
from holdfast.store.settings import bucket_settings
from tests.server.test_push_routes import Push, error


@pytest.fixture(scope="module")
def http():
    """A client without retries."""
    with urllib3.PoolManager(retries=False, timeout=20) as pool:
        yield pool


@pytest.fixture
def store(ceph):
    """A store at an unused prefix."""
    return BucketStore(bucket_settings(ceph.fresh_store(), ceph.env))


def put(http, signed, data, **headers):
    """PUT with the signed headers; the status."""
    sent = signed.headers | headers
    return http.request("PUT", signed.url, body=data, headers=sent, preload_content=True)


def changed(url, **query):
    """The URL with other values in its query."""
    parts = urlsplit(url)
    values = dict(parse_qsl(parts.query)) | query
    return urlunsplit(parts._replace(query=urlencode(values)))


def test_put__creates_once(store, http):
    """A signed PUT creates its object; the second is refused with 412, and the bytes stay."""
    assert store.signs_uploads
    key = "a/b/0.0/ü x+&?%41~.bin"
    signed = store.sign_uploads([UploadWish(key, 5)], 60)[0]
    assert put(http, signed, b"first").status == 200
    assert put(http, signed, b"other").status == 412
    assert bytes(store.get(key).data) == b"first"


def test_put__only_as_signed(store, http):
    """Another length, another key, no condition, another condition, other query: all refused, and nothing is written."""
    signed = store.sign_uploads([UploadWish("k", 5)], 60)[0]
    refused = [
        put(http, signed, b"longer", **{"content-length": "6"}),
        put(http, signed, b"less", **{"content-length": "4"}),
        http.request("PUT", signed.url.replace("/k?", "/other?"), body=b"first", headers=signed.headers),
        http.request("PUT", signed.url, body=b"first", headers={"content-length": "5"}),
        put(http, signed, b"first", **{"if-none-match": "x"}),
        http.request("PUT", changed(signed.url, **{"X-Amz-Expires": "900"}), body=b"first", headers=signed.headers),
        http.request("PUT", changed(signed.url, uploadId="x"), body=b"first", headers=signed.headers),
        http.request("DELETE", signed.url),
        http.request("GET", signed.url),
    ]
    assert [reply.status for reply in refused] == [403] * len(refused)
    assert [info.key for info in store.list("") if not info.key.startswith(".holdfast/probe")] == []


def test_put__checksum(store, http):
    """Where the client knows the MD5, it is signed, and other bytes are refused."""
    signed = store.sign_uploads([UploadWish("k", 5, b64encode(md5(b"first").digest()).decode())], 60)[0]
    assert put(http, signed, b"other").status == 400
    assert put(http, signed, b"first").status == 200


def test_urls__expire(store, http):
    """A URL that expired is refused."""
    store.put("k", b"data")
    get = store.sign_downloads(["k"], 1)[0]
    create = store.sign_uploads([UploadWish("new", 1)], 1)[0]
    assert http.request("GET", get).data == b"data"
    time.sleep(2.1)
    assert http.request("GET", get).status == 403
    assert put(http, create, b"x").status == 403


def test_get__ranges(store, http):
    """A signed GET takes ranges and conditions, which are not signed, and no other key."""
    data = secrets.token_bytes(1000)
    info = store.put("a/b c", data)
    url = store.sign_downloads(["a/b c"], 60)[0]
    part = http.request("GET", url, headers={"Range": "bytes=5-9", "If-Match": f'"{info.etag}"'})
    assert (part.status, part.data) == (206, data[5:10])
    assert http.request("GET", url.replace("b%20c", "b%20d")).status == 403
    assert http.request("PUT", url, body=b"x").status == 403


def test_batch__is_cheap(store):
    """A thousand URLs of each kind are signed in well under the time that one request takes anyway."""
    assert store.signs_uploads
    keys = [f"a/b/0.0/{number}" for number in range(1000)]
    begun = time.process_time()
    urls = store.sign_downloads(keys, 900)
    signed = store.sign_uploads([UploadWish(key, 1) for key in keys], 900)
    assert len({*urls, *(each.url for each in signed)}) == 2000
    assert time.process_time() - begun < 1.0


def test_store__that_keeps_no_conditions(rclone_s3):
    """Where the server ignores the condition, no PUT is signed: such uploads go through the server, which refuses them too."""
    store = BucketStore(bucket_settings(rclone_s3.fresh_store(), rclone_s3.env))
    assert not store.signs_uploads
    assert len(store.sign_downloads(["k"], 60)) == 1


def test_azure__reads_are_signed(azurite, http):
    """A store on Azure signs reads; it cannot bind a PUT to one length, so those go through the server."""
    store = BucketStore(bucket_settings(azurite.fresh_store(), azurite.env))
    for key in ("a/b.c", "a b/ü"):
        store.put(key, b"data")
    urls = store.sign_downloads(["a/b.c", "none", "a b/ü"], 60)
    assert [http.request("GET", url).status for url in urls[:2]] == [200, 404]
    assert urls[2] is None  # obstore would sign it wrongly
    assert not store.signs_uploads
    with pytest.raises(UnsupportedError):
        store.sign_uploads([UploadWish("k", 1)], 60)
    with pytest.raises(UnsupportedError):
        store.begin_parts("k")


@pytest.fixture
def remote(server, ceph, http):
    """A project on the bucket, with the bucket's own credentials; puts it in the place of ``p``."""
    service = server.service
    service.settings = replace(service.settings, allow_endpoints=(ceph.env["AWS_ENDPOINT_URL"],))
    wanted = ProjectRequest(
        "s3",
        ceph.fresh_store(),
        endpoint=ceph.env["AWS_ENDPOINT_URL"],
        region="us-east-1",
        credentials={name: ceph.env[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")},
    )
    return in_place_of_p(server, wanted)


def in_place_of_p(server, wanted):
    """The server with another project, which its members of ``p`` may read and write, in the place of that."""
    service = server.service
    with service.database.write() as connection:
        number = projects.add_project(connection, service.settings, service.vault, wanted, 0.0)
        for name, role in (("reader", Role.READER), ("writer", Role.WRITER)):
            memberships.set_role(connection, number, name, role)
    server.p = f"/api/v1/projects/{wanted.name}"
    return server


def pushed_by_urls(remote, http):
    """Push three files by the URLs that the server signs, and fetch one; all files by path, and every answer on the way, as text."""
    push = Push(remote)
    push.number("claim", "0.0")
    told = remote.get("store")
    assert (told.json()["signs_get"], told.json()["signs_put"]) == (True, True)
    files = {f"d/{number}": secrets.token_bytes(10 + number) for number in range(3)}
    wanted = [{"key": f"a/b/0.0/{path}", "size": len(data)} for path, data in files.items()]
    reply = remote.post("uploads", json={"push": push.id, "objects": wanted})
    for grant, data in zip(reply.json()["grants"], files.values(), strict=True):
        assert 800 < grant["expires"] - reply.json()["now"] <= 900
        assert http.request("PUT", grant["url"], body=data, headers=grant["headers"]).status == 200
        assert http.request("PUT", grant["url"], body=data, headers=grant["headers"]).status == 412
    assert push.publish("0.0", push.tree(files)).status_code == 200
    assert remote.post("enlist", json={"name": "a/b", "versions": ["0.0"]}).status_code == 200
    found = remote.get("resolve", params={"spec": "a/b", "grants": "2"}).json()
    assert [each["key"] for each in found["grants"]] == ["a/b/0.0/d/0", "a/b/0.0/d/1"]
    assert http.request("GET", found["grants"][1]["url"]).data == files["d/1"]
    return files, [reply.text, told.text, remote.get("/api/v1/projects").text]


def test_server__signs(remote, http):
    """Through the server, objects are written and read at the bucket itself; the commit finds them there."""
    files, texts = pushed_by_urls(remote, http)
    base = remote.get("store").json()["url"]
    row = remote.post("metadata", "reader", json={"urls": [f"{base}/a/b/0.0/d/0"]}).json()["objects"][0]
    assert (row["size"], row["md5"]) == (10, md5(files["d/0"]).hexdigest())
    assert not any("SKHOLDFAST" in text for text in texts)


def test_parts__make_one_object(remote, http):
    """A large object goes to the bucket in parts of signed lengths; completed again it is the same, and another one is refused."""
    push = Push(remote)
    push.number("claim", "0.0")
    data = secrets.token_bytes(8 * 1024 * 1024 + 5)
    body = {"push": push.id, "key": "a/b/0.0", "size": len(data)}

    def sent():
        begun = remote.post("parts", json=body | {"numbers": [1, 2]}).json()
        tags = []
        for grant in begun["grants"]:
            start = (int(grant["key"]) - 1) * begun["part"]
            piece = data[start : start + begun["part"]]
            refused = http.request(
                "PUT", grant["url"], body=piece[:-1], headers={"content-length": str(len(piece) - 1)}
            )
            assert refused.status == 403
            answer = http.request("PUT", grant["url"], body=piece, headers=grant["headers"])
            assert answer.status == 200
            tags.append(answer.headers["ETag"].strip('"'))
        return body | {"upload": begun["upload"], "tags": tags}

    first, second = sent(), sent()
    assert remote.post("parts/complete", json=first).json()["size"] == len(data)
    assert remote.post("parts/complete", json=first).json()["size"] == len(data)
    url = remote.post("downloads", "reader", json={"keys": ["a/b/0.0"]}).json()["grants"][0]["url"]
    assert http.request("GET", url).data == data
    other = second | {"tags": [second["tags"][0], "0" * 32]}
    assert error(remote.post("parts/complete", json=other)) == (409, "already_exists")
    assert error(remote.post("parts/complete", json=first | {"tags": ["<x/>", "0" * 32]})) == (400, "usage")
    assert error(remote.post("parts/complete", json=first | {"tags": []})) == (400, "usage")


def test_parts__refused(remote):
    """Parts are for data under the push's own claim; a completion of an upload that is none makes nothing."""
    push = Push(remote)
    push.number("claim", "0.0")
    size = 9 * 1024 * 1024
    for key in ("a/b/0.1", "a/b.versions", f".holdfast/packs/ab/{'ab' * 32}"):
        assert error(remote.post("parts", json={"push": push.id, "key": key, "size": size})) == (403, "not_allowed")
    body = {"push": push.id, "key": "a/b/0.0", "size": size}
    for more in ({"numbers": [3]}, {"numbers": [0]}, {"size": 0}, {"size": 1 << 60}):
        assert error(remote.post("parts", json=body | more)) == (400, "usage")
    done = body | {"upload": "2~GONE0000000000000000000000000000", "tags": ["0" * 32] * 2}
    reply = remote.post("parts/complete", json=done)
    assert error(reply) in [(409, "conflict"), (503, "unreachable")]  # RGW 16 says InternalError
    assert remote.get("objects", params={"key": "a/b/0.0"}).status_code == 404


def test_parts__of_a_store_that_cannot(server):
    """A store on a disk takes no parts: the client is told to send the object through the server."""
    push = Push(server)
    push.number("claim", "0.0")
    reply = server.post("parts", json={"push": push.id, "key": "a/b/0.0", "size": 5})
    assert error(reply) == (501, "unsupported")
