"""``asset prune`` and ``asset collect``: which versions go, and when the bytes that nobody needs are deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from holdfast.cli.completion import complete_name
from holdfast.cli.options import TIME, Session, command, dry_run
from holdfast.cli.output import human_size, print_json, print_lines
from holdfast.errors import UsageError
from holdfast.model.spec import AssetSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.collect import Amount, Collected, Explained

__all__ = ["collect_command", "prune_command"]


@command("prune")
@click.argument("name", shell_complete=complete_name)
@click.option("--keep-last", metavar="N", type=click.IntRange(1), help="Keep so many of the newest versions.")
@click.option("--keep-within", metavar="TIME", type=TIME, help="Keep what was pushed within this time: 90d, 12h, 2w.")
@dry_run
def prune_command(
    session: Session, name: str, *, keep_last: int | None, keep_within: float | None, dry_run: bool
) -> None:
    """Remove the versions of an asset that no rule keeps.

    A version stays if one of the rules keeps it, or an alias or a hold names it; at least one rule is needed. The others are
    removed as asset remove does: asset restore brings them back within the store's undo window.

    Examples:
      asset prune nlp/bert --keep-last 5 --dry-run
      asset prune nlp/bert --keep-last 2 --keep-within 90d
    """
    spec = AssetSpec.parse(name)
    if spec.version is not None or spec.sub_path is not None:
        raise UsageError(f"{name!r} is not an asset's name", subject=name, hint=f"without version: {spec.name}")
    removed = session.repository.prune(spec.name, keep_last=keep_last, keep_within=keep_within, dry_run=dry_run)
    if session.json:
        print_json({"removed": removed, "dry_run": dry_run})
    else:
        print_lines(f"{each} {'would be removed' if dry_run else 'removed'}" for each in removed)


@command("collect")
@click.option("--explain", metavar="HASH", help="Say why a pack or pages object is there, or what became of it.")
@dry_run
def collect_command(session: Session, *, explain: str | None, dry_run: bool) -> None:
    """Delete what no version needs any more, once its time has come.

    What is garbage now is condemned, and deleted by a run after the store's grace, unless a version needs it by then; removed
    versions go in the same way when their undo window is over. Run it as often as you like, from anywhere: several at once do
    no harm. Nothing is deleted where anything cannot be read.

    Examples:
      asset collect --dry-run
      asset collect
      asset collect --explain 3f786850e387
    """
    from holdfast.collect import Collector

    collector = Collector(session.repository)
    if explain is not None:
        explained = collector.explain(explain)
        if session.json:
            print_json(explained)
        else:
            print_lines(_said(explained))
        return
    collected = collector.run(dry_run=dry_run)
    if session.json:
        print_json(collected)
    else:
        print_lines(_summary(collected))


def _summary(done: Collected) -> Iterator[str]:
    would = "would be " if done.dry_run else ""
    yield f"{done.versions} versions and the {done.objects} packs and pages objects that they need looked at"
    for spec in done.expired:
        yield f"{spec}: its undo window is over"
    yield f"{would}deleted: {_amount(done.deleted)}"
    if done.kept:
        yield f"{done.kept} objects that were condemned are needed again, and stay"
    yield f"{would}condemned: {_amount(done.condemned)}"
    for each in done.waiting:
        yield f"condemned since {each.since}, until {each.until}: {each.versions} versions, {each.objects} objects"


def _amount(amount: Amount) -> str:
    if not amount:
        return "nothing"
    objects = f"{amount.packs} packs and {amount.pages} pages objects ({human_size(amount.bytes)})"
    return f"{', '.join(amount.versions)}; {objects}" if amount.versions else objects


def _said(found: Explained) -> Iterator[str]:
    size = f", {human_size(found.bytes)}" if found.bytes is not None else ""
    yield f"{found.kind} {found.hash}{size}{f', written {found.written}' if found.written else ''}"
    match found.state:
        case "needed":
            yield from (f"needed by {spec}" for spec in found.versions)
        case "young":
            yield f"no version needs it; it is too young to be condemned before {found.until}"
            yield from (f"it may belong to the push of {push}" for push in found.pushes)
        case "garbage":
            yield "no version needs it: the next asset collect condemns it"
        case "condemned":
            yield f"condemned since {found.since}; asset collect deletes it from {found.until} on, unless a version needs it"
        case _:
            yield f"condemned since {found.since}, and deleted"
