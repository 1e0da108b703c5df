"""An OIDC provider of our own, in a thread of the test's process: discovery, authorization code with PKCE, ID tokens, keys that rotate.

It is strict about what a client sends (registered address to come back to, S256, one use of a code, its secret), signs in whoever ``user``
is without asking, and can be told to lie: ``twist`` changes the claims of the next tokens, ``forge`` makes the token itself.

Example::

    with started(["https://assets.example.com/login/oidc/test/back"]) as provider:
        provider.user = {"sub": "1", "email": "ann@example.com", "email_verified": True}
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.services.base import HOST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["CLIENT", "SECRET", "Provider", "started"]

CLIENT: Final = "holdfast"
SECRET: Final = "a secret: of tests/1"
_BITS: Final = 2048


class Provider:
    """A provider that runs; its answers are those of ``user``."""

    def __init__(self, backs: Sequence[str]) -> None:
        self.backs = list(backs)
        self.issuer = ""
        self.user: dict[str, Any] = {"sub": "1", "email": "ann@example.com", "email_verified": True}
        self.twist: Callable[[dict[str, Any]], object] = lambda _: None
        self.forge: Callable[[dict[str, Any]], str] | None = None
        self.key = _new_key()
        #: What is shown at ``/keys``; a key that signs and is not among them is unknown.
        self.shown = [self.key]
        self.refuses: str | None = None
        self.asked: list[str] = []
        self._codes: dict[str, dict[str, str]] = {}

    def rotate(self, *, show: bool = True) -> None:
        """Sign with another key, and show that alone."""
        self.key = _new_key()
        if show:
            self.shown = [self.key]

    def answer(self, method: str, target: str, headers: dict[str, str], body: str) -> tuple[int, dict[str, str], Any]:
        """Status, headers and body for a request."""
        parts = urlsplit(target)
        self.asked.append(parts.path)
        if (method, parts.path) == ("GET", "/.well-known/openid-configuration"):
            return 200, {}, self._configuration()
        if (method, parts.path) == ("GET", "/keys"):
            return 200, {}, {"keys": [key.as_dict(private=False) for key in self.shown]}
        if (method, parts.path) == ("GET", "/authorize"):
            return self._authorize(dict(parse_qsl(parts.query)))
        if (method, parts.path) == ("POST", "/token"):
            return self._token(dict(parse_qsl(body)), headers.get("authorization", ""))
        return 404, {}, {}

    def claims(self, nonce: str) -> dict[str, Any]:
        """What a token says of the user, without lies."""
        now = int(time.time())
        return {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": nonce, **self.user}

    def sign(self, claims: dict[str, Any]) -> str:
        """A token of these claims."""
        return jwt.encode({"alg": "RS256", "kid": self.key.kid}, claims, self.key)

    def _configuration(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
        }

    def _authorize(self, query: dict[str, str]) -> tuple[int, dict[str, str], Any]:
        back = query.get("redirect_uri", "")
        if query.get("client_id") != CLIENT or back not in self.backs:
            return 400, {}, {"error": "invalid_client"}
        needed = query.get("response_type") == "code" and "openid" in query.get("scope", "").split()
        if not needed or query.get("code_challenge_method") != "S256" or len(query.get("code_challenge", "")) != 43:
            return 400, {}, {"error": "invalid_request"}
        brought = {"state": query["state"], "iss": self.issuer}
        if self.refuses:
            brought["error"] = self.refuses
        else:
            brought["code"] = secrets.token_urlsafe(16)
            self._codes[brought["code"]] = query
        return 302, {"Location": f"{back}?{urlencode(brought)}"}, {}

    def _token(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, str], Any]:
        name, _, secret = base64.b64decode(authorization.removeprefix("Basic ") or b"").decode().partition(":")
        if (unquote(name), unquote(secret)) != (CLIENT, SECRET):
            return 401, {}, {"error": "invalid_client"}
        query = self._codes.pop(form.get("code", ""), None)
        proof = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(proof).rstrip(b"=").decode()
        if query is None or query["code_challenge"] != challenge or query["redirect_uri"] != form.get("redirect_uri"):
            return 400, {}, {"error": "invalid_grant"}
        claims = self.claims(query.get("nonce", ""))
        self.twist(claims)
        token = self.forge(claims) if self.forge is not None else self.sign(claims)
        return 200, {}, {"access_token": "none", "token_type": "Bearer", "id_token": token}


@contextmanager
def started(backs: Sequence[str]) -> Iterator[Provider]:
    """A provider that sends browsers back to these addresses and no others."""
    provider = Provider(backs)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, more, value = provider.answer(self.command, self.path, headers, self.rfile.read(length).decode())
            data = json.dumps(value).encode()
            self.send_response(status)
            for name, text in {**more, "Content-Type": "application/json", "Content-Length": str(len(data))}.items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET  # noqa: N815 - as http.server names it

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    with Server((HOST, 0), Handler) as server:
        provider.issuer = f"http://{HOST}:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield provider
        finally:
            server.shutdown()
            thread.join()


def _new_key() -> RSAKey:
    key = RSAKey.generate_key(_BITS, {"use": "sig", "alg": "RS256"}, private=True)
    key.ensure_kid()
    return key
