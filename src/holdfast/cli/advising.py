"""How the advice of ``asset site check``, and what ``asset site show --plugin`` exports, are shown to people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from holdfast.cli.output import human_size, plain, print_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.cli.options import Session
    from holdfast.sites.loading import Site
    from holdfast.sites.strategies import Advice, Strategy

__all__ = ["advice_lines", "print_plugin"]


def advice_lines(advice: Advice) -> Iterator[str]:
    """What fits and why; a month at the site's own provider, or at the cheapest and the dearest where that is not known."""
    yield f"advice: {advice.recommended or 'none'}; the settings say {advice.configured}"
    for size in advice.media:
        yield (
            f"media: {size.directory or 'the whole webroot'}: {size.files} files, {size.directories} directories, "
            f"{human_size(size.bytes)} ({size.source})"
        )
    if advice.growth is not None:
        more = f"{advice.growth.files:+} files, {advice.growth.bytes / (1 << 20):+.1f} MiB a month"
        yield f"growth: {more}, from {advice.growth.since} to {advice.growth.until}"
    yield from (f"note: {note}" for note in advice.notes)
    for strategy in advice.strategies:
        yield f"{strategy.name:6} {'fits' if strategy.fits else 'does not fit'}: {'; '.join(strategy.reasons)}"
        if advice.media:
            yield f"       {_month(strategy)}"
    if advice.media:
        yield (
            f"estimates by list prices, for {advice.assumed['servers']} web servers that read each file once a day and list each "
            "directory once an hour; what is sent out to visitors is not in them"
        )


def _month(strategy: Strategy) -> str:
    usage, costs = strategy.month, strategy.costs
    shown = [cost for cost in costs if cost.yours]
    if not shown:
        ordered = sorted(costs, key=lambda cost: cost.usd)
        shown = [ordered[0], ordered[-1]]
    prices = ", ".join(f"{cost.usd:.2f} USD at {cost.provider} ({cost.prices_of})" for cost in shown)
    return f"a month: {usage.writes} writes, {usage.lists} lists, {usage.reads} reads, {human_size(usage.stored)}: about {prices}"


def print_plugin(session: Session, site: Site, name: str) -> None:
    """The settings of a plugin on stdout, so that they can be sent to a file, and what is left to do on stderr."""
    from holdfast.sites.plugins import export_plugin

    exported = export_plugin(site.plan, name, site.settings.buckets)
    if session.json:
        print_json(plain(exported))
        return
    click.echo(exported.text, nl=False)
    for note in (f"{exported.plugin}: {exported.where}", *exported.notes):
        click.echo(note, err=True)
