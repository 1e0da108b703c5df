"""``rclone serve s3``: an S3 server that ignores conditional writes without saying so, and answers ranges with 200."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.services.base import HOST, Service, answers, free_port, processes, program, s3_env

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["start"]

_ACCESS, _SECRET = "AKHOLDFAST", "SKHOLDFAST0123456789"
_BUCKET: Final = "holdfast"


@contextmanager
def start(directory: Path) -> Iterator[Service]:
    """Run it over a directory whose folders are its buckets."""
    rclone, port = program("rclone", Path(sys.executable).parent), free_port()
    with processes("rclone", directory) as group:
        (group.directory / "data" / _BUCKET).mkdir(parents=True)
        keys = f"{_ACCESS},{_SECRET}"
        data = group.directory / "data"
        group.spawn([rclone, "serve", "s3", "--config", "", "--addr", f"{HOST}:{port}", "--auth-key", keys, data])
        group.wait(lambda: answers(f"http://{HOST}:{port}/", status=(200, 400, 403)), 30)
        yield Service("rclone_s3", f"s3://{_BUCKET}", s3_env(port, _ACCESS, _SECRET), group.pids)
