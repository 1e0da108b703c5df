"""A folder as a bucket."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.errors import LocalError
from holdfast.modelkit.drivers.stored import StoreDriver, StoreDriverSettings

if TYPE_CHECKING:
    from holdfast.modelkit.drivers.abc import StorageDriverSettings

__all__ = ["BucketFolderNotFoundError", "LocalStorageDriver", "LocalStorageDriverSettings"]


class BucketFolderNotFoundError(LocalError, FileNotFoundError):
    """The bucket of a local driver is no folder."""


class LocalStorageDriverSettings(StoreDriverSettings):
    """``bucket``: a folder that exists."""


class LocalStorageDriver(StoreDriver):
    """Objects as files; what lies in the way of an upload is an error, never removed (faults W4 and W9 of modelkit)."""

    settings_class = LocalStorageDriverSettings
    scheme = uri_scheme = "file"

    def __init__(self, settings: dict[str, Any] | StorageDriverSettings, client: Any | None = None) -> None:
        super().__init__(settings, client)
        if not os.path.isdir(self.bucket):
            raise BucketFolderNotFoundError(
                f"the bucket {self.bucket} is no folder", subject=str(self.bucket), hint="make it, or correct bucket="
            )

    @classmethod
    def _url(cls, bucket: str) -> str:
        return Path(os.path.abspath(bucket)).as_uri()

    def get_object_uri(self, object_name: str, sub_part: str | None = None) -> str:
        """The file's path."""
        return os.path.join(self.bucket, *object_name.split("/"), *(sub_part.split("/") if sub_part else ()))
