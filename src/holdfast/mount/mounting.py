"""Mounting a version at a directory: what commands call.

Example::

    from holdfast.mount.mounting import mount_version

    record = mount_version("nlp/bert:1", "/mnt/bert", settings=load())
    print(record.state.state)
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from holdfast.errors import BusyError, ConflictError
from holdfast.model.spec import AssetSpec
from holdfast.mount.daemon import VERSION, WAYS, start
from holdfast.mount.live.underneath import checked, resolved
from holdfast.mount.order import Order
from holdfast.mount.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.config import Settings
    from holdfast.mount.registry import Record

__all__ = ["mount_version", "refuse_unfinished"]

_VIEW: Final = "holdfast.mount.version:open_view"


def mount_version(
    spec: str,
    directory: str | os.PathLike[str],
    *,
    settings: Settings,
    registry: Registry | None = None,
    follow: bool = False,
    allow_other: bool = False,
    noexec: bool = False,
    foreground: Callable[[Record], None] | None = None,
) -> Record:
    """Mount a version, read-only, and return once it is there. What a spec names is settled now, unless it is followed.

    Args:
        spec: which version.
        directory: an empty directory.
        settings: where the store, the cache and the record of the mount are.
        registry: where the record lies instead.
        follow: show a newer version once there is one.
        allow_other: other users may read it, as far as its files' rights let them.
        noexec: no program in it may be run.
        foreground: called once it is mounted; the mount ends before this returns, or with Ctrl-C.

    Raises:
        UsageError: no spec of a version.
        NotFoundError: no such version, or no such directory.
        AlreadyExistsError, ConflictError, BusyError: the directory is not one to mount at.
        UnsupportedError: no FUSE device, no right to mount, or a kernel that is too old.
        LocalError: others could write the cache that they are to be shown.
        UnreachableError: the store does not answer. Nothing is left behind.
    """
    parsed = AssetSpec.parse(spec)
    registry = registry or Registry(settings.state_dir / "mounts")
    path = resolved(os.fspath(directory))
    _take_over(registry, path)
    path = checked(path)
    arguments: dict[str, Any] = {
        "spec": spec,
        "follow": follow,
        "store": settings.store,
        "profile": settings.profile,
        "assets_dir": str(settings.assets_dir),
        "folder": str(registry.folder_of(path)),
        "mount": uuid4().hex,
        "others": allow_other,
    }
    order = Order(_VIEW, arguments, owner=(os.getuid(), os.getgid()), allow_other=allow_other, noexec=noexec)
    return start(registry, Path(path), str(parsed), order, foreground=foreground)


def _take_over(registry: Registry, path: str) -> None:
    """Refuse what is served, or lies inside another mount of ours; take away what a dead mount left."""
    if (above := registry.above(path)) is not None:
        message = f"{path} lies inside the mount of {above.settings.source} at {above.settings.dir}"
        raise ConflictError(message, subject=path, hint="choose a directory outside of it")
    if registry.find(path) is not None:
        with registry.turn(path):  # what somebody is just mounting is served by nobody yet
            _free(registry.find(path), path)


def _free(before: Record | None, path: str) -> None:
    """Refuse what is served; take away what a dead mount left."""
    if before is None:
        return
    if before.is_served:
        message = f"{path} is a mount of {before.settings.source} already"
        raise BusyError(message, subject=path, hint=f"asset unmount {path}")
    refuse_unfinished(before)
    WAYS.free(before)


def refuse_unfinished(before: Record) -> None:
    """Raise ConflictError where a live mount was there and not unmounted: what it has not sent lies in its record's folder."""
    if before.settings.kind != VERSION:
        path = before.settings.dir
        message = f"the last mount at {path}, of {before.settings.source}, was not unmounted"
        raise ConflictError(message, subject=path, hint=f"asset unmount {path}")
