"""Signatures by the RSA key of a Google service account: the one thing that signing URLs needs a library for.

Example::

    prove = prover(account["private_key"])
    signature = prove(b"text")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from holdfast.errors import AccessError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["prover"]


def prover(pem: str) -> Callable[[bytes], bytes]:
    """What signs by this private key (PKCS #1 v1.5, SHA-256). No error shows the key.

    Raises:
        AccessError: it is no RSA key in PEM.
    """
    try:
        key = load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPrivateKey):
        hint = "GOOGLE_SERVICE_ACCOUNT_KEY is the JSON of a service account's key"
        raise AccessError("the service account's private key is none of RSA in PEM", subject="credentials", hint=hint)
    padding, digest = PKCS1v15(), SHA256()
    return lambda text: key.sign(text, padding, digest)
