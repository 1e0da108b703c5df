"""Mounting a live bucket, from Python: what the command line and sites call.

Everything that can be refused is refused before anything is changed; then a supervisor is started, and waited for until it has mounted.

Example::

    from holdfast.mount import live

    live.mount("s3://media", "/srv/www/images", mounter="rclone", settings=load(), needs=["rename", "overwrite"])
    live.status("/srv/www/images", settings=load()).state
    live.unmount("/srv/www/images", settings=load())
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from holdfast.errors import (
    BusyError,
    ConflictError,
    NotFoundError,
    UsageError,
    nearest,
)
from holdfast.mount import unmounting
from holdfast.mount.live.bucket import ask, bucket_of
from holdfast.mount.live.finding import environment, found
from holdfast.mount.live.options import Choices
from holdfast.mount.live.plan import Plan, waiting, write_private
from holdfast.mount.live.starting import start, wait_for
from holdfast.mount.live.templates import MOUNTERS, Place
from holdfast.mount.live.underneath import Underneath, checked, resolved
from holdfast.mount.live.worker import take_away
from holdfast.mount.registry import MountSettings, Registry, State
from holdfast.mount.unmounting import told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from holdfast.config import Settings
    from holdfast.mount.live.templates import Call, Mounter
    from holdfast.mount.registry import Record

__all__ = ["WAYS", "mount", "registry_of", "status", "unmount"]


def mount(
    source: str,
    directory: str | os.PathLike[str],
    *,
    mounter: str,
    settings: Settings,
    options: Sequence[str] = (),
    needs: Iterable[str] = (),
    stay: Callable[[Record], None] | None = None,
) -> Record:
    """Mount a bucket, supervised, and return once it is mounted and tested.

    Args:
        source: ``s3://bucket[/prefix]``.
        directory: an empty directory.
        mounter: ``rclone``, ``s3fs``, ``goofys``, ``geesefs`` or ``mount-s3``.
        settings: where the endpoint, the region and credentials come from.
        options: as after ``-o`` (:mod:`.options`).
        needs: what the use needs of ``ABILITIES``; a mount that lacks one is refused.
        stay: called with the record once it is mounted; then the supervisor is waited for. Ctrl-C and SIGTERM reach it.

    Raises:
        UsageError: no such mounter or option, or the source is no bucket.
        NotFoundError, AlreadyExistsError, ConflictError, BusyError: the directory is not one to mount at, or there is no such bucket.
        LocalError, UnsupportedError: the mounter is missing, not to be trusted, too old, or lacks an ability.
        AccessError: the credentials do not suffice.
        UnreachableError, HoldfastError: the store does not answer, or the mounter did not mount. Nothing is left behind then.
    """
    choices = Choices.parse(options, needs)
    tool = _mounter_named(mounter)
    bucket = bucket_of(source, settings)
    program = found(tool, settings.mount_path, settings.environ)
    registry = registry_of(settings)
    path = resolved(os.fspath(directory))
    url = f"s3://{bucket.name}/{bucket.prefix}".rstrip("/")
    before = registry.find(path)
    if before is not None:
        _refuse_other(before, url, mounter)
    ask(source, settings)
    mode = free(before) if before is not None else None
    record = None
    try:
        path = checked(path)
        _refuse_inside(registry, path)
        folder = str(registry.folder_of(path))
        place = Place(path, f"{folder}/private", f"{folder}/cache", os.getuid(), os.getgid())
        call = tool.call(bucket, place, choices)
        plan = _plan(program, call, place, choices, _mode_of(path) if mode is None else mode)
        with registry.claimed(MountSettings(path, url, mounter, plan.options())) as record:
            os.makedirs(place.cache, mode=0o700, exist_ok=True)
            home = bucket.environment.get("HOME", place.private)
            write_private(place.private, call.files, environment(home) | dict(bucket.environment) | call.environment)
            started = start(record, stays=stay is not None)
    except BaseException:
        _undo(before, mode, record)
        raise
    if stay is not None:
        stay(record)
        wait_for(started)
        if record.requested("unmount") and not waiting(record):
            record.remove()
    return record


def status(directory: str | os.PathLike[str], *, settings: Settings) -> Record | None:
    """The mount at a directory, for its ``state``, ``events()`` and ``value()``; None where none is known. The mount is not touched."""
    return registry_of(settings).find(resolved(os.fspath(directory)))


def unmount(
    directory: str | os.PathLike[str],
    *,
    settings: Settings,
    wait: bool = False,
    discard: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Take the live mount at a directory away (see :func:`holdfast.mount.unmounting.unmount`).

    Raises:
        NotFoundError: there is none.
        BusyError, ConflictError: it is in use, or has not sent everything.
    """
    registry = registry_of(settings)
    path = resolved(os.fspath(directory))
    record = registry.find(path)
    if record is None or record.settings.kind not in MOUNTERS:
        raise NotFoundError(f"no live bucket is mounted at {path}", subject=path, hint="asset mounts lists what is")
    unmounting.unmount(registry, record, WAYS, wait=wait, discard=discard, say=say)


def registry_of(settings: Settings) -> Registry:
    """The registry of this user's mounts."""
    return Registry(settings.state_dir / "mounts")


def _mounter_named(name: str) -> Mounter:
    if name not in MOUNTERS:
        hint = nearest(name, list(MOUNTERS)) or f"mounters: {', '.join(MOUNTERS)}"
        raise UsageError(f"no mounter {name!r}", subject=name, hint=hint)
    return MOUNTERS[name]


def _plan(program: str, call: Call, place: Place, choices: Choices, mode: int) -> Plan:
    flags = ["nosuid", "nodev", "default_permissions"]
    flags += [] if choices.executable else ["noexec"]
    flags += ["ro"] if choices.read_only else []
    return Plan(
        program,
        list(call.arguments),
        place.private,
        place.cache,
        mode,
        choices.deadline,
        choices.canary,
        list(choices.needs),
        flags,
    )


def _refuse_inside(registry: Registry, path: str) -> None:
    """Refuse what lies inside another mount of ours, which may be down at the moment."""
    if (above := registry.above(path)) is not None:
        message = f"{path} lies inside the mount of {above.settings.source} at {above.settings.dir}"
        raise ConflictError(message, subject=path, hint="choose a directory outside of it")


def _refuse_other(before: Record, source: str, mounter: str) -> None:
    """Where a mount was before: refuse while it is served, or while its cache holds what only that mount can send."""
    if before.is_served:
        message = f"{before.settings.dir} is a mount of {before.settings.source} already"
        raise BusyError(message, subject=before.settings.dir, hint=f"asset unmount {before.settings.dir}")
    left = waiting(before) if before.settings.kind in MOUNTERS else []
    if left and (before.settings.source, before.settings.kind) != (source, mounter):
        raise ConflictError(
            f"the last mount at {before.settings.dir}, of {before.settings.source} by {before.settings.kind}, has not sent "
            f"{told(left)}",
            subject=before.settings.dir,
            hint=f"mount the same again, or give them up: asset unmount {before.settings.dir} --discard",
        )


def free(before: Record) -> int | None:
    """Take away what a mount left at its directory, and open the directory again; its permission bits, None where it is gone."""
    take_away(before.settings.dir)
    if before.settings.kind not in MOUNTERS:
        return None
    try:
        below = Underneath(before.settings.dir, Plan.of(before).mode)
    except OSError:
        return None
    below.free()
    below.release()
    return below.mode


#: How live mounts are unmounted.
WAYS: Final = unmounting.Ways(waiting, free)


def _undo(before: Record | None, mode: int | None, record: Record | None) -> None:
    """After an attempt that came to nothing: what was known of a mount there is known again, and its directory is closed again."""
    if before is None:
        if record is not None and not waiting(record):
            record.remove()
        return
    if record is not None:
        before.reinstate(State("unmounted"))
    if mode is not None:
        with suppress(OSError):
            below = Underneath(before.settings.dir, mode)
            below.close_it()
            below.release()


def _mode_of(path: str) -> int:
    return os.stat(path).st_mode & 0o7777
