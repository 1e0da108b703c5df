"""``asset mount``, ``mounts`` and ``unmount``."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from holdfast.cli.completion import complete_directory, complete_mounted, complete_mounter, complete_spec
from holdfast.cli.options import Session, command, dry_run
from holdfast.cli.output import human_time, marked, plain, print_json, print_lines, print_table
from holdfast.errors import HoldfastError, NotFoundError, UnsupportedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.mount.changes import Changes
    from holdfast.mount.registry import Record, Registry
    from holdfast.mount.unmounting import Ways

__all__ = ["mount_command", "mounts_command", "unmount_command"]


@command("mount")
@click.argument("source", metavar="SOURCE", shell_complete=complete_spec)
@click.argument("directory", metavar="DIR", shell_complete=complete_directory)
@click.option(
    "--with",
    "mounter",
    metavar="MOUNTER",
    shell_complete=complete_mounter,
    help="Mount a bucket: rclone, s3fs, goofys, geesefs or mount-s3.",
)
@click.option(
    "-o", "options", multiple=True, metavar="OPTION", help="ro, noexec, allow_other, needs=..., or the mounter's own."
)
@click.option("--writable", is_flag=True, help="Let it be changed; asset push DIR publishes the changes.")
@click.option("--follow", is_flag=True, help="Show newer versions as they come.")
@click.option("--foreground", is_flag=True, help="Stay, and unmount at Ctrl-C.")
@dry_run
def mount_command(
    session: Session,
    source: str,
    directory: str,
    *,
    mounter: str | None,
    options: tuple[str, ...],
    writable: bool,
    follow: bool,
    foreground: bool,
    dry_run: bool,
) -> int:
    """Mount a version, or a live bucket, at an empty directory, supervised.

    SOURCE is a spec, which is there at once and read as it is looked at; or with --with s3://bucket or s3://bucket/prefix, whose mounter
    must be installed. It returns once it is mounted; a supervisor stays, which replaces a program that dies or hangs. While no bucket is
    mounted, DIR cannot be written. With --writable changes lie above the version, and are found again at the next mount of the asset there.
    Of a version -o takes noexec and allow_other; of a bucket the mounter's own options, too. Other users come into a mount only with -o allow_other.
    So that it is there when the machine starts, write a line with the type fuse.holdfast into /etc/fstab, or use a unit of deploy/.

    Examples:
      asset mount nlp/bert:1 /mnt/bert
      asset mount nlp/bert /mnt/bert --writable
      asset mount nlp/bert /mnt/bert --follow -o allow_other
      asset mount s3://media /srv/media --with rclone
      asset mount s3://media/images ./images --with s3fs -o ro --dry-run
      asset mount s3://media /srv/media --with rclone -o allow_other,needs=rename+overwrite -o vfs-cache-max-size=5G
    """
    if writable and (mounter is not None or follow or foreground):
        other = "--with" if mounter is not None else "--follow" if follow else "--foreground"
        hint = "a live bucket is writable anyway" if mounter is not None else "leave one of them out"
        raise UsageError(f"--writable does not go with {other}", subject="--writable", hint=hint)
    if follow and mounter is not None:
        raise UsageError("--follow goes with a spec: a live bucket is followed anyway", subject="--follow")
    if dry_run:
        return _would_mount(session, source, directory, mounter, options, writable=writable)
    if writable:
        return _mount_writable(session, source, directory, options)
    if mounter is None:
        return _mount_version(session, source, directory, options, follow=follow, foreground=foreground)
    return _mount_live(session, source, directory, mounter, options, foreground=foreground)


def _mount_version(
    session: Session, source: str, directory: str, options: Sequence[str], *, follow: bool, foreground: bool
) -> int:
    from holdfast.mount.mounting import mount_version

    words = _version_words(source, options)
    record = mount_version(
        source,
        directory,
        settings=session.settings,
        follow=follow,
        allow_other="allow_other" in words,
        noexec="noexec" in words,
        foreground=(lambda record: _print_mounted(session, record)) if foreground else None,
    )
    if not foreground:
        _print_mounted(session, record)
    return 0


def _version_words(source: str, options: Sequence[str]) -> set[str]:
    """The words of ``-o`` for a version, if it is one and they are known."""
    if "://" in source:
        hint = "--with rclone, s3fs, goofys, geesefs or mount-s3"
        raise UsageError(f"{source} is a bucket: it needs --with MOUNTER", subject=source, hint=hint)
    words = {word for option in options for word in option.split(",") if word}
    if other := sorted(words - {"ro", "noexec", "allow_other"}):
        raise UsageError(
            f"-o {other[0]} is for --with MOUNTER", subject="-o", hint="a version takes ro, noexec and allow_other"
        )
    return words


def _mount_writable(session: Session, source: str, directory: str, options: Sequence[str]) -> int:
    from holdfast.mount import writable

    others = _writable_for_others(source, options)
    _print_mounted(session, writable.mount(session.repository, session.settings, source, directory, others=others))
    return 0


def _writable_for_others(source: str, options: Sequence[str]) -> bool:
    """Whether other users may use a writable mount; no other word of ``-o`` goes with it."""
    words = _version_words(source, options)
    if refused := sorted(words - {"allow_other"}):
        message = f"--writable does not go with -o {refused[0]}"
        raise UsageError(message, subject="-o", hint="leave one of them out")
    return "allow_other" in words


def _would_mount(
    session: Session, source: str, directory: str, mounter: str | None, options: Sequence[str], *, writable: bool
) -> int:
    """Say what would be mounted, or refuse it as it would be refused."""
    from holdfast.mount import live, mounting
    from holdfast.mount import writable as edited

    settings = session.settings
    if mounter is not None:
        found = live.would_mount(source, directory, mounter=mounter, settings=settings, options=options)
    elif writable:
        _writable_for_others(source, options)
        found = edited.would_mount(session.repository, settings, source, directory)
    else:
        others = "allow_other" in _version_words(source, options)
        found = mounting.would_mount(source, directory, settings=settings, allow_other=others)
    if session.json:
        print_json({"dir": found.dir, "source": found.source, "kind": found.kind, "dry_run": True})
    elif not session.quiet:
        print_lines([f"{found.source} would be mounted at {found.dir}"])
    return 0


def _mount_live(
    session: Session, source: str, directory: str, mounter: str, options: Sequence[str], *, foreground: bool
) -> int:
    from holdfast.mount import live

    def told(record: Record) -> None:
        _print_mounted(session, record)
        sys.stdout.flush()

    stay = told if foreground else None
    record = live.mount(source, directory, mounter=mounter, settings=session.settings, options=options, stay=stay)
    if not foreground:
        told(record)
    elif record.state.health:
        session.progress.warn(f"{record.settings.dir}: {record.state.health}; mount the same again to send them")
    return 0


def _print_mounted(session: Session, record: Record) -> None:
    if session.json:
        print_json(record.value())
    elif not session.quiet:
        print_lines([f"{record.settings.source} is mounted at {record.settings.dir}"])


@command("mounts")
def mounts_command(session: Session) -> None:
    """List what this user has mounted, and how it is.

    Mounts are found again after a reboot or a crash, as dead ones, until they are mounted again or unmounted. No mount is touched.
    HEALTH says what is wrong, and what was written to a live bucket and is not in it yet; RESTARTS how often what serves it was replaced. What happened is in events.log, in the mount's folder below
    ~/.local/state/holdfast/mounts.

    Examples:
      asset mounts
      asset mounts --json
    """
    from holdfast.mount.unmounting import told
    from holdfast.mount.writable import shown

    records = [shown(record) for record in _registry(session).records()]
    if session.json:
        print_json([record.value() | _unsent(record) for record in records])
        return
    rows = []
    for record in records:
        state, left = record.state, _unsent(record).get("unsent")
        waits = [f"not sent yet: {told(left)}"] if left else []
        since = human_time(max(0.0, time.time() - state.since))
        rows.append(
            (
                record.settings.dir,
                record.settings.source,
                record.settings.kind,
                state.state,
                since,
                str(state.restarts),
                "; ".join([*([state.health] if state.health else []), *waits]),
            )
        )
    if rows:
        print_table(("DIR", "SOURCE", "KIND", "STATE", "SINCE", "RESTARTS", "HEALTH"), rows, right=(4, 5))


def _unsent(record: Record) -> dict[str, list[str]]:
    """What a live bucket's mounter has not sent, by its own notes beside its cache."""
    from holdfast.mount.live.plan import waiting
    from holdfast.mount.live.templates import MOUNTERS

    return {"unsent": waiting(record)} if record.settings.kind in MOUNTERS else {}


@command("unmount")
@click.argument("directory", metavar="[DIR]", required=False, shell_complete=complete_mounted)
@click.option("--wait", is_flag=True, help="Wait until nobody uses it and all is sent; says who does.")
@click.option("--discard", is_flag=True, help="Unmount though it is in use, and give up what was not sent or pushed.")
@click.option("--all", "everything", is_flag=True, help="Unmount everything that this user has mounted.")
@dry_run
def unmount_command(
    session: Session, directory: str | None, *, wait: bool, discard: bool, everything: bool, dry_run: bool
) -> None:
    """Unmount a directory, and end its supervisor.

    What was written is sent to the bucket first. A directory that is in use stays mounted, and who uses it is named; so does a version with
    changes that were not pushed, which are named: push them (asset push DIR), or give them up with --discard. What a crash or a reboot left is
    cleaned up. A dead mount of another program is none of asset's: umount -l takes it away.

    Examples:
      asset unmount /srv/media
      asset unmount /srv/media --wait
      asset unmount /srv/media --discard --dry-run
      asset unmount --all
    """
    registry = _registry(session)
    if everything == (directory is not None):
        raise UsageError("one directory, or --all", subject="DIR")
    chosen = _unions_first(registry.records()) if everything else [_record(registry, str(directory))]
    failures: list[HoldfastError] = []
    gone: list[str] = []
    discarded: dict[str, object] = {}
    unsent: dict[str, list[str]] = {}
    for record in chosen:
        try:
            if dry_run:
                changes = _would_unmount(registry, record, gone, wait=wait, discard=discard)
                unsent |= _would_lose(session, record) if discard else {}
            else:
                changes = _unmount(session, registry, record, wait=wait, discard=discard)
            gone.append(record.settings.dir)
        except HoldfastError as error:
            failures.append(error)
        else:
            if changes:
                discarded[record.settings.dir] = plain(changes.difference)
                would = "would be thrown away" if dry_run else "thrown away"
                session.progress.warn(f"{would} in {record.settings.dir}: {changes.named()}")
    if session.json and not failures:
        told = {"discarded": discarded, "unsent": unsent}
        print_json(marked({"unmounted": gone, **{k: v for k, v in told.items() if v}}, dry_run=dry_run))
    elif not session.json and not session.quiet:
        print_lines(f"{place} {'would be' if dry_run else 'is'} unmounted" for place in gone)
    for other in failures[1:]:
        session.progress.warn(other.message)
    if failures:
        raise failures[0]


def _unions_first(records: list[Record]) -> list[Record]:
    """A union is taken away before its branches."""
    from holdfast.mount.live.union import UNION

    return sorted(records, key=lambda record: record.settings.kind != UNION)


def _unmount(session: Session, registry: Registry, record: Record, *, wait: bool, discard: bool) -> Changes | None:
    """Unmount one; the changes that were thrown away, if any."""
    from holdfast.mount import unmounting, writable
    from holdfast.mount.live.refusing import refuse_branch

    say = session.progress.warn
    if writable.is_writable(record):
        return writable.unmount(registry, record, wait=wait, discard=discard, say=say)
    if not discard:
        refuse_branch(registry, record)
    unmounting.unmount(registry, record, _ways(record), wait=wait, discard=discard, say=say)
    return None


def _would_unmount(
    registry: Registry, record: Record, gone: Sequence[str], *, wait: bool, discard: bool
) -> Changes | None:
    """Refuse what :func:`_unmount` would, once what is ``gone`` is unmounted; the changes that would be thrown away, if any."""
    from holdfast.mount import unmounting, writable
    from holdfast.mount.live.refusing import refuse_branch

    if writable.is_writable(record):
        return writable.would_unmount(record, wait=wait, discard=discard)
    ways = _ways(record)
    if not discard:
        refuse_branch(registry, record, gone)
        unmounting.refuse_used(record, ways, wait=wait)
    return None


def _would_lose(session: Session, record: Record) -> dict[str, list[str]]:
    """What would be thrown away with a live mount: what waits to be sent, and what is open for writing."""
    from holdfast.mount.live.plan import KINDS, waiting
    from holdfast.mount.live.unsent import open_files
    from holdfast.mount.unmounting import told

    if record.settings.kind not in KINDS:
        return {}
    found = sorted({*waiting(record), *open_files(record.settings.dir)})
    if found:
        session.progress.warn(f"would be thrown away in {record.settings.dir}: {told(found)}")
    return {record.settings.dir: found} if found else {}


def _ways(record: Record) -> Ways:
    """How a mount of this kind is unmounted."""
    from holdfast.mount import daemon
    from holdfast.mount.live.clearing import WAYS
    from holdfast.mount.live.plan import KINDS

    if record.settings.kind in KINDS:
        return WAYS
    if record.settings.kind == daemon.VERSION:
        return daemon.WAYS
    message = f"{record.settings.dir} is a mount of a kind that this release does not know: {record.settings.kind}"
    raise UnsupportedError(message, subject=record.settings.dir)


def _registry(session: Session) -> Registry:
    from holdfast.mount.live.mounting import registry_of

    return registry_of(session.settings)


def _record(registry: Registry, directory: str) -> Record:
    from holdfast.mount.live.underneath import resolved

    path = resolved(directory)
    record = registry.find(path)
    if record is None:
        known = ", ".join(each.settings.dir for each in registry.records())
        hint = (
            f"mounted are: {known}"
            if known
            else "asset mounts lists what is; a foreign mount is taken away with umount"
        )
        raise NotFoundError(f"{path} is no mount of asset", subject=path, hint=hint)
    return record
