"""Google Cloud Storage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.modelkit.drivers.stored import StoreDriver, StoreDriverSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["GCSStorageDriver", "GCSStorageDriverSettings"]


class GCSStorageDriverSettings(StoreDriverSettings):
    """``service_account_path``: a key file; without one, what the machine has."""

    variables = StoreDriverSettings.variables | {  # type: ignore[operator]
        "service_account_path": "GOOGLE_APPLICATION_CREDENTIALS"
    }

    service_account_path: str | None

    def environment(self) -> Mapping[str, str]:
        """The key file."""
        return {"GOOGLE_APPLICATION_CREDENTIALS": self.service_account_path} if self.service_account_path else {}


class GCSStorageDriver(StoreDriver):
    """Objects in a bucket of Google's."""

    settings_class = GCSStorageDriverSettings
    scheme = uri_scheme = "gs"
