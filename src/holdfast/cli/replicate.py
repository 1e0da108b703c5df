"""``asset copy``, ``asset export`` and ``asset import``: versions from one store to another, directly or in a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.completion import complete_spec
from holdfast.cli.mounted import existing, touchable
from holdfast.cli.options import Session, command, dry_run
from holdfast.cli.output import error_value, human_size, plain, print_error, print_json, print_lines
from holdfast.errors import HoldfastError, UsageError
from holdfast.model.spec import AssetSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from holdfast.model.result import Copied
    from holdfast.repository import Repository

__all__ = ["copy_command", "export_command", "import_command"]

_LAYOUTS = ("file", "tree", "tar.gz", "packs")
_layout = click.option("--layout", type=click.Choice(_LAYOUTS), help="The layout there; else it is kept.")
_aliases = click.option("--aliases", is_flag=True, help="The aliases that name the versions, too.")


@command("copy", transfers=True)
@click.argument("specs", nargs=-1, metavar="[SPEC]...", shell_complete=complete_spec)
@click.option("--to", metavar="STORE", required=True, help="The store that they are copied to.")
@click.option("--to-profile", metavar="NAME", help="The profile in the settings' file for that store.")
@click.option(
    "--all", "everything", is_flag=True, help="Every version of the assets named, or of all; and the aliases."
)
@_layout
@_aliases
@dry_run
def copy_command(session: Session, specs: tuple[str, ...], *, everything: bool, **given: Any) -> int:
    """Copy versions to another store, every byte verified on the way.

    A version keeps its number, hash, date, author, message, labels, parent and inputs. What the other store has already is not
    sent again. A number that it has with other content is a conflict. Several are all tried, in their order; the exit code is the
    first failure's. A copy that was killed is completed when it is run again.

    Examples:
      asset copy nlp/bert:1.4 --to s3://other/prefix
      asset copy nlp/bert --all --to file:///backup
      asset copy --all --to s3://other/prefix --to-profile other
      asset copy nlp/old:0.1 --to file:///new --layout packs
    """
    from holdfast import replicate

    if not specs and not everything:
        raise UsageError("nothing to copy is named", hint="asset copy SPEC --to STORE, or --all")
    source = session.repository
    target = _other(session, given["to"], given["to_profile"])
    wanted: Iterable[str | HoldfastError] = _every(source, specs) if everything else specs
    options = {"layout": given["layout"], "aliases": given["aliases"] or everything, "dry_run": given["dry_run"]}

    def one(spec: str | HoldfastError) -> Copied | HoldfastError:
        if isinstance(spec, HoldfastError):
            return spec
        try:
            return replicate.copy(source, target, spec, **options)
        except HoldfastError as error:  # is answered, so that the next one is tried
            return error

    return _report(session, map(one, wanted), dry=given["dry_run"], one=len(specs) == 1 and not everything)


@command("export", transfers=True)
@click.argument("specs", nargs=-1, required=True, metavar="SPEC... FILE", shell_complete=complete_spec)
@click.option(
    "--have",
    metavar="SPEC",
    multiple=True,
    shell_complete=complete_spec,
    help="A version that the other side has; may be repeated.",
)
@click.option(
    "--base",
    metavar="FILE",
    multiple=True,
    type=click.Path(),
    help="A bundle that the other side has imported; may be repeated.",
)
@click.option("--all", "everything", is_flag=True, help="Every version of the assets named.")
@click.option("--force", is_flag=True, help="Replace FILE where it exists.")
@dry_run
def export_command(session: Session, specs: tuple[str, ...], *, everything: bool, **given: Any) -> None:
    """Write versions into one file, which asset import reads where no network leads.

    The file is a tar of objects with a list of their digests at its end. With --have or --base it holds only what those lack, and
    names what it builds upon.

    Examples:
      asset export nlp/bert:1.4 bert.bundle
      asset export nlp/bert:1.5 new.bundle --have nlp/bert:1.4
      asset export nlp/bert nlp/vocab everything.bundle --all
      asset export nlp/bert:1.6 newer.bundle --base new.bundle
    """  # fmt: skip
    from holdfast import replicate

    *names, file = specs
    if not names:
        raise UsageError("FILE comes last, after what goes into it", subject=file, hint="asset export SPEC... FILE")
    _refuse_stream(file)
    repository = session.repository
    wanted = [_whole(each) for each in _every(repository, tuple(names))] if everything else names
    exported = replicate.export(
        repository,
        wanted,
        Path(file),
        have=given["have"],
        base=[Path(existing(touchable(each))) for each in given["base"]],
        force=given["force"],
        dry_run=given["dry_run"],
    )
    if session.json:
        print_json(exported)
        return
    versions = "1 version" if len(exported.versions) == 1 else f"{len(exported.versions)} versions"
    needs = f", builds upon {', '.join(exported.needs)}" if exported.needs else ""
    done = "would be exported" if given["dry_run"] else f"exported in {exported.seconds:.1f} s"
    print_lines([f"{exported.file}  {versions}, {human_size(exported.bytes)}{needs}, {done}"])


def _refuse_stream(file: str) -> None:
    """``-`` is no file of that name, which nobody would mean."""
    if file == "-":
        hint = "name a file, and send that; ./- is one with the name -"
        raise UsageError("a bundle is a file, and goes through no pipe", subject=file, hint=hint)


@command("import", transfers=True)
@click.argument("file", type=click.Path())
@_layout
@_aliases
@dry_run
def import_command(session: Session, file: str, *, layout: str | None, aliases: bool, dry_run: bool) -> int:
    """Bring the versions of an exported file into the store.

    All of the file is checked before anything is written; one that was truncated or changed leaves nothing. What the store has
    already is not written again. No other store is asked.

    Examples:
      asset import bert.bundle
      asset import new.bundle --aliases --dry-run
    """
    from holdfast import replicate

    _refuse_stream(file)
    found = replicate.import_(
        session.repository, Path(existing(touchable(file))), layout=layout, aliases=aliases, dry_run=dry_run
    )
    return _report(session, found, dry=dry_run, one=False)


def _other(session: Session, store: str, profile: str | None) -> Repository:
    """The repository of the store that is copied to."""
    from holdfast import wiring
    from holdfast.config import load

    given = {"store": store, "assets_dir": session.assets_dir}
    settings = load(given, profile=profile or session.profile)
    return wiring.open_settings(settings, progress=session.progress, jobs=session.jobs, limit_rate=session.limit_rate)


def _every(repository: Repository, names: tuple[str, ...]) -> Iterator[str | HoldfastError]:
    """Every version of these assets, or of all of them; what is wrong with an asset keeps nobody from the others."""
    from holdfast import replicate

    for name in names:
        if AssetSpec.parse(name).name != name:
            raise UsageError("--all takes assets' names, without a version", subject=name, hint="leave --all out")
    for name in names or repository.catalog.names(repository.engine.run):
        try:
            yield from replicate.copyable(repository, name)
        except HoldfastError as error:
            yield error


def _whole(spec: str | HoldfastError) -> str:
    """The spec; a bundle that lacks something of what was asked for is not made."""
    if isinstance(spec, HoldfastError):
        raise spec
    return spec


def _report(
    session: Session, outcomes: Iterator[Copied] | Iterator[Copied | HoldfastError], *, dry: bool, one: bool
) -> int:
    """Tell each as it is done; the exit code of the first failure."""
    values, code = [], 0
    for outcome in outcomes:
        if isinstance(outcome, HoldfastError):
            code = code or outcome.exit_code
            values.append({"error": error_value(outcome)})
            if not session.json:
                print_error(outcome, as_json=False)
        else:
            values.append(plain(outcome))
            if not session.json:
                print_lines([_told(outcome, dry=dry)])
    if session.json:
        print_json(values[0] if one else values)
    return code


def _told(copied: Copied, *, dry: bool) -> str:
    files = "1 file" if copied.files == 1 else f"{copied.files} files"
    what = f"{copied.spec}  {files}, {human_size(copied.bytes)}"
    if not copied.created:
        return f"{what}, there already"
    if dry:
        return f"{what}, would be made as {copied.layout}"
    return f"{what}, made as {copied.layout} in {copied.seconds:.1f} s, {human_size(copied.uploaded_bytes)} sent"
