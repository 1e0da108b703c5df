"""A TCP forwarder that a test can cut or silence: a store that is unreachable, or that does not answer."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Forwarder:
    """Hands on what comes to ``port``, until it is ``silent``: then it takes everything and answers nothing."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.silent = False
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Refuse everybody from now on."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.silent = True

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(self._target)
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
