"""Copies in the making, and small files that are written by rename."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from holdfast.cache.work import open_work_dir, write_whole
from holdfast.formats import layout

if TYPE_CHECKING:
    from pathlib import Path


def test_write_whole__by_threads(tmp_path: Path) -> None:
    """Threads of one process that write one file at once do so without an error, and what is read meanwhile is whole; nothing is left."""
    path, errors = tmp_path / "record", []
    write_whole(path, bytes(100_000))

    def write(value: int) -> None:
        try:
            for _ in range(200):
                write_whole(path, bytes([value]) * 100_000)
                data = path.read_bytes()
                assert len(data) == 100_000
                assert len(set(data)) == 1
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(value,)) for value in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert [each.name for each in tmp_path.iterdir()] == ["record"]


def test_meant(tmp_path: Path) -> None:
    """A path in a copy in the making reads as the place where that is to be, inside of a folder and beside a file; others stay as they are."""
    beside = open_work_dir(tmp_path / "there", "id").copy
    inside = open_work_dir(tmp_path / layout.WORK_STEM, "id").copy
    assert layout.meant(f"no room: {beside}/a/b") == f"no room: {tmp_path}/there/a/b"
    assert layout.meant(f"{inside}/a {inside.parent}/scratch: no") == f"{tmp_path}/a {tmp_path}: no"
    for text in ("/a/b.part/copy", "/a/.b.part", "/a/.b.c.part/copy/d", "nothing"):
        assert layout.meant(text) == text
