"""Whether somebody worked in a fetched copy, and what is told of an assets folder without walking it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from holdfast.cache.eviction import worked_in
from holdfast.cache.inventory import parts, recorded
from holdfast.store.memory import MemoryStore
from tests.fakes import repository_on

LAYOUTS = ("tree", "tar.gz", "packs", "file")


@pytest.fixture(params=LAYOUTS)
def fetched(request, tmp_path):
    """A repository, its one cached version, and a file in it."""
    repository = repository_on(MemoryStore("edits"), tmp_path / "m")
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").write_bytes(b"a" * 1000)
    (source / "sub").mkdir()
    (source / "sub" / "b").write_bytes(b"b")
    (source / "link").symlink_to("a")
    single = request.param == "file"
    repository.push(source / "a" if single else source, "n", layout=request.param)
    path = Path(repository.fetch("n:0.0"))
    time.sleep(0.02)  # the clock of a file system ticks every few milliseconds
    (entry,) = repository.assets.entries()
    return repository.assets, entry, path if single else path / "a"


def test_worked_in__untouched(fetched):
    """A copy as it was fetched may go, and its size is known without a walk."""
    assets, entry, file = fetched
    assert worked_in(assets, entry) is None
    assert assets.known("n", "0.0").bytes == entry.bytes == (1000 if file.name == "0.0" else 1001)


@pytest.mark.parametrize("act", ["times", "rights", "moved"])
def test_worked_in__equal(fetched, act):
    """Other times and rights, and a file that was put back, are no work."""
    assets, entry, file = fetched
    if act == "times":
        os.utime(file)
    elif act == "rights":
        file.chmod(0o666)
    else:
        data = file.read_bytes()
        file.unlink()
        file.write_bytes(data)
    assert worked_in(assets, entry) is None


@pytest.mark.parametrize("act", ["content", "content of old", "new", "link"])
def test_worked_in__changed(fetched, act):
    """Changed content, of whatever time, a new file and a new link are somebody's work."""
    assets, entry, file = fetched
    before = file.stat()
    if act.startswith("content"):
        file.write_bytes(b"x" * 999)
        if act.endswith("old"):
            os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    elif file.name == "0.0":
        pytest.skip("a file has nothing beside it")
    elif act == "new":
        (file.parent / "sub" / "notes").write_text("mine")
    else:
        (file.parent / "mine").symlink_to("a")
    assert "changed" in worked_in(assets, entry)


def test_recorded__not_walked(fetched):
    """The size comes from the record; where none is recorded the copy is walked."""
    assets, entry, _ = fetched
    (record,) = assets.path.glob(".holdfast/versions/*/0.0.json")
    text = record.read_text()
    record.write_text(text.replace(f'"bytes": {entry.bytes}', '"bytes": 7'))
    assert [found.bytes for found in recorded(assets.path)] == [7]
    record.write_text(text.replace(f', "bytes": {entry.bytes}', ""))
    assert [found.bytes for found in recorded(assets.path)] == [entry.bytes]
    assert list(parts(assets.path)) == []
    record.write_text("[]")
    assert list(recorded(assets.path)) == []
