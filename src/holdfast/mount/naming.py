"""Errors about a writable mount, by the names that its users know: its directory, where a file of it lies in the folder of changes, and the
version that is gone below it.

Example::

    with named(repository, edits):
        ...                    # "/mnt/bert/config.json changed while it was pushed", and not .../edits/nlp%2Fbert-3a6d/0/upper/config.json
"""

from __future__ import annotations

import re
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from holdfast.errors import HoldfastError, IntegrityError, NotFoundError, SourceChangedError, VersionNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.mount.edits import Edits, EditsRecord
    from holdfast.repository import Repository

__all__ = ["in_directory", "named"]


@contextmanager
def named(repository: Repository, edits: Edits) -> Iterator[None]:
    """Whatever is raised names the mount's files where they are seen, and says so where the version below is in the store no longer.

    Raises:
        HoldfastError: what was raised, in better words.
    """
    try:
        yield
    except HoldfastError as error:
        with suppress(HoldfastError):
            record = edits.read()
            if record is not None:
                _put(error, repository, edits, record)
        raise


def in_directory(text: str, folder: str, directory: str) -> str:
    """A text in which files of a folder of changes, or of the version below, are named as they are seen in a directory."""
    layers = re.compile(re.escape(folder) + r"/\d+/(?:upper|lower)(?=/|\W|$)")
    return layers.sub(lambda _: directory, text)


def _put(error: HoldfastError, repository: Repository, edits: Edits, record: EditsRecord) -> None:
    """Put an error in better words."""
    error.message = in_directory(error.message, str(edits.folder), record.directory)
    if error.subject is not None:
        error.subject = in_directory(error.subject, str(edits.folder), record.directory)
    if isinstance(error, IntegrityError | NotFoundError | SourceChangedError) and _is_gone(repository, record):
        base = f"{record.base.name}:{record.base.version}"
        error.message += f"; {base}, which {record.directory} shows, was removed and collected"
        error.hint = f"copy what was changed out of {edits.layers(record).upper}, then asset unmount {record.directory} --discard"


def _is_gone(repository: Repository, record: EditsRecord) -> bool:
    """Whether the store has the version below no longer, and not only hides it until its undo window is over."""
    try:
        repository.catalog.published(record.base.name, record.base.version)
    except VersionNotFoundError:
        return True
    return False
