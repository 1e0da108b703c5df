"""A server in a process of its own: ``python -m tests.server.serving DATA DATABASE FILE`` serves, and writes its address to the file."""

from __future__ import annotations

import sys
from pathlib import Path

from holdfast.server.settings import load_settings
from holdfast.server.start import Listen, prepare, serve


def main() -> None:
    """Serve until SIGTERM."""
    data, database, file = sys.argv[1:]
    service = prepare(load_settings({"data": data, "database": database}))
    serve(service, Listen(port=0), lambda url: Path(file).write_text(url) and None)


if __name__ == "__main__":
    main()
