"""``asset site baseline``, ``import``, ``export`` and ``drill``: what a site is built from, to and from elsewhere, and proven."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from holdfast.cli.options import Session, command, dry_run
from holdfast.cli.output import human_size, print_json, print_lines
from holdfast.cli.sites import opened, site_options
from holdfast.errors import KINDS

if TYPE_CHECKING:
    from holdfast.sites.backup import BackupReport

__all__ = ["baseline_command", "drill_command", "export_command", "import_command"]


@command("baseline", transfers=True)
@site_options
@click.option("--message", metavar="TEXT", help="Kept with the baseline.")
@dry_run
def baseline_command(
    session: Session, *, file: str | None, template: str | None, message: str | None, dry_run: bool
) -> int:
    """Keep the application without what makes it this site's.

    Media, the configuration file, keys, dumps and what stays on each machine are left out; the site's address and display name become
    placeholders, in text files only. `asset site restore baseline` puts the names of the site that it is restored for in their places.

    Examples:
      asset site baseline --dry-run
      asset site baseline --message "joomla 5 with our template"
      asset site restore baseline --to /srv/new-site
    """
    from holdfast.sites.baseline import make_baseline

    site = opened(session, file, template)
    report = make_baseline(site.plan, site.site.settings, site.stores, site.guard, message=message, dry_run=dry_run)
    return _ended(session, report, dry=dry_run)


def _ended(session: Session, report: BackupReport, *, dry: bool) -> int:
    """Print what was made, or would be; the exit code."""
    if session.json:
        print_json(report)
    else:
        made = "would be made" if dry else f"made in {report.seconds:.1f} s"
        done = made if report.state == "created" else "nothing changed"
        print_lines([f"{report.spec}  {report.files} files, {human_size(report.bytes)}, {done}"])
        print_lines(f"FAILED {store.url}  {store.problem}" for store in report.stores if not store.ok and not dry)
    failed = None if dry else report.failed
    return 0 if failed is None else KINDS[failed.kind or "failed"][0]


@command("import", transfers=True)
@click.argument("archive", metavar="FILE", type=click.Path())
@site_options
@click.option("--period", metavar="PERIOD", required=True, help="The period that it becomes a backup of.")
@click.option("--at", metavar="MOMENT", help="When it was made; else it counts as made now.")
@click.option("--force", is_flag=True, help="Take one without the original's marker, or of another application.")
@dry_run
def import_command(
    session: Session,
    archive: str,
    *,
    file: str | None,
    template: str | None,
    period: str,
    at: str | None,
    force: bool,
    dry_run: bool,
) -> int:
    """Make a backup of an archive of the original's, applicationsourcecode.tar.gz.

    Everything in it is checked before anything is pushed: paths that lead out, devices, and an archive that was cut off are refused.

    Examples:
      asset site import applicationsourcecode.tar.gz --period hourly --at 2026-01-31T12:02
    """
    from holdfast.sites.archive import import_archive
    from holdfast.sites.history import parse_moment

    site = opened(session, file, template)
    moment = parse_moment(at) if at is not None else None
    report = import_archive(
        site.plan,
        site.site.settings,
        site.stores,
        site.guard,
        Path(archive),
        period,
        at=moment,
        force=force,
        dry_run=dry_run,
    )
    return _ended(session, report, dry=dry_run)


@command("export", transfers=True)
@click.argument("spec", metavar="PERIOD[:VERSION]")
@click.argument("archive", metavar="FILE", type=click.Path())
@site_options
@click.option("--at", metavar="MOMENT", help="The newest backup made by then.")
@click.option("--force", is_flag=True, help="Replace FILE where it exists.")
@dry_run
def export_command(
    session: Session,
    spec: str,
    archive: str,
    *,
    file: str | None,
    template: str | None,
    at: str | None,
    force: bool,
    dry_run: bool,
) -> None:
    """Write a backup as an archive that the original's scripts restore.

    Examples:
      asset site export hourly applicationsourcecode.tar.gz
    """
    from holdfast.sites.archive import export_archive, would_export
    from holdfast.sites.history import parse_moment

    site = opened(session, file, template)
    moment = parse_moment(at) if at is not None else None
    if dry_run:
        written, count, size = would_export(site.plan, site.stores, spec, Path(archive), at=moment, force=force)
    else:
        written, count = export_archive(site.plan, site.stores, spec, Path(archive), at=moment, force=force)
        size = Path(archive).stat().st_size
    if session.json:
        print_json({"file": archive, "spec": written, "files": count, "bytes": size, "dry_run": dry_run})
    else:
        done = " before they are packed, would be written" if dry_run else ""
        print_lines([f"{archive}  {written}, {count} files, {human_size(size)}{done}"])


@command("drill", transfers=True)
@click.argument("spec", metavar="PERIOD[:VERSION]", default="hourly")
@site_options
@click.option("--at", metavar="MOMENT", help="The newest backup made by then.")
@click.option("--sample", metavar="N", type=click.IntRange(1), help="So many files, drawn at random, instead of all.")
def drill_command(
    session: Session, spec: str, *, file: str | None, template: str | None, at: str | None, sample: int | None
) -> int:
    """Bring a backup back from every store, into a folder that is thrown away.

    Every file is verified. A store that has not the backup, or whose backup is damaged, is told, and the command fails.

    Examples:
      asset site drill
      asset site drill daily --sample 100 --json
    """
    from holdfast.sites.drill import drill
    from holdfast.sites.history import parse_moment

    site = opened(session, file, template)
    moment = parse_moment(at) if at is not None else None
    drills = drill(site.plan, site.stores, spec, at=moment, files=sample)
    if session.json:
        print_json(drills)
    else:
        print_lines(
            f"{'ok' if each.ok else 'FAILED':6} {each.store}  {each.spec}  "
            + (f"{each.files} files, {human_size(each.bytes)} in {each.seconds:.1f} s" if each.ok else each.message)
            for each in drills
        )
    failed = next((each for each in drills if not each.ok), None)
    return 0 if failed is None else KINDS[failed.kind or "failed"][0]
