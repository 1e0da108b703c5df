"""Writes that a mounter took and has not sent to the bucket yet, as far as anybody can tell.

rclone keeps, beside each file of its cache, whether it must still be sent, and sends it when it is started again with the same cache. It
writes that record over in place, at each open, so a kill can tear it, and a file whose record is torn rclone deletes: it is set aside first,
and put back through the mount where the bucket lacks it. The others send when a file is closed, so with them only what is open for
writing can be lost.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

from holdfast.errors import LocalError
from holdfast.model.digest import digest_of
from holdfast.mount.holders import open_for_writing
from holdfast.mount.live.templates import REMOTE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["open_files", "part_of", "put_back", "queued", "set_aside", "set_aside_now", "unsettled"]

#: Below rclone's cache folder: what it knows of each file, and the files.
_RECORDS, _FILES = "vfsMeta", "vfs"


def queued(cache: str, source: str) -> list[str]:
    """The files in a mount's cache that wait to be sent, by their path below the mount; empty for mounters that keep none."""
    return sorted(path for path, is_dirty in _known(cache, source) if is_dirty)


def unsettled(cache: str, source: str) -> list[str]:
    """What must not be thrown away with a cache: what waits to be sent, and files of which the mounter's record does not tell."""
    doubtful = {path for path, is_dirty in _known(cache, source) if is_dirty is not False}
    return sorted(doubtful.union(_unknown(_top(cache, _FILES, source), _top(cache, _RECORDS, source))))


def open_files(directory: str) -> list[str]:
    """The files below a mount that somebody has open for writing, by their path below it."""
    return [path[len(directory.rstrip("/")) + 1 :] for path in open_for_writing(directory)]


def set_aside(cache: str, source: str, folder: str) -> list[str]:
    """Move files whose record was torn out of the cache of a mounter that ended; their paths below the mount.

    Where another of that name was set aside before and is still there, the later one gets a number behind its name, as does a folder
    where a file has its name.

    Raises:
        LocalError: some could not be moved, after all others were: a mounter that is started now deletes them.
    """
    files, records = (_top(cache, kind, source) for kind in (_FILES, _RECORDS))
    moved, wrong = [], []
    torn = [path for path, is_dirty in _known(cache, source) if is_dirty is None]
    for path in (*torn, *_unknown(files, records)):
        kept = os.path.join(files, path)
        if not os.path.lexists(kept):
            continue
        try:
            target = _free(folder, path, kept)
            os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
            os.replace(kept, target)
        except OSError as error:
            wrong.append((path, kept, error))
            continue
        moved.append(os.path.relpath(target, folder))
        with suppress(OSError):
            os.unlink(os.path.join(records, path))
    if wrong:
        names = ", ".join(f"{path} ({error.strerror})" for path, _, error in wrong)
        message = f"files that may be unsent cannot be set aside in {folder}: {names}"
        hint = f"the mounter deletes them when it is started: make room, or move them away yourself, as {wrong[0][1]}"
        raise LocalError(message, subject=folder, hint=hint)
    return sorted(moved)


def set_aside_now(folder: str) -> list[str]:
    """What lies set aside, by its path below the mount."""
    found = []
    for place, _, names in os.walk(folder):
        found += [os.path.relpath(os.path.join(place, name), folder) for name in names]
    return sorted(found)


def put_back(folder: str, directory: str) -> list[str]:
    """Write what was set aside through the mount where the bucket lacks it, drop what the bucket has; the paths put back.

    What the bucket has with other bytes stays aside: it may be older, or newer. So does what is not whole, a part that was read ahead.
    """
    done = []
    for path in set_aside_now(folder):
        kept, mounted = os.path.join(folder, path), os.path.join(directory, path)
        with suppress(OSError):
            if not os.path.lexists(mounted):
                if not _is_whole(kept):
                    continue
                if not _is_written(kept, mounted):
                    continue
                done.append(path)
            elif not _is_equal(kept, mounted):
                continue
            os.unlink(kept)
    return done


def part_of(path: str) -> str:
    """Where a file is written until it is whole, beside it."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f".holdfast-part-{digest_of(os.fsencode(name))[:16]}")


def _is_written(kept: str, mounted: str) -> bool:
    """Write a file through the mount under a name of its own first, so that nobody sees a piece of it; False where another came first."""
    part = part_of(mounted)
    os.makedirs(os.path.dirname(mounted), exist_ok=True)
    try:
        shutil.copyfile(kept, part)
        if os.path.lexists(mounted):
            return False
        os.rename(part, mounted)
    finally:
        with suppress(OSError):
            os.unlink(part)
    return True


def _known(cache: str, source: str) -> Iterator[tuple[str, bool | None]]:
    """Every file in the cache by its path below the mount, and whether it must be sent; None where its record is torn."""
    top = _top(cache, _RECORDS, source)
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            yield os.path.relpath(path, top), _is_dirty(path)


def _unknown(files: str, records: str) -> list[str]:
    """Files of the cache that have no record."""
    found = []
    for folder, _, names in os.walk(files):
        paths = (os.path.relpath(os.path.join(folder, name), files) for name in names)
        found += [path for path in paths if not os.path.lexists(os.path.join(records, path))]
    return found


def _is_dirty(path: str) -> bool | None:
    """What a record says; None where it does not tell. One that has just gone is of a file that was sent."""
    try:
        with open(path, "rb") as file:
            value = json.loads(file.read())
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return None
    said = value.get("Dirty") if isinstance(value, dict) else None
    return said if isinstance(said, bool) else None


def _top(cache: str, kind: str, source: str) -> str:
    return os.path.join(cache, kind, REMOTE, source.removeprefix("s3://"))


def _free(folder: str, path: str, source: str) -> str:
    """Where a file can be put below a folder: at its path, but for numbers behind the names of what is in the way."""
    *above, name = path.split("/")
    place = folder
    for piece in above:
        place = _numbered(f"{place}/{piece}", os.path.isdir)
    return _numbered(f"{place}/{name}", lambda there: _is_equal(source, there))


def _numbered(path: str, fits: Callable[[str], bool]) -> str:
    """The first of this path, and this path with a number behind it, where nothing lies, or something that fits."""
    name, number = path, 1
    while os.path.lexists(name) and not fits(name):
        number += 1
        name = f"{path}.{number}"
    return name


def _is_whole(path: str) -> bool:
    """Whether it has no holes, which is what was not read from the bucket yet."""
    status = os.stat(path)
    return status.st_blocks * 512 >= status.st_size


def _is_equal(one: str, other: str) -> bool:
    import filecmp

    return filecmp.cmp(one, other, shallow=False)
