"""Names of a site's buckets and assets: the original's, so that its deployments are adopted, but checked before use. Pure.

A bucket is ``<site>-assets-<dir>``: the dots of the site's address and the slashes of the directory become hyphens, and two
hyphens one. The original made ``my_uploads`` under one name and mounted it under another, and never looked at length or case:
such names are refused here, with one that would do.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from holdfast.model.digest import digest_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ALTERNATIVE", "WEBROOT", "alternative", "asset_name", "bucket_of", "collisions", "site_of", "why_illegal"]

#: What the bucket of a whole webroot is called instead of a directory.
WEBROOT: Final = "webroot"
_HOST: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*\Z")
_LEGAL: Final = re.compile(r"[a-z0-9][a-z0-9-]*[a-z0-9]\Z")
_SHORTEST, _LONGEST = 3, 63
#: The setting by which a directory gets another bucket.
ALTERNATIVE: Final = "buckets"


def site_of(url: str) -> str | None:
    """The site's own name: its host, dots turned into hyphens; None where that is no host name."""
    host = re.sub(r"^https?://", "", url.strip()).partition("/")[0]
    return host.replace(".", "-") if _HOST.match(host) else None


def bucket_of(site: str, directory: str, branch: int | None = None) -> str:
    """The original's name of a directory's bucket; of one branch, where several are merged."""
    piece = directory.replace("/", "-") + ("" if branch is None else str(branch))
    return re.sub("-+", "-", f"{site}-assets-{piece}").rstrip("-")


def why_illegal(name: str) -> str | None:
    """Why no bucket can have this name, or not the same one with every program; None where it can."""
    if not _SHORTEST <= len(name) <= _LONGEST:
        return f"has {len(name)} characters, a bucket's name {_SHORTEST} to {_LONGEST}"
    if name != name.lower():
        return "has capital letters, which no bucket has"
    if "_" in name:
        return "has an underscore, which the original's programs spelled in two ways"
    if not _LEGAL.match(name):
        return "may hold letters, digits and hyphens only, and begins and ends with a letter or digit"
    return None


def alternative(site: str, directory: str) -> str:
    """A legal name that stays the same, and that no other directory gets."""
    token = digest_of(f"{site}\0{directory}".encode())[:8]
    stem = re.sub("[^a-z0-9]+", "-", f"{site}-assets-{directory}".lower()).strip("-")
    return f"{stem[: _LONGEST - len(token) - 1].rstrip('-')}-{token}"


def collisions(buckets: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """The pairs of directories that would share a bucket, each with its name; ``buckets`` is directory → bucket."""
    seen: dict[str, str] = {}
    found = []
    for directory, bucket in buckets.items():
        if bucket in seen:
            found.append((seen[bucket], directory, bucket))
        seen.setdefault(bucket, directory)
    return found


def asset_name(site: str, period: str) -> str:
    """The asset whose versions are the backups of a period, or the baselines."""
    return f"sites/{site}/{period}"
