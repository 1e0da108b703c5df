"""The threads of a worker: one of them waits for the kernel's next request and answers it, until it must wait for something else.

A thread that is to read bytes first wakes another one to wait in its place; one that is held up by anything else is replaced after a
moment. So a slow read holds up neither lookups nor other reads, and requests that are answered from memory, one after the
other, never change threads, which would cost more than they do. Reads beyond a bound wait in a queue. What takes longer than
the deadline is answered with EIO in its place, whatever holds it up, but for reads of a file that bytes still come of; where that has used up the threads that read, the server says so. Replies are written as header and bytes, without a copy.

The kernel is told nothing twice: a reply to what was answered already is refused by it, which is not an error here.

Example::

    server = Server(device, Operations(view, owner), deadline=30.0)
    server.start()
    server.ended.wait()
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from holdfast.mount import wire
from holdfast.mount.operations import Request
from holdfast.mount.wire import Opcode

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.mount.operations import Operations, Reply
    from holdfast.mount.unanswered import Unanswered

__all__ = ["REQUEST", "Counts", "Server"]

#: Bytes of a buffer for a request; the kernel wants 8,192 at least.
REQUEST: Final = 16384

#: Threads that may be reading, and all there may be.
_READERS: Final = 72
_THREADS: Final = 96
#: Seconds after which a thread that does not come back to the device is replaced, and of these how many pass between two looks
#: at what is late.
_TICK: Final = 0.05
_TICKS: Final = 5
_SIGKILL_BIT: Final = 1 << 8


class Counts(NamedTuple):
    """What a server has done so far: requests, reads, bytes given, and requests that were late."""

    requests: int
    reads: int
    bytes_read: int
    late: int


class Server:
    """Answers the requests of one connection; ``report`` gets a sentence for whatever is worth an event."""

    def __init__(
        self,
        device: int,
        operations: Operations,
        *,
        deadline: float,
        report: Callable[[str], None] = lambda _: None,
        unanswered: Unanswered | None = None,
    ) -> None:
        self._device = device
        self._operations = operations
        self._deadline = deadline
        self._report = report
        self._lock = threading.Lock()
        # Which thread waits for requests, and the request that keeps it from that (0: none).
        self._leader = 0
        self._busy = 0
        self._threads = 0
        self._parked: list[tuple[int, threading.Lock]] = []
        self._reading = 0
        self._queue: deque[Request] = deque()
        # The requests under way: when each came, and which thread of another process waits for it.
        self._under_way: dict[int, tuple[float, int]] = {} if unanswered is None else unanswered
        self._left = [] if unanswered is None else unanswered.left
        self._nodes: dict[int, int] = {}  # of the reads among them
        self._interrupted: set[int] = set()
        # Requests that were answered in their threads' place, and hold them still: when each came.
        self._abandoned: dict[int, float] = {}
        self._requests = self._reads = self._bytes = self._late = 0
        #: Set once the file system is unmounted or aborted.
        self.ended = threading.Event()

    def start(self) -> None:
        """Begin to answer; first, with EIO, what a predecessor left and the kernel does not send again."""
        for unique in self._left:
            with suppress(OSError):
                os.writev(self._device, (wire.error_reply(unique, errno.EIO),))
        with self._lock:
            if not self._lead_by_another():
                raise RuntimeError("no thread can be started")  # which ends the worker
        threading.Thread(target=self._watch, name="holdfast-watch", daemon=True).start()

    @property
    def is_exhausted(self) -> bool:
        """Whether as many reads as may be under way are past their deadline, and their threads have not come back."""
        over = time.monotonic() - self._deadline
        return sum(since < over for since in self._abandoned.copy().values()) >= _READERS

    def counts(self) -> Counts:
        """What was done so far."""
        return Counts(self._requests, self._reads, self._bytes, self._late)

    def _lead_by_another(self) -> bool:
        """Let another thread wait for requests; the lock is held. False: there are as many as there may be, or the machine has no more."""
        if self._parked:
            self._leader, wake = self._parked.pop()
            wake.release()
            return True
        if self._threads >= _THREADS:
            return False
        before, self._leader = self._leader, self._threads + 1
        try:
            threading.Thread(target=self._run, args=(self._leader,), name="holdfast-mount", daemon=True).start()
        except RuntimeError:
            self._leader = before  # else nobody would ever wait for requests again
            return False
        self._threads += 1
        return True

    def _run(self, me: int) -> None:
        """Wait for requests when it is this thread's turn."""
        buffer = bytearray(REQUEST)
        wake = threading.Lock()
        wake.acquire()
        while not self.ended.is_set():
            self._lead(me, buffer)
            with self._lock:
                self._parked.append((me, wake))
            wake.acquire()

    def _lead(self, me: int, buffer: bytearray) -> None:
        """Answer requests until another thread waits for them."""
        device, parts, under_way = self._device, (buffer,), self._under_way
        readv, header, now = os.readv, wire.read_header, time.monotonic
        while self._leader == me:
            try:
                length = readv(device, parts)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.EINTR, errno.EAGAIN):  # a request that was taken back
                    continue
                self.ended.set()  # ENODEV: unmounted
                return
            _, opcode, unique, node, _, _, asker = header(buffer)
            self._requests += 1
            if opcode == Opcode.INTERRUPT:
                self._interrupt(unique, wire.read_interrupt(buffer))
                continue
            under_way[unique] = now(), asker
            if opcode == Opcode.READ:
                self._take_read(Request(opcode, unique, node, bytes(buffer[:length]), length))
            else:
                self._busy = unique
                self._answer(Request(opcode, unique, node, buffer, length))
                self._busy = 0

    def _take_read(self, read: Request) -> None:
        """Answer a read, and those that wait for a thread, while another thread leads; or let it wait and go on leading."""
        self._nodes[read.unique] = read.node
        with self._lock:
            leads = self._reading >= _READERS or not self._lead_by_another()
            if leads and self._reading:
                self._queue.append(read)
                return
            self._reading += not leads
        if leads:  # for there is no other thread
            self._busy = read.unique
            self._answer(read)
            self._busy = 0
            return
        waiting: Request | None = read
        while waiting is not None:
            if waiting.unique in self._under_way:  # else it was late while it waited
                self._answer(waiting)
            else:
                self._abandoned.pop(waiting.unique, None)
                self._nodes.pop(waiting.unique, None)
            with self._lock:
                waiting = self._queue.popleft() if self._queue else None
                if waiting is None:
                    self._reading -= 1

    def _answer(self, request: Request) -> None:
        try:
            reply = self._operations.answer(request)
        except OSError as error:
            reply = _refusal(request.unique, error.errno)
        except Exception as error:  # noqa: BLE001 - whatever a view does, the kernel gets its answer
            self._report(f"request {request.opcode} on node {request.node}: {type(error).__name__}: {error}")
            reply = _refusal(request.unique, None)
        self._send(request.unique, request.opcode, reply)

    def _send(self, unique: int, opcode: int, reply: Reply) -> None:
        if self._under_way.pop(unique, None) is None:
            self._abandoned.pop(unique, None)
        self._nodes.pop(unique, None)
        if reply is None:
            return
        try:
            sent = os.writev(self._device, reply)
        except OSError as error:
            if error.errno == errno.ENODEV:
                self.ended.set()
            elif error.errno != errno.ENOENT:  # ENOENT: answered already, or nobody waits
                self._report(f"the kernel refused the reply to request {opcode}: {error.strerror}")
                with suppress(OSError):
                    os.writev(self._device, (wire.error_reply(unique, errno.EIO),))
            return
        if opcode == Opcode.READ:
            self._reads += 1
            self._bytes += sent - 16

    def _watch(self) -> None:
        """Replace a leader that does not come back; answer in its place what is late."""
        seen = ticks = 0
        while not self.ended.wait(_TICK):
            if seen and seen == self._busy:
                with self._lock:  # should it come back just now, two lead until one has an answer
                    self._lead_by_another()
            seen = self._busy
            ticks += 1
            if self._under_way and ticks % _TICKS == 0:
                self._answer_late()

    def _answer_late(self) -> None:
        """Answer what is past its deadline, and what a thread waits for that is being killed."""
        over = time.monotonic() - self._deadline
        for unique, (since, _) in self._under_way.copy().items():
            if since < over and self._moved(unique) < over and self._answer_in_place(unique, since, errno.EIO):
                self._late += 1
        for unique in self._interrupted.copy():
            since, asker = self._under_way.get(unique, (0.0, 0))
            if asker and not _is_killed(asker):
                continue
            self._answer_in_place(unique, since, errno.EINTR)
            self._interrupted.discard(unique)

    def _moved(self, unique: int) -> float:
        """When something last came of what this request waits for; 0 where that is not known."""
        node = self._nodes.get(unique)
        return 0.0 if node is None else self._operations.moved(node)

    def _answer_in_place(self, unique: int, since: float, error: int) -> bool:
        """Answer a request that is under way since then; False: it was answered meanwhile."""
        self._abandoned[unique] = since  # first: its thread may come back at any moment
        if self._under_way.pop(unique, None) is None:
            self._abandoned.pop(unique, None)
            return False
        with suppress(OSError):
            os.writev(self._device, (wire.error_reply(unique, error),))
        return True

    def _interrupt(self, own: int, unique: int) -> None:
        """Remember that a signal came; whoever is killed by it waits no longer, others wait as they do for a disk."""
        if unique in self._under_way:
            self._interrupted.add(unique)
            return
        with suppress(OSError):  # EAGAIN: not seen yet, say it again; or it was answered, as the kernel knows
            os.writev(self._device, (wire.error_reply(own, errno.EAGAIN),))


def _refusal(unique: int, error: int | None) -> Reply:
    return (wire.error_reply(unique, error if error and 0 < error < 512 else errno.EIO),)


def _is_killed(thread: int) -> bool:
    """Whether SIGKILL waits for this thread, as it does once any fatal signal has come."""
    with suppress(OSError, ValueError), open(f"/proc/{thread}/status", "rb") as status:
        for line in status:
            if line.startswith((b"SigPnd:", b"ShdPnd:")) and int(line.split()[1], 16) & _SIGKILL_BIT:
                return True
    return False
