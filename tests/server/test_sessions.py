"""The cookies of sessions, and the tables that they are in."""

from __future__ import annotations

import pytest
from litestar import Request
from sqlalchemy import inspect, select

from holdfast.server import migrate, sessions
from holdfast.server.settings import load_settings
from holdfast.server.tables import tokens

PROXY = {"behind_proxy": ("10.0.0.0/8",)}


@pytest.mark.parametrize(
    ("scheme", "client", "forwarded", "settings", "secure"),
    [
        ("http", "127.0.0.1", False, {}, False),
        ("http", "::1", False, {}, False),
        ("https", "127.0.0.1", False, {}, True),
        ("http", "127.0.0.1", True, {}, True),
        ("http", "192.0.2.1", False, {}, True),
        ("http", "127.0.0.1", False, PROXY, True),
        ("http", "10.0.0.1", True, PROXY, True),
    ],
)
def test_cookie__secure(tmp_path, scheme, client, forwarded, settings, secure):
    """A cookie is for TLS alone, but where the browser is on the server's machine and no proxy is between; only that name is read."""
    chosen = load_settings({"data": tmp_path} | settings)
    carried = f"__Host-holdfast={'s' * 43}; holdfast={'p' * 43}".encode()
    headers = [(b"cookie", carried), *([(b"x-forwarded-for", b"192.0.2.7")] if forwarded else [])]
    scope = {"type": "http", "scheme": scheme, "client": (client, 1), "headers": headers, "state": {}}
    request = Request(scope)
    made = sessions.session_cookie("text", request, chosen)
    assert (made.secure, made.key.startswith("__Host-")) == (secure, secure)
    assert (made.httponly, made.samesite, made.path, made.domain) == (True, "strict", "/", None)
    assert sessions.session_of(request, chosen) == ("s" if secure else "p") * 43


def test_migration(server):
    """Taken back to the release without pages, the database has no sessions, which would be tokens there; and it comes forward again."""
    server.session("root", "root")
    migrate.downgrade(server.service.database, "0001")
    with server.service.database.read() as connection:
        assert "pages" not in {column["name"] for column in inspect(connection).get_columns("tokens")}
        labels = connection.execute(select(tokens.c.id)).scalars().all()
    assert len(labels) == len(server.tokens)
    migrate.upgrade(server.service.database)
    assert server.get("/api/v1/whoami", "root").status_code == 200
