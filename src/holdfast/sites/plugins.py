"""Settings of offload plugins, so that an application itself puts its media where a deployment would: pure texts, one template each.

WordPress: a file for ``wp-content/mu-plugins`` that WP Offload Media reads before it starts. Joomla: the parameters of Akeeba's Amazon
S3 Filesystem, as Joomla keeps those of a plugin. The names of settings are the plugins' own; none of them runs in our tests. No
secret is in a text: WordPress takes keys from the environment of PHP, Joomla from who fills them in.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from holdfast.errors import UsageError
from holdfast.sites.buckets import bucket_settings
from holdfast.sites.directories import WHOLE, Item
from holdfast.sites.rules import buckets_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from holdfast.sites.plan import Plan

__all__ = ["PLUGINS", "Exported", "Target", "export_plugin"]

#: What the environment variables are called that a WordPress text reads.
_KEY_NAMES: Final = ("MEDIA_ACCESS_KEY_ID", "MEDIA_SECRET_ACCESS_KEY")
_AWS_REGION: Final = "us-east-1"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a plugin puts media: ``endpoint`` is None at Amazon; ``prefix`` has no slash at either end."""

    site: str
    bucket: str
    region: str
    endpoint: str | None = None
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class Exported:
    """The settings of a plugin: a text and where it goes; ``notes`` are what is left to do."""

    plugin: str
    bucket: str
    where: str
    text: str
    notes: tuple[str, ...]


def export_plugin(plan: Plan, name: str, chosen: Mapping[str, str]) -> Exported:
    """The settings of an application's plugin for this site's media; ``chosen`` are buckets that the settings name.

    Raises:
        UsageError: no plugin, another application's, or media that it cannot put into one bucket of S3.
    """
    if name not in PLUGINS:
        raise UsageError(f"there is no plugin for {name!r}", subject=name, hint=f"one of {', '.join(PLUGINS)}")
    if plan.application not in (name, "none"):
        hint = f"--plugin {plan.application}" if plan.application in PLUGINS else "application says which it is"
        raise UsageError(f"the site runs {plan.application}, not {name}", subject=name, hint=hint)
    return PLUGINS[name](_target(plan, name, chosen))


def _target(plan: Plan, name: str, chosen: Mapping[str, str]) -> Target:
    """The bucket that a deployment of the first directory of media would fill."""
    if plan.mode == "whole" or not plan.media or not plan.media[0]:
        hint = "a plugin takes one directory: directories_to_mount names it"
        raise UsageError(f"a {name} plugin has no use for {WHOLE}, nor for none", subject=name, hint=hint)
    directory = plan.media[0]
    merged = next((mount for mount in plan.mounts if mount.directory == directory and len(mount.buckets) > 1), None)
    if merged is not None:
        raise UsageError(f"{directory} is spread over several buckets, a plugin knows one", subject=directory)
    store = plan.stores[0]
    if urlsplit(store.url).scheme != "s3":
        hint = "the first of [[stores]] must be s3://…"
        raise UsageError(f"a plugin needs a bucket of S3, and {store.url} is none", subject=store.url, hint=hint)
    bucket = buckets_of(plan.site, Item(directory), chosen)[0]
    parts = urlsplit(bucket_settings(store, bucket).url)
    return Target(plan.site, parts.netloc, store.region or _AWS_REGION, store.endpoint, parts.path.strip("/"))


def _wordpress(target: Target) -> Exported:
    host = urlsplit(target.endpoint).netloc if target.endpoint is not None else ""
    secure = target.endpoint is None or target.endpoint.startswith("https://")
    rows: dict[str, str] = {
        "provider": _php("aws"),
        "access-key-id": f"(string) getenv( {_php(_KEY_NAMES[0])} )",
        "secret-access-key": f"(string) getenv( {_php(_KEY_NAMES[1])} )",
        "bucket": _php(target.bucket),
        "region": _php(target.region),
        "copy-to-s3": "true",
        "serve-from-s3": "true",
        "enable-object-prefix": "true" if target.prefix else "false",
        "object-prefix": _php(f"{target.prefix}/" if target.prefix else ""),
        "use-yearmonth-folders": "true",
        "object-versioning": "false",
        "force-https": "true" if secure else "false",
        "remove-local-file": "false",
    }
    table = "".join(f"\t{_php(name)} => {value},\n" for name, value in rows.items())
    text = _WORDPRESS.format(site=_comment(target.site), table=table)
    if target.endpoint is not None:
        text += _ELSEWHERE.format(
            endpoint=_php(target.endpoint),
            region=_php(target.region),
            host=_php(host),
            ssl="true" if secure else "false",
        )
    notes = (
        f"give PHP {_KEY_NAMES[0]} and {_KEY_NAMES[1]}, keys that may read, write, delete and list in {target.bucket}",
        "visitors read objects from the bucket: let them, by its policy or through a cache in front of it, or set serve-from-s3 to false",
        "leave wp-content/uploads out of directories_to_mount: either the plugin or a mount",
    )
    return Exported("WP Offload Media", target.bucket, f"wp-content/mu-plugins/{target.site}-offload.php", text, notes)


_WORDPRESS: Final = """\
<?php
/**
 * Settings of WP Offload Media for {site}, written by asset site show --plugin wordpress. Not run by the tests of Holdfast: try it first.
 */
define( 'AS3CF_SETTINGS', serialize( array(
{table}) ) );
"""
#: Another provider than Amazon: the plugin knows its own three alone, and leaves the others to filters.
_ELSEWHERE: Final = """\
add_filter( 'as3cf_aws_s3_client_args', function ( $args ) {{
\t$args['endpoint'] = {endpoint};
\t$args['region'] = {region};
\t$args['use_path_style_endpoint'] = true;
\treturn $args;
}} );
add_filter( 'as3cf_aws_get_regions', function ( $regions ) {{
\t$regions[{region}] = {region};
\treturn $regions;
}} );
add_filter( 'as3cf_aws_s3_url_domain', function ( $domain, $bucket ) {{
\treturn {host} . '/' . $bucket;
}}, 10, 2 );
add_filter( 'as3cf_use_ssl', function () {{
\treturn {ssl};
}} );
"""


def _php(text: str) -> str:
    """A text in PHP: between single quotes only these two mean anything."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _comment(text: str) -> str:
    return text.replace("*/", "")


def _joomla(target: Target) -> Exported:
    connection = {
        "label": target.site,
        "type": "s3" if target.endpoint is None else "custom",
        "customendpoint": target.endpoint or "",
        "accesskey": "",
        "secretkey": "",
        "bucket": target.bucket,
        "signature": "v4",
        "region": target.region if target.endpoint is None else "custom",
        "custom_region": "" if target.endpoint is None else target.region,
        "pathaccess": "virtualhost" if target.endpoint is None else "path",
        "directory": target.prefix,
        "storage_class": "STANDARD",
    }
    text = json.dumps({"connections": {"connections0": connection}, "preview": "always"}, indent=2) + "\n"
    notes = (
        f"type accesskey and secretkey into the plugin's form: keys that may read, write, delete and list in {target.bucket}",
        "the plugin shows addresses that are not signed: visitors must be let read, by the bucket's policy or through a cache",
        "pages that name images/… keep doing so: new media go to the bucket, those that are there stay, or stay mounted",
        "not run by the tests of Holdfast: try it first",
    )
    return Exported(
        "Akeeba Amazon S3 Filesystem",
        target.bucket,
        "parameters of the plugin filesystem/s3 (Joomla 4, 5)",
        text,
        notes,
    )


#: The application → what makes its plugin's settings.
PLUGINS: Final[dict[str, Callable[[Target], Exported]]] = {"wordpress": _wordpress, "joomla": _joomla}
