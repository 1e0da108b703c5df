"""HTTP/1.1 in the small: just what answers of an object store to GET and PUT need, at the cost of a few system calls.

Owns connections and the reading of answers. It has no retries, no redirects and no chunked bodies: whatever is not a plain
success of known length is a :class:`WireError`, upon which the caller asks again by the full client, which knows why.

:class:`Connection` waits, and puts one large body where it is wanted, :class:`Kept` keeps such connections;
:mod:`~holdfast.store.many` serves many small requests.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
import struct
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

__all__ = ["LONGEST_HEAD", "Answer", "Connection", "HungUpError", "Kept", "WireError", "seconds_of"]

#: Bytes of an answer's head, at most.
LONGEST_HEAD: Final = 64 * 1024
#: Idle connections kept for the next range.
_KEPT: Final = 16


#: The one form of a date that HTTP's servers send (RFC 9110 §5.6.7).
_DATE: Final = re.compile(rb"[A-Z][a-z]{2}, (\d\d) ([A-Z][a-z]{2}) (\d{4}) (\d\d):(\d\d):(\d\d) GMT")
_MONTHS: Final = b"JanFebMarAprMayJunJulAugSepOctNovDec"
#: Bytes that go through a pipe at a time.
_PIPE: Final = 1024 * 1024
#: Whether the kernel can bring bytes from a connection into a file.
_FILLS: Final = hasattr(os, "splice")


class WireError(Exception):
    """No plain success; never leaves the store."""


class HungUpError(WireError):
    """The server closed the connection before any of its answer, as it may with one that was idle."""


class Answer:
    """The head of a success: its status, the length of its body, and the headers that were asked for."""

    __slots__ = ("_fields", "length", "status", "stays")

    def __init__(self, head: bytes) -> None:
        fields: dict[bytes, bytes] = {}
        for line in reversed(head.split(b"\r\n")):  # the first of a name is the one that counts
            name, _, value = line.partition(b":")
            fields[name.lower()] = value.strip()
        self._fields = fields
        self.status = int(head[9:12]) if head.startswith(b"HTTP/1.1 ") and head[9:12].isdigit() else 0
        length = self.header(b"content-length")
        # Without a length (chunked, or up to the end) the full client may know how to read it.
        if self.status not in (200, 206) or not length.isdigit():
            raise WireError(f"status {self.status}")
        self.length = int(length)
        self.stays = self.header(b"connection").lower() != b"close"

    def header(self, name: bytes) -> bytes:
        """The value of a header, named in lower case; empty where it is not there."""
        return self._fields.get(name, b"")


class Connection:
    """One kept-alive connection whose calls wait, for large bodies. Not for two threads at a time."""

    def __init__(
        self, address: tuple[str, int], connect: float, silence: float, tls: ssl.SSLContext | None = None
    ) -> None:
        try:
            self._socket = socket.create_connection(address, connect)
            if tls is not None:
                self._socket = tls.wrap_socket(self._socket, server_hostname=address[0])
            self._socket.settimeout(None)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # The kernel's timeouts, for a socket with one of Python's cannot wait for all of a large body in one call.
            span = struct.pack("ll", int(silence), int(silence % 1 * 1e6))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, span)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, span)
        except OSError as error:
            raise WireError(str(error)) from error
        self.stays = True
        self._flags = socket.MSG_WAITALL if tls is None else 0  # what is decrypted comes in records
        self._pipe: tuple[int, int] | None = None

    def receive(self, head: bytes, view: memoryview) -> Answer:
        """Send a request without a body; the answer's body, which must fill the view or be shorter, goes straight into it.

        Raises:
            WireError: anything else; the connection is of no use any more.
        """
        self.stays = False
        try:
            self._send(head)
            answer, rest = self._head()
            if answer.length > len(view):
                raise WireError("more than was asked for")
            view[: len(rest)] = rest
            got = len(rest)
            while got < answer.length:
                count = self._socket.recv_into(view[got : answer.length], 0, self._flags)
                if not count:
                    raise WireError("the answer broke off")
                got += count
        except OSError as error:
            raise WireError(str(error)) from error
        self.stays = answer.stays
        return answer

    def fill(self, head: bytes, descriptor: int, offset: int, length: int) -> Answer:
        """As :meth:`receive`, but the body, of ``length`` bytes at most, goes into a file without passing through this process.

        Raises:
            WireError: as there; what stands in the file is undefined.
            OSError: the file refuses.
        """
        self.stays = False
        try:
            self._send(head)
            answer, rest = self._head()
        except OSError as error:
            raise WireError(str(error)) from error
        if answer.length > length:
            raise WireError("more than was asked for")
        end = offset + answer.length
        while rest:
            count = os.pwrite(descriptor, rest, offset)
            rest, offset = rest[count:], offset + count
        while offset < end:
            offset = self._splice(descriptor, offset, min(end - offset, _PIPE))
        self.stays = answer.stays
        return answer

    def _splice(self, descriptor: int, offset: int, most: int) -> int:
        """Move what is there from the connection into the file; where the next bytes go."""
        if self._pipe is None:
            self._pipe = os.pipe()
            with suppress(OSError):  # an ordinary user may have too many large ones
                fcntl.fcntl(self._pipe[1], fcntl.F_SETPIPE_SZ, _PIPE)
        try:
            count = os.splice(self._socket.fileno(), self._pipe[1], most)
        except OSError as error:
            raise WireError(str(error)) from error
        if not count:
            raise WireError("the answer broke off")
        end = offset + count
        while offset < end:
            offset += os.splice(self._pipe[0], descriptor, end - offset, offset_dst=offset)
        return end

    def _send(self, head: bytes) -> None:
        try:
            self._socket.sendall(head)
        except ConnectionError as error:
            raise HungUpError(str(error)) from error

    def _head(self) -> tuple[Answer, bytes]:
        text = b""
        while (end := text.find(b"\r\n\r\n")) < 0:
            try:
                piece = self._socket.recv(4096)
            except ConnectionResetError:
                piece = b""
            if not piece and not text:
                raise HungUpError("no answer")
            if not piece or len(text) > LONGEST_HEAD:
                raise WireError("half an answer")
            text += piece
        answer = Answer(text[: end + 2])
        rest = text[end + 4 :]
        if len(rest) > answer.length:
            raise WireError("more than was announced")
        return answer, rest

    def close(self) -> None:
        """Hang up."""
        self._socket.close()
        for descriptor in self._pipe or ():
            os.close(descriptor)
        self._pipe = None

    def __del__(self) -> None:
        if hasattr(self, "_pipe"):
            self.close()


class Kept:
    """Connections to one address, kept for the next range. Safe to use from several threads."""

    def __init__(
        self, address: tuple[str, int], connect: float, silence: float, tls: ssl.SSLContext | None = None
    ) -> None:
        self._address = address
        self._connect = connect
        self._silence = silence
        self._tls = tls
        self._idle: deque[Connection] = deque()

    def receive(self, head: bytes, view: memoryview) -> Answer:
        """As :meth:`Connection.receive`.

        Raises:
            WireError: no plain success; what is in the view is undefined.
        """
        return self._ask(lambda connection: connection.receive(head, view))

    def fill(self, head: bytes, descriptor: int, offset: int, length: int) -> Answer:
        """As :meth:`Connection.fill`; not where bytes come encrypted.

        Raises:
            WireError: no plain success; what is in the file is undefined.
            OSError: the file refuses.
        """
        if self._tls is not None or not _FILLS:
            raise WireError("the kernel alone cannot")
        return self._ask(lambda connection: connection.fill(head, descriptor, offset, length))

    def _ask(self, ask: Callable[[Connection], Answer]) -> Answer:
        """Over a connection that is there, else a new one; one that was idle may have been given up by the server."""
        while True:
            try:
                connection, kept = self._idle.pop(), True
            except IndexError:
                connection, kept = Connection(self._address, self._connect, self._silence, self._tls), False
            try:
                answer = ask(connection)
            except HungUpError:
                connection.close()
                if not kept:
                    raise
                continue
            except BaseException:
                connection.close()
                raise
            if connection.stays and len(self._idle) < _KEPT:
                self._idle.append(connection)
            else:
                connection.close()
            return answer


@lru_cache(64)
def seconds_of(date: bytes) -> float:
    """The seconds since the epoch of a Last-Modified header; objects written together share it."""
    found = _DATE.fullmatch(date)
    month = _MONTHS.find(found[2]) if found is not None else -1
    if found is None or month % 3:
        raise WireError("a date that is none")
    day, year, hour, minute, second = (int(found[number]) for number in (1, 3, 4, 5, 6))
    try:
        return datetime(year, month // 3 + 1, day, hour, minute, second, tzinfo=UTC).timestamp()
    except ValueError as error:
        raise WireError("a date that is none") from error
