"""The directory at which media are mounted: whose mount is there, what a mount left, whether it is empty, and made so by moving aside."""

from __future__ import annotations

import os
import pwd
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from holdfast.errors import ConflictError, HoldfastError, UsageError
from holdfast.mount import live
from holdfast.mount.live.clearing import WAYS, clear
from holdfast.mount.live.finding import found
from holdfast.mount.table import mounted_at
from holdfast.sites.closing import bits_of, close, note_bits, reopen
from holdfast.sites.held import Held, bring_back, fresh_name, is_empty, move_aside, refuse_to_move
from holdfast.sites.journal import ASIDE
from holdfast.sites.localparts import gather, put_back, refuse_missing
from holdfast.sites.paths import Below

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from holdfast.sites.attached import Place
    from holdfast.sites.journal import Journal

__all__ = [
    "aside",
    "emptiness",
    "gather_parts",
    "give_back",
    "make_branch",
    "make_room",
    "owner_of",
    "refuse_branch",
    "refuse_other",
    "refuse_parts",
    "refuse_shared",
    "remove_branch",
    "undone",
    "would_go_to",
]


def make_room(place: Place, journal: Journal, owner: tuple[int, int] | None) -> None:
    """An empty directory to mount at, of this owner where there is none, and closed; what lies there goes aside, and the journal knows where."""
    _release(place)
    if emptiness(place) is None:
        with Below(place.spot.root) as root:
            root.make(place.spot.path, 0o755, owner)
        journal.did(f"make {place.directory}")
    if emptiness(place):
        close(place, journal)
    if not emptiness(place):  # or somebody wrote into it at that very moment
        _set_aside(place, journal)


def _set_aside(place: Place, journal: Journal) -> None:
    record = place.record
    if record is not None:
        WAYS.free(record)  # somebody wrote into it while its mount was down
    reopen(place, bits_of(place, journal))
    note_bits(place, journal)
    name = fresh_name(place.directory)
    journal.note(f"{ASIDE}{place.directory}", f"{place.spot.held}/{name}")
    move_aside(place.spot, name)
    journal.did(f"{ASIDE}{place.directory}")


def refuse_branch(branch: Place) -> None:
    """Raise where a branch cannot be mounted: its folder must be the operator's own, and nothing may lie where it is mounted.

    Raises:
        ConflictError: something is mounted or lies there, or others may write to the folder, who could turn it elsewhere.
        LocalError: the folder is missing or cannot be read.
    """
    place = branch.spot.place
    refuse_shared(branch.spot.root, f"branches of {branch.directory} are to be mounted in it")
    refuse_other(branch)
    if emptiness(branch) is False:
        raise ConflictError(
            f"something lies in {place}, where branch {branch.number} of {branch.directory} is to be mounted",
            subject=place,
            hint="move it away: it is in no backup, and nothing is moved aside there",
        )


def refuse_shared(folder: str, what: str) -> None:
    """Raise where others can write a folder, who could turn elsewhere what is mounted in it; ``what`` says that.

    Raises:
        ConflictError: they can.
        LocalError: the folder is missing or cannot be read.
    """
    with Below(folder) as below:
        status = below.status
    if status.st_uid not in (0, os.geteuid()) or (status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX):
        raise ConflictError(
            f"{folder} can be written by others, and {what}",
            subject=folder,
            hint="chown it to root and take the right to write from others",
        )


def refuse_parts(place: Place, config_file: str | None, *, stands: bool) -> None:
    """Raise where a webroot cannot be put together with what stays on this machine; nothing is touched. ``stands``: it is mounted now.

    Raises:
        ConflictError: a part is missing, or others may write to the folder in which they are put together.
        HoldfastError: mergerfs is missing; a link stands where a part is.
    """
    if not place.local:
        return
    found(live.MERGERFS, place.settings.mount_path, place.settings.environ)
    refuse_missing(place, config_file)
    if not stands:
        refuse_shared(place.spot.root, "the webroot is put together in it with what stays on this machine")


def gather_parts(place: Place, config_file: str | None, journal: Journal, owner: tuple[int, int] | None) -> None:
    """Have what stays on this machine lie beside the webroot."""
    if place.local:
        gather(place, config_file, owner or (0, 0))
        journal.did(f"local {place.directory}")


def make_branch(branch: Place, journal: Journal) -> None:
    """An empty directory of the operator's for a branch."""
    refuse_branch(branch)
    _release(branch)
    if emptiness(branch) is None:
        with Below(branch.spot.root) as root:
            root.make(branch.spot.path, 0o755)
        journal.did(f"make {branch.spot.place}")


def remove_branch(branch: Place) -> None:
    """Remove the directory of a branch that is not mounted, where it is empty."""
    with suppress(HoldfastError, OSError), Below(branch.spot.root) as root:
        root.remove_directory(branch.spot.path)


def aside(place: Place, journal: Journal) -> str | None:
    """Where this work moved what lay there."""
    return journal.fact(f"{ASIDE}{place.directory}")


def would_go_to(place: Place, journal: Journal) -> str | None:
    """The folder in which what lies there would go aside; where it lies, if an earlier run of this work moved it. None where nothing does.

    Raises:
        ConflictError: it cannot go there.
    """
    if not os.path.isdir(place.spot.root) or emptiness(place) is not False:
        return aside(place, journal)
    refuse_to_move(place.spot)
    return place.spot.held


@contextmanager
def undone(place: Place, journal: Journal, branches: Sequence[Place] = ()) -> Iterator[None]:
    """Where the block fails, the directory is as it was before it, and ``branches``, which the block adds to, are gone.

    One that nobody could write to, because a mount was there or left it so, is closed then, though an earlier run of this work moved aside
    what lay there: what visitors bring is not to land on the disk in place of the bucket.
    """
    closed, before = _is_closed(place), aside(place, journal)
    try:
        yield
    except BaseException:
        held, bits = aside(place, journal), bits_of(place, journal)
        give_back(place, None if closed and held == before else held, closed=closed)
        reopen(place, bits)
        for branch in branches:
            give_back(branch, None)
        raise


def _is_closed(place: Place) -> bool:
    """Whether a mount of ours is there, or left the directory closed, as before a reboot; by the directory itself, for a record may be of one that was opened again."""
    if place.record is None:
        return False
    if mounted_at(place.spot.place) is not None:
        return True
    with suppress(HoldfastError), Below(place.spot.root) as root:
        status = root.look(place.spot.path)
        return status is not None and stat.S_IMODE(status.st_mode) == 0
    return False


def give_back(place: Place, held: str | None, *, closed: bool = False) -> None:
    """The directory as it was before this work mounted there, but for its permission bits (:mod:`.closing`); what cannot be undone stays for the next run.

    One that was ``closed`` stays closed, where nothing was moved aside: nobody is to write to the disk in place of the bucket.
    """
    with suppress(HoldfastError, OSError):
        record = place.record
        closed = held is None and (closed or (record is not None and not record.is_served))
        if record is not None and (record.is_served or not closed):
            place.unmount(closed=closed, opens=False)
        if closed:
            return
        if place.number:
            remove_branch(place)
        if place.local and mounted_at(place.spot.place) is None:
            put_back(place.spot)
        if held is not None and mounted_at(place.spot.place) is None:
            folder, _, name = held.rpartition("/")
            bring_back(place.spot, Held(place.directory, folder, name))


def refuse_other(place: Place) -> None:
    """Raise ConflictError where something is mounted that is no mount of ours that is over."""
    record = place.record
    known = record is not None and record.settings.dir == place.spot.place
    if record is not None and known and record.settings.source != place.source and record.is_served:
        raise ConflictError(
            f"{record.settings.source} is mounted at {place.spot.place}",
            subject=place.spot.place,
            hint=f"asset unmount {place.spot.place}",
        )
    there = mounted_at(place.spot.place)
    if there is not None and not known:
        raise ConflictError(
            f"{there.source} ({there.type}) is mounted at {place.spot.place}",
            subject=place.spot.place,
            hint=f"take it away first: umount {place.spot.place}",
        )


def _release(place: Place) -> None:
    """Take away what a mount that is over left; its directory stays closed."""
    refuse_other(place)
    record = place.record
    if record is None or record.settings.dir != place.spot.place:
        return
    if record.is_served:  # by a worker without a supervisor, or for another moment
        place.unmount(closed=True)
    clear(record)


def emptiness(place: Place) -> bool | None:
    """Whether the directory is empty; None where there is none. One that is closed to this user was left so by a mount, empty."""
    if mounted_at(place.spot.place) is not None or (os.geteuid() != 0 and place.record is not None):
        return True
    return is_empty(place.spot)


def owner_of(user: str) -> tuple[int, int] | None:
    """Whom the media belong to: the web server's user; None for who is not root, whose they are.

    Raises:
        UsageError: there is no such user.
    """
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise UsageError(f"there is no user {user} on this machine", subject=user, hint="set web_user") from None
    return entry.pw_uid, entry.pw_gid
