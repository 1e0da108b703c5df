"""The stores of a site, opened: each with its own endpoint and credentials, in the order of the settings.

Credentials come from where the cloud's own tools look, from a profile of the user's settings, from a file that its owner alone can
read, or from a template; none of them is ever on a command line or in an error.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from holdfast import wiring
from holdfast.config import load
from holdfast.errors import AssetNotFoundError, HoldfastError, LocalError, UsageError
from holdfast.server.credentials import checked_credentials, read_credentials

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.config import Settings
    from holdfast.model.result import Progress
    from holdfast.repository import Repository
    from holdfast.sites.values import StoreSettings

__all__ = ["SiteStore", "Stores", "place_of", "store_settings", "versions_of"]

#: What would stand in the way of keys that are given.
_BESIDE_KEYS: Final = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


class SiteStore:
    """One store of a site. It is opened when it is first used; nothing is asked of it before."""

    def __init__(
        self, settings: StoreSettings, *, progress: Progress, jobs: int | None, limit_rate: int | None
    ) -> None:
        self.settings = settings
        self._progress = progress
        self._jobs = jobs
        self._limit_rate = limit_rate
        self._opened: Repository | None = None

    @property
    def url(self) -> str:
        """Its URL."""
        return self.settings.url

    @property
    def place(self) -> str:
        """What tells it from every other."""
        return place_of(self.settings)

    @property
    def repository(self) -> Repository:
        """Its repository, whose versions are dates.

        Raises:
            UsageError, LocalError: the credentials cannot be used, or the URL.
        """
        if self._opened is None:
            self._opened = wiring.open_settings(
                store_settings(self.settings), progress=self._progress, jobs=self._jobs, limit_rate=self._limit_rate
            )
        return self._opened


class Stores:
    """All stores of a site, the nearest first."""

    def __init__(
        self,
        settings: Sequence[StoreSettings],
        *,
        progress: Progress,
        jobs: int | None = None,
        limit_rate: int | None = None,
    ) -> None:
        self.all = [SiteStore(each, progress=progress, jobs=jobs, limit_rate=limit_rate) for each in settings]

    def holding(self, name: str, version: str | None) -> list[tuple[SiteStore, tuple[str, ...]]]:
        """The stores that answer and have this asset (or version), each with its versions, newest first.

        Raises:
            HoldfastError: of the first store, where none answers.
        """
        found, errors = [], []
        for store in self.all:
            try:
                versions = versions_of(store.repository, name)
            except HoldfastError as error:
                errors.append(error)
                continue
            if versions and (version is None or version in versions):
                found.append((store, versions))
        if len(errors) == len(self.all):
            raise errors[0]
        return found


def versions_of(repository: Repository, name: str) -> tuple[str, ...]:
    """The versions of an asset, newest first; none where the store has no such asset.

    Raises:
        BucketNotFoundError: the store itself is not there, which is not to be taken for an empty one.
    """
    try:
        return repository.versions(name).versions
    except AssetNotFoundError:
        repository.store.list_level(name)
        return ()


def place_of(store: StoreSettings) -> str:
    """What tells one store or bucket from every other: two providers may have buckets of one name."""
    url = store.url.rstrip("/")
    return f"{url}@{store.endpoint}" if store.endpoint else url


def store_settings(store: StoreSettings) -> Settings:
    """The settings of one store."""
    arguments = {"store": store.url, "endpoint": store.endpoint, "region": store.region, "versioning": "simple_date"}
    keys = dict(store.keys) or _credentials(store)
    if not keys:
        return load(arguments, profile=store.profile)
    environ = {name: value for name, value in load({}).environ.items() if name not in _BESIDE_KEYS}
    return load(arguments, environ | keys, profile=store.profile)


def _credentials(store: StoreSettings) -> dict[str, str]:
    """What is in the file of a store's credentials, if it has one.

    Raises:
        UsageError: others may read it, or it is not what it must be; no value is told.
        LocalError: it cannot be read.
    """
    if store.credentials is None:
        return {}
    path = Path(store.credentials)
    try:
        with path.open(encoding="utf-8") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read()
    except OSError as error:
        raise LocalError(f"cannot read {path}: {error.strerror}", subject=str(path)) from error
    if mode & 0o077:
        raise UsageError(f"others may read {path}", subject=str(path), hint=f"chmod 600 {path}")
    return checked_credentials(store.url, read_credentials(text))
