"""Buckets are made, and told apart by whose they are, on real S3 servers; what is asked goes through the environment's proxy."""

from __future__ import annotations

import secrets
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from holdfast.errors import AccessError, UnreachableError, UnsupportedError
from holdfast.store.calls import call
from holdfast.store.making import NewBucket
from holdfast.store.settings import bucket_settings
from tests.services.base import s3_client


@pytest.fixture
def name():
    """A bucket that nobody has."""
    return f"made-{secrets.token_hex(8)}"


@pytest.fixture(params=["ceph", "localstack"])
def service(request):
    """A server that makes buckets."""
    return request.getfixturevalue(request.param)


def test_make__nobodys_becomes_ours(service, name):
    """A bucket that nobody has is made, private, and is ours from then on; to make it again changes nothing."""
    settings = bucket_settings(f"s3://{name}", service.env)
    assert NewBucket(settings).owner() == "nobody"
    for _ in range(2):
        NewBucket(settings).make()
        assert NewBucket(settings).owner() == "ours"
    with s3_client(service.env) as client:
        grants = client.get_bucket_acl(Bucket=name)["Grants"]
    assert [grant["Permission"] for grant in grants] == ["FULL_CONTROL"]


def test_make__in_another_region(localstack, name):
    """A bucket is made in the region of the settings."""
    settings = bucket_settings(f"s3://{name}", localstack.env, region="eu-west-1")
    NewBucket(settings).make()
    with s3_client(localstack.env) as client:
        assert client.get_bucket_location(Bucket=name)["LocationConstraint"] == "eu-west-1"


def test_make__anothers(ceph, name):
    """Another account's bucket is another's, and is not made: the error names it, and where to choose another name."""
    NewBucket(bucket_settings(f"s3://{name}", ceph.second)).make()
    settings = bucket_settings(f"s3://{name}", ceph.env)
    assert NewBucket(settings).owner() == "another"
    with pytest.raises(AccessError, match=f"bucket {name}: another account has it") as caught:
        NewBucket(settings).make()
    assert caught.value.hint is not None
    assert "[buckets]" in caught.value.hint


def test_make__refused_and_unreachable(ceph, name):
    """Wrong keys are refused with the store's word for it, a silent place is unreachable, and other providers' buckets are made by hand."""
    wrong = bucket_settings(f"s3://{name}", ceph.env, secret_key="not the secret")
    with pytest.raises(AccessError, match=f"bucket {name}: refused: SignatureDoesNotMatch"):
        NewBucket(wrong).owner()
    nowhere = bucket_settings(f"s3://{name}", ceph.env, endpoint="http://127.0.0.1:9")
    with pytest.raises(UnreachableError, match=name):
        NewBucket(nowhere).owner()
    with pytest.raises(UnsupportedError, match="buckets of gs://"):
        NewBucket(bucket_settings(f"gs://{name}", {})).make()


class _Proxy(BaseHTTPRequestHandler):
    """Answers for everybody, and notes what it was asked."""

    asked: list[str]
    statuses: list[int]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        body = b"<ListAllMyBucketsResult><Buckets><Bucket><Name>mine</Name></Bucket></Buckets></ListAllMyBucketsResult>"
        self.send_response(self.statuses.pop(0) if self.statuses else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def answering(*statuses):
    """A server that begins with these answers; its address, and what it was asked."""
    handler = type("Handler", (_Proxy,), {"asked": [], "statuses": list(statuses)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", handler.asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def no_proxies(monkeypatch):
    """An environment that names no proxy."""
    for proxy in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(proxy, raising=False)
        monkeypatch.delenv(proxy.upper(), raising=False)
    return monkeypatch


KEYS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}


def test_call__through_the_proxy(no_proxies):
    """What is asked goes through the proxy that the environment names, but for hosts that it leaves out."""
    settings = bucket_settings("s3://mine", KEYS, endpoint="http://nowhere.invalid")
    with answering() as (proxy, asked):
        no_proxies.setenv("http_proxy", proxy)
        assert NewBucket(settings).owner() == "ours"
        assert asked[0].startswith("http://nowhere.invalid/")
        no_proxies.setenv("no_proxy", "nowhere.invalid")
        with pytest.raises(UnreachableError):
            call("GET", "http://nowhere.invalid/", settings)
        assert len(asked) == 1


def test_call__a_moment_of_weakness(no_proxies):
    """A server that is busy is asked again, twice at most."""
    with answering(503, 500) as (server, asked):
        settings = bucket_settings("s3://mine", KEYS, endpoint=server)
        assert NewBucket(settings).owner() == "ours"
        assert len(asked) == 3
    with answering(503, 503, 503) as (server, _):
        settings = bucket_settings("s3://mine", KEYS, endpoint=server)
        with pytest.raises(UnreachableError, match="status 503"):
            NewBucket(settings).owner()
