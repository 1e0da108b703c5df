"""A driver of the user's own as a store, for reading: what is fetched through it is verified like anything else.

A driver knows whole objects only, so a range is read from a copy of the object, of which one is kept at a time. Calls are
made one after the other, for a driver need not be safe in threads. Nothing is promised: there are no conditional writes.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from typing import TYPE_CHECKING, Any, NoReturn

from holdfast.errors import ObjectNotFoundError, UnsupportedError
from holdfast.model.digest import digest_of
from holdfast.modelkit.errors import ObjectDoesNotExistError
from holdfast.store.base import OVERWRITE, Listing, Object, ObjectInfo, Promises, PutMode
from holdfast.store.keys import checked_key, checked_prefix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from _typeshed import ReadableBuffer

__all__ = ["DriverStore"]


class DriverStore:
    """A :class:`holdfast.store.base.Store` that reads through a driver; writing is ``unprotected``'s business."""

    def __init__(self, driver: Any, prefix: str) -> None:
        self.driver = driver
        self.prefix = prefix
        self._lock = threading.RLock()
        self._folder = tempfile.mkdtemp(prefix="holdfast-driver-")
        self._kept: tuple[str, str] | None = None

    def __del__(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def url(self) -> str:
        """The driver's class, its bucket and the prefix."""
        kind = type(self.driver)
        bucket = getattr(self.driver, "bucket", "")
        return f"driver:{kind.__module__}.{kind.__qualname__}:{bucket}/{self.prefix}"

    def object_name(self, key: str) -> str:
        """The object's whole name."""
        return f"{self.prefix}/{checked_key(key)}" if self.prefix else checked_key(key)

    def promises(self) -> Promises:
        """None."""
        return Promises(create=False, replace=False, reason=f"{type(self.driver).__name__} has no conditional writes")

    def get(self, key: str) -> Object:
        """The whole object."""
        with self._lock:
            path = os.path.join(self._folder, "whole")
            self._download(key, path)
            with open(path, "rb") as file:
                data = file.read()
            os.unlink(path)
        return Object(data, _info(key, len(data), digest_of(data)))

    def get_range(self, key: str, start: int, length: int, *, version: str | None = None) -> Object:
        """A part of the copy that is kept; the object is fetched again where it is not the last one read."""
        with self._lock, open(self._copy(key), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(start)
            return Object(file.read(length), _info(key, size, version or key))

    def head(self, key: str) -> ObjectInfo:
        """A driver tells no sizes: the object is fetched, and kept for the ranges that will follow."""
        with self._lock:
            return _info(key, os.stat(self._copy(key, fresh=True)).st_size, key)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """The driver's names below the prefix, on path borders whatever the driver does; sizes are unknown (-1)."""
        start = checked_prefix(prefix)
        root = f"{self.prefix}/" if self.prefix else ""
        with self._lock:
            names = [
                str(name) for name in self.driver.iterate_objects(root + prefix if prefix else self.prefix or None)
            ]
        for name in names:
            if name.startswith(root + start):
                yield _info(name[len(root) :], -1, "")

    def list_level(self, prefix: str) -> Listing:
        """One level, made from the whole listing."""
        return Listing.of(self.list(prefix), len(checked_prefix(prefix)))

    def upload(self, key: str, path: str) -> None:
        """Write a file's bytes by the driver."""
        with self._lock:
            self._kept = None
            self.driver.upload_object(path, self.object_name(key))

    def put(self, key: str, data: ReadableBuffer, mode: PutMode = OVERWRITE) -> ObjectInfo:
        """Refused."""
        del data, mode
        self._refuse(key)

    def put_file(self, key: str, source: BinaryIO, size: int, seen: Callable[[ReadableBuffer], None]) -> ObjectInfo:
        """Refused."""
        del source, size, seen
        self._refuse(key)

    def delete(self, key: str) -> None:
        """By the driver."""
        with self._lock:
            self.driver.delete_object(self.object_name(key))

    def copy(self, source: str, target: str) -> None:
        """Refused."""
        del target
        self._refuse(source)

    def sweep(self, seconds: float) -> int:  # noqa: ARG002 - the protocol's
        """Nothing: what a driver leaves behind is the driver's."""
        return 0

    def sign(self, key: str, method: str, seconds: int) -> str:
        """Refused."""
        del method, seconds
        self._refuse(key)

    def _refuse(self, key: str) -> NoReturn:
        raise UnsupportedError(f"{self.promises().reason}: {key} is not written", subject=key)

    def _copy(self, key: str, *, fresh: bool = False) -> str:
        if self._kept is None or self._kept[0] != key or fresh:
            self._kept = None
            path = os.path.join(self._folder, "kept")
            self._download(key, path)
            self._kept = key, path
        return self._kept[1]

    def _download(self, key: str, path: str) -> None:
        name = self.object_name(key)
        try:
            self.driver.download_object(name, path)
        except ObjectNotFoundError:
            raise
        except Exception as error:
            if (
                type(error).__name__ != ObjectDoesNotExistError.__name__
            ):  # a driver written for modelkit raises modelkit's
                raise
            raise ObjectDoesNotExistError(self.driver, getattr(self.driver, "bucket", ""), name) from error


def _info(key: str, size: int, version: str) -> ObjectInfo:
    return ObjectInfo(key, size, version, 0.0)
