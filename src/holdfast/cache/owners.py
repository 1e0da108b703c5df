"""Whose something in the cache is: the name of a process that others on this machine can tell to be alive or gone.

An owner is ``<machine>-<pid>-<start>-<token>``. Whether it is gone can be told on its own machine and in its own process
namespace only; of any other nothing is known, and who must decide goes by age.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

__all__ = ["UNKNOWN", "birth", "boot", "is_dead", "is_visible", "machine", "owner"]

#: What stands for the start of a process that is alive and does not tell.
UNKNOWN: Final = "0"
#: This process, among those that had its number.
_TOKEN: Final = os.urandom(4).hex()


def owner() -> str:
    """This process."""
    return _named(os.getpid())


@cache
def _named(pid: int) -> str:  # a forked child is another one
    return f"{machine()}-{pid}-{birth(pid)}-{_TOKEN}"


@cache
def machine() -> str:
    """The machine and, where processes are numbered apart (containers), the namespace of their numbers."""
    import socket  # here, for it takes long to load

    namespace = ""
    with suppress(OSError):
        namespace = "~" + os.readlink("/proc/self/ns/pid").strip("pid:[]")
    return socket.gethostname().replace(".", "-") + namespace


@cache
def boot() -> str:
    """This boot of the machine; empty where the system does not tell."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def is_visible(name: str) -> bool:
    """Whether this names a process whose life can be told from here."""
    return _pid(name) is not None


def is_dead(name: str) -> bool:
    """Whether the process that this names surely is gone."""
    pid = _pid(name)
    return pid is not None and birth(pid) not in (name.rsplit("-", 3)[2], UNKNOWN)


def _pid(name: str) -> int | None:
    pieces = name.rsplit("-", 3)
    if len(pieces) != 4 or pieces[0] != machine() or not pieces[1].isdecimal():
        return None
    return int(pieces[1])


def birth(pid: int) -> str:
    """When a process started, so that a reused id is not taken for the old one; empty where there is none."""
    if os.name == "nt":
        return UNKNOWN  # there, os.kill would end it
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return ""
        except PermissionError:
            pass
        return UNKNOWN
    except OSError:
        return UNKNOWN
    fields = text.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]  # ended, and its parent did not look yet
