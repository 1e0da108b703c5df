"""``asset site replicate``: the copies of a site's buckets of media."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from holdfast.cli.options import Session, command, dry_run
from holdfast.cli.output import human_size, human_time, print_json, print_lines, print_table
from holdfast.cli.sites import site_options
from holdfast.errors import KINDS, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.sites.copies import Copies, Kept
    from holdfast.sites.replicated import Replicated

__all__ = ["replicate_command"]


@command("replicate", transfers=True)
@site_options
@click.option("--status", is_flag=True, help="Say how the copies are, and copy nothing.")
@click.option("--allow-deletes", is_flag=True, help="Believe the deletions that max_delete withheld.")
@click.option("--undo-deletes", is_flag=True, help="Bring back what was deleted in the buckets since the last copy.")
@click.option("--deleted", is_flag=True, help="List what the copies put aside.")
@click.option("--restore", metavar="KEY", help="Put the newest that was put aside of KEY back into its bucket.")
@dry_run
def replicate_command(
    session: Session,
    *,
    file: str | None,
    template: str | None,
    status: bool,
    allow_deletes: bool,
    undo_deletes: bool,
    deleted: bool,
    restore: str | None,
    dry_run: bool,
) -> int:
    """Bring the copies of the buckets of media up to date.

    New in either is brought to the other. What is deleted or overwritten is first put aside in the copy, for keep_deleted. More deletions
    at once than max_delete are withheld, and the command ends with 4: --allow-deletes carries them out, --undo-deletes brings the objects
    back into their buckets.

    Examples:
      asset site replicate
      asset site replicate --status --json
      asset site replicate --undo-deletes
      asset site replicate --deleted
      asset site replicate --restore 2026/01/photo.jpg
    """
    from holdfast.sites.copies import Copies, orders_of
    from holdfast.sites.loading import load_site
    from holdfast.transfer.engine import Engine

    if allow_deletes and undo_deletes:
        raise UsageError(
            "--allow-deletes and --undo-deletes are opposites", subject="replicate", hint="give one of them"
        )
    if sum((status, deleted, restore is not None, allow_deletes or undo_deletes or dry_run)) > 1:
        raise UsageError(
            "--status, --deleted and --restore copy nothing, and go with no other option", subject="replicate"
        )
    plan = load_site(file, template).plan
    copies = Copies(plan, engine=Engine(session.jobs, session.limit_rate, session.progress))
    if deleted:
        _show_kept(session, copies.kept())
        return 0
    if restore is not None:
        return _restore(session, copies, restore)
    orders = orders_of(plan, allow_deletes=allow_deletes, undo_deletes=undo_deletes, dry_run=dry_run)
    done = copies.status() if status else copies.replicate(orders)
    if session.json:
        print_json(done)
    else:
        print_lines(line for each in done for line in _lines(each))
    return 0 if status or dry_run else _code(done)


def _restore(session: Session, copies: Copies, key: str) -> int:
    found = copies.restore(key)
    if session.json:
        print_json(found)
    else:
        print_lines([f"{found.key} is back in {found.bucket}"])
    return 0


def _show_kept(session: Session, kept: list[Kept]) -> None:
    if session.json:
        print_json(kept)
        return
    rows = ((_moment(each.since), human_size(each.size), each.bucket, each.key) for each in kept)
    print_table(("put aside", "size", "bucket", "key"), rows, right=(1,))


def _moment(since: float) -> str:
    return datetime.fromtimestamp(since, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _lines(done: Replicated) -> Iterator[str]:
    lag = "never yet whole" if done.lag is None else f"whole {human_time(done.lag)} ago"
    yield f"{done.state:8} {done.bucket} in {done.copy}: {done.objects} objects, {lag}"
    counts = {
        "to the copy": done.sent,
        "from the copy": done.brought,
        "deleted": done.removed,
        "compared": done.compared,
        "put aside": done.kept,
        "thrown away": done.expired,
        "being written": done.moving,
        "deletions withheld": done.withheld,
    }
    told = [f"{count} {what}" for what, count in counts.items() if count]
    if told:
        yield f"  {', '.join(told)} ({human_size(done.bytes)})"
    yield from (f"  {reason}" for reason in done.reasons)
    yield from (f"  {each.key}: {each.message}" for each in done.failed)
    if done.withheld:
        yield "  asset site replicate --undo-deletes brings the objects back"
        yield "  asset site replicate --allow-deletes deletes them in the copy, too, unless a store shows no object at all"


def _code(done: list[Replicated]) -> int:
    """The exit code of the worst: a store that cannot be used, deletions that are withheld, objects that failed."""
    problems = [each.problem for each in done if each.problem is not None]
    if problems:
        return KINDS[problems[0]][0]
    if any(each.withheld for each in done):
        return KINDS["conflict"][0]
    return 1 if any(each.failed for each in done) else 0
