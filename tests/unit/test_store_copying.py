"""Copying a local file into a store: every stored byte is shown once, in order, however the bytes get there."""

from __future__ import annotations

import io
import secrets

import pytest

from holdfast.errors import SourceChangedError
from holdfast.store.copying import copy_shown

STEP = 8 * 1024 * 1024
SIZES = [0, 1, STEP, STEP + 1, 3 * STEP, 3 * STEP + 12345]


@pytest.fixture(params=["file", "stream"])
def opened(request, tmp_path):
    """Opens bytes as a plain file, which the kernel copies, or as something that only Python can read."""

    def open_as(data):
        if request.param == "stream":
            return io.BytesIO(data)
        (tmp_path / "source").write_bytes(data)
        return open(tmp_path / "source", "r+b", buffering=0)

    return open_as


def copied(tmp_path, source, size, seen):
    with source, open(tmp_path / "target", "x+b", buffering=0) as target:
        copy_shown(source, target, size, seen)
    return (tmp_path / "target").read_bytes()


@pytest.mark.parametrize("size", SIZES)
def test_copy_shown__sizes(tmp_path, opened, size):
    """What is stored is what was there, and what was shown."""
    data, shown = secrets.token_bytes(size), bytearray()
    assert copied(tmp_path, opened(data), size, shown.extend) == data == bytes(shown)


@pytest.mark.parametrize("size", [100, 2 * STEP])
@pytest.mark.parametrize("wrong", [-1, 1])
def test_copy_shown__source_of_another_size(tmp_path, opened, size, wrong):
    """A source that is shorter or longer than announced is an error."""
    with pytest.raises(SourceChangedError):
        copied(tmp_path, opened(bytes(size + wrong)), size, lambda _: None)


@pytest.mark.parametrize("size", [100, 4 * STEP])
def test_copy_shown__seen_raises(tmp_path, opened, size):
    """What the one who looks raises comes out."""

    def refuse(_piece):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        copied(tmp_path, opened(bytes(size)), size, refuse)


def test_copy_shown__source_written_meanwhile(tmp_path):
    """A source that is written while it is copied: what is stored is still exactly what was shown."""
    size, shown = 6 * STEP, bytearray()
    (tmp_path / "source").write_bytes(bytes(size))

    def write_and_look(piece):
        with open(tmp_path / "source", "r+b") as other:
            other.seek(secrets.randbelow(size - 64))
            other.write(b"x" * 64)
        shown.extend(piece)

    source = open(tmp_path / "source", "rb", buffering=0)  # noqa: SIM115 - copied closes it
    assert copied(tmp_path, source, size, write_and_look) == bytes(shown)


def test_copy_shown__from_the_middle(tmp_path):
    """Copying begins where the source stands."""
    data = secrets.token_bytes(3 * STEP)
    (tmp_path / "source").write_bytes(data)
    source = open(tmp_path / "source", "rb", buffering=0)  # noqa: SIM115 - copied closes it
    source.seek(1000)
    assert copied(tmp_path, source, len(data) - 1000, lambda _: None) == data[1000:]


def test_copy_shown__goes_on(tmp_path, opened):
    """Copying goes on where the target stands, as a fetch does that was killed."""
    data, shown = secrets.token_bytes(3 * STEP), bytearray()
    with opened(data) as source, open(tmp_path / "target", "x+b", buffering=0) as target:
        target.write(source.read(STEP))
        copy_shown(source, target, 2 * STEP, shown.extend)
        assert target.tell() == 3 * STEP
    assert (tmp_path / "target").read_bytes() == data
    assert shown == data[STEP:]
