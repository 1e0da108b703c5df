"""Calls of the operating system that may never return, made with a deadline: the file system behind a mount may hang.

A call runs in a thread of its own while its caller waits. One that is late is left alone (nothing can stop it but the end of the
program, which it does not hold up); its caller gets an error. Threads that came back are used again.
"""

from __future__ import annotations

import os
import queue
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LateError", "within"]

T = TypeVar("T")

#: Threads that wait for their next call; more than the engine has of its own are never needed.
_IDLE: Final = 32


class LateError(Exception):
    """The call has not come back in time."""


class _Worker:
    """A thread that runs one call after the other."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], Any] | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="holdfast-mount", daemon=True).start()

    def call(self, call: Callable[[], T], seconds: float) -> T:
        """The call's result, or what it raised; LateError once the time is over, after which this worker is lost."""
        self._calls.put(call)
        try:
            result, error = self._results.get(timeout=seconds)
        except queue.Empty:
            self._calls.put(None)  # should it ever come back
            raise LateError from None
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]

    def end(self) -> None:
        """Let the thread go."""
        self._calls.put(None)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                self._results.put((call(), None))
            except BaseException as error:  # noqa: BLE001 - it is the caller's, who gets it
                self._results.put((None, error))


_idle: Final[list[_Worker]] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)  # a child has none of these threads


def within(seconds: float, call: Callable[[], T]) -> T:
    """The result of a call, or what it raises.

    Raises:
        LateError: it took longer.
    """
    worker = _idle_worker() or _Worker()
    is_free = False
    try:
        result = worker.call(call, seconds)
        is_free = True
        return result
    except Exception as error:
        is_free = not isinstance(error, LateError)
        raise
    finally:
        if is_free and len(_idle) < _IDLE:
            _idle.append(worker)
        elif is_free:
            worker.end()


def _idle_worker() -> _Worker | None:
    with suppress(IndexError):
        return _idle.pop()
    return None
