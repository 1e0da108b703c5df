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
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from holdfast.errors import (
    BusyError,
    ConflictError,
    LocalError,
    NotFoundError,
    UsageError,
    nearest,
)
from holdfast.mount import unmounting
from holdfast.mount.live.apart import place_for
from holdfast.mount.live.bucket import ask, bucket_of
from holdfast.mount.live.clearing import WAYS, clear, free, loosen, taken_over, undo
from holdfast.mount.live.finding import environment, found
from holdfast.mount.live.options import Choices
from holdfast.mount.live.parts import layer_call
from holdfast.mount.live.plan import KINDS, Plan, waiting, write_private
from holdfast.mount.live.refusing import refuse_branch, refuse_other
from holdfast.mount.live.starting import handing_on, start
from holdfast.mount.live.templates import MOUNTERS, Place, holding
from holdfast.mount.live.underneath import checked, checked_over, resolved
from holdfast.mount.live.union import MERGERFS, UNION, call
from holdfast.mount.registry import MountSettings, Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from holdfast.config import Settings
    from holdfast.mount.live.parts import Parts
    from holdfast.mount.live.templates import Call, Mounter
    from holdfast.mount.live.union import Branch
    from holdfast.mount.registry import Record

__all__ = [
    "branches_of",
    "mount",
    "refuse_branch",
    "refuse_used",
    "registry_of",
    "status",
    "unite",
    "unmount",
    "would_mount",
]


def mount(
    source: str,
    directory: str | os.PathLike[str],
    *,
    mounter: str,
    settings: Settings,
    options: Sequence[str] = (),
    needs: Iterable[str] = (),
    above: str = "",
    parts: Parts | None = None,
    bits: int | None = None,
    follow: bool = True,
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
        above: the directory at which :func:`unite` will unite this mount with others; whenever this one fails, that is ended first.
        parts: what lies over the mount on this machine alone, and is laid before anything of the mount is seen; root only.
        bits: the directory's permission bits when nothing is mounted there; those that it has where none are given.
        follow: follow links in the directory's path; else one is refused.
        stay: called with the record once it is mounted; then the supervisor is waited for. Ctrl-C and SIGTERM reach it.

    Raises:
        UsageError: no such mounter or option, or the source is no bucket.
        NotFoundError, AlreadyExistsError, ConflictError, BusyError: the directory is not one to mount at, or there is no such bucket.
        LocalError, UnsupportedError: the mounter is missing, not to be trusted, too old, or lacks an ability.
        AccessError: the credentials do not suffice.
        UnreachableError, HoldfastError: the store does not answer, or the mounter did not mount. Nothing is left behind then.
    """
    choices = Choices.parse([*(holding(mounter) if above else ()), *options], needs)
    wanted = replace(_wanted(source, mounter, settings, choices), above=above)
    if parts is not None:
        wanted = replace(wanted, layer=_layer(parts, settings, choices, wanted.source))
    path = _path_of(directory, follow=follow)
    return _supervised(wanted, path, choices, settings, bits, lambda: ask(source, settings), stay)


def would_mount(
    source: str, directory: str | os.PathLike[str], *, mounter: str, settings: Settings, options: Sequence[str] = ()
) -> MountSettings:
    """What :func:`mount` would mount; it is refused as there, as far as that can be told by looking, and nothing is changed.

    Raises:
        HoldfastError: as there; whether the mounter mounts is not known yet.
    """
    choices = Choices.parse(options, ())
    wanted = _wanted(source, mounter, settings, choices)
    registry, path = registry_of(settings), _path_of(directory, follow=True)
    before = registry.find(path)
    if before is not None:
        refuse_other(before, wanted.source, wanted.kind)
    ask(source, settings)
    path = checked(path) if before is None else checked_over(path)
    registry.refuse_inside(path)
    wanted.call(_place(wanted, registry, path))
    return MountSettings(path, wanted.source, wanted.kind)


def unite(
    branches: Sequence[Branch],
    directory: str | os.PathLike[str],
    *,
    settings: Settings,
    options: Sequence[str] = (),
    needs: Iterable[str] = (),
    bits: int | None = None,
    follow: bool = True,
) -> Record:
    """Unite live mounts at a directory by mergerfs, supervised: it is there only while each of them is mounted, answers, and carries its mark.

    The branches are mounted with this directory as ``above``, by the same user.

    Args:
        branches: those mounts, in the order in which a name is looked for.
        directory: an empty directory.
        settings: where mergerfs and the state are.
        options: as after ``-o``.
        needs: what the use needs of ``ABILITIES``.
        bits: as for :func:`mount`.
        follow: as for :func:`mount`.

    Raises:
        LocalError, UnsupportedError: mergerfs is missing, not to be trusted, too old, or lacks an ability.
        ConflictError: a branch is another than it must be; something lies at the directory.
        UnreachableError: a branch is not mounted or does not answer, or mergerfs does not.
    """
    choices = Choices.parse(options, needs)
    wanted = _Wanted(
        "+".join(branch.source for branch in branches),
        UNION,
        found(MERGERFS, settings.mount_path, settings.environ),
        lambda place: call(branches, place.directory, choices),
        branches=tuple(branches),
    )
    path = _path_of(directory, follow=follow)
    return _supervised(wanted, path, choices, settings, bits, lambda: None, None)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is to be mounted by which program, whose call depends on the place."""

    source: str
    kind: str
    program: str
    call: Callable[[Place], Call]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    branches: tuple[Branch, ...] = ()
    above: str = ""
    layer: Parts | None = None


def _wanted(source: str, mounter: str, settings: Settings, choices: Choices) -> _Wanted:
    """A bucket, and its mounter."""
    tool = _mounter_named(mounter)
    bucket = bucket_of(source, settings)
    url = f"s3://{bucket.name}/{bucket.prefix}".rstrip("/")
    program = found(tool, settings.mount_path, settings.environ)
    return _Wanted(url, mounter, program, lambda place: tool.call(bucket, place, choices), bucket.environment)


def _place(wanted: _Wanted, registry: Registry, path: str) -> Place:
    """Where it is mounted, and where its files lie. Nothing is made."""
    folder = str(registry.folder_of(path))
    at = _apart(wanted, path) or (path if wanted.layer is None else wanted.layer.bucket)
    return Place(at, f"{folder}/private", f"{folder}/cache", os.getuid(), os.getgid())


def _apart(wanted: _Wanted, path: str) -> str:
    """Where root's mounter mounts, or nothing."""
    return place_for(path) if os.geteuid() == 0 and wanted.layer is None else ""


def _layer(parts: Parts, settings: Settings, choices: Choices, source: str) -> Parts:
    """What lies over a mount, with the program that lays it and how that is called."""
    program = found(MERGERFS, settings.mount_path, settings.environ)
    return replace(parts, program=program, arguments=list(layer_call(parts, source, choices).arguments))


def _supervised(
    wanted: _Wanted,
    path: str,
    choices: Choices,
    settings: Settings,
    bits: int | None,
    ready: Callable[[], None],
    stay: Callable[[Record], None] | None,
) -> Record:
    """Refuse or prepare, in this order, and start the supervisor; ``ready`` raises where the source cannot be mounted."""
    registry = registry_of(settings)
    before = registry.find(path)
    if before is not None:
        refuse_other(before, wanted.source, wanted.kind)
    ready()
    mode = taken_over(before) if before is not None else None
    keeps_closed = os.geteuid() == 0 and (bits is not None or mode is not None)
    is_claimed = False
    try:
        path = checked(path)
        registry.refuse_inside(path)
        place, apart = _place(wanted, registry, path), _apart(wanted, path)
        call = wanted.call(place)
        plan = _plan(wanted, call, place, choices, mode or bits or _mode_of(path), apart, keeps_closed=keeps_closed)
        is_claimed = True
        with registry.claimed(MountSettings(path, wanted.source, wanted.kind, plan.options())) as record:
            os.makedirs(place.cache, mode=0o700, exist_ok=True)
            home = wanted.environment.get("HOME", place.private)
            write_private(place.private, call.files, environment(home) | dict(wanted.environment) | call.environment)
            started = start(record, stays=stay is not None)
    except BaseException:
        if before is not None or is_claimed:
            with suppress(BusyError, LocalError), registry.turn(path):  # whoever has it takes away what is left here
                undo(before, mode, registry.find(path) if is_claimed else None, opens=not keeps_closed)
        raise
    if stay is not None:
        with handing_on(started):
            stay(record)
        if record.requested("unmount"):
            free(record)
            if not waiting(record):
                record.remove()
    return record


def _path_of(directory: str | os.PathLike[str], *, follow: bool) -> str:
    """The directory's path without links; where none is to be followed, raise ConflictError for one."""
    path = resolved(os.fspath(directory))
    if not follow and path != os.path.abspath(directory):
        raise ConflictError(
            f"a link was put in the path of {directory}: it leads to {path}",
            subject=path,
            hint="somebody who may write to a directory above it did that: find out who",
        )
    return path


def _named(directory: str | os.PathLike[str], *, follow: bool) -> str:
    """The path by which a mount is known."""
    return resolved(os.fspath(directory)) if follow else os.path.abspath(directory)


def status(directory: str | os.PathLike[str], *, settings: Settings, follow: bool = True) -> Record | None:
    """The mount at a directory, for its ``state``, ``events()`` and ``value()``; None where none is known. The mount is not touched.

    Unless links in the path are to be ``follow``-ed, what is mounted where one leads is not the mount at this path.
    """
    return registry_of(settings).find(_named(directory, follow=follow))


def branches_of(directory: str | os.PathLike[str], *, settings: Settings, follow: bool = True) -> list[Record]:
    """The mounts that are branches of a union at this directory, whether or not that is mounted."""
    path = _named(directory, follow=follow)
    records = registry_of(settings).records()
    return [each for each in records if each.settings.kind in KINDS and Plan.of(each).above == path]


def unmount(
    directory: str | os.PathLike[str],
    *,
    settings: Settings,
    wait: bool = False,
    discard: bool = False,
    closed: bool = False,
    cut_off: bool = False,
    opens: bool = True,
    follow: bool = True,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Take the live mount at a directory away (see :func:`holdfast.mount.unmounting.unmount`).

    Where it is ``closed`` nobody can write into the directory until another mount has come there. Unless it ``opens``, a directory of root's
    mounts keeps no permission bits, and whoever calls gives it some. ``follow`` as for :func:`status`.

    Raises:
        NotFoundError: there is none.
        BusyError, ConflictError: it is in use, or has not sent everything.
    """
    registry = registry_of(settings)
    record = _known(registry, directory, follow=follow)
    if not discard:
        refuse_branch(registry, record)
    opens = opens or os.geteuid() != 0
    ways = replace(WAYS, free=clear) if closed else WAYS if opens else replace(WAYS, free=loosen)
    unmounting.unmount(registry, record, ways, wait=wait, discard=discard, closed=closed, cut_off=cut_off, say=say)
    if closed:
        shutil.rmtree(Plan.of(record).cache, ignore_errors=True)  # of this source alone, and all of it is sent


def refuse_used(
    directory: str | os.PathLike[str],
    *,
    settings: Settings,
    wait: bool = False,
    cut_off: bool = False,
    follow: bool = True,
) -> None:
    """Raise what :func:`unmount` would, as far as that is known without waiting; nothing is changed (see :func:`holdfast.mount.unmounting.refuse_used`).

    Raises:
        NotFoundError: no live mount is there.
        BusyError, ConflictError: it is in use, or is over and has not sent everything.
    """
    unmounting.refuse_used(_known(registry_of(settings), directory, follow=follow), WAYS, wait=wait, cut_off=cut_off)


def _known(registry: Registry, directory: str | os.PathLike[str], *, follow: bool) -> Record:
    path = _named(directory, follow=follow)
    record = registry.find(path)
    if record is None or record.settings.kind not in KINDS:
        raise NotFoundError(f"no live bucket is mounted at {path}", subject=path, hint="asset mounts lists what is")
    return record


def registry_of(settings: Settings) -> Registry:
    """The registry of this user's mounts."""
    return Registry(settings.state_dir / "mounts")


def _mounter_named(name: str) -> Mounter:
    if name not in MOUNTERS:
        hint = nearest(name, list(MOUNTERS)) or f"mounters: {', '.join(MOUNTERS)}"
        raise UsageError(f"no mounter {name!r}", subject=name, hint=hint)
    return MOUNTERS[name]


def _plan(
    wanted: _Wanted, call: Call, place: Place, choices: Choices, mode: int, apart: str, *, keeps_closed: bool
) -> Plan:
    flags = ["nosuid", "nodev", "default_permissions"]
    flags += [] if choices.executable else ["noexec"]
    flags += ["ro"] if choices.read_only else []
    return Plan(
        wanted.program,
        list(call.arguments),
        place.private,
        place.cache,
        mode,
        choices.deadline,
        choices.canary,
        list(choices.needs),
        flags,
        [asdict(branch) for branch in wanted.branches],
        wanted.above,
        None if wanted.layer is None else asdict(wanted.layer),
        apart,
        keeps_closed,
    )


def _mode_of(path: str) -> int:
    """The directory's permission bits; the usual ones where a mount whose record is lost has left it closed."""
    return os.stat(path).st_mode & 0o7777 or 0o755
