"""Small files that are written by rename."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from holdfast.cache.work import write_whole

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
