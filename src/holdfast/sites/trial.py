"""A bucket is mounted out of the way first, where a copy of it is shown: one that would not mount takes no copy away.

It may answer and yet not mount: the mounter is broken, its rights do not suffice for what the site needs, it holds another thing than it
lists. The trial is in the site's state folder, which nobody else can enter; one that a killed run left is ended by the next, and by detach.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from holdfast.disk import local_errors
from holdfast.errors import HoldfastError
from holdfast.failpoint import reach
from holdfast.sites.attaching import Spot
from holdfast.sites.comparing import compare
from holdfast.sites.mounting import mount

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.sites.attached import Place
    from holdfast.sites.media import Media
    from holdfast.sites.plan import Plan

__all__ = ["end_trial", "try_out"]

_NAME: Final = "trial"


def try_out(place: Place, plan: Plan, owner: tuple[int, int] | None, media: Sequence[Media]) -> None:
    """Mount the bucket of a directory out of the way, as that would be, read through it, and unmount it.

    Raises:
        HoldfastError: as :func:`~holdfast.sites.mounting.mount` and :func:`~holdfast.sites.comparing.compare`.
    """
    end_trial(place, plan)
    trial = _trial(place, plan)
    with local_errors(Path(trial.spot.place)):
        os.makedirs(trial.spot.place, mode=0o700, exist_ok=True)
    try:
        mount(trial, plan, owner)
        reach("site.tried")
        compare(trial, media)
    finally:
        end_trial(place, plan)


def end_trial(place: Place, plan: Plan) -> None:
    """End what a killed run left of a trial, as far as it can be."""
    trial = _trial(place, plan)
    with suppress(HoldfastError, OSError):
        if trial.record is not None:
            trial.unmount(discard=True)
        os.rmdir(trial.spot.place)


def _trial(place: Place, plan: Plan) -> Place:
    """The directory as it would be mounted in the state folder, without what lies over it on this machine."""
    return replace(
        place, spot=Spot(os.path.realpath(plan.state), _NAME, place.spot.held), local=(), branches=(), above=""
    )
