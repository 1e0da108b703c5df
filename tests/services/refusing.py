"""An S3 server of our own that answers 501 to every conditional write, as Swift's S3 layer does, and serves the rest."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.services.base import HOST, ROOT, Service, answers, free_port, processes, s3_env
from tests.services.object_server import BUCKET, Dialect, Object, RefusedError, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["RefusingDialect", "start"]


class RefusingDialect(Dialect):
    """No conditions on writes."""

    def refuse_write(self, headers: dict[str, str], current: Object | None) -> None:
        """Refuse the request for its condition, whatever is there."""
        if "if-match" in headers or "if-none-match" in headers:
            raise RefusedError(501, "NotImplemented")


@contextmanager
def start(directory: Path) -> Iterator[Service]:
    """Run it as a process of its own."""
    port = free_port()
    with processes("refusing_s3", directory) as group:
        group.spawn([sys.executable, "-m", __name__, str(port)], {"PYTHONPATH": str(ROOT)})
        group.wait(lambda: answers(f"http://{HOST}:{port}/{BUCKET}"), 30)
        yield Service("refusing_s3", f"s3://{BUCKET}", s3_env(port, "test", "test"), group.pids)


if __name__ == "__main__":
    serve(HOST, int(sys.argv[1]), RefusingDialect())
