"""The tokens that sign-ins leave on this machine: one for each server's origin, in the key ring, else in a file of its owner's alone.

A file for each origin, seen whole or not at all, so that two sign-ins at once lose nothing. The setting ``token`` is no part of this:
it belongs to the setting ``server``, and comes first there.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from holdfast.errors import LocalError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from holdfast.config.settings import Settings

__all__ = ["Kept", "Tokens", "origin_of", "token_for"]

_SERVICE: Final = "holdfast"
_PORTS: Final = {"http": 80, "https": 443}


def origin_of(url: str) -> str:
    """Scheme, host and port of a server: what a token belongs to.

    Raises:
        UsageError: it is no server's address.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        parts, port = urlsplit(""), None
    if port is None or not parts.hostname:
        raise UsageError(f"{url!r} is no server's address", subject=url, hint="it reads like https://host")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port}"


def token_for(settings: Settings, server: str) -> str | None:
    """The token to show this server, and no other: the setting's where it is the setting ``server``, else the sign-in's."""
    origin = origin_of(server)
    if settings.token is not None and settings.server is not None and origin_of(settings.server) == origin:
        return settings.token
    kept = Tokens(settings.file.parent, settings.environ).find(server)
    return None if kept is None else kept.token


@dataclass(frozen=True, slots=True)
class Kept:
    """A token and whose it is; ``id`` is by which the server lists it."""

    token: str
    name: str
    id: str = ""
    place: str = ""

    def __repr__(self) -> str:
        return f"Kept(name={self.name!r}, id={self.id!r}, place={self.place!r})"


class Tokens:
    """What is kept in a settings' folder. ``HOLDFAST_KEYRING=off`` leaves the key ring alone."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder = folder / "tokens"
        self._ring_wanted = environ.get("HOLDFAST_KEYRING", "").lower() not in ("off", "0", "no", "false")

    def find(self, server: str) -> Kept | None:
        """The token of a server.

        Raises:
            LocalError: its file cannot be read.
            UsageError: its file is damaged; it is left as it is.
        """
        origin = origin_of(server)
        path = self._path(origin)
        try:
            text = path.read_text("utf-8")
        except FileNotFoundError:
            return self._from_ring(origin)
        except OSError as error:
            raise LocalError(f"cannot read {path}: {error.strerror}", subject=str(path)) from error
        except UnicodeDecodeError:
            text = ""
        return _kept(text, str(path))

    def keep(self, server: str, kept: Kept) -> str:
        """Keep a token in the place of an earlier one; where it lies now.

        Raises:
            LocalError: it cannot be written.
        """
        origin = origin_of(server)
        text = json.dumps({"server": origin, "name": kept.name, "id": kept.id, "token": kept.token})
        if self._into_ring(origin, text):
            self._path(origin).unlink(missing_ok=True)
            return "the key ring"
        path = self._path(origin)
        _write(path, text)
        return str(path)

    def forget(self, server: str) -> bool:
        """Remove the token of a server; whether there was one."""
        origin = origin_of(server)
        found = self._from_ring(origin) is not None
        ring = self._ring()
        if found and ring is not None:
            with contextlib.suppress(Exception):
                ring.delete_password(_SERVICE, origin)
        path = self._path(origin)
        found = found or path.exists()
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise LocalError(f"cannot remove {path}: {error.strerror}", subject=str(path)) from error
        return found

    def _path(self, origin: str) -> Path:
        return self._folder / f"{quote(origin, safe='')}.json"

    # a key ring is anybody's program, and may fail in any way: then there is none

    def _ring(self) -> Any:
        if not self._ring_wanted:
            return None
        try:
            return importlib.import_module("keyring")
        except Exception:  # noqa: BLE001 - see above
            return None

    def _from_ring(self, origin: str) -> Kept | None:
        ring = self._ring()
        if ring is None:
            return None
        try:
            text = ring.get_password(_SERVICE, origin)
        except Exception:  # noqa: BLE001 - see above
            return None
        return _kept(text, "the key ring") if text else None

    def _into_ring(self, origin: str, text: str) -> bool:
        """Whether the key ring has it now: one that does not give it back has not."""
        ring = self._ring()
        if ring is None:
            return False
        try:
            ring.set_password(_SERVICE, origin, text)
            return bool(ring.get_password(_SERVICE, origin) == text)
        except Exception:  # noqa: BLE001 - see above
            return False


def _kept(text: str, place: str) -> Kept:
    try:
        value = json.loads(text)
        return Kept(str(value["token"]), str(value["name"]), str(value.get("id", "")), place)
    except (ValueError, KeyError, TypeError, AttributeError):
        hint = "remove it, and sign in again with: asset login URL"
        raise UsageError(f"the token in {place} cannot be read", subject=place, hint=hint) from None


def _write(path: Path, text: str) -> None:
    try:
        os.makedirs(path.parent, mode=0o700, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".token-")  # 0600 by itself
        try:
            with open(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise LocalError(f"cannot write {path}: {error.strerror}", subject=str(path)) from error
