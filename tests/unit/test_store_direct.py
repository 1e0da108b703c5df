"""The direct way to a bucket: what it does itself, and that everything else is left to the full client."""

from __future__ import annotations

import base64
import hashlib
import http.server
import itertools
import os
import resource
import threading

import pytest

from holdfast.errors import AccessError, ChangedError, ObjectNotFoundError
from holdfast.store import many
from holdfast.store.bucket import BucketStore
from holdfast.store.many import _Growth
from holdfast.store.settings import bucket_settings
from holdfast.store.wire import Answer, WireError, seconds_of

WHOLE = bytes(n % 251 for n in range(1000))


class Scripted(http.server.BaseHTTPRequestHandler):
    """One object of 1,000 bytes under every name but ``missing``. ``faults`` are what befalls the next answers.

    ``cut`` bytes of the body and no more; a ``status``; ``silent``; ``chunked``; ``weak`` (a weak tag); ``moved`` (another tag
    from now on); ``close`` (announced); ``hang-up`` (a kept connection is closed before the next answer).
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    faults: list = []  # noqa: RUF012  set anew for every test
    seen: list = []  # noqa: RUF012
    written: dict = {}  # noqa: RUF012
    heads: list = []  # noqa: RUF012
    tag, lock, pause = "one", threading.Lock(), threading.Event()

    def handle_one(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        key = self.path.removeprefix("/b/p/")
        with self.lock:
            self.heads.append(self.headers)
            fault = self.faults.pop(0) if self.faults else None
            self.seen.append(
                (self.command, key, self.headers.get("Range"), "obstore" in str(self.headers["User-Agent"]))
            )
        if fault == "hang-up":
            self.close_connection = True
        elif fault == "silent":
            self.pause.wait(5)
            self.close_connection = True
        elif isinstance(fault, int) or key == "missing":
            self.reply(fault or 404, b"<Error><Code>NoSuchKey</Code></Error>" if fault in (None, 404) else b"")
        elif self.command == "PUT":
            self.written[key] = body
            self.reply(200)
        else:
            self.send_object(fault)

    do_GET = do_PUT = do_HEAD = handle_one  # noqa: N815  http.server's names

    def send_object(self, fault):
        if fault == "moved":
            type(self).tag = "two"
        if self.headers.get("If-Match") not in (None, f'"{self.tag}"'):
            self.reply(412)
            return
        data, status, extra = WHOLE, 200, {}
        if asked := self.headers.get("Range"):
            first, last = map(int, asked.removeprefix("bytes=").split("-"))
            data, status = WHOLE[first : last + 1], 206
            extra["Content-Range"] = f"bytes {first}-{first + len(data) - 1}/1000"
        extra |= {"Connection": "close"} if fault == "close" else {}
        self.reply(status, data, fault, ETag=f'W/"{self.tag}"' if fault == "weak" else f'"{self.tag}"', **extra)

    def reply(self, status, data=b"", fault=None, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Last-Modified", "Sat, 21 Nov 2026 05:00:00 GMT")
        cut = int(fault.removeprefix("cut ")) if str(fault).startswith("cut") else len(data)
        if fault == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
            data = b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data)
            cut = len(data)
        else:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[:cut])
            self.wfile.flush()
        if cut < len(data) or fault == "close":
            self.close_connection = True

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    """Takes many connections at a time."""

    request_queue_size = 64

    def handle_error(self, request, client_address):
        """A client that hangs up is part of the tests."""


@pytest.fixture
def server():
    """The server's class, bound to one server, and that server's address in ``endpoint``."""
    handler = type(
        "BoundScripted", (Scripted,), {"faults": [], "seen": [], "written": {}, "heads": [], "pause": threading.Event()}
    )
    with Server(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        handler.endpoint = f"http://127.0.0.1:{running.server_port}"
        yield handler
        handler.pause.set()
        running.shutdown()
        thread.join()


def opened(server, silence=0.5, **changed):
    """A store on the server, which may be silent for so many seconds, by an environment with these differences."""
    environ = {"AWS_ENDPOINT_URL": server.endpoint, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    return BucketStore(bucket_settings("s3://b/p", environ | changed, read_timeout=silence))


def read(store, key, start, length, version=None):
    found = store.get_range_into(key, start, memoryview(bytearray(length)), version=version)
    return bytes(found.data), found.info


def by_library(server):
    """How many requests the full client sent."""
    return sum(entry[3] for entry in server.seen)


def test_get_range_into(server):
    """A range goes straight into the view, shorter at the end of the object, over one kept connection."""
    store = opened(server)
    data, info = read(store, "k", 100, 300)
    assert data == WHOLE[100:400]
    assert (info.key, info.size, info.version, info.etag, info.modified) == ("k", 1000, "one", "one", 1795237200.0)
    assert read(store, "k", 900, 300, "one")[0] == WHOLE[900:]
    assert by_library(server) == 0


@pytest.mark.parametrize("fault", ["cut 0", "cut 100", "silent", "hang-up", "chunked", "weak", 500, 503])
def test_get_range_into__not_a_plain_success(server, fault):
    """Whatever is not a plain answer is asked for again by the full client: that range alone, and once."""
    store = opened(server)
    assert read(store, "k", 0, 400)[0] == WHOLE[:400]
    server.faults.append(fault)
    assert read(store, "k", 400, 200, "one")[0] == WHOLE[400:600]
    assert read(store, "k", 600, 400, "one")[0] == WHOLE[600:]
    assert {entry[2] for entry in server.seen} == {"bytes=0-399", "bytes=400-599", "bytes=600-999"}
    assert len(server.seen) == 4


def test_get_range_into__closed_by_the_server(server):
    """A connection whose end was announced is not used again."""
    store = opened(server)
    server.faults.append("close")
    assert [read(store, "k", n, 100)[0] for n in (0, 100)] == [WHOLE[:100], WHOLE[100:200]]
    assert by_library(server) == 0


def test_get_range_into__changed_meanwhile(server):
    """Two versions of an object are never mixed: another tag between two ranges is a clear error."""
    store = opened(server)
    _, info = read(store, "k", 0, 500)
    server.faults.append("moved")
    with pytest.raises(ChangedError):
        read(store, "k", 500, 500, info.version)


@pytest.mark.parametrize(("status", "kind"), [(404, ObjectNotFoundError), (403, AccessError)])
def test_get_range_into__refused(server, status, kind):
    """Not found and not allowed are different errors; the full client asks once and does not try again."""
    server.faults += [status, status]
    with pytest.raises(kind):
        read(opened(server), "k", 0, 10)
    assert len(server.seen) == 2


def filled(store, file, start, length, version=None):
    """What the kernel brought into the file from byte 3 on, and what is said of it; None where it did not."""
    info = store.get_range_to("k", start, length, file.fileno(), 3, version=version)
    return None if info is None else (os.pread(file.fileno(), length, 3), info.version)


@pytest.fixture
def file(tmp_path):
    """An empty file to be filled."""
    with open(tmp_path / "filled", "w+b", buffering=0) as found:
        yield found


def test_get_range_to(server, file):
    """A range goes into the file, shorter at the end of the object, over one kept connection."""
    store = opened(server)
    assert filled(store, file, 100, 300) == (WHOLE[100:400], "one")
    assert filled(store, file, 900, 300, "one") == (WHOLE[900:] + WHOLE[200:400], "one")
    assert by_library(server) == 0


@pytest.mark.parametrize("fault", ["cut 0", "cut 100", "silent", "hang-up", "chunked", "weak", "moved", 404, 403, 500])
def test_get_range_to__not_a_plain_success(server, file, fault):
    """Whatever is not a plain answer is left to the caller; the next range goes on a connection that works."""
    store = opened(server)
    assert filled(store, file, 0, 400, "one") == (WHOLE[:400], "one")
    server.faults.append(fault)
    again = filled(store, file, 400, 200, "one")
    assert again is None or (fault == "hang-up" and again == (WHOLE[400:600], "one"))
    server.tag = "one"
    assert filled(store, file, 600, 400, "one") == (WHOLE[600:], "one")
    assert by_library(server) == 0


def test_get_range_to__file_refuses(server, tmp_path):
    """A file that cannot be written says so itself, and the connection, half read, is not used again."""
    store = opened(server)
    (tmp_path / "read-only").touch()
    with open(tmp_path / "read-only", "rb") as file, pytest.raises(OSError, match="Bad file descriptor"):
        filled(store, file, 0, 400)
    assert read(store, "k", 0, 1000)[0] == WHOLE


def test_get_many(server):
    """Small objects come in the order of answers, each with its bytes; more of them than connections."""
    found = dict(opened(server).get_many((f"k{n}" for n in range(50)), 7))
    assert set(found) == {f"k{n}" for n in range(50)}
    assert all(bytes(item.data) == WHOLE and item.info.version == "one" for item in found.values())
    assert by_library(server) == 0


def test_get_many__drawn_when_wanted(server):
    """No more keys are drawn than there are connections, and none is sent once nobody asks for answers."""
    keys = itertools.count()
    answers = opened(server).get_many((f"k{n}" for n in keys), 4)
    next(answers)
    answers.close()
    assert next(keys) <= 6


@pytest.mark.parametrize("fault", ["cut 10", "hang-up", "silent", "chunked", "weak", 404, 403, 503])
def test_get_many__not_a_plain_success(server, fault):
    """One that fails is left to the caller, once; the others are fetched all the same."""
    server.faults += [None, None, fault]
    found = list(opened(server).get_many([f"k{n}" for n in range(20)], 3))
    assert sorted(key for key, _ in found) == sorted(f"k{n}" for n in range(20))
    assert [item is None for _, item in found].count(True) == 1


def test_get_many__nobody_there(server):
    """Where nobody listens, everything is left to the full client, which says so."""
    server.endpoint = "http://127.0.0.1:9"
    assert list(opened(server).get_many(["a", "b"], 2)) == [("a", None), ("b", None)]


def test_get_many__a_server_that_fails_always(server):
    """After a hundred failures the rest is not even tried."""
    server.faults += [500] * 1000
    found = list(opened(server).get_many([f"k{n}" for n in range(500)], 4))
    assert len(found) == 500
    assert 100 <= len(server.seen) <= 110


def test_put_many(server):
    """Small objects are written whole, empty and large ones too."""
    items = {f"k{n}": bytes([n]) * size for n, size in enumerate([0, 1, 1000, 8_000_000, 5])}
    written = dict(opened(server).put_many(items.items(), 3))
    assert written == dict.fromkeys(items, True)
    assert server.written == items


def test_put_many__signed_by_md5(server):
    """Where the MD5 of the bytes is known it is signed in the place of their SHA-256, which nobody computes then."""
    data, digest = b"the bytes", hashlib.md5(b"the bytes", usedforsecurity=False)
    store = opened(server)
    assert list(store.put_many([("a", data)], 1, lambda _: digest.hexdigest())) == [("a", True)]
    assert list(store.put_many([("b", data)], 1)) == [("b", True)]
    one, other = server.heads
    assert one["Content-MD5"] == base64.b64encode(digest.digest()).decode()
    assert one["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
    assert "SignedHeaders=content-md5;host;" in one["Authorization"]
    assert other["Content-MD5"] is None
    assert other["x-amz-content-sha256"] == hashlib.sha256(data).hexdigest()


def test_put_many__signed_by_sha256_where_that_is_asked_for(server):
    """Where the settings want the body in the signature, no MD5 stands for it."""
    store = opened(server, AWS_UNSIGNED_PAYLOAD="false")
    assert list(store.put_many([("a", b"the bytes")], 1, lambda _: "0" * 32)) == [("a", True)]
    assert server.heads[0]["x-amz-content-sha256"] == hashlib.sha256(b"the bytes").hexdigest()


def test_put_many__refused(server):
    """A write that is refused is left to the caller."""
    server.faults += [503]
    assert sorted(ok for _, ok in opened(server).put_many([("a", b"1"), ("b", b"2")], 1)) == [False, True]


@pytest.mark.parametrize(
    "changed",
    [
        {"http_proxy": "http://proxy.invalid:3128"},
        {"ALL_PROXY": "http://proxy.invalid:3128"},
        {"AWS_ENDPOINT_URL": "https://127.0.0.1:9"},
        {"AWS_ENDPOINT_URL": ""},
    ],
)
def test_direct__not_where_the_client_is_needed(server, changed):
    """Proxies and TLS are the full client's business."""
    assert list(opened(server, **changed).get_many(["a"], 1)) == [("a", None)]
    assert not server.seen


@pytest.mark.parametrize("changed", [{"AWS_KMS_KEY_ID": "k"}, {"AWS_CHECKSUM_ALGORITHM": "SHA256"}])
def test_put_many__not_where_a_write_needs_more(server, changed):
    """Where the store encrypts with a key or checks a sum, the full client writes; reading needs neither."""
    store = opened(server, **changed)
    assert list(store.put_many([("a", b"1")], 1)) == [("a", False)]
    assert next(store.get_many(["a"], 1))[1] is not None


@pytest.mark.parametrize(("limit", "most"), [(40, 10), (3, 1), (resource.RLIM_INFINITY, 128)])
def test_get_many__leaves_descriptors_to_others(server, monkeypatch, limit, most):
    """However many connections are allowed, three quarters of the files that may be open are left to whoever writes what comes."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    opened_lines = []
    real = many._Loop._open
    monkeypatch.setattr(many._Loop, "_open", lambda loop, line: (opened_lines.append(line), real(loop, line))[1])
    found = dict(opened(server, silence=30).get_many([f"{number}" for number in range(1000)], 128))
    assert all(bytes(each.data) == WHOLE for each in found.values())
    assert len(found) == 1000
    assert len(opened_lines) == most


@pytest.mark.parametrize("gain", [1.0, 2.0])
def test_growth(gain):
    """Lines become more as long as answers come faster for it, and never more than allowed."""
    now, speed = 0.0, 1000.0
    growth = _Growth(400, lambda: now)
    for _ in range(5000):
        now += 1 / speed
        if growth.more():
            speed *= gain
    assert growth.lines == (400 if gain > 1 else 128)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (b"Thu, 26 Nov 2026 21:25:26 GMT", 1795728326.0),
        (b"Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        (b"Mon, 31 Dec 2029 23:59:59 GMT", 1893455999.0),
    ],
)
def test_date(text, seconds):
    """The date of an answer is seconds since the epoch, whatever the time zone and the language here."""
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    "text", [b"", b"yesterday", b"Thu, 26 Anu 2026 21:25:26 GMT", b"Thu, 31 Feb 2026 21:25:26 GMT"]
)
def test_date__none(text):
    """Any other text is no date, and leaves the answer to the full client."""
    with pytest.raises(WireError):
        seconds_of(text)


def test_headers():
    """A header is found by its name in any case, its value without the space around it; of two, the first counts."""
    head = b'HTTP/1.1 200 OK\r\ncontent-LENGTH:  5 \r\nETag:"a:b"\r\nContent-Length: 7\r\nConnection: Close\r\n'
    answer = Answer(head)
    assert (answer.status, answer.length, answer.stays) == (200, 5, False)
    assert (answer.header(b"etag"), answer.header(b"last-modified")) == (b'"a:b"', b"")
