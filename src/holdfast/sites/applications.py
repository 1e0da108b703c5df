"""What is known of the applications that a site can run: data alone.

Paths are relative to the webroot. ``local`` directories stay on each machine: they are in no backup, no bucket and no sync. The
configuration file holds secrets of the machine, and is treated so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["APPLICATIONS", "Application"]


@dataclass(frozen=True, slots=True)
class Application:
    """``media`` is mounted where nothing else is said; ``marks`` are paths by which its backups are known.

    ``plugin`` is one of its own that puts media into a bucket, so that nothing needs to be mounted.
    """

    name: str
    media: tuple[str, ...] = ()
    config_file: str | None = None
    local: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    plugin: str | None = None


_SCRATCH: Final = ("logs", "tmp", "cache")
_ALL: Final = (
    Application("none"),
    Application(
        "joomla",
        media=("images",),
        config_file="configuration.php",
        local=(*_SCRATCH, "administrator/logs", "administrator/cache"),
        marks=("administrator/index.php", "includes/app.php"),
        plugin="Akeeba Amazon S3 Filesystem",
    ),
    Application(
        "wordpress",
        media=("wp-content/uploads",),
        config_file="wp-config.php",
        local=(*_SCRATCH, "wp-content/cache"),
        marks=("wp-load.php", "wp-includes/version.php"),
        plugin="WP Offload Media",
    ),
    Application(
        "drupal",
        media=("sites/default/files",),
        config_file="sites/default/settings.php",
        local=_SCRATCH,
        marks=("core/lib/Drupal.php", "core/core.services.yml"),
        plugin="S3 File System (s3fs)",
    ),
    Application(
        "moodle",
        media=("moodledata/filedir",),
        config_file="config.php",
        local=(*_SCRATCH, "moodledata/cache", "moodledata/localcache", "moodledata/temp", "moodledata/sessions"),
        marks=("lib/moodlelib.php", "version.php"),
        plugin="Alternative File System (objectfs)",
    ),
)
#: By name.
APPLICATIONS: Final[dict[str, Application]] = {each.name: each for each in _ALL}
