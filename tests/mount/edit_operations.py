"""What people do in a folder, at random: the same on a mounted version and on a plain copy of it."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from holdfast.cache.tree import hash_file, scan

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("a", "b", "c")
PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
DATA = st.binary(max_size=300)

OPERATIONS = st.one_of(
    st.tuples(st.just("write"), PATHS, DATA),
    st.tuples(st.just("append"), PATHS, DATA),
    st.tuples(st.just("truncate"), PATHS, st.integers(0, 400)),
    st.tuples(st.just("poke"), PATHS, st.integers(0, 200), DATA),
    st.tuples(st.just("replace"), PATHS, DATA),
    st.tuples(st.just("move"), PATHS, PATHS),
    st.tuples(st.just("unlink"), PATHS),
    st.tuples(st.just("mkdir"), PATHS),
    st.tuples(st.just("rmdir"), PATHS),
    st.tuples(st.just("rmtree"), PATHS),
    st.tuples(st.just("chmod"), PATHS, st.sampled_from([0o755, 0o644, 0o600])),
    st.tuples(st.just("symlink"), PATHS, st.sampled_from(NAMES)),
    st.tuples(st.just("link"), PATHS, PATHS),
)

#: What lies in a version to begin with: None is a directory, text where a link leads.
TREES = st.dictionaries(PATHS, st.one_of(st.none(), DATA, st.sampled_from(NAMES)), max_size=8)


def lay(root: Path, tree: dict) -> Path:
    """A folder with these entries, as far as they fit each other."""
    root.mkdir(parents=True, exist_ok=True)
    for path, content in sorted(tree.items()):
        try:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                (root / path).mkdir()
            elif isinstance(content, str):
                os.symlink(content, root / path)
            else:
                (root / path).write_bytes(content)
        except OSError:  # below a file, or a link that leads nowhere
            continue
    return root


def apply(root: Path, operation: tuple) -> int | None:
    """Do it; the errno where that is refused."""
    name, path, *rest = operation
    try:
        _DEEDS[name](root / path, *[root / rest[0]] if name in ("move", "link") else rest)
    except OSError as error:
        return error.errno
    return None


def _poke(path: Path, offset: int, data: bytes) -> None:
    with _opened(path, os.O_RDWR) as file:
        file.seek(offset)
        file.write(data)


def _opened(path: Path, flags: int):
    return os.fdopen(os.open(path, flags | os.O_NOFOLLOW, 0o644), "r+b")


def _write(path: Path, data: bytes) -> None:
    with _opened(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC) as file:
        file.write(data)


def _append(path: Path, data: bytes) -> None:
    with _opened(path, os.O_RDWR) as file:
        file.seek(0, os.SEEK_END)
        file.write(data)


def _truncate(path: Path, size: int) -> None:
    with _opened(path, os.O_RDWR) as file:
        file.truncate(size)


def _replace(path: Path, data: bytes) -> None:
    """As editors save: beside, then by a rename."""
    beside = path.with_name("saved~")
    _write(beside, data)
    try:
        os.replace(beside, path)
    except OSError:
        os.unlink(beside)
        raise


def _move(path: Path, to: Path) -> None:
    """As mv does: by a copy where a rename is refused between what lies below and what lies above."""
    try:
        os.rename(path, to)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        if os.path.lexists(to):
            os.rmdir(to)
        shutil.copytree(path, to, symlinks=True)
        shutil.rmtree(path)


def _chmod(path: Path, mode: int) -> None:
    if stat.S_ISREG(os.lstat(path).st_mode):  # a directory keeps its rights, and a link has none
        os.chmod(path, mode)


_DEEDS = {
    "write": _write,
    "append": _append,
    "truncate": _truncate,
    "poke": _poke,
    "replace": _replace,
    "move": _move,
    "unlink": os.unlink,
    "mkdir": os.mkdir,
    "rmdir": os.rmdir,
    "rmtree": shutil.rmtree,
    "chmod": _chmod,
    "symlink": lambda path, to: os.symlink(to, path),
    "link": os.link,
}


def content(root: Path) -> list[tuple]:
    """Everything in a folder that a version would hold of it, and the permissions of its files."""
    entries = [hash_file(item) if item.entry.kind == "file" else item.entry for item in scan(root)]
    rights = {entry.path: entry.mode if entry.kind == "file" else None for entry in entries}
    return sorted((e.path, e.kind, e.digest or "", e.target or "", rights[e.path] or 0) for e in entries)
