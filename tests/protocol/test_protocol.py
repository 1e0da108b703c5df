"""The protocol of pushes and collectors, explored: nothing is lost by any schedule, and without any one rule something is."""

from __future__ import annotations

import os
from dataclasses import fields

import pytest

from tests.protocol.casts import SMALL, everybody
from tests.protocol.explore import LossError, exhaustively, randomly
from tests.protocol.model import Rules

#: How many random schedules of each configuration; ``make soak`` tries a hundred times as many.
SEEDS = int(os.environ.get("HOLDFAST_TEST_PROTOCOL_SEEDS", "1000"))
RULES = [each.name for each in fields(Rules)]


@pytest.mark.parametrize("cast", SMALL, ids=lambda cast: cast.__name__)
def test_protocol__every_schedule(cast) -> None:
    """No schedule of pushes, collectors, removals and other programs within a few interruptions loses data."""
    assert exhaustively(cast, Rules(), SMALL[cast][0]) > 10


@pytest.mark.parametrize("cast", [*SMALL, everybody], ids=lambda cast: cast.__name__)
def test_protocol__random_schedules(cast) -> None:
    """Nor does any of thousands of random ones."""
    randomly(cast, Rules(), range(SEEDS))


def found(rules: Rules) -> LossError | None:
    """The first loss that the same exploration finds."""
    try:
        for cast in SMALL:
            randomly(cast, rules, range(SEEDS // 5))
        for cast, (budget, _) in SMALL.items():
            exhaustively(cast, rules, budget)
    except LossError as loss:
        return loss
    return None


@pytest.mark.parametrize("rule", RULES)
def test_protocol__without_a_rule(rule: str) -> None:
    """Without any one of the rules the same exploration finds data lost."""
    loss = found(Rules().without(rule))
    assert loss is not None, f"nothing is lost without {rule}"
    print(f"{rule}: {loss.what}", *loss.steps, sep="\n  ")


@pytest.mark.soak
@pytest.mark.parametrize("cast", SMALL, ids=lambda cast: cast.__name__)
def test_protocol__more_schedules(cast) -> None:
    """So with one interruption more."""
    exhaustively(cast, Rules(), SMALL[cast][1])


@pytest.mark.soak
@pytest.mark.parametrize("cast", [*SMALL, everybody], ids=lambda cast: cast.__name__)
def test_protocol__many_random_schedules(cast) -> None:
    """So for a hundred times as many random ones."""
    randomly(cast, Rules(), range(SEEDS, 100 * SEEDS))
