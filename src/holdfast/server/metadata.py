"""What is known of objects by their bucket URLs (seed 000's "S3 proxy"): for clients that read a mount and cannot ask the bucket."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from holdfast.errors import ObjectNotFoundError
from holdfast.formats.api import MetadataReply, MetadataRow
from holdfast.server.borders import key_of_url
from holdfast.server.transfers import checked_batch
from holdfast.store.base import TellsChecksums
from holdfast.transfer.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.server.access import OpenProject
    from holdfast.store.base import ObjectInfo

__all__ = ["metadata", "plain_md5"]

_AT_ONCE: Final = 16
_MD5: Final = re.compile(r"[0-9a-f]{32}\Z")


def metadata(project: OpenProject, urls: Sequence[str]) -> MetadataReply:
    """Size, tag, MD5, date and checksums of each, in the order of the URLs.

    Raises:
        AccessError: a URL that is not inside the project's.
        UsageError: more than a batch.
    """
    checked_batch(urls)
    keys = [key_of_url(url, project.url) for url in urls]
    rows = Engine(_AT_ONCE).run(lambda pair: _row(project, *pair), zip(urls, keys, strict=True))
    return MetadataReply(rows)


def plain_md5(info: ObjectInfo) -> str | None:
    """The MD5 of the bytes in hex, where the store's tag is one: not of an object in parts."""
    return info.etag if info.etag is not None and _MD5.match(info.etag) else None


def _row(project: OpenProject, url: str, key: str) -> MetadataRow:
    store = project.store
    try:
        info = store.head(key)
    except ObjectNotFoundError:
        return MetadataRow(url, found=False)
    checksums = store.checksums(key) if isinstance(store, TellsChecksums) else {}
    return MetadataRow(
        url,
        size=info.size,
        etag=info.etag,
        md5=plain_md5(info),
        modified=info.modified,
        checksums=checksums,
        version=info.version,
    )
