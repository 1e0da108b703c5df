"""What stays on each machine below a webroot that is mounted whole: the configuration file, logs, tmp, cache. Taken out of the webroot, and put back.

They lie beside the webroot in a folder of the operator's, which he alone can enter, each under its path in one piece
(``administrator%2Flogs``), and belong to whom they belonged. The mount shows them in their places (:mod:`holdfast.mount.live.parts`).
They are only ever moved by name, from the webroot's moved-aside copy and back into it, so that none is ever half there.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from holdfast.errors import ConflictError, LocalError
from holdfast.failpoint import reach
from holdfast.mount.live import Parts
from holdfast.mount.live.plan import Plan as MountedPlan
from holdfast.mount.table import mounted_at
from holdfast.sites.held import held_in, make_folder
from holdfast.sites.paths import Below

if TYPE_CHECKING:
    from collections.abc import Iterable

    from holdfast.sites.attached import Place
    from holdfast.sites.attaching import Spot
    from holdfast.sites.held import Held
    from holdfast.sites.plan import Plan

__all__ = [
    "gather",
    "is_local",
    "lie_in",
    "local_paths",
    "parts_of",
    "put_back",
    "refuse_missing",
    "refuse_others_laid",
    "refuse_stray",
    "would_put_back",
]


def local_paths(plan: Plan) -> tuple[str, ...]:
    """The paths below a whole webroot that stay on each machine; none of them lies in another. Pure."""
    paths = dict.fromkeys((*plan.local, *([plan.config_file] if plan.config_file else [])))
    return tuple(path for path in paths if not any(path.startswith(f"{other}/") for other in paths))


def is_local(key: str, local: Iterable[str]) -> bool:
    """Whether a key of the bucket is one of these paths, or below it. Pure."""
    return any(key == path or key.startswith(f"{path}/") for path in local)


def parts_of(place: Place, owner: tuple[int, int]) -> Parts:
    """How the mount shows them."""
    folder = _folder(place.spot)
    laid = {path: f"{folder}/{_name(path)}" for path in place.local}
    return Parts(_beside(place.spot, "mount"), laid, owner)


def lie_in(spot: Spot) -> list[str]:
    """The paths of what lies in the folder now."""
    folder = _folder(spot)
    if not os.path.isdir(folder):
        return []
    with Below(folder):
        return sorted(unquote(name) for name in os.listdir(folder))


def refuse_missing(place: Place, config_file: str | None) -> None:
    """Raise where a part is a link, or the configuration file is nowhere on this machine; nothing is touched.

    Raises:
        ConflictError: there is no configuration file, which no backup has.
        LocalError: a link stands where a part is.
    """
    spot, there = place.spot, set(lie_in(place.spot))
    if os.path.isdir(spot.root) and mounted_at(spot.place) is None:
        there |= _in_webroot(place)
    for held in _copies(spot):
        with Below(held.folder) as folder:
            there |= {path for path in place.local if folder.look(f"{held.name}/{path}") is not None}
    if config_file is not None and not any(config_file == path or config_file.startswith(f"{path}/") for path in there):
        raise ConflictError(
            f"{spot.place}/{config_file} is not there: it stays on each machine, and is in no backup and no bucket",
            subject=config_file,
            hint="write this server's own there (empty, where the application fills it in), and attach again",
        )


def refuse_others_laid(place: Place) -> None:
    """Raise ConflictError where the webroot is mounted, and not with these parts: what is laid stays while the mount does."""
    record = place.record
    parts = None if record is None else MountedPlan.of(record).parts
    laid = set() if parts is None else set(parts.laid)
    other = sorted(laid ^ set(place.local))
    if other:
        raise ConflictError(
            f"{place.spot.place} was mounted when the settings said otherwise of {', '.join(other)}",
            subject=other[0],
            hint="asset site detach, then attach again",
        )


def refuse_stray(place: Place, keys: Iterable[str], *, accept: bool) -> None:
    """Raise ConflictError where a bucket holds what must stay on each machine: it would be there for all of them to see."""
    stray = sorted(key for key in keys if is_local(key, place.local))
    if stray and not accept:
        raise ConflictError(
            f"{place.source} holds {', '.join(stray[:3])}, which must stay on each machine",
            subject=place.bucket,
            hint="remove it from the bucket, or deploy again; --accept-changes leaves it there, out of sight",
        )


def _in_webroot(place: Place) -> set[str]:
    there = set()
    with Below(place.spot.root) as root:
        for path in place.local:
            status = root.look(f"{place.spot.path}/{path}")
            if status is None:
                continue
            if stat.S_ISLNK(status.st_mode):
                raise LocalError(
                    f"{place.spot.place}/{path} is a link: it cannot stay on this machine as it is",
                    subject=path,
                    hint="put what it leads to in its place",
                )
            there.add(path)
    return there


def gather(place: Place, config_file: str | None, owner: tuple[int, int]) -> list[str]:
    """Have every part lie in the folder: out of the newest moved-aside copy that has it; a directory that is nowhere is made, empty. What was moved.

    Raises:
        ConflictError, LocalError: the folder is not the operator's, or the disk refuses.
    """
    folder = _folder(place.spot)
    make_folder(folder)
    moved = []
    with Below(folder) as local:
        for path in place.local:
            if local.look(_name(path)) is not None:
                continue
            if _moved(place.spot, path, local):
                moved.append(path)
            elif path != config_file:
                local.make(_name(path), 0o755, owner)
            reach("site.part")
        local.sync()
    return moved


def _moved(spot: Spot, path: str, local: Below) -> bool:
    for held in reversed(_copies(spot)):
        with Below(held.folder) as folder:
            status = folder.look(f"{held.name}/{path}")
            if status is not None and not stat.S_ISLNK(status.st_mode):
                folder.move(f"{held.name}/{path}", local, _name(path))
                return True
    return False


def put_back(spot: Spot) -> list[str]:
    """Move the parts to where they were: into the newest moved-aside copy, which comes back, else into the webroot. What was moved.

    What cannot be moved, because something else has its name there, stays in the folder.
    """
    folder, moved = _folder(spot), []
    if not os.path.isdir(folder):
        return []
    root, above = _goes_into(spot)
    with Below(folder) as local, Below(root) as target:
        for path in lie_in(spot):
            if target.look(f"{above}/{path}") is None and _moved_back(local, path, target, above):
                moved.append(path)
            reach("site.part")
    with suppress(OSError):
        os.rmdir(folder)
    return moved


def would_put_back(spot: Spot) -> list[str]:
    """What :func:`put_back` would move, of what lies beside a webroot that is mounted or not; nothing is moved."""
    there = lie_in(spot)
    root, above = _goes_into(spot)
    if not there or (root == spot.root and mounted_at(spot.place) is not None):  # what is below the mount is not seen
        return there
    with Below(_folder(spot)) as local, Below(root) as target:
        return [
            path
            for path in there
            if target.look(f"{above}/{path}") is None
            and (target.look(f"{above}/{path}".rpartition("/")[0]) is not None or not _is_empty(local, path))
        ]


def _is_empty(local: Below, path: str) -> bool:
    status = local.look(_name(path))
    if status is None or not stat.S_ISDIR(status.st_mode):
        return False
    with local.directory(_name(path)) as descriptor:
        return not os.listdir(descriptor)


def _goes_into(spot: Spot) -> tuple[str, str]:
    """The folder, and the path below it, into which the parts go back."""
    copies = _copies(spot)
    return (copies[-1].folder, copies[-1].name) if copies else (spot.root, spot.path)


def _moved_back(local: Below, path: str, target: Below, above: str) -> bool:
    """Move one to its place; an empty directory whose own place is gone, or never was, is removed instead."""
    parent = f"{above}/{path}".rpartition("/")[0]
    if target.look(parent) is None:
        with suppress(LocalError):
            local.remove_directory(_name(path))
            return False
        status = local.look(_name(path))
        owner = (status.st_uid, status.st_gid) if status is not None and os.geteuid() == 0 else None
        target.make(parent, 0o755, owner)
    local.move(_name(path), target, f"{above}/{path}")
    return True


def _copies(spot: Spot) -> list[Held]:
    return [each for each in held_in(spot.held) if each.directory == ""]


def _name(path: str) -> str:
    return quote(path, safe="")


def _folder(spot: Spot) -> str:
    return _beside(spot, "local")


def _beside(spot: Spot, what: str) -> str:
    return f"{spot.root.rstrip('/')}/.{spot.path}.{what}"
