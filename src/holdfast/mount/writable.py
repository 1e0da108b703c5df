"""Writable mounts as the commands have them: versions mounted by the daemon, and a record among those of all mounts.

The record of a writable mount names its folder of changes. The version below has a supervisor of its own, whose record lies in that folder:
how the mount is, is how that one is.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from holdfast.config import load
from holdfast.errors import BusyError, HoldfastError, LocalError, UsageError
from holdfast.model.spec import AssetSpec
from holdfast.mount.editing import mount_writable, push_edits, unmount_writable
from holdfast.mount.edits import Edits, all_edits
from holdfast.mount.live.underneath import checked, resolved
from holdfast.mount.registry import MountSettings, Registry, State, refuse_served
from holdfast.mount.table import detach, stacked_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.config import Settings
    from holdfast.model.result import Pushed, PushOptions
    from holdfast.mount.changes import Changes
    from holdfast.mount.registry import Record
    from holdfast.repository import Repository

__all__ = [
    "ServedVersions",
    "edits_at",
    "is_writable",
    "mount",
    "push",
    "shown",
    "unmount",
    "would_mount",
    "would_unmount",
]

Result = TypeVar("Result")

#: As plain read-only mounts of versions are called.
_KIND: Final = "version"
#: Seconds for the supervisor of a version to end when nobody uses it any more.
_ENDED: Final = 10.0
_TICK: Final = 0.02
_PAUSE: Final = 0.2


class ServedVersions:
    """Mounts versions by the daemon, for the changes in one folder, which keeps their records."""

    def __init__(self, settings: Settings, edits: Edits) -> None:
        self._settings = settings
        self._registry = Registry(edits.folder / "mounts")

    def mount(self, name: str, version: str, directory: Path) -> None:
        """Mount a version at an empty directory.

        Raises:
            HoldfastError: why not; nothing is left behind.
        """
        from holdfast.mount.mounting import mount_version

        mount_version(f"{name}:{version}", directory, settings=self._settings, registry=self._registry)

    def unmount(self, directory: Path) -> None:
        """Take it away from there; its supervisor serves what is open in it still, and ends when nothing is."""
        while stacked_at(str(directory)) and detach(str(directory)):
            pass
        self._forget()

    def close(self) -> None:
        """Wait until nothing of it is served."""
        deadline = time.monotonic() + _ENDED
        while self._forget() and time.monotonic() < deadline:
            time.sleep(_TICK)

    def _forget(self) -> bool:
        """Remove the records of what has ended; whether any has not."""
        left = [record for record in self._registry.records() if not _has_ended(record)]
        return bool(left)


def _has_ended(record: Record) -> bool:
    if record.is_served:
        return False
    record.remove()
    return True


def is_writable(record: Record) -> bool:
    """Whether a mount is one that can be changed."""
    return "edits" in record.settings.options


def shown(record: Record) -> Record:
    """A record as it is to be shown: a writable mount is as the version below it is, and of the version that it went on to."""
    if not is_writable(record):
        return record
    edits = _edits_of(record)
    with suppress(HoldfastError):
        known = edits.read()
        if known is not None:
            below = Registry(edits.folder / "mounts").find(str(edits.layers(known).lower))
            settings = replace(record.settings, source=f"{known.base.name}:{known.base.version}")
            is_there = below is not None and stacked_at(record.settings.dir)
            return replace(record, settings=settings, folder=below.folder if below and is_there else record.folder)
    return record


def _edits_of(record: Record) -> Edits:
    return Edits(Path(str(record.settings.options["edits"])))


def mount(repository: Repository, settings: Settings, spec: str, directory: str, *, others: bool = False) -> Record:
    """Mount a version so that it can be changed; see :func:`~holdfast.mount.editing.mount_writable`. ``others``: other users may use it.

    Its record is there first: where none can be written, nothing is mounted.

    Raises:
        LocalError: the record cannot be written.
        ConflictError: a live mount was there and was not unmounted.
        HoldfastError: as there; the record of a mount from before stays as it was.
    """
    from holdfast.mount.mounting import refuse_unfinished

    registry, path = Registry(settings.state_dir / "mounts"), resolved(directory)
    folder = Edits.of(repository.state, repository.place, AssetSpec.parse(spec).name, Path(path)).folder
    if not folder.exists():
        checked(path)  # nothing is made for what cannot be mounted
    options = {"edits": str(folder), "store": settings.store, "profile": settings.profile}
    before = registry.find(path)
    if before is not None and not before.is_served:  # what is served is refused when its turn is asked for
        refuse_unfinished(before)
    state = None if before is None else before.state
    with registry.claimed(MountSettings(path, spec, _KIND, options)) as record:
        try:
            edits = mount_writable(repository, spec, path, lambda edits: ServedVersions(settings, edits), others=others)
        except BaseException:
            if before is None or state is None:
                record.remove()
            else:
                before.reinstate(state)
            raise
        known = edits.read()
        assert known is not None  # noqa: S101 - it was mounted
        source = f"{known.base.name}:{known.base.version}"
        mounted = replace(record, settings=replace(record.settings, source=source))
        _note(mounted)
    return shown(mounted)


def would_mount(repository: Repository, settings: Settings, spec: str, directory: str) -> MountSettings:
    """What :func:`mount` would mount; it is refused as there, as far as that can be told by looking, and nothing is changed.

    Raises:
        HoldfastError: as there.
    """
    from holdfast.mount.device import refuse_unusable
    from holdfast.mount.mounting import refuse_unfinished
    from holdfast.mount.rehearsing import would_mount_writable

    path = resolved(directory)
    before = Registry(settings.state_dir / "mounts").find(path)
    if Edits.of(repository.state, repository.place, AssetSpec.parse(spec).name, Path(path)).folder.exists():
        refuse_served(before)
    elif before is None or before.is_served:
        checked(path)
    if before is not None:
        refuse_unfinished(before)
    base = would_mount_writable(repository, spec, path, lambda edits: ServedVersions(settings, edits))
    refuse_unusable()
    return MountSettings(path, f"{base.name}:{base.version}", _KIND)


def _note(record: Record) -> None:
    """Write what it is mounted of, and the processes of the version below as the mount's own: it is served as long as they live.

    Where that cannot be written (a full disk) the record tells less, and names the folder of changes, which tells all.
    """
    state = shown(record).state
    with suppress(LocalError):
        record.reinstate(State("mounted", supervisor=state.supervisor, worker=state.worker))


def edits_at(repository: Repository, directory: str) -> Edits | None:
    """The changes of a writable mount at a directory, mounted or not, None where it is none.

    Raises:
        UsageError: its version is of another store than the repository's.
    """
    from holdfast.mount.editing import find_edits

    path = Path(resolved(directory))
    found = find_edits(repository, path)
    others = all_edits(repository.state, path)
    if found is None and others:
        place = others[0][1].place
        raise UsageError(
            f"{path} is mounted from another store, {place}", subject=str(path), hint=f"give that one: --store {place}"
        )
    return found


def push(repository: Repository, settings: Settings, edits: Edits, options: PushOptions) -> Pushed:
    """Push what was changed; see :func:`~holdfast.mount.editing.push_edits`."""
    pushed = push_edits(repository, edits, options, ServedVersions(settings, edits))
    known = edits.read()
    record = Registry(settings.state_dir / "mounts").find(known.directory) if known is not None else None
    if record is not None and is_writable(record):
        _note(record)
    return pushed


def unmount(
    registry: Registry,
    record: Record,
    *,
    wait: bool = False,
    discard: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Changes | None:
    """Unmount a writable mount, and forget it; what was thrown away, None where nothing was there any more.

    ``wait``: until nobody holds it; ``say`` is told what is waited for.

    Raises:
        ConflictError: there are unpushed changes, and ``discard`` is not set.
        BusyError: it is in use, and ``discard`` is not set.
    """
    edits, changes = _edits_of(record), None
    if edits.folder.exists():
        repository, versions = _opened(record, edits)
        changes = _patiently(lambda: unmount_writable(repository, edits, versions, discard=discard), wait, say)
    with registry.turn(record.settings.dir):
        record.remove()
    return changes


def would_unmount(record: Record, *, wait: bool = False, discard: bool = False) -> Changes | None:
    """What :func:`unmount` would throw away; it is refused as there, as far as that can be told by looking, and nothing is changed.

    Raises:
        HoldfastError: as there.
    """
    from holdfast.mount.rehearsing import would_unmount_writable

    edits = _edits_of(record)
    if not edits.folder.exists():
        return None
    repository, versions = _opened(record, edits)
    return would_unmount_writable(repository, edits, versions, wait=wait, discard=discard)


def _opened(record: Record, edits: Edits) -> tuple[Repository, ServedVersions]:
    """The repository that a mount's version is of, and who mounts versions of it."""
    from holdfast.wiring import open_settings

    options = record.settings.options
    settings = load({"store": options["store"]}, profile=options["profile"])
    return open_settings(settings, offline=True), ServedVersions(settings, edits)


def _patiently(deed: Callable[[], Result], wait: bool, say: Callable[[str], None]) -> Result:
    """Do it; where somebody is in the way, again and again, if that is waited for."""
    said = ""
    while True:
        try:
            return deed()
        except BusyError as error:
            if not wait:
                raise
            if error.message != said:
                say(f"waiting: {error.message}")
                said = error.message
        time.sleep(_PAUSE)
