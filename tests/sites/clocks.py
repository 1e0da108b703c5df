"""Programs whose machine has a clock that is wrong: libfaketime's, preloaded, over stores whose own clock is right.

The clock that counts from the boot goes right, as on a real machine. What a program asks the kernel of files is not changed, for stores in folders stand here for stores elsewhere; who writes a file on such a
machine gives it the time of its clock. When a file was changed last nobody can give it: of two changes at once the times are compared in the simulation of sync alone (test_sync_merging.py).
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Asset

HOUR = 3600
#: What sleeps in the place of ``time.sleep``.
_ASLEEP = Path(__file__).parent / "stands_in" / "asleep"


def clock(ahead: int) -> dict[str, str]:
    """The environment of a program on a machine whose clock is so many seconds ahead, or behind."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        pytest.skip("no libfaketime: tools/services installs it")
    right = dict.fromkeys(
        ("NO_FAKE_STAT", "FAKETIME_DONT_RESET", "FAKETIME_DONT_FAKE_MONOTONIC", "DONT_FAKE_MONOTONIC"), "1"
    )
    path = os.pathsep.join(filter(None, (str(_ASLEEP), os.environ.get("PYTHONPATH"))))
    return {"LD_PRELOAD": str(found[0]), "FAKETIME": f"{ahead:+d}s", "PYTHONPATH": path, **right}


def put(server: Asset, path: str, data: bytes, ahead: int = 0) -> None:
    """Somebody writes a file of the webroot, on a machine with such a clock."""
    place = server.folder / "www" / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    now = time.time() + ahead
    os.utime(place, (now, now))
