"""HTTP/1.1 in the small: just what answers of an object store to GET and PUT need, at the cost of a few system calls.

Owns connections and the reading of answers. It has no retries, no redirects, no TLS and no chunked bodies: whatever is not a
plain success of known length is a :class:`WireError`, upon which the caller asks again by the full client, which knows why.

:class:`Connection` waits, and puts one large body where it is wanted; :mod:`~holdfast.store.many` serves many small requests.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from contextlib import suppress
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final

__all__ = ["FILLS", "LONGEST_HEAD", "Answer", "Connection", "HungUpError", "WireError", "seconds_of"]

#: Bytes of an answer's head, at most.
LONGEST_HEAD: Final = 64 * 1024


#: Bytes that go through a pipe at a time.
_PIPE: Final = 1024 * 1024
#: Whether the kernel can bring bytes from a connection into a file.
FILLS: Final = hasattr(os, "splice")


class WireError(Exception):
    """No plain success; never leaves the store."""


class HungUpError(WireError):
    """The server closed the connection before any of its answer, as it may with one that was idle."""


class Answer:
    """The head of a success: its status, the length of its body, and the headers that were asked for."""

    __slots__ = ("_head", "_lower", "length", "status", "stays")

    def __init__(self, head: bytes) -> None:
        self._head, self._lower = head, head.lower()
        self.status = int(head[9:12]) if head.startswith(b"HTTP/1.1 ") and head[9:12].isdigit() else 0
        length = self.header(b"content-length")
        # Without a length (chunked, or up to the end) the full client may know how to read it.
        if self.status not in (200, 206) or not length.isdigit():
            raise WireError(f"status {self.status}")
        self.length = int(length)
        self.stays = self.header(b"connection").lower() != b"close"

    def header(self, name: bytes) -> bytes:
        """The value of a header, named in lower case; empty where it is not there."""
        start = self._lower.find(b"\r\n" + name + b":")
        if start < 0:
            return b""
        start += len(name) + 3
        return self._head[start : self._head.find(b"\r\n", start)].strip()


class Connection:
    """One kept-alive connection whose calls wait, for large bodies. Not for two threads at a time."""

    def __init__(self, address: tuple[str, int], connect: float, silence: float) -> None:
        try:
            self._socket = socket.create_connection(address, connect)
            self._socket.settimeout(None)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # The kernel's timeouts, for a socket with one of Python's cannot wait for all of a large body in one call.
            span = struct.pack("ll", int(silence), int(silence % 1 * 1e6))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, span)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, span)
        except OSError as error:
            raise WireError(str(error)) from error
        self.stays = True
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
                count = self._socket.recv_into(view[got : answer.length], 0, socket.MSG_WAITALL)
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


@lru_cache(64)
def seconds_of(date: bytes) -> float:
    """The seconds since the epoch of a Last-Modified header; objects written together share it."""
    try:
        return parsedate_to_datetime(date.decode("latin-1")).timestamp()
    except ValueError as error:
        raise WireError("a date that is none") from error
