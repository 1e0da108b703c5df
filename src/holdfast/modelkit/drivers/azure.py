"""Azure Blob Storage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from holdfast.config.modelkit import load_modelkit
from holdfast.modelkit.drivers.stored import StoreDriver, StoreDriverSettings
from holdfast.modelkit.errors import StorageConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["AzureStorageDriver", "AzureStorageDriverSettings"]

_ACCOUNT: Final = ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT")


class AzureStorageDriverSettings(StoreDriverSettings):
    """``connection_string``, or the account's own variables in the environment."""

    variables = StoreDriverSettings.variables | {  # type: ignore[operator]
        "connection_string": "AZURE_STORAGE_CONNECTION_STRING"
    }

    connection_string: str | None

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        environ = load_modelkit().environ
        if not self.connection_string and not any(environ.get(name) for name in _ACCOUNT):
            raise StorageConfigurationError(
                "no Azure account is set",
                subject="connection_string",
                hint="give connection_string=, or set AZURE_STORAGE_CONNECTION_STRING or AZURE_STORAGE_ACCOUNT_NAME",
            )

    def environment(self) -> Mapping[str, str]:
        """The connection string."""
        return {"AZURE_STORAGE_CONNECTION_STRING": self.connection_string} if self.connection_string else {}


class AzureStorageDriver(StoreDriver):
    """Blobs in a container."""

    settings_class = AzureStorageDriverSettings
    scheme = "az"
    uri_scheme = "azfs"
