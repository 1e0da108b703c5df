"""Runs one command and tells what it cost; small, so that none of its own memory is counted as the command's.

    python -I -S measure.py OUTPUT COMMAND...

runs the command with its output in a file, and prints ``seconds``, ``cpu``, ``rss`` (the largest process of the tree, bytes)
and ``status`` as JSON.
"""

import json
import os
import sys
import time


def main() -> None:
    output = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    begun = time.perf_counter()
    pid = os.posix_spawnp(
        sys.argv[2],
        sys.argv[2:],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2)],
    )
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - begun
    cpu = usage.ru_utime + usage.ru_stime
    print(json.dumps({"seconds": seconds, "cpu": cpu, "rss": usage.ru_maxrss * 1024, "status": status}))


if __name__ == "__main__":
    main()
