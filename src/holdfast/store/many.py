"""Many small requests to one server, side by side on kept-alive connections, from one thread.

A thread for each would spend most of its time waiting for Python's lock: this costs a third of the processor time. Owns the loop;
what an answer looks like is :mod:`~holdfast.store.wire`'s. There are no retries here: what failed is handed back as such.
"""

from __future__ import annotations

import resource
import selectors
import socket
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from holdfast.store.wire import LONGEST_HEAD, Answer, WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from _typeshed import ReadableBuffer

__all__ = ["Done", "Request", "drive"]

#: Bytes taken at first: a head, and most small objects with it.
_FIRST: Final = 64 * 1024
#: After so many failures in one run there is something that the full client should look at.
_PATIENCE: Final = 100
#: Lines at first, answers for each of them before the rate is judged, and the gain for which more lines are opened.
_BEGIN, _SAMPLE, _WORTH = 64, 6, 1.25
_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Request(NamedTuple):
    """A request laid out, and what the caller knows it by."""

    name: Any
    head: bytes
    body: ReadableBuffer = b""


class Done(NamedTuple):
    """A request with its answer and body; no answer where it failed, though it may have been carried out."""

    request: Request
    answer: Answer | None = None
    body: ReadableBuffer = b""


def drive(
    address: tuple[str, int], requests: Iterable[Request], at_once: int, *, connect: float, silence: float
) -> Iterator[Done]:
    """Every request with its answer, in the order of answers, over so many connections.

    The next request is on its way before an answer is given out, so that the server works while the caller does. Requests are
    drawn when there is a connection for them. Seconds that the caller takes for himself are no silence of the server's.
    """
    todo, failures = iter(requests), 0
    try:
        place = _reachable(address, connect)
    except OSError:
        yield from map(Done, todo)
        return
    with closing(_Loop(place, silence)) as loop:
        growth = _Growth(_affordable(at_once))
        for _, request in zip(range(growth.lines), todo, strict=False):  # in this order none is drawn that nobody sends
            loop.begin(_Line(), request)
        while loop.busy:
            for line in loop.finished():
                done = line.done()
                failures += done.answer is None
                if not failures:
                    for _, request in zip(range(growth.more()), todo, strict=False):
                        loop.begin(_Line(), request)
                if failures <= _PATIENCE and (following := next(todo, None)) is not None:
                    loop.begin(line, following)
                else:
                    loop.drop(line)
                yield done
        yield from map(Done, todo)


class _Growth:
    """How many lines: some, and twice as many as long as that makes answers come faster: more only get into each other's way."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self.lines = min(_BEGIN, most)
        self._answers, self._since, self._rate = 0, clock(), 0.0

    def more(self) -> int:
        """Count an answer; how many further lines to open now."""
        self._answers += 1
        if self.lines == self._most or self._answers < _SAMPLE * self.lines:
            return 0
        now = self._clock()
        rate, before = self._answers / max(now - self._since, 1e-6), self._rate
        self._answers, self._since, self._rate = 0, now, rate
        if rate < _WORTH * before:
            self._most = self.lines
            return 0
        added = min(self.lines, self._most - self.lines)
        self.lines += added
        return added


def _affordable(lines: int) -> int:
    """So many lines, or as many as leave others the descriptors that they need meanwhile."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return lines if limit == resource.RLIM_INFINITY else min(lines, max(1, limit // 4))


def _reachable(address: tuple[str, int], connect: float) -> tuple[socket.AddressFamily, Any]:
    """Which of the host's addresses answers: the loop connects without waiting, and so without trying one after another."""
    with socket.create_connection(address, connect) as found:
        return found.family, found.getpeername()


class _Line:
    """One connection and the request on it."""

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        self.since = 0.0
        self._request: Request | None = None
        self._out: list[memoryview] = []
        self._head = b""
        self._answer: Answer | None = None
        self._body: ReadableBuffer = b""
        self._left: memoryview | None = None

    def begin(self, request: Request, now: float) -> None:
        self._request, self.since = request, now
        self._out = [memoryview(request.head)]
        if memoryview(request.body).nbytes:
            self._out.append(memoryview(request.body).cast("B"))
        self._head, self._answer, self._body, self._left = b"", None, b"", None

    def send(self) -> bool:
        """Send what the connection takes; whether all is sent."""
        assert self.socket is not None  # noqa: S101 - only lines that are open are asked
        while self._out:
            try:
                sent = self.socket.send(self._out[0]) if len(self._out) == 1 else self.socket.sendmsg(self._out)
            except BlockingIOError:
                return False
            while self._out and sent >= len(self._out[0]):
                sent -= len(self._out.pop(0))
            if sent:
                self._out[0] = self._out[0][sent:]
        return True

    def receive(self, scratch: memoryview) -> bool:
        """Take what is there; whether the answer is whole."""
        assert self.socket is not None  # noqa: S101 - as above
        try:
            count = self.socket.recv_into(scratch if self._left is None else self._left)
        except BlockingIOError:
            return False
        if not count:
            raise WireError("the answer broke off")
        if self._left is None:
            self._head += scratch[:count]
            return self._take_head()
        self._left = self._left[count:]
        return not self._left

    def _take_head(self) -> bool:
        end = self._head.find(b"\r\n\r\n")
        if end < 0:
            if len(self._head) > LONGEST_HEAD:
                raise WireError("no end of the head")
            return False
        answer, rest = Answer(self._head[: end + 2]), memoryview(self._head)[end + 4 :]
        if len(rest) > answer.length or self._out:
            raise WireError("more than was announced, or before all was asked")
        self._answer = answer
        if len(rest) == answer.length:
            self._body = rest
            return True
        body = bytearray(answer.length)
        body[: len(rest)] = rest
        self._body, self._left = body, memoryview(body)[len(rest) :]
        return False

    def done(self) -> Done:
        """The request and what became of it."""
        assert self._request is not None  # noqa: S101 - only lines with a request are asked
        return Done(self._request, self._answer, self._body)

    def fail(self) -> None:
        """Forget what came, and hang up."""
        self._answer, self._body = None, b""
        self.close()

    @property
    def stays(self) -> bool:
        return self._answer is not None and self._answer.stays

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
            self.socket = None


class _Loop:
    """The lines and what they wait for."""

    def __init__(self, place: tuple[socket.AddressFamily, Any], silence: float) -> None:
        self._family, self._address = place
        self._silence = silence
        self._selector = selectors.DefaultSelector()
        self._scratch = memoryview(bytearray(_FIRST))
        self._failed: list[_Line] = []
        self._now = 0.0  # seconds waited in all
        self._look = silence
        self.busy: set[_Line] = set()

    def begin(self, line: _Line, request: Request) -> None:
        """Send a request on a line, which is opened where it is not; a failure is found by :meth:`finished`."""
        line.begin(request, self._now)
        self.busy.add(line)
        try:
            if line.socket is None:
                self._open(line)
            elif not line.send():
                self._selector.modify(line.socket, _READ | _WRITE, line)
        except OSError:
            self._fail(line)

    def _open(self, line: _Line) -> None:
        line.socket = socket.socket(self._family, socket.SOCK_STREAM)
        line.socket.setblocking(False)
        line.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line.socket.connect_ex(self._address)  # what is wrong shows when it is written to
        self._selector.register(line.socket, _READ | _WRITE, line)

    def finished(self) -> list[_Line]:
        """Wait for lines whose request has come to an end, well or not; perhaps none."""
        ready: list[_Line] = []
        if not self._failed:
            begun = time.monotonic()
            events = self._selector.select(self._silence)
            self._now += time.monotonic() - begun
            for key, mask in events:
                self._turn(key.data, mask, ready)
            self._look_for_silence()
        ready += self._failed
        self._failed = []
        self.busy.difference_update(ready)
        return ready

    def _turn(self, line: _Line, mask: int, ready: list[_Line]) -> None:
        line.since = self._now
        try:
            if mask & _WRITE and line.send():
                self._selector.modify(line.socket, _READ, line)  # type: ignore[arg-type]
            if mask & _READ and line.receive(self._scratch):
                if not line.stays:
                    self._hang_up(line)
                ready.append(line)
        except (OSError, WireError):
            self._fail(line)

    def _look_for_silence(self) -> None:
        if self._now >= self._look:
            self._look = self._now + 1
            for line in [line for line in self.busy if self._now - line.since >= self._silence]:
                self._fail(line)

    def _fail(self, line: _Line) -> None:
        self._hang_up(line)
        line.fail()
        if line not in self._failed:
            self._failed.append(line)

    def _hang_up(self, line: _Line) -> None:
        if line.socket is not None:
            with suppress(KeyError, ValueError):
                self._selector.unregister(line.socket)
            line.close()

    def drop(self, line: _Line) -> None:
        """A line that is needed no more."""
        self._hang_up(line)

    def close(self) -> None:
        """Hang up on all."""
        for key in list(self._selector.get_map().values()):
            self._hang_up(key.data)
        self._selector.close()
