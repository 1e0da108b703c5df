"""One address before several servers: each new connection goes to the next of them."""

from __future__ import annotations

import itertools
import select
import socket
import socketserver
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@contextmanager
def balanced(urls: Sequence[str]) -> Iterator[str]:
    """The address; connections stay with the server that they began with."""
    turn = itertools.cycle([(parts.hostname, parts.port) for parts in map(urlsplit, urls)])
    lock = threading.Lock()

    class Connection(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with lock:
                address = next(turn)
            with socket.create_connection(address) as server:
                _pass_on(self.request, server)

    class Balancer(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 128

    with Balancer(("127.0.0.1", 0), Connection) as balancer:
        threading.Thread(target=balancer.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{balancer.server_address[1]}"
        finally:
            balancer.shutdown()


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    while True:
        for ready in select.select((one, other), (), ())[0]:
            data = ready.recv(1 << 18)
            if not data:
                return
            (other if ready is one else one).sendall(data)
