"""Whatever a client sends to a project's routes, it is answered with a reason, and never with a failure of the server."""

from __future__ import annotations

import json

import pytest

from tests.server.test_push_routes import Push

NASTY = [
    "",
    "../..",
    "a/%2e%2e/b",
    "a\0b",
    "n" * 300,
    "n" * 10_000,
    "a[../x]",
    "-1",
    "9" * 30,
    "'; --%_\\",
    ".holdfast/store.json",
    "é😀\n",
]
GETS = {
    "resolve": {"spec": "a/b", "grants": "1"},
    "names": {"after": "a", "limit": "1"},
    "assets": {"pattern": "a*", "after": "a", "limit": "1"},
    "search": {"q": "a", "label": "a=b", "after": "a", "limit": "1"},
    "meta": {"name": "a/b", "version": "0.0"},
    "taken": {"name": "a/b"},
    "claim": {"name": "a/b", "version": "0.0"},
    "files": {"spec": "a/b", "after": "a", "limit": "1"},
    "diff": {"one": "a/b:0.0", "other": "a/b"},
    "list": {"prefix": "a", "level": "true", "after": "a", "limit": "1"},
    "objects": {"key": "a/b/0.0"},
}
NOT_JSON = [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 50_000, b"null", b"[]", b"1"]


@pytest.fixture
def push(server):
    """A push with a version that is whole."""
    made = Push(server)
    made.whole("0.0")
    server.post("enlist", json={"name": "a/b", "versions": ["0.0"]})
    return made


def answered(reply):
    """Whether it is a success, or a refusal with a reason."""
    return reply.status_code < 500 and (reply.status_code < 400 or bool(reply.json()["error"]["message"]))


@pytest.mark.parametrize("route", GETS)
def test_reads(server, push, route):
    """A question with any argument is answered."""
    for name in GETS[route]:
        for value in NASTY:
            reply = server.get(route, params=GETS[route] | {name: value})
            assert answered(reply), (name, value[:40], reply.text)


def bodies(push):
    """Requests by route, each with one value to be replaced."""
    number = f"pushes/{push.id}"
    return [
        ("pushes", lambda v: {"id": v, "name": "a/b", "started": "2026-01-01"}),
        ("pushes", lambda v: {"id": "0" * 32, "name": v, "started": "2026-01-01"}),
        ("pushes", lambda v: {"id": "0" * 32, "name": "a/b", "started": v}),
        ("uploads", lambda v: {"push": push.id, "objects": [{"key": v, "size": 1}]}),
        ("uploads", lambda v: {"push": v, "objects": []}),
        ("downloads", lambda v: {"keys": [v]}),
        ("metadata", lambda v: {"urls": [f"file://{push.server.folder}/{v}"]}),
        ("parts/complete", lambda v: {"push": push.id, "key": v, "size": 5, "upload": v, "tags": [v]}),
        ("enlist", lambda v: {"name": "a/b", "versions": [v]}),
        ("remove", lambda v: {"name": v, "versions": ["0.0"]}),
        ("aliases", lambda v: {"name": "a/b", "changes": {v: "0.0"}}),
        ("aliases", lambda v: {"name": "a/b", "changes": {v: None}}),
        (f"{number}/claim", lambda v: {"name": "a/b", "version": v}),
        (f"{number}/publish", lambda v: {"name": "a/b", "version": "0.0", "meta": v, "parent": v}),
        (f"{number}/take", lambda v: {"objects": [{"piece": v, "key": "a/b/0.0", "size": 1}], "wait": -5}),
    ]


def test_writes(server, push):
    """A request with any value in it, or a body that is none, is answered."""
    for route, body in bodies(push):
        sent = [json.dumps(body(value)).encode() for value in NASTY] + NOT_JSON
        for data in sent:
            reply = server.post(route, content=data, headers={"Content-Type": "application/json"})
            assert answered(reply), (route, data[:80], reply.text)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/tokens", {"project": {}}),
        ("/api/v1/admin/users", {"name": "eve", "service": {}}),
        ("/api/v1/admin/users", {"name": "eve", "admin": []}),
    ],
)
def test_wrong_type__of_a_field_named_as_what_handlers_are_given(server, path, body):
    """A field of the wrong type is the client's fault, also where its name is one by which handlers get their parts."""
    reply = server.post(path, "root", json=body)
    assert (reply.status_code, reply.json()["error"]["kind"]) == (400, "usage")
    assert list(body)[-1] in reply.json()["error"]["message"]


@pytest.mark.parametrize(("before", "found"), [(10**30, True), (-(10**30), False)])
def test_audit__before_any_number(server, before, found):
    """A number that no database takes is before all lines of the audit log, or after them."""
    assert server.post("/api/v1/login", None, json={"name": "root", "password": "wrong"}).status_code == 403
    reply = server.get("/api/v1/admin/audit", "root", params={"before": before})
    assert (reply.status_code, bool(reply.json()["lines"])) == (200, found)


@pytest.mark.parametrize("who", [None, "reader"])
def test_options(server, who):
    """OPTIONS tells the methods of a route, and asks for no token."""
    reply = server.request("OPTIONS", "names", who)
    assert (reply.status_code, reply.headers["Allow"]) == (204, "GET, OPTIONS")
