"""A push over HTTP, step by step, and what each step refuses."""

from __future__ import annotations

import base64
import secrets
import threading
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.formats import layout
from holdfast.formats.convention import Meta, decode_meta, encode_meta
from holdfast.model.digest import digest_of
from holdfast.model.manifest import Entry, Manifest

NOW = datetime.now(UTC).replace(microsecond=0)


class Push:
    """A push of one asset by one account."""

    def __init__(self, server, name="a/b", who="writer", push_id=None):
        self.server, self.name, self.who = server, name, who
        self.id = push_id or secrets.token_hex(16)
        server.folder.mkdir(parents=True, exist_ok=True)
        self.body = {"id": self.id, "name": name, "started": NOW.isoformat()}
        self.opened = server.post("pushes", who, json=self.body)

    def step(self, verb, **body):
        """A step of it."""
        return self.server.post(f"pushes/{self.id}/{verb}", self.who, json=body or self.body)

    def number(self, verb, version, **more):
        """A step about a number."""
        return self.step(verb, name=self.name, version=version, **more)

    def put(self, key, data, **more):
        """An object through the server."""
        return self.server.request(
            "PUT", "objects", self.who, params={"key": key, "push": self.id}, content=data, **more
        )

    def publish(self, version, meta, parent=None):
        """The commit."""
        data = base64.b64encode(encode_meta(meta)).decode()
        return self.number("publish", version, meta=data, **({"parent": parent} if parent else {}))

    def tree(self, files, **more):
        """A meta of these files."""
        manifest = Manifest.of(Entry(path, size=len(data), digest=digest_of(data)) for path, data in files.items())
        return Meta(NOW, "tree", True, manifest.content_hash, manifest, push=self.id, **more)

    def file(self, data, **more):
        """A meta of a single file."""
        manifest = Manifest.of([Entry("f", size=len(data), digest=digest_of(data))], single=True)
        return Meta(NOW, "file", False, manifest.content_hash, manifest, push=self.id, **more)

    def whole(self, version, data=b"x", parent=None):
        """All of a push of a file but the list."""
        assert self.number("claim", version).status_code == 204
        assert self.put(f"{self.name}/{version}", data).status_code == 200
        return self.publish(version, self.file(data), parent)


def error(reply):
    """Status and kind."""
    return reply.status_code, reply.json()["error"]["kind"]


def test_push__whole(server):
    """A push makes a version whose author and date are the server's word, and lists it."""
    push = Push(server)
    assert push.opened.json()["limit"] == 86400
    assert push.number("claim", "0.0").status_code == 204
    files = {"x": b"1", "d/y": b"22"}
    for path, data in files.items():
        assert push.put(f"a/b/0.0/{path}", data).json()["size"] == len(data)
    assert push.number("check", "0.0").status_code == 204
    meta = push.tree(files, who="somebody else", message="hello")
    reply = push.publish("0.0", meta)
    assert reply.json()["id"] == push.id
    stored = decode_meta(base64.b64decode(reply.json()["data"]), "k")
    assert (stored.who, stored.message, stored.hash) == ("writer", "hello", meta.hash)
    assert server.post("enlist", json={"name": "a/b", "versions": ["0.0"]}).json()["versions"] == ["0.0"]
    assert push.step("close").status_code == 200
    assert error(push.number("claim", "0.1")) == (409, "conflict")
    assert server.get("resolve", params={"spec": "a/b"}).json()["version"] == "0.0"


def test_publish__again(server):
    """A commit that is asked for again answers the same, and writes nothing."""
    push = Push(server)
    first = push.whole("0.0").json()
    again = push.publish("0.0", push.file(b"x", message="other"))
    assert (again.status_code, again.json()) == (200, first)


def test_publish__a_meta_that_is_too_long(server):
    """Who pushes more files than a commit may list is told which layout takes them."""
    reply = Push(server).number("publish", "0.0", meta="x" * (33 << 20))
    assert error(reply) == (413, "usage")
    assert "--layout packs" in reply.json()["error"]["hint"]


def test_publish__objects_that_are_not_there(server):
    """A commit that names objects which are missing, or have another size, is refused and writes no meta."""
    push = Push(server)
    push.number("claim", "0.0")
    push.put("a/b/0.0/x", b"1")
    for files in ({"x": b"1", "y": b""}, {"x": b"11"}):
        assert error(push.publish("0.0", push.tree(files))) == (409, "conflict")
    assert error(push.publish("0.0", push.file(b"1"))) == (409, "conflict")
    root = Meta(NOW, "packs", True, "blake3:" + "0" * 64, root="0" * 64, files=1, size=1, push=push.id)
    assert error(push.publish("0.0", root)) == (409, "conflict")
    assert not (server.folder / "a/b/0.0.meta").exists()
    assert push.publish("0.0", push.tree({"x": b"1"})).status_code == 200


def test_publish__what_is_no_meta_of_this_push(server):
    """A commit without a claim, with a meta that is none, or of another push, is refused."""
    push = Push(server)
    assert error(push.publish("0.0", push.file(b"x"))) == (409, "conflict")
    push.number("claim", "0.0")
    assert error(push.number("publish", "0.0", meta=base64.b64encode(b"{}").decode())) == (400, "usage")
    assert error(push.number("publish", "0.0", meta="***")) == (400, "usage")
    other = Push(server)
    assert error(push.publish("0.0", other.file(b"x"))) == (400, "usage")
    assert error(other.publish("0.0", other.file(b"x"))) == (409, "conflict")


def test_publish__newer_than_the_parent(server):
    """A commit that names a parent, where a newer version is there, listed or not, is a conflict that names it."""
    first = Push(server)
    first.whole("0.0")
    server.post("enlist", json={"name": "a/b", "versions": ["0.0"]})
    Push(server).whole("0.1", parent="0.0")
    late = Push(server).whole("0.2", parent="0.0")
    assert error(late) == (409, "conflict")
    assert late.json()["error"]["subject"] == "a/b:0.1"
    assert Push(server).whole("0.3", parent="0.1").status_code == 200


def test_publish__two_of_one_parent(server):
    """Of commits of one parent at one moment, exactly one is made."""
    Push(server).whole("0.0")
    server.post("enlist", json={"name": "a/b", "versions": ["0.0"]})
    pushes = [Push(server) for _ in range(4)]
    for number, push in enumerate(pushes, 1):
        push.number("claim", f"0.{number}")
        push.put(f"a/b/0.{number}", b"x")
    replies, together = [], threading.Barrier(4)

    def commit(number, push):
        together.wait()
        replies.append(push.publish(f"0.{number}", push.file(b"x"), "0.0").status_code)

    threads = [threading.Thread(target=commit, args=each) for each in enumerate(pushes, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(replies) == [200, 409, 409, 409]


def test_claim__one_of_two(server):
    """A number goes to one push; asked again by it, it is its own."""
    one, other = Push(server), Push(server)
    assert one.number("claim", "0.0").status_code == 204
    assert one.number("claim", "0.0").status_code == 204
    assert error(other.number("claim", "0.0")) == (409, "already_exists")
    assert error(other.number("check", "0.0")) == (409, "conflict")
    for version in ("1", "stable", "../x", "0.0.meta", "n" * 10_000, "0\0"):
        assert error(one.number("claim", version)) == (400, "usage"), version


def test_withdraw__ones_own(server):
    """A push withdraws its own version for ever, and no other's."""
    push, other = Push(server), Push(server)
    push.whole("0.0")
    assert error(other.number("withdraw", "0.0")) == (409, "conflict")
    assert push.number("withdraw", "0.0").status_code == 204
    assert server.get("resolve", params={"spec": "a/b:0.0"}).status_code == 404
    assert error(server.post("restore", json={"name": "a/b", "versions": ["0.0"]})) == (409, "conflict")


def test_push__another_accounts(server):
    """A push belongs to the account that opened it: another one's writer gets the same refusal as for none."""
    push = Push(server)
    body = push.body
    for push_id in (push.id, "0" * 32):
        replies = [server.post(f"pushes/{push_id}/{verb}", "keeper", json=body) for verb in ("renew", "close")]
        replies.append(server.post("uploads", "keeper", json={"push": push_id, "objects": []}))
        params = {"key": "a/b/0.0", "push": push_id}
        replies.append(server.request("PUT", "objects", "keeper", params=params, content=b""))
        assert [error(reply) for reply in replies] == [(403, "not_allowed")] * 4
    assert error(server.post("pushes", "keeper", json=body)) == (403, "not_allowed")
    assert server.post("pushes", "writer", json=body).status_code == 200


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "../x"),
        ("id", "A" * 32),
        ("name", "a/../b"),
        ("name", "a/1.0"),
        ("name", "a.versions"),
        ("name", "n" * 10_000),
        ("started", "yesterday"),
        pytest.param("started", (NOW + timedelta(days=1)).isoformat(), id="started-tomorrow"),
    ],
)
def test_push__cannot_be(server, field, value):
    """A push of an id, a new name or a moment that cannot be is refused."""
    server.folder.mkdir(parents=True, exist_ok=True)
    body = {"id": "0" * 32, "name": "a/b", "started": NOW.isoformat()} | {field: value}
    assert error(server.post("pushes", json=body)) == (400, "usage")


def test_push__past_its_limit(server):
    """A push that began longer ago than the store's limit writes nothing more."""
    push_id = secrets.token_hex(16)
    server.folder.mkdir(parents=True, exist_ok=True)
    old = (NOW - timedelta(days=2)).isoformat()
    server.post("pushes", json={"id": push_id, "name": "a/b", "started": old})
    push = Push(server, push_id=push_id)
    assert error(push.put("a/b/0.0", b"")) == (409, "conflict")
    assert error(push.step("renew")) == (409, "conflict")


def test_reader__writes_nothing(server):
    """A reader is refused every step of a push."""
    push = Push(server)
    push.who = "reader"
    assert error(push.number("claim", "0.0")) == (403, "not_allowed")
    assert error(push.put("a/b/0.0", b"")) == (403, "not_allowed")


PACK = "ab" * 32
ALLOWED = [layout.pack_key(PACK), layout.pages_key(PACK), "a/b/0.0", "a/b/0.0/x", "a/b/0.0/d/ü"]
REFUSED = [
    "a/b/0.0.meta",
    "a/b.versions",
    "a/b/0.1",
    "a/b/0.1/x",
    "a/b",
    "a/c/0.0",
    "a/b/0.0/../0.1",
    "a/b/0.0/",
    "a/b//0.0",
    "/a/b/0.0",
    "../x",
    "a/b/0.0\0",
    "a/b/0.0/" + "n" * 2000,
    layout.STORE,
    layout.asset_key("a/b"),
    layout.claim_key("a/b", "0.5"),
    layout.push_key("0" * 32),
    layout.gc_key("0"),
    f"{layout.PACKS}/cd/{PACK}",
    f"{layout.PACKS}/ab/{PACK}/x",
    f"{layout.PACKS}/ab/x",
    f"{layout.PACKS}",
    layout.staged_key("0" * 32, "x"),
]


def test_uploads__keys(server):
    """A push may write packs, pages, data under its own claim and what it stages; every other key is the same refusal."""
    push = Push(server)
    push.number("claim", "0.0")
    for key in [*ALLOWED, layout.staged_key(push.id, "piece")]:
        reply = server.post("uploads", json={"push": push.id, "objects": [{"key": key, "size": 1}]})
        assert reply.json()["grants"] == [{"key": key}], key
    for key in REFUSED:
        reply = server.post("uploads", json={"push": push.id, "objects": [{"key": key, "size": 1}]})
        assert (reply.status_code, reply.json()["error"]["message"]) == (403, "not allowed"), key
        reply = push.put(key, b"x")
        assert (reply.status_code, reply.json()["error"]["message"]) == (403, "not allowed"), key


def test_put__creates_only(server):
    """An object is written once; a second PUT is refused, and the bytes stay."""
    push = Push(server)
    push.number("claim", "0.0")
    assert push.put("a/b/0.0", b"first").status_code == 200
    assert error(push.put("a/b/0.0", b"other")) == (409, "already_exists")
    assert (server.folder / "a/b/0.0").read_bytes() == b"first"


def test_put__large(server, monkeypatch):
    """What is larger than one conditional write takes is written under the claim, once, through a file."""
    monkeypatch.setattr("holdfast.server.streams.SMALL", 1000)
    push = Push(server)
    push.number("claim", "0.0")
    data = secrets.token_bytes(3_000_000)
    assert push.put("a/b/0.0", data).json()["size"] == len(data)
    assert (server.folder / "a/b/0.0").read_bytes() == data
    assert error(push.put("a/b/0.0", data)) == (409, "already_exists")


def test_put__another_length(server):
    """A body without a length, or of another one, is refused and nothing is written."""
    push = Push(server)
    push.number("claim", "0.0")
    assert error(push.put("a/b/0.0", iter([b"x"]))) == (400, "usage")
    reply = push.put("a/b/0.0", b"longer", headers={"Content-Length": "3"})
    assert reply.status_code in (400, 409)
    assert not (server.folder / "a/b/0.0").exists()


def test_get__object(server):
    """An object is read whole or in one range, and pinned to the version that was told."""
    push = Push(server)
    push.number("claim", "0.0")
    data = secrets.token_bytes(9_000_000)
    push.put("a/b/0.0", data)
    whole = server.get("objects", params={"key": "a/b/0.0"})
    assert whole.content == data
    assert whole.headers["content-length"] == str(len(data))
    assert whole.headers["x-content-type-options"] == "nosniff"
    tag = whole.headers["etag"]

    def part(text, **more):
        return server.get("objects", params={"key": "a/b/0.0"}, headers={"Range": text} | more)

    for text, wanted in (
        ("bytes=0-0", data[:1]),
        ("bytes=5-8999999", data[5:]),
        ("bytes=-3", data[-3:]),
        ("bytes=8999998-99999999", data[-2:]),
    ):
        reply = part(text, **{"If-Match": tag})
        assert (reply.status_code, reply.content) == (206, wanted), text
    assert part("bytes=5-8999999").headers["content-range"] == "bytes 5-8999999/9000000"
    assert part("bytes=9000000-").status_code == 416
    assert part("bytes=5-3").status_code == 200
    assert part("bytes=0-3", **{"If-Match": '"other"'}).status_code == 412
    seen = server.request("HEAD", "objects", "reader", params={"key": "a/b/0.0"})
    assert (seen.headers["content-length"], seen.headers["etag"]) == (str(len(data)), tag)
    assert server.get("objects", params={"key": "a/b/0.9"}).status_code == 404
    assert server.request("HEAD", "objects", "reader", params={"key": "a/b/0.9"}).status_code == 404
    for key in ("../x", "/etc/passwd", "a/./b", "a\0"):
        assert server.get("objects", params={"key": key}).status_code == 403


def test_get__replaced_keys(server):
    """A list is read as it is now, and an empty object as empty."""
    push = Push(server)
    push.whole("0.0", b"")
    server.post("enlist", json={"name": "a/b", "versions": ["0.0"]})
    assert server.get("objects", params={"key": "a/b.versions"}).content == b'{"versions":["0.0"]}'
    assert server.get("objects", params={"key": "a/b/0.0"}).content == b""


def test_downloads__of_a_store_that_cannot_sign(server):
    """Where the store cannot sign, grants come without a URL; keys outside and too many are refused."""
    server.folder.mkdir(parents=True, exist_ok=True)
    reply = server.post("downloads", "reader", json={"keys": ["a/b/0.0"]}).json()
    assert reply["grants"] == [{"key": "a/b/0.0"}]
    assert error(server.post("downloads", "reader", json={"keys": ["a", "../b"]})) == (403, "not_allowed")
    assert error(server.post("downloads", "reader", json={"keys": ["a"] * 1001})) == (400, "usage")
