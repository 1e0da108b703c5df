"""How much travels at a time."""

from __future__ import annotations

import pytest

from holdfast.model.manifest import Entry
from holdfast.transfer.plan import TransferPlan, in_flight, plan_objects

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("largest", "threads", "lines"),
    [(0, 64, 128), (8192, 64, 128), (MIB, 64, 96), (2 * MIB, 48, 48), (8 * MIB, 12, 12)],
)
def test_small_objects__bounded_by_number_and_bytes(largest, threads, lines):
    """Many small objects travel at a time, more of them where each costs no thread; never more than 96 MiB of them, whatever their size."""
    entries = [Entry("a", "file", size=largest), Entry("b", "file", size=min(1, largest))]
    plan = plan_objects("nlp/bert", "1.0", "tree", entries)
    assert (plan.at_once, plan.lines) == (threads, lines)
    assert in_flight(largest) == lines
    assert (TransferPlan((), ()).at_once, in_flight(1 << 40)) == (64, 1)
