"""``asset cache``: the fetched versions under the assets folder. No store is asked."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from holdfast.cache.assets import AssetsDir
from holdfast.cache.eviction import evict, sweep_leftovers, worked_in
from holdfast.cache.quota import choose, excess
from holdfast.cache.room import evictable
from holdfast.cli.maintain import report
from holdfast.cli.options import SIZE, Session, command, dry_run, group
from holdfast.cli.output import human_size, human_time, print_json, print_lines, print_table
from holdfast.errors import BusyError, UsageError, VersionNotFoundError, nearest
from holdfast.maintain import verify_cached
from holdfast.model.spec import AssetSpec

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from holdfast.cache.inventory import CachedVersion
    from holdfast.cache.leases import Lease

__all__ = ["cache_command"]


@group("cache")
def cache_command(context: click.Context) -> None:
    """Look after the fetched versions on this machine.

    Without a command they are listed. With the setting cache.max_size every fetch makes room for itself: the longest unused go. What
    was fetched can be fetched again; what was made here and never pushed is never removed.

    Examples:
      asset cache
      asset config set cache.max_size 50G
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

    With their sizes, when each was last used as far as it is known, and what keeps it from being removed: pinned, in use by a
    running process, or not ours, because another program brought it here. Parts that were fetched alone are listed, too.

    Examples:
      asset cache list --json
    """
    _list(session)


def _list(session: Session) -> None:
    folder = _folder(session)
    entries = list(folder.entries())
    in_use = {(lease.name, lease.version) for lease in folder.leases.living()}
    if session.json:
        print_json([_value(entry, in_use) for entry in entries])
        return
    now = time.time()
    rows = [
        (
            entry.spec,
            human_size(entry.bytes),
            f"{human_time(max(0, now - entry.used))} ago",
            ", ".join(_marks(entry, in_use)),
        )
        for entry in entries
    ]
    if rows:
        print_table(("SPEC", "SIZE", "USED", ""), rows, right=(1,))
        limit = session.settings.cache_max_size
        taken = human_size(sum(entry.bytes for entry in entries if entry.fetched))
        if not session.quiet and limit is not None:
            print_lines([f"{taken} of {human_size(limit)} (cache.max_size)"])


def _marks(entry: CachedVersion, in_use: Container[tuple[str, str]]) -> list[str]:
    marks = {
        "part": entry.part,
        "pinned": entry.pinned,
        "in use": (entry.name, entry.version) in in_use,
        "not ours": not entry.fetched,
    }
    return [word for word, holds in marks.items() if holds]


def _value(entry: CachedVersion, in_use: Container[tuple[str, str]]) -> dict[str, object]:
    return {
        "spec": entry.spec,
        "name": entry.name,
        "version": entry.version,
        "kind": "part" if entry.part else "version",
        "path": entry.path,
        "bytes": entry.bytes,
        "complete": entry.complete,
        "pinned": entry.pinned,
        "in_use": (entry.name, entry.version) in in_use,
        "used": round(entry.used, 3),
    }


@command("prune")
@click.argument("specs", nargs=-1, metavar="[NAME[:VERSION]]...")
@click.option(
    "--max-size", type=SIZE, metavar="SIZE", help="Remove the longest unused until no more than this is left."
)
@click.option("--ranges", is_flag=True, help="Remove what mounts have read, whatever else is removed.")
@dry_run
def prune_command(
    session: Session, specs: tuple[str, ...], *, max_size: int | None, ranges: bool, dry_run: bool
) -> None:
    """Remove fetched versions from this machine: those named, or the longest unused beyond a size.

    Without a name and without --max-size the setting cache.max_size counts, which every fetch keeps to as well. What is pinned or in
    use, what was changed since it was fetched, and what was not fetched from a store, stays. What killed commands left here
    is cleaned up, too; a copy without a marker that was moved aside is yours and is not touched. What mounts have read goes by
    itself; with --ranges it goes now, and mounts that still need it read it again.

    Examples:
      asset cache prune --max-size 20G
      asset cache prune --ranges
      asset cache prune nlp/bert:1.3 nlp/old --dry-run
    """
    folder = _folder(session)
    if specs:
        pruned = _named(folder, specs, dry_run=dry_run)
    elif ranges and max_size is None and session.settings.cache_max_size is None:
        pruned = _Pruned()
    else:
        pruned = _beyond(session, folder, max_size, dry_run=dry_run)
    read = _ranges(session, dry_run=dry_run) if ranges else 0
    leftovers = sweep_leftovers(folder, dry_run=dry_run)
    freed = sum(entry.bytes for entry in pruned.removed)
    if session.json:
        removed, kept = [_label(entry) for entry in pruned.removed], [{"spec": s, "why": w} for s, w in pruned.kept]
        value = {"removed": removed, "bytes": freed, "kept": kept, "leftovers": leftovers, "ranges": read}
        print_json(value | {"dry_run": dry_run})
        return
    would = "would be removed" if dry_run else "removed"
    print_lines(f"{_label(entry)} {would}" for entry in pruned.removed)
    print_lines(f"{path} {would}: a killed command left it" for path in leftovers)
    if not session.quiet:
        print_lines(f"{spec} stays: {why}" for spec, why in pruned.kept)
        print_lines([f"{human_size(freed + read)} {'would be freed' if dry_run else 'freed'}"])


def _ranges(session: Session, *, dry_run: bool) -> int:
    """Remove what mounts have read; how many bytes that are."""
    from holdfast.cache.ranges import FOLDER, Ranges

    if not (session.settings.cache_dir / FOLDER).is_dir():
        return 0
    ranges = Ranges.open(session.settings.cache_dir, None)
    return sum(item.bytes for item in ranges.held()) if dry_run else ranges.clear()


@dataclass
class _Pruned:
    """What went, and what would have gone but must stay, with the reason."""

    removed: list[CachedVersion] = field(default_factory=list)
    kept: list[tuple[str, str]] = field(default_factory=list)

    def take(self, folder: AssetsDir, entry: CachedVersion, *, dry_run: bool) -> None:
        """Remove one, unless it must stay."""
        why = worked_in(folder, entry) if dry_run else evict(folder, entry)
        if why is None:
            self.removed.append(entry)
        else:
            self.kept.append((_label(entry), why))


def _beyond(session: Session, folder: AssetsDir, max_size: int | None, *, dry_run: bool) -> _Pruned:
    limit = session.settings.cache_max_size if max_size is None else max_size
    if limit is None:
        hint = "--max-size SIZE, or asset config set cache.max_size SIZE"
        raise UsageError(
            "nothing says what to remove: no name, no --max-size, no setting", subject="max-size", hint=hint
        )
    entries = {held: entry for entry, held in evictable(folder)}
    over, pruned = excess(held=sum(held.bytes for held in entries), need=0, limit=limit), _Pruned()
    while doomed := choose(entries, over - sum(entry.bytes for entry in pruned.removed), as_far=True).doomed:
        for held in doomed:
            pruned.take(folder, entries.pop(held), dry_run=dry_run)
    return pruned


def _named(folder: AssetsDir, specs: Iterable[str], *, dry_run: bool) -> _Pruned:
    chosen = {entry.path: entry for spec in specs for entry in _matching(folder, spec, parts=True)}
    in_use = [lease for lease in folder.leases.living() if any(_is_of(lease, entry) for entry in chosen.values())]
    stays = [_label(entry) for entry in chosen.values() if entry.pinned or not entry.fetched]
    if stays:
        hint = "asset cache unpin releases a pinned one; what was not fetched is yours to delete"
        raise UsageError(f"{', '.join(stays)}: pinned, or not fetched from a store", subject=stays[0], hint=hint)
    if in_use:
        spec = f"{in_use[0].name}:{in_use[0].version}"
        raise BusyError(f"{spec} is in use by {in_use[0].owner}", subject=spec, hint="wait for that process, or end it")
    for entry in chosen.values():
        if (why := worked_in(folder, entry)) is not None:
            hint = f"push it, fetch it again with --force, or delete {entry.path} yourself"
            raise UsageError(f"{_label(entry)} was {why}", subject=entry.spec, hint=hint)
    pruned = _Pruned()
    for entry in chosen.values():
        pruned.take(folder, entry, dry_run=dry_run)
    return pruned


def _is_of(lease: Lease, entry: CachedVersion) -> bool:
    return (lease.name, lease.version) == (entry.name, entry.version)


def _matching(folder: AssetsDir, text: str, *, parts: bool = False) -> list[CachedVersion]:
    """The local versions that a name, or a name and full version, means; the parts of them too, where asked for.

    Raises:
        VersionNotFoundError: there is none.
    """
    spec = AssetSpec.parse(text)
    entries = [entry for entry in folder.entries() if parts or not entry.part]
    found = [entry for entry in entries if entry.name == spec.name and spec.version in (None, entry.version)]
    if not found:
        hint = nearest(text, [entry.spec for entry in entries])
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
    entries, state = (entry for entry in entries if not entry.part), session.settings.cache_dir
    return report(session, (verify_cached(folder, each.name, each.version, state) for each in entries))


@command("pin")
@click.argument("specs", nargs=-1, required=True, metavar="NAME[:VERSION]...")
@dry_run
def pin_command(session: Session, specs: tuple[str, ...], *, dry_run: bool) -> None:
    """Keep fetched versions from being removed, by prune or to make room for a fetch.

    A name without a version means every version of it that is here.

    Examples:
      asset cache pin nlp/bert:1.4
    """
    _pin(session, specs, on=True, dry_run=dry_run)


@command("unpin")
@click.argument("specs", nargs=-1, required=True, metavar="NAME[:VERSION]...")
@dry_run
def unpin_command(session: Session, specs: tuple[str, ...], *, dry_run: bool) -> None:
    """Let fetched versions be removed again.

    A name without a version means every version of it that is here.

    Examples:
      asset cache unpin nlp/bert
    """
    _pin(session, specs, on=False, dry_run=dry_run)


def _pin(session: Session, specs: Iterable[str], *, on: bool, dry_run: bool) -> None:
    folder = _folder(session)
    whole = [str(AssetSpec.parse(spec).whole("pinned" if on else "unpinned")) for spec in specs]
    chosen = [entry for spec in whole for entry in _matching(folder, spec)]
    for entry in () if dry_run else chosen:
        folder.pin(entry.name, entry.version, on=on)
    if session.json:
        print_json({"pinned" if on else "unpinned": [entry.spec for entry in chosen], "dry_run": dry_run})
    elif not session.quiet:
        print_lines(f"{entry.spec} {'would be ' * dry_run}{'pinned' if on else 'unpinned'}" for entry in chosen)


def _folder(session: Session) -> AssetsDir:
    return AssetsDir(session.settings.assets_dir)


def _label(entry: CachedVersion) -> str:
    return f"{entry.spec} (part)" if entry.part else entry.spec


for _command in (list_command, prune_command, verify_command, pin_command, unpin_command):
    cache_command.add_command(_command)
