"""What assets and versions there are, and what they are called: list, versions, show, alias, remove, restore."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from holdfast.cli.completion import complete_name, complete_spec
from holdfast.cli.options import Session, command, dry_run
from holdfast.cli.output import human_size, pairs, print_json, print_lines, print_table, printable
from holdfast.errors import NotFoundError, UsageError
from holdfast.model.spec import AssetSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.model.result import Shown

__all__ = ["alias_command", "list_command", "remove_command", "restore_command", "show_command", "versions_command"]


@command("list")
@click.argument("pattern", required=False, shell_complete=complete_name)
def list_command(session: Session, pattern: str | None) -> None:
    """List assets with their newest version.

    PATTERN is a glob over whole names, in which * also stands for slashes. An asset that cannot be read is listed with the
    reason, and does not keep the others from being listed.

    Examples:
      asset list
      asset list 'nlp/*'
      asset list --json
    """
    found = session.repository.list(pattern)
    if session.json:
        print_json(found)
        return
    rows = [
        (each.name, each.latest or "-", str(each.versions), human_size(each.bytes), pairs(each.aliases))
        for each in found
    ]
    if rows:
        print_table(("NAME", "LATEST", "VERSIONS", "SIZE", "ALIASES"), rows, right=(2, 3))
    for each in found:
        if each.problem:
            session.progress.warn(f"{each.name}: {each.problem}")


@command("versions")
@click.argument("name", shell_complete=complete_name)
def versions_command(session: Session, name: str) -> None:
    """List the versions of an asset, newest first.

    Aliases stand behind the version that they name. Entries of the list that no version scheme reads are warned of.

    Examples:
      asset versions nlp/bert
    """
    known = session.repository.versions(AssetSpec.name_in(name))
    if session.json:
        print_json(known)
        return
    for version in known.versions:
        names = sorted(alias for alias, target in known.aliases.items() if target == version)
        print_lines([f"{version}  ({', '.join(names)})" if names else version])
    for entry in known.unknown:
        session.progress.warn(f"{name}: {entry!r} in the list is no version of a known scheme")


@command("show")
@click.argument("spec", shell_complete=complete_spec)
def show_command(session: Session, spec: str) -> None:
    """Show everything known of one version.

    Who pushed it, when, from what; how large it is and how it lies in the store. With --json also the meta as it is stored.

    Examples:
      asset show nlp/bert
      asset show nlp/bert:1.4 --json
    """
    shown = session.repository.show(spec)
    if session.json:
        print_json(shown)
    else:
        print_lines(_described(shown))


def _described(shown: Shown) -> Iterator[str]:
    values = {
        "spec": shown.spec,
        "pushed": shown.pushed,
        "by": shown.who,
        "message": shown.message,
        "layout": shown.layout,
        "files": shown.files,
        "size": None if shown.bytes is None else f"{human_size(shown.bytes)} ({shown.bytes} bytes)",
        "hash": shown.hash,
        "parent": shown.parent,
        "aliases": ", ".join(shown.aliases),
        "labels": pairs(shown.labels),
        "inputs": ", ".join(shown.inputs),
    }
    for name, value in values.items():
        if value not in (None, ""):
            yield f"{name + ':':9}{printable(str(value))}"


@command("alias")
@click.argument("name", shell_complete=complete_name)
@click.argument("alias")
@click.argument("version", required=False)
@click.option("--remove", is_flag=True, help="Remove the alias.")
@dry_run
def alias_command(session: Session, name: str, alias: str, version: str | None, *, remove: bool, dry_run: bool) -> None:
    """Let an alias name a version, or remove the alias.

    An alias starts with a letter and is no version. VERSION may be partial or another alias; the alias then names the full
    version that it means now. A version that an alias names cannot be removed.

    Examples:
      asset alias nlp/bert stable 1.4
      asset alias nlp/bert stable --remove
    """
    if remove == (version is not None):
        raise UsageError("give either a VERSION or --remove", subject=name, hint="see 'asset alias --help'")
    name = AssetSpec.name_in(name)
    full = _would_alias(session, name, alias, version) if dry_run else session.repository.alias(name, alias, version)
    if session.json:
        print_json({"name": name, "alias": alias, "version": full})
    else:
        would = "would name" if dry_run else "names"
        gone = "would be removed" if dry_run else "removed"
        print_lines([f"{name}:{alias} {would} {full}" if full else f"{name}:{alias} {gone}"])


def _would_alias(session: Session, name: str, alias: str, version: str | None) -> str | None:
    from holdfast.numbering import check_alias

    check_alias(alias)
    if version is not None:
        return session.repository.show(AssetSpec(name, version)).version
    known = session.repository.versions(name).aliases
    if alias not in known:
        raise NotFoundError(f"no alias {alias!r} of {name}", subject=f"{name}:{alias}")
    return None


@command("remove")
@click.argument("specs", nargs=-1, required=True, metavar="NAME:VERSION...", shell_complete=complete_spec)
@click.option("--all-versions", is_flag=True, help="Remove every version of the assets named.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@dry_run
def remove_command(session: Session, specs: tuple[str, ...], *, all_versions: bool, yes: bool, dry_run: bool) -> None:
    """Remove versions; asset restore brings them back within the store's undo window.

    Full versions only, or whole assets with --all-versions. A version that an alias or a hold names is refused. On a terminal
    it asks first; elsewhere --yes is needed.

    Examples:
      asset remove nlp/bert:1.3
      asset remove nlp/old --all-versions --yes
    """
    doomed = session.repository.remove(*specs, all_versions=all_versions, dry_run=True)
    if not dry_run:
        _confirm(session, doomed, yes=yes)
        doomed = session.repository.remove(*specs, all_versions=all_versions)
    if session.json:
        print_json({"removed": doomed, "dry_run": dry_run})
    else:
        print_lines(f"{spec} {'would be removed' if dry_run else 'removed'}" for spec in doomed)


def _confirm(session: Session, doomed: list[str], *, yes: bool) -> None:
    if yes:
        return
    if not session.interactive:
        raise UsageError(f"nobody to ask whether to remove {', '.join(doomed)}", hint="--yes removes without asking")
    for spec in doomed:
        click.echo(f"  {spec}", err=True)
    if not click.confirm(f"Remove {len(doomed)} version(s)?", err=True):
        raise click.Abort


@command("restore")
@click.argument("spec", metavar="NAME:VERSION")
@dry_run
def restore_command(session: Session, spec: str, *, dry_run: bool) -> None:
    """Bring a removed version back, within the store's undo window.

    It is listed again, and newest again if it was. After the window its bytes may be gone.

    Examples:
      asset restore nlp/bert:1.3
    """
    restored = session.repository.restore(spec, dry_run=dry_run)
    if session.json:
        print_json({"restored": restored, "dry_run": dry_run})
    else:
        print_lines([f"{restored} {'would be restored' if dry_run else 'restored'}"])
