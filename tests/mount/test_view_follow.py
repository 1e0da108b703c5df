"""Which version a mount shows: the one that its spec named when it was mounted, or with ``follow`` the newest."""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from contextlib import closing

import pytest

import holdfast
from holdfast.errors import LocalError, UsageError, VersionNotFoundError
from holdfast.mount.base import ROOT
from holdfast.mount.follow import History, Shown
from holdfast.mount.version import open_view
from tests.mount.trees import find, read_whole, walk


@pytest.fixture
def site(tmp_path):
    """A store on disk, a repository that pushes, a folder to push, and the arguments of a mount."""
    (tmp_path / "store").mkdir()
    (tmp_path / "source").mkdir()
    (tmp_path / "mount").mkdir()
    (tmp_path / "assets").mkdir()
    url = (tmp_path / "store").as_uri()
    repository = holdfast.open(url, assets_dir=tmp_path / "assets")
    (tmp_path / "source" / "file").write_bytes(b"zero" * 500)
    (tmp_path / "source" / "old").write_bytes(b"only in the first" * 100)
    repository.push(tmp_path / "source", "n/v")
    arguments = {"store": url, "spec": "n/v", "folder": str(tmp_path / "mount"), "mount": "one", "pause": 0.05}
    return repository, tmp_path / "source", arguments


def push_next(repository, source) -> None:
    """Version 0.1: another file, one less."""
    (source / "file").write_bytes(b"one!" * 600)
    (source / "old").unlink()
    (source / "new").write_bytes(b"new" * 300)
    repository.push(source, "n/v")


def until(what) -> None:
    """Wait for something to come true."""
    end = time.monotonic() + 10
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("spec", ["n/v", "n/v:0", "n/v:best", "n/v:0.0"])
def test_open_view__stays_with_its_version(site, spec):
    """A mount shows the version that its spec named when it was mounted, and so does a worker that is started anew."""
    repository, source, arguments = site
    repository.alias("n/v", "best", "0.0")
    arguments = json.loads(json.dumps(arguments | {"spec": spec}))
    with closing(open_view(arguments)) as view:
        number = find(view, "file").node
        push_next(repository, source)
        repository.alias("n/v", "best", "0.1")
        time.sleep(0.2)
        assert read_whole(view, find(view, "file")) == b"zero" * 500
    with closing(open_view(arguments)) as view:
        assert find(view, "file").node == number
        assert read_whole(view, find(view, "file")) == b"zero" * 500
    if spec != "n/v:0.0":
        with closing(open_view(arguments | {"mount": "another"})) as view:
            assert read_whole(view, find(view, "file")) == b"one!" * 600


def test_follow__switches(site):
    """With follow the root shows the newer version once it is there, the kernel is told all names, and what was open stays what it was."""
    repository, source, arguments = site
    told: list[list[bytes]] = []
    with closing(open_view(arguments | {"follow": True})) as view:
        view.watch(told.append)
        old, gone = find(view, "file"), find(view, "old")
        assert view.lookup(ROOT, b"new") is None
        push_next(repository, source)
        until(lambda: told)
        assert told == [[b"file", b"new", b"old"]]
        assert read_whole(view, find(view, "file")) == b"one!" * 600
        assert view.lookup(ROOT, b"old") is None
        assert read_whole(view, find(view, "new")) == b"new" * 300
        assert find(view, "file").node != old.node
        assert read_whole(view, old) == b"zero" * 500
        assert view.attributes(gone.node) == gone
        assert read_whole(view, gone) == b"only in the first" * 100
        assert view.version == "0.1"
    with closing(open_view(arguments | {"follow": True})) as view:  # a new worker knows all numbers
        assert view.version == "0.1"
        assert read_whole(view, gone) == b"only in the first" * 100
        assert read_whole(view, find(view, "file")) == b"one!" * 600
        with pytest.raises(OSError, match="Stale"):
            view.attributes(old.node + (7 << 41))


def test_follow__where_no_thread_can_be_started(site):
    """Where the machine has no threads for a look, that is said, and the newer version is shown once there are some."""
    repository, source, arguments = site
    told: list[str] = []
    with closing(open_view(arguments | {"follow": True})) as view:
        view.listen(told.append)
        before = threading.stack_size(1 << 46)  # more than there are addresses
        try:
            until(lambda: any("can't start new thread" in message for message in told))
        finally:
            threading.stack_size(before)
        push_next(repository, source)
        until(lambda: view.version == "0.1")


def listed(view, position: int, count: int) -> tuple[list[bytes], int]:
    """So many names of the root from a position on, and where the listing goes on."""
    names = []
    for item in itertools.islice(view.items(ROOT, position), count):
        names.append(item.name)
        position = item.position
    return names, position


@pytest.mark.parametrize("seen", [0, 1, 2, 7, 25, 39, 40])
def test_follow__while_the_root_is_listed(site, seen):
    """Who lists the root while the version changes is shown once each what is in both versions."""
    repository, source, arguments = site
    for number in range(10, 30):
        (source / f"f{number}").write_bytes(b"f" * number)
        (source / f"d{number}").mkdir()
        (source / f"d{number}" / "x").write_bytes(b"x")
    repository.push(source, "n/v")
    with closing(open_view(arguments | {"follow": True})) as view:
        begun, position = listed(view, 0, seen)
        for number in range(10, 30, 3):
            (source / f"f{number}").unlink()
            (source / f"d{number}" / "a").write_bytes(b"first")
            (source / f"d{number}-new").write_bytes(b"new")
        repository.push(source, "n/v")
        until(lambda: view.version == "0.2")
        rest, end = listed(view, position, 1000)
        assert listed(view, end, 1000) == ([], end)
        names = [*begun, *rest]
        assert len({*names}) == len(names)
        assert {*names} >= {b"d%d" % number for number in range(10, 30)} | {b"f%d" % number for number in (11, 12, 29)}
    with closing(open_view(arguments | {"follow": True})) as view:  # by another worker
        assert listed(view, position, 1000)[0] == rest


def test_follow__alias_back_and_removed(site):
    """A spec with an alias is followed wherever the alias goes, also back; while it names nothing the mount stays as it is and says why."""
    repository, source, arguments = site
    repository.alias("n/v", "best", "0.0")
    told: list[str] = []
    with closing(open_view(arguments | {"follow": True, "spec": "n/v:best"})) as view:
        view.listen(told.append)
        push_next(repository, source)
        repository.alias("n/v", "best", "0.1")
        until(lambda: view.version == "0.1")
        repository.alias("n/v", "best", "0.0")
        until(lambda: view.version == "0.0")
        assert read_whole(view, find(view, "file")) == b"zero" * 500
        repository.alias("n/v", "best", None)
        until(lambda: any("cannot be told" in message for message in told))
        assert read_whole(view, find(view, "old")) == b"only in the first" * 100


def test_follow__readers_see_one_version(site):
    """Whoever walks the tree while versions change sees files of one version below one directory, never a mixture."""
    repository, source, arguments = site
    (source / "d").mkdir()
    errors: list[BaseException] = []
    stop = threading.Event()

    def publish(number: int) -> None:
        for name in ("a", "b", "c"):
            (source / "d" / name).write_bytes(b"%04d" % number * 300)
        repository.push(source, "n/v")

    publish(0)
    with closing(open_view(arguments | {"follow": True, "pause": 0.01})) as view:

        def reader() -> None:
            try:
                while not stop.is_set():
                    node = find(view, "d").node
                    found = {read_whole(view, item.attributes) for item in view.items(node, 0)}
                    assert len(found) == 1
            except BaseException as error:  # carried to the test's thread
                errors.append(error)

        readers = [threading.Thread(target=reader) for _ in range(3)]
        for each in readers:
            each.start()
        for number in range(1, 6):
            publish(number)
        until(lambda: read_whole(view, find(view, "d/a")) == b"0005" * 300)
        stop.set()
        for each in readers:
            each.join()
    assert errors == []


def test_follow__another_worker_found_a_version(site):
    """A worker that takes over knows the versions that the one before it found meanwhile: every number stays what it was."""
    repository, source, arguments = site
    arguments |= {"follow": True, "pause": 1000.0}
    with closing(open_view(arguments)) as before, closing(open_view(arguments)) as after:
        push_next(repository, source)
        assert before.look()
        second = find(before, "file")
        assert read_whole(after, second) == b"one!" * 600
        (source / "file").write_bytes(b"two?" * 700)
        repository.push(source, "n/v")
        assert after.look()
        assert read_whole(after, second) == b"one!" * 600
        assert read_whole(after, find(after, "file")) == b"two?" * 700
        assert before.look()
        assert find(before, "file") == find(after, "file")


def test_follow__what_another_worker_has_not_told(site):
    """Names that a worker died before telling are told by the next one that serves, those of all versions since, and once."""
    repository, source, arguments = site
    arguments |= {"follow": True, "pause": 1000.0}
    with closing(open_view(arguments)) as first:
        push_next(repository, source)
        assert first.look()  # which does not serve, and tells nobody
        (source / "new").rename(source / "newest")
        repository.push(source, "n/v")
        assert first.look()
    told: list[list[bytes]] = []
    for _ in range(2):
        with closing(open_view(arguments)) as view:
            view.watch(told.append)
            until(lambda: told)
            time.sleep(0.2)
    assert told == [[b"file", b"new", b"newest", b"old"]]


def test_history__told_late(tmp_path):
    """A worker that notes what it told, after another added a version, keeps that: its numbers were given out, and are never another's."""
    versions = [Shown(f"0.{number}", f"id{number}", "{}") for number in range(3)]
    one = History(tmp_path, "one")
    for version in versions[:2]:
        one.add(version)
    another = History(tmp_path, "one")
    assert another.add(versions[2]) == 2
    one.note_told(1)
    known = History(tmp_path, "one")
    assert (known.shown, known.told) == (versions, 1)


def test_history__of_a_worker_before_what_was_told_was_kept(tmp_path):
    """Versions that older code of ours noted are read, as of a kernel that was told nothing: the numbers that it gave out stay what they are."""
    shown = [{"version": "0.0", "id": "a", "meta": "{}"}, {"version": "0.1", "id": "b", "meta": "{}"}]
    (tmp_path / "versions.json").write_text(json.dumps({"mount": "one", "shown": shown}))
    known = History(tmp_path, "one")
    assert ([each.version for each in known.shown], known.told) == (["0.0", "0.1"], 0)


def test_follow__behind_one_that_has_told(site):
    """A worker that still showed an older version, after another told the kernel of the newer one, tells again once it goes on."""
    repository, source, arguments = site
    arguments |= {"follow": True, "pause": 1000.0}
    told: list[list[bytes]] = []
    with closing(open_view(arguments)) as before, closing(open_view(arguments)) as after:
        before.watch(lambda _: None)
        after.watch(told.append)
        push_next(repository, source)
        assert before.look()
        assert after.look()
        assert told == [[b"file", b"new", b"old"]]


def test_follow__idle_versions_are_closed(site, monkeypatch):
    """A version that the root shows no more is closed once nobody asks for it, and opened again for who does."""
    repository, source, arguments = site
    monkeypatch.setattr("holdfast.mount.follow._IDLE", 0.1)
    with closing(open_view(arguments | {"follow": True})) as view:
        old = find(view, "old")
        push_next(repository, source)
        until(lambda: view.version == "0.1" and len(view._views) == 1)
        assert read_whole(view, old) == b"only in the first" * 100


def test_open_view__bad_input(site):
    """A spec with a sub-path, of nothing, or settings without a store are refused with the reason."""
    _, _, arguments = site
    with pytest.raises(UsageError, match="part of a version"):
        open_view(arguments | {"spec": "n/v:0.0[file]"})
    with pytest.raises(VersionNotFoundError):
        open_view(arguments | {"spec": "n/v:7.7"})
    with pytest.raises(UsageError):
        open_view({"spec": "n/v"})


def test_open_view__for_others(site, monkeypatch, tmp_path):
    """A mount for other users is refused where another than its user could write its cache; one for oneself does without a cache."""
    _, _, arguments = site
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "open"))
    with pytest.raises(LocalError, match="others may change"):
        open_view(arguments | {"others": True})
    told: list[str] = []
    with closing(open_view(arguments)) as view:
        view.listen(told.append)
        assert dict(walk(view)).keys() == {"file", "old"}
    assert any("others may change" in message for message in told)


def test_view__random_bytes_through_open_view(site):
    """Bytes at random places are those that were pushed."""
    repository, source, arguments = site
    data = random.Random(3).randbytes(2_000_000)
    (source / "large").write_bytes(data)
    repository.push(source, "n/v")
    with closing(open_view(arguments)) as view:
        node, dice = find(view, "large").node, random.Random(4)
        for _ in range(50):
            at, size = dice.randrange(len(data)), dice.randrange(1, 300_000)
            assert bytes(view.read(node, at, size)) == data[at : at + size]
