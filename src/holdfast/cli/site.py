"""``asset site``: settings and plans of a site; what runs on it is in the modules beside this one."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import click

from holdfast.cli.advising import advice_lines, print_plugin
from holdfast.cli.attachments import attach_command, detach_command, purge_command, status_command
from holdfast.cli.backups import backup_command, backups_command
from holdfast.cli.baselines import baseline_command, drill_command, export_command, import_command
from holdfast.cli.deployments import deploy_command
from holdfast.cli.examining import doctor_command
from holdfast.cli.options import Session, command, dry_run, group, print_help
from holdfast.cli.output import plain, print_json, print_lines
from holdfast.cli.replicating import replicate_command
from holdfast.cli.restores import restore_command
from holdfast.cli.running import run_command
from holdfast.cli.sites import site_options
from holdfast.cli.sync import sync_command
from holdfast.errors import KINDS, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.sites.loading import Site
    from holdfast.sites.plan import Plan, Resolved
    from holdfast.sites.strategies import Advice
    from holdfast.sites.values import CopySettings, SiteSettings

__all__ = ["shown_plan", "site_command"]

_APPLICATIONS: Final = ("none", "joomla", "wordpress", "drupal", "moodle")


@group("site")
def site_command(context: click.Context) -> None:
    """A website's webroot: its backups, and its media in buckets.

    What belongs to a site stands in its site.toml (asset site init writes one). Media directories can live in buckets that are
    mounted in place on every web server; the webroot itself is kept in backups, and can be kept alike between servers. The examples are
    in the order in which a site is set up; docs/operating.md goes through it step by step, and says what to type when something fails.

    Examples:
      asset site init --site-url www.example.com --store s3://example-holdfast/site
      asset site check
      asset site backup --period hourly
      asset site deploy --from hourly
      asset site attach
      asset site status
      asset site run
    """
    print_help(context)


@command("init")
@click.option("--file", metavar="FILE", help="The file to write; else site.toml in the current folder.")
@click.option("--template", metavar="FILE", help="A template with the seed's names, whose settings are written.")
@click.option("--site-url", metavar="HOST", help="The site's address, without https://.")
@click.option("--webroot", metavar="DIR", help="Where the application lies; /var/www/html unless told.")
@click.option("--application", type=click.Choice(_APPLICATIONS), help="Which application it is; none unless told.")
@click.option("--systemd", metavar="DIR", help="Write systemd's units for a site.toml that is there into DIR instead.")
@click.option("--policies", is_flag=True, help="Print S3 policies for a site.toml that is there, one for each role.")
@dry_run
def init_command(
    session: Session,
    *,
    file: str | None,
    template: str | None,
    site_url: str | None,
    webroot: str | None,
    application: str | None,
    systemd: str | None,
    policies: bool,
    dry_run: bool,
) -> None:
    """Write a site.toml with every setting explained.

    It is readable by its owner only, and never written over another. --store names the first store. With --template it has what the
    template says, but for keys: they go into a file that credentials names. With --systemd, a service that
    runs asset site run is written, and a timer for each of its jobs: enable the one or the others. With --policies nothing is written:
    each policy is for a key pair of its own, so that a web server that is broken into cannot harm the backups.

    Examples:
      asset site init --site-url www.example.com --store s3://example-holdfast/site
      asset site init --template joomla.tmpl --file /etc/holdfast/site.toml
      asset site init --systemd /etc/systemd/system --file /etc/holdfast/site.toml
      asset site init --policies
      asset site init --site-url www.example.com --application joomla --webroot /srv/joomla --store file:///backup
    """
    from holdfast.sites.initial import adopted_text, refuse_to_write, write_private
    from holdfast.sites.loading import DEFAULT_FILE

    if policies:
        _print_policies(session, file, template)
        return
    if systemd is not None:
        if template is not None:
            raise UsageError(
                "units are for a site.toml", subject=template, hint="write it first, with --template alone"
            )
        _write_units(session, file, Path(systemd), dry_run=dry_run)
        return
    settings = _template(session, template)
    given: dict[str, Any] = {"site_url": site_url, "webroot": webroot, "application": application}
    settings = replace(settings, **{name: value for name, value in given.items() if value is not None})
    if not settings.site_url:
        raise UsageError("--site-url is missing", subject="--site-url", hint="the address that visitors type")
    path = Path(file or DEFAULT_FILE)
    text = adopted_text(settings, store=session.store or session.settings.store or "")
    if dry_run:
        refuse_to_write(path)
    else:
        write_private(path, text)
    if session.json:
        print_json({"file": str(path), "bytes": len(text.encode()), "dry_run": dry_run})
    else:
        done = "would be written" if dry_run else f"is written; asset site check --file {path} judges it"
        print_lines([f"{path} {done}"])


def _template(session: Session, template: str | None) -> SiteSettings:
    """What a template says, once nothing of it is wrong; without one every setting is as it is unless told."""
    from holdfast.sites.loading import load_site
    from holdfast.sites.values import SiteSettings

    if template is None:
        return SiteSettings()
    site = load_site(None, template)
    if site.problems:
        first = site.problems[0]
        raise UsageError(f"{template}: {first.setting}: {first.message}", subject=first.setting)
    for warning in site.warnings:
        session.progress.warn(f"{warning.setting}: {warning.message}")
    if any(store.keys for store in site.settings.stores):
        session.progress.warn("the template's keys are not in it: write them into a file, and name that as credentials")
    return site.settings


def _print_policies(session: Session, file: str | None, template: str | None) -> None:
    from holdfast.sites.loading import load_site
    from holdfast.sites.policies import ROLES, policies

    found = policies(load_site(file, template).plan)
    if session.json:
        print_json(found)
    else:
        for role, policy in found.items():
            print_lines([f"# {role}: {ROLES[role]}", json.dumps(policy, indent=2), ""])


def _write_units(session: Session, file: str | None, folder: Path, *, dry_run: bool) -> None:
    """All of them, or none where one of the names is taken."""
    from holdfast.errors import AlreadyExistsError
    from holdfast.sites.initial import refuse_to_write, write_private
    from holdfast.sites.jobs import jobs_of
    from holdfast.sites.loading import load_site
    from holdfast.sites.units import units

    site = load_site(file, None)
    program, jobs = Path(sys.executable).parent / "asset", jobs_of(site.plan)
    texts = units(
        site.plan.site,
        str(site.origin.resolve()),
        str(program),
        {name: job.when for name, job in jobs.items()},
        mounts=bool(site.plan.mounts),
    )
    for name in texts:
        if (folder / name).exists():
            raise AlreadyExistsError(f"{folder / name} exists", subject=name, hint="remove it, or name another folder")
    for name, text in texts.items():
        if dry_run:
            refuse_to_write(folder / name)
        else:
            write_private(folder / name, text)
    if session.json:
        print_json({"files": [str(folder / name) for name in texts], "dry_run": dry_run})
    else:
        then = "nothing was done" if dry_run else "systemctl daemon-reload, then enable the service or the timers"
        print_lines([*(str(folder / name) for name in texts), then])


@command("check")
@site_options
def check_command(session: Session, *, file: str | None, template: str | None) -> int:
    """Judge every rule of a site's settings, and touch nothing.

    Where media are to be mounted and every other rule agrees, the newest backup of the period that the site is built from is looked at,
    too; a store that does not answer is a warning. Then it is said which way to treat media fits: a plugin, sync, or mounts, by how many
    files there are and how they grow, with an estimate of what a month of each would cost.

    Examples:
      asset site check
      asset site check --template joomla.tmpl --json
    """
    from holdfast.sites.loading import load_site

    site = load_site(file, template)
    resolved = _looked_up(session, site, site.resolve())
    advice = None if resolved.plan is None else _advice(session, resolved.plan)
    if session.json:
        print_json(_document(resolved) | {"advice": plain(advice)})
    else:
        print_lines(_explained(resolved))
        if advice is not None:
            print_lines(advice_lines(advice))
    return 0 if resolved.plan is not None else KINDS["usage"][0]


def _looked_up(session: Session, site: Site, resolved: Resolved) -> Resolved:
    """Judged once more with what the backup has, where that matters."""
    from holdfast.errors import HoldfastError
    from holdfast.sites.history import facts_of
    from holdfast.sites.stores import Stores
    from holdfast.sites.values import Problem

    plan = resolved.plan
    if plan is None or not plan.mounts:
        return resolved
    stores = Stores(plan.stores, progress=session.progress, jobs=session.jobs, limit_rate=session.limit_rate)
    try:
        return site.resolve(facts_of(plan, stores, plan.build))
    except HoldfastError as error:
        warning = Problem(site.settings.called("build"), f"the backup could not be looked at: {error.message}")
        return replace(resolved, warnings=(*resolved.warnings, warning))


def _advice(session: Session, plan: Plan) -> Advice:
    from holdfast.sites.sizing import media_facts
    from holdfast.sites.stores import Stores
    from holdfast.sites.strategies import advise

    stores = Stores(plan.stores, progress=session.progress, jobs=session.jobs, limit_rate=session.limit_rate)
    return advise(plan, media_facts(plan, stores))


def _document(resolved: Resolved) -> dict[str, object]:
    return {
        "ok": resolved.plan is not None,
        "errors": plain(resolved.errors),
        "warnings": plain(resolved.warnings),
        "plan": None if resolved.plan is None else shown_plan(resolved.plan),
    }


def _explained(resolved: Resolved) -> Iterator[str]:
    from holdfast.sites.plan import RULES

    for name, (sentence, _) in RULES.items():
        yield f"{'refused' if name in resolved.refused else 'ok':8} {sentence}"
    for kind, problems in (("error", resolved.errors), ("warning", resolved.warnings)):
        for problem in problems:
            yield f"{kind}: {problem.setting}: {problem.message}"


@command("show")
@site_options
@click.option("--plugin", metavar="NAME", help="Print the settings of an offload plugin: wordpress or joomla.")
def show_command(session: Session, *, file: str | None, template: str | None, plugin: str | None) -> None:
    """Print what a site's settings come to.

    With --plugin, they are printed as the settings of a plugin with which the application itself puts its media into the bucket that a
    deployment would fill. Keys are not among them.

    Examples:
      asset site show --json
      asset site show --plugin wordpress > offload.php
    """
    from holdfast.sites.loading import load_site

    site = load_site(file, template)
    if plugin is not None:
        print_plugin(session, site, plugin)
        return
    shown = shown_plan(site.plan)
    if session.json:
        print_json(shown)
    else:
        print_lines(_lines(shown))


def shown_plan(plan: Plan) -> dict[str, Any]:
    """A plan as it is printed, without what a template said of keys."""
    shown: dict[str, Any] = plain(plan)
    shown["stores"] = [
        {name: value for name, value in plain(store).items() if name != "keys" and value is not None}
        for store in plan.stores
    ]
    shown["copies"] = [_shown_copy(copy) for copy in plan.copies]
    shown["notify"] = [
        {"run": list(each.run)} if each.run else {"webhook": urlsplit(each.webhook or "").hostname}
        for each in plan.notify
    ]
    return shown


def _shown_copy(copy: CopySettings) -> dict[str, Any]:
    store = {name: value for name, value in plain(copy.store).items() if name != "keys" and value is not None}
    return store | {"two_way": copy.two_way}


def _lines(shown: dict[str, Any]) -> Iterator[str]:
    for name, value in shown.items():
        if name == "mounts":
            yield from (f"mount: {each['place']}  from {', '.join(each['buckets'])}" for each in value)
        elif name in ("stores", "copies"):
            yield from (f"{'store' if name == 'stores' else 'copy'}: {each['url']}" for each in value)
        elif name == "notify":
            yield from (f"notify: {' '.join(each['run']) if 'run' in each else each['webhook']}" for each in value)
        elif name == "keep":
            for period, rules in value.items():
                yield f"keep: {period}: {', '.join(f'{count} {rule}' for rule, count in rules.items())}"
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else value
            yield f"{name}: {text if text not in ('', None) else '-'}"


for _each in (
    init_command,
    check_command,
    show_command,
    baseline_command,
    backup_command,
    backups_command,
    restore_command,
    drill_command,
    import_command,
    export_command,
    deploy_command,
    attach_command,
    status_command,
    purge_command,
    detach_command,
    sync_command,
    replicate_command,
    run_command,
    doctor_command,
):
    site_command.add_command(_each)
