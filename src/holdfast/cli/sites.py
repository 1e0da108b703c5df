"""What the commands of a site share: the options that name it, and its stores, opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.cli.options import Session
    from holdfast.sites.guarded import Guarded
    from holdfast.sites.loading import Site
    from holdfast.sites.plan import Plan
    from holdfast.sites.stores import Stores

__all__ = ["Opened", "opened", "site_options"]

_Function = TypeVar("_Function", bound="Callable[..., Any]")


def site_options(function: _Function) -> _Function:
    """``--file`` and ``--template``, which every command of a site takes."""
    file = click.option("--file", metavar="FILE", help="The site's settings; else site.toml in the current folder.")
    template = click.option("--template", metavar="FILE", help="A template with the seed's names, read and never run.")
    return file(template(function))


@dataclass(frozen=True, slots=True)
class Opened:
    """A site whose rules all agree, and its stores."""

    site: Site
    plan: Plan
    stores: Stores
    guard: Guarded


def opened(session: Session, file: str | None, template: str | None) -> Opened:
    """The site that the options name; nothing is asked of its stores yet.

    Raises:
        UsageError: a rule refuses.
    """
    from holdfast.sites.guarded import Guarded
    from holdfast.sites.loading import load_site
    from holdfast.sites.stores import Stores

    site = load_site(file, template)
    plan = site.plan
    guard = Guarded(session.progress)
    stores = Stores(plan.stores, progress=guard, jobs=session.jobs, limit_rate=session.limit_rate)
    return Opened(site, plan, stores, guard)
