"""Taking turns at one piece of work, so that of many processes that want it one does it and the others wait for it.

Two signs are looked at, for either may lie. A *number* drawn in a folder: a symlink to the owner's name, which only one process
can make and whose owner is known to live or not. And ``flock``, which also reaches across containers, and on some network file
systems locks nothing. Nothing rests on either: where both fail, two do the same work, each in a directory of its own.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from holdfast.cache.owners import is_dead, is_visible, owner
from holdfast.cache.work import lock_now
from holdfast.errors import BusyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["hold"]

_POLL: Final = (0.01, 0.25)
#: A number of a process whose life cannot be told from here counts for so many seconds.
_STRANGE: Final = 300.0


def _never() -> bool:
    return False


@contextmanager
def hold(
    path: Path,
    what: str,
    deadline: float,
    done: Callable[[], bool] = _never,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Have the turn at what this file stands for, waiting up to ``deadline`` seconds, or until it is ``done``.

    Raises:
        BusyError: the deadline passed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    turn = _Turn(path)
    try:
        end, pause = time.monotonic() + deadline, _POLL[0]
        while not done() and not turn.has_come():
            if time.monotonic() >= end:
                raise BusyError(
                    f"another process is fetching {what}, and did not finish within {deadline:.0f} s",
                    subject=what,
                    hint="wait for it, or raise the timeout",
                )
            sleep(pause)
            pause = min(_POLL[1], pause * 1.5)
        yield
    finally:
        turn.end()


class _Turn:
    """One process's place in the queue of a lock file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._queue = path.with_name(f".{path.name}.queue")
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        self._locked = False
        self._number = self._draw()

    def _draw(self) -> int | None:
        """The number behind all that are there; None where the file system has no symlinks."""
        try:
            self._queue.mkdir(exist_ok=True)
            number = max(self._numbers(), default=0) + 1
            while True:
                try:
                    os.symlink(owner(), self._queue / str(number))
                except FileExistsError:
                    number += 1
                else:
                    return number
        except OSError:
            return None

    def _numbers(self) -> Iterator[int]:
        return (int(name) for name in os.listdir(self._queue) if name.isdecimal())

    def has_come(self) -> bool:
        """Whether nobody else is at it, as far as either sign tells."""
        strange = False
        for holder in self._ahead():
            if is_visible(holder):
                return False
            strange = True
        return self._lock() and not (strange and not self._locks_lock())

    def _ahead(self) -> Iterator[str]:
        """The owners of smaller numbers; those of the dead are swept."""
        if self._number is None:
            return
        for number in sorted(n for n in self._numbers() if n < self._number):
            place = self._queue / str(number)
            with suppress(OSError):
                holder = os.readlink(place)
                if is_dead(holder):
                    place.unlink(missing_ok=True)
                elif is_visible(holder) or time.time() - os.lstat(place).st_mtime < _STRANGE:
                    yield holder

    def _lock(self) -> bool:
        if not self._locked:
            try:
                lock_now(self._descriptor)
            except BlockingIOError:
                return False
            except OSError:
                pass  # no locks on this file system
            self._locked = True
        return True

    def _locks_lock(self) -> bool:
        """Whether a lock that we have keeps a second one out; where it does, whoever is no longer behind it is gone."""
        descriptor = os.open(self._path, os.O_RDWR)
        try:
            lock_now(descriptor)
        except BlockingIOError:
            return True
        except OSError:
            return False
        else:
            return False
        finally:
            os.close(descriptor)

    def end(self) -> None:
        """Let the next one have it."""
        if self._number is not None:
            with suppress(OSError):
                (self._queue / str(self._number)).unlink(missing_ok=True)
        os.close(self._descriptor)
