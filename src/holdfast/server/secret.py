"""The server's secret: a key in a file of its own, apart from the database, with which credentials are sealed. While a key is being
replaced the file holds two.

Whoever has a copy of the database alone cannot open them. What is sealed names what it is for, so that one project's
credentials cannot be put into another's row.
"""

from __future__ import annotations

import base64
import os
import secrets
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from holdfast.errors import IntegrityError, LocalError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["Vault", "new_key", "read_secret", "secret_or_new", "write_secret"]

_KEY: Final = 32
_NONCE: Final = 12
_LONGEST: Final = 4096
_HEAD: Final = "holdfast-secret-1 "


class Vault:
    """Seals and opens small bytes. ``keys`` gives the keys of the file: the first one seals, each of them opens.

    They are read whenever something is sealed, and when something opens with none of those that were read last: the file may have been
    given another key since, and have lost the one before.
    """

    def __init__(self, keys: Callable[[], Sequence[bytes]]) -> None:
        self._keys = keys
        self._ciphers: list[AESGCM] = []

    def seal(self, data: bytes, purpose: str) -> bytes:
        """The data, readable only with the key and for this purpose."""
        nonce = secrets.token_bytes(_NONCE)
        self._ciphers = [AESGCM(key) for key in self._keys()]
        return nonce + self._ciphers[0].encrypt(nonce, data, purpose.encode())

    def open(self, sealed: bytes, purpose: str) -> bytes:
        """What was sealed.

        Raises:
            IntegrityError: with another key, for another purpose, or damaged since.
        """
        found = self._tried(sealed, purpose)
        if found is None:
            self._ciphers = [AESGCM(key) for key in self._keys()]
            found = self._tried(sealed, purpose)
        if found is None:
            hint = "start the server with the secret file that they were saved with"
            raise IntegrityError("credentials cannot be opened with this secret", hint=hint)
        return found

    def _tried(self, sealed: bytes, purpose: str) -> bytes | None:
        for cipher in self._ciphers:
            with suppress(InvalidTag, ValueError):
                return cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], purpose.encode())
        return None


def new_key() -> bytes:
    """A key."""
    return secrets.token_bytes(_KEY)


def read_secret(path: Path, *, make: bool = False) -> list[bytes]:
    """The keys in a file; a new one where there is no file and ``make`` is set.

    Raises:
        UsageError: it is no such file, or others than its owner can read it.
        LocalError: it is not there, or cannot be read or written.
    """
    try:
        try:
            return _read(path)
        except FileNotFoundError:
            if not make:
                hint = "--secret-file names another"
                raise LocalError(f"no secret file {path}", subject=str(path), hint=hint) from None
        _make(path)
        return _read(path)
    except OSError as error:
        if isinstance(error, LocalError):
            raise
        raise LocalError(f"cannot use {path}: {error.strerror}", subject=str(path)) from error


def secret_or_new(path: Path) -> list[bytes]:
    """The keys in a file; where there is none, one that is kept nowhere.

    Raises:
        UsageError, LocalError: as for :func:`read_secret`.
    """
    return read_secret(path) if os.path.lexists(path) else [new_key()]


def write_secret(path: Path, keys: Sequence[bytes]) -> None:
    """Put these keys in the file's place, seen whole or not at all.

    Raises:
        LocalError: it cannot be written.
    """
    try:
        part = _written(path, keys)
        os.replace(part, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise LocalError(f"cannot write {path}: {error.strerror}", subject=str(path)) from error


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = _written(path, [new_key()])
    try:
        with suppress(FileExistsError):  # two servers that start at once agree on one key
            os.link(part, path)
    finally:
        os.unlink(part)
    _sync_folder(path.parent)


def _written(path: Path, keys: Sequence[bytes]) -> Path:
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(handle, "w", encoding="ascii") as file:
        file.writelines(f"{_HEAD}{base64.b64encode(key).decode()}\n" for key in keys)
        file.flush()
        os.fsync(file.fileno())
    return part


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read(path: Path) -> list[bytes]:
    with open(path, "rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        lines = file.read(_LONGEST).decode("ascii", "replace").splitlines()
    if stat.S_IMODE(mode) & 0o077:
        hint = f"chmod 600 {path}; if others may have read it, asset server rotate-secret"
        raise UsageError(f"others can read the secret file {path}", subject=str(path), hint=hint)
    keys = [_key(line) for line in lines]
    if not keys or any(len(key) != _KEY for key in keys):
        raise UsageError(f"{path} is no secret file of a server", subject=str(path))
    return keys


def _key(line: str) -> bytes:
    try:
        return base64.b64decode(line.removeprefix(_HEAD).strip(), validate=True) if line.startswith(_HEAD) else b""
    except ValueError:
        return b""
