"""``asset site restore``: a backup, or a part of it, as it was at a moment, in place or in a folder of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from holdfast.cli.options import Session, command, dry_run
from holdfast.cli.output import print_json, print_lines
from holdfast.cli.sites import opened, site_options
from holdfast.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.sites.restore import RestoreReport

__all__ = ["restore_command"]


@command("restore", transfers=True)
@click.argument("spec", metavar="PERIOD[:VERSION]")
@site_options
@click.option(
    "--at", metavar="MOMENT", help="The newest backup made by then: 2026-01-31T12:00, UTC unless it says otherwise."
)
@click.option("--path", metavar="PATH", help="This directory or file of the webroot only.")
@click.option("--to", metavar="DIR", type=click.Path(), help="Into a folder of its own, instead of in place.")
@dry_run
def restore_command(
    session: Session,
    spec: str,
    *,
    file: str | None,
    template: str | None,
    at: str | None,
    path: str | None,
    to: str | None,
    dry_run: bool,
) -> None:
    """Bring a backup back: the whole webroot, a directory, or one file.

    In place nothing is deleted or written over: what is not as the backup has it goes into a folder beside the webroot, which the
    command names. What stays on each machine, what is mounted and what no backup has is left alone; nothing is ever written through a
    mount. after_restore runs at the end.

    Examples:
      asset site restore hourly
      asset site restore daily --at 2026-01-31T12:00 --path images/logo.png
      asset site restore hourly:2026-01-31T12-02-00Z --to /srv/look
    """
    from holdfast.sites.baseline import with_names
    from holdfast.sites.history import BASELINE, parse_moment, parse_spec
    from holdfast.sites.restore import restore, restore_to

    site = opened(session, file, template)
    moment = parse_moment(at) if at is not None else None
    change = with_names(site.plan) if parse_spec(spec)[0] == BASELINE else None
    if to is not None:
        if dry_run:
            raise UsageError("--dry-run is for restores in place; --to changes nothing that is there", subject=to)
        report = restore_to(site.plan, site.stores, spec, Path(to), at=moment, path=path, change=change)
    else:
        report = restore(
            site.plan, site.site.settings, site.stores, spec, at=moment, path=path, dry_run=dry_run, change=change
        )
    if session.json:
        print_json(report)
    else:
        print_lines(_told(report, dry=dry_run))


def _told(report: RestoreReport, *, dry: bool) -> Iterator[str]:
    done = "would be placed" if dry else f"placed in {report.seconds:.1f} s"
    yield f"{report.spec} in {report.to}: {report.placed} files {done}, {report.same} were so already"
    if report.moved:
        where = f" to {report.aside}" if report.aside else ""
        yield f"{report.moved} {'would be moved' if dry else 'moved'} aside{where}"
    if report.skipped:
        yield f"left alone: {', '.join(report.skipped)}"
