"""``asset cache``: the fetched versions under the assets folder. No store is asked."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from holdfast.cache.assets import AssetsDir, CachedVersion
from holdfast.cli.maintain import report
from holdfast.cli.options import SIZE, Session, command, dry_run, group
from holdfast.cli.output import human_size, human_time, print_json, print_lines, print_table
from holdfast.errors import UsageError, VersionNotFoundError, nearest
from holdfast.maintain import verify_cached
from holdfast.model.spec import AssetSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["cache_command"]


@group("cache")
def cache_command(context: click.Context) -> None:
    """Look after the fetched versions on this machine.

    Without a command they are listed. What was fetched can be fetched again; what was made here and never pushed is never
    removed.

    Examples:
      asset cache
      asset cache prune --max-size 20G
      asset cache pin nlp/bert:1.4
    """
    if context.invoked_subcommand is None:
        session = context.find_object(Session)
        assert session is not None  # noqa: S101 - made by main
        _list(session)


@command("list")
def list_command(session: Session) -> None:
    """List the versions that are on this machine.

    With their sizes, when each was last used as far as it is known, and whether it is pinned.

    Examples:
      asset cache list --json
    """
    _list(session)


def _list(session: Session) -> None:
    entries = list(_folder(session).entries())
    if session.json:
        print_json([_value(entry) for entry in entries])
        return
    now = time.time()
    rows = [
        (_spec(entry), human_size(entry.bytes), f"{human_time(max(0, now - entry.used))} ago", "pinned" * entry.pinned)
        for entry in entries
    ]
    if rows:
        print_table(("SPEC", "SIZE", "USED", ""), rows, right=(1,))


def _value(entry: CachedVersion) -> dict[str, object]:
    return {
        "spec": _spec(entry),
        "name": entry.name,
        "version": entry.version,
        "path": entry.path,
        "bytes": entry.bytes,
        "complete": entry.complete,
        "pinned": entry.pinned,
        "used": round(entry.used, 3),
    }


@command("prune")
@click.argument("specs", nargs=-1, metavar="[NAME[:VERSION]]...")
@click.option(
    "--max-size", type=SIZE, metavar="SIZE", help="Remove the longest unused until no more than this is left."
)
@dry_run
def prune_command(session: Session, specs: tuple[str, ...], *, max_size: int | None, dry_run: bool) -> None:
    """Remove fetched versions from this machine: those named, or the longest unused beyond a size.

    Without a name and without --max-size the setting cache.max_size counts. What is pinned, and what was not fetched from a
    store, stays.

    Examples:
      asset cache prune --max-size 20G
      asset cache prune nlp/bert:1.3 nlp/old --dry-run
    """
    folder = _folder(session)
    removable = _Removable.of(folder)
    doomed = _named(folder, specs, removable) if specs else _beyond(session, removable, max_size)
    for entry in () if dry_run else doomed:
        folder.remove(entry.name, entry.version)
    freed = sum(entry.bytes for entry in doomed)
    if session.json:
        print_json({"removed": [_spec(entry) for entry in doomed], "bytes": freed, "dry_run": dry_run})
        return
    would = "would be removed" if dry_run else "removed"
    print_lines(f"{_spec(entry)} {would}" for entry in doomed)
    if not session.quiet:
        print_lines([f"{human_size(freed)} {'would be freed' if dry_run else 'freed'}"])


@dataclass(frozen=True, slots=True)
class _Removable:
    """What pruning may take, longest unused first, and what all versions here amount to."""

    entries: tuple[CachedVersion, ...]
    bytes: int

    @classmethod
    def of(cls, folder: AssetsDir) -> _Removable:
        """Complete, not pinned, and recorded as fetched."""
        found = list(folder.entries())
        ours = [e for e in found if e.complete and not e.pinned and folder.known(e.name, e.version) is not None]
        return cls(tuple(sorted(ours, key=lambda entry: entry.used)), sum(entry.bytes for entry in found))


def _beyond(session: Session, removable: _Removable, max_size: int | None) -> list[CachedVersion]:
    limit = session.settings.cache_max_size if max_size is None else max_size
    if limit is None:
        hint = "--max-size SIZE, or asset config set cache.max_size SIZE"
        raise UsageError(
            "nothing says what to remove: no name, no --max-size, no setting", subject="max-size", hint=hint
        )
    left, doomed = removable.bytes, []
    for entry in removable.entries:
        if left <= limit:
            break
        doomed.append(entry)
        left -= entry.bytes
    return doomed


def _named(folder: AssetsDir, specs: Iterable[str], removable: _Removable) -> list[CachedVersion]:
    doomed = {_spec(entry): entry for spec in specs for entry in _matching(folder, spec)}
    kept = [spec for spec, entry in doomed.items() if entry not in removable.entries]
    if kept:
        hint = "asset cache unpin releases a pinned one; what was not fetched is yours to delete"
        raise UsageError(f"{', '.join(kept)}: pinned, or not fetched from a store", subject=kept[0], hint=hint)
    return list(doomed.values())


def _matching(folder: AssetsDir, text: str) -> list[CachedVersion]:
    """The local versions that a name, or a name and full version, means.

    Raises:
        VersionNotFoundError: there is none.
    """
    spec = AssetSpec.parse(text)
    entries = list(folder.entries())
    found = [entry for entry in entries if entry.name == spec.name and spec.version in (None, entry.version)]
    if not found:
        hint = nearest(text, [_spec(entry) for entry in entries])
        raise VersionNotFoundError(f"{text} is not in {folder.path}", subject=text, hint=hint)
    return found


@command("verify")
@click.argument("specs", nargs=-1, metavar="[NAME[:VERSION]]...")
def verify_command(session: Session, specs: tuple[str, ...]) -> int:
    """Compare fetched versions with the digests that they were fetched with.

    Without a name all of them. What changed since is named and the exit code is 5; nothing is changed. No store is asked.

    Examples:
      asset cache verify
      asset cache verify nlp/bert:1.4
    """
    folder = _folder(session)
    entries = [entry for spec in specs for entry in _matching(folder, spec)] if specs else folder.entries()
    return report(session, (verify_cached(folder, entry.name, entry.version) for entry in entries))


@command("pin")
@click.argument("specs", nargs=-1, required=True, metavar="NAME[:VERSION]...")
@dry_run
def pin_command(session: Session, specs: tuple[str, ...], *, dry_run: bool) -> None:
    """Keep fetched versions from being pruned.

    A name without a version means every version of it that is here.

    Examples:
      asset cache pin nlp/bert:1.4
    """
    _pin(session, specs, on=True, dry_run=dry_run)


@command("unpin")
@click.argument("specs", nargs=-1, required=True, metavar="NAME[:VERSION]...")
@dry_run
def unpin_command(session: Session, specs: tuple[str, ...], *, dry_run: bool) -> None:
    """Let fetched versions be pruned again.

    A name without a version means every version of it that is here.

    Examples:
      asset cache unpin nlp/bert
    """
    _pin(session, specs, on=False, dry_run=dry_run)


def _pin(session: Session, specs: Iterable[str], *, on: bool, dry_run: bool) -> None:
    folder = _folder(session)
    chosen = [entry for spec in specs for entry in _matching(folder, spec)]
    for entry in () if dry_run else chosen:
        folder.pin(entry.name, entry.version, on=on)
    if session.json:
        print_json({"pinned" if on else "unpinned": [_spec(entry) for entry in chosen], "dry_run": dry_run})
    elif not session.quiet:
        print_lines(f"{_spec(entry)} {'would be ' * dry_run}{'pinned' if on else 'unpinned'}" for entry in chosen)


def _folder(session: Session) -> AssetsDir:
    return AssetsDir(session.settings.assets_dir)


def _spec(entry: CachedVersion) -> str:
    return f"{entry.name}:{entry.version}"


for _command in (list_command, prune_command, verify_command, pin_command, unpin_command):
    cache_command.add_command(_command)
