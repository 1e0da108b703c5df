"""A directory is closed from the moment at which it is made ready until its mount is shown there, as it is while a mount is down.

What visitors bring in between would lie hidden under the mount, and in no bucket. As root alone: who mounts for himself is who serves.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from holdfast.disk import local_errors
from holdfast.errors import HoldfastError
from holdfast.mount.live.plan import KINDS, Plan
from holdfast.mount.table import mounted_at
from holdfast.sites.journal import BITS
from holdfast.sites.paths import Below

if TYPE_CHECKING:
    from holdfast.sites.attached import Place
    from holdfast.sites.journal import Journal

__all__ = ["bits_of", "close", "note_bits", "reopen"]

#: The bits of a directory whose own are not known.
_USUAL: Final = 0o755


def note_bits(place: Place, journal: Journal) -> None:
    """Have the journal know which permission bits the directory has, where it is not closed."""
    with Below(place.spot.root) as root:
        status = root.look(place.spot.path)
    if status is not None and (bits := stat.S_IMODE(status.st_mode)):
        journal.note(f"{BITS}{place.directory}", oct(bits))


def bits_of(place: Place, journal: Journal) -> int | None:
    """Those that the directory is to have when nothing is mounted there, as noted, or as its mount knows them; None where neither does."""
    noted, record = journal.fact(f"{BITS}{place.directory}"), place.record
    if noted is not None:
        return int(noted, 8)
    return Plan.of(record).mode if record is not None and record.settings.kind in KINDS else None


def close(place: Place, journal: Journal) -> None:
    """Take the permission bits from the directory, and remember them."""
    if os.geteuid() != 0:
        return
    note_bits(place, journal)
    with (
        local_errors(Path(place.spot.place)),
        Below(place.spot.root) as root,
        root.directory(place.spot.path) as descriptor,
    ):
        if stat.S_IMODE(os.fstat(descriptor).st_mode):
            os.fchmod(descriptor, 0)


def reopen(place: Place, bits: int | None) -> None:
    """Give them back, where no mount is there any more, nor has come."""
    if os.geteuid() != 0 or place.record is not None or mounted_at(place.spot.place) is not None:
        return
    with (
        suppress(HoldfastError, OSError),
        Below(place.spot.root) as root,
        root.directory(place.spot.path) as descriptor,
    ):
        if stat.S_IMODE(os.fstat(descriptor).st_mode) == 0:
            os.fchmod(descriptor, bits or _USUAL)
