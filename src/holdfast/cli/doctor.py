"""What ``asset doctor`` looks at, one finding each: settings, folders, the store, what the store can promise."""

from __future__ import annotations

import os
import stat
import tempfile
from typing import TYPE_CHECKING

from holdfast.errors import HoldfastError
from holdfast.maintain import check_store
from holdfast.model.result import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from holdfast.cli.options import Session
    from holdfast.config import Settings

__all__ = ["examine"]

_SHARED = stat.S_IRWXG | stat.S_IRWXO


def examine(session: Session) -> Iterator[Finding]:
    """Every check, each in its own finding."""
    settings = session.settings
    yield _file(settings)
    yield _folder("assets_dir", settings.assets_dir)
    yield _folder("cache folder", settings.cache_dir)
    try:
        repository = session.repository
    except HoldfastError as error:
        yield _failure("store", error)
        return
    yield from (finding for finding in check_store(repository) if finding.subject != "assets_dir")


def _file(settings: Settings) -> Finding:
    subject = f"settings {settings.file}"
    try:
        mode = settings.file.stat().st_mode
    except OSError:
        return Finding(subject, "ok", "not there: settings come from the environment and the command line")
    if settings.unknown:
        return Finding(subject, "usage", f"unknown: {', '.join(settings.unknown)}")
    token_inside = settings.origins["token"].endswith(str(settings.file))
    if token_inside and mode & _SHARED:
        return Finding(subject, "local", f"holds a token and others may read it: chmod 600 {settings.file}")
    return Finding(subject, "ok", f"profile {settings.profile}" if settings.profile else "")


def _folder(what: str, path: Path) -> Finding:
    subject = f"{what} {path}"
    if not path.exists():
        parent = next(each for each in path.parents if each.exists())
        if os.access(parent, os.W_OK):
            return Finding(subject, "ok", "will be made when it is needed")
        return Finding(subject, "local", "missing, and cannot be made here")
    if not path.is_dir():
        return Finding(subject, "local", "is not a folder")
    try:
        with tempfile.NamedTemporaryFile(dir=path, prefix=".doctor-"):
            return Finding(subject, "ok", "can be written")
    except OSError as error:
        return Finding(
            subject, "local", f"cannot be written ({error.strerror}): what is in it can be used, nothing fetched"
        )


def _failure(subject: str, error: HoldfastError) -> Finding:
    return Finding(subject, error.kind, f"{error.message} ({error.hint})" if error.hint else error.message)
