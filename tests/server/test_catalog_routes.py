"""The catalog of a project over HTTP, on a store in a folder that the bucket door writes."""

from __future__ import annotations

import base64
import html
import re
from dataclasses import replace

import pytest
from sqlalchemy import select

import holdfast
from holdfast.server.tables import audit
from tests.client.answering import answering


@pytest.fixture
def repo(server, tmp_path):
    """The project's store by the bucket door."""
    server.folder.mkdir(parents=True, exist_ok=True)
    return holdfast.open(f"file://{server.folder}", assets_dir=tmp_path / "assets")


@pytest.fixture
def pushed(repo, tmp_path):
    """Two versions of a folder in packs, one in a tree, a file, an alias."""
    folder = tmp_path / "model"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    (folder / "deep" / "b.bin").write_bytes(bytes(70_000))
    repo.push(folder, "nlp/bert", message="first")
    (folder / "c.txt").write_text("c")
    repo.push(folder, "nlp/bert", message="second", alias="stable")
    repo.push(folder, "nlp/tree", layout="tree")
    repo.push(folder / "c.txt", "file")
    return repo


def test_resolve__spec(server, pushed):
    """A spec names the same version as through the bucket, with its meta as it lies there."""
    for spec, version in (
        ("nlp/bert", "0.1"),
        ("nlp/bert:0", "0.1"),
        ("nlp/bert:stable", "0.1"),
        ("nlp/bert:0.0", "0.0"),
    ):
        reply = server.get("resolve", params={"spec": spec}).json()
        assert (reply["name"], reply["version"]) == ("nlp/bert", version)
        assert base64.b64decode(reply["data"]) == (server.folder / f"nlp/bert/{version}.meta").read_bytes()


@pytest.mark.parametrize(
    ("spec", "status", "name"),
    [
        ("nlp/none", 404, "AssetNotFoundError"),
        ("nlp/bert:7", 404, "VersionNotFoundError"),
        ("nlp/bert:9.9", 404, "VersionNotFoundError"),
        ("nlp/bert:", 400, "InvalidSpecError"),
        ("../../etc/passwd", 400, "InvalidNameError"),
        ("a\0b", 400, "InvalidNameError"),
        ("a/%2e%2e/b", 400, "InvalidNameError"),
        ("n" * 10_000, 400, "InvalidNameError"),
    ],
)
def test_resolve__refused(server, pushed, spec, status, name):
    """What names nothing is refused as through the bucket, by the same class of error."""
    reply = server.get("resolve", params={"spec": spec})
    assert (reply.status_code, reply.json()["error"]["name"]) == (status, name)


def test_resolve__removed(server, pushed):
    """A removed version is not found from the next request on."""
    assert server.get("resolve", params={"spec": "nlp/bert:0.0"}).status_code == 200
    assert server.post("remove", json={"name": "nlp/bert", "versions": ["0.0"]}).status_code == 200
    assert server.get("resolve", params={"spec": "nlp/bert:0.0"}).status_code == 404
    assert server.get("listed", params={"name": "nlp/bert"}).json()["versions"] == ["0.1"]
    assert server.post("restore", json={"name": "nlp/bert", "versions": ["0.0"]}).status_code == 200
    assert server.get("resolve", params={"spec": "nlp/bert:0.0"}).status_code == 200


def test_names__pages(server, pushed):
    """Names come in order, page by page."""
    first = server.get("names", params={"limit": 2}).json()
    assert first == {"names": ["file", "nlp/bert"], "next": "nlp/bert"}
    rest = server.get("names", params={"limit": 2, "after": "nlp/bert"}).json()
    assert rest["names"] == ["nlp/tree"]
    assert rest.get("next") is None


def test_reads__as_the_bucket(server, pushed):
    """List, record, numbers and metas are those of the bucket."""
    listed = server.get("listed", params={"name": "nlp/bert"}).json()
    assert (listed["versions"], listed["scheme"]) == (["0.1", "0.0"], "major_minor")
    assert server.get("listed", params={"name": "none"}).json().get("token") is None
    assert server.get("record", params={"name": "nlp/bert"}).json()["aliases"] == {"stable": "0.1"}
    taken = server.get("taken", params={"name": "nlp/bert"}).json()
    assert taken == {"metas": ["0.0", "0.1"], "data": ["0.0", "0.1"], "claims": ["0.0", "0.1"]}
    assert set(server.get("written", params={"name": "nlp/bert"}).json()) == {"0.0", "0.1"}
    assert server.get("claim", params={"name": "nlp/bert", "version": "0.0"}).json()["version"] == "0.0"
    assert server.get("claim", params={"name": "nlp/bert", "version": "5.5"}).status_code == 404
    assert server.get("meta", params={"name": "nlp/bert", "version": "5.5"}).status_code == 404


def test_store__told(server, pushed):
    """The store's URL, record and promises are told; a limit is changed by an admin alone."""
    reply = server.get("store").json()
    assert reply["url"] == f"file://{server.folder}"
    assert reply["record"]["origin"] == "holdfast"
    assert server.post("configure", json={"key": "undo", "value": "60"}).status_code == 403
    changed = server.post("configure", "keeper", json={"key": "undo", "value": "60"}).json()
    assert changed["record"]["undo"] == 60
    assert server.post("configure", "keeper", json={"key": "nonsense", "value": "60"}).status_code == 400


@pytest.mark.parametrize("name", ["nlp/bert", "nlp/tree"])
def test_files__pages(server, pushed, name):
    """The entries of a version come in pages, whatever the layout; of a sub-path only those in it."""
    rows, after = [], None
    while True:
        page = server.get("files", params={"spec": name, "limit": 2} | ({"after": after} if after else {})).json()
        rows += page["files"]
        after = page.get("next")
        if after is None:
            break
    assert [row["path"] for row in rows if row.get("kind", "file") == "file"] == ["a.txt", "c.txt", "deep/b.bin"]
    assert rows[-1]["bytes"] == 70_000
    below = server.get("files", params={"spec": f"{name}[deep]"}).json()["files"]
    assert below[-1]["path"] == "deep/b.bin"
    assert server.get("files", params={"spec": f"{name}[none]"}).status_code == 404


def test_diff(server, pushed):
    """The difference of two versions is that of the bucket door."""
    reply = server.get("diff", params={"one": "nlp/bert:0.0", "other": "nlp/bert:0.1"}).json()
    assert reply == {"added": ["c.txt"], "removed": [], "changed": [], "bytes_added": 1, "bytes_removed": 0}


def test_list__pages(server, pushed):
    """Objects are listed below a prefix, on path borders, one level or all, in pages."""
    level = server.get("list", params={"prefix": "nlp", "level": True}).json()
    assert level["prefixes"] == ["nlp/bert", "nlp/tree"]
    assert [each["key"] for each in level["objects"]] == ["nlp/bert.versions", "nlp/tree.versions"]
    page = server.get("list", params={"prefix": "nlp/tree", "limit": 2}).json()
    rest = server.get("list", params={"prefix": "nlp/tree", "after": page["next"]}).json()
    keys = [each["key"] for each in page["objects"] + rest["objects"]]
    assert keys == [f"nlp/tree/0.0{end}" for end in (".meta", "/a.txt", "/c.txt", "/deep/b.bin")]
    assert server.get("list", params={"prefix": "nl"}).json()["objects"] == []
    for prefix in ("../x", "a/../b", "/etc", "a\0"):
        assert server.get("list", params={"prefix": prefix}).status_code == 403


def test_aliases(server, pushed):
    """An alias is set and removed; one that reads as a version, or names none, is refused."""
    assert (
        server.post("aliases", json={"name": "nlp/bert", "changes": {"prod": "0.0"}}).json()["aliases"]["prod"] == "0.0"
    )
    assert server.post("aliases", json={"name": "nlp/bert", "changes": {"1": "0.0"}}).status_code == 400
    assert server.post("aliases", json={"name": "nlp/bert", "changes": {"x": "8.8"}}).status_code == 404
    assert "prod" not in server.post("aliases", json={"name": "nlp/bert", "changes": {"prod": None}}).json()["aliases"]
    assert server.post("remove", json={"name": "nlp/bert", "versions": ["0.1"]}).status_code == 409


def test_changes__of_nothing(server, pushed):
    """Where no version is named nothing is written, least of all the list of an asset that never was."""

    def written():
        return {
            path: path.stat().st_mtime_ns
            for path in server.folder.rglob("*")
            if path.is_file() and path.name != "clock"
        }

    before = written()
    for verb in ("enlist", "remove", "restore"):
        for name in ("nlp/bert", "never/was"):
            assert server.post(verb, json={"name": name, "versions": []}).status_code == 200
    assert written() == before


@pytest.mark.parametrize("layout", ["packs", "tree", "tar.gz"])
def test_diff__leads_to_what_can_be_shown(server, repo, tmp_path, layout):
    """Where versions are compared a path leads to its file; a link, and a file in an archive, are named and lead nowhere."""
    server.session("reader", "reader")
    source = tmp_path / "source"
    source.mkdir()
    (source / "gone & away").write_text("old")
    (source / "link").symlink_to("gone & away")
    repo.push(source, f"diff/{layout}", layout=layout)
    (source / "gone & away").rename(source / "new?#%.txt")
    (source / "link").unlink()
    (source / "link").symlink_to("new?#%.txt")
    (source / "second link").symlink_to("link")
    repo.push(source, f"diff/{layout}", layout=layout)
    text = server.page("/projects/p/diff", params={"name": f"diff/{layout}", "one": "0.0", "other": "0.1"}).text
    led = [html.unescape(each) for each in re.findall(r'href="(/projects/p/file\?[^"]+)"', text)]
    assert len(led) == (0 if layout == "tar.gz" else 2)
    assert [server.page(each).status_code for each in led] == [200] * len(led)
    assert all(name in text for name in ("gone &amp; away", "new?#%.txt", ">link<", ">second link<"))


def test_store__that_refuses_the_server(server):
    """What a store says against the server's clock, keys or network is said to be the server's: whoever reads it has all of these, too."""
    skewed = b"<Error><Code>RequestTimeTooSkewed</Code><Message>no</Message></Error>"
    with answering(lambda _: (403, {"Content-Type": "application/xml"}, skewed)) as (endpoint, _):
        service = server.service
        service.settings = replace(service.settings, allow_endpoints=(endpoint,))
        asked = {"name": "s", "url": "s3://b/p", "endpoint": endpoint}
        assert server.post("/api/v1/admin/projects", "root", json=asked).status_code == 201
        refused = server.get("/api/v1/projects/s/list", "root", params={"prefix": ""})
        page = server.page("/projects/s", server.session("root", "admin"))
    assert refused.status_code == 403
    assert refused.json()["error"]["message"].startswith(f"on the server: {endpoint} refuses what is signed")
    assert f"on the server: {endpoint}" in page.text
    told = server.get("/api/v1/projects/s/store", "stranger").json()["error"]
    assert told["message"] == "not allowed"


def test_changes__are_in_the_audit_log(server, pushed):
    """Who removed, restored, aliased or configured what is written down."""
    server.post("remove", json={"name": "nlp/bert", "versions": ["0.0"]})
    server.post("restore", json={"name": "nlp/bert", "versions": ["0.0"]})
    server.post("configure", "keeper", json={"key": "undo", "value": "60"})
    server.post("remove", "reader", json={"name": "nlp/bert", "versions": ["0.0"]})
    server.service._later.submit(lambda: None).result(10)
    columns = (audit.c.who, audit.c.action, audit.c.subject)
    with server.service.database.read() as connection:
        rows = connection.execute(select(*columns).where(audit.c.project == "p").order_by(audit.c.id)).all()
    assert [tuple(row) for row in rows] == [
        ("writer", "remove", "nlp/bert:0.0"),
        ("writer", "restore", "nlp/bert:0.0"),
        ("keeper", "configure", "undo"),
    ]
