"""A program that tells what it was started with, and ends as its first argument says."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import threading
import time


def main() -> None:
    """Tell, and end."""
    told = {
        "args": sys.argv[1:],
        "name": sys.argv[0],
        "cwd": os.getcwd(),
        "env": {name: value for name, value in os.environ.items() if not name.startswith("LC_")},
        "stdin": sys.stdin.read(),
        "temporary": tempfile.gettempdir(),
        "encoding": sys.stdout.encoding,
        "warnings": sys.warnoptions,
        "threads": threading.active_count(),
        "open": sorted(int(name) for name in os.listdir("/proc/self/fd"))[:-1],
        "failpoint": os.environ.get("HOLDFAST_FAILPOINT"),
    }
    print(json.dumps(told))
    print("é to stderr", file=sys.stderr)
    match sys.argv[1]:
        case "late":
            threading.Thread(target=lambda: (time.sleep(0.2), print("late"))).start()
        case "kill":
            sys.stdout.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        case "raise":
            raise ValueError("as it was told")
        case "3":
            sys.exit(3)
        case text:
            sys.exit(text)


if __name__ == "__main__":
    main()
