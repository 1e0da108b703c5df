"""HEAD, which load balancers send, on routes that answer GET."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import AsyncIterator  # noqa: TC003 - read by the framework

import pytest
from litestar import Litestar, get
from litestar.response import Stream
from litestar.testing import TestClient

from holdfast.server.heads import headed
from tests.server.test_broken_requests import running


@pytest.mark.parametrize(
    ("path", "who", "status"),
    [
        ("/healthz", None, 200),
        ("/readyz", None, 200),
        ("/openapi.json", None, 404),
        ("/api/v1/projects", "reader", 200),
        ("/api/v1/whoami", None, 401),
        ("assets/none", "reader", 404),
        ("list?prefix=x", "reader", 200),
        ("list?prefix=x", "stranger", 403),
        ("/nowhere", None, 404),
    ],
)
def test_head__as_get(server, path: str, who: str | None, status: int) -> None:
    """HEAD is answered like GET, by the same rule and with the same headers, but without a body."""
    whole, head = server.get(path, who), server.request("HEAD", path, who)
    assert (head.status_code, head.content) == (status, b"")
    assert whole.status_code == status
    assert head.headers == whole.headers


def test_head__of_a_page(server) -> None:
    """So it is with pages."""
    whole, head = server.client.get("/signin"), server.client.head("/signin")
    assert (head.status_code, head.headers["content-type"], head.content) == (200, whole.headers["content-type"], b"")


def test_head__of_a_large_file() -> None:
    """What would be sent piece by piece is not read to its end for its head."""
    sent = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal sent
        for sent in range(10_000):  # noqa: B007 - counted
            yield b"piece"
            await asyncio.sleep(0)

    @get("/large", sync_to_thread=False)
    def large() -> Stream:
        return Stream(pieces(), headers={"Content-Length": "50000"})

    app = Litestar([large])
    app.asgi_handler = headed(app.asgi_handler)
    with TestClient(app) as client:
        head = client.head("/large")
        assert (head.status_code, head.headers["content-length"], head.content) == (200, "50000", b"")
        assert sent < 100
        assert len(client.get("/large").content) == 50_000


def test_head__where_nothing_is_read(server) -> None:
    """Where GET is refused HEAD is, too."""
    assert server.get("pushes", "writer").status_code == 405
    assert server.request("HEAD", "pushes", "writer").status_code == 405


def test_head__is_told_as_such(server, caplog) -> None:
    """The access log and the counters name the method that was asked."""
    with caplog.at_level("INFO", "holdfast.server.access"):
        server.request("HEAD", "/healthz", None)
    assert '"method": "HEAD", "path": "/healthz", "status": 200' in caplog.text
    assert "HEAD" in server.get("/metrics", "root").text


def test_head__on_a_connection_that_stays(tmp_path) -> None:
    """The real server sends no body, and answers the next request on the same connection."""
    with running(tmp_path) as made:
        client = http.client.HTTPConnection(made.url.hostname, made.url.port, timeout=30)
        for method, length in (("HEAD", 0), ("GET", 3), ("HEAD", 0), ("GET", 3)):
            client.request(method, "/healthz")
            answer = client.getresponse()
            assert (answer.status, len(answer.read())) == (200, length)
        client.close()
