"""A directory store for whoever serves it to others: what links lead out of it to is no object of it.

A folder may be on a share whose other users make links as they like, and must not see by the server's eyes what is not theirs. Links
inside of the folder are followed. Two looks at a path are not one: who can make links there at the moment between them is not kept out.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from holdfast.errors import BucketNotFoundError, IntegrityError, ObjectNotFoundError
from holdfast.formats import layout
from holdfast.store.base import SMALL, Listing
from holdfast.store.path import PathStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from holdfast.store.base import Object, ObjectInfo
    from holdfast.store.generations import Generations

__all__ = ["ConfinedStore"]


class ConfinedStore(PathStore):
    """A :class:`~holdfast.store.path.PathStore` on a folder whose path has no links."""

    def get(self, key: str) -> Object:
        """As there; what is larger than anything that is to be read at once is not.

        Raises:
            IntegrityError: it is.
        """
        size = 0
        with suppress(OSError):
            size = self._path(key).stat().st_size
        if size > SMALL:
            raise IntegrityError(f"{key} has {size} bytes, more than the {SMALL} that are read at once", subject=key)
        return super().get(key)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """As there; nothing below a link that leads out."""
        return iter(()) if self._is_out(prefix) else super().list(prefix)

    def list_after(self, prefix: str, after: str) -> Iterator[ObjectInfo]:
        """As there; nothing below a link that leads out, and nothing that one in its place leads to."""
        return iter(()) if self._is_out(prefix) else super().list_after(prefix, after)

    def list_level(self, prefix: str) -> Listing:
        """As there; what leads out is not shown, and nothing is below it."""
        try:
            return Listing((), ()) if not prefix and self._leads_out(self.root) else super().list_level(prefix)
        except ObjectNotFoundError:
            return Listing((), ())

    def _shows(self, entry: os.DirEntry[str]) -> bool:
        """Of what lies in a folder that was looked at, only a link can lead out; the folder says which are."""
        return not (entry.is_symlink() and self._leads_out(entry.path))

    def _path(self, key: str) -> Path:
        path = super()._path(key)
        if self._leads_out(path):
            raise ObjectNotFoundError(f"no object {key}", subject=key)
        return path

    def _generations(self, key: str) -> Generations:
        found = super()._generations(key)  # which looks at the key itself
        if self._leads_out(self.root / layout.generations_prefix(key)):
            raise ObjectNotFoundError(f"no object {key}", subject=key)
        return found

    def _check_root(self) -> None:
        super()._check_root()
        if self._leads_out(self._temporary):
            raise BucketNotFoundError(f"{self.root} is not the folder that it was", subject=str(self.root))

    def _is_out(self, prefix: str) -> bool:
        return self._leads_out(super()._path(prefix) if prefix else self.root)

    def _leads_out(self, path: Path | str) -> bool:
        root, real = str(self.root), os.path.realpath(path)
        return real != root and not real.startswith(f"{root}/")
