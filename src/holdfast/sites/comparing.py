"""What is read through a mount of media, beside what its bucket holds: a mount that shows anything else is not taken.

Example::

    compare(place, [Media(stores.all[0], site, part.bucket, place.directory) for part in place.parts])
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from holdfast.errors import IntegrityError, UnreachableError
from holdfast.sites.attaching import sample, unlike
from holdfast.sites.localparts import is_local
from holdfast.sites.offload import Wanted
from holdfast.sites.probing import look_below

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from holdfast.sites.attached import Place
    from holdfast.sites.media import Media
    from holdfast.sites.offload import Found

__all__ = ["LOOKED_AT", "READ_WHOLE", "compare", "differing"]

#: So many files are looked at through a new mount, those up to this size read whole.
LOOKED_AT, READ_WHOLE = 64, 1 << 20
#: Seconds that this may take.
_LOOK: Final = 60.0
#: Seconds after which every mounter has asked its store again what there is.
_ASKED_ANEW: Final = 15.0
_TICK: Final = 1.0


def compare(place: Place, media: Sequence[Media], *, stands: bool = False) -> None:
    """Read files through the mount, and see that they are those of its bucket, or of all its branches'; twice, for others may write.

    A mount that ``stands`` for a while shows what others wrote only once its mounter asks anew; it is given the time.

    Raises:
        IntegrityError: they are not.
        UnreachableError: the mount does not read its bucket.
    """
    deadline = time.monotonic() + (_ASKED_ANEW if stands else 0.0)
    tries = 0
    while wrong := _wrong(place, media):
        tries += 1
        if tries > 1 and time.monotonic() >= deadline:
            raise IntegrityError(
                f"what is read at {place.spot.place} is not what {place.bucket} holds: {', '.join(wrong[:3])}",
                subject=place.spot.place,
                hint="its events.log and mounter.log say more: asset mounts",
            )
        time.sleep(_TICK if tries > 1 else 0.0)


def _wrong(place: Place, media: Sequence[Media]) -> list[str]:
    objects: dict[str, Found] = {}
    for each in reversed(media):
        objects |= _objects(each)
    return differing(place, objects)


def _objects(media: Media) -> Mapping[str, Found]:
    record = media.recorded()
    rows = record.objects if record is not None else {}
    return media.look({key: Wanted(row.size, row.digest) for key, row in rows.items()}, is_ours=True).objects


def differing(place: Place, objects: Mapping[str, Found]) -> list[str]:
    """The keys, of some of these objects, that a mount tells otherwise, each with what it told.

    Raises:
        UnreachableError: the mount does not read its store.
    """
    keys = sample([key for key in objects if not is_local(key, place.local)], LOOKED_AT)
    paths = {key: objects[key].size <= READ_WHOLE for key in keys} | dict.fromkeys(place.marks, True)
    told = look_below(place.spot.place, paths, seconds=_LOOK)
    unread = next((mark for mark in place.marks if len(told[mark]) == 1), None)
    if unread is not None:
        raise UnreachableError(
            f"{place.spot.place} is mounted, and does not read its bucket: {told[unread][0]}",
            subject=place.spot.place,
        )
    expected = {key: (objects[key].size, objects[key].digest if paths[key] else None) for key in keys}
    return unlike(expected, told)
