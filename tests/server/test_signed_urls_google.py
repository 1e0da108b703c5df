"""URLs that the server signs for a store of Google's kind: what they allow, and everything that they do not.

The store is the project's own double, which proves them by the account's public key; that they are spelled as Google has them is
compared with what another library signs.
"""

from __future__ import annotations

import json
import secrets
import time
from base64 import b64encode
from calendar import timegm
from dataclasses import replace
from datetime import timedelta
from hashlib import md5
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import obstore
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from obstore.store import GCSStore

from holdfast.errors import AccessError, UnsupportedError
from holdfast.formats.people import ProjectRequest
from holdfast.server.rsa import prover
from holdfast.store.base import UploadWish
from holdfast.store.bucket import BucketStore
from holdfast.store.presign import GoogleSite, Presigner
from holdfast.store.settings import bucket_settings
from tests.server.test_push_routes import Push, error
from tests.server.test_signed_urls import changed, http, in_place_of_p, pushed_by_urls, put
from tests.services.gcs_double import as_project

__all__ = ["http"]


@pytest.fixture
def store(gcs_double):
    """A store at an unused prefix, with somebody who can sign."""
    return BucketStore(bucket_settings(gcs_double.fresh_store(), gcs_double.env, rsa=prover))


def test_url__as_another_library_signs(gcs_double):
    """For the same moment, key and method, the URL is the very one that the object-store client makes for Google's own address."""
    account = json.loads(Path(gcs_double.env["GOOGLE_SERVICE_ACCOUNT"]).read_text())
    account = {name: value for name, value in account.items() if name not in ("gcs_base_url", "disable_oauth")}
    theirs = GCSStore("bucket", config={"service_account_key": json.dumps(account)})
    url = obstore.sign(theirs, "GET", "a/b x~.bin", timedelta(seconds=60))
    query = dict(parse_qsl(urlsplit(url).query))
    moment = timegm(time.strptime(query["X-Goog-Date"], "%Y%m%dT%H%M%SZ"))
    host = "storage.googleapis.com"
    site = GoogleSite(f"https://{host}", host, "/bucket", account["client_email"], prover(account["private_key"]))
    ours = Presigner(site, lambda: moment).url("GET", "a/b x~.bin", 60)
    assert urlsplit(ours)[:3] == urlsplit(url)[:3]
    assert dict(parse_qsl(urlsplit(ours).query)) == query


def test_put__creates_once(store, http):
    """A signed PUT creates its object; the second is refused with 412, and the bytes stay."""
    assert store.signs_uploads
    key = "a/b/0.0/ü x+&?%41~.bin"
    signed = store.sign_uploads([UploadWish(key, 5)], 60)[0]
    assert put(http, signed, b"first").status == 200
    assert put(http, signed, b"other").status == 412
    assert bytes(store.get(key).data) == b"first"


def test_put__only_as_signed(store, http):
    """A URL signed for Google with another length, key, condition, query or further header is refused, and nothing is written."""
    signed = store.sign_uploads([UploadWish("k", 5)], 60)[0]
    condition, length = "x-goog-if-generation-match", "x-goog-content-length-range"
    refused = [
        http.request("PUT", signed.url.replace("/k?", "/other?"), body=b"first", headers=signed.headers),
        http.request("PUT", signed.url, body=b"first", headers={length: "5,5"}),
        http.request("PUT", signed.url, body=b"first", headers={condition: "0"}),
        put(http, signed, b"first", **{condition: "7"}),
        put(http, signed, b"longer", **{length: "6,6"}),
        put(http, signed, b"first", **{"x-goog-copy-source": "/holdfast/other"}),
        http.request("PUT", changed(signed.url, **{"X-Goog-Expires": "900"}), body=b"first", headers=signed.headers),
        http.request("PUT", changed(signed.url, uploadId="x"), body=b"first", headers=signed.headers),
        http.request("DELETE", signed.url, headers=signed.headers),
        http.request("GET", signed.url, headers=signed.headers),
    ]
    assert [reply.status for reply in refused] == [403] * len(refused)
    assert [put(http, signed, data).status for data in (b"longer", b"less", b"")] == [400] * 3
    assert [info.key for info in store.list("") if not info.key.startswith(".holdfast/probe")] == []


def test_put__checksum(store, http):
    """Where the client knows the MD5, it is signed, and cannot be left away."""
    signed = store.sign_uploads([UploadWish("k", 5, b64encode(md5(b"first").digest()).decode())], 60)[0]
    bare = {name: value for name, value in signed.headers.items() if name != "content-md5"}
    assert http.request("PUT", signed.url, body=b"first", headers=bare).status == 403
    assert put(http, signed, b"first").status == 200


def test_urls__expire(store, http):
    """A URL that expired is refused."""
    store.put("k", b"data")
    get = store.sign_downloads(["k"], 1)[0]
    create = store.sign_uploads([UploadWish("new", 1)], 1)[0]
    assert http.request("GET", get).data == b"data"
    time.sleep(2.1)
    assert http.request("GET", get).status == 400
    assert put(http, create, b"x").status == 400


def test_get__ranges(store, http):
    """A signed GET takes ranges, which are not signed, and no other key."""
    data = secrets.token_bytes(1000)
    store.put("a/b c", data)
    url = store.sign_downloads(["a/b c"], 60)[0]
    part = http.request("GET", url, headers={"Range": "bytes=5-9"})
    assert (part.status, part.data) == (206, data[5:10])
    assert http.request("GET", url.replace("b%20c", "b%20d")).status == 403
    assert http.request("PUT", url, body=b"x").status == 403


def test_credentials__that_cannot_sign(gcs_double):
    """Without a private key, or where nobody was given who can sign by it, no PUT is signed, and parts are never."""
    url = gcs_double.fresh_store()
    account = json.loads(Path(gcs_double.env["GOOGLE_SERVICE_ACCOUNT"]).read_text()) | {"private_key": ""}
    keyless = bucket_settings(url, {"GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(account)}, rsa=prover)
    for settings in (keyless, bucket_settings(url, gcs_double.env)):
        store = BucketStore(settings)
        assert not store.signs_uploads
        with pytest.raises(UnsupportedError):
            store.sign_uploads([UploadWish("k", 1)], 60)
    with pytest.raises(UnsupportedError):
        BucketStore(bucket_settings(url, gcs_double.env, rsa=prover)).begin_parts("k")


def test_prover__what_is_no_rsa_key():
    """Another kind of key, or none at all, is refused by name, and is not shown."""
    other = ec.generate_private_key(ec.SECP256R1())
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    for text in (pem, "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n", "secret", "ü"):
        with pytest.raises(AccessError, match="private key") as caught:
            prover(text)
        assert text not in str(caught.value)
        assert "secret" not in str(caught.value)


@pytest.fixture
def remote(server, gcs_double):
    """A project on the bucket, with the service account's key; puts it in the place of ``p``."""
    service, more = server.service, as_project(gcs_double)
    service.settings = replace(service.settings, allow_endpoints=(more["endpoint"],))
    wanted = ProjectRequest("g", gcs_double.fresh_store(), **more)
    return in_place_of_p(server, wanted)


def test_server__signs(remote, http):
    """Through the server, objects are written and read at the bucket itself; the commit finds them there, and no answer tells the key."""
    _, texts = pushed_by_urls(remote, http)
    assert not any("PRIVATE KEY" in text for text in texts)


def test_parts__are_not_signed(remote):
    """A large object goes through the server: the client is told so."""
    push = Push(remote)
    push.number("claim", "0.0")
    reply = remote.post("parts", json={"push": push.id, "key": "a/b/0.0", "size": 9 * 1024 * 1024})
    assert error(reply) == (501, "unsupported")
