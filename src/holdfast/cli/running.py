"""``asset site run``: a site's jobs by themselves."""

from __future__ import annotations

import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from holdfast.cli.options import Session, command
from holdfast.cli.output import print_json, print_lines
from holdfast.cli.sites import site_options
from holdfast.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.sites.running import Runner

__all__ = ["run_command"]


@command("run")
@site_options
@click.option("--job", metavar="NAME", help="Do this job now, once, and end: for timers of the system.")
@click.option("--list", "listing", is_flag=True, help="List the jobs and when they are due, and do none.")
def run_command(session: Session, *, file: str | None, template: str | None, job: str | None, listing: bool) -> int:
    """Do a site's backups and copies when they are due, watch its mounts, and tell people.

    It stays until it is stopped (Ctrl-C, SIGTERM), and tells how it is at the port that the settings name: /healthz and /metrics.

    Examples:
      asset site run --file /etc/holdfast/site.toml
      asset site run --job replicate
      asset site run --list
    """
    from holdfast.sites.loading import load_site
    from holdfast.sites.running import Runner, only_one

    if job is not None and listing:
        raise UsageError("--list does no job, and --job lists none", subject="run")
    site = load_site(file, template)
    plan = site.plan
    folder = Path(plan.state)
    with ExitStack() as kept:
        if not listing:
            kept.enter_context(only_one(folder, job or "run"))
        runner = Runner(plan, site.settings, folder, say=_say)
        if listing:
            return _list(session, runner)
        if job is not None:
            return _once(session, runner, job)
        return _stay(session, runner, plan.run.listen)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _list(session: Session, runner: Runner) -> int:
    times = runner.next_times()
    if session.json:
        print_json(
            [{"job": name, "when": job.when, "next": times[name].isoformat()} for name, job in runner.jobs.items()]
        )
    else:
        print_lines(_lines(runner))
    return 0


def _lines(runner: Runner) -> Iterator[str]:
    for name, time in runner.next_times().items():
        when = runner.jobs[name].when
        every = when if isinstance(when, str) else f"every {when:g} s"
        yield f"{name:18} {every:12} next {time.isoformat(timespec='seconds')}"


def _once(session: Session, runner: Runner, job: str) -> int:
    report = runner.run_once(job)
    if session.json:
        print_json(
            {"job": job, "state": report.state, "message": report.message, "seconds": round(report.seconds or 0.0, 3)}
        )
    else:
        print_lines([f"{job}: {report.state} {report.message}".rstrip()])
    return 0 if report.state == "ok" else 1


def _stay(session: Session, runner: Runner, listen: str) -> int:
    from holdfast.sites.health import serving

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: runner.stop())
    with ExitStack() as kept:
        address = kept.enter_context(serving(runner, listen)) if listen else None
        if session.json:
            print_json({"site": runner.site, "jobs": list(runner.jobs), "listen": address})
            sys.stdout.flush()
        else:
            where = f", http://{address}/healthz" if address else ""
            _say(f"{runner.site}: {', '.join(runner.jobs) or 'no job'}{where}")
        left = runner.run()
    if left:
        _say(f"{left} jobs did not end in time; what they do is safe to be cut off, and is done again")
    return 0
