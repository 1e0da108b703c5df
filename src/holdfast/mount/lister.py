"""Lists parts of directories and throws away what it reads: for the kernel, which then knows their names.

A program of its own, for it may wait for the mount that its parent serves: run as ``python -I -S lister.py DIR``, it reads lines
``NODE POSITION COUNT PATH`` (the path below DIR in hexadecimal) and answers each with the position that it reached; -1 is the end of the directory. It ends
with its input, and imports nothing of ours.
"""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress

TYPE_CHECKING = False  # typing is slow to import
if TYPE_CHECKING:
    from collections.abc import Callable

_BUFFER = 32_768
_GETDENTS64 = {"x86_64": 217, "aarch64": 61, "riscv64": 61, "loongarch64": 61, "ppc64le": 202, "s390x": 220}


def _list(call: Callable[..., int], number: int, path: bytes, node: int, position: int, count: int) -> int:
    """List so many entries from a position on; where it ended."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(directory).st_ino != node:  # something else lies there by now
            return position
        os.lseek(directory, position, os.SEEK_SET)
        buffer = ctypes.create_string_buffer(_BUFFER)
        while count > 0:
            length = call(number, directory, buffer, _BUFFER)
            if length <= 0:
                return -1 if length == 0 else position
            data, at = memoryview(buffer).cast("B"), 0
            while at < length:
                position = int.from_bytes(data[at + 8 : at + 16], sys.byteorder)
                at += int.from_bytes(data[at + 16 : at + 18], sys.byteorder)
                count -= 1
        return position
    finally:
        os.close(directory)


def main(directory: str) -> None:
    """Answer lines until there are no more."""
    number = _GETDENTS64.get(os.uname().machine)
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    root = os.fsencode(directory)
    for line in sys.stdin:
        node, position, count, path = line.split(" ")
        reached = int(position)
        if number is not None:
            with suppress(OSError):
                whole = os.path.join(root, bytes.fromhex(path))
                reached = _list(call, number, whole, int(node), reached, int(count))
        sys.stdout.write(f"{reached}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
