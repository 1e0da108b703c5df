"""Large objects in parts: begun and completed by the server, every part sent to the bucket with leave for just its length.

Only data under the push's own claim goes this way. A completion may not be conditional in every store, so it is made by one at a time,
after a look that nothing is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from holdfast.errors import AccessError, IntegrityError, UnsupportedError, UsageError
from holdfast.formats.api import Grant, PartsReply
from holdfast.server import transfers
from holdfast.server.alone import writing
from holdfast.server.borders import data_version
from holdfast.server.reading import stat
from holdfast.server.transfers import checked_batch, to_write
from holdfast.store.base import UploadsParts
from holdfast.store.parts import part_plan

if TYPE_CHECKING:
    from holdfast.formats.api import ObjectStat, PartsDone, PartsRequest
    from holdfast.server.access import OpenProject
    from holdfast.server.database import Database

__all__ = ["begin", "complete"]

#: S3's own limit of an object.
_MOST: Final = 5 * 1024**4


def begin(project: OpenProject, asked: PartsRequest, now: float) -> PartsReply:
    """A new upload, or leave for more parts of one.

    Raises:
        AccessError: this push may not write the key.
        UnsupportedError: the store takes no parts from others.
        UsageError: a length or number that cannot be.
    """
    store = _allowed(project, asked.push, asked.key, asked.size)
    checked_batch(asked.numbers)
    if not 0 < asked.size <= _MOST:
        raise UsageError(f"{asked.key} cannot have {asked.size} bytes", subject=asked.key)
    plan = part_plan(asked.size)
    if any(not 1 <= number <= plan.count for number in asked.numbers):
        raise UsageError(f"{asked.key} has {plan.count} parts", subject=asked.key)
    upload = asked.upload if asked.upload is not None else store.begin_parts(asked.key)
    sizes = [(number, min(plan.size, asked.size - (number - 1) * plan.size)) for number in asked.numbers]
    signed = store.sign_parts(asked.key, upload, sizes, transfers.SECONDS)
    pairs = zip(sizes, signed, strict=True)
    grants = [
        Grant(str(number), each.url, each.headers, now + transfers.SECONDS, size) for (number, size), each in pairs
    ]
    return PartsReply(upload, plan.size, grants, now)


def complete(project: OpenProject, database: Database, asked: PartsDone) -> ObjectStat:
    """Make the object; asked again, it is the same.

    Raises:
        AccessError: this push may not write the key.
        AlreadyExistsError: another object is there.
        ConflictError: the upload is gone, or a part is missing.
    """
    store = _allowed(project, asked.push, asked.key, asked.size)
    if len(asked.tags) != part_plan(asked.size).count:
        raise UsageError(f"{len(asked.tags)} tags for {part_plan(asked.size).count} parts", subject=asked.key)
    with writing(database, project.id, asked.key):
        info = store.complete_parts(asked.key, asked.upload, asked.tags)
    if info.size != asked.size:
        raise IntegrityError(f"{asked.key} has {info.size} bytes, not {asked.size}", subject=asked.key)
    return stat(info)


def _allowed(project: OpenProject, push_id: str, key: str, size: int) -> UploadsParts:
    push = to_write(project, push_id)(key, size)
    if data_version(key, push.name) is None:
        raise AccessError("not allowed")
    if not isinstance(project.store, UploadsParts):
        raise UnsupportedError(f"{project.url} takes no parts", subject=project.url, hint="send it through the server")
    return project.store
