"""Walks of a folder in which somebody swaps directories for links meanwhile, as a compromised web application would."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from holdfast.cache import listing as real
from holdfast.cache.stats import walk
from holdfast.cache.tree import scan
from holdfast.errors import LocalError, SourceChangedError

WALKS = {"tree": scan, "stats": walk}


@pytest.fixture
def folder(tmp_path):
    """A folder, and another beside it that it must never lead to."""
    for top in ("folder/d", "elsewhere"):
        (tmp_path / top / "inner").mkdir(parents=True)
        (tmp_path / top / "inner" / "shadow").write_text(top)
    return tmp_path / "folder"


@pytest.mark.parametrize("kind", WALKS)
@pytest.mark.parametrize("before", ["d", "d/inner"])
def test_walk__swapped_directory(folder, monkeypatch, kind, before):
    """A directory that is swapped for another while its folder is scanned, by a link or not, is not entered: the push stops and names it."""

    @contextmanager
    def swapping(path, seen):
        if path == f"{folder}/{before}":
            (folder / "d").rename(folder.parent / "old")
            (folder / "d").symlink_to(folder.parent / "elsewhere")
        with real.listing(path, seen) as found:
            yield found

    monkeypatch.setattr(f"holdfast.cache.{kind}.listing", swapping)
    with pytest.raises(SourceChangedError, match=f"{before} was replaced"):
        WALKS[kind](folder)


@pytest.mark.parametrize("kind", WALKS)
def test_walk__link_that_is_followed(folder, kind):
    """A link to a directory that is followed is the directory that it leads to."""
    (folder / "link").symlink_to(folder.parent / "elsewhere")
    found = WALKS[kind](folder, follow_links=True)
    paths = found.tables if kind == "stats" else [item.entry.path for item in found]
    assert "link/inner" in paths


@pytest.mark.parametrize("kind", WALKS)
def test_walk__gone(folder, monkeypatch, kind):
    """A directory that is gone when it is to be listed is named with its whole path."""

    @contextmanager
    def removing(path, seen):
        if path == f"{folder}/d":
            (folder / "d").rename(folder.parent / "old")
        with real.listing(path, seen) as found:
            yield found

    monkeypatch.setattr(f"holdfast.cache.{kind}.listing", removing)
    with pytest.raises(LocalError, match=f"{folder}/d"):
        WALKS[kind](folder)
