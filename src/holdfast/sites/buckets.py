"""Where a site's buckets of media and their copies lie, and how they are opened.

A bucket of media is a bucket of its own at the provider of the site's first store, with its endpoint and credentials: beside
``s3://example-holdfast/site`` lies ``s3://www-example-com-assets-images``, beside ``file:///srv/store`` the folder
``/srv/www-example-com-assets-images``. Its objects are the media as they are, and no version of anything. Its copies lie each under
the bucket's name in the place that the settings give.
"""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

from holdfast import wiring
from holdfast.config import load
from holdfast.errors import LocalError, UsageError
from holdfast.server.credentials import checked_credentials, read_credentials
from holdfast.store.confined import ConfinedStore
from holdfast.store.path import PathStore

if TYPE_CHECKING:
    from holdfast.config import Settings
    from holdfast.sites.plan import Plan
    from holdfast.sites.values import StoreSettings
    from holdfast.store.base import Store

__all__ = ["bucket_settings", "buckets_of_media", "open_bucket", "place_of_bucket"]

#: What would stand in the way of keys that are given.
_BESIDE_KEYS: Final = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def bucket_settings(store: StoreSettings, bucket: str) -> StoreSettings:
    """The bucket of media beside a store: the same provider, endpoint and credentials. Pure."""
    parts = urlsplit(store.url)
    if parts.scheme in ("file", "memory"):
        base, _, _ = store.url.rstrip("/").rpartition("/")
        return replace(store, url=f"{base}/{bucket}")
    return replace(store, url=urlunsplit((parts.scheme, bucket, "", "", "")))


def buckets_of_media(plan: Plan) -> tuple[str, ...]:
    """The names of a site's buckets.

    Raises:
        UsageError: its media live in no bucket.
    """
    buckets = tuple(bucket for mount in plan.mounts for bucket in mount.buckets)
    if not buckets:
        raise UsageError(
            f"no directory of {plan.site_url} lives in a bucket",
            subject=plan.site,
            hint="media are in every backup then; persist_assets_to_cloud = 1 puts them into buckets",
        )
    return buckets


def place_of_bucket(store: StoreSettings) -> str:
    """What tells one bucket from every other: two providers may have buckets of one name."""
    return f"{store.url.rstrip('/')}@{store.endpoint}" if store.endpoint else store.url.rstrip("/")


def open_bucket(store: StoreSettings) -> Store:
    """A store of media or copies. Nothing is asked of it yet. In a folder, links that lead out of it are no objects.

    Raises:
        UsageError, LocalError: its URL or credentials cannot be used; no value of them is told.
    """
    opened = wiring.open_store(store.url, _settings(store))
    return ConfinedStore(opened.root.resolve()) if type(opened) is PathStore else opened


def _settings(store: StoreSettings) -> Settings:
    arguments = {"store": store.url, "endpoint": store.endpoint, "region": store.region}
    keys = dict(store.keys) or _credentials(store)
    if not keys:
        return load(arguments, profile=store.profile)
    environ = {name: value for name, value in load({}).environ.items() if name not in _BESIDE_KEYS}
    return load(arguments, environ | keys, profile=store.profile)


def _credentials(store: StoreSettings) -> dict[str, str]:
    """What is in the file of a store's credentials, if it has one; refused where others may read it."""
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
