"""The database's copy of a catalog: when it is believed, what it finds, and that the bucket is the truth."""

from __future__ import annotations

import shutil
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

import holdfast
from holdfast.formats.people import ProjectRequest
from holdfast.server import projects
from holdfast.server.copies import Copies
from holdfast.server.database import Database
from holdfast.server.resolving import Resolving
from holdfast.server.scanning import Scans, rebuild, scan
from tests.fakes import FaultyStore, ManualClock
from tests.server.test_push_routes import Push
from tests.services.base import wait_until


@pytest.fixture
def repo(server, tmp_path):
    """The project's store by the bucket door."""
    server.folder.mkdir(parents=True, exist_ok=True)
    return holdfast.open(f"file://{server.folder}", assets_dir=tmp_path / "assets")


@pytest.fixture
def source(tmp_path):
    """A file that differs each time."""
    path, number = tmp_path / "source.txt", iter(range(1000))

    def make():
        path.write_text(f"content {next(number)}")
        return path

    return make


def newest(server, name="a/b"):
    """What resolve says."""
    return server.get("resolve", params={"spec": name}).json()["version"]


def names(server, **query):
    """The names that search finds."""
    return [row["name"] for row in server.get("search", params=query).json()["assets"]]


def rescan(server):
    """What the background does after a while."""
    project = opened(server)
    return scan(server.service.copies, project.id, project.catalog, server.service.clock)


def opened(server):
    """The project as a request gets it."""
    from holdfast.server.access import Role

    return server.service.access.open(server.tokens["reader"], "p", Role.READER)


def test_resolve__a_fresh_copy_asks_no_bucket(server, repo, source):
    """Within the freshness, what was resolved once is resolved without the bucket, also by a server that starts anew."""
    repo.push(source(), "a/b")
    assert newest(server) == "0.0"
    (server.folder / "a").rename(server.folder / "gone")
    assert newest(server) == "0.0"
    server.service.copies._known.clear()
    assert newest(server) == "0.0"


def test_resolve__a_copy_past_freshness(server, repo, source):
    """A push past the server is seen once the copy is older than the freshness; with none, at once."""
    repo.push(source(), "a/b")
    assert newest(server) == "0.0"
    repo.push(source(), "a/b")
    assert newest(server) == "0.0"
    project, service = opened(server), server.service
    resolving = Resolving(service.copies, service.clock, 0)
    assert resolving.ready(project, "a/b") is None
    assert resolving.resolve(project, "a/b").version == "0.1"
    assert newest(server) == "0.1"


def test_copy__of_a_clock_that_was_set_back(server, repo, source):
    """What was copied while the clock was ahead is not believed once it was set back, and what is copied then is."""
    service, ahead = server.service, ManualClock(datetime.now(UTC) + timedelta(days=1))
    repo.push(source(), "a/b")
    project = opened(server)
    assert Resolving(service.copies, ahead, 5).resolve(project, "a/b").version == "0.0"
    scan(service.copies, project.id, project.catalog, ahead)
    repo.push(source(), "a/b")
    repo.push(source(), "c/d")
    resolving = Resolving(service.copies, service.clock, 5)
    assert resolving.ready(project, "a/b") is None
    assert resolving.resolve(project, "a/b").version == "0.1"
    assert resolving.ready(project, "a/b").version == "0.1"
    assert names(server, q="c/d") == ["c/d"]


def test_resolve__a_change_through_any_server(server, repo, source):
    """A change through a server is seen at once by another one on the same database."""
    repo.push(source(), "a/b", message="first")
    other = Resolving(Copies(server.service.database), server.service.clock, 1000)
    project = opened(server)
    assert other.resolve(project, "a/b").version == "0.0"
    assert other.ready(project, "a/b").version == "0.0"
    Push(server).whole("0.1")
    server.post("enlist", json={"name": "a/b", "versions": ["0.1"]})
    assert other.ready(project, "a/b") is None
    assert other.resolve(project, "a/b").version == "0.1"
    server.post("remove", json={"name": "a/b", "versions": ["0.1"]})
    assert other.resolve(project, "a/b").version == "0.0"


def test_resolve__after_the_bucket_was_emptied(server, repo, source):
    """A version that is pushed through the server once its bucket was emptied is what is resolved from then on, and not the one before of that number."""
    repo.push(source(), "a/b")
    before = server.get("resolve", params={"spec": "a/b:0.0"}).json()["data"]
    shutil.rmtree(server.folder)
    server.folder.mkdir()
    Push(server).whole("0.0")
    server.post("enlist", json={"name": "a/b", "versions": ["0.0"]})
    for spec in ("a/b", "a/b:0.0"):
        assert server.get("resolve", params={"spec": spec}).json()["data"] != before


def test_resolve__while_the_copy_is_made_anew(server, repo, source):
    """What is read of an asset while the copy is made anew is not kept as what is of another one."""
    service, begun = server.service, []
    repo.push(source(), "b/y")
    service.resolving.state(opened(server), "b/y")
    repo.push(source(), "a/x")

    def rebuilding(call):
        if call.verb == "get" and call.key == "b/y/0.0.meta" and not begun:
            begun.append(call)
            rebuild(service)

    project = opened(server)
    watched = replace(project, store=FaultyStore(project.store, rebuilding))
    for name, from_here in (("b/y", watched), ("a/x", project)):
        found = Resolving(service.copies, service.clock, 1000).resolve(from_here, f"{name}:0.0")
        assert found.published.data == (server.folder / name / "0.0.meta").read_bytes()
    assert begun


def test_refresh__an_older_state_never_comes_last(server, repo, source):
    """A slow reader of the bucket does not put its older state over what a commit copied meanwhile."""
    repo.push(source(), "a/b")
    copies, project = server.service.copies, opened(server)
    copies.refresh(project.id, project.catalog, "a/b", 1.0)
    reached, go_on = threading.Event(), threading.Event()

    class Slow(type(project.catalog)):
        def record(self, name):
            found = super().record(name)
            if not reached.is_set():
                reached.set()
                go_on.wait(10)
            return found

    slow = Slow(project.store, server.service.clock, "x")
    Push(server).whole("0.1")
    project.store.put("a/b.versions", b'{"versions":["0.0"]}')
    thread = threading.Thread(target=copies.refresh, args=(project.id, slow, "a/b", 2.0))
    thread.start()
    reached.wait(10)
    server.post("enlist", json={"name": "a/b", "versions": ["0.1"]})
    go_on.set()
    thread.join()
    assert copies.load(project.id, "a/b").listed.versions == ("0.1", "0.0")


def test_refresh__many_at_once(server, repo, source):
    """Many who bring one asset up to date at one moment make one row of it."""
    repo.push(source(), "a/b")
    copies, project = [Copies(server.service.database) for _ in range(4)], opened(server)
    failures = []

    def refresh(each):
        try:
            each.refresh(project.id, project.catalog, "a/b", 1.0)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=refresh, args=(each,)) for each in copies * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert {each.row(project.id, "a/b").revision for each in copies} == {copies[0].row(project.id, "a/b").revision}


def test_assets__rows(server, repo, source):
    """A list shows what a bucket door's list does, and the newest version's message, author and date."""
    repo.push(source(), "a/b", message="hello", alias="stable")
    repo.push(source(), "a/c")
    rows = server.get("assets", params={"pattern": "a/[b]"}).json()["assets"]
    known = repo.list("a/b")[0]
    assert len(rows) == 1
    row = rows[0]
    assert (row["name"], row["latest"], row["versions"], row["aliases"], row["bytes"]) == (
        known.name,
        known.latest,
        known.versions,
        known.aliases,
        known.bytes,
    )
    assert (row["message"], row["who"] != "") == ("hello", True)
    page = server.get("assets", params={"limit": 1}).json()
    assert ([each["name"] for each in page["assets"]], page["next"]) == (["a/b"], "a/b")
    assert [each["name"] for each in server.get("assets", params={"after": "a/b"}).json()["assets"]] == ["a/c"]


def test_search(server, repo, source):
    """Every word is looked for in names, messages and labels; signs of a pattern are letters like others."""
    repo.push(source(), "nlp/bert", message="Trained on WIKI 100%", labels={"stage": "prod", "owner": "ann"})
    repo.push(source(), "nlp/bert", message="second")
    repo.push(source(), "vision/net", message="trained on imagenet", labels={"stage": "production"})
    assert names(server, q="bert") == ["nlp/bert"]
    assert names(server, q="TRAINED") == ["nlp/bert", "vision/net"]
    assert names(server, q="trained wiki") == ["nlp/bert"]
    assert names(server, q="trained", limit=1) == ["nlp/bert"]
    assert names(server, q="0%") == ["nlp/bert"]
    assert names(server, q="t%g") == []
    assert names(server, q="_") == []
    assert names(server, label="stage=prod") == ["nlp/bert"]
    assert names(server, q="ann", label="stage=prod") == ["nlp/bert"]
    assert names(server, q="ann\0") == ["nlp/bert"]
    assert server.get("search", params={}).status_code == 400
    assert server.get("search", params={"q": "x " * 100}).status_code == 400


def test_scan__follows_the_bucket(server, repo, source):
    """What is pushed, removed and deleted past the server is in lists and searches after the next scan."""
    repo.push(source(), "a/b", message="first")
    repo.push(source(), "a/c", message="first")
    assert names(server, q="first") == ["a/b", "a/c"]
    repo.push(source(), "a/b", message="second")
    repo.remove("a/c:0.0")
    (server.folder / "a" / "d.versions").write_text("not JSON")
    assert names(server, q="second") == []
    assert rescan(server) == 3
    assert names(server, q="second") == ["a/b"]
    rows = {row["name"]: row for row in server.get("assets").json()["assets"]}
    assert (rows["a/b"]["latest"], rows["a/c"].get("latest"), rows["a/c"]["versions"]) == ("0.1", None, 0)
    assert "not JSON" in rows["a/d"]["problem"]
    for name in ("a/c.versions", "a/d.versions"):
        (server.folder / name).unlink()
    project = opened(server)
    for key in ("a/c.versions", "a/d.versions"):
        project.store.delete(key)
    rescan(server)
    assert [row["name"] for row in server.get("assets").json()["assets"]] == ["a/b"]


def test_scans__after_the_database_was_gone(server, repo, source):
    """The background goes on to scan once a database that did not answer is back."""
    service, project = server.service, opened(server)
    repo.push(source(), "a/b")
    copies = Copies(service.database)
    scans = Scans(copies, service.clock, every=0.05)
    scans.ensure(project)
    copies.database = Database("sqlite:////nowhere/to/be/found.db")
    time.sleep(0.5)
    copies.database = service.database
    repo.push(source(), "c/d")
    wait_until(lambda: names(server, q="c/d") == ["c/d"], 10, "a scan")
    scans.stop()


def test_scan__a_meta_that_was_written_over(server, repo, source):
    """A meta that another program wrote over is found by a scan, and is what is resolved from then on."""
    repo.push(source(), "a/b")
    assert newest(server) == "0.0"
    rescan(server)
    path = server.folder / "a/b/0.0.meta"
    other = b'{"push_date":"2020-01-01T00:00:00+00:00","is_directory":false}'
    path.write_bytes(other)
    rescan(server)
    import base64

    assert base64.b64decode(server.get("resolve", params={"spec": "a/b"}).json()["data"]) == other


def test_scan__reads_only_what_changed(server, repo, source):
    """A scan of a bucket in which nothing changed lists levels, and reads no object."""
    for name in ("a/b", "a/c", "x"):
        repo.push(source(), name)
    project = opened(server)
    rescan(server)
    calls = []
    watched = type(project.catalog)(FaultyStore(project.store, calls.append), server.service.clock, "x")
    scan(server.service.copies, project.id, watched, server.service.clock)
    assert {call.verb for call in calls} == {"list_level"}


def test_rebuild__from_the_bucket_alone(server, repo, source):
    """All of the copy can be made again from the bucket."""
    repo.push(source(), "a/b", message="first")
    before = server.get("assets").json()
    assert rebuild(server.service) == {"p": 1}
    assert server.get("assets").json() == before
    assert newest(server) == "0.0"


def test_project__that_moves(server, repo, source, tmp_path):
    """A project that gets another place is resolved and listed from there at once, and nothing of the place before is told."""
    repo.push(source(), "a/b", message="before")
    assert newest(server) == "0.0"
    assert names(server, q="before") == ["a/b"]
    service = server.service
    with service.database.write() as connection:
        folder = server.folder.with_name("elsewhere")
        folder.mkdir()
        wanted = ProjectRequest("p", f"file://{folder}")
        projects.change_project(connection, service.settings, service.vault, wanted)
    other = holdfast.open(f"file://{folder}", assets_dir=tmp_path / "assets")
    other.push(source(), "a/b", version="7.7", message="after")
    assert newest(server) == "7.7"
    assert server.get("resolve", params={"spec": "a/b:0.0"}).status_code == 404
    assert (names(server, q="before"), names(server, q="after")) == ([], ["a/b"])


def test_project__that_moves_while_it_is_followed(server, repo, source):
    """Once a project has another place, the background copies nothing of the place before."""
    repo.push(source(), "a/b", message="before")
    service = server.service
    scans = Scans(service.copies, service.clock, every=0.05)
    scans.ensure(opened(server))
    folder = server.folder.with_name("elsewhere")
    folder.mkdir()
    with service.database.write() as connection:
        wanted = ProjectRequest("p", f"file://{folder}")
        projects.change_project(connection, service.settings, service.vault, wanted)
    time.sleep(0.5)
    scans.stop()
    assert names(server, q="before") == []
