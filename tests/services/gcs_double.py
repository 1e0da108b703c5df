"""A double of Google Cloud Storage's XML API: **this project's own idea of GCS, not Google's.**

No registry has an emulator that honours the generation conditions of the XML API, which is what the object-store client
speaks. This one was written from the documentation: every object has a generation, sent as ``x-goog-generation``, and a
write with ``x-goog-if-generation-match`` (0: must not exist) or ``If-Match`` is refused with 412 when it does not fit. A signed URL
(version 4) is proved by the account's public key, must sign every ``x-goog-`` header that is sent, and ends; a length outside of
``x-goog-content-length-range`` is refused. Who sends no signed URL is let in: the client sends no token where there is nobody to
ask for one. What passes here has been shown to follow that reading of the documentation, and nothing about Google's servers.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from calendar import timegm
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)

from tests.services.base import HOST, ROOT, Service, answers, free_port, processes
from tests.services.object_server import BUCKET, Dialect, Object, RefusedError, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["GcsDialect", "as_project", "start"]

EMAIL: Final = "holdfast@project.example"
_LONGEST: Final = 604800


class GcsDialect(Dialect):
    """Writes conditional on a generation or an ETag; signed URLs proved by ``key``."""

    def __init__(self, key: RSAPublicKey) -> None:
        self.key = key

    def admit(self, method: str, target: str, headers: dict[str, str]) -> None:
        """Whoever has a signed URL, if it is right."""
        path, _, text = target.partition("?")
        query = dict(piece.partition("=")[::2] for piece in text.split("&") if piece)
        if "X-Goog-Signature" in query:
            self.prove(method, path, query, headers)

    def prove(self, method: str, path: str, query: dict[str, str], headers: dict[str, str]) -> None:
        """Compare the signature with the request as it came."""
        proof = query.pop("X-Goog-Signature")
        given = {name: unquote(value) for name, value in query.items()}
        date, signed = given.get("X-Goog-Date", ""), given.get("X-Goog-SignedHeaders", "").split(";")
        scope = f"{date[:8]}/auto/storage/goog4_request"
        if given.get("X-Goog-Algorithm") != "GOOG4-RSA-SHA256" or given.get("X-Goog-Credential") != f"{EMAIL}/{scope}":
            raise RefusedError(400, "InvalidArgument")
        if "host" not in signed or any(name.startswith("x-goog-") and name not in signed for name in headers):
            raise RefusedError(403, "SignatureDoesNotMatch")
        canonical = "\n".join(
            [
                method,
                quote(unquote(path), safe="/~"),
                "&".join(f"{name}={quote(given[name], safe='~')}" for name in sorted(given)),
                *(f"{name}:{headers.get(name, '')}" for name in sorted(signed)),
                "",
                ";".join(sorted(signed)),
                "UNSIGNED-PAYLOAD",
            ]
        )
        text = f"GOOG4-RSA-SHA256\n{date}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        try:
            self.key.verify(bytes.fromhex(proof), text.encode(), PKCS1v15(), SHA256())
            seconds, begun = int(given["X-Goog-Expires"]), timegm(time.strptime(date, "%Y%m%dT%H%M%SZ"))
        except (InvalidSignature, ValueError, KeyError):
            raise RefusedError(403, "SignatureDoesNotMatch") from None
        if not (0 < seconds <= _LONGEST and begun - 900 <= time.time() <= begun + seconds):
            raise RefusedError(400, "ExpiredToken")

    def refuse_write(self, headers: dict[str, str], current: Object | None) -> None:
        """Compare what the request names with what is there, and its length with what it may have."""
        if "x-goog-content-length-range" in headers:
            least, most = map(int, headers["x-goog-content-length-range"].split(","))
            length = int(headers.get("content-length", 0))
            if not least <= length <= most:
                raise RefusedError(400, "EntityTooSmall" if length < least else "EntityTooLarge")
        generation, etag = headers.get("x-goog-if-generation-match"), headers.get("if-match")
        if generation is not None and int(generation) != (current.generation if current else 0):
            raise RefusedError(412, "PreconditionFailed")
        if etag is not None and (current is None or etag not in ("*", current.etag)):
            raise RefusedError(412, "PreconditionFailed")
        if headers.get("if-none-match") == "*" and current is not None:
            raise RefusedError(412, "PreconditionFailed")


@contextmanager
def start(directory: Path) -> Iterator[Service]:
    """Run it as a process of its own; clients find it through a service account's file."""
    port = free_port()
    with processes("gcs_double", directory) as group:
        key = generate_private_key(public_exponent=65537, key_size=2048)
        public = group.directory / "public.pem"
        public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        group.spawn([sys.executable, "-m", __name__, str(port), str(public)], {"PYTHONPATH": str(ROOT)})
        group.wait(lambda: answers(f"http://{HOST}:{port}/{BUCKET}"), 30)
        account = group.directory / "service-account.json"
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        account.write_text(json.dumps(_account(f"http://{HOST}:{port}", private)))
        env = {"GOOGLE_SERVICE_ACCOUNT": str(account), "GOOGLE_APPLICATION_CREDENTIALS": str(account)}
        yield Service("gcs_double", f"gs://{BUCKET}", env, group.pids)


def as_project(service: Service) -> dict[str, object]:
    """Endpoint and credentials as a server's project has them: the account's key names no endpoint there."""
    account = json.loads(Path(service.env["GOOGLE_SERVICE_ACCOUNT"]).read_text())
    endpoint = account.pop("gcs_base_url")
    return {"endpoint": endpoint, "credentials": {"GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(account)}}


def _account(url: str, private: str) -> dict[str, object]:
    return {
        "type": "service_account",
        "gcs_base_url": url,
        "disable_oauth": True,
        "client_email": EMAIL,
        "private_key": private,
        "private_key_id": "1",
    }


if __name__ == "__main__":
    found = load_pem_public_key(Path(sys.argv[2]).read_bytes())
    assert isinstance(found, RSAPublicKey)
    serve(HOST, int(sys.argv[1]), GcsDialect(found))
