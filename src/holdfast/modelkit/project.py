"""A project on a Holdfast server as a provider: what a manager fetches where no keys of the bucket are to be had.

Example::

    manager = AssetsManager(assets_dir="/path")  # HOLDFAST_STORE=https://host/project, or within holdfast.project("p")
    manager.fetch_asset("category/name:1")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.config import load
from holdfast.config.modelkit import load_modelkit
from holdfast.modelkit import errors
from holdfast.modelkit.remote import StorageProvider, local_settings
from holdfast.wiring import open_settings

if TYPE_CHECKING:
    import os

    from holdfast.repository import Repository

__all__ = ["ProjectProvider"]


class ProjectProvider(StorageProvider):
    """The assets of a project on a server, with the token that the settings have for it when it is opened.

    ``driver`` is None, for objects are the server's to name; names of objects are within the project.

    Raises:
        StorageConfigurationError: a prefix is given, which a project has not; or the URL names no project.
    """

    def __init__(self, url: str, prefix: str | None = None) -> None:
        if prefix is not None:
            raise errors.StorageConfigurationError(
                f"storage_prefix {prefix!r} does not go with a server's project, {url}", subject="storage_prefix"
            )
        with errors.translated(usage=errors.StorageConfigurationError):
            found = load_modelkit()
        self.timeout = found.timeout
        self.prefix = ""
        self.force_download = found.force_download
        self.driver = None
        self.url = url
        self._repositories = {}

    @property
    def _is_protected(self) -> bool:
        return True

    def _open(self, assets_dir: str | os.PathLike[str] | None, timeout: float | None) -> Repository:
        with errors.translated(usage=errors.StorageConfigurationError):
            settings = load({"store": self.url}, environ=load_modelkit().without_storage())
            return open_settings(local_settings(settings, assets_dir, timeout))

    def __repr__(self) -> str:
        return f"<ProjectProvider {self.url}>"
