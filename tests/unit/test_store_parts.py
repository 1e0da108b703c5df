"""How files are cut for an upload."""

from __future__ import annotations

import io

import pytest

from holdfast.errors import SourceChangedError
from holdfast.store.parts import PART, blocks, part_plan

GIB = 1024**3


@pytest.mark.parametrize("size", [0, 1, PART, PART + 1, 10 * GIB, 79 * GIB, 500 * GIB, 5 * 1024 * GIB])
def test_part_plan__limits(size):
    """Never more than 10,000 parts, the parts cover the file, and what is in flight stays at 64 MiB while a part is less."""
    plan = part_plan(size)
    assert plan.count <= 10_000
    assert plan.size * plan.count >= size > plan.size * (plan.count - 1) - 1
    assert plan.at_once >= 1
    assert plan.size * plan.at_once <= max(64 * 1024 * 1024, plan.size)


def test_part_plan__usual():
    """Parts are 8 MiB, eight at once."""
    plan = part_plan(GIB)
    assert (plan.size, plan.count, plan.at_once) == (PART, 128, 8)


def test_blocks__seen_before_given():
    """A block is shown before it is given out, in order."""
    seen = []
    for block in blocks(io.BytesIO(b"abcdefg"), 7, 3, seen.append, "k"):
        assert seen[-1] == block
    assert seen == [b"abc", b"def", b"g"]


@pytest.mark.parametrize("size", [6, 8])
def test_blocks__another_size(size):
    """A source that ends early or goes on fails, and what came before was seen."""
    with pytest.raises(SourceChangedError):
        list(blocks(io.BytesIO(b"abcdefg"), size, 3, lambda block: None, "k"))  # noqa: ARG005
