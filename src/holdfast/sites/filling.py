"""An empty webroot, filled from a backup before its media are mounted; a fill that was killed is gone on with.

What is under way is in a journal of its own, so that it outlives whatever is attached or detached meanwhile: a webroot that holds only a
part of its backup is never taken for a whole one. The journal ends with the restore that makes the webroot whole, whoever runs it.
"""

from __future__ import annotations

import os
from datetime import datetime
from typing import TYPE_CHECKING

from holdfast.errors import HoldfastError, UsageError
from holdfast.sites.journal import Journal
from holdfast.sites.restore import FILL, restore

if TYPE_CHECKING:
    from holdfast.sites.plan import Plan
    from holdfast.sites.stores import Stores
    from holdfast.sites.values import SiteSettings

__all__ = ["fill"]


def fill(plan: Plan, settings: SiteSettings, stores: Stores, spec: str | None, at: datetime | None) -> str | None:
    """Restore the application into an empty webroot, without the directories that are mounted; from which backup, None where nothing was to do.

    A webroot that holds a part of a backup gets the rest of that one, whichever is named now.

    Raises:
        UsageError: it is empty, and no backup is named.
    """
    if plan.mode == "whole":
        return None
    journal, is_empty = Journal(plan.state, FILL), _is_empty(plan.webroot)
    if is_empty and spec is not None:
        wish = {"webroot": plan.webroot, "spec": spec, "at": "" if at is None else at.isoformat()}
    elif journal.wish.get("webroot") == plan.webroot:
        wish = journal.wish
    elif is_empty:
        raise UsageError(
            f"{plan.webroot} is empty, and no backup is named to fill it from",
            subject=plan.webroot,
            hint="--from PERIOD[:VERSION]",
        )
    else:
        return None
    journal.begin(wish)
    moment = datetime.fromisoformat(wish["at"]) if wish["at"] else None
    try:
        restore(plan, settings, stores, wish["spec"], at=moment)
    except HoldfastError:
        if _is_empty(plan.webroot):  # there is nothing to go on with
            journal.end()
        raise
    return wish["spec"]


def _is_empty(webroot: str) -> bool:
    return not (os.path.isdir(webroot) and os.listdir(webroot))
