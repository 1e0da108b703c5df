"""Metadata by bucket URL, and what was written through a mount taken to its keys."""

from __future__ import annotations

import secrets
import threading
import time
from hashlib import md5

import pytest

from holdfast.errors import AccessError
from holdfast.formats import layout
from holdfast.server.borders import key_of_url
from holdfast.store.bucket import BucketStore
from holdfast.store.settings import bucket_settings
from tests.server.test_push_routes import Push, error


def staged(server, push, piece, data):
    """Data as a mount would have uploaded it."""
    path = server.folder / layout.staged_key(push.id, piece)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def take(push, *objects, wait=0.0):
    """The request, of (piece, key, data)."""
    rows = [{"piece": p, "key": k, "size": len(d), "md5": md5(d).hexdigest()} for p, k, d in objects]
    return push.step("take", objects=rows, wait=wait)


@pytest.fixture
def push(server):
    """A push that holds 0.0."""
    made = Push(server)
    made.number("claim", "0.0")
    return made


def test_take__copies(server, push):
    """What is there whole is under its key, and asked for again is said to be so; what is not yet is waited for no longer than asked."""
    staged(server, push, "p1", b"one")
    staged(server, push, "p2", b"tw")
    reply = take(push, ("p1", "a/b/0.0/x", b"one"), ("p2", "a/b/0.0/y", b"two"), ("p3", "a/b/0.0/z", b""))
    assert reply.json() == {"taken": ["p1"], "waiting": ["p2", "p3"]}
    assert (server.folder / "a/b/0.0/x").read_bytes() == b"one"
    assert not (server.folder / layout.staged_key(push.id, "p1")).exists()
    assert take(push, ("p1", "a/b/0.0/x", b"one")).json() == {"taken": ["p1"]}


def test_take__larger_than_a_store_copies(server, push, monkeypatch):
    """What is too large to be copied in one go is taken all the same, whole."""
    monkeypatch.setattr("holdfast.server.taking.LARGE", 1000)
    data = secrets.token_bytes(9_000_001)
    staged(server, push, "p", data)
    assert take(push, ("p", "a/b/0.0", data)).json() == {"taken": ["p"]}
    assert (server.folder / "a/b/0.0").read_bytes() == data


def test_take__waits(server, push):
    """An object that the mount uploads late is waited for."""
    late = threading.Timer(0.4, staged, (server, push, "p", b"late"))
    late.start()
    begun = time.monotonic()
    assert take(push, ("p", "a/b/0.0", b"late"), wait=10).json() == {"taken": ["p"]}
    assert time.monotonic() - begun < 5
    late.join()


def test_take__another_object(server, push):
    """Another object under the key, of another size or of other bytes, is an error, and stays."""
    assert push.put("a/b/0.0/x", b"there").status_code == 200
    staged(server, push, "p", b"other")
    for data in (b"other", b"longer"):
        staged(server, push, "p", data)
        assert error(take(push, ("p", "a/b/0.0/x", data))) == (409, "already_exists")
    assert (server.folder / "a/b/0.0/x").read_bytes() == b"there"
    staged(server, push, "p", b"there")
    assert take(push, ("p", "a/b/0.0/x", b"there")).json() == {"taken": ["p"]}


@pytest.mark.parametrize(
    ("piece", "key"),
    [
        ("p", "a/b/0.1"),
        ("p", "a/b/0.0.meta"),
        ("p", "a/b.versions"),
        ("p/q", "a/b/0.0"),
        ("..", "a/b/0.0"),
        ("../../packs/ab", "a/b/0.0"),
        ("", "a/b/0.0"),
    ],
)
def test_take__refused(server, push, piece, key):
    """Only what this push staged is taken, and only to keys that it may write."""
    reply = take(push, (piece, key, b""))
    assert error(reply) == (403, "not_allowed")
    own = layout.staged_key(push.id, "q")
    assert error(take(push, ("p", own, b""))) == (403, "not_allowed")


def test_close__removes_what_nobody_took(server, push):
    """A push that ends leaves nothing staged."""
    staged(server, push, "p", b"x")
    push.step("close")
    assert not (server.folder / layout.staged_key(push.id, "p")).exists()


def test_metadata(server, push):
    """Size, date and version by the object's URL; what is not there is said to be so."""
    push.put("a/b/0.0", b"data")
    base = f"file://{server.folder}"
    rows = server.post("metadata", "reader", json={"urls": [f"{base}/a/b/0.0", f"{base}/none"]}).json()["objects"]
    assert (rows[0]["size"], rows[1]) == (4, {"url": f"{base}/none", "found": False})
    seen = server.request("HEAD", "objects", "reader", params={"key": "a/b/0.0"})
    assert f'"{rows[0]["version"]}"' == seen.headers["etag"]
    assert abs(rows[0]["modified"] - time.time()) < 60


BASE = "s3://bucket/pre"


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket/prefix/k",
        "s3://bucket/pre",
        "s3://bucket/pre/",
        "s3://bucket/k",
        "s3://other/pre/k",
        "gs://bucket/pre/k",
        "s3://bucket/pre/../k",
        "s3://bucket/pre/%2e%2e/k",
        "s3://bucket/pre/%252e%252e/k",
        "s3://bucket/pre/a//b",
        "s3://bucket/pre/%00",
        "s3://bucket/pre%2Fk",
        "/bucket/pre/k",
        "",
    ],
)
def test_urls__outside(url):
    """A URL that is not inside the project's on a path border, or would not be once decoded, is refused."""
    with pytest.raises(AccessError, match="not allowed"):
        key_of_url(url, BASE)


def test_urls__inside():
    """A URL inside is its key, as it is written; gcs is gs."""
    assert key_of_url("s3://bucket/pre/a b/ü%41?x#y", BASE) == "a b/ü%41?x#y"
    assert key_of_url("gcs://b/k", "gs://b") == "k"
    assert key_of_url("gs://b/p/k", "gcs://b/p/") == "k"


def test_metadata__route_refuses(server):
    """The route answers one refusal for what is outside, and takes no more than a thousand."""
    server.folder.mkdir(parents=True, exist_ok=True)
    base = f"file://{server.folder}"
    assert error(server.post("metadata", "reader", json={"urls": [f"{base}/x", f"{base}-two/x"]})) == (
        403,
        "not_allowed",
    )
    assert error(server.post("metadata", "reader", json={"urls": [f"{base}/x"] * 1001})) == (400, "usage")


def test_checksums__of_a_bucket(ceph):
    """A bucket's tag of a small object is its MD5; asking for checksums that it does not keep costs nothing but the question."""
    store = BucketStore(bucket_settings(ceph.fresh_store(), ceph.env))
    info = store.put("a b/ü", b"data")
    assert info.etag == md5(b"data").hexdigest()
    assert store.checksums("a b/ü") == {}
