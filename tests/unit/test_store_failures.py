"""What answers of servers become: the table, and a server that breaks off, is busy, or changes an object meanwhile."""

from __future__ import annotations

import http.server
import threading

import pytest

from holdfast.errors import (
    AccessError,
    AlreadyExistsError,
    BucketNotFoundError,
    ChangedError,
    HoldfastError,
    ObjectNotFoundError,
    UnreachableError,
    UnsupportedError,
    UsageError,
)
from holdfast.store.bucket import BucketStore
from holdfast.store.failures import Answer, Deed, Place, explain
from holdfast.store.settings import bucket_settings

PLACE = Place("s3://b/p", "b", "http://h:1", "AWS_ENDPOINT_URL", "AWS_PROFILE")


@pytest.mark.parametrize(
    ("verb", "status", "code", "kind"),
    [
        ("get", 404, "NoSuchKey", ObjectNotFoundError),
        ("get", 404, "NoSuchBucket", BucketNotFoundError),
        ("put", 404, "ContainerNotFound", BucketNotFoundError),
        ("list", 404, None, BucketNotFoundError),
        ("replace", 404, "NoSuchKey", ChangedError),
        ("get", 403, "AccessDenied", AccessError),
        ("get", 403, "SignatureDoesNotMatch", AccessError),
        ("put", 400, "ExpiredToken", AccessError),
        ("put", 401, None, AccessError),
        ("get", 301, "PermanentRedirect", AccessError),
        ("create", 412, "PreconditionFailed", AlreadyExistsError),
        ("create", 409, "BlobAlreadyExists", AlreadyExistsError),
        ("replace", 412, None, ChangedError),
        ("replace", 409, "ConditionalRequestConflict", ChangedError),
        ("get", 412, None, ChangedError),
        ("put", 409, "OperationAborted", UnreachableError),
        ("put", 429, None, UnreachableError),
        ("put", 503, "SlowDown", UnreachableError),
        ("create", 501, "NotImplemented", UnsupportedError),
        ("put", 400, "KeyTooLongError", UsageError),
        ("put", 400, "EntityTooLarge", HoldfastError),
    ],
)
def test_explain(verb, status, code, kind):
    """An answer becomes the one error that a caller would act on, with its key or store as the subject."""
    error = explain(Answer(status, code, "text"), Deed(verb, "k"), PLACE)
    assert type(error) is kind
    assert error.subject in {"k", PLACE.url}


def test_explain__403_of_a_read():
    """A 403 to a read says that the object may be missing, one to a write does not; both name the setting."""
    read = explain(Answer(403, "AccessDenied", ""), Deed("get", "k"), PLACE)
    write = explain(Answer(403, "AccessDenied", ""), Deed("put", "k"), PLACE)
    assert "the object is missing" in read.hint
    assert "missing" not in write.hint
    assert "AWS_PROFILE" in read.hint
    assert "AWS_PROFILE" in write.hint


class Faulty(http.server.BaseHTTPRequestHandler):
    """1,000 bytes, of which an answer sends at most ``cut`` before it breaks off; or a status."""

    protocol_version = "HTTP/1.1"
    cut, status, generation, ranges = 1000, None, 0, ()
    moving = False

    def do_GET(self):
        asked = self.headers.get("Range")
        type(self).ranges += (asked,)
        if self.status:
            self.send_response(self.status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        first, asked_last = map(int, asked.removeprefix("bytes=").split("-"))
        last = min(asked_last, 999)
        if self.moving:
            type(self).generation += 1
        self.send_response(206)
        self.send_header("Content-Length", str(last - first + 1))
        self.send_header("Content-Range", f"bytes {first}-{last}/1000")
        self.send_header("ETag", f'"{self.generation}"')
        self.send_header("Last-Modified", "Sat, 21 Nov 2026 05:00:00 GMT")
        self.end_headers()
        data = bytes(n % 251 for n in range(first, last + 1))
        self.wfile.write(data[: self.cut])
        if self.cut < len(data):
            self.wfile.flush()
            self.close_connection = True

    def log_message(self, *args):
        pass


@pytest.fixture
def faulty():
    """The server's class, whose attributes say how it fails, and a store on it."""
    handler = type("BoundFaulty", (Faulty,), {})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        environ = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
        }
        yield handler, BucketStore(bucket_settings("s3://b/p", environ, read_timeout=1.0))
        server.shutdown()
        thread.join()


def test_get_range__broken_off(faulty):
    """An answer that breaks off is continued where it ended, not begun anew."""
    handler, store = faulty
    handler.cut = 300
    got = store.get_range("k", 0, 800)
    assert bytes(got.data) == bytes(n % 251 for n in range(800))
    assert handler.ranges == ("bytes=0-799", "bytes=300-799", "bytes=600-799")


def test_get_range__never_whole(faulty):
    """An answer that breaks off every time is unreachable in the end, and nothing is returned."""
    handler, store = faulty
    handler.cut = 0
    with pytest.raises(UnreachableError, match="broke off"):
        store.get_range("k", 0, 800)


def test_get_range__changed_meanwhile(faulty):
    """Pieces of two versions are never joined."""
    handler, store = faulty
    handler.cut, handler.moving = 300, True
    with pytest.raises(UnreachableError, match="broke off"):
        store.get_range("k", 0, 800)


@pytest.mark.parametrize("status", [404, 403])
def test_get_range__refusals_are_not_retried(faulty, status):
    """A clear refusal is asked for once."""
    handler, store = faulty
    handler.status = status
    with pytest.raises((ObjectNotFoundError, AccessError)):
        store.get_range("k", 0, 10)
    assert len(handler.ranges) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_get_range__busy(faulty, status):
    """A server that asks to slow down is asked again, later each time, and is unreachable in the end."""
    handler, store = faulty
    handler.status = status
    with pytest.raises(UnreachableError, match="busy"):
        store.get_range("k", 0, 10)
    assert len(handler.ranges) > 1
