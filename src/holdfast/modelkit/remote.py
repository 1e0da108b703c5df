"""``StorageProvider``, which its first readers knew as ``RemoteAssetsStore``: pushes, downloads and lists, over a repository.

Every push through it makes a version or fails; none is ever "unchanged". Directories are pushed as ``tree``, which modelkit
0.1.3 fetches, unless ``tar.gz`` is asked for.
"""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from holdfast.config import load
from holdfast.config.modelkit import load_modelkit
from holdfast.errors import HoldfastError, UsageError, nearest
from holdfast.formats import layout as keys
from holdfast.modelkit import errors
from holdfast.modelkit.drivers.stored import StoreDriver
from holdfast.wiring import open_on, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from holdfast.config import Settings
    from holdfast.model.result import PushOptions
    from holdfast.repository import Repository

__all__ = [
    "DEFAULT_PREFIX",
    "DriverNotInstalledError",
    "NoConfiguredProviderError",
    "RemoteAssetsStore",
    "StorageProvider",
    "UnknownDriverError",
    "local_settings",
]

DEFAULT_PREFIX: Final = "modelkit-assets"

logger = logging.getLogger(__name__)


class UnknownDriverError(errors.ModelkitError, UsageError):
    """No built-in driver has this name."""


class DriverNotInstalledError(errors.ModelkitError):
    """A driver's library is missing. Holdfast's drivers need none of their own, so this is kept for ``except`` clauses."""


class NoConfiguredProviderError(errors.ModelkitError, UsageError):
    """Neither argument nor environment names a provider."""


class StorageProvider:
    """The assets at a prefix of a bucket.

    Args:
        timeout_s: kept for modelkit's sake (MODELKIT_STORAGE_TIMEOUT_S); it is used nowhere there, and the stores have their own.
        prefix: what all names lie under (MODELKIT_STORAGE_PREFIX); ``modelkit-assets`` unless told.
        force_download: fetch again what is there (MODELKIT_STORAGE_FORCE_DOWNLOAD); an argument beats the environment.
        provider: ``gcs``, ``s3``, ``az`` or ``local`` (MODELKIT_STORAGE_PROVIDER), or a driver of one's own.
        client: refused, with the settings that take its place.
        **driver_settings: the driver's settings; one that it does not know is refused.

    Raises:
        NoConfiguredProviderError, UnknownDriverError: no provider, or none of this name.
        StorageConfigurationError: a setting is missing, unknown or wrong.
    """

    driver: Any
    force_download: bool
    prefix: str
    timeout: int

    def __init__(
        self,
        timeout_s: int | None = None,
        prefix: str | None = None,
        force_download: bool | None = None,
        provider: Any | None = None,
        client: Any | None = None,
        **driver_settings: Any,
    ) -> None:
        with errors.translated(usage=errors.StorageConfigurationError):
            found = load_modelkit()
        self.timeout = timeout_s or found.timeout
        self.prefix = _checked_prefix(prefix or found.prefix or DEFAULT_PREFIX)
        self.force_download = found.force_download if force_download is None else bool(force_download)
        self._repositories: dict[tuple[object, ...], tuple[object, Repository]] = {}
        chosen = provider or found.provider
        if not chosen:
            raise NoConfiguredProviderError(
                "no storage provider is configured", hint="give provider=, or set MODELKIT_STORAGE_PROVIDER"
            )
        self.driver = _driver(chosen, client, driver_settings) if isinstance(chosen, str) else chosen

    @classmethod
    def of_store(cls, url: str, prefix: str | None = None) -> StorageProvider:
        """The provider for a Holdfast store's URL, which is complete: only a prefix given here takes the place of its own.

        Raises:
            StorageConfigurationError: no built-in driver reads such stores, or a prefix is given for a server's project.
        """
        scheme, _, rest = url.partition("://")
        if scheme in ("http", "https"):
            from holdfast.modelkit.project import ProjectProvider

            return ProjectProvider(url, prefix)
        names = {"file": "local", "s3": "s3", "gs": "gcs", "gcs": "gcs", "az": "az"}
        if scheme not in names:
            hint = "a store under file://, s3://, gs:// or az://, or a project on a server; holdfast.open() takes any store"
            raise errors.StorageConfigurationError(f"no driver for stores like {url!r}", subject=url, hint=hint)
        bucket, _, own = (str(_folder(rest)), "", "") if scheme == "file" else rest.partition("/")
        made = cls(provider=names[scheme], bucket=bucket)
        made.prefix = _checked_prefix(own if prefix is None else prefix)
        return made

    # names

    def get_object_name(self, name: str, version: str) -> str:
        """The name of a version's object, or of the objects' common part."""
        return self._within(keys.data_key(name, version))

    def get_meta_object_name(self, name: str, version: str) -> str:
        """The name of a version's meta."""
        return self._within(keys.meta_key(name, version))

    def get_versions_object_name(self, name: str) -> str:
        """The name of an asset's list of versions."""
        return self._within(keys.versions_key(name))

    def _within(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key

    # reading

    def get_versions_info(self, name: str) -> list[str]:
        """The listed versions, newest first; entries that are no versions are left out (fault W25)."""
        with errors.translated():
            return list(self.repository().versions(name).versions)

    def get_asset_meta(self, name: str, version: str) -> dict[str, Any]:
        """The meta of a version; ``push_date`` with its time zone."""
        with errors.translated():
            return dated(self.repository().catalog.published(name, version).meta.raw)

    def download(self, name: str, version: str, destination: str) -> dict[str, Any]:
        """Bring a version to ``destination/<name>/<version>``, verified; an old copy stays until the new one is whole."""
        with errors.translated():
            os.makedirs(destination, exist_ok=True)
            fetched = self.repository(destination).fetch_info(f"{name}:{version}", force=True)
        return {"path": fetched.path, "meta": dated(fetched.meta)}

    def iterate_assets(self) -> Iterator[tuple[str, list[str]]]:
        """Every asset by name, with its versions, newest first; one that cannot be read is logged and left out."""
        if self._missing_folder() is not None:
            return
        with errors.translated():
            repository = self.repository()
            names = list(repository.catalog.names(repository.engine.run))
            found = repository.engine.run(self._versions_or_error, names)
        for name, versions in zip(names, found, strict=True):
            if isinstance(versions, HoldfastError):
                logger.warning("%s is left out: %s", name, versions)
            else:
                yield name, versions

    def _versions_or_error(self, name: str) -> list[str] | HoldfastError:
        try:
            return self.get_versions_info(name)
        except HoldfastError as error:
            return error

    # writing

    def new(
        self, asset_path: str, name: str, version: str, dry_run: bool = False, *, layout: str | None = None
    ) -> None:
        """Push the first version of an asset; AssetAlreadyExistsError where the asset is there."""
        self._push(asset_path, name, version, layout, {"only": "new", "dry_run": dry_run})

    def update(
        self, asset_path: str, name: str, version: str, dry_run: bool = False, *, layout: str | None = None
    ) -> None:
        """Push another version; AssetDoesNotExistError where the asset is not there."""
        self._push(asset_path, name, version, layout, {"only": "update", "dry_run": dry_run})

    def push(
        self, asset_path: str, name: str, version: str, dry_run: bool = False, *, layout: str | None = None
    ) -> None:
        """Push a version without listing it: it can be fetched by its full version only."""
        self._push(asset_path, name, version, layout, {"listed": False, "dry_run": dry_run})

    def _push(self, asset_path: str, name: str, version: str, layout: str | None, options: PushOptions) -> None:
        source = Path(asset_path)
        layout = layout or ("tree" if source.is_dir() else "file")
        with errors.translated():
            if not version:
                raise errors.InvalidVersionError("no version is given")
            if not self._is_protected:
                self._push_unprotected(source, name, version, layout, options)
                return
            folder = self._missing_folder()
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
            options |= {"version": version, "layout": layout, "unchanged": False}
            self.repository().push(source, name, **options)

    @property
    def _is_protected(self) -> bool:
        """Whether Holdfast pushes by its own order, which a driver of somebody's own gives no means for."""
        return isinstance(self.driver, StoreDriver)

    def _push_unprotected(self, source: Path, name: str, version: str, layout: str, options: PushOptions) -> None:
        from holdfast.modelkit import unprotected
        from holdfast.modelkit.foreign import DriverStore

        repository = self.repository()
        assert isinstance(repository.store, DriverStore)  # noqa: S101 - made below
        unprotected.push(
            repository.store,
            repository,
            source,
            name,
            version,
            only=options.get("only"),
            listed=options.get("listed", True),
            layout=layout,
            dry_run=options.get("dry_run", False),
        )

    # the repository behind it

    def repository(self, assets_dir: str | os.PathLike[str] | None = None, timeout: float | None = None) -> Repository:
        """The Holdfast repository of this store, fetching into a folder; opened once for each."""
        key = (id(self.driver), self.prefix, assets_dir, timeout)
        if key not in self._repositories:
            self._repositories[key] = self.driver, self._open(assets_dir, timeout)
        return self._repositories[key][1]

    def _open(self, assets_dir: str | os.PathLike[str] | None, timeout: float | None) -> Repository:
        from holdfast.modelkit.foreign import DriverStore

        with errors.translated(usage=errors.StorageConfigurationError):
            if isinstance(self.driver, StoreDriver):
                settings = self.driver.settings(self.prefix)
                return open_on(
                    open_store(settings.store or "", settings), local_settings(settings, assets_dir, timeout)
                )
            settings = load({}, environ=load_modelkit().without_storage())
            store = DriverStore(self.driver, self.prefix)
            settings = replace(settings, store=store.url, endpoint=None)
            return open_on(store, local_settings(settings, assets_dir, timeout), jobs=1)

    def _missing_folder(self) -> Path | None:
        """The folder of a prefix in a local bucket that nothing was pushed to yet."""
        from holdfast.modelkit.drivers.local import LocalStorageDriver

        folder = Path(self.driver.bucket, self.prefix) if isinstance(self.driver, LocalStorageDriver) else None
        return folder if folder is not None and not folder.is_dir() else None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_repositories": {}}

    def __repr__(self) -> str:
        return f"<StorageProvider {self.driver!r} prefix={self.prefix}>"


#: The name that this class had before modelkit 0.0.15, and in the seed's time.
RemoteAssetsStore = StorageProvider


def dated(meta: Mapping[str, Any]) -> dict[str, Any]:
    """A meta with its ``push_date`` as a moment with a time zone, where it has one."""
    found = dict(meta)
    date = found.get("push_date")
    if isinstance(date, str):
        try:
            moment = datetime.fromisoformat(date)
        except ValueError:
            return found
        found["push_date"] = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return found


def local_settings(settings: Settings, assets_dir: str | os.PathLike[str] | None, timeout: float | None) -> Settings:
    """The settings with the caller's folder and patience; a provider alone fetches nothing."""
    folder = Path(assets_dir) if assets_dir is not None else settings.cache_dir / "assets"
    patience = settings.cache_timeout if timeout is None else timeout
    origins = {**settings.origins, "assets_dir": "argument"}
    return replace(settings, assets_dir=folder, cache_timeout=patience, origins=origins)


def _driver(name: str, client: Any | None, settings: dict[str, Any]) -> StoreDriver:
    from holdfast.modelkit.drivers.azure import AzureStorageDriver
    from holdfast.modelkit.drivers.gcs import GCSStorageDriver
    from holdfast.modelkit.drivers.local import LocalStorageDriver
    from holdfast.modelkit.drivers.s3 import S3StorageDriver

    kinds: dict[str, type[StoreDriver]] = {
        "gcs": GCSStorageDriver,
        "s3": S3StorageDriver,
        "az": AzureStorageDriver,
        "local": LocalStorageDriver,
    }
    if name not in kinds:
        hint = nearest(name, list(kinds)) or f"providers: {', '.join(kinds)}"
        raise UnknownDriverError(f"unknown storage provider {name!r}", subject=name, hint=hint)
    return kinds[name](settings, client)


def _checked_prefix(prefix: str) -> str:
    pieces = [piece for piece in prefix.split("/") if piece]
    if any(piece in (".", "..") for piece in pieces):
        raise errors.StorageConfigurationError(
            f"invalid prefix {prefix!r}: '.' and '..' lead elsewhere", subject="prefix"
        )
    return "/".join(pieces)


def _folder(path: str) -> Path:
    from urllib.parse import unquote

    return Path(unquote(path))
