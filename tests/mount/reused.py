"""A process by itself, run in a namespace of process numbers of its own: the number of a process that ended is taken by another, which
must not be killed. Says ``killed`` or ``lives``. Example: ``unshare --pid --fork --mount-proc python reused.py worker FOLDER``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from holdfast.mount import control
from holdfast.mount.children import Child
from holdfast.mount.launching import Launched
from holdfast.mount.live.worker import Worker


def worker(folder: Path) -> tuple[int, object]:
    """A mounter that has ended, as its supervisor has seen; and what takes away what is left of it."""
    mounter = Worker("rclone", ["/bin/true"], {}, str(folder), folder / "log")
    while mounter.ended is None:
        time.sleep(0.01)
    return mounter.process.pid, lambda: mounter.end(hung=True)


def child(_: Path) -> tuple[int, object]:
    """A question that was answered, and is forgotten afterwards."""
    asked = Child(os.getpid)
    return int(asked.result(5.0)), asked.give_up


def launched(_: Path) -> tuple[int, object]:
    """The worker of a version, which has ended and was reaped, and is killed once more."""
    process = subprocess.Popen("true")  # kept: else it may be reaped at once
    number = process.pid
    found = Launched(number, control.pair()[0])
    os.waitpid(number, 0)
    return number, found.kill


def main(which: str, folder: Path) -> None:
    """Have it end, have another take its number, and end it once more."""
    number, again = {"worker": worker, "child": child, "launched": launched}[which](folder)
    Path("/proc/sys/kernel/ns_last_pid").write_text(str(number - 1))
    other = subprocess.Popen(["sleep", "60"], start_new_session=True)
    again()  # type: ignore[operator]
    time.sleep(0.2)
    print("killed" if other.poll() is not None else "lives")
    other.kill()
    other.wait()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
