"""Starting a server: what must be so before it listens, the socket, and a graceful end.

One process, one worker: its requests run in this process's event loop, so that ending the process ends the server. More
replicas are more processes on one PostgreSQL database.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

from holdfast.errors import LocalError, UsageError
from holdfast.server.app import make_app
from holdfast.server.migrate import open_database
from holdfast.server.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from holdfast.server.settings import ServerSettings

__all__ = ["Listen", "prepare", "serve"]

_log: Final = logging.getLogger("holdfast.server")
_BACKLOG: Final = 1024


@dataclass(frozen=True, slots=True)
class Listen:
    """Where a server listens, and with which certificate; port 0 is any that is free."""

    host: str = "127.0.0.1"
    port: int = 8000
    certificate: Path | None = None
    key: Path | None = None

    def check(self, settings: ServerSettings) -> None:
        """Refuse to be reached from other machines in the clear.

        Raises:
            UsageError: another host than loopback, and neither TLS nor a proxy that has it; a certificate, or its key, that is none.
        """
        if (self.certificate is None) != (self.key is None):
            raise UsageError("a certificate needs its key", subject="tls", hint="--tls-cert FILE --tls-key FILE")
        if self.certificate is None and not settings.behind_proxy and not _is_loopback(self.host):
            hint = "--tls-cert FILE --tls-key FILE, or --behind-proxy CIDR of the proxy that has the certificate"
            raise UsageError(f"{self.host} is not loopback, and there is no TLS", subject="host", hint=hint)
        if self.certificate is not None and self.key is not None:
            _check_pair(self.certificate, self.key)

    def url(self, port: int) -> str:
        """The address as a client types it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.certificate else 'http'}://{host}:{port}"


def prepare(settings: ServerSettings, *, make: bool = True) -> Service:
    """The parts of a server, over a database that is at this release's state; a new SQLite database and a secret are made unless told.

    Raises:
        ConflictError: the database is older or newer.
        UsageError, LocalError: there is no database, or no secret, and ``make`` is not set.
    """
    open_database(settings, make=make).close()
    return Service(settings, make=make)


def serve(service: Service, listen: Listen, ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; requests that have begun are answered, within the seconds of the setting ``ending``, or until the
    signal comes again: what still runs then is broken off. ``ready`` is told the address.

    Raises:
        LocalError: the address cannot be had.
    """
    asyncio.run(_serve(service, listen, _bind(listen), ready))


async def _serve(service: Service, listen: Listen, bound: socket.socket, ready: Callable[[str], None]) -> None:
    port = bound.getsockname()[1]
    server = _Server(
        make_app(service),
        address=listen.host,
        port=port,
        interface=Interfaces.ASGI,
        http=HTTPModes.auto,
        websockets=False,
        backlog=_BACKLOG,
        ssl_cert=listen.certificate,
        ssl_key=listen.key,
        log_enabled=False,
    )
    logging.getLogger("_granian").setLevel(logging.ERROR)
    server.socket = bound
    vars(server).update(workers_kill_timeout=service.settings.ending)
    server.on_startup(lambda: ready(listen.url(port)))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.end)
    try:
        await server.serve()
    except (TimeoutError, asyncio.CancelledError):
        logging.getLogger("_granian").handlers[:] = [logging.NullHandler()]  # it has a traceback for each of them
        _log.warning("requests that had not ended are broken off")
        service.close()


class _Server(Server):
    """The embedded server on a socket of ours, which nobody else can listen on."""

    socket: socket.socket

    def end(self) -> None:
        """Take no more requests; asked again, do not wait for those that have begun either: a client may neither read nor write, for ever."""
        granian: Any = super()
        workers: list[Any] = [*self.wrks] if self.interrupt_signal else []
        for worker in workers:
            worker.kill()
        granian.stop()

    def _init_shared_socket(self) -> None:
        number = self.socket.detach()  # which the server now owns and closes
        holder: Any = SocketHolder
        vars(self).update(_ssp=None, _shd=holder(number, False, _BACKLOG), _sfd=number)


def _bind(listen: Listen) -> socket.socket:
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((listen.host, listen.port))
        bound.listen(_BACKLOG)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        where = f"{listen.host}:{listen.port}"
        raise LocalError(
            f"cannot listen on {where}: {error.strerror}", subject=where, hint="--port 0 takes any"
        ) from error
    return bound


def _check_pair(certificate: Path, key: Path) -> None:
    for file in (certificate, key):
        try:
            file.open("rb").close()
        except OSError as error:
            raise UsageError(f"cannot read {file}: {error.strerror}", subject=str(file)) from error
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, ValueError) as error:
        hint = "both are PEM; the key is that of the (first) certificate, and has no passphrase"
        raise UsageError(f"{certificate} and {key} are no certificate and its key", subject="tls", hint=hint) from error


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
