"""Reads below a folder and tells how fast it went; a program of its own, so that what is measured is a reader like any other.

    python bench/reading.py sequential FILE             bytes a second, from start to end
    python bench/reading.py stat|list|open FOLDER       a second: stats by name, entries of a listing with stats, open + read + close
    python bench/reading.py random FILE SIZE READERS N  reads a second of SIZE bytes, N by each reader
    python bench/reading.py steady FOLDER SECONDS       ``worst``: the longest that one read took; ``errors``; ``rate``: reads a second

prints a line of JSON with ``rate``.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time

_STEP = 1024 * 1024


def sequential(path: str) -> dict[str, float]:
    """The whole file."""
    buffer, total = bytearray(_STEP), 0
    begun = time.perf_counter()
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(buffer):
            total += count
    return {"rate": total / (time.perf_counter() - begun)}


def _names(folder: str) -> list[str]:
    with open(f"{folder}.names") as file:
        return [f"{folder}/{line}" for line in file.read().splitlines()]


def stat(folder: str) -> dict[str, float]:
    """Every file by its name, which was known before (``FOLDER.names``)."""
    names = _names(folder)
    begun = time.perf_counter()
    for name in names:
        os.stat(name)
    return {"rate": len(names) / (time.perf_counter() - begun)}


def opened(folder: str) -> dict[str, float]:
    """Every file opened, read and closed."""
    names = _names(folder)
    begun = time.perf_counter()
    for name in names:
        descriptor = os.open(name, os.O_RDONLY)
        os.read(descriptor, 65536)
        os.close(descriptor)
    return {"rate": len(names) / (time.perf_counter() - begun)}


def listed(folder: str) -> dict[str, float]:
    """A listing with the attributes of every entry, as ``ls -l`` does."""
    count, folders = 0, [folder]
    begun = time.perf_counter()
    while folders:
        with os.scandir(folders.pop()) as found:
            for item in found:
                count += 1
                item.stat(follow_symlinks=False)
                if item.is_dir(follow_symlinks=False):
                    folders.append(item.path)
    return {"rate": count / (time.perf_counter() - begun)}


def at_random(path: str, size: int, readers: int, reads: int) -> dict[str, float]:
    """Some readers at once, each at places of its own."""
    blocks = os.stat(path).st_size // size

    def one(seed: int) -> None:
        places = random.Random(seed)
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        for _ in range(reads):
            if len(os.pread(descriptor, size, places.randrange(blocks) * size)) != size:
                raise RuntimeError("a short read")
        os.close(descriptor)

    threads = [threading.Thread(target=one, args=(seed,)) for seed in range(readers)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"rate": readers * reads / (time.perf_counter() - begun)}


def steady(folder: str, seconds: float) -> dict[str, float]:
    """One file after the other, as long as told, past the page cache."""
    names = _names(folder)
    worst, errors, count = 0.0, 0, 0
    begun = time.perf_counter()
    while time.perf_counter() - begun < seconds:
        turn = time.perf_counter()
        try:
            descriptor = os.open(names[count % len(names)], os.O_RDONLY)
            try:
                os.read(descriptor, 65536)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)
        except OSError:
            errors += 1
            time.sleep(0.01)
        worst, count = max(worst, time.perf_counter() - turn), count + 1
    return {"rate": count / seconds, "worst": worst, "errors": errors}


def main(deed: str, path: str, *numbers: str) -> None:
    if deed == "random":
        found = at_random(path, *map(int, numbers))
    elif deed == "steady":
        found = steady(path, float(numbers[0]))
    else:
        found = {"sequential": sequential, "stat": stat, "list": listed, "open": opened}[deed](path)
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
