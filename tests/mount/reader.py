"""Reads a file, or lists a directory, again and again for some seconds, and prints what it saw as JSON: ``reader.py PATH SECONDS [list]``.

``[[seconds since the start, outcome], ...]`` whenever the outcome changes, and the longest that one attempt took.
"""

from __future__ import annotations

import json
import os
import sys
import time


def content(path: str) -> str:
    """What a file holds."""
    with open(path, "rb") as file:
        return file.read().decode()


def names(path: str) -> str:
    """What a directory holds, but for names of ours."""
    return " ".join(sorted(name for name in os.listdir(path) if not name.startswith(".holdfast")))


def main(path: str, seconds: float, *, lists: bool) -> None:
    """Read, and print."""
    began, seen, worst = time.monotonic(), [], 0.0
    while (at := time.monotonic() - began) < seconds:
        try:
            outcome = names(path) if lists else content(path)
        except OSError as error:
            outcome = f"error: {error.strerror}"
        worst = max(worst, time.monotonic() - began - at)
        if not seen or seen[-1][1] != outcome:
            seen.append([round(time.monotonic() - began, 2), outcome])
        time.sleep(0.02)
    print(json.dumps({"seen": seen, "worst": worst}))


main(sys.argv[1], float(sys.argv[2]), lists="list" in sys.argv[3:])
