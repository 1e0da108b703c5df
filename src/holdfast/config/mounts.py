"""Which bucket a path lies in, and where a bucket is mounted: the two ways between bucket URLs and local paths. Pure.

Both go by whole pieces and take the longest: ``s3://a`` covers ``s3://a/b`` and not ``s3://ab``. Nothing is looked up: the caller
gives paths as they are once links are followed (:func:`holdfast.store.mount.followed` does that, with a deadline).

Example::

    >>> mount_of("s3://models/nlp", {"s3://models": "/mnt/models"}).folder
    '/mnt/models/nlp'
    >>> url_of("/mnt/models/nlp", {"s3://models": "/mnt/models"})
    's3://models/nlp'
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.config.keys import BUCKET_SCHEMES
from holdfast.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Mounted", "mount_of", "normal_url", "url_of"]


@dataclass(frozen=True, slots=True)
class Mounted:
    """A bucket URL that a mount covers: ``root`` is where the mount lies, ``folder`` where the URL lies in it."""

    url: str
    root: str
    folder: str


def normal_url(url: str) -> str | None:
    """A bucket's URL in the one form that is compared: ``gcs`` is ``gs``, no slash at the end. None for any other URL."""
    scheme, separator, rest = url.partition("://")
    scheme = "gs" if scheme == "gcs" else scheme
    rest = rest.rstrip("/")
    return f"{scheme}://{rest}" if separator and scheme in BUCKET_SCHEMES and rest else None


def mount_of(url: str, mounts: Mapping[str, str]) -> Mounted | None:
    """The mount that covers a bucket URL, the longest of several; None where none does.

    Raises:
        UsageError: a mount covers the URL, whose pieces are none that could be folders: empty, ``.`` or ``..``.
    """
    wanted = normal_url(url)
    if wanted is None:
        return None
    covering = [(known, path) for known, path in _normal(mounts) if _is_below(wanted, known)]
    if not covering:
        return None
    known, path = max(covering, key=lambda each: len(each[0]))
    rest = wanted[len(known) :].strip("/")
    if rest and any(piece in ("", ".", "..") or "\0" in piece for piece in rest.split("/")):
        raise UsageError(f"{url!r} names no folder of {path}", subject=url, hint="no empty pieces, '.' or '..'")
    return Mounted(wanted, path, f"{path.rstrip('/')}/{rest}" if rest else path)


def url_of(path: str, mounts: Mapping[str, str]) -> str | None:
    """The bucket URL of a local path, by the deepest mount that it lies in; None outside of all.

    The path and those of the mounts are absolute, without links or ``..``.
    """
    path = path.rstrip("/") or "/"
    covering = [(known, root.rstrip("/")) for known, root in _normal(mounts) if _is_below(path, root.rstrip("/"))]
    if not covering:
        return None
    known, root = max(covering, key=lambda each: (len(each[1]), len(each[0])))
    return f"{known}/{path[len(root) :].strip('/')}".rstrip("/")


def _normal(mounts: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for url, path in mounts.items():
        known = normal_url(url)
        if known is not None:
            yield known, path


def _is_below(name: str, above: str) -> bool:
    return name == above or name.startswith(above + "/")
