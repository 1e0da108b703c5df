"""Start one server by hand: ``python -m tests.services ceph`` prints its environment and waits for Ctrl-C."""

from __future__ import annotations

import shlex
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from tests.services import SERVERS


def main() -> int:
    """Run the server that the command line names."""
    if len(sys.argv) != 2 or sys.argv[1] not in SERVERS:
        print(f"usage: python -m tests.services {{{','.join(SERVERS)}}}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with (
        tempfile.TemporaryDirectory(prefix="holdfast-") as directory,
        suppress(KeyboardInterrupt),
        SERVERS[sys.argv[1]](Path(directory) / "server") as service,
    ):
        for name, value in service.env.items():
            print(f"export {name}={shlex.quote(value)}")
        print(f"export STORE={shlex.quote(service.store_url)}", flush=True)
        print(f"{service.name} runs (processes {service.pids}); Ctrl-C stops it", file=sys.stderr)
        signal.pause()
    return 0


if __name__ == "__main__":
    sys.exit(main())
