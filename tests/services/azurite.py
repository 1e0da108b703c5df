"""Azurite, Microsoft's own emulator of Azure Blob Storage, with its published development account."""

from __future__ import annotations

import base64
import hashlib
import hmac
import urllib.request
from contextlib import contextmanager
from email.utils import formatdate
from typing import TYPE_CHECKING, Final

from tests.services.base import (
    HOST,
    INSTALLED,
    MissingProgramError,
    Service,
    answers,
    free_port,
    processes,
    program,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["start"]

_ACCOUNT: Final = "devstoreaccount1"
#: Not a secret: Microsoft publishes it for every emulator.
_KEY: Final = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_CONTAINER: Final = "holdfast"


@contextmanager
def start(directory: Path) -> Iterator[Service]:
    """Run it on a free port, with one container."""
    script = INSTALLED / "npm" / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
    if not script.exists():
        raise MissingProgramError("Azurite is not installed; run `make services`")
    node, port = program("node"), free_port()
    with processes("azurite", directory) as group:
        address = ["--blobHost", HOST, "--blobPort", str(port), "-l", str(group.directory / "data")]
        # Newer clients name an API version that it does not know yet, and it need not.
        group.spawn([node, script, *address, "--silent", "--disableTelemetry", "--skipApiVersionCheck"])
        endpoint = f"http://{HOST}:{port}/{_ACCOUNT}"
        group.wait(lambda: answers(f"{endpoint}?comp=list", status=(200, 400, 403)), 60)
        _make_container(endpoint)
        yield Service("azurite", f"az://{_CONTAINER}", _environment(endpoint), group.pids)


def _environment(endpoint: str) -> dict[str, str]:
    parts = f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey={_KEY};BlobEndpoint={endpoint};"
    return {
        "AZURE_STORAGE_CONNECTION_STRING": parts,
        "AZURE_STORAGE_ACCOUNT_NAME": _ACCOUNT,
        "AZURE_STORAGE_ACCOUNT_KEY": _KEY,
        "AZURE_STORAGE_ENDPOINT": endpoint,
        "AZURE_ALLOW_HTTP": "true",
    }


def _make_container(endpoint: str) -> None:
    """Make the container with a request signed by hand, which spares the tests Azure's own library."""
    date, version = formatdate(usegmt=True), "2021-08-06"
    headers = f"x-ms-date:{date}\nx-ms-version:{version}"
    # Twelve standard headers, all empty, then ours, then the resource (with the account named twice, as in the path).
    text = "PUT" + "\n" * 12 + f"{headers}\n/{_ACCOUNT}/{_ACCOUNT}/{_CONTAINER}\nrestype:container"
    digest = hmac.new(base64.b64decode(_KEY), text.encode(), hashlib.sha256).digest()
    request = urllib.request.Request(f"{endpoint}/{_CONTAINER}?restype=container", method="PUT")
    request.add_header("x-ms-date", date)
    request.add_header("x-ms-version", version)
    request.add_header("Content-Length", "0")
    request.add_header("Authorization", f"SharedKey {_ACCOUNT}:{base64.b64encode(digest).decode()}")
    with urllib.request.urlopen(request, timeout=30):
        pass
