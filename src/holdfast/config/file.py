"""Writing ``config.toml``: one value at a time, comments kept, seen whole or not at all, readable by its owner only.

A value is checked before anything is written. The path comes from the caller (:func:`holdfast.config.config_file`);
nothing is read from the environment here.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from typing import TYPE_CHECKING, Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from holdfast.config.keys import key_named, parse_mount, parse_mounts
from holdfast.errors import LocalError, UsageError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tomlkit import TOMLDocument

__all__ = ["mount", "set_value", "unmount", "unset_value"]


def set_value(file: Path, name: str, text: str, *, profile: str | None = None, write: bool = True) -> object:
    """Set one setting, in a profile where one is named, and answer its value; ``mounts`` gains the entries.

    Raises:
        UsageError: no such setting, or the text is not what it takes; nothing is written.
        LocalError: the file cannot be written.
    """
    key = key_named(name)
    if key.name == "mounts":
        entries = parse_mounts(text)
        if not entries:
            raise UsageError("no mount given", subject="mounts", hint="""it reads like '"s3://bucket":"/mnt/bucket"'""")
        _add_mounts(file, entries, profile, write=write)
        return entries
    value = key.check(text)
    with _edited(file, write=write) as document:
        table = _profile_table(document, profile)
        *outer, last = key.name.split(".")
        for piece in outer:
            table = _inner(table, piece)
        table[last] = value
    return value


def unset_value(file: Path, name: str, *, profile: str | None = None, write: bool = True) -> bool:
    """Remove one setting from the file, or from a profile in it; whether it was there.

    Raises:
        UsageError: no such setting.
        LocalError: the file cannot be written.
    """
    key = key_named(name)
    with _edited(file, write=write) as document:
        return _removed(_existing_profile(document, profile), key.name.split("."))


def mount(file: Path, url: str, path: str, *, profile: str | None = None, write: bool = True) -> tuple[str, str]:
    """Add one mounted bucket, or move it; the entry as it now is.

    Raises:
        UsageError: not a bucket's URL, or the path is not absolute.
        LocalError: the file cannot be written.
    """
    entry = parse_mount(url, path)
    _add_mounts(file, dict([entry]), profile, write=write)
    return entry


def unmount(file: Path, url: str, *, profile: str | None = None, write: bool = True) -> str:
    """Remove one mounted bucket; its URL in normal form.

    Raises:
        UsageError: it is not in the file; the hint names the nearest.
        LocalError: the file cannot be written.
    """
    known, _ = parse_mount(url, "/")
    with _edited(file, write=write) as document:
        table = _existing_profile(document, profile)
        entries: Any = table.get("mounts", {})
        written = [each for each in entries if parse_mount(str(each), "/")[0] == known]
        if not written:
            hint = nearest(known, [str(each) for each in entries]) or "asset config shows what is mounted"
            raise UsageError(f"no mount of {known} in {file}", subject=known, hint=hint)
        for each in written:
            _removed(table, ["mounts", each])
    return known


def _add_mounts(file: Path, entries: Mapping[str, str], profile: str | None, *, write: bool) -> None:
    with _edited(file, write=write) as document:
        table = _inner(_profile_table(document, profile), "mounts")
        for url, path in entries.items():
            table[url] = path


def _profile_table(document: TOMLDocument, profile: str | None) -> Any:
    return document if profile is None else _inner(_inner(document, "profiles"), profile)


def _existing_profile(document: TOMLDocument, profile: str | None) -> Any:
    if profile is None:
        return document
    profiles: Any = document.get("profiles", {})
    if profile not in profiles:
        raise UsageError(f"unknown profile {profile!r}", subject=profile, hint=nearest(profile, list(profiles)))
    return profiles[profile]


def _inner(table: Any, name: str) -> Any:
    """The table of this name inside another, made where it is missing."""
    if name not in table:
        table[name] = tomlkit.table(is_super_table=name == "profiles")
    if not hasattr(table[name], "keys"):
        raise UsageError(f"{name!r} in the file is not a table", subject=name, hint="correct the file by hand")
    return table[name]


def _removed(table: Any, path: list[str]) -> bool:
    """Remove what lies under the path, and the table around it where that is empty then."""
    first, *rest = path
    if first not in table:
        return False
    if rest:
        found = _removed(table[first], rest)
        if found and not table[first]:
            del table[first]
        return found
    del table[first]
    return True


@contextlib.contextmanager
def _edited(file: Path, *, write: bool) -> Iterator[TOMLDocument]:
    """The document, written back when the block ends well and something changed."""
    try:
        before = file.read_text("utf-8") if os.path.lexists(file) else ""
        document = tomlkit.parse(before)
    except (TOMLKitError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} is not TOML: {error}", subject=str(file), hint="correct or remove it") from None
    except OSError as error:
        raise LocalError(f"cannot read {file}: {error.strerror}", subject=str(file)) from error
    yield document
    after = tomlkit.dumps(document)
    if write and after != before:
        _replace(file, after)


def _replace(file: Path, text: str) -> None:
    target = os.path.realpath(file)  # a link to a file kept elsewhere stays a link
    folder = os.path.dirname(target)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=".config-", suffix=".toml")  # 0600 by itself
        try:
            with open(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise LocalError(f"cannot write {file}: {error.strerror}", subject=str(file)) from error
