"""holdfast.modelkit has the names, signatures and exceptions of modelkit.assets (reference: modelkit §1, features F3, F49)."""

from __future__ import annotations

import importlib
import inspect
import pickle

import pytest

import holdfast
from holdfast import errors as core
from holdfast.modelkit import errors, manager, remote

NAMES = {
    "manager": ["AssetsManager", "AssetFetchError"],
    "remote": [
        *("StorageProvider", "RemoteAssetsStore", "UnknownDriverError", "DriverNotInstalledError"),
        "NoConfiguredProviderError",
    ],
    "settings": ["AssetSpec"],
    "errors": [
        *("StorageDriverError", "ObjectDoesNotExistError", "AssetsManagerError", "AssetAlreadyExistsError"),
        *(
            "AssetDoesNotExistError",
            "AssetMajorVersionDoesNotExistError",
            "InvalidAssetSpecError",
            "InvalidVersionError",
        ),
        *("InvalidNameError", "LocalAssetDoesNotExistError", "UnknownAssetsVersioningSystemError"),
    ],
    "versioning.versioning": ["AssetsVersioningSystem"],
    "versioning.major_minor": [
        *("MajorMinorAssetsVersioningSystem", "InvalidMajorVersionError", "MajorVersionDoesNotExistError"),
    ],
    "versioning.simple_date": ["SimpleDateAssetsVersioningSystem"],
    "drivers.abc": ["StorageDriver", "StorageDriverSettings"],
    "drivers.local": ["LocalStorageDriver", "LocalStorageDriverSettings"],
    "drivers.s3": ["S3StorageDriver", "S3StorageDriverSettings"],
    "drivers.gcs": ["GCSStorageDriver", "GCSStorageDriverSettings"],
    "drivers.azure": ["AzureStorageDriver", "AzureStorageDriverSettings"],
    "drivers.retry": ["retry_policy", "log_after_retry"],
}

SIGNATURES = [
    (manager.AssetsManager, ["assets_dir", "timeout", "storage_provider", "storage_prefix"]),
    (manager.AssetsManager.fetch_asset, ["self", "spec", "return_info", "force_download"]),
    (
        remote.StorageProvider,
        ["timeout_s", "prefix", "force_download", "provider", "client", "driver_settings"],
    ),
    (remote.StorageProvider.new, ["self", "asset_path", "name", "version", "dry_run", "layout"]),
    (remote.StorageProvider.update, ["self", "asset_path", "name", "version", "dry_run", "layout"]),
    (remote.StorageProvider.push, ["self", "asset_path", "name", "version", "dry_run", "layout"]),
    (remote.StorageProvider.download, ["self", "name", "version", "destination"]),
    (remote.StorageProvider.get_versions_info, ["self", "name"]),
    (remote.StorageProvider.get_asset_meta, ["self", "name", "version"]),
    (remote.StorageProvider.iterate_assets, ["self"]),
    (remote.StorageProvider.get_object_name, ["self", "name", "version"]),
    (remote.StorageProvider.get_meta_object_name, ["self", "name", "version"]),
    (remote.StorageProvider.get_versions_object_name, ["self", "name"]),
]

TREE = {
    "ObjectDoesNotExistError": "StorageDriverError",
    "AssetAlreadyExistsError": "AssetsManagerError",
    "AssetDoesNotExistError": "AssetsManagerError",
    "AssetMajorVersionDoesNotExistError": "AssetsManagerError",
    "InvalidAssetSpecError": "AssetsManagerError",
    "InvalidVersionError": "InvalidAssetSpecError",
    "InvalidNameError": "InvalidAssetSpecError",
    "LocalAssetDoesNotExistError": "AssetsManagerError",
    "UnknownAssetsVersioningSystemError": "AssetsManagerError",
}

MADE = [
    (errors.ObjectDoesNotExistError("driver", "bucket", "a.meta"), core.ObjectNotFoundError),
    (errors.AssetAlreadyExistsError("a"), core.AlreadyExistsError),
    (errors.AssetDoesNotExistError("a"), core.AssetNotFoundError),
    (errors.AssetMajorVersionDoesNotExistError("a", "7"), core.VersionNotFoundError),
    (errors.InvalidAssetSpecError("a["), core.InvalidSpecError),
    (errors.InvalidVersionError("x"), core.InvalidVersionError),
    (errors.InvalidNameError("_"), core.InvalidNameError),
    (errors.LocalAssetDoesNotExistError("a", "1.0", ["0.0", "0.1"]), core.VersionNotFoundError),
    (errors.UnknownAssetsVersioningSystemError("x"), core.UsageError),
    (errors.StorageDriverError(), core.HoldfastError),
    (errors.AssetFetchError("late"), core.HoldfastError),
    (errors.AssetLockTimeoutError("late"), TimeoutError),
]


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in NAMES.items() for name in names])
def test_modules__names(module, name):
    """Every public name of modelkit.assets is in the sub-module of the same name."""
    assert hasattr(importlib.import_module(f"holdfast.modelkit.{module}"), name)


@pytest.mark.parametrize(("function", "parameters"), SIGNATURES, ids=lambda value: getattr(value, "__qualname__", ""))
def test_signatures(function, parameters):
    """The parameters are modelkit's, in its order; what is ours comes after them and is keyword-only."""
    assert list(inspect.signature(function).parameters) == parameters
    ours = {"storage_prefix", "layout"}
    kinds = {name: parameter.kind for name, parameter in inspect.signature(function).parameters.items()}
    assert all(kinds[name] is inspect.Parameter.KEYWORD_ONLY for name in ours & kinds.keys())


def test_manager__is_one_class():
    """The class at the top of the package and the drop-in's are one."""
    assert holdfast.AssetsManager is manager.AssetsManager


def test_remote__has_both_names():
    """The provider's name in the seed's time is an alias of today's."""
    assert remote.RemoteAssetsStore is remote.StorageProvider


@pytest.mark.parametrize(("child", "parent"), TREE.items())
def test_errors__tree(child, parent):
    """An except clause for modelkit's base finds modelkit's errors."""
    assert issubclass(getattr(errors, child), getattr(errors, parent))


@pytest.mark.parametrize(
    "kind",
    [
        manager.AssetFetchError,
        remote.UnknownDriverError,
        remote.DriverNotInstalledError,
        remote.NoConfiguredProviderError,
    ],
)
def test_errors__outside_the_tree(kind):
    """Four errors stand outside both bases, as in modelkit."""
    assert not issubclass(kind, errors.StorageDriverError | errors.AssetsManagerError)


@pytest.mark.parametrize(("error", "kind"), MADE, ids=lambda value: type(value).__name__)
def test_errors__are_ours_too(error, kind):
    """Each error is made with modelkit's arguments, is one of holdfast.errors, and survives a process border."""
    assert isinstance(error, kind)
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (type(copy), str(copy)) == (type(error), str(error))
    assert str(error)


def test_errors__sentences_are_not_wrapped_twice():
    """A message that is a sentence stays as it is (modelkit wraps it again)."""
    assert str(errors.AssetAlreadyExistsError("a/b")) == "asset a/b exists"
    assert str(errors.AssetAlreadyExistsError("a/b:1.0 is claimed")) == "a/b:1.0 is claimed"
