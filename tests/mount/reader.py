"""Reads a file again and again for some seconds, and prints what it saw as JSON: ``reader.py FILE SECONDS``.

``[[seconds since the start, outcome], ...]`` whenever the outcome changes, and the longest that one attempt took.
"""

from __future__ import annotations

import json
import sys
import time


def main(path: str, seconds: float) -> None:
    """Read, and print."""
    began, seen, worst = time.monotonic(), [], 0.0
    while (at := time.monotonic() - began) < seconds:
        try:
            with open(path, "rb") as file:
                outcome = file.read().decode()
        except OSError as error:
            outcome = f"error: {error.strerror}"
        worst = max(worst, time.monotonic() - began - at)
        if not seen or seen[-1][1] != outcome:
            seen.append([round(time.monotonic() - began, 2), outcome])
        time.sleep(0.02)
    print(json.dumps({"seen": seen, "worst": worst}))


main(sys.argv[1], float(sys.argv[2]))
