"""Where a site's buckets of media and their copies lie, and how they are opened.

A bucket of media is a bucket of its own at the provider of the site's first store, with its endpoint and credentials: beside
``s3://example-holdfast/site`` lies ``s3://www-example-com-assets-images``, beside ``file:///srv/store`` the folder
``/srv/www-example-com-assets-images``. Its objects are the media as they are, and no version of anything. Its copies lie each under
the bucket's name in the place that the settings give.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from holdfast import wiring
from holdfast.errors import UsageError
from holdfast.sites.stores import store_settings
from holdfast.store.confined import ConfinedStore
from holdfast.store.path import PathStore

if TYPE_CHECKING:
    from holdfast.config import Settings
    from holdfast.sites.plan import Plan
    from holdfast.sites.values import StoreSettings
    from holdfast.store.base import Store

__all__ = ["bucket_settings", "buckets_of_media", "open_bucket", "settings_of"]


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


def open_bucket(store: StoreSettings) -> Store:
    """A store of media or copies. Nothing is asked of it yet. In a folder, links that lead out of it are no objects.

    Raises:
        UsageError, LocalError: its URL or credentials cannot be used; no value of them is told.
    """
    opened = wiring.open_store(store.url, settings_of(store))
    return ConfinedStore(opened.root.resolve()) if type(opened) is PathStore else opened


def settings_of(store: StoreSettings) -> Settings:
    """The settings with which a store is opened; never through a mount, for what is mounted may be what is copied."""
    return replace(store_settings(store), mounts={})
