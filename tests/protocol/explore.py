"""Who comes when: every schedule with few preemptions, and random ones; both deterministic.

A schedule is made by running the actors anew from the start; the choices made are a list of numbers, which repeats it. Going
on with the same actor is free, and so is choosing another where one has ended; to come in between, or to kill, costs one of
the ``budget`` (as CHESS bounds it). The random ones give every actor a priority and lower it at a few moments (as PCT does).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.protocol.model import Rules, ViolatedError, World

if TYPE_CHECKING:
    from tests.protocol.actors import Actor


@dataclass
class Cast:
    """One configuration: the store, and who acts on it. Of actors with one name the first is begun first.

    ``mortal`` are those that may be killed; ``heirs`` act only once their namesake was killed.
    """

    world: World
    actors: list[tuple[str, Actor]]
    mortal: frozenset[str] = frozenset()
    heirs: dict[str, Callable[[], Actor]] = field(default_factory=dict)


@dataclass
class LossError(Exception):
    """Data was lost, by this schedule."""

    what: str
    steps: list[str]


Make = Callable[[Rules], Cast]


class Run:
    """One execution."""

    def __init__(self, cast: Cast) -> None:
        self.cast = cast
        self.world = cast.world
        self.todo = list(cast.actors)
        self.begun: set[int] = set()
        self.current: int | None = None
        self.steps: list[str] = []

    def startable(self) -> list[int]:
        """Who may go on: those under way, and the first of each name that has not begun."""
        fresh: set[str] = set()
        found = []
        for number, (name, _) in enumerate(self.todo):
            if id(self.todo[number][1]) in self.begun:
                found.append(number)
            elif name not in fresh:
                fresh.add(name)
                found.append(number)
        return found

    def step(self, number: int) -> None:
        """The next request of this actor."""
        name, actor = self.todo[number]
        self.begun.add(id(actor))
        try:
            what = next(actor)
            self.current = number
        except StopIteration:
            what = "end"
            self.todo.pop(number)
            self.current = None
        except ViolatedError as error:
            raise LossError(str(error), [*self.steps, name]) from None
        self.steps.append(f"{name}: then {what}")
        try:
            self.world.check()
        except ViolatedError as error:
            raise LossError(str(error), self.steps) from None

    def kill(self, number: int) -> None:
        """The actor does nothing any more; its heir may come."""
        name, _ = self.todo.pop(number)
        self.current = None
        self.steps.append(f"{name}: killed")
        if name in self.cast.heirs:
            self.todo.append((f"{name} again", self.cast.heirs[name]()))

    def is_mortal(self, number: int) -> bool:
        """Whether this one is under way, and may be killed."""
        return self.todo[number][0] in self.cast.mortal and id(self.todo[number][1]) in self.begun


def exhaustively(make: Make, rules: Rules, budget: int) -> int:
    """Every schedule within the budget; how many there are.

    Raises:
        LossError: the first that loses data.
    """
    choices: list[int] = []
    count = 0
    while True:
        widths = _follow(Run(make(rules)), choices, budget)
        count += 1
        choices += [0] * (len(widths) - len(choices))
        while choices and choices[-1] + 1 >= widths[len(choices) - 1]:
            choices.pop()
        if not choices:
            return count
        choices[-1] += 1


def _follow(run: Run, choices: list[int], budget: int) -> list[int]:
    """Run by these choices, then by the first of each; how many choices there were at each step."""
    widths: list[int] = []
    left = budget
    while run.todo:
        options = list(_options(run, left))
        chosen = options[choices[len(widths)] if len(widths) < len(choices) else 0]
        widths.append(len(options))
        number, dies, cost = chosen
        left -= cost
        if dies:
            run.kill(number)
        else:
            run.step(number)
    return widths


def _options(run: Run, left: int) -> Iterator[tuple[int, bool, int]]:
    """(actor, whether it is killed, cost); going on comes first."""
    current = run.current
    if current is not None:
        yield current, False, 0
        if left and run.is_mortal(current):
            yield current, True, 1
    if current is None or left:
        for number in run.startable():
            if number != current:
                yield number, False, 0 if current is None else 1


def randomly(make: Make, rules: Rules, seeds: range, *, changes: int = 4, deaths: float = 0.02) -> int:
    """A random schedule for each seed; how many.

    Raises:
        LossError: the first that loses data.
    """
    for seed in seeds:
        dice = random.Random(seed)
        run = Run(make(rules))
        rank = {id(actor): dice.random() for _, actor in run.todo}
        moments = {dice.randrange(60) for _ in range(dice.randrange(changes + 1))}
        moment = 0
        while run.todo:
            number = max(run.startable(), key=lambda each: rank.setdefault(id(run.todo[each][1]), dice.random()))
            if moment in moments:
                rank[id(run.todo[number][1])] = -dice.random()
            if run.is_mortal(number) and dice.random() < deaths:
                run.kill(number)
            else:
                run.step(number)
            moment += 1
    return len(seeds)
