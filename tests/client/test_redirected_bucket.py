"""A bucket's endpoint that sends requests elsewhere: what goes there, seen by a real server."""

from __future__ import annotations

import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from holdfast import wiring
from holdfast.config import load
from holdfast.errors import HoldfastError
from holdfast.store.base import OVERWRITE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "the/secret+key"


class Elsewhere:
    """Two servers: the endpoint answers every request with a redirect of this ``code`` to the other one, which keeps what it was sent."""

    def __init__(self) -> None:
        self.code, self.sent = 307, []
        self.other = self._serving("127.0.0.2", self._kept)
        self.first = self._serving("127.0.0.1", self._redirected)

    def _serving(self, host: str, answer: object) -> ThreadingHTTPServer:
        methods = {f"do_{method}": answer for method in ("GET", "HEAD", "PUT", "POST", "DELETE")}
        handler = type("Handler", (BaseHTTPRequestHandler,), {**methods, "log_message": lambda *_: None})
        server = ThreadingHTTPServer((host, 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    @property
    def _kept(self) -> object:
        def answer(request: BaseHTTPRequestHandler) -> None:
            body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
            self.sent.append((request.command, f"{request.path}\n{request.headers}\n{body.decode(errors='replace')}"))
            request.send_response(404)
            request.send_header("Content-Length", "0")
            request.end_headers()

        return answer

    @property
    def _redirected(self) -> object:
        def answer(request: BaseHTTPRequestHandler) -> None:
            request.rfile.read(int(request.headers.get("Content-Length") or 0))
            request.send_response(self.code)
            request.send_header("Location", f"http://127.0.0.2:{self.other.server_port}{request.path}")
            request.send_header("Content-Length", "0")
            request.end_headers()

        return answer

    def close(self) -> None:
        for server in (self.first, self.other):
            server.shutdown()
            server.server_close()


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    """An endpoint that redirects."""
    found = Elsewhere()
    yield found
    found.close()


@pytest.mark.parametrize("code", [301, 302, 307, 308])
def test_redirect__gets_no_signature(elsewhere: Elsewhere, tmp_path: Path, code: int) -> None:
    """Where a bucket's endpoint redirects to another host, neither a key, nor a signature, nor what is put goes there."""
    elsewhere.code = code
    environ = {
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{elsewhere.first.server_port}",
        "AWS_REGION": "us-east-1",
        "HOME": str(tmp_path),
    }
    store = wiring.open_store("s3://bucket/p", load({}, environ))
    calls = (
        lambda: store.get("k"),
        lambda: store.head("k"),
        lambda: store.get_range("k", 0, 5),
        lambda: list(store.list("x")),
        lambda: store.put("k", b"what is put", OVERWRITE),
        lambda: store.delete("k"),
    )
    for call in calls:
        with suppress(HoldfastError):
            call()
    methods = [method for method, _ in elsewhere.sent]
    assert methods, "the test shows nothing where nothing is followed"
    assert "PUT" not in methods
    for _, text in elsewhere.sent:
        for kept in ("AKIDEXAMPLE", SECRET, "signature", "authorization", "what is put"):
            assert kept.lower() not in text.lower()
