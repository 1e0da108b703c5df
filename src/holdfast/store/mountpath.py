"""A mount whose file system creates files only if they are absent: a directory store, known by the bucket's URL."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.store.path import PathStore

if TYPE_CHECKING:
    from holdfast.store.mountpoint import MountPoint

__all__ = ["MountPath"]


class MountPath(PathStore):
    """A :class:`~holdfast.store.path.PathStore` below a mount, which is looked at once before it is used.

    ``sure``: an empty folder is taken for an empty bucket, for whoever set it up said so; else for one that is not mounted.
    """

    def __init__(self, mount: MountPoint, *, sure: bool) -> None:
        super().__init__(mount.folder)
        self.mount = mount
        self._sure = sure
        self._looked = False
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """The bucket's URL."""
        return self.mount.url

    def _path(self, key: str) -> Path:
        self._look()
        return super()._path(key)

    def _check_root(self) -> None:
        self._look()
        super()._check_root()

    def _look(self) -> None:
        """As in a bucket, a prefix is there without being made; the mount must be."""
        with self._lock:
            if self._looked:
                return
            self.mount.check()
            if not self._sure and self.mount.is_empty():
                raise self.mount.broken(
                    "nothing is mounted there, it is an empty folder",
                    hint="mount it; or, if this folder itself is the bucket: asset config set mount_atomic true",
                )
            self.mount.call(lambda: Path(self.mount.folder).mkdir(parents=True, exist_ok=True))
            self._looked = True
