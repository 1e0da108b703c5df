"""Mounting the media of one directory: which options and abilities its mount must have. The branches of a merged one are mounted before it."""

from __future__ import annotations

import os
import pwd
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from holdfast.errors import ConflictError, HoldfastError
from holdfast.formats.layout import CANARY, SITE_MARK, branch_mark
from holdfast.mount import live
from holdfast.mount.table import mounted_at
from holdfast.sites.localparts import parts_of

if TYPE_CHECKING:
    from holdfast.sites.attached import Place
    from holdfast.sites.plan import Plan

__all__ = ["mount"]

#: What a mount of media must be able to do; a whole webroot is also written over by its application.
_NEEDS: Final = ("write", "read_after_write")
_NEEDS_WHOLE: Final = (*_NEEDS, "overwrite", "rename")


def mount(
    place: Place, plan: Plan, owner: tuple[int, int] | None, *, read_only: bool = False, bits: int | None = None
) -> None:
    """Have a supervised mounter show the bucket at its empty directory, its files those of ``owner``.

    ``bits`` are the directory's permission bits when nothing is mounted there; those that it has where none are given.

    Raises:
        ConflictError: the directory was moved meanwhile, or a link put in its path; nothing stays mounted.
        HoldfastError: as :func:`holdfast.mount.live.mount`.
    """
    if place.branches:
        _unite(place, plan, owner, bits, read_only=read_only)
    else:
        _mount(place, plan, owner, bits, read_only=read_only)
    if mounted_at(place.spot.place) is None:
        with suppress(HoldfastError):
            place.unmount(discard=True)
        raise ConflictError(
            f"{place.spot.place} was moved, or a link put in its path, while it was mounted",
            subject=place.spot.place,
            hint="somebody who may write to the webroot did that: find out who",
        )


def _mount(place: Place, plan: Plan, owner: tuple[int, int] | None, bits: int | None, *, read_only: bool) -> None:
    needs = _NEEDS_WHOLE if place.mount.is_whole else _NEEDS
    live.mount(
        place.source,
        place.spot.place,
        mounter=plan.mounter,
        settings=place.settings,
        options=[
            *_options(plan, owner),
            *([] if owner is None else [f"uid={owner[0]}", f"gid={owner[1]}"]),
            *["ro"] * read_only,
        ],
        needs=() if read_only else needs,
        above=place.above,
        parts=parts_of(place, owner or (0, 0)) if place.local else None,
        bits=bits,
        follow=False,
    )


def _unite(place: Place, plan: Plan, owner: tuple[int, int] | None, bits: int | None, *, read_only: bool) -> None:
    marks = [dict(values) for key, values in place.marks.items() if key != SITE_MARK]
    branches = [
        live.Branch(part.spot.place, part.source, branch_mark(part.number), {"site": plan.site, **values})
        for part, values in zip(place.branches, marks, strict=True)
    ]
    live.unite(
        branches,
        place.spot.place,
        settings=place.settings,
        options=[*_options(plan, owner), *["ro"] * read_only],
        needs=() if read_only else _NEEDS,
        bits=bits,
        follow=False,
    )


def _options(plan: Plan, owner: tuple[int, int] | None) -> list[str]:
    is_for_others = owner is not None or plan.web_user != pwd.getpwuid(os.geteuid()).pw_name
    return [f"canary={CANARY}", *["allow_other"] * is_for_others]
