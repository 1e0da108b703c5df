"""The raw probe: what the server can do for a client that costs next to nothing.

Requests are signed and laid out before the clock starts, the data is in memory, answers are thrown away, a handful of
connections is served by one loop without threads. What it reaches is the ceiling that the others are measured against. It is a
program of its own, so that its memory and the machine's other work are counted like everyone's::

    python -m bench.probe {put|get} KEY COUNT SIZE              many objects, KEY/00000 and so on
    python -m bench.probe {put-parts|get-ranges} KEY SIZE PART  one large object

prints a line of JSON for the number of connections that was best: ``seconds`` (of the requests alone), ``connections``, and
``share``, the part of all its time that they took.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import selectors
import socket
import sys
import time
import urllib.parse
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_SMALL_CONNECTIONS: Final = (32, 64, 128)
_LARGE_CONNECTIONS: Final = (4, 8)
_BLOCK: Final = 1024 * 1024


class Bucket:
    """Builds signed requests for one bucket (path style, plain HTTP)."""

    def __init__(self, bucket: str, env: Mapping[str, str] = os.environ) -> None:
        where = urllib.parse.urlsplit(env["AWS_ENDPOINT_URL"])
        self.address = (where.hostname or "", where.port or 80)
        self._bucket = bucket
        self._access, secret = env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"]
        self._now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        self._scope = f"{self._now[:8]}/{env['AWS_REGION']}/s3/aws4_request"
        key = b"AWS4" + secret.encode()
        for piece in self._scope.split("/"):
            key = hmac.digest(key, piece.encode(), "sha256")
        self._key = key

    def head(
        self, method: str, key: str, length: int = 0, query: Mapping[str, str] | None = None, extra: str = ""
    ) -> bytes:
        """The head of a request with its signature in the query."""
        host = f"{self.address[0]}:{self.address[1]}"
        asked = dict(query or {}) | {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"{self._access}/{self._scope}",
            "X-Amz-Date": self._now,
            "X-Amz-Expires": "3600",
            "X-Amz-SignedHeaders": "host",
        }
        text = urllib.parse.urlencode(sorted(asked.items()), quote_via=urllib.parse.quote)
        path = f"/{self._bucket}/{urllib.parse.quote(key)}"
        canonical = f"{method}\n{path}\n{text}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        signed = hmac.new(
            self._key, f"AWS4-HMAC-SHA256\n{self._now}\n{self._scope}\n{digest}".encode(), "sha256"
        ).hexdigest()
        length_line = f"Content-Length: {length}\r\n" if method in ("PUT", "POST") else ""
        return f"{method} {path}?{text}&X-Amz-Signature={signed} HTTP/1.1\r\nHost: {host}\r\n{length_line}{extra}\r\n".encode()


class _Connection:
    """One keep-alive connection: sends a request, reads its answer to the end."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = memoryview(bytearray(_BLOCK))
        self.out: list[memoryview] = []
        self.head = b""
        self.left = -1

    def begin(self, pieces: Iterable[bytes | memoryview]) -> bool:
        """Start a request; whether all of it is sent."""
        self.out = [memoryview(piece) for piece in pieces]
        self.head, self.left = b"", -1
        return self.send()

    def send(self) -> bool:
        while self.out:
            try:
                sent = self.socket.sendmsg(self.out)
            except BlockingIOError:
                return False
            while self.out and sent >= len(self.out[0]):
                sent -= len(self.out.pop(0))
            if sent:
                self.out[0] = self.out[0][sent:]
        return True

    def receive(self) -> bool:
        """Take what is there; whether the answer is complete."""
        try:
            count = self.socket.recv_into(self.buffer)
        except BlockingIOError:
            return False
        if not count:
            raise ConnectionError("the server hung up")
        if self.left >= 0:
            self.left -= count
            return self.left == 0
        self.head += self.buffer[:count]
        end = self.head.find(b"\r\n\r\n")
        if end < 0:
            return False
        if self.head[9:10] != b"2":
            raise RuntimeError(self.head.decode(errors="replace"))
        self.left = self._length(end) - (len(self.head) - end - 4)
        return self.left == 0

    def _length(self, end: int) -> int:
        lower = self.head[:end].lower()
        start = lower.find(b"content-length:")
        return 0 if start < 0 else int(lower[start + 15 :].split(b"\r", 1)[0])


def drive(
    address: tuple[str, int], requests: Sequence[tuple[bytes | memoryview, ...]], connections: int
) -> tuple[float, list[bytes]]:
    """Send all requests over so many connections: the seconds it took, and the head of every answer."""
    pool = [_Connection(address) for _ in range(min(connections, len(requests)))]
    heads: list[bytes] = [b""] * len(requests)
    todo = iter(enumerate(requests))
    with selectors.EpollSelector() as selector:
        begun = time.perf_counter()
        working: dict[int, int] = {}
        for one in pool:
            one.socket.setblocking(False)
            number, request = next(todo)
            events = selectors.EVENT_READ if one.begin(request) else selectors.EVENT_READ | selectors.EVENT_WRITE
            selector.register(one.socket, events, one)
            working[id(one)] = number
        while working:
            for key, events in selector.select():
                one = key.data
                if events & selectors.EVENT_WRITE and one.send():
                    selector.modify(one.socket, selectors.EVENT_READ, one)
                if not events & selectors.EVENT_READ or not one.receive():
                    continue
                number = working.pop(id(one))
                heads[number] = one.head
                found = next(todo, None)
                if found is None:
                    selector.unregister(one.socket)
                    continue
                working[id(one)] = found[0]
                if not one.begin(found[1]):
                    selector.modify(one.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, one)
        seconds = time.perf_counter() - begun
    for one in pool:
        one.socket.close()
    return seconds, heads


def _small(verb: str, bucket: Bucket, key: str, count: int, size: int) -> dict[int, float]:
    data = os.urandom(size)
    found: dict[int, float] = {}
    requests: list[tuple[bytes, ...]]
    for connections in _SMALL_CONNECTIONS:
        names = [
            f"{key}/{connections if verb == 'put' else _SMALL_CONNECTIONS[0]}/{number:05}" for number in range(count)
        ]
        if verb == "put":
            requests = [(bucket.head("PUT", name, size), data) for name in names]
        else:
            requests = [(bucket.head("GET", name),) for name in names]
        found[connections], _ = drive(bucket.address, requests, connections)
    return found


def _ranges(size: int, part: int) -> list[tuple[int, int]]:
    return [(start, min(start + part, size)) for start in range(0, size, part)]


def _get_ranges(bucket: Bucket, key: str, size: int, part: int) -> dict[int, float]:
    found: dict[int, float] = {}
    for connections in _LARGE_CONNECTIONS:
        requests = [
            (bucket.head("GET", f"{key}/{_LARGE_CONNECTIONS[0]}", extra=f"Range: bytes={a}-{b - 1}\r\n"),)
            for a, b in _ranges(size, part)
        ]
        found[connections], _ = drive(bucket.address, requests, connections)
    return found


def _put_parts(bucket: Bucket, key: str, size: int, part: int) -> dict[int, float]:
    found: dict[int, float] = {}
    data = memoryview(os.urandom(part))
    for connections in _LARGE_CONNECTIONS:
        name = f"{key}/{connections}"  # overwritten, a server would keep the old parts for hours
        begun = time.perf_counter()
        upload = _begin_upload(bucket, name)
        requests = [
            (bucket.head("PUT", name, b - a, {"partNumber": str(number), "uploadId": upload}), data[: b - a])
            for number, (a, b) in enumerate(_ranges(size, part), 1)
        ]
        _, heads = drive(bucket.address, requests, connections)
        tags = [head.lower().split(b"etag:", 1)[1].split(b"\r", 1)[0].strip().decode() for head in heads]
        parts = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{tag}</ETag></Part>" for n, tag in enumerate(tags, 1))
        body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
        drive(bucket.address, [(bucket.head("POST", name, len(body), {"uploadId": upload}), body)], 1)
        found[connections] = time.perf_counter() - begun
    return found


def _begin_upload(bucket: Bucket, key: str) -> str:
    with socket.create_connection(bucket.address) as plain:
        plain.sendall(bucket.head("POST", key, 0, {"uploads": ""}, "Connection: close\r\n"))
        answer = b"".join(iter(lambda: plain.recv(65536), b"")).decode()
    return answer.split("<UploadId>", 1)[1].split("<", 1)[0]


def main(arguments: list[str]) -> None:
    verb, where, *numbers = arguments
    bucket_name, _, key = where.removeprefix("s3://").partition("/")
    bucket, sizes = Bucket(bucket_name), [int(number) for number in numbers]
    if verb in ("put", "get"):
        result = _small(verb, bucket, key, *sizes)
    elif verb == "get-ranges":
        result = _get_ranges(bucket, key, *sizes)
    else:
        result = _put_parts(bucket, key, *sizes)
    best = min(result, key=lambda connections: result[connections])
    seconds = result[best]
    print(json.dumps({"seconds": seconds, "connections": best, "share": seconds / sum(result.values())}))


if __name__ == "__main__":
    main(sys.argv[1:])
