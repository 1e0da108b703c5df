"""What a narrowed token may do about tokens: nothing that reaches beyond itself."""

from __future__ import annotations

import pytest

from holdfast.server.access import Role, TokenScope

TOKENS = "/api/v1/tokens"


@pytest.fixture
def narrow(server):
    """A token of the keeper for an hour, for reading in ``p`` alone."""
    return server.token("keeper", seconds=3600, scope=TokenScope(1, Role.READER))


def test_create__for_a_project_that_is_not_opened(server):
    """A token for a project without a role is refused as one for a project that there is not."""
    server.project("q")
    for who in ("stranger", "reader"):
        there, nowhere = (server.post(TOKENS, who, json={"project": name}) for name in ("q", "none-such"))
        assert (there.status_code, there.content) == (403, nowhere.content)
    assert server.post(TOKENS, "reader", json={"project": "p"}).status_code == 201


def test_create__by_a_narrowed_one(server, narrow):
    """A token that a narrowed one makes ends no later: asked for more it is refused, and unless told it ends with it."""
    assert server.post(TOKENS, narrow, json={"expires": 7200}).status_code == 403
    own = server.get("/api/v1/whoami", narrow).json()["token"]
    made = server.post(TOKENS, narrow, json={}).json()["row"]
    assert made["expires"] <= own["expires"] + 1
    assert (made["project"], made["role"]) == ("p", "reader")
    assert server.post(TOKENS, narrow, json={"expires": 60}).status_code == 201
    assert server.post(TOKENS, "keeper", json={"expires": 300 * 86400}).status_code == 201


def test_revoke__by_a_narrowed_one(server, narrow):
    """A narrowed token sees and ends itself and what it made, and no other token of its owner."""
    made = server.post(TOKENS, narrow, json={"label": "made"}).json()["row"]["id"]
    wider = server.post(TOKENS, "keeper", json={"project": "p", "role": "writer"}).json()["row"]["id"]
    seen = {row["id"] for row in server.get(TOKENS, narrow).json()}
    assert (made in seen, wider in seen, len(seen)) == (True, False, 2)
    for row in server.get(TOKENS, "keeper").json():
        expected = 204 if row["id"] == made else 404
        if row["id"] in (made, wider) or row["id"] not in seen:
            assert server.request("DELETE", f"{TOKENS}/{row['id']}", narrow).status_code == expected
    assert server.get("names", "keeper").status_code == 200
    assert server.post("/api/v1/logout", narrow).status_code == 204
