"""The ``site.toml`` that ``asset site init`` writes: every setting with a comment, readable by its owner only from birth."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Final

from holdfast.disk import local_errors, refuse_unwritable
from holdfast.errors import AlreadyExistsError

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.sites.values import SiteSettings, StoreSettings

__all__ = ["adopted_text", "initial_text", "refuse_to_write", "write_private"]

_TEXT: Final = """\
# A site of Holdfast: a webroot whose media may live in buckets. `asset site check` judges what stands here and touches nothing.

# The site's address; its dots as hyphens are the beginning of every bucket's name.
site_url = {site_url}
# The name that visitors read: replaced by a placeholder in baselines.
display_name = ""
# Where the application lies on the web servers.
webroot = {webroot}
# none, joomla, wordpress, drupal or moodle: says which directories hold media, what stays local, and where the configuration is.
application = {application}
# What the site is built from: virgin, baseline, or a backup: hourly, daily, weekly, monthly, bimonthly, shutdown, manual.
build = "virgin"

# 1: the directories below live in buckets and are mounted. 0 with a virgin or baseline build; media are in every backup then.
persist_assets_to_cloud = 0
# "images:media/videos", an absolute path in one of absolute_roots, "merge=images4" (four buckets), or "WHOLE-WEBROOT".
# Empty: the application's own.
directories_to_mount = ""
# Folders in which absolute paths may lie.
absolute_roots = []
# rclone, s3fs, goofys, geesefs or mount-s3. A whole webroot: rclone.
mounter = "rclone"
# What is mounted shows the bucket's own mark: the web server must not. nginx: location ~ /\\.holdfast {{ return 404; }}
# Apache: RedirectMatch 404 "/\\.holdfast"
# The user that the web server runs as.
web_user = "www-data"
# 1: changes on one web server reach the others; never what is mounted or stays local.
sync_webroots = 0

# Paths that stay on each machine, beside the application's logs, tmp, cache; the configuration file where it is another.
local = []
# config_file = "configuration.php"
# Patterns that no backup has: "*.log" anywhere, "/downloads" at the top only.
exclude = []
# Where moved-aside copies and journals lie: outside of the webroot.
# state = "/var/lib/holdfast/sites/NAME"
# How long a web server that died keeps the others from its work; and the least time between two backups of one period.
lease = "2m"
gap = "0s"
# How many bytes the buckets together may hold, as the provider's contract says: 250G. `asset site status` tells how much is used. 0: unknown.
quota = 0

# How long copies of buckets keep what was deleted or overwritten; so many deletions at once are not believed without your word.
keep_deleted = "30d"
max_delete = {{ percent = 5, objects = 50 }}

# Stores of the backups, the nearest first. Credentials: as the cloud's own tools read them, a profile of the user's settings, or
# a file of NAME=value lines that only its owner can read.
[[stores]]
url = {store}
# endpoint = "https://..."
# region = "..."
# credentials = "/etc/holdfast/site.keys"

# Copies of the buckets of media, in another region or at another provider: a place of its own, in which each bucket has a folder.
# two_way = true: web servers write there as well, so that what is deleted there is deleted here.
# [[copies]]
# url = "s3://example-copies/site"
# endpoint = "https://..."
# region = "..."
# credentials = "/etc/holdfast/copies.keys"
# two_way = false

# Who is told when a backup, mount, sync or copy fails, is late, or is well again: a program (no shell), or an address.
# [[notify]]
# run = ["/usr/local/bin/tell-me"]
# levels = ["ERROR", "INFO"]
# deadline = "30s"
# [[notify]]
# webhook = "https://hooks.example.com/..."
# levels = ["ERROR"]

# What `asset site run` does by itself, and the port of this machine on which it tells how the site is ("": none).
[run]
backups = ["hourly", "daily", "weekly", "monthly", "bimonthly"]
replicate = "10m"
mounts = "15s"
sync = "1m"
failover_after = "1m"
failback_after = "10m"
listen = "127.0.0.1:8290"

# Another bucket for a directory, where the name made of it does not do.
# [buckets]
# "my_uploads" = "..."

# Commands around a backup and after a restore, without a shell; one that fails, or takes longer than its deadline, fails it too.
# `{{dir}}` is a folder that becomes part of the backup; `into` a file there that takes what the command prints.
# [[before_backup]]
# run = ["mysqldump", "--single-transaction", "site"]
# into = "database.sql"
# deadline = "10m"
# [[after_restore]]
# run = ["/usr/local/bin/load-dump", "{{dir}}/database.sql"]

# What is kept of each period: so many of the newest (last), or the newest of so many hours, days, weeks, months, years.
[keep]
hourly = {{ last = 24, hourly = 48, daily = 7 }}
daily = {{ last = 7, daily = 30 }}
weekly = {{ last = 4, weekly = 12 }}
monthly = {{ last = 3, monthly = 24 }}
bimonthly = {{ last = 3, monthly = 24 }}
shutdown = {{ last = 10 }}
"""


def initial_text(*, site_url: str, webroot: str, application: str, store: str) -> str:
    """The file's text with these values."""
    values = {"site_url": site_url, "webroot": webroot, "application": application, "store": store}
    return _TEXT.format(**{name: json.dumps(value, ensure_ascii=False) for name, value in values.items()})


def adopted_text(settings: SiteSettings, *, store: str) -> str:
    """The file's text with the settings that a template has; ``store`` is the first store where it names none.

    Keys are in no site.toml: a store's place for them stays to be filled in.
    """
    text = initial_text(
        site_url=settings.site_url, webroot=settings.webroot, application=settings.application, store=store
    )
    values: dict[str, object] = {
        "display_name": settings.display_name,
        "build": settings.build,
        "persist_assets_to_cloud": int(settings.persist),
        "directories_to_mount": ":".join(settings.directories),
        "mounter": settings.mounter,
        "sync_webroots": int(settings.sync_webroots),
    }
    if settings.state is not None:
        values["state"] = settings.state
    for key, value in values.items():
        line = f"{key} = {json.dumps(value, ensure_ascii=False)}"
        text = re.sub(rf"^(# )?{key} = .*$", lambda _, line=line: line, text, count=1, flags=re.MULTILINE)  # type: ignore[misc]
    if settings.stores:
        stores = "\n".join(_store_text(each) for each in settings.stores)
        text = re.sub(r"^\[\[stores\]\]\n(.+\n)+", lambda _: stores, text, count=1, flags=re.MULTILINE)
    return text


def _store_text(store: StoreSettings) -> str:
    lines = ["[[stores]]", f"url = {json.dumps(store.url)}"]
    for name, value in (("endpoint", store.endpoint), ("region", store.region)):
        lines.append(f'# {name} = "..."' if value is None else f"{name} = {json.dumps(value)}")
    return "\n".join([*lines, '# credentials = "/etc/holdfast/site.keys"', ""])


def refuse_to_write(path: Path) -> None:
    """Raise what :func:`write_private` would, as far as is known without writing.

    Raises:
        AlreadyExistsError, LocalError: as that.
    """
    if os.path.lexists(path):
        raise _exists(path)
    refuse_unwritable(path)


def write_private(path: Path, text: str) -> None:
    """Create a file that only its owner may read; never over another.

    Raises:
        AlreadyExistsError: something is there.
        LocalError: it cannot be written.
    """
    with local_errors(path.parent):
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        except FileExistsError:
            raise _exists(path) from None
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())


def _exists(path: Path) -> AlreadyExistsError:
    return AlreadyExistsError(f"{path} exists", subject=str(path), hint="edit it, or name another with --file")
