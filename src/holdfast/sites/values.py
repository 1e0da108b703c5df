"""What a site is told, typed: plain values, and what is wrong with them. No rule is judged here but what a value may look like.

A :class:`Problem` names the setting by the name that the operator wrote: that of ``site.toml``, or the seed's in a template.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "BUILDS",
    "MOUNTERS",
    "PERIODS",
    "Command",
    "CopySettings",
    "MaxDelete",
    "Notify",
    "Problem",
    "RunSettings",
    "SiteSettings",
    "StoreSettings",
]

#: The periods of backups: any of them can be deployed from.
PERIODS: Final = ("hourly", "daily", "weekly", "monthly", "bimonthly", "shutdown", "manual")
#: What a site is built from.
BUILDS: Final = ("virgin", "baseline", *PERIODS)
#: The programs that mount a bucket.
MOUNTERS: Final = ("rclone", "s3fs", "goofys", "geesefs", "mount-s3")


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, or worth knowing, with a setting."""

    setting: str
    message: str


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """One store. ``profile`` is one of the user's settings, ``credentials`` a file of them, ``keys`` what a template gave."""

    url: str
    endpoint: str | None = None
    region: str | None = None
    profile: str | None = None
    credentials: str | None = None
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Command:
    """A program with its arguments, never a shell; ``deadline`` in seconds, ``into`` the file that takes its output."""

    run: tuple[str, ...]
    deadline: float = 3600.0
    into: str | None = None


@dataclass(frozen=True, slots=True)
class CopySettings:
    """A place elsewhere for copies of the buckets of media; ``two_way``: web servers write there as well, so deletions there count."""

    store: StoreSettings
    two_way: bool = False


@dataclass(frozen=True, slots=True)
class MaxDelete:
    """So many deletions in one run are believed: as many ``objects``, or as many per cent of all, whichever is more; but not most of all."""

    percent: float = 5.0
    objects: int = 50


@dataclass(frozen=True, slots=True)
class Notify:
    """Who is told: a program, or an address that takes a POST. ``levels`` are of ERROR and INFO, ``deadline`` seconds."""

    run: tuple[str, ...] = ()
    webhook: str | None = field(default=None, repr=False)
    levels: tuple[str, ...] = ("ERROR", "INFO")
    deadline: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """What ``asset site run`` does by itself: periods of backups, seconds between two runs of the others (0: never), where it listens."""

    backups: tuple[str, ...] = ("hourly", "daily", "weekly", "monthly", "bimonthly")
    replicate: float = 600.0
    mounts: float = 15.0
    sync: float = 60.0
    listen: str = "127.0.0.1:8290"
    failover_after: float = 60.0
    failback_after: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteSettings:
    """Every setting of a site; ``names`` are what they were called where they were read."""

    site_url: str = ""
    display_name: str = ""
    webroot: str = "/var/www/html"
    application: str = "none"
    build: str = "virgin"
    persist: bool = False
    directories: tuple[str, ...] = ()
    legacy_dots: bool = False
    sync_webroots: bool = False
    mounter: str = "rclone"
    web_user: str = "www-data"
    absolute_roots: tuple[str, ...] = ()
    buckets: Mapping[str, str] = field(default_factory=dict)
    config_file: str | None = None
    local: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    state: str | None = None
    stores: tuple[StoreSettings, ...] = ()
    before_backup: tuple[Command, ...] = ()
    after_restore: tuple[Command, ...] = ()
    keep: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    lease: float = 120.0
    gap: float = 0.0
    quota: int = 0
    copies: tuple[CopySettings, ...] = ()
    keep_deleted: float = 30 * 86400.0
    max_delete: MaxDelete = field(default_factory=MaxDelete)
    notify: tuple[Notify, ...] = ()
    run: RunSettings = field(default_factory=RunSettings)
    names: Mapping[str, str] = field(default_factory=dict, repr=False)

    def called(self, key: str) -> str:
        """What a setting was called where it was read."""
        return self.names.get(key, key)
