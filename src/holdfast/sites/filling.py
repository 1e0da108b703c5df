"""An empty webroot, filled from a backup before its media are mounted; a fill that was killed is gone on with."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from holdfast.errors import UsageError
from holdfast.sites.restore import restore

if TYPE_CHECKING:
    from datetime import datetime

    from holdfast.sites.journal import Journal
    from holdfast.sites.plan import Plan
    from holdfast.sites.stores import Stores
    from holdfast.sites.values import SiteSettings

__all__ = ["fill"]


def fill(
    plan: Plan, settings: SiteSettings, stores: Stores, journal: Journal, spec: str | None, at: datetime | None
) -> str | None:
    """Restore the application into an empty webroot, without the directories that are mounted; from which backup, None where nothing was to do.

    Raises:
        UsageError: it is empty, and no backup is named.
    """
    if plan.mode == "whole":
        return None
    wanted = journal.fact("restore")
    if wanted is None:
        if os.path.isdir(plan.webroot) and os.listdir(plan.webroot):
            return None
        if spec is None:
            raise UsageError(
                f"{plan.webroot} is empty, and no backup is named to fill it from",
                subject=plan.webroot,
                hint="--from PERIOD[:VERSION]",
            )
        wanted = spec
        journal.note("restore", wanted)
    if not journal.is_done("restore"):
        restore(plan, settings, stores, wanted, at=at)
        journal.did("restore")
    return wanted
