"""Lists a directory, if it is the one that was seen: what lies at a path may be something else by then.

A folder may belong to somebody who swaps a directory for a link while another, say root for a backup of a webroot, walks through it.
Whoever walks says of each directory which one its parent had, and gets that one or an error.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from holdfast.errors import SourceChangedError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Seen", "identity", "listing"]

#: A directory's device and inode.
Seen = tuple[int, int]


def identity(status: os.stat_result) -> Seen:
    """Which directory it is."""
    return status.st_dev, status.st_ino


@contextmanager
def listing(path: str, seen: Seen | None) -> Iterator[Iterator[os.DirEntry[str]]]:
    """The entries of a directory, which know their names and may be asked for their stats as long as this is open; None: whichever it is.

    Raises:
        SourceChangedError: another directory lies there now.
        OSError: it cannot be opened; of an entry that is asked, with its whole path.
    """
    if os.scandir not in os.supports_fd:  # Windows
        with os.scandir(path) as found:
            yield found
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if seen is not None and identity(os.fstat(descriptor)) != seen:
            hint = "push again once nothing writes to it"
            raise SourceChangedError(f"{path} was replaced while it was scanned", subject=path, hint=hint)
        with os.scandir(descriptor) as found:
            yield found
    except OSError as error:
        if isinstance(error.filename, str):
            error.filename = os.path.join(path, error.filename)
        raise
    finally:
        os.close(descriptor)
