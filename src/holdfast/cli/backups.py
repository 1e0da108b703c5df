"""``asset site backup`` and ``backups``: making the backups of a site, and listing and holding them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from holdfast.cli.options import TIME, Session, command, dry_run
from holdfast.cli.output import human_size, print_json, print_lines, print_table
from holdfast.cli.sites import opened, site_options
from holdfast.errors import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.sites.backup import BackupReport

__all__ = ["backup_command", "backups_command"]


@command("backup", transfers=True)
@site_options
@click.option(
    "--period", metavar="PERIOD", required=True, help="hourly, daily, weekly, monthly, bimonthly, shutdown or manual."
)
@click.option("--message", metavar="TEXT", help="Kept with the backup.")
@click.option("--wait", metavar="TIME", type=TIME, default="0s", help="Wait so long for another server that makes it.")
@dry_run
def backup_command(
    session: Session,
    *,
    file: str | None,
    template: str | None,
    period: str,
    message: str | None,
    wait: float,
    dry_run: bool,
) -> int:
    """Back the webroot up, into every store, and prove it there.

    A backup is a version of sites/SITE/PERIOD. Files that did not change cost nothing, and a site that did not change makes no version.
    Directories that are mounted are left out by the settings; where what is mounted is not what they say, the backup fails. Of several
    web servers one makes it, the others say so and end well. What no rule of `keep` keeps is removed afterwards.

    Examples:
      asset site backup --period hourly
      asset site backup --period manual --message "before the update" --wait 5m
    """
    from holdfast.sites.backup import back_up

    site = opened(session, file, template)
    report = back_up(
        site.plan, site.site.settings, site.stores, period, site.guard, message=message, wait=wait, dry_run=dry_run
    )
    if session.json:
        print_json(report)
    else:
        print_lines(_told(report, dry=dry_run))
    failed = report.failed if not dry_run else None
    return 0 if failed is None else KINDS[failed.kind or "failed"][0]


def _told(report: BackupReport, *, dry: bool) -> Iterator[str]:
    if report.state == "elsewhere":
        yield f"{report.by} makes the {report.period} backup of {report.site}"
        return
    if report.state == "recent":
        yield f"{report.spec} is younger than the gap: no other is made"
        return
    what = f"{report.spec}  {report.files} files, {human_size(report.bytes)}"
    done = "would be made" if dry else f"made in {report.seconds:.1f} s"
    yield f"{what}, {done}" if report.state == "created" else f"{what}, nothing changed"
    if report.omitted:
        yield f"left out, for they are mounted: {', '.join(report.omitted)}"
    for store in report.stores:
        sent = f"{human_size(store.uploaded_bytes)} in {store.uploaded_objects} objects sent"
        yield f"{'proven' if store.ok else 'FAILED':8} {store.url}  {sent if store.ok else store.problem}"
        if store.removed:
            yield f"removed: {', '.join(store.removed)}"


@command("backups")
@site_options
@click.option("--period", metavar="PERIOD", help="Of this period only; baseline, too.")
@click.option("--hold", metavar="PERIOD:VERSION", help="Let nothing remove this backup.")
@click.option("--reason", metavar="TEXT", help="Why it is held.")
@click.option("--release", metavar="PERIOD:VERSION", help="Let go of one that is held.")
def backups_command(
    session: Session,
    *,
    file: str | None,
    template: str | None,
    period: str | None,
    hold: str | None,
    reason: str | None,
    release: str | None,
) -> None:
    """List the backups of a site, and which stores have them.

    Examples:
      asset site backups
      asset site backups --period hourly --json
      asset site backups --hold daily:2026-01-31T02-30-00Z --reason "before the relaunch"
    """
    from holdfast.sites.history import BASELINE, chosen, listed, parse_spec
    from holdfast.sites.history import hold as hold_version
    from holdfast.sites.values import PERIODS

    site = opened(session, file, template)
    for spec, why in ((hold, reason or "held"), (release, None)):
        if spec is not None:
            name, version, stores = chosen(site.plan, site.stores, spec)
            for store in stores:
                hold_version(store.repository, name, version, why)
    periods = (*PERIODS, BASELINE) if period is None else (parse_spec(period)[0],)
    found = listed(site.plan, site.stores, periods)
    if session.json:
        print_json(found)
        return
    rows = [
        [
            f"{each.period}:{each.version}",
            "?" if each.files is None else str(each.files),
            human_size(each.bytes),
            f"{len(each.stores)} of {len(site.stores.all)}",
            each.held or "",
            each.message or "",
        ]
        for each in found
    ]
    print_table(["BACKUP", "FILES", "SIZE", "STORES", "HELD", "MESSAGE"], rows, right=(1, 2))
