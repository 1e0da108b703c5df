"""A double of Google Cloud Storage's XML API: **this project's own idea of GCS, not Google's.**

No registry has an emulator that honours the generation conditions of the XML API, which is what the object-store client
speaks. This one was written from the documentation: every object has a generation, sent as ``x-goog-generation``, and a
write with ``x-goog-if-generation-match`` (0: must not exist) or ``If-Match`` is refused with 412 when it does not fit. What
passes here has been shown to follow that reading of the documentation, and nothing about Google's servers.
"""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.services.base import HOST, ROOT, Service, answers, free_port, processes
from tests.services.object_server import BUCKET, Dialect, Object, RefusedError, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["GcsDialect", "start"]


class GcsDialect(Dialect):
    """Writes conditional on a generation or an ETag."""

    def refuse_write(self, headers: dict[str, str], current: Object | None) -> None:
        """Compare what the request names with what is there."""
        generation, etag = headers.get("x-goog-if-generation-match"), headers.get("if-match")
        if generation is not None and int(generation) != (current.generation if current else 0):
            raise RefusedError(412, "PreconditionFailed")
        if etag is not None and (current is None or etag not in ("*", current.etag)):
            raise RefusedError(412, "PreconditionFailed")
        if headers.get("if-none-match") == "*" and current is not None:
            raise RefusedError(412, "PreconditionFailed")


@contextmanager
def start(directory: Path) -> Iterator[Service]:
    """Run it as a process of its own; clients find it through a service account's file without a key."""
    port = free_port()
    with processes("gcs_double", directory) as group:
        group.spawn([sys.executable, "-m", __name__, str(port)], {"PYTHONPATH": str(ROOT)})
        group.wait(lambda: answers(f"http://{HOST}:{port}/{BUCKET}"), 30)
        account = group.directory / "service-account.json"
        account.write_text(json.dumps(_account(f"http://{HOST}:{port}")))
        env = {"GOOGLE_SERVICE_ACCOUNT": str(account), "GOOGLE_APPLICATION_CREDENTIALS": str(account)}
        yield Service("gcs_double", f"gs://{BUCKET}", env, group.pids)


def _account(url: str) -> dict[str, object]:
    return {
        "type": "service_account",
        "gcs_base_url": url,
        "disable_oauth": True,
        "client_email": "",
        "private_key": "",
        "private_key_id": "",
    }


if __name__ == "__main__":
    serve(HOST, int(sys.argv[1]), GcsDialect())
