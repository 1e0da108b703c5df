"""A server in a process of its own: ``python -m tests.server.serving DATA DATABASE FILE [NAME=VALUE …]`` serves with these further
settings, and writes its address to the file.
"""

from __future__ import annotations

import sys
from pathlib import Path

from holdfast.server.settings import load_settings
from holdfast.server.start import Listen, prepare, serve


def main() -> None:
    """Serve until SIGTERM."""
    data, database, file, *more = sys.argv[1:]
    settings = dict(each.split("=", 1) for each in more)
    service = prepare(load_settings({"data": data, "database": database, **settings}))
    serve(service, Listen(port=0), lambda url: Path(file).write_text(url) and None)


if __name__ == "__main__":
    main()
