"""URLs that the server signs for a real S3 store: what they allow, and everything that they do not."""

from __future__ import annotations

import secrets
import time
from base64 import b64encode
from hashlib import md5
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import pytest
import urllib3

from holdfast.store.base import UploadWish
from holdfast.store.bucket import BucketStore
from holdfast.store.settings import bucket_settings


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
