"""One suite for every door: what is promised of a store holds however it is reached."""

from __future__ import annotations

import pytest

from holdfast.errors import (
    AlreadyExistsError,
    AssetNotFoundError,
    InvalidNameError,
    NotFoundError,
    UsageError,
    VersionNotFoundError,
)
from tests.e2e.driver import content_of, finished, flat

LAYOUTS = ("tree", "tar.gz", "packs")
LARGE = 9 * 1024 * 1024


@pytest.fixture(autouse=True)
def on_its_machine(door):
    """Every test runs on the machine of its door's client."""
    with door.entered():
        yield


def test_file(door):
    """A file is pushed as it is and fetched by another machine, verified; a second push of it makes no version."""
    pushed = door.push("nlp/file", b"content " * 1000, message="first")
    assert (pushed.version, pushed.created, pushed.layout) == ("0.0", True, "file")
    fetched = door.open("other").fetch_info("nlp/file")
    assert flat_of(fetched) == {"": b"content " * 1000}
    assert (fetched.version, fetched.from_cache) == ("0.0", False)
    again = door.push("nlp/file", b"content " * 1000)
    assert (again.version, again.created) == ("0.0", False)


def test_large_file(door):
    """A file larger than a part goes and comes whole."""
    data = bytes(range(256)) * (LARGE // 256)
    door.push("big", data)
    assert flat(door.open("other").fetch("big")) == {"": data}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_folder(door, layout):
    """A folder is fetched as it was pushed, in every layout; changed, it is the next version, and both stay."""
    first, second = content_of("first"), content_of("second")
    assert door.push("nlp/tree", first, layout=layout).layout == layout
    assert door.push("nlp/tree", second, layout=layout).version == "0.1"
    repository = door.open("other")
    assert flat(repository.fetch("nlp/tree")) == second
    assert flat(repository.fetch("nlp/tree:0.0")) == first
    assert not door.push("nlp/tree", second, layout=layout).created


def test_specs(door):
    """Full, partial and aliased specs, and parts, name what they should."""
    contents = {version: content_of(version) for version in ("0.0", "1.0", "1.1")}
    door.push("a", contents["0.0"], alias="first")
    door.push("a", contents["1.0"], new_major=True)
    door.push("a", contents["1.1"], alias="stable")
    repository = door.open("other")
    for spec, version in {
        "a": "1.1",
        "a:1": "1.1",
        "a:0": "0.0",
        "a:1.0": "1.0",
        "a:stable": "1.1",
        "a:first": "0.0",
    }.items():
        fetched = repository.fetch_info(spec)
        assert (fetched.version, flat_of(fetched)) == (version, contents[version])
    with repository.read("a:1.0[sub/b.bin]") as file:
        assert file.read() == contents["1.0"]["sub/b.bin"]
    assert repository.alias("a", "stable", "1.0") == "1.0"
    assert repository.resolve("a:stable") == "1.0"
    repository.alias("a", "stable", None)
    with pytest.raises(VersionNotFoundError):
        repository.resolve("a:stable")


def test_told(door):
    """Lists, versions, files and differences are told alike."""
    door.push("x/one", {"a": b"1", "b": b"22"}, message="hello", labels={"k": "v"}, layout="tree")
    door.push("x/one", {"a": b"1", "b": b"333", "c": b"4"}, layout="tree")
    door.push("y", b"y")
    repository = door.open()
    assert [(item.name, item.latest, item.versions) for item in repository.list()] == [
        ("x/one", "0.1", 2),
        ("y", "0.0", 1),
    ]
    assert [item.name for item in repository.list("x/*")] == ["x/one"]
    assert repository.versions("x/one").versions == ("0.1", "0.0")
    shown = repository.show("x/one:0.0")
    assert (shown.message, shown.labels, shown.files, shown.bytes) == ("hello", {"k": "v"}, 2, 3)
    assert [(entry.path, entry.size) for entry in repository.files("x/one")] == [("a", 1), ("b", 3), ("c", 1)]
    difference = repository.diff("x/one:0.0", "x/one:0.1")
    assert (difference.added, difference.removed, difference.changed) == (("c",), (), ("b",))


def test_parent(door):
    """The parent of a version is told; one that never was is refused."""
    door.push("a", content_of("0"))
    door.push("a", content_of("1"), parent="0.0")
    assert door.open().show("a:0.1").parent == "0.0"
    with pytest.raises(VersionNotFoundError, match=r"7\.7"):
        door.push("a", content_of("2"), parent="7.7")
    assert door.open().versions("a").versions == ("0.1", "0.0")


def test_concurrent(door):
    """Processes that push one asset at once get a version each (AMA 6.5.2)."""
    sources = [door.lay(content_of(str(number))) for number in range(3)]
    with_runner = door.runner()
    meeting = door.machine / "meeting"
    for folder in (meeting, *(door.machine / f"assets-{number}" for number in range(3))):
        folder.mkdir()
    started = [
        with_runner.start(
            door.url, door.machine / f"assets-{number}", ["wait", meeting, 3], ["push", source, "a", {"layout": "tree"}]
        )
        for number, source in enumerate(sources)
    ]
    pushed = [finished(process)[-1]["version"] for process in started]
    assert sorted(pushed) == ["0.0", "0.1", "0.2"]
    repository = door.open("other")
    assert repository.versions("a").versions == ("0.2", "0.1", "0.0")
    for number, version in enumerate(pushed):
        assert flat(repository.fetch(f"a:{version}")) == content_of(str(number))


@pytest.mark.parametrize(
    ("point", "layout"),
    [("push.data-written", "tree"), ("push.pack-written", "packs"), ("push.meta-written", "tree")],
)
def test_resume(door, point, layout):
    """A push that was killed leaves no version that is not whole; run again it goes on, under the same number."""
    door.push("a", content_of("0"), layout=layout)
    content = content_of("1", large=layout == "packs")
    source = door.lay(content)
    runner, assets = door.runner(), door.machine / "assets"
    runner.kill(door.url, assets, ["push", source, "a", {"layout": layout}], failpoint=point)
    assert door.open("other").versions("a").versions == ("0.0",)
    (again,) = runner.run(door.url, assets, ["push", source, "a", {"layout": layout}])
    assert again["version"] == "0.1"
    assert flat(door.open("other").fetch("a")) == content


def test_remove_and_restore(door):
    """A removed version is not found, and back when it is restored."""
    door.push("a", content_of("0"))
    door.push("a", content_of("1"))
    assert door.open().remove("a:0.1") == ["a:0.1"]
    assert door.open().versions("a").versions == ("0.0",)
    with pytest.raises(VersionNotFoundError):
        door.open("other").fetch("a:0.1")
    assert flat(door.open("other").fetch("a")) == content_of("0")
    door.open().restore("a:0.1")
    assert flat(door.open("third").fetch("a")) == content_of("1")


def test_errors(door):
    """What is not there, taken, or no name at all is told by the same errors."""
    repository = door.open()
    with pytest.raises(AssetNotFoundError):
        repository.fetch("none")
    door.push("a", b"1", version="2.0")
    with pytest.raises(VersionNotFoundError):
        repository.fetch("a:3")
    with pytest.raises(NotFoundError):
        repository.fetch("a:2.0[sub]")
    with pytest.raises(AlreadyExistsError):
        door.push("a", b"2", version="2.0")
    with pytest.raises(InvalidNameError):
        door.push("a/../b", b"1")
    with pytest.raises(UsageError):
        door.push("c", b"1", version="not-a-version")
    assert [item.name for item in door.open().list()] == ["a"]
    assert flat(door.open("other").fetch("a:2.0")) == {"": b"1"}


def flat_of(fetched):
    from pathlib import Path

    return flat(Path(fetched.path))
