"""``asset push`` and ``asset fetch``."""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.completion import complete_name, complete_path, complete_spec
from holdfast.cli.mounted import existing, touchable, writable_at
from holdfast.cli.options import Session, command, dry_run, labels
from holdfast.cli.output import error_value, human_size, plain, print_error, print_json, print_lines
from holdfast.errors import HoldfastError, UsageError
from holdfast.model.options import checked_fetch
from holdfast.model.spec import AssetSpec
from holdfast.model.version import BUILT_IN

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.model.result import Fetched, FetchOptions, Pushed, PushOptions

__all__ = ["fetch_command", "push_command"]

_LAYOUTS = ("file", "tree", "tar.gz", "packs")


def _push_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(
        (
            click.option("--major", "new_major", is_flag=True, help="Start a new major version."),
            click.option("--version", metavar="V", help="Push exactly this version."),
            click.option("--initial", metavar="V", help="The first version, where the asset is new."),
            click.option("--parent", metavar="V", help="The version that this one was made from."),
            click.option("-m", "--message", metavar="TEXT", help="What is in this version, in words."),
            click.option("--label", "label", metavar="K=V", multiple=True, help="A label; may be repeated."),
            click.option("--alias", metavar="A", help="Let this alias name the version."),
            click.option(
                "--input", "inputs", metavar="SPEC", multiple=True, shell_complete=complete_spec,
                help="An asset that this one was made from; may be repeated.",
            ),
            click.option("--layout", type=click.Choice(_LAYOUTS), help="How the bytes lie in the store."),
            click.option("--exclude", metavar="GLOB", multiple=True, help="Leave these paths out; may be repeated. /PATH: from the top only."),
            click.option("--follow-links", is_flag=True, help="Push what symlinks point to, not the links."),
            click.option("--new", is_flag=True, help="Refuse where the asset exists."),
            click.option("--update", is_flag=True, help="Refuse where the asset does not exist."),
        )
    ):  # fmt: skip
        function = option(function)
    return function


@command("push", transfers=True)
@click.argument("path", shell_complete=complete_path)
@click.argument("name", required=False, metavar="[NAME[:MAJOR]]", shell_complete=complete_name)
@_push_options
@dry_run
def push_command(
    session: Session, path: str, name: str | None, label: tuple[str, ...], *, new: bool, update: bool, **given: Any
) -> None:
    """Push a file or directory as the next version of an asset.

    A push of what the newest version holds already makes no version. With NAME:MAJOR the version follows the newest of that
    major; --major starts a new one. NAME may be left out for a fetched version under the assets folder, or one that is mounted with
    --writable: it is pushed to where it came from, and that version is its parent. The mount then shows the new version.

    Examples:
      asset push ./model nlp/bert -m 'first'
      asset push ./model nlp/bert:1 --alias stable
      asset push weights.bin nlp/weights --new --label team=nlp
      asset push ./model nlp/bert --exclude '*.tmp' --dry-run
    """
    if os.path.islink(touchable(path)):
        existing(path)
    if not os.path.lexists(path):
        raise UsageError(f"no file or directory {path!r}", subject=path, hint="PATH comes first, then NAME")
    if new and update:
        raise UsageError("--new or --update, not both: an asset exists, or it does not")
    only = "new" if new else "update" if update else None
    options: PushOptions = {**given, "labels": labels(label), "only": only}  # type: ignore[typeddict-item]
    pushed = _push_mounted(session, path, options) if name is None else None
    if pushed is None:
        target = _target(session, path, name, options)
        pushed = session.repository.push(path, target, **options)
    if session.json:
        print_json(pushed)
    else:
        print_lines([_told(pushed, dry=bool(options.get("dry_run")))])


def _push_mounted(session: Session, path: str, options: PushOptions) -> Pushed | None:
    """Push a writable mount; None where it is none."""
    edits = writable_at(session, path)
    if edits is None:
        return None
    from holdfast.mount import writable

    return writable.push(session.repository, session.settings, edits, options)


def _target(session: Session, path: str, name: str | None, options: PushOptions) -> str:
    """The asset's name; major and parent go into the options."""
    if name is None:
        target, version = session.repository.identify(path)
        options["parent"] = options.get("parent") or version
        return target
    spec = AssetSpec.parse(name)
    if spec.sub_path is not None:
        raise UsageError(f"a push goes to a whole asset, not to {name!r}", subject=name, hint="leave the brackets out")
    if spec.version is not None and any(scheme.is_full(spec.version) for scheme in BUILT_IN.values()):
        hint = f"asset push {path} {spec.name} --version {spec.version}"
        raise UsageError(f"NAME:MAJOR takes a major, not the full version {spec.version}", subject=name, hint=hint)
    options["major"] = spec.version
    return spec.name


def _told(pushed: Pushed, *, dry: bool) -> str:
    files = "1 file" if pushed.files == 1 else f"{pushed.files} files"
    what = f"{pushed.spec}  {files}, {human_size(pushed.bytes)}"
    if not pushed.created:
        return f"{what}, unchanged"
    if dry:
        return f"{what}, would be pushed as {pushed.layout}"
    new = f", {human_size(pushed.uploaded_bytes)} of it new" if pushed.layout == "packs" else ""
    return f"{what}{new}, pushed in {pushed.seconds:.1f} s"


@command("fetch", transfers=True)
@click.argument("specs", nargs=-1, required=True, metavar="SPEC...", shell_complete=complete_spec)
@click.option(
    "--to", type=click.Path(file_okay=False), metavar="DIR", help="Lay it out in DIR, not in the assets folder."
)
@click.option("--force", is_flag=True, help="Download again; the old copy stays until the new one is whole.")
@click.option("--include", metavar="GLOB", multiple=True, help="Only these files; may be repeated.")
@click.option("--offline", is_flag=True, help="Take what is here and ask no store; --force then needs --to.")
@dry_run
def fetch_command(session: Session, specs: tuple[str, ...], **given: Any) -> int:
    """Bring versions to this machine, verified, and print where they are.

    What is here already is not downloaded again, and a full version that is here asks nobody. Several specs are all tried,
    one path a line in their order; the exit code is the first failure's. A sub-path in brackets downloads only that part
    where the layout is tree or packs. A copy of another store's version makes way; where it was changed it is moved aside.

    Examples:
      asset fetch nlp/bert:1
      asset fetch nlp/bert:1.4 nlp/vocab
      asset fetch 'nlp/bert:1[config.json]'
      asset fetch nlp/bert:stable --to ./model
    """
    if given["to"] is not None and len(specs) > 1:
        raise UsageError("--to takes one SPEC", subject="--to", hint="fetch them one by one, each to its own folder")
    dry = given.pop("dry_run")
    options = checked_fetch(given)
    session.offline = given["offline"]
    several = len(specs) > 1  # none of which makes room for itself at the cost of another
    with session.repository.assets.keeping() if several else nullcontext():
        outcomes = [_fetch(session, spec, options, dry=dry) for spec in specs]
    failures = [outcome for outcome in outcomes if isinstance(outcome, HoldfastError)]
    if session.json:
        values = [{"error": error_value(o)} if isinstance(o, HoldfastError) else plain(o) for o in outcomes]
        print_json(values[0] if len(values) == 1 else values)
    return failures[0].exit_code if failures else 0


def _fetch(
    session: Session, spec: str, options: FetchOptions, *, dry: bool
) -> Fetched | HoldfastError | dict[str, object]:
    """One spec; what went wrong is answered, so that the next one is tried."""
    try:
        if dry:
            return _would_fetch(session, spec)
        fetched = session.repository.fetch_info(spec, **options)
    except HoldfastError as error:
        if not session.json:
            print_error(error, as_json=False)
        return error
    if not session.json:
        print_lines([fetched.path])
    return fetched


def _would_fetch(session: Session, spec: str) -> dict[str, object]:
    parsed = AssetSpec.parse(spec)
    version = session.repository.resolve(parsed)
    here = session.repository.assets.is_complete(parsed.name, version)
    path = session.repository.assets.path_of(parsed.name, version)
    if not session.json:
        print_lines([f"{parsed.name}:{version}  {'is in' if here else 'would be fetched to'} {path}"])
    return {"name": parsed.name, "version": version, "path": str(path), "from_cache": here}
