"""Push, fetch and all the verbs through a real server whose store is a folder: bytes go through the server."""

from __future__ import annotations

import os

import pytest

from holdfast.errors import AccessError, ConflictError, UnsupportedError, VersionNotFoundError


def tree(path, files):
    """A folder with these files."""
    for name, data in files.items():
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return path


def contents(path):
    """The files below a folder."""
    return {
        found.relative_to(path).as_posix(): found.read_bytes()
        for found in sorted(path.rglob("*"))
        if found.is_file() and found.name != ".SUCCESS"
    }


FILES = {"config.json": b"{}", "data/weights.bin": os.urandom(300_000), "data/empty": b""}


@pytest.mark.parametrize("layout", ["packs", "tree", "tar.gz"])
def test_push_and_fetch(server, tmp_path, layout):
    """A folder pushed through the server is fetched through it byte for byte, in every layout."""
    name = f"door/{layout.replace('.', '')}"
    pushed = server.open(tmp_path / "one").push(tree(tmp_path / "src", FILES), name, layout=layout, message="first")
    assert (pushed.created, pushed.version, pushed.layout) == (True, "0.0", layout)
    other = server.open(tmp_path / "two", "reader")
    assert contents(other.fetch(name)) == FILES
    shown = other.show(name)
    assert (shown.message, shown.who) == ("first", "writer")


def test_push_and_fetch__a_file(server, tmp_path):
    """A file is pushed and fetched."""
    source = tmp_path / "model.bin"
    source.write_bytes(os.urandom(20_000_000))
    server.open(tmp_path / "one").push(source, "door/file")
    assert server.open(tmp_path / "two", "reader").fetch("door/file").read_bytes() == source.read_bytes()
