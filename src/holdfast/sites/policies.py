"""Who needs which rights on S3: one policy for each role, so that each gets a key pair of its own. Pure: a plan in, policies out.

A web server that is broken into can change the media that it serves, and read the site's backups, but change or delete none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from holdfast.errors import UsageError
from holdfast.formats.layout import OWN, copied_key, copy_pairs_key, encode_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.sites.plan import Plan

__all__ = ["ROLES", "policies"]

#: Each role with what it is for.
ROLES: Final = {
    "deploy": "the build machine: asset site deploy, detach --offline",
    "web": "every web server: asset site attach, status, purge, detach, and its mounter",
    "backup": "who makes backups: asset site backup, restore, drill",
    "replicate": "who copies the buckets: asset site replicate, here and at the other provider",
}
_READ: Final = ("s3:GetObject",)
_WRITE: Final = (*_READ, "s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")
_CHANGE: Final = (*_WRITE, "s3:DeleteObject")
_LIST: Final = ("s3:ListBucket", "s3:GetBucketLocation")
_MAKE: Final = ("s3:CreateBucket", "s3:PutBucketAcl")


def policies(plan: Plan) -> dict[str, dict[str, Any]]:
    """The policy of each role, as S3 reads it.

    Raises:
        UsageError: the first store of the site is none on S3.
    """
    if urlsplit(plan.stores[0].url).scheme != "s3":
        raise UsageError(
            f"{plan.stores[0].url} is no bucket on S3", subject=plan.stores[0].url, hint="policies are for S3 only"
        )
    stores = _places([store.url for store in plan.stores])
    copies = _places([copy.store.url for copy in plan.copies]) if plan.mounts else []
    media = [bucket for mount in plan.mounts for bucket in mount.buckets]
    own = f"{OWN}/sites/{encode_name(plan.site)}"
    common = [_statement(_LIST, [_bucket(bucket) for bucket, _ in stores])]
    if media:
        common.append(_statement(_LIST, [_bucket(bucket) for bucket in media]))
    inside = [f"{_bucket(bucket)}/*" for bucket in media]
    kept = [f"{own}/nodes/*", f"{own}/sync/*", f"{own}/leases/*", f"{OWN}/probe/*"]
    statements = {
        "deploy": [
            *_each(("s3:ListAllMyBuckets",), ["*"] if media else []),
            *_each(_MAKE, [_bucket(bucket) for bucket in media]),
            *_each(_CHANGE, inside),
            _statement(_WRITE, _keys(stores, "*")),
            _statement(("s3:DeleteObject",), _keys(stores, f"{OWN}/probe/*")),
        ],
        "web": [
            *_each(_CHANGE, inside),
            _statement(_READ, _keys(stores, "*")),
            _statement(_CHANGE, _keys(stores, *kept)),
            *_each(_LIST, [_bucket(bucket) for bucket, _ in copies]),
            *_each(_READ, _keys(copies, *(copied_key(each, "*") for each in media), *map(copy_pairs_key, media))),
            *_each(_CHANGE, _keys(_both_ways(plan), *(copied_key(bucket, "*") for bucket in media))),
        ],
        "backup": [
            _statement(_WRITE, _keys(stores, "*")),
            _statement(("s3:DeleteObject",), _keys(stores, f"{OWN}/probe/*")),
        ],
        "replicate": [
            *_each(_CHANGE, inside),
            *_each(_LIST, [_bucket(bucket) for bucket, _ in copies]),
            *_each(_CHANGE, _keys(copies, "*")),
            _statement(_READ, _keys(stores[:1], f"{OWN}/*")),
            _statement(_CHANGE, _keys(stores[:1], f"{own}/leases/*", f"{OWN}/probe/*")),
        ],
    }
    return {role: {"Version": "2012-10-17", "Statement": [*common, *found]} for role, found in statements.items()}


def _both_ways(plan: Plan) -> list[tuple[str, str]]:
    """The places of copies that web servers write to while these are shown."""
    return _places([copy.store.url for copy in plan.copies if copy.two_way]) if plan.mounts else []


def _places(urls: Sequence[str]) -> list[tuple[str, str]]:
    """Bucket and prefix of each that lies on S3."""
    parts = [urlsplit(url) for url in urls]
    return [(each.netloc, each.path.strip("/")) for each in parts if each.scheme == "s3"]


def _each(actions: Sequence[str], resources: Sequence[str]) -> list[dict[str, Any]]:
    """A statement, where there is anything that it is about."""
    return [_statement(actions, resources)] if resources else []


def _statement(actions: Sequence[str], resources: Sequence[str]) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": list(resources)}


def _bucket(name: str) -> str:
    return f"arn:aws:s3:::{name}"


def _keys(places: Sequence[tuple[str, str]], *keys: str) -> list[str]:
    """These keys in each place."""
    return [
        f"{_bucket(bucket)}/{_literal(prefix)}/{key}" if prefix else f"{_bucket(bucket)}/{key}"
        for bucket, prefix in places
        for key in keys
    ]


def _literal(prefix: str) -> str:
    """A prefix in which nothing is a pattern or a variable of a policy: ``a*`` would be the keys of all that begins so."""
    return "".join(f"${{{each}}}" if each in "*?$" else each for each in prefix)
