"""Where files are cut: the same for ever, wherever the buffers end."""

from __future__ import annotations

import hashlib
import io
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.transfer.chunking import COARSE, FINE, SINGLE, Buffers, Profile, cut, lengths, profile_of

MIB = 1024 * 1024
#: Cut lengths of ``random.Random(1).randbytes(size)``, written down when the first pack was.
FINE_CUTS = [
    33258, 78308, 80973, 39403, 28737, 67810, 159371, 71728, 135843, 117997, 63250, 49701, 162932, 209519, 55423,
    80378, 83894, 46339, 41827, 61791, 110109, 96405, 54458, 29305, 20725, 25177, 35760, 63969, 170722, 162882, 85605,
    44764, 40976, 89260, 78007, 163925, 110401, 74416, 20380,
]  # fmt: skip
COARSE_CUTS = [
    3870365, 2095470, 2900443, 3229769, 2247893, 4445463, 1377258, 3105163, 1319755, 957857, 2799915, 2699182, 408747,
]  # fmt: skip


def pieces(data: bytes, profile: Profile) -> list[int]:
    """The lengths that ``cut`` finds, block by block; what it yields must be the data."""
    source, found, seen = io.BytesIO(data), [], hashlib.sha256()
    for block, cuts in cut(lambda view: fill(source, view), len(data), profile, Buffers()):
        assert sum(cuts) == len(block)
        seen.update(block)
        found += cuts
    assert seen.digest() == hashlib.sha256(data).digest()
    return found


def fill(source: io.BytesIO, view: memoryview) -> None:
    assert source.readinto(view) == len(view)


@pytest.mark.parametrize(
    ("profile", "size", "cuts"), [(FINE, 3 * MIB, FINE_CUTS), (COARSE, 30 * MIB, COARSE_CUTS)], ids=["fine", "coarse"]
)
def test_cut__vectors(profile, size, cuts):
    """Known bytes are cut where they were when the first pack was written: else nothing old would be found again."""
    data = random.Random(1).randbytes(size)
    assert lengths(memoryview(data), profile, last=True) == cuts
    assert pieces(data, profile) == cuts


@pytest.mark.parametrize(("profile", "size"), [(FINE, 20 * MIB + 12345), (COARSE, 50 * MIB + 1)])
def test_cut__independent_of_blocks(profile, size):
    """A file that is read in several blocks is cut as one buffer of all of it would be."""
    data = random.Random(2).randbytes(size)
    assert pieces(data, profile) == lengths(memoryview(data), profile, last=True)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1 << 30), st.integers(1, 400_000), st.booleans())
def test_cut__any_file(seed, size, zeros):
    """Short files and monotonous ones are cut completely, each chunk but the last within the profile."""
    data = bytes(size) if zeros else random.Random(seed).randbytes(size)
    for profile in (FINE, Profile(64, 256, 1024)):
        found = pieces(data, profile)
        assert found == lengths(memoryview(data), profile, last=True)
        assert sum(found) == size
        assert all(profile.least <= length <= profile.most for length in found[:-1])
        assert found[-1] <= profile.most


def test_cut__insertion_moves_few_cuts():
    """Bytes inserted in the middle change the chunks beside them and no others."""
    data = random.Random(3).randbytes(8 * MIB)
    changed = data[: 4 * MIB] + b"inserted" + data[4 * MIB :]
    before, after = (chunks_of(value) for value in (data, changed))
    assert len(after - before) <= 3


def chunks_of(data: bytes) -> set[bytes]:
    found, start = set(), 0
    for length in pieces(data, FINE):
        found.add(data[start : start + length])
        start += length
    return found


def test_cut__empty():
    """Nothing is cut into nothing."""
    assert pieces(b"", FINE) == []


def test_profile__media_and_huge_files_are_coarse():
    """What is compressed already, and what is huge, is cut coarsely; the ending alone tells."""
    assert profile_of("a.tar.GZ", SINGLE + 1) is COARSE
    assert profile_of("model.safetensors", 16 << 30) is FINE
    assert profile_of("model.safetensors", (16 << 30) + 1) is COARSE
    assert profile_of("gz", SINGLE + 1) is COARSE


def test_buffers__used_again_once_nobody_looks():
    """A buffer is given out again when the last view of it, or of a part of it, has gone, and no sooner."""
    buffers = Buffers()
    first = buffers.take(8 * MIB)
    part = first[10:20]
    address = id(first.obj)
    first.release()
    second = buffers.take(8 * MIB)
    assert id(second.obj) != address
    part.release()
    third = buffers.take(8 * MIB)
    assert id(third.obj) == address
    assert len(third) == 8 * MIB
    assert buffers.take(10).obj is not buffers.take(10).obj
