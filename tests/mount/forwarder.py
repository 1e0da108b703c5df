"""A TCP forwarder that a test can cut or silence: a store that is unreachable, or that does not answer."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Forwarder:
    """Hands on what comes to ``port``, until it is ``silent``: then it takes everything and answers nothing. ``taken`` counts connections."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self.port = 0
        self.taken = 0
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self.open()

    def open(self) -> None:
        """Hand on, at the same port as before."""
        self._listening = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listening.getsockname()[1]
        self.silent = False
        threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def close(self) -> None:
        """Refuse everybody from now on."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.silent = True

    def cut(self) -> None:
        """Refuse everybody from now on, those who are connected as well."""
        self.close()
        for each in (each for pair in self._pairs for each in pair):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._pairs.clear()

    def _accept(self, listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listening.accept()
                self.taken += 1
                server = socket.create_connection(self._target)
                self._pairs.append((client, server))
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError), source, target:
            while data := source.recv(65536):
                if not self.silent:
                    target.sendall(data)


@contextmanager
def forwarded(address: str) -> Iterator[Forwarder]:
    """A forwarder to the server at ``http://host:port``."""
    host, _, port = address.removeprefix("http://").partition(":")
    forwarder = Forwarder(host, int(port))
    try:
        yield forwarder
    finally:
        forwarder.close()
