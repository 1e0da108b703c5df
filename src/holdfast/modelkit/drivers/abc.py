"""What a driver answers, and its settings: the base of the built-in drivers and of a user's own.

Settings come from arguments, else from the variables that each class names, and from nothing else: a bare ``BUCKET`` in the
environment says nothing here (fault W23 of modelkit).
"""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, ClassVar, Final

from holdfast.config.modelkit import is_on, load_modelkit
from holdfast.errors import nearest
from holdfast.modelkit.errors import StorageConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["StorageDriver", "StorageDriverSettings"]

_SWITCHES: Final = ("lazy_driver",)


class StorageDriverSettings:
    """The settings that every driver has; a subclass adds names to ``variables``, each with its environment variable.

    ``strict`` classes refuse names that they do not know; the base keeps them as attributes, for drivers of one's own.
    """

    variables: ClassVar[Mapping[str, str | None]] = {
        "bucket": "MODELKIT_STORAGE_BUCKET",
        "lazy_driver": "MODELKIT_LAZY_DRIVER",
    }
    strict: ClassVar[bool] = False

    bucket: str
    lazy_driver: bool

    def __init__(self, **values: Any) -> None:
        environ = load_modelkit().environ
        unknown = [name for name in values if name not in self.variables]
        if unknown and self.strict:
            hint = nearest(unknown[0], list(self.variables)) or f"settings: {', '.join(self.variables)}"
            raise StorageConfigurationError(f"unknown driver setting {unknown[0]!r}", subject=unknown[0], hint=hint)
        for name, variable in self.variables.items():
            value = values.get(name)
            setattr(self, name, (environ.get(variable) or None) if value is None and variable else value)
        for name in _SWITCHES:
            value = getattr(self, name)
            setattr(self, name, is_on(value) if isinstance(value, str) else bool(value))
        for name in unknown:
            setattr(self, name, values[name])
        if not self.bucket:
            hint = "give bucket=, or set MODELKIT_STORAGE_BUCKET"
            raise StorageConfigurationError("no bucket is set", subject="bucket", hint=hint)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} bucket={self.bucket}>"


class StorageDriver(abc.ABC):
    """Objects in a bucket, by whole names. A lazy driver does not keep its client, so that it can be pickled."""

    def __init__(
        self,
        settings: dict[str, Any] | StorageDriverSettings,
        client: Any | None = None,
        client_configuration: dict[str, Any] | None = None,
    ) -> None:
        if isinstance(settings, dict):
            settings = StorageDriverSettings(**settings)
        self._client = client
        self.client_configuration = client_configuration or {}
        self.bucket = settings.bucket
        self.lazy_driver = settings.lazy_driver
        if client is None and not self.lazy_driver:
            self._client = self.build_client(self.client_configuration)

    @abc.abstractmethod
    def iterate_objects(self, prefix: str | None = None) -> Iterator[str]:
        """The names of the objects below a prefix; all of them without one."""

    @abc.abstractmethod
    def upload_object(self, file_path: str, object_name: str) -> None:
        """Write a file's bytes under a name, over what is there."""

    @abc.abstractmethod
    def download_object(self, object_name: str, destination_path: str) -> None:
        """Write an object's bytes to a file; ObjectDoesNotExistError, and no file, where there is none."""

    @abc.abstractmethod
    def delete_object(self, object_name: str) -> None:
        """Remove an object; one that is not there is no error."""

    @abc.abstractmethod
    def exists(self, object_name: str) -> bool:
        """Whether there is an object of this name."""

    @abc.abstractmethod
    def get_object_uri(self, object_name: str, sub_part: str | None = None) -> str:
        """Where an object is, for other programs."""

    @property
    def client(self) -> Any:
        """What the driver talks through."""
        return self._client if self._client is not None else self.build_client(self.client_configuration)

    @staticmethod
    @abc.abstractmethod
    def build_client(client_configuration: dict[str, Any]) -> Any:
        """Make the client."""
