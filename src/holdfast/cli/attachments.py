"""``asset site attach``, ``detach``, ``purge`` and ``status``: the media of one web server, mounted from their buckets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from holdfast.cli.options import Session, command, dry_run
from holdfast.cli.output import human_size, human_time, plain, print_json, print_lines
from holdfast.cli.sites import opened, site_options
from holdfast.errors import KINDS, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any, TypeVar

    from holdfast.sites.attached import AttachReport
    from holdfast.sites.purging import PurgeReport
    from holdfast.sites.standing import SiteStatus

    _Function = TypeVar("_Function", bound=Callable[..., Any])

__all__ = ["attach_command", "detach_command", "purge_command", "status_command"]

#: Seconds that a gate waits, and after which what a server said does not count.
_WAIT, _OLDEST = 300.0, 600.0


def _node_option(function: _Function) -> _Function:
    return click.option(
        "--node", metavar="NAME", help="This web server's name; else as before, else that of the machine."
    )(function)


@command("attach", transfers=True)
@site_options
@click.option(
    "--from", "spec", metavar="PERIOD[:VERSION]", help="The backup that an empty webroot is filled from, without media."
)
@click.option("--at", metavar="MOMENT", help="The newest backup made by then.")
@click.option(
    "--accept-changes",
    is_flag=True,
    help="Take buckets that lost what was deployed, or lack what was written to a copy.",
)
@_node_option
@dry_run
def attach_command(
    session: Session,
    *,
    file: str | None,
    template: str | None,
    spec: str | None,
    at: str | None,
    accept_changes: bool,
    node: str | None,
    dry_run: bool,
) -> int:
    """Mount this web server's media from their buckets.

    Each bucket is compared with what was deployed before anything is touched. What lies in a directory goes aside, hidden files too, to a
    folder beside the webroot; the bucket is mounted there, supervised, and read through the mount. Where that fails the directory is as
    it was. Nothing is deleted; asset site purge does that. An attach that was killed is completed by running it again. Over a whole webroot
    the configuration file, logs, tmp and cache stay this server's own: they move beside the webroot, and are seen in their places.
    Where the buckets' store does not answer, copies that were whole are mounted instead, read-only unless web servers may write to them;
    that is told, and the exit code is 7. asset site run goes back to the buckets.

    Examples:
      asset site attach
      asset site attach --from hourly --node web2
      asset site attach --dry-run
    """
    from holdfast.sites.attach import attach
    from holdfast.sites.history import parse_moment
    from holdfast.sites.nodes import node_name

    site = opened(session, file, template)
    report = attach(
        site.plan,
        site.site.settings,
        site.stores,
        node_name(site.plan.state, node, dry_run=dry_run),
        spec=spec,
        at=parse_moment(at) if at is not None else None,
        accept=accept_changes,
        dry_run=dry_run,
    )
    if session.json:
        print_json(report)
    else:
        print_lines(_attached(report, dry=dry_run))
    return 0 if report.why is None else KINDS["unreachable"][0]


def _attached(report: AttachReport, *, dry: bool) -> Iterator[str]:
    if report.restored:
        yield f"the webroot {'would be' if dry else 'was'} filled from {report.restored}"
    for each in report.directories:
        differs = f", {each.missing} missing, {each.changed} changed" if each.missing or each.changed else ""
        yield f"{each.state:12} {each.place}  from {each.bucket}: {each.objects} objects{differs}"
        if each.store is not None and report.why is not None:
            yield f"{'':12} shows {each.store}{_how_old(each.lag, read_only=each.read_only)}"
        if each.held:
            yield f"{'':12} what {'is there would lie' if dry else 'was there lies'} in {each.held}"
        yield from _doubled(each.doubled)
        if each.local:
            yield f"{'':12} of this machine alone: {', '.join(each.local)}"
    if report.why is not None:
        mounted = "would be" if dry else "are"
        yield f"copies {mounted} mounted, and not the buckets: {report.why}; asset site run goes back to these"
    yield (
        f"{report.node}: nothing was done" if dry else f"{report.node} serves {report.site}, in {report.seconds:.1f} s"
    )


def _how_old(lag: float | None, *, read_only: bool) -> str:
    """What is to be known of a copy that is shown."""
    old = "" if lag is None else f", equal to its bucket {human_time(lag)} ago"
    return f"{', read-only' if read_only else ''}{old}"


def _doubled(names: Sequence[str]) -> Iterator[str]:
    """Names on two branches are somebody's to settle: which of the two is right nobody else can tell."""
    if names:
        yield f"{'':12} {len(names)} names lie on two branches, and the first is shown: {', '.join(names[:3])}"


@command("detach")
@site_options
@click.option("--offline", is_flag=True, help="The deployment is over: no web server has its media mounted any more.")
@click.option("--gone", metavar="NODE", multiple=True, help="This web server will not come back; may be repeated.")
@click.option("--wait", is_flag=True, help="Wait until nobody uses a directory and all is sent; says who does.")
@_node_option
@dry_run
def detach_command(
    session: Session,
    *,
    file: str | None,
    template: str | None,
    offline: bool,
    gone: tuple[str, ...],
    wait: bool,
    node: str | None,
    dry_run: bool,
) -> None:
    """Unmount this web server's media; with --offline end the deployment.

    What was written is sent to the bucket first. What attach moved aside comes back to its place. With --offline nothing is unmounted: it
    is refused while a web server says that it is attached, and then another deployment may be made.

    Examples:
      asset site detach
      asset site detach --offline
      asset site detach --offline --gone web3
      asset site detach --dry-run
    """
    from holdfast.sites.deployed import take_offline
    from holdfast.sites.detach import detach
    from holdfast.sites.nodes import node_name

    if gone and not offline:
        raise UsageError("--gone goes with --offline", subject="--gone")
    site = opened(session, file, template)
    if offline:
        record = take_offline(site.plan, site.site.settings, site.stores, gone=gone, dry_run=dry_run)
        if session.json:
            told = {"site": site.plan.site, "id": record.id, "state": record.state, "last_write": record.last_write}
            print_json(told)
        else:
            done = "would be over: nothing was done" if dry_run else "is over"
            print_lines([f"the deployment of {site.plan.site} from {record.spec} {done}"])
        return
    name = node_name(site.plan.state, node, dry_run=dry_run)
    report = detach(site.plan, site.site.settings, site.stores, name, wait=wait, dry_run=dry_run)
    if session.json:
        print_json(report)
    else:
        print_lines(_detached(report, dry=dry_run))


def _detached(report: AttachReport, *, dry: bool) -> Iterator[str]:
    for each in report.directories:
        yield f"{each.state:12} {each.place}"
        if dry and each.back:
            yield f"{'':12} from {each.back}"
        if each.held:
            yield f"{'':12} a copy from before lies in {each.held}"
        if each.local:
            yield f"{'':12} back in the webroot: {', '.join(each.local)}"
    done = "nothing was done" if dry else f"no longer serves media of {report.site} from buckets"
    yield f"{report.node}{':' if dry else ''} {done}"


@command("purge")
@site_options
@dry_run
def purge_command(session: Session, *, file: str | None, template: str | None, dry_run: bool) -> None:
    """Remove what attach moved aside, as far as the buckets have it.

    Every directory must be mounted. Each file is compared, by its hash, with the object that its bucket has at that moment, and goes only
    where they are the same; all else stays and is named.

    Examples:
      asset site purge --dry-run
      asset site purge
    """
    from holdfast.sites.purging import purge

    site = opened(session, file, template)
    report = purge(site.plan, site.site.settings, site.stores, dry_run=dry_run)
    if session.json:
        print_json(report)
    else:
        print_lines(_purged(report, dry=dry_run))


def _purged(report: PurgeReport, *, dry: bool) -> Iterator[str]:
    if not report.copies:
        yield f"nothing of {report.site} is moved aside here"
    for each in report.copies:
        done = "would be removed" if dry else "removed"
        yield f"{each.path}: {each.removed} files {done}, {human_size(each.bytes)}; {each.kept} stay"
        yield from (f"  {path}: {why}" for path, why in each.reasons.items())


@command("status")
@site_options
@click.option("--wait", is_flag=True, help="Wait until all directories are mounted, here or on the servers of --nodes.")
@click.option("--nodes", metavar="FILE", help="The web servers that must be ready, a name a line.")
@click.option("--timeout", metavar="SECONDS", type=click.FloatRange(0), default=_WAIT, help="Wait so long; 300.")
@click.option(
    "--max-age", metavar="SECONDS", type=click.FloatRange(1), default=_OLDEST, help="What was said before is old; 600."
)
@_node_option
def status_command(
    session: Session,
    *,
    file: str | None,
    template: str | None,
    wait: bool,
    nodes: str | None,
    timeout: float,
    max_age: float,
    node: str | None,
) -> int:
    """Tell which directories are mounted, by reading through them.

    Beside each are the objects and bytes of its bucket, and what lies aside. This server tells the others at the same time: run it from a
    timer. With --nodes the servers of a file are asked for what they said last; with --wait they are waited for.

    Examples:
      asset site status
      asset site status --wait --nodes servers.txt --timeout 600
    """
    from holdfast.sites.nodes import node_name, read_nodes
    from holdfast.sites.standing import gate, here

    site = opened(session, file, template)
    seconds = timeout if wait else 0.0
    if nodes is not None:
        names = read_nodes(nodes)
        say = session.progress.warn
        waiting = gate(site.plan, site.site.settings, site.stores, names, seconds=seconds, oldest=max_age, say=say)
        if session.json:
            print_json({"site": site.plan.site, "nodes": names, "waiting": waiting, "ok": not waiting})
        else:
            print_lines(f"{name:20} {waiting.get(name, 'ready')}" for name in names)
        return 1 if waiting else 0
    report = here(site.plan, site.site.settings, site.stores, node_name(site.plan.state, node), seconds=seconds)
    if session.json:
        print_json(plain(report))
    else:
        print_lines(_standing(report))
    return 0 if report.ok else 1


def _standing(report: SiteStatus) -> Iterator[str]:
    for each in report.directories:
        size = (
            "its bucket does not answer" if each.bytes is None else f"{each.objects} objects, {human_size(each.bytes)}"
        )
        yield f"{each.state:12} {each.place}  {each.bucket}: {size}"
        if each.why:
            yield f"{'':12} {each.why}"
        if each.store:
            yield f"{'':12} shows {each.store}{_how_old(each.lag, read_only=each.read_only)}"
        if each.held:
            yield f"{'':12} {human_size(each.held_bytes)} lie aside in {', '.join(each.held)}"
        yield from _doubled(each.doubled)
        if each.local:
            yield f"{'':12} of this machine alone: {', '.join(each.local)}"
    if report.quota:
        share = 100 * report.bytes / report.quota
        yield f"{human_size(report.bytes)} of {human_size(report.quota)} used, {share:.0f} %"
    state = f"deployment {report.deployment}: {report.deployment_state}" if report.deployment else "no deployment"
    yield f"{report.node}: {state}"
