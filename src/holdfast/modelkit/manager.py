"""``AssetsManager``: fetch an asset by its spec into a local folder. One class for modelkit's users and the seed's readers.

Example::

    manager = AssetsManager(assets_dir="/path", storage_prefix="modelkit-assets")
    path = manager.fetch_asset("category/name:1")

The work is done by :mod:`holdfast.retrieve`; here versions of the store and of the folder come together, and its answers get
modelkit's form. A local version that was never pushed is served and never deleted (fault W1 of modelkit).
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any, Final, Literal, overload

from holdfast.cache.assets import AssetsDir
from holdfast.config import load
from holdfast.config.modelkit import load_modelkit
from holdfast.errors import AssetNotFoundError, LocalError, UnreachableError, VersionNotFoundError
from holdfast.formats import layout as keys
from holdfast.model.spec import AssetSpec as CoreSpec
from holdfast.model.version import newest_first, newest_matching, scheme_of
from holdfast.modelkit import errors
from holdfast.modelkit.errors import AssetFetchError, AssetIntegrityError, AssetLockTimeoutError
from holdfast.modelkit.local import LocalAssets, is_storable
from holdfast.modelkit.remote import DEFAULT_PREFIX, NoConfiguredProviderError, StorageProvider, dated
from holdfast.modelkit.settings import AssetSpec
from holdfast.modelkit.versioning.versioning import scheme_behind

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from holdfast.config import Settings
    from holdfast.model.version import VersionScheme
    from holdfast.repository import Repository

__all__ = ["AssetFetchError", "AssetIntegrityError", "AssetLockTimeoutError", "AssetsDirNotFoundError", "AssetsManager"]

_TIMEOUT: Final = 10

logger = logging.getLogger(__name__)


class AssetsDirNotFoundError(LocalError, FileNotFoundError):
    """``assets_dir`` is no folder; it is never made."""


class AssetsManager:
    """Assets in a local folder, and the store that they come from.

    Args:
        assets_dir: the folder, which must exist; else as the settings say (MODELKIT_ASSETS_DIR among them), else the current one.
        timeout: seconds to wait for another process that fetches the same version (MODELKIT_ASSETS_TIMEOUT_S); 10 unless told.
        storage_provider: the store; else the one that the settings name (HOLDFAST_STORE, or MODELKIT_STORAGE_*), if they name one.
            ``False``, or None set on the attribute later, works on the folder alone.
        storage_prefix: what all stored assets lie under; ``modelkit-assets`` unless told, or part of the store's URL.

    Raises:
        AssetsDirNotFoundError: a FileNotFoundError.
        StorageConfigurationError: a StorageDriverError; a setting is wrong, or the store and the folder overlap.
    """

    assets_dir: str
    timeout: int
    storage_provider: StorageProvider | None

    def __init__(
        self,
        assets_dir: str | os.PathLike[str] | None = None,
        timeout: int | None = None,
        storage_provider: StorageProvider | Literal[False] | None = None,
        *,
        storage_prefix: str | None = None,
    ) -> None:
        found = load_modelkit()
        with errors.translated(usage=errors.StorageConfigurationError):
            settings = load({"assets_dir": assets_dir or None}, environ=found.without_storage())
        self.assets_dir = os.fspath(assets_dir or _default_folder(settings))
        if not os.path.isdir(self.assets_dir):
            raise AssetsDirNotFoundError(
                f"the assets folder {self.assets_dir} does not exist",
                subject=self.assets_dir,
                hint="make it, or correct assets_dir=",
            )
        self.timeout = int(timeout or found.assets_timeout or 0) or _TIMEOUT
        self.storage_provider = _provider(storage_provider, settings.store, storage_prefix)
        self._prefix = storage_prefix or found.prefix or DEFAULT_PREFIX
        if self.storage_provider is None:
            logger.info("no store is configured: working on %s alone", self.assets_dir)
        else:
            self._repository(self.storage_provider)  # refuses an overlap now, not at the first fetch

    @property
    def storage_prefix(self) -> str:
        """What all stored assets lie under."""
        return self._prefix if self.storage_provider is None else self.storage_provider.prefix

    @overload
    def fetch_asset(
        self, spec: Any, return_info: Literal[False] = False, force_download: bool | None = None
    ) -> str: ...

    @overload
    def fetch_asset(
        self, spec: Any, return_info: Literal[True], force_download: bool | None = None
    ) -> dict[str, Any]: ...

    @overload
    def fetch_asset(self, spec: Any, return_info: bool, force_download: bool | None = None) -> str | dict[str, Any]: ...

    def fetch_asset(
        self, spec: Any, return_info: bool = False, force_download: bool | None = None
    ) -> str | dict[str, Any]:
        """Bring an asset to this machine, unless it is here, and tell where it is.

        Args:
            spec: ``name[:version][[sub_part]]`` as a text or an :class:`AssetSpec`, which is left as it is.
            return_info: answer a dict of path, from_cache, meta, version, object_name, meta_object_name and
                versions_object_name instead of the path. Of a bare local path, what there is in no store is None.
            force_download: fetch again; the old copy stays until the new one is whole. Else as the provider says.

        Raises:
            InvalidAssetSpecError: the text is no spec.
            ObjectDoesNotExistError, LocalAssetDoesNotExistError, AssetDoesNotExistError, AssetMajorVersionDoesNotExistError:
                there is no such asset or version; each is a NotFoundError.
            StorageDriverError: the store refuses, does not answer, or cannot be forced because there is none.
            AssetFetchError: the bytes are wrong, the sub-part is missing, or the timeout passed.
        """
        wanted = AssetSpec.from_string(spec) if isinstance(spec, str) else _of(spec)
        provider = self.storage_provider
        force = provider is not None and provider.force_download if force_download is None else bool(force_download)
        logger.debug("fetching %s", wanted)
        with errors.translated():
            if provider is None:
                info = self._local(wanted, force=force)
            else:
                info = self._remote(wanted, self._repository(provider), force=force, with_meta=return_info)
        path = info["path"] = _within(str(info["path"]), wanted)
        logger.info("fetched %s: version %s, from_cache %s", wanted, info["version"], info["from_cache"])
        return info if return_info else path

    # the store and the folder together

    def _repository(self, provider: StorageProvider) -> Repository:
        return provider.repository(self.assets_dir, self.timeout)

    def _remote(self, spec: AssetSpec, repository: Repository, *, force: bool, with_meta: bool) -> dict[str, Any]:
        if not is_storable(spec.name):
            return self._bare(spec)
        scheme = scheme_behind(spec.versioning)
        pinned = spec.version is not None and scheme.is_full(spec.version)
        version = spec.version if pinned else self._newest(spec, repository, scheme, force=force)
        if version is None:
            return self._bare(spec)
        cached = None if force or with_meta else repository.local.cached_path(spec.name, version)
        if cached is not None:
            return self._info(spec.name, version, str(cached), {})
        try:
            fetched = repository.fetch_info(CoreSpec(spec.name, version), force=force)
        except (AssetNotFoundError, VersionNotFoundError):
            if force or not self._is_own(spec.name, version, repository):
                raise
            return self._info(spec.name, version)
        return self._info(spec.name, version, fetched.path, fetched.meta, from_cache=fetched.from_cache)

    def _newest(self, spec: AssetSpec, repository: Repository, scheme: VersionScheme, *, force: bool) -> str | None:
        """The newest of the store's versions and the folder's own (by force: of the store's), or None for a local path."""
        here = [v for v in self._local_assets().versions(spec.name) if repository.local.is_ours(spec.name, v)]
        if force:
            here = []
        try:
            listed: tuple[str, ...] = repository.versions(spec.name).versions
        except AssetNotFoundError:
            if not any(scheme.is_full(version) for version in here):
                if spec.version is None and self._local_assets().path(spec.name) is not None:
                    return None
                raise
            listed = ()
        except UnreachableError as error:
            if newest_matching(here, spec.version, scheme) is None:
                raise
            listed = ()
            logger.warning("the store does not answer, so %s is the newest in %s: %s", spec, self.assets_dir, error)
        return _chosen(spec, {*listed, *here}, scheme_of(listed, scheme))

    def _is_own(self, name: str, version: str, repository: Repository) -> bool:
        """Whether a version that the store does not have is here all the same, and of nobody else's store."""
        return self._local_assets().is_servable(name, version) and repository.local.is_ours(name, version)

    # the folder alone

    def _local_assets(self) -> LocalAssets:
        return LocalAssets(AssetsDir(self.assets_dir))

    def _local(self, spec: AssetSpec, *, force: bool) -> dict[str, Any]:
        scheme = scheme_behind(spec.versioning)
        there = [version for version in self._local_assets().versions(spec.name) if scheme.is_full(version)]
        pinned = spec.version is not None and scheme.is_full(spec.version)
        version = spec.version if pinned else newest_matching(there, spec.version, scheme)
        if force and version is not None:
            raise errors.StorageConfigurationError(
                f"cannot download {spec} by force: no store is configured", hint="set a storage provider"
            )
        if version is None and spec.version is None and not there:
            return self._bare(spec)
        if version is None or version not in there:
            raise errors.LocalAssetDoesNotExistError(spec.name, spec.version, newest_first(there, scheme))
        return self._info(spec.name, version)

    def _bare(self, spec: AssetSpec) -> dict[str, Any]:
        """A local path for a spec."""
        path = self._local_assets().path(spec.name) if spec.version is None else None
        if path is None:
            raise errors.AssetDoesNotExistError(spec.name)
        names = dict.fromkeys(("version", "object_name", "meta_object_name", "versions_object_name"))
        return {"path": path, "from_cache": True, "meta": {"is_directory": os.path.isdir(path)}, **names}

    # the answer

    def _info(
        self,
        name: str,
        version: str,
        path: str | None = None,
        meta: dict[str, Any] | None = None,
        *,
        from_cache: bool = True,
    ) -> dict[str, Any]:
        local = self._local_assets()
        stem = f"{self.storage_prefix}/" if self.storage_prefix else ""
        return {
            "path": path or str(local.assets.path_of(name, version)),
            "from_cache": from_cache,
            "meta": dated(local.meta(name, version) if meta is None else meta),
            "version": version,
            "object_name": stem + keys.data_key(name, version),
            "meta_object_name": stem + keys.meta_key(name, version),
            "versions_object_name": stem + keys.versions_key(name),
        }


def _default_folder(settings: Settings) -> Path | str:
    return os.getcwd() if settings.origins["assets_dir"] == "default" else settings.assets_dir


def _provider(
    given: StorageProvider | Literal[False] | None, store: str | None, prefix: str | None
) -> StorageProvider | None:
    """The provider given, or that of Holdfast's own settings, or that of modelkit's variables, or none."""
    if given is False:
        return None
    if given is not None:
        if prefix is not None and prefix.strip("/") != given.prefix:
            raise errors.StorageConfigurationError(
                f"storage_prefix {prefix!r} is not the provider's, {given.prefix!r}",
                hint="give it to the provider as prefix=",
            )
        return given
    if store is not None:
        return StorageProvider.of_store(store, prefix)
    try:
        return StorageProvider(prefix=prefix)
    except NoConfiguredProviderError:
        return None


def _of(spec: Any) -> AssetSpec:
    """A spec of ours, of the core's, or of the real modelkit's, as one of ours; never the same object."""
    system = getattr(spec, "versioning", None)
    part = getattr(spec, "sub_part", None) or getattr(spec, "sub_path", None)
    return AssetSpec(spec.name, None if system is None else scheme_behind(system).name, spec.version, part)


def _chosen(spec: AssetSpec, versions: Collection[str], scheme: VersionScheme) -> str:
    newest = newest_matching(versions, spec.version, scheme)
    if newest is None and spec.version is None:
        raise VersionNotFoundError(f"{spec.name} has no versions", subject=spec.name)
    if newest is None:
        raise errors.AssetMajorVersionDoesNotExistError(spec.name, spec.version or "")
    return newest


def _within(path: str, spec: AssetSpec) -> str:
    """The sub-part of a fetched asset."""
    if not spec.sub_part:
        return path
    part = os.path.join(path, *(piece for piece in spec.sub_part.split("/") if piece))
    if not os.path.lexists(part):
        raise AssetFetchError(f"no {spec.sub_part} in {path}", subject=str(spec), hint="a file asset has no sub-parts")
    return part
