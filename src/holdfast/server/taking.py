"""What a push wrote through a mount, taken to its keys: a mount may upload late, so each object is waited for, checked, copied.

The copy is made inside the store and creates in effect: what is under the key already is kept if it is the same, and another object
is an error, never taken for the same. A staged object is removed once it is under its key.
"""

from __future__ import annotations

import asyncio
import io
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from holdfast.errors import AccessError, AlreadyExistsError, IntegrityError, ObjectNotFoundError
from holdfast.formats import layout
from holdfast.formats.api import TakeReply
from holdfast.server.alone import writing
from holdfast.server.metadata import plain_md5
from holdfast.server.transfers import checked_batch, to_write
from holdfast.transfer.engine import Engine

if TYPE_CHECKING:
    from typing import BinaryIO

    from holdfast.formats.api import Staged, TakeRequest
    from holdfast.server.access import OpenProject
    from holdfast.server.database import Database
    from holdfast.store.base import ObjectInfo, Store

__all__ = ["take"]

_AT_ONCE: Final = 8
#: Seconds: how long one request waits at most, and between two looks.
_LONGEST: Final = 25.0
_PAUSE: Final = 0.25
_BLOCK: Final = 4 * 1024 * 1024
#: S3 copies no larger object in one request.
LARGE: Final = 5 * 1024**3


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A staged object, by its key, and what is asked of it."""

    source: str
    asked: Staged


async def take(project: OpenProject, database: Database, push_id: str, asked: TakeRequest) -> TakeReply:
    """Take what shows its length, until all is taken or the time is over.

    Raises:
        AccessError: a key that this push may not write.
        AlreadyExistsError: another object is under a key.
        IntegrityError: a staged object is not what the client wrote.
    """
    checked_batch(asked.objects)
    wanted = await asyncio.to_thread(_wanted, project, push_id, asked)

    def taken_now(each: _Wanted) -> bool:
        with writing(database, project.id, each.asked.key):
            return _take(project.store, each)

    deadline = time.monotonic() + min(max(asked.wait, 0.0), _LONGEST)
    taken: list[str] = []
    while True:
        done = await asyncio.to_thread(Engine(_AT_ONCE).run, taken_now, wanted)
        taken += [each.asked.piece for each, is_done in zip(wanted, done, strict=True) if is_done]
        wanted = [each for each, is_done in zip(wanted, done, strict=True) if not is_done]
        if not wanted or time.monotonic() > deadline:
            return TakeReply(taken, [each.asked.piece for each in wanted])
        await asyncio.sleep(_PAUSE)


def _wanted(project: OpenProject, push_id: str, asked: TakeRequest) -> list[_Wanted]:
    allowed = to_write(project, push_id)
    found = []
    for each in asked.objects:
        if "/" in each.piece or each.key.startswith(f"{layout.STAGED}/"):
            raise AccessError("not allowed")
        source = layout.staged_key(push_id, each.piece)
        allowed(source, each.size)
        allowed(each.key, each.size)
        found.append(_Wanted(source, each))
    return found


def _take(store: Store, wanted: _Wanted) -> bool:
    """Whether the object is under its key now."""
    asked = wanted.asked
    staged, there = _info(store, wanted.source), _info(store, asked.key)
    if there is None:
        if staged is None or staged.size != asked.size:
            return False
        _check(staged, asked)
        _copy(store, staged, asked.key)
        there = store.head(asked.key)
    elif staged is not None and staged.size != asked.size:
        return False
    if there.size != asked.size or (staged is not None and not _same(store, staged, there)):
        raise AlreadyExistsError(f"another object is under {asked.key}", subject=asked.key)
    if staged is None and asked.md5 is not None and plain_md5(there) not in (None, asked.md5):
        raise AlreadyExistsError(f"another object is under {asked.key}", subject=asked.key)
    store.delete(wanted.source)
    return True


def _check(staged: ObjectInfo, asked: Staged) -> None:
    found = plain_md5(staged)
    if asked.md5 is not None and found is not None and found != asked.md5:
        message = f"what the mount uploaded for {asked.key} is not what was written"
        raise IntegrityError(message, subject=asked.key, hint="push again")


def _copy(store: Store, source: ObjectInfo, target: str) -> None:
    """Inside the store; what is larger than a store copies in one go is read and written here, in parts."""
    if source.size <= LARGE:
        store.copy(source.key, target)
        return
    with io.BufferedReader(_Ranges(store, source), _BLOCK) as file:
        store.put_file(target, cast("BinaryIO", file), source.size, lambda _: None)


class _Ranges(io.RawIOBase):
    """An object as a file that is read from its beginning to its end."""

    def __init__(self, store: Store, info: ObjectInfo) -> None:
        super().__init__()
        self._store, self._info, self._at = store, info, 0

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """The next bytes."""
        view = memoryview(buffer)
        length = min(len(view), self._info.size - self._at)
        if length <= 0:
            return 0
        data = self._store.get_range(self._info.key, self._at, length, version=self._info.version).data
        count = memoryview(data).nbytes
        view[:count] = data
        self._at += count
        return count


def _same(store: Store, one: ObjectInfo, other: ObjectInfo) -> bool:
    """Whether two objects of one length have the same bytes: by their tags where those are MD5s, else by reading."""
    tags = plain_md5(one), plain_md5(other)
    if None not in tags:
        return tags[0] == tags[1]
    for start in range(0, one.size, _BLOCK):
        length = min(_BLOCK, one.size - start)
        pair = [bytes(store.get_range(info.key, start, length, version=info.version).data) for info in (one, other)]
        if pair[0] != pair[1]:
            return False
    return True


def _info(store: Store, key: str) -> ObjectInfo | None:
    try:
        return store.head(key)
    except ObjectNotFoundError:
        return None
