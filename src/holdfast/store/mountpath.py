"""A mount whose file system creates files only if they are absent: a directory store, known by the bucket's URL."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.store.path import PathStore

if TYPE_CHECKING:
    from holdfast.store.filesystem import FileSystem
    from holdfast.store.mountpoint import MountPoint

__all__ = ["MountPath"]


class MountPath(PathStore):
    """A :class:`~holdfast.store.path.PathStore` below a mount, which is looked at before it is used, and again where another file
    system lies there.

    ``sure``: an empty folder is taken for an empty bucket, for whoever set it up said so; else for one that is not mounted.
    """

    def __init__(self, mount: MountPoint, *, sure: bool) -> None:
        super().__init__(mount.folder)
        self.mount = mount
        self._sure = sure
        self._seen: tuple[int, FileSystem] | None = None
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
        """As in a bucket, a prefix is there without being made; the mount must be, and still be the one that it was."""
        with self._lock:
            if self._seen is None:
                self._look_first()
            elif self._seen[0] != self._device():
                self._look_again(self._seen[1])

    def _look_first(self) -> None:
        device = self.mount.check()
        if not self._sure and self.mount.is_empty():
            raise self.mount.broken(
                "nothing is mounted there, it is an empty folder",
                hint="mount it; or, if this folder itself is the bucket: asset config set mount_atomic true",
            )
        self.mount.call(lambda: Path(self.mount.folder).mkdir(parents=True, exist_ok=True))
        self._seen = device, self.mount.file_system

    def _look_again(self, known: FileSystem) -> None:
        """Where it was mounted anew it goes on; the folder on which it lay would pass for a store that lost everything."""
        device = self.mount.check()
        if self.mount.file_system != known:
            raise self.mount.broken("it was unmounted")
        self._seen = device, known

    def _device(self) -> int | None:
        try:
            return os.stat(self.mount.root).st_dev
        except OSError:
            return None
