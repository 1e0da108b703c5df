"""An empty webroot, filled from a backup before its media are mounted; a fill that was killed is gone on with.

What is under way is in a journal of its own, so that it outlives whatever is attached or detached meanwhile: a webroot that holds only a
part of its backup is never taken for a whole one. The journal ends with the restore that makes the webroot whole, whoever runs it.
"""

from __future__ import annotations

import os
from datetime import datetime
from typing import TYPE_CHECKING

from holdfast.errors import HoldfastError, UsageError
from holdfast.sites.history import chosen
from holdfast.sites.journal import Journal
from holdfast.sites.restore import FILL, restore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.sites.plan import Plan
    from holdfast.sites.stores import Stores
    from holdfast.sites.values import SiteSettings

__all__ = ["fill", "to_fill"]


def fill(plan: Plan, settings: SiteSettings, stores: Stores, spec: str | None, at: datetime | None) -> str | None:
    """Restore the application into an empty webroot, without the directories that are mounted; from which backup, None where nothing was to do.

    A webroot that holds a part of a backup gets the rest of that one, whichever is named now.

    Raises:
        UsageError: it is empty, and no backup is named.
    """
    journal = Journal(plan.state, FILL)
    wish = _wish(plan, journal, spec, at)
    if wish is None:
        return None
    journal.begin(wish)
    try:
        restore(plan, settings, stores, wish["spec"], at=_moment(wish))
    except HoldfastError:
        if _is_empty(plan.webroot):  # there is nothing to go on with
            journal.end()
        raise
    return wish["spec"]


def to_fill(plan: Plan, stores: Stores, spec: str | None, at: datetime | None) -> str | None:
    """The backup, with its version, that :func:`fill` would restore; None where nothing is to do. Nothing is written.

    Raises:
        UsageError: as that.
        NotFoundError: there is no such backup.
    """
    wish = _wish(plan, Journal(plan.state, FILL), spec, at)
    if wish is None:
        return None
    _, version, _ = chosen(plan, stores, wish["spec"], _moment(wish))
    return f"{wish['spec'].partition(':')[0]}:{version}"


def _wish(plan: Plan, journal: Journal, spec: str | None, at: datetime | None) -> dict[str, str] | None:
    """What the webroot is to be filled from; None where it is whole."""
    if plan.mode == "whole":
        return None
    is_empty = _is_empty(plan.webroot)
    if is_empty and spec is not None:
        return {"webroot": plan.webroot, "spec": spec, "at": "" if at is None else at.isoformat()}
    if journal.wish.get("webroot") == plan.webroot:
        return journal.wish
    if is_empty:
        raise UsageError(
            f"{plan.webroot} is empty, and no backup is named to fill it from",
            subject=plan.webroot,
            hint="--from PERIOD[:VERSION]",
        )
    return None


def _moment(wish: Mapping[str, str]) -> datetime | None:
    return datetime.fromisoformat(wish["at"]) if wish["at"] else None


def _is_empty(webroot: str) -> bool:
    return not (os.path.isdir(webroot) and os.listdir(webroot))
