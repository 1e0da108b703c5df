"""The built-in drivers' common part: every verb is one of a Holdfast store, opened at the bucket's root.

They hold settings and nothing else, so that they pickle whether lazy or not; the store is opened when it is first used and
kept. Refused access is an error and never "does not exist" (fault W16 of modelkit); a download takes the place of a file only
once it is whole (W10).
"""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import quote

from holdfast.config import Settings, load
from holdfast.config.modelkit import load_modelkit
from holdfast.errors import ObjectNotFoundError
from holdfast.formats import layout
from holdfast.modelkit.drivers.abc import StorageDriver, StorageDriverSettings
from holdfast.modelkit.errors import ObjectDoesNotExistError, StorageConfigurationError, StorageDriverError, translated
from holdfast.transfer.engine import Engine
from holdfast.transfer.plan import WHOLE, ranges
from holdfast.wiring import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from holdfast.store.base import Store

__all__ = ["StoreDriver", "StoreDriverSettings"]

_OWN: Final = f"/{layout.OWN}/"


class StoreDriverSettings(StorageDriverSettings):
    """Settings of a built-in driver: names that it does not know are refused, not dropped (fault W23 of modelkit)."""

    strict = True

    def environment(self) -> Mapping[str, str]:
        """The cloud's own variables that say what these settings say; an empty text takes a variable away."""
        return {}


class StoreDriver(StorageDriver):
    """A driver over a store; subclasses say its URL and settings."""

    settings_class: ClassVar[type[StoreDriverSettings]]
    uri_scheme: ClassVar[str]
    scheme: ClassVar[str]

    def __init__(self, settings: dict[str, Any] | StorageDriverSettings, client: Any | None = None) -> None:
        if client is not None:
            names = ", ".join(name for name in self.settings_class.variables if name not in ("bucket", "lazy_driver"))
            raise StorageConfigurationError(
                f"{type(self).__name__} takes no client of another library",
                subject="client",
                hint=f"say the same by its settings ({names or 'bucket'}), or subclass StorageDriver",
            )
        settings = self.settings_class(**settings) if isinstance(settings, dict) else settings
        self._environment = dict(settings.environment()) if isinstance(settings, StoreDriverSettings) else {}
        super().__init__(
            settings, client_configuration={"url": self._url(settings.bucket), "environment": self._environment}
        )

    @classmethod
    def _url(cls, bucket: str) -> str:
        return f"{cls.scheme}://{bucket}"

    @staticmethod
    def build_client(client_configuration: dict[str, Any]) -> Store:
        """The store at the bucket's root; nothing is asked of the network yet."""
        return open_store(client_configuration["url"], settings_for(**client_configuration))

    def settings(self, prefix: str) -> Settings:
        """Holdfast's settings for the store at a prefix of the bucket."""
        url = self.client_configuration["url"]
        inner = quote(prefix) if self.scheme == "file" else prefix
        return settings_for(f"{url}/{inner.strip('/')}".rstrip("/"), self._environment)

    @property
    def client(self) -> Store:
        """The store."""
        if self._client is None:
            self._client = self.build_client(self.client_configuration)
        store: Store = self._client
        return store

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_client": None}

    def iterate_objects(self, prefix: str | None = None) -> Iterator[str]:
        """The names below a prefix on path borders: ``p`` never sees ``p2`` (fault W9). Holdfast's own records are left out."""
        with translated():
            for info in self.client.list((prefix or "").strip("/")):
                if _OWN not in f"/{info.key}":
                    yield info.key

    def upload_object(self, file_path: str, object_name: str) -> None:
        """Write a file's bytes under a name; seen whole or not at all, and nothing else is removed for it."""
        with self._said(), open(file_path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size <= WHOLE:
                self.client.put(object_name, file.read())
            else:
                self.client.put_file(object_name, file, size, lambda _: None)

    def download_object(self, object_name: str, destination_path: str) -> None:
        """Write an object's bytes to a file, which is replaced only once they are all here."""
        part = f"{os.fspath(destination_path)}.{secrets.token_hex(4)}.part"
        with self._said(object_name):
            info = self.client.head(object_name)
            pieces = Engine().in_order(
                lambda piece: self.client.get_range(object_name, *piece, version=info.version).data, ranges(info.size)
            )
            try:
                with open(part, "wb") as file:
                    file.writelines(pieces)
                os.replace(part, destination_path)
            finally:
                if os.path.exists(part):
                    os.unlink(part)

    def delete_object(self, object_name: str) -> None:
        """Remove an object."""
        with self._said():
            self.client.delete(object_name)

    def exists(self, object_name: str) -> bool:
        """Whether there is an object of this name; raises where that cannot be known."""
        with self._said():
            try:
                self.client.head(object_name)
            except ObjectNotFoundError:
                return False
            return True

    def get_object_uri(self, object_name: str, sub_part: str | None = None) -> str:
        """``scheme://bucket/name/sub``, with a slash at the end where no part is named, as in modelkit."""
        return f"{self.uri_scheme}://" + "/".join((self.bucket, object_name, *(sub_part or "").split("/")))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} bucket={self.bucket}>"

    @contextmanager
    def _said(self, object_name: str | None = None) -> Iterator[None]:
        """Errors in modelkit's words; a missing object with driver and bucket."""
        with translated(usage=StorageDriverError):
            try:
                yield
            except ObjectNotFoundError as error:
                if object_name is None:
                    raise
                raise ObjectDoesNotExistError(self, self.bucket, object_name) from error


def settings_for(url: str, environment: Mapping[str, str]) -> Settings:
    """Holdfast's settings of a store at this URL, with a driver's own settings over the environment."""
    environ = {name: value for name, value in {**load_modelkit().environ, **environment}.items() if value}
    with translated(usage=StorageConfigurationError):
        return load({"store": url}, environ=environ)
