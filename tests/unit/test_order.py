"""A folder's entries leave in the order of a manifest, whatever sorts around the slash."""

from __future__ import annotations

import os
import stat
import tempfile
from array import array
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.cache.stats import walk
from holdfast.formats.stats import DirTable
from holdfast.model.chunk import Placed
from holdfast.transfer.order import Beside, changed, in_order

PIECES = st.text(st.sampled_from("a-.0ü\u4e2d😀"), min_size=1, max_size=3)
PATHS = st.lists(PIECES, min_size=1, max_size=4).map("/".join)


def tables_of(files: list[str]) -> dict[str, DirTable]:
    """The tables of a folder of these files, as a walk would make them."""
    tree: dict[str, dict[str, bool]] = {"": {}}
    for path in files:
        above = ""
        *parents, name = path.split("/")
        for piece in parents:
            tree[above].setdefault(piece, True)
            above = f"{above}/{piece}".strip("/")
            tree.setdefault(above, {})
        tree[above][name] = False
    return {
        directory: DirTable(
            sorted(names),
            array(
                "q", [n for name in sorted(names) for n in (stat.S_IFDIR if names[name] else stat.S_IFREG, 1, 2, 3, 4)]
            ),
        )
        for directory, names in tree.items()
    }


def paths_of(files: list[str]) -> list[str]:
    return [found.path.decode() for found in in_order(tables_of(files), {})]


def test_in_order__around_the_slash():
    """What lies in ``a`` comes after ``a-b`` and before ``a0``."""
    assert paths_of(["a/x", "a-b", "a0", "a/-"]) == ["a", "a-b", "a/-", "a/x", "a0"]
    assert paths_of(["a/b/c", "a/b-/d", "a/b.", "a-"]) == ["a", "a-", "a/b", "a/b-", "a/b-/d", "a/b.", "a/b/c"]
    assert paths_of([]) == []


@given(st.sets(PATHS, max_size=12))
def test_in_order__as_sorted(paths):
    """Any folder's entries come in the order of their paths as UTF-8 bytes, each once."""
    files = [path for path in paths if not any(other.startswith(path + "/") for other in paths)]
    everything = {"/".join(path.split("/")[: at + 1]) for path in files for at in range(path.count("/") + 1)}
    assert paths_of(files) == sorted(everything, key=str.encode)


@settings(max_examples=30, deadline=None)
@given(st.sets(PATHS.filter(lambda path: all(piece.strip(".") for piece in path.split("/"))), max_size=8))
def test_in_order__real_folder(paths):
    """So do those of a real folder that was walked."""
    with tempfile.TemporaryDirectory() as place:
        for path in paths:
            target = Path(place) / path
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.touch()
            except OSError:
                continue
        expected = sorted(str(path.relative_to(place)).encode() for path in Path(place).rglob("*"))
        assert [found.path for found in in_order(walk(Path(place)).tables, {})] == expected


def test_in_order__clean():
    """An entry is clean where its numbers are those of the last time: all of a directory, or some of it."""
    before = tables_of(["a/1", "a/2", "b/1"])
    now = tables_of(["a/1", "a/2", "b/1", "b/2"])
    now["a"].rows[1] = 99
    found = {item.path.decode(): item.clean for item in in_order(now, before)}
    assert found == {"a": True, "a/1": False, "a/2": True, "b": True, "b/1": True, "b/2": False}


@given(st.sets(PATHS, max_size=12), st.sets(PATHS, max_size=12))
def test_beside__finds_the_same_paths(ours, theirs):
    """Walking an earlier manifest beside ascending paths finds exactly the paths that both have."""
    earlier = [Placed(os.fsencode(path), ord("d"), None, None) for path in sorted(theirs, key=str.encode)]
    beside = Beside(iter(earlier))
    found = {path for path in sorted(ours, key=str.encode) if beside.at(os.fsencode(path)) is not None}
    assert found == ours & theirs


def test_changed__by_path_with_what_is_gone():
    """What changed, appeared or went is told in the order of a manifest; a table that is the same object is not looked at."""
    row, other, folder = (0o100644, 1, 1, 0, 0), (0o100644, 1, 2, 0, 9), (0o40755, 0, 0, 0, 0)
    same = DirTable(["x"], array("q", row))
    before = {
        "": DirTable(["a", "a-b", "c", "d"], array("q", folder + row + folder + folder)),
        "a": DirTable(["1", "2"], array("q", row + row)),
        "c": DirTable(["3"], array("q", row)),
        "d": same,
    }
    now = {
        "": DirTable(["a", "a-b", "d"], array("q", folder + other + folder)),
        "a": DirTable(["0", "2"], array("q", row + row)),
        "d": same,
    }
    found = [(path, entry is not None) for path, entry in changed(now, before)]
    assert found == [(b"a-b", True), (b"a/0", True), (b"a/1", False), (b"c", False), (b"c/3", False)]
