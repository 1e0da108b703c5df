"""``asset site sync``: a webroot kept like those of the site's other web servers."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from holdfast.cli.options import TIME, Session, command, dry_run
from holdfast.cli.output import plain, print_json, print_lines
from holdfast.cli.sites import opened, site_options
from holdfast.errors import KINDS, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from holdfast.cli.sites import Opened
    from holdfast.sites.sync import Report, Syncer

__all__ = ["sync_command"]


@command("sync", transfers=True)
@site_options
@click.option("--watch", is_flag=True, help="Go on until it is stopped, and follow changes within seconds.")
@click.option(
    "--interval", metavar="TIME", type=TIME, help="With --watch: ask the store so often (else twice a second)."
)
@click.option("--accept-deletes", is_flag=True, help="Let others delete what is gone here, however much it is.")
@click.option(
    "--rejoin", is_flag=True, help="Forget what was agreed: what the others have counts, what differs is kept."
)
@click.option("--forget", metavar="NODE", help="Remove the log of a server that is gone for good.")
@click.option("--status", is_flag=True, help="Say which servers sync, and change nothing.")
@dry_run
def sync_command(
    session: Session,
    *,
    file: str | None,
    template: str | None,
    watch: bool,
    interval: float | None,
    accept_deletes: bool,
    rejoin: bool,
    forget: str | None,
    status: bool,
    dry_run: bool,
) -> int:
    """Bring changes of this webroot to the other web servers, and theirs here.

    The newest change wins; what it replaces without having been made from it is kept outside of the webroot, and told. Mounted
    directories, the configuration file, logs, tmp, cache and what `exclude` names never leave. Where all files, or more than a fifth of
    them and more than 50, are gone at once, nothing is deleted elsewhere before --accept-deletes.

    Examples:
      asset site sync
      asset site sync --watch
      asset site sync --accept-deletes
      asset site sync --dry-run
    """
    from holdfast.sites.sync import check_plan

    once = accept_deletes or rejoin or forget is not None or status or dry_run
    _check_options(watch=watch, interval=interval, once=once)
    site = opened(session, file, template)
    check_plan(site.plan)
    with _syncer(site, session, dry_run=dry_run) as syncer:
        if status:
            return _status(session, syncer)
        if rejoin:
            syncer.agreed.rejoin()
        if watch:
            return _watch(session, syncer, interval)
        return _once(session, syncer, accept_deletes=accept_deletes, forget=forget, dry_run=dry_run)


def _check_options(*, watch: bool, interval: float | None, once: bool) -> None:
    if watch and once:
        raise UsageError("--watch goes with --interval alone", subject="--watch", hint="run the other one first")
    if interval is not None and not watch:
        raise UsageError("--interval goes with --watch", subject="--interval")


@contextmanager
def _syncer(site: Opened, session: Session, *, dry_run: bool) -> Iterator[Syncer]:
    from holdfast.sites.agreed import Agreed
    from holdfast.sites.sync import Syncer

    first, *others = site.stores.all
    with Agreed(Path(site.plan.state) / "sync", dry_run=dry_run) as agreed:
        opening = {store.url: (lambda store=store: store.repository) for store in others}
        told = _teller(session)
        yield Syncer(first.repository, site.plan, agreed, others=opening, told=told, dry_run=dry_run)


def _teller(session: Session) -> Callable[[str], None]:
    """Tells what happens, as it happens: on stderr."""

    def tell(sentence: str) -> None:
        if not session.quiet:
            click.echo(sentence, err=True)

    return tell


def _once(session: Session, syncer: Syncer, *, accept_deletes: bool, forget: str | None, dry_run: bool) -> int:
    from holdfast.sites.watching import once, rehearse

    report = (rehearse if dry_run else once)(syncer, accept_deletes=accept_deletes)
    if forget is not None:
        syncer.forget(forget, dry_run=dry_run)
        if not dry_run:
            once(syncer)
    if session.json:
        print_json(report)
    else:
        print_lines(_lines(report, dry=dry_run))
    kinds = [
        kind
        for kind, found in (("integrity", report.wrong), ("conflict", report.held), ("unreachable", report.behind))
        if found
    ]
    return KINDS[kinds[0]][0] if kinds else 0


def _lines(report: Report, *, dry: bool) -> Iterator[str]:
    would = "would be " if dry else ""
    yield f"{report.node}: {len(report.published)} changes {would}sent, {len(report.laid)} {would}received"
    if dry:
        deleted = set(report.deleted)
        yield from (
            f"would be {'deleted elsewhere' if path in deleted else 'sent'}: {path}" for path in report.published
        )
        yield from (f"would be {'deleted' if path in deleted else 'changed'} here: {path}" for path in report.laid)
    for path in report.kept:
        yield f"{would}kept {path}"
    for path, why in report.skipped.items():
        yield f"not synced: {path}: {why}"
    for what, why in report.wrong.items():
        yield f"REFUSED {what}: {why}"
    for url, why in report.behind.items():
        yield f"behind: {url}: {why}"
    if report.held:
        yield f"{len(report.held)} deletions are held back, {report.held[0]} first: --accept-deletes lets them go"


def _watch(session: Session, syncer: Syncer, interval: float | None) -> int:
    import signal

    from holdfast.sites.hints import Hints
    from holdfast.sites.watching import INTERVAL, Rhythm, watch

    over: list[int] = []
    hints = Hints(syncer.plan.webroot, _teller(session))

    def stop(number: int, _frame: object) -> None:
        over.append(number)
        hints.wake()

    before = {each: signal.signal(each, stop) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        watch(syncer, hints, Rhythm(interval or INTERVAL), lambda: bool(over), _teller(session))
    finally:
        hints.close()
        for each, handler in before.items():
            signal.signal(each, handler)
    if session.json:
        print_json({"node": syncer.agreed.node, "stopped": True})
    return 0


def _status(session: Session, syncer: Syncer) -> int:
    syncer.logs.refresh()
    shown = syncer.status()
    if session.json:
        print_json(plain(shown))
    else:
        print_lines(
            f"{each.node}  {'this server  ' if each.here else ''}said something {each.silent:.0f} s ago, "
            f"{each.paths} paths, {each.missing} not here yet"
            for each in shown
        )
    return 0
