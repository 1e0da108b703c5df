"""The server's secret: a key in a file of its own, apart from the database, with which credentials are sealed.

Whoever has a copy of the database alone cannot open them. What is sealed names what it is for, so that one project's
credentials cannot be put into another's row.
"""

from __future__ import annotations

import base64
import os
import secrets
import stat
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from holdfast.errors import IntegrityError, LocalError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Vault", "make_secret", "read_secret", "replace_secret"]

_KEY: Final = 32
_NONCE: Final = 12
_HEAD: Final = "holdfast-secret-1 "


class Vault:
    """Seals and opens small bytes with one key."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, data: bytes, purpose: str) -> bytes:
        """The data, readable only with the key and for this purpose."""
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._cipher.encrypt(nonce, data, purpose.encode())

    def open(self, sealed: bytes, purpose: str) -> bytes:
        """What was sealed.

        Raises:
            IntegrityError: with another key, for another purpose, or damaged since.
        """
        try:
            return self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], purpose.encode())
        except (InvalidTag, ValueError):
            hint = "start the server with the secret file that they were saved with"
            raise IntegrityError("credentials cannot be opened with this secret", hint=hint) from None


def read_secret(path: Path, *, make: bool = False) -> bytes:
    """The key in a file; a new one where there is none and ``make`` is set.

    Raises:
        UsageError: it is no such file, or others than its owner can read it.
        LocalError: it is not there, or cannot be read.
    """
    try:
        return _read(path)
    except FileNotFoundError:
        if not make:
            raise LocalError(f"no secret file {path}", subject=str(path), hint="--secret-file names another") from None
    except OSError as error:
        raise LocalError(f"cannot read {path}: {error.strerror}", subject=str(path)) from error
    make_secret(path)
    return _read(path)


def make_secret(path: Path) -> bytes:
    """A new key in a file that only its owner can read; one that is there already stays."""
    key = secrets.token_bytes(_KEY)
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(part, key)
        try:
            os.link(part, path)  # two servers that start at once agree on one key
        except FileExistsError:
            key = _read(path)
        finally:
            os.unlink(part)
    except OSError as error:
        raise LocalError(f"cannot write {path}: {error.strerror}", subject=str(path)) from error
    return key


def replace_secret(path: Path, key: bytes) -> None:
    """Put another key in the file's place, seen whole or not at all."""
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        _write(part, key)
        os.replace(part, path)
    except OSError as error:
        raise LocalError(f"cannot write {path}: {error.strerror}", subject=str(path)) from error


def _write(path: Path, key: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(handle, "w", encoding="ascii") as file:
        file.write(f"{_HEAD}{base64.b64encode(key).decode()}\n")
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path) -> bytes:
    with open(path, "rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        text = file.read(200).decode("ascii", "replace")
    if stat.S_IMODE(mode) & 0o077:
        hint = f"chmod 600 {path}; if others may have read it, asset server rotate-secret"
        raise UsageError(f"others can read the secret file {path}", subject=str(path), hint=hint)
    try:
        key = base64.b64decode(text.removeprefix(_HEAD).strip(), validate=True) if text.startswith(_HEAD) else b""
    except ValueError:
        key = b""
    if len(key) != _KEY:
        raise UsageError(f"{path} is no secret file of a server", subject=str(path))
    return key
