"""Signing in with a browser: that of this machine, which comes back to a loopback port, or that of another device, by letters.

Neither way shows this machine a password. The code that the browser brings is good only together with a verifier that never
leaves this process (PKCE), and only a request that knows this sign-in's nonce is listened to.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

import click

from holdfast.cli.output import printable
from holdfast.errors import AccessError, BusyError, UnreachableError, UnsupportedError

if TYPE_CHECKING:
    from http.server import HTTPServer

    from holdfast.cli.options import Session
    from holdfast.formats.api import InfoReply, TokenReply
    from holdfast.remote import Server

__all__ = ["by_browser", "by_device", "label", "require_browser"]

#: Seconds that somebody may take in the browser.
_PATIENCE: Final = 600.0
_STEP: Final = 1.0
_SILENCE: Final = 10.0
_PAGE: Final = b"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Holdfast</title>
<p>Back to the terminal: this window may be closed.</p></html>
"""


def label() -> str:
    """What a token of this machine is called."""
    return f"asset login on {socket.gethostname()}"[:200]


def require_browser(server: Server, info: InfoReply) -> None:
    """Refuse a server that has no pages to sign in at.

    Raises:
        UnsupportedError: it has none.
    """
    if not info.browser:
        raise UnsupportedError(
            f"{server.url} offers no sign-in by browser",
            subject=server.url,
            hint="asset login URL --user NAME --password-stdin, or --token-stdin",
        )


def by_browser(session: Session, server: Server) -> TokenReply:
    """A token, once somebody has signed in with this machine's browser.

    Raises:
        AccessError: it was refused, or took too long.
    """
    from holdfast.formats.api import TokenReply
    from holdfast.formats.signing import CodeRequest

    verifier, nonce = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    with _listening(nonce) as listening:
        query = {"port": listening.server_port, "challenge": challenge, "nonce": nonce}
        _show(session, f"{server.url}/login/program?{urlencode(query)}")
        brought = _brought(listening)
    if "code" not in brought:
        raise AccessError("not signed in: it was refused in the browser", subject=server.url)
    body = CodeRequest(brought["code"], verifier, label())
    return server.ask("POST", "login/code", TokenReply, body=body, again=False)


def by_device(session: Session, server: Server) -> TokenReply:
    """A token, once somebody has typed the letters in the browser of any device.

    Raises:
        AccessError: it was refused, or took too long.
    """
    from holdfast.formats.signing import DeviceReply, DeviceRequest

    asked = server.ask("POST", "login/device", DeviceReply, body=DeviceRequest(label()), again=False)
    click.echo(printable(f"Open {server.url}/{asked.page} in any browser, and type {asked.letters}"), err=True)
    end, every = time.monotonic() + asked.expires, float(max(1, asked.every))
    while time.monotonic() < end:
        time.sleep(every)
        try:
            token = _polled(server, asked.code)
        except BusyError:  # too fast for this server
            every += 5.0
        except UnreachableError as error:
            session.progress.warn(f"{error.message}; trying again")
        else:
            if token is not None:
                return token
    raise AccessError("not signed in: nobody typed the letters in time", subject=server.url)


def _polled(server: Server, code: str) -> TokenReply | None:
    from holdfast.formats.signing import PolledReply, PollRequest

    return server.ask("POST", "login/device/token", PolledReply, body=PollRequest(code), again=False).token


def _show(session: Session, url: str) -> None:
    """Open the browser, and print the address for whoever has to do it by hand.

    In a thread: some browsers are waited for, and wait themselves for what listens here.
    """
    if not session.quiet:
        click.echo(f"In the browser: {url}", err=True)
    threading.Thread(target=_open, args=(session, url), daemon=True).start()


def _open(session: Session, url: str) -> None:
    import webbrowser

    try:
        opened = webbrowser.open(url)
    except (webbrowser.Error, OSError):
        opened = False
    if not opened:
        session.progress.warn("no browser could be opened: open the address by hand, or use --device")


def _listening(nonce: str) -> HTTPServer:
    """A server on a loopback port that keeps what is brought with this nonce, in ``brought``."""
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Listening(HTTPServer):
        brought: dict[str, str] | None = None

        def handle_error(self, *_: Any) -> None:
            """Whoever hangs up is no concern of ours."""

    class Handler(BaseHTTPRequestHandler):
        timeout = _SILENCE

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            found = {name: values[0] for name, values in parse_qs(parts.query).items()}
            given = found.pop("nonce", "").encode("utf-8", "surrogatepass")
            if parts.path != "/" or not hmac.compare_digest(given, nonce.encode()):
                self.send_error(404)
                return
            listening.brought = found
            self.send_response(200)
            for name, value in (
                ("Content-Type", "text/html"),
                ("Content-Length", str(len(_PAGE))),
                ("Cache-Control", "no-store"),
                ("Referrer-Policy", "no-referrer"),
                ("Connection", "close"),
            ):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(_PAGE)

        def log_message(self, *_: Any) -> None:
            """Nothing: what is asked holds a code."""

    listening = Listening(("127.0.0.1", 0), Handler)
    listening.timeout = _STEP
    return listening


def _brought(listening: Any) -> dict[str, str]:
    end = time.monotonic() + _PATIENCE
    while listening.brought is None:
        if time.monotonic() > end:
            raise AccessError("not signed in: the browser did not come back", hint="asset login URL --device")
        listening.handle_request()
    found: dict[str, str] = listening.brought
    return found
