"""What is in a version: files, cat, diff, status."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from holdfast.cli.completion import complete_directory, complete_spec
from holdfast.cli.mounted import existing, touchable, writable_at
from holdfast.cli.options import Session, command
from holdfast.cli.output import human_size, print_json, print_lines, print_table
from holdfast.errors import UsageError
from holdfast.model.digest import PREFIX

if TYPE_CHECKING:
    from holdfast.model.manifest import Entry
    from holdfast.model.result import Difference

__all__ = ["cat_command", "diff_command", "files_command", "status_command"]

_PIECE = 1 << 20


@command("files")
@click.argument("spec", shell_complete=complete_spec)
def files_command(session: Session, spec: str) -> None:
    """List the files of a version.

    Directories that are empty and symlinks are listed, too: the kind says what a line is.

    Examples:
      asset files nlp/bert:1
      asset files 'nlp/bert:1[tokenizer]' --json
    """
    entries = session.repository.files(spec)
    if session.json:
        print_json([_value(entry) for entry in entries])
        return
    rows = [
        (_mode(entry) or "-", human_size(entry.size) if entry.kind == "file" else "-", _shown(entry))
        for entry in entries
    ]
    if rows:
        print_table(("MODE", "SIZE", "PATH"), rows, right=(1,))


def _value(entry: Entry) -> dict[str, object]:
    value: dict[str, object] = {
        "path": entry.path,
        "kind": entry.kind,
        "bytes": None if entry.size < 0 else entry.size,
        "mode": _mode(entry),
        "digest": None if entry.digest is None else PREFIX + entry.digest,
    }
    return value | ({"target": entry.target} if entry.kind == "link" else {})


def _mode(entry: Entry) -> str | None:
    return None if entry.mode is None else f"{entry.mode:04o}"


def _shown(entry: Entry) -> str:
    return f"{entry.path} -> {entry.target}" if entry.kind == "link" else entry.path + "/" * (entry.kind == "dir")


@command("cat", transfers=True)
@click.argument("spec", metavar="SPEC[PATH]", shell_complete=complete_spec)
def cat_command(session: Session, spec: str) -> None:
    """Write one file of a version to stdout.

    The bytes come as they are, verified before the first of them is written.

    Examples:
      asset cat 'nlp/bert:1[config.json]'
      asset cat nlp/vocab > vocab.txt
    """
    if session.json:
        raise UsageError(
            "cat writes the file's bytes, which are no JSON document", subject="--json", hint="leave --json out"
        )
    with session.repository.read(spec) as file:
        shutil.copyfileobj(file, sys.stdout.buffer, _PIECE)
        sys.stdout.buffer.flush()


@command("diff")
@click.argument("one", metavar="SPEC", shell_complete=complete_spec)
@click.argument("other", metavar="SPEC|PATH", shell_complete=complete_spec)
@click.option("--exit-code", is_flag=True, help="Exit 1 where something differs.")
def diff_command(session: Session, one: str, other: str, *, exit_code: bool) -> int:
    """Show what changed from one version to another, or to a local file or directory.

    The second argument is a path where it starts with / or . or exists here; write NAME:VERSION to mean an asset. Lines start
    with A (added), D (removed) or M (changed). A sub-path is compared from where it lies: its paths are told from there, or as
    asset files lists them where both sides name the same one.

    Examples:
      asset diff nlp/bert:1.3 nlp/bert:1.4
      asset diff nlp/bert ./model --exit-code
      asset diff 'nlp/bert:1.4[tokenizer]' ./model/tokenizer
    """
    second = _path_or_spec(touchable(other))
    if isinstance(second, Path):
        existing(other)
    if isinstance(second, Path) and (edits := writable_at(session, str(second))) is not None:
        from holdfast.mount.editing import diff_with

        return _told(session, diff_with(session.repository, one, edits), exit_code=exit_code)
    return _told(session, session.repository.diff(one, second), exit_code=exit_code)


@command("status")
@click.argument("directory", metavar="DIR", shell_complete=complete_directory)
@click.option("--exit-code", is_flag=True, help="Exit 1 where something differs.")
def status_command(session: Session, directory: str, *, exit_code: bool) -> int:
    """Show what was changed in a fetched version since it was fetched, or in a writable mount.

    DIR is a version under the assets folder, or a directory where one is mounted with --writable, of which only what changed is read. Lines
    are those of asset diff.

    Examples:
      asset status "$(asset fetch nlp/bert:1)"
    """
    edits = writable_at(session, touchable(directory))
    if edits is None:
        return _told(session, session.repository.status(directory), exit_code=exit_code)
    from holdfast.mount.editing import status_of

    return _told(session, status_of(session.repository, edits).difference, exit_code=exit_code)


def _path_or_spec(text: str) -> Path | str:
    if text.startswith((".", "/", "~")) or (":" not in text and "[" not in text and os.path.lexists(text)):
        return Path(text).expanduser()
    return text


def _told(session: Session, difference: Difference, *, exit_code: bool) -> int:
    if session.json:
        print_json(difference)
    else:
        marked = (("D", difference.removed), ("M", difference.changed), ("A", difference.added))
        lines = sorted((path, mark) for mark, paths in marked for path in paths)
        print_lines(f"{mark} {path}" for path, mark in lines)
        if lines and not session.quiet:
            added, removed = human_size(difference.bytes_added), human_size(difference.bytes_removed)
            print(f"{added} added, {removed} removed", file=sys.stderr)
    return 1 if exit_code and difference else 0
