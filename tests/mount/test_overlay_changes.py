"""Changes are read off the upper directory of an overlay as the overlay shows them, and what a version made of them lacks is left."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.cache.stats import doubted, walk
from holdfast.errors import UnsupportedError
from holdfast.mount.layers import OPAQUE, WHITEOUT, differences, merged, remaining, table_of
from holdfast.mount.overlay import KINDS, Layers, mount_over, unmount
from holdfast.mount.table import stacked_at
from holdfast.mount.upper import make_upper, read_upper
from tests.mount.edit_operations import OPERATIONS, TREES, apply, content, lay
from tests.mount.overlays import KIND, needs_overlay

FILE = (0o100644, 3, 5, 5, 5)
OTHER = (0o100644, 3, 5, 6, 6)
FOLDER = (0o40755, 0, 5, 0, 0)
GONE = (WHITEOUT, 0, 0, 0, 0)
HIDING = (FOLDER[0] | OPAQUE, *FOLDER[1:])


def tables(**rows):
    """Tables by directory: ``_`` is the root, and two underscores stand for a slash."""
    return {name.strip("_").replace("__", "/"): table_of(table) for name, table in rows.items()}


BASE = tables(_={"a": FILE, "d": FOLDER, "z": FILE}, d={"e": FOLDER, "x": FILE}, d__e={"y": FILE})


def paths(lower, upper):
    """What differs, each as path, whether it was there, and whether it is."""
    found = differences(lower, merged(lower, upper), upper)
    return [(each.path, each.before is not None, each.after is not None) for each in found]


def test_merged__keeps_what_nobody_changed():
    """The table of a directory in which nothing changed is the very table of the version."""
    together = merged(BASE, tables(_={"d": FOLDER}, d={"n": OTHER}))
    assert together["d/e"] is BASE["d/e"]
    assert together["d"].names == ["e", "n", "x"]


def test_merged__whiteout_of_a_directory():
    """A directory that was removed is gone with all that lay in it."""
    upper = tables(_={"d": GONE})
    assert merged(BASE, upper).keys() == {""}
    assert paths(BASE, upper) == [("d/e/y", True, False), ("d/x", True, False)]


def test_merged__opaque_directory():
    """A directory that was made anew shows nothing of the old one."""
    upper = tables(_={"d": HIDING}, d={"n": OTHER})
    together = merged(BASE, upper)
    assert together["d"].names == ["n"]
    assert "d/e" not in together
    assert together[""].rows[5:10].tolist() == list(FOLDER)
    assert paths(BASE, upper) == [("d/e/y", True, False), ("d/n", False, True), ("d/x", True, False)]


def test_merged__file_in_place_of_a_directory_and_the_other_way_round():
    """What has another kind now hides all that was."""
    upper = tables(_={"a": FOLDER, "d": OTHER}, a={"n": OTHER})
    assert merged(BASE, upper).keys() == {"", "a"}
    assert paths(BASE, upper) == [
        ("a", True, False),
        ("a/n", False, True),
        ("d", False, True),
        ("d/e/y", True, False),
        ("d/x", True, False),
    ]


def test_differences__empty_directories_count():
    """A directory that holds nothing any more, or nothing yet, is content; one that holds something is implied."""
    upper = tables(_={"d": FOLDER, "new": FOLDER}, d={"e": FOLDER, "x": OTHER}, d__e={"y": GONE}, new={})
    assert paths(BASE, upper) == [
        ("d/e", False, True),
        ("d/e/y", True, False),
        ("d/x", True, True),
        ("new", False, True),
    ]


def test_differences__whiteout_of_nothing():
    """A whiteout over nothing is no change."""
    assert paths(BASE, tables(_={"nothing": GONE})) == []


def test_remaining__nothing_happened():
    """Changes that are as they were when the version was made leave nothing."""
    upper = tables(_={"a": OTHER, "d": HIDING, "z": GONE}, d={"n": OTHER})
    assert remaining(upper, upper) == {"": table_of({})}


def test_remaining__gone_without_a_trace():
    """A file that was made and pushed, then removed, needs a whiteout above the version that has it."""
    left = remaining(tables(_={"n": OTHER}), tables(_={}))
    assert left == {"": table_of({"n": GONE})}


def test_remaining__more_in_an_opaque_directory():
    """Above the version that has an opaque directory's files, it hides no more."""
    then = tables(_={"d": HIDING}, d={"n": OTHER})
    now = tables(_={"d": HIDING}, d={"n": OTHER, "m": OTHER})
    assert remaining(then, now) == tables(_={"d": FOLDER}, d={"m": OTHER})


def test_remaining__made_anew():
    """A directory that was removed and made again since then goes on hiding, with all that is in it."""
    then = tables(_={"d": FOLDER}, d={"n": OTHER})
    now = tables(_={"d": HIDING}, d={"n": OTHER, "e": HIDING}, d__e={"y": OTHER})
    assert remaining(then, now) == now


def test_remaining__deeper_than_python_recurses():
    """A path of two thousand directories is no trouble."""
    names = ["/".join(["d"] * depth) for depth in range(2000)]
    now = {name: table_of({"d": FOLDER}) for name in names} | {"/".join(["d"] * 2000): table_of({"f": FILE})}
    assert remaining(tables(_={}), now).keys() == now.keys()
    assert remaining(now, now).keys() == {""}


@contextmanager
def overlay(folder: Path, lower: Path, upper: Path | None = None, kind: str = KIND):
    """The lower folder mounted with changes above it, and where these are."""
    folder.mkdir(parents=True)
    layers = Layers(folder, "holdfast-test")
    os.rename(lower, layers.lower)
    layers.work.mkdir()
    if upper is None:
        layers.upper.mkdir()
    else:
        os.rename(upper, layers.upper)
    merged_at = folder / "merged"
    merged_at.mkdir()
    mount_over(merged_at, layers, kind)
    try:
        yield merged_at, layers.upper
    finally:
        unmount(merged_at, kind)


@needs_overlay
@pytest.mark.parametrize("kind", [KIND, "fuse-overlayfs"] if KIND == "overlayfs" else [KIND])
@given(tree=TREES, first=st.lists(OPERATIONS, max_size=10), second=st.lists(OPERATIONS, max_size=10))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_overlay__as_a_plain_folder(tmp_path, kind, tree, first, second):
    """Whatever is done: the changes above the version are what a plain folder has become, and those left after a push fit the new version."""
    if shutil.which(kind) is None and kind != KIND:
        pytest.skip(f"{kind} is not installed")
    root = Path(tempfile.mkdtemp(dir=tmp_path))
    plain = lay(root / "plain", tree)
    with overlay(root / "one", lay(root / "lower", tree), kind=kind) as (folder, upper):
        base = walk(root / "one" / "lower")
        assert [apply(folder, each) for each in first] == [apply(plain, each) for each in first]
        assert content(folder) == content(plain)
        tree_then = read_upper(str(upper), kind)
        then = {path: doubted(table, tree_then.began) for path, table in tree_then.tables.items()}
        _check_same(merged(base.tables, tree_then.tables), plain)
        shutil.copytree(folder, root / "version", symlinks=True)
        assert [apply(folder, each) for each in second] == [apply(plain, each) for each in second]
        assert content(folder) == content(plain)
    now = read_upper(str(upper), kind).tables
    make_upper(remaining(then, now), str(upper), str(root / "left"), kind)
    with overlay(root / "two", root / "version", root / "left", kind=kind) as (folder, _):
        assert content(folder) == content(plain)
    shutil.rmtree(root)


def _check_same(together, plain: Path) -> None:
    """The tables have the names, kinds, sizes and executable bits of a folder."""
    expected = walk(plain).tables
    assert together.keys() == expected.keys()
    for directory, table in expected.items():
        assert together[directory].names == table.names
        for at in range(len(table.names)):
            mine, its = together[directory].rows[at * 5 : at * 5 + 2], table.rows[at * 5 : at * 5 + 2]
            assert mine[0] >> 12 == its[0] >> 12
            assert mine[0] >> 12 == 0o4 or mine == its


@needs_overlay
def test_remaining__pushed_at_leisure_leaves_nothing(tmp_path):
    """What nobody touched after the push is not above the new version any more, and takes no room there."""
    with overlay(tmp_path / "o", lay(tmp_path / "lower", {"a/b": b"1", "c": b"2"})) as (folder, upper):
        (folder / "a" / "b").write_bytes(b"changed")
        (folder / "c").unlink()
        time.sleep(0.06)
        seen = read_upper(str(upper), KIND)
        then = {path: doubted(table, seen.began) for path, table in seen.tables.items()}
        assert remaining(then, read_upper(str(upper), KIND).tables) == {"": table_of({})}
        (folder / "new").write_bytes(b"3")
        assert remaining(then, read_upper(str(upper), KIND).tables)[""].names == ["new"]


@needs_overlay
def test_overlay__names_with_meaning_for_the_kernel(tmp_path):
    """A folder whose name has colons, commas and blanks, and that is longer than the kernel takes in an option, can be mounted."""
    name = "a:b,c d\\e" if KIND == "overlayfs" else "b,c d\\e"
    place = tmp_path / name / ("long" * 50) / ("long" * 50)
    with overlay(place, lay(tmp_path / "lower", {"a": b"1"})) as (folder, _):
        assert (folder / "a").read_bytes() == b"1"
        assert [each.type for each in stacked_at(str(folder))] == [KINDS[KIND]]
        if KIND == "overlayfs":
            assert stacked_at(str(folder))[0].source == "holdfast-test"
    assert stacked_at(str(folder)) == []


@pytest.mark.skipif(shutil.which("fuse-overlayfs") is None, reason="fuse-overlayfs is not installed")
def test_overlay__folder_with_a_colon(tmp_path):
    """fuse-overlayfs, which takes a folder with a colon in its path for two, is not tried there; the error says why, and what to set."""
    with (
        pytest.raises(UnsupportedError, match="a colon in its name") as caught,
        overlay(tmp_path / "a:b", lay(tmp_path / "lower", {"a": b"1"}), kind="fuse-overlayfs"),
    ):
        pass
    assert "XDG_CACHE_HOME" in caught.value.hint


@needs_overlay
def test_upper__what_is_no_whiteout(tmp_path):
    """Names that fuse-overlayfs has a meaning for are names like others to the kernel's overlay."""
    if KIND != "overlayfs":
        pytest.skip("fuse-overlayfs takes such names for its own")
    with overlay(tmp_path / "o", lay(tmp_path / "lower", {"a": b"1"})) as (folder, upper):
        (folder / ".wh.a").write_bytes(b"2")
        assert read_upper(str(upper), KIND).tables[""].names == [".wh.a"]


def test_upper__marks_of_fuse_overlayfs(tmp_path):
    """Where it may make no devices, fuse-overlayfs notes by names what is gone and what is opaque: they are read as that."""
    lay(tmp_path / "u", {".wh.gone": b"", "d/.wh..wh..opq": b"", "d/n": b"1", "e/m": b"2"})
    found = read_upper(str(tmp_path / "u"), "fuse-overlayfs").tables
    assert found[""].names == ["d", "e", "gone"]
    assert found[""].rows[10] == WHITEOUT
    assert found[""].rows[0] & OPAQUE
    assert not found[""].rows[5] & OPAQUE
    assert found["d"].names == ["n"]


def test_upper__leaves_the_old_one(tmp_path):
    """What is left is linked, not moved: the changes are all there until the new ones are in use."""
    lay(tmp_path / "u", {"d/n": b"1", "l": "d"})
    os.chmod(tmp_path / "u" / "d", 0o700)
    tables_now = read_upper(str(tmp_path / "u"), KIND).tables
    make_upper(remaining({"": table_of({})}, tables_now), str(tmp_path / "u"), str(tmp_path / "v"), KIND)
    assert content(tmp_path / "u") == content(tmp_path / "v")
    assert (tmp_path / "v" / "d").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "v" / "d" / "n").samefile(tmp_path / "u" / "d" / "n")
