"""Push, fetch and all the verbs through a real server whose store is a folder: bytes go through the server."""

from __future__ import annotations

import os
import threading

import pytest

from holdfast.errors import AccessError, ConflictError, UnsupportedError, VersionNotFoundError
from holdfast.model.result import NoProgress


def tree(path, files):
    """A folder with these files."""
    for name, data in files.items():
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return path


def contents(path):
    """The files below a folder."""
    return {
        found.relative_to(path).as_posix(): found.read_bytes()
        for found in sorted(path.rglob("*"))
        if found.is_file() and found.name != ".SUCCESS"
    }


FILES = {"config.json": b"{}", "data/weights.bin": os.urandom(300_000), "data/empty": b""}


@pytest.mark.parametrize("layout", ["packs", "tree", "tar.gz"])
def test_push_and_fetch(server, tmp_path, layout):
    """A folder pushed through the server is fetched through it byte for byte, in every layout."""
    name = f"door/{layout.replace('.', '')}"
    pushed = server.open(tmp_path / "one").push(tree(tmp_path / "src", FILES), name, layout=layout, message="first")
    assert (pushed.created, pushed.version, pushed.layout) == (True, "0.0", layout)
    other = server.open(tmp_path / "two", "reader")
    assert contents(other.fetch(name)) == FILES
    shown = other.show(name)
    assert (shown.message, shown.who) == ("first", "writer")


def test_push_and_fetch__a_file(server, tmp_path):
    """A file is pushed and fetched."""
    source = tmp_path / "model.bin"
    source.write_bytes(os.urandom(20_000_000))
    server.open(tmp_path / "one").push(source, "door/file")
    assert server.open(tmp_path / "two", "reader").fetch("door/file").read_bytes() == source.read_bytes()


def test_list_versions_aliases(server, tmp_path):
    """Lists, versions, aliases, files and differences are told as through the bucket."""
    writer = server.open(tmp_path / "one")
    writer.push(tree(tmp_path / "a", {"x": b"1", "same": b"s"}), "verbs/a")
    second = writer.push(tree(tmp_path / "b", {"y": b"2", "same": b"s"}), "verbs/a", alias="stable")
    reader = server.open(tmp_path / "two", "reader")
    assert reader.versions("verbs/a").versions == ("0.1", "0.0")
    assert reader.versions("verbs/a").aliases == {"stable": second.version}
    assert [(each.name, each.latest, each.versions) for each in reader.list("verbs/*")] == [("verbs/a", "0.1", 2)]
    assert reader.resolve("verbs/a:stable") == "0.1"
    assert [entry.path for entry in reader.files("verbs/a:0") if entry.kind == "file"] == ["same", "y"]
    difference = reader.diff("verbs/a:0.0", "verbs/a:0.1")
    assert (difference.added, difference.removed, difference.changed) == (("y",), ("x",), ())
    with pytest.raises(VersionNotFoundError, match="9") as found:
        reader.fetch("verbs/a:9.9")
    assert "newest versions" in (found.value.hint or "")
    again = writer.push(tmp_path / "b", "verbs/a")
    assert (again.created, again.version) == (False, "0.1")


def test_remove_and_restore(server, tmp_path):
    """A version is removed and restored through the server; an alias keeps it."""
    writer = server.open(tmp_path / "one")
    for number in range(3):
        writer.push(tree(tmp_path / str(number), {"x": bytes([number])}), "removed/a")
    writer.alias("removed/a", "keep", "0.1")
    with pytest.raises(ConflictError, match="keep"):
        writer.remove("removed/a:0.1")
    writer.remove("removed/a:0.2")
    assert writer.versions("removed/a").versions == ("0.1", "0.0")
    with pytest.raises(VersionNotFoundError, match="removed"):
        server.open(tmp_path / "two", "reader").fetch("removed/a:0.2")
    writer.restore("removed/a:0.2")
    assert writer.versions("removed/a").versions == ("0.2", "0.1", "0.0")
    assert writer.prune("removed/a", keep_last=1) == ["removed/a:0.0"]


def test_push__parent(server, tmp_path):
    """A push that names a parent is refused once there is a newer version, with its name (fault 6.5.1: a lost update)."""
    writer = server.open(tmp_path / "one")
    for number in range(2):
        writer.push(tree(tmp_path / str(number), {"x": bytes([number])}), "parent/a")
    source = tree(tmp_path / "mine", {"x": b"mine"})
    with pytest.raises(ConflictError, match=r"0\.1"):
        writer.push(source, "parent/a", parent="0.0")
    assert writer.push(source, "parent/a", parent="0.1").version == "0.2"


class _Meanwhile(NoProgress):
    """Does something, once, when the first bytes of a push are on their way."""

    def __init__(self, work):
        self.work = work

    def advance(self, count):
        """Bytes went through."""
        work, self.work = self.work, None
        if work is not None:
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()


def test_push__while_another_one_comes_and_goes(server, tmp_path):
    """A push goes on while another thread begins and ends one with the same repository."""
    one = tree(tmp_path / "one", {f"{n}": os.urandom(1_000_000) for n in range(20)})
    other, pushed = tree(tmp_path / "other", {"x": os.urandom(1000)}), []
    meanwhile = _Meanwhile(lambda: pushed.append(repository.push(other, "threads/other", layout="packs")))
    repository = server.open(tmp_path / "home", progress=meanwhile)
    assert repository.push(one, "threads/one", layout="packs").created
    assert pushed[0].created


def test_push__a_reader(server, tmp_path):
    """A reader who pushes is refused, and nothing is written."""
    with pytest.raises(AccessError):
        server.open(tmp_path / "one", "reader").push(tree(tmp_path / "a", {"x": b"1"}), "refused/a")
    assert not (server.folder / "refused").exists()


def test_maintenance_is_refused(server, tmp_path):
    """What maintains a store says that it needs the bucket itself, before anything is done."""
    keeper = server.open(tmp_path / "one", "keeper")
    keeper.push(tree(tmp_path / "a", {"x": b"1"}), "maintained/a")
    with pytest.raises(UnsupportedError, match="through the server"):
        keeper.store.delete("maintained/a/0.0")
    with pytest.raises(UnsupportedError, match="through the server"):
        keeper.catalog.change_record("maintained/a", lambda record: record)
    assert keeper.catalog.configure("undo", "1000").undo == 1000


def test_requests_of_a_fetch(server, tmp_path):
    """A pinned, cached spec makes no request; an unpinned, cached one makes one."""
    writer = server.open(tmp_path / "one")
    writer.push(tree(tmp_path / "a", {"x": b"1"}), "counted/a")
    reader = server.open(tmp_path / "two", "reader")
    reader.fetch("counted/a")
    session = reader.catalog._remote.server
    before = session.requests
    reader.fetch("counted/a:0.0")
    assert session.requests == before
    reader.fetch("counted/a")
    assert session.requests == before + 1
