"""The stat cache tells what may have changed, and the manifests on this machine are a cache: damaged means missing."""

from __future__ import annotations

import errno
import glob
import os
import random
import shutil
import time

import pytest

from holdfast.cache.manifests import Manifests
from holdfast.cache.stats import StatCache, walk
from holdfast.cache.tree import matches, scan
from holdfast.errors import UsageError
from holdfast.formats.root import encode_root
from holdfast.formats.stats import TreeStats, decode_stats, encode_stats
from holdfast.model.digest import digest_of
from holdfast.transfer.order import in_order
from tests.e2e.driver import lay
from tests.formats import pack_cases

FILES = {"a": b"1", "sub/b": b"22", "sub/c": b"333", "other/d": b"4"}


class Pushed:
    """A folder whose stats were recorded, when all in it was old enough to be trusted, or at once."""

    def __init__(self, place, *, at_once=False, exclude=()):
        self.folder = lay(place / "source", FILES)
        self.exclude = exclude
        if not at_once:
            time.sleep(0.06)
        walked = walk(self.folder, exclude=exclude)
        stats = TreeStats("place", "n", "0.0", "r" * 64, "hash", 4, 7, walked.tables)
        self.cache = StatCache(place / "state", self.folder, "n")
        self.cache.write(stats, walked.began)

    def changed(self):
        """The files that a push would read."""
        before, now = self.cache.read(), walk(self.folder, exclude=self.exclude).tables
        found = in_order(now, before.tables)
        return {item.path.decode() for item in found if not item.clean and item.path.decode() not in now}


@pytest.fixture
def pushed(tmp_path):
    """Recorded when all was old."""
    return Pushed(tmp_path)


def test_same__nothing_read(pushed):
    """Where nothing changed, nothing is read again."""
    assert pushed.changed() == set()
    assert all(table.same(pushed.cache.read().tables[path]) for path, table in walk(pushed.folder).tables.items())


def test_young__not_trusted(tmp_path):
    """What was written within a tick of the walk is read again: it could have been written once more unseen."""
    assert Pushed(tmp_path, at_once=True).changed() == set(FILES)


def test_young__whole_seconds(tmp_path):
    """Where a file system keeps whole seconds, what was written within two of them is read again."""
    folder = lay(tmp_path / "source", FILES)
    walked = walk(folder)
    began = 10**18 + 1
    for table in walked.tables.values():
        for at in range(len(table.names)):
            table.rows[at * 5 + 2] = table.rows[at * 5 + 3] = began - 10**9 - 1  # whole, a second ago
    cache = StatCache(tmp_path, folder, "n")
    cache.write(TreeStats("p", "n", "0.0", "", "", 4, 7, walked.tables), began)
    assert {row for table in cache.read().tables.values() for row in table.rows[4::5]} == {-1}
    cache.write(TreeStats("p", "n", "0.0", "", "", 4, 7, walked.tables), began + 10**9 + 1)
    assert -1 not in {row for table in cache.read().tables.values() for row in table.rows[4::5]}


def test_same_size_and_time__noticed(pushed):
    """Other bytes of the same length, with the old time put back, are noticed: the time of that cannot be put back."""
    path = pushed.folder / "sub" / "b"
    status = path.stat()
    path.write_bytes(b"xx")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_mtime_ns == status.st_mtime_ns
    assert pushed.changed() == {"sub/b"}


def test_touched_and_modes__noticed(pushed):
    """A new time or mode is a change."""
    os.utime(pushed.folder / "a", ns=(1, 1))
    (pushed.folder / "sub" / "c").chmod(0o755)
    assert pushed.changed() == {"a", "sub/c"}


def test_replaced__noticed(pushed):
    """Another file in its place is a change, whatever its size and time."""
    path = pushed.folder / "a"
    status = path.stat()
    (pushed.folder / "new").write_bytes(b"2")
    os.utime(pushed.folder / "new", ns=(status.st_atime_ns, status.st_mtime_ns))
    (pushed.folder / "new").rename(path)
    assert pushed.changed() == {"a"}


def test_renamed_directory__read(pushed):
    """A renamed directory is read under its new name, and its old one is gone."""
    (pushed.folder / "sub").rename(pushed.folder / "renamed")
    assert pushed.changed() == {"renamed/b", "renamed/c"}


def test_other_kind__noticed(pushed):
    """A directory where a file was, and a link where a directory was."""
    (pushed.folder / "a").unlink()
    lay(pushed.folder / "a", {"inside": b"new"})
    shutil.rmtree(pushed.folder / "sub")
    (pushed.folder / "sub").symlink_to("other")
    assert pushed.changed() == {"a/inside", "sub"}


def test_excluded__not_looked_at(tmp_path):
    """What is excluded is in no table, and its changes are none."""
    pushed = Pushed(tmp_path, exclude=("sub",))
    (pushed.folder / "sub" / "b").write_bytes(b"changed")
    assert pushed.changed() == set()
    assert "sub" not in walk(pushed.folder, exclude=("sub",)).tables


def test_walk__loop_of_links(tmp_path):
    """Where links are followed, a loop is refused by name; where not, a link is an entry."""
    folder = lay(tmp_path / "source", {"in/x": b""})
    (folder / "in" / "back").symlink_to("..")
    assert walk(folder).tables["in"].names == ["back", "x"]
    with pytest.raises(UsageError, match="in/back"):
        walk(folder, follow_links=True)


@pytest.mark.parametrize("name", [b"\xff", b"a\xfe"])
def test_walk__name_that_is_no_text(tmp_path, name):
    """A name that is not UTF-8 is refused, and told."""
    (tmp_path / os.fsdecode(name)).touch()
    with pytest.raises(UsageError, match="not UTF-8"):
        walk(tmp_path)


def test_cache__damaged_is_missing(pushed):
    """A damaged file of stats is as good as none, whatever is wrong with it; another identity has its own."""
    (path,) = pushed.cache._path.parent.iterdir()
    data = path.read_bytes()
    for at in range(0, len(data), 7):
        path.write_bytes(data[:at])
        assert pushed.cache.read() is None
    path.write_bytes(data + b"x")
    assert pushed.cache.read() is None
    assert StatCache(path.parents[1], pushed.folder, "m").read() is None
    assert encode_stats(decode_stats(data)) == data


# manifests


@pytest.fixture
def kept(tmp_path):
    """The golden manifest, kept on this machine; its file."""
    manifests = Manifests(tmp_path, "place")
    recorder = manifests.record("a/b")
    for stored in pack_cases.PAGES_STORED:
        recorder.add(stored)
    recorder.keep("0.0", pack_cases.ROOT_DATA)
    (path,) = (path for path in tmp_path.rglob("*") if path.is_file())
    return manifests, path


ROOT = digest_of(pack_cases.ROOT_DATA)


def test_manifests__kept(kept):
    """What was kept is found, with all its pages."""
    manifest = kept[0].find("a/b", "0.0", ROOT)
    assert manifest.root == pack_cases.ROOT
    assert [stored for _, stored in manifest.pages()] == pack_cases.PAGES_STORED
    assert manifest.stored(pack_cases.ROOT.pages[1]) == pack_cases.PAGES_STORED[1]
    assert manifest.data() == pack_cases.ROOT_DATA == encode_root(manifest.root)
    assert [found.version for found in kept[0].known("a/b")] == ["0.0"]
    assert kept[0].find("a/b", "0.1", ROOT) is None
    assert kept[0].find("a/b", "0.0", "\0") is None


def test_manifests__any_damage_is_a_miss(kept):
    """With any bit of it flipped, or any end of it missing, it is not found; nothing half is ever read."""
    manifests, path = kept
    data = path.read_bytes()
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :])
        assert manifests.find("a/b", "0.0", ROOT) is None
        path.write_bytes(data[:at])
        assert manifests.find("a/b", "0.0", ROOT) is None
    assert manifests.known("a/b") == []
    path.write_bytes(data)
    assert manifests.find("a/b", "0.0", ROOT) is not None


def test_manifests__trimmed_while_read(kept):
    """What was opened is read to its end, though another process removes it."""
    manifest = kept[0].find("a/b", "0.0", ROOT)
    kept[1].unlink()
    assert [stored for _, stored in manifest.pages()] == pack_cases.PAGES_STORED


def test_manifests__few_are_kept(tmp_path):
    """Of an asset's manifests the last used eight are kept, and what a killed process left goes after a day."""
    manifests = Manifests(tmp_path, "place")
    for version in random.Random(1).sample(range(12), 12):
        recorder = manifests.record("n")
        for stored in pack_cases.PAGES_STORED:
            recorder.add(stored)
        recorder.keep(f"0.{version}", pack_cases.ROOT_DATA)
    unfinished = manifests.record("n")
    unfinished.add(b"x")
    (left,) = tmp_path.rglob(".*.part")
    os.utime(left, (1, 1))
    manifests.trim("n")
    assert not left.exists()
    assert len(manifests.known("n")) == 8
    unfinished.discard()


def test_manifests__full_disk(tmp_path, monkeypatch):
    """What finds no room is not kept, and nobody is bothered: not by the closing either, which writes what is left."""

    class Full:
        def write(self, data: bytes) -> int:
            raise OSError(errno.ENOSPC, "no space")

        def close(self) -> None:
            raise OSError(errno.ENOSPC, "no space")

    local = Manifests(tmp_path, "place")
    recorder = local.record("n")
    monkeypatch.setattr(recorder, "_opened", lambda: setattr(recorder, "_file", Full()) or Full())
    recorder.add(b"page")
    recorder.add(b"another")
    recorder.keep("1", b"root")
    assert local.known("n") == []


def test_excluded__from_the_top(tmp_path):
    """A pattern that starts with a slash fits from the top only, its glob signs where they are escaped too."""
    folder = tmp_path / "site"
    for path in ("images", "media/images", "a[b", "media/a[b", "c1", "c2/c1"):
        (folder / path).mkdir(parents=True)
    found = set(walk(folder, exclude=("/images", f"/{glob.escape('a[b')}", "/c?")).tables)
    assert found == {"", "media", "media/images", "media/a[b"}
    assert set(walk(folder, exclude=("images/", "a*", "c1")).tables) == {"", "media", "c2"}
    listed = {item.entry.path for item in scan(folder, exclude=("/images", "/c?"))}
    assert listed == {"a[b", "media", "media/images", "media/a[b"}
    assert matches("images/a", ("/images",))
    assert not matches("media/images", ("/images",))


def test_beside__appears_at_the_top(tmp_path):
    """A directory from elsewhere appears under its name at the top, and a name that is taken is refused."""
    folder, other = tmp_path / "site", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    (folder / "z").write_text("z")
    (other / "dump.sql").write_text("dump")
    walked = walk(folder, beside={"extra": other})
    assert walked.tables[""].names == ["extra", "z"]
    assert walked.tables["extra"].names == ["dump.sql"]
    assert walked.path("extra", "dump.sql") == str(other / "dump.sql")
    assert walked.path("", "z") == str(folder / "z")
    walked.check("", ["extra", "z"])
    walked.check("extra", ["dump.sql"])
    with pytest.raises(UsageError, match="'z' itself"):
        walk(folder, beside={"z": other})
