"""Signing in and out, tokens, and what revoking, disabling and losing a role do at the next request."""

from __future__ import annotations

PASSWORD = "correct horse battery"


def test_info__is_public(server):
    """Anybody may ask which server it is and how one signs in, and is told nothing else."""
    reply = server.get("/api/v1/info", None)
    assert reply.status_code == 200
    assert set(reply.json()) == {"version", "login", "browser"}


def test_login__gives_a_token(server):
    """A name and its password give a token, which is good for 90 days."""
    reply = server.post("/api/v1/login", None, json={"name": "root", "password": PASSWORD}).json()
    row = reply["row"]
    assert row["expires"] - row["created"] == 90 * 86400
    assert server.get("/api/v1/whoami", reply["token"]).json()["name"] == "root"


def test_login__wrong(server):
    """A wrong password and a name that nobody has are one answer, and no token."""
    one = server.post("/api/v1/login", None, json={"name": "root", "password": "wrong password"})
    other = server.post("/api/v1/login", None, json={"name": "nobody", "password": "wrong password"})
    assert one.status_code == other.status_code == 403
    assert one.content == other.content


def test_logout__revokes(server):
    """After a logout the token is no good."""
    assert server.post("/api/v1/logout", "reader").status_code == 204
    assert server.get("/api/v1/whoami", "reader").status_code == 401
