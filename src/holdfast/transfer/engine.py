"""Runs transfers: bounded concurrency, rate, progress, cancel. The only module with threads.

Work is given as plain functions; they run in a pool of ``jobs`` threads. The first error stops what has not begun, waits for
what has, and is raised. Nothing is queued beyond the threads themselves, so memory is bounded by ``jobs`` parts.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import contextmanager
from contextvars import copy_context
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final, TypeVar

from holdfast.model.result import NoProgress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future, ThreadPoolExecutor

    from holdfast.model.result import Progress

__all__ = ["JOBS", "Engine"]

JOBS: Final = 16
#: How many ranges of large objects are in flight, at most: 16 of 4 MiB are 64 MiB.
WINDOW: Final = 16
_MOST: Final = 1024

Item = TypeVar("Item")
Result = TypeVar("Result")


class Engine:
    """A pool with a rate and somebody to tell. One transfer at a time."""

    def __init__(
        self, jobs: int | None = None, limit_rate: int | None = None, progress: Progress | None = None
    ) -> None:
        self._asked = jobs
        self.jobs = jobs or JOBS
        self.progress: Progress = progress or NoProgress()
        self._stopping = threading.Event()
        self._left: list[threading.Thread] = []
        self._rate = _Rate(limit_rate, self._stopping) if limit_rate else None

    def run(self, work: Callable[[Item], Result], items: Iterable[Item], *, at_once: int | None = None) -> list[Result]:
        """``[work(item) for item in items]``, ``jobs`` at a time or as many as the plan allows, results in order.

        Where the caller of the program set ``jobs``, that bounds both.
        """
        listed = list(items)
        todo = enumerate(listed)
        results: dict[int, Result] = {}
        errors: list[BaseException] = []
        guard = threading.Lock()

        def worker() -> None:
            while not errors:
                with guard:
                    found = next(todo, None)
                if found is None:
                    return
                try:
                    results[found[0]] = work(found[1])
                except BaseException as error:  # noqa: BLE001 - carried to the caller's thread
                    errors.append(error)

        self._in_threads(worker, min(self.bound(at_once), len(listed)), errors)
        return [results[index] for index in sorted(results)]

    def bound(self, at_once: int | None) -> int:
        """How many at a time: as many as the plan allows, but not more than the caller of the program set."""
        return min(at_once or self.jobs, self._asked or _MOST)

    def pipe(
        self, items: Iterable[Item], work: Callable[[Item], Result], keep: Callable[[Result], None], *, at_once: int
    ) -> None:
        """``keep(work(item))`` for every item: only ``work`` in threads, the rest in this one, in no certain order.

        For many small objects: threads that did more than wait for the store would spend their time waiting for Python's lock.
        A quarter more items are drawn than threads are there, so that none waits for the next.
        """
        count = self.bound(at_once)
        asked: SimpleQueue[Item | None] = SimpleQueue()
        answers: SimpleQueue[Result | _Failed] = SimpleQueue()
        failed: list[BaseException] = []

        def worker() -> None:
            while (item := asked.get()) is not None and not failed:
                try:
                    answers.put(work(item))
                except BaseException as error:  # noqa: BLE001 - carried to the caller's thread
                    answers.put(_Failed(error))

        def take() -> None:
            answer = answers.get()
            if isinstance(answer, _Failed):
                raise answer.error
            keep(answer)

        threads: list[threading.Thread] = []
        begun = done = 0
        try:
            for begun, item in enumerate(items, 1):
                asked.put(item)
                if len(threads) < count:
                    threads.append(_thread(worker))
                    threads[-1].start()
                elif begun - done > count + count // 4:
                    take()
                    done += 1
            for _ in range(begun - done):
                take()
        except BaseException as error:
            failed.append(error)
            raise
        finally:
            for _ in threads:
                asked.put(None)
            if not failed or isinstance(failed[0], Exception):  # Ctrl-C waits for nobody
                for thread in threads:
                    thread.join()
            else:
                self._left += threads

    def _in_threads(self, worker: Callable[[], None], count: int, errors: list[BaseException]) -> None:
        threads = [_thread(worker) for _ in range(count)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except BaseException as error:
            errors.append(error)  # Ctrl-C: nobody begins anything new
            self._left += threads
            raise
        if errors:
            raise errors[0]

    def stop(self, patience: float) -> bool:
        """Break off the transfers that Ctrl-C waited for no longer; whether all of them have ended within so many seconds."""
        until = time.monotonic() + patience
        self._stopping.set()
        try:
            for thread in self._left:
                thread.join(max(0.0, until - time.monotonic()))
        finally:
            self._stopping.clear()
        self._left = [thread for thread in self._left if thread.is_alive()]
        return not self._left

    def both(self, one: Callable[[], Item], other: Callable[[], Result]) -> tuple[Item, Result]:
        """Two questions at once. The first one's error is raised before the second one's."""
        answers: list[Result] = []
        errors: list[BaseException] = []

        def ask() -> None:
            try:
                answers.append(other())
            except BaseException as error:  # noqa: BLE001 - carried to the caller's thread
                errors.append(error)

        thread = _thread(ask)
        thread.start()
        try:
            first = one()
        except Exception:
            thread.join()
            raise
        thread.join()
        if errors:
            raise errors[0]
        return first, answers[0]

    def in_order(self, read: Callable[[Item], Result], items: Iterable[Item], ahead: int = WINDOW) -> Iterator[Result]:
        """``map(read, items)``, so many ahead, results in order: the bytes of one large object."""
        window: deque[Future[Result]] = deque()
        ahead = max(1, min(self.jobs, ahead))
        with self._pool(ahead) as pool:
            try:
                for item in items:
                    window.append(_submit(pool, read, item))
                    if len(window) >= ahead:
                        yield window.popleft().result()
                while window:
                    yield window.popleft().result()
            finally:
                for future in window:
                    future.cancel()

    @contextmanager
    def behind(self, work: Callable[[Item], None]) -> Iterator[Callable[[Item], None]]:
        """A function that has ``work`` done in order by one thread behind this one, two items behind at most.

        All of it is done when the block is left; what ``work`` raises is raised by then.
        """
        pending: deque[Future[None]] = deque()
        with self._pool(1) as pool:

            def give(item: Item) -> None:
                pending.append(_submit(pool, work, item))
                if len(pending) > 2:
                    pending.popleft().result()

            yield give
            for future in pending:
                future.result()

    @contextmanager
    def beside(self, work: Callable[[Item], None], at_once: int) -> Iterator[Callable[[Item], None]]:
        """A function that has ``work`` done by other threads, so many at a time, in no certain order.

        It waits while as many are under way. All is done when the block is left; what ``work`` raises is raised by then.
        """
        pending: deque[Future[None]] = deque()
        with self._pool(min(at_once, self.bound(at_once))) as pool:

            def give(item: Item) -> None:
                if len(pending) >= at_once:
                    pending.popleft().result()
                pending.append(_submit(pool, work, item))

            yield give
            for future in pending:
                future.result()

    @contextmanager
    def ahead(self, items: Iterable[Item]) -> Iterator[Iterator[Item]]:
        """The items, made by one thread ahead of this one, two of them at most.

        What making them raises is raised here; where the block is left early, the rest is never made.
        """
        source = iter(items)
        pending: deque[Future[Item]] = deque()
        with self._pool(1) as pool:

            def drawn() -> Iterator[Item]:
                pending.extend(_submit(pool, next, source) for _ in range(2))
                while True:
                    try:
                        item = pending.popleft().result()
                    except StopIteration:
                        return
                    pending.append(_submit(pool, next, source))
                    yield item

            try:
                yield drawn()
            finally:
                for future in pending:
                    future.cancel()

    @contextmanager
    def _pool(self, threads: int) -> Iterator[ThreadPoolExecutor]:
        """Threads that have ended when the block is left, but for Ctrl-C, which waits for nobody."""
        from concurrent.futures import ThreadPoolExecutor  # here, for it takes long to load

        pool = ThreadPoolExecutor(threads)
        try:
            yield pool
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            self._left.append(_thread(pool.shutdown))
            self._left[-1].start()
            raise
        except BaseException:
            pool.shutdown()
            raise
        pool.shutdown()

    def moved(self, count: int) -> None:
        """Bytes went through: wait where the rate asks for it, and tell."""
        self.spend(count)
        self.progress.advance(count)

    def spend(self, count: int) -> None:
        """Bytes go over the wire: wait where the rate asks for it. Once :meth:`stop` was called they do not."""
        if self._rate is not None:
            self._rate.spend(count)
        if self._stopping.is_set():
            raise KeyboardInterrupt


def _thread(work: Callable[[], None]) -> threading.Thread:
    """A thread whose work is of this one: it knows for which push it is (``remote.Pushes``)."""
    return threading.Thread(target=copy_context().run, args=(work,), daemon=True)


def _submit(pool: ThreadPoolExecutor, work: Callable[[Item], Result], item: Item) -> Future[Result]:
    """As :func:`_thread`, of a pool."""
    return pool.submit(copy_context().run, work, item)


class _Failed:
    """What ``work`` raised, on its way to the caller's thread."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


class _Rate:
    """A token bucket over all threads, in bytes a second; nobody waits any more once ``stopping`` is set."""

    def __init__(self, rate: int, stopping: threading.Event) -> None:
        self._rate = rate
        self._stopping = stopping
        self._free_at = time.monotonic()
        self._lock = threading.Lock()

    def spend(self, count: int) -> None:
        """Wait until these bytes fit the rate."""
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now) + count / self._rate
            wait = self._free_at - now
        if wait > 0:
            self._stopping.wait(wait)
