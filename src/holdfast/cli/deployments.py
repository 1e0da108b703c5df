"""``asset site deploy``: the media of a backup into their buckets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from holdfast.cli.options import Session, command, dry_run
from holdfast.cli.output import human_size, print_json, print_lines
from holdfast.cli.sites import opened, site_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.sites.deploy import DeployReport
    from holdfast.sites.offload import Decision

__all__ = ["deploy_command"]


@command("deploy", transfers=True)
@site_options
@click.option(
    "--from", "spec", metavar="PERIOD[:VERSION]", required=True, help="The backup that the site is built from."
)
@click.option("--at", metavar="MOMENT", help="The newest backup made by then.")
@click.option("--adopt", is_flag=True, help="Take buckets of this account that carry no mark of the site.")
@click.option(
    "--overwrite",
    metavar="BUCKET",
    multiple=True,
    help="Agree that this bucket's content is overwritten; may be repeated.",
)
@click.option("--accept-loss", is_flag=True, help="Agree that what was written after the backup is lost from the site.")
@dry_run
def deploy_command(
    session: Session,
    *,
    file: str | None,
    template: str | None,
    spec: str,
    at: str | None,
    adopt: bool,
    overwrite: tuple[str, ...],
    accept_loss: bool,
    dry_run: bool,
) -> None:
    """Copy each mounted directory from a backup into its bucket, and prove it there.

    Every bucket is judged before anything is written. One that holds just this is adopted without a write; what is only missing is
    added. Content is overwritten only after consent, typed or by --overwrite, and after a copy of it was kept as a version. A
    deployment that was killed is completed by running it again.

    Examples:
      asset site deploy --from hourly
      asset site deploy --from daily:2026-01-31T02-30-00Z --overwrite www-example-com-assets-images --accept-loss
    """
    from holdfast.sites.deploy import deploy
    from holdfast.sites.history import parse_moment
    from holdfast.sites.offload import Agreed

    site = opened(session, file, template)
    agreed = Agreed(adopt, frozenset(overwrite), accept_loss)
    report = deploy(
        site.plan,
        site.site.settings,
        site.stores,
        site.guard,
        spec,
        agreed,
        at=parse_moment(at) if at is not None else None,
        ask=_ask if session.interactive else None,
        dry_run=dry_run,
    )
    if session.json:
        print_json(report)
    else:
        print_lines(_told(report, dry=dry_run))


def _ask(decision: Decision) -> bool:
    """Let the operator type what he agrees to."""
    from holdfast.sites.offload import consent_phrase

    phrase = consent_phrase(decision.bucket)
    click.echo(
        f"{decision.bucket}: {len(decision.write)} objects would be written, {len(decision.remove)} removed; "
        "a copy of all that is there is kept first.",
        err=True,
    )
    return bool(click.prompt(f"Type '{phrase}' to agree", default="", show_default=False, err=True) == phrase)


def _told(report: DeployReport, *, dry: bool) -> Iterator[str]:
    for each in report.buckets:
        what = f"{each.written} of {each.objects} objects {'would be ' if dry else ''}written, {human_size(each.bytes)}"
        yield f"{each.state:12} {each.bucket}  {what}"
        if each.safety:
            yield f"{'':12} what was there is kept as {each.safety}"
    done = "nothing was done" if dry else f"online in {report.seconds:.1f} s"
    yield f"{report.site} from {report.spec}: {done}"
