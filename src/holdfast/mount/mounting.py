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

from holdfast.errors import ConflictError
from holdfast.model.spec import AssetSpec
from holdfast.mount.daemon import VERSION, WAYS, start
from holdfast.mount.device import refuse_unusable
from holdfast.mount.live.underneath import checked, checked_over, resolved
from holdfast.mount.order import Order
from holdfast.mount.registry import MountSettings, Registry, refuse_served
from holdfast.mount.version import refuse_view

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.config import Settings
    from holdfast.mount.registry import Record

__all__ = ["mount_version", "refuse_unfinished", "would_mount"]

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
    more = {"follow": follow, "folder": str(registry.folder_of(path)), "mount": uuid4().hex}
    arguments = _view_arguments(spec, settings, others=allow_other) | more
    order = Order(_VIEW, arguments, owner=(os.getuid(), os.getgid()), allow_other=allow_other, noexec=noexec)
    return start(registry, Path(path), str(parsed), order, foreground=foreground)


def would_mount(
    spec: str, directory: str | os.PathLike[str], *, settings: Settings, allow_other: bool = False
) -> MountSettings:
    """What :func:`mount_version` would mount; it is refused as there, as far as that can be told by looking, and nothing is changed.

    Raises:
        HoldfastError: as there; whether the kernel gives leave to mount, and whether the version's pages are whole, is not known yet.
    """
    parsed = AssetSpec.parse(spec)
    registry = Registry(settings.state_dir / "mounts")
    path = resolved(os.fspath(directory))
    registry.refuse_inside(path)
    before = registry.find(path)
    _refuse_before(before)
    path = checked(path) if before is None else checked_over(path)
    refuse_view(_view_arguments(spec, settings, others=allow_other))
    refuse_unusable()
    return MountSettings(path, str(parsed), VERSION)


def _view_arguments(spec: str, settings: Settings, *, others: bool) -> dict[str, Any]:
    where = {"store": settings.store, "profile": settings.profile, "assets_dir": str(settings.assets_dir)}
    return {"spec": spec, **where, "others": others}


def _take_over(registry: Registry, path: str) -> None:
    """Refuse what is served, or lies inside another mount of ours; take away what a dead mount left."""
    registry.refuse_inside(path)
    if registry.find(path) is not None:
        with registry.turn(path):  # what somebody is just mounting is served by nobody yet
            before = registry.find(path)
            _refuse_before(before)
            if before is not None:
                WAYS.free(before)


def _refuse_before(before: Record | None) -> None:
    """Refuse what is served, and what a live mount has not sent."""
    refuse_served(before)
    if before is not None:
        refuse_unfinished(before)


def refuse_unfinished(before: Record) -> None:
    """Raise ConflictError where a live mount was there and not unmounted: what it has not sent lies in its record's folder."""
    if before.settings.kind != VERSION:
        path = before.settings.dir
        message = f"the last mount at {path}, of {before.settings.source}, was not unmounted"
        raise ConflictError(message, subject=path, hint=f"asset unmount {path}")
