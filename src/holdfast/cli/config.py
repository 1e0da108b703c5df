"""``asset config``: shows the settings with their origins, and writes them."""

from __future__ import annotations

import os

import click

from holdfast.cli.options import Session, command, dry_run, group
from holdfast.cli.output import human_size, print_json, print_lines, print_table
from holdfast.config import config_file, file, key_named, masked

__all__ = ["config_command"]

_MASK = "********"


@group("config")
def config_command(context: click.Context) -> None:
    """Show every setting and where its value comes from.

    A value given on the command line is stronger than one from the environment, that than one of the profile, that than one
    of the file. Secrets are masked.

    Examples:
      asset config
      asset config set store s3://bucket/prefix
      asset --profile work config set region eu-central-1
      asset config mount s3://bucket /mnt/bucket
    """
    if context.invoked_subcommand is None:
        session = context.find_object(Session)
        assert session is not None  # noqa: S101 - made by main
        _show(session)


def _show(session: Session) -> None:
    settings = session.settings
    if session.json:
        shown = {name: {"value": value, "origin": origin} for name, value, origin in settings.shown()}
        print_json({"file": settings.file, "profile": settings.profile, "settings": shown})
        return
    rows = [(name, _text(name, value), origin) for name, value, origin in settings.shown()]
    print_table(("SETTING", "VALUE", "ORIGIN"), rows)


def _text(name: str, value: object) -> str:
    if value is None or value == {}:
        return "-"
    if name in ("cache.max_size", "cache.keep_free") and isinstance(value, int):
        return human_size(value)
    if isinstance(value, dict):
        return ", ".join(f"{url} at {path}" for url, path in value.items())
    if isinstance(value, tuple):  # folders, as they are set
        return os.pathsep.join(map(str, value))
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


@command("set")
@click.argument("key")
@click.argument("value")
@click.option("--store-wide", is_flag=True, help="Set a limit or default of the store, for everybody who uses it.")
@dry_run
def set_command(session: Session, key: str, value: str, *, store_wide: bool, dry_run: bool) -> None:
    """Set one setting, in the profile where --profile names one.

    The value is checked before anything is written; comments in the file stay. For mounts the entry is added to those that are
    there. With --store-wide KEY is push_limit, grace, undo (seconds), layout or versioning, and lies in the store.

    Examples:
      asset config set store s3://bucket/prefix
      asset config set cache.max_size 50G
      asset config set mounts '"s3://bucket":"/mnt/bucket"'
      asset config set --store-wide push_limit 86400
    """
    if store_wide:
        _set_store_wide(session, key, value, dry_run=dry_run)
        return
    now = file.set_value(config_file(), key, value, profile=session.profile, write=not dry_run)
    known = key_named(key)
    _told(session, {known.name: _MASK if known.secret else masked(now)}, dry_run=dry_run)


def _set_store_wide(session: Session, key: str, value: str, *, dry_run: bool) -> None:
    if dry_run:
        _told(session, {key: value}, dry_run=True)
        return
    record = session.repository.catalog.configure(key, value)
    _told(session, {key: getattr(record, key)}, dry_run=False)


@command("unset")
@click.argument("key")
@dry_run
def unset_command(session: Session, key: str, *, dry_run: bool) -> None:
    """Remove one setting from the file, or from the profile that --profile names.

    What was not set is no error.

    Examples:
      asset config unset region
    """
    file.unset_value(config_file(), key, profile=session.profile, write=not dry_run)
    _told(session, {key_named(key).name: None}, dry_run=dry_run)


@command("mount")
@click.argument("bucket_url")
@click.argument("path", type=click.Path())
@dry_run
def mount_command(session: Session, bucket_url: str, path: str, *, dry_run: bool) -> None:
    """Say that a bucket is mounted at a path; repeat it for several.

    Stores in that bucket are then reached through the path, and paths below it are read as the bucket.

    Examples:
      asset config mount s3://bucket /mnt/bucket
    """
    entry = file.mount(config_file(), bucket_url, os.path.abspath(path), profile=session.profile, write=not dry_run)
    _told(session, {"mounts": dict([entry])}, dry_run=dry_run)


@command("unmount")
@click.argument("bucket_url")
@dry_run
def unmount_command(session: Session, bucket_url: str, *, dry_run: bool) -> None:
    """Say that a bucket is mounted no longer.

    Nothing but the setting changes.

    Examples:
      asset config unmount s3://bucket
    """
    url = file.unmount(config_file(), bucket_url, profile=session.profile, write=not dry_run)
    if session.json:
        print_json({"changed": {"mounts": {url: None}}, "dry_run": dry_run})
    elif not session.quiet:
        print_lines([f"{url} {'would not be' if dry_run else 'is not'} mounted"])


def _told(session: Session, changed: dict[str, object], *, dry_run: bool) -> None:
    if session.json:
        print_json({"changed": changed, "dry_run": dry_run})
    elif not session.quiet:
        verb = "would be" if dry_run else "is"
        print_lines(
            f"{name} {verb} {'unset' if value is None else _text(name, value)}" for name, value in changed.items()
        )


for _command in (set_command, unset_command, mount_command, unmount_command):
    config_command.add_command(_command)
