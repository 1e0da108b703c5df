"""Collectors between any two requests of a push, and pushes between any two of a collector: the program itself, step by step.

What the simulator under ``tests/protocol`` explores on a model is done here with the real code, on a store in memory whose
clock is set by hand.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from holdfast.collect import Collector
from holdfast.errors import ConflictError
from holdfast.store.base import Listing
from holdfast.store.memory import MemoryStore
from tests.e2e.driver import flat, lay
from tests.fakes import Call, FaultyStore, ManualClock, repository_on

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from holdfast.repository import Repository

MOST = 400


class Scene:
    """Version 0.0 was removed long ago, and holds what somebody is about to push again; 0.1 is listed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = ManualClock()
        self.store = MemoryStore("scene", lambda: self.clock.now().timestamp())
        self.faulty = FaultyStore(self.store)
        self.pusher = repository_on(self.faulty, folder / "pusher", self.clock)
        self.other = repository_on(self.store, folder / "other", self.clock)
        self.must = {
            "0.0": {f"{n}": Random(n).randbytes(9000) for n in range(12)},
            "0.1": {f"{n}": Random(n).randbytes(9000) for n in range(20, 32)},
        }
        self.source = lay(folder / "source", self.must["0.0"])
        self.pusher.push(self.source, "n/a", layout="packs")
        self.pusher.push(lay(folder / "second", self.must["0.1"]), "n/a", layout="packs")
        self.pusher.remove("n/a:0.0")
        self.clock.forward(days=10)
        del self.must["0.0"]

    def at_request(self, number: int, act: Callable[[], object]) -> Callable[[], bool]:
        """Do this right before the pusher's request of that number; tells whether it came to that."""
        seen = [0]

        def plan(call: Call) -> None:
            seen[0] += 1
            if seen[0] == number:
                act()

        self.faulty.plan = plan
        return lambda: seen[0] >= number

    def collect(self, repository: Repository | None = None, *, hours: float = 0) -> None:
        """A run, after so many hours."""
        self.clock.forward(hours=hours)
        Collector(repository or self.other).run()

    def push(self, repository: Repository) -> None:
        """Push the content of 0.0 again; a push that comes too late says so."""
        try:
            version = repository.push(self.source, "n/a", layout="packs").version
        except ConflictError:
            return
        self.must[version] = {f"{n}": Random(n).randbytes(9000) for n in range(12)}

    def check(self) -> None:
        """Everything that was pushed comes back, now and after whatever is condemned was deleted."""
        self.faulty.plan = lambda _: None
        for round_ in range(3):
            reader = repository_on(self.store, self.folder / f"reader-{round_}", self.clock)
            assert set(reader.versions("n/a").versions) == set(self.must)
            for version, content in self.must.items():
                assert flat(reader.fetch(f"n/a:{version}")) == content
            self.collect(hours=50)


def everywhere(tmp_path: Path, play: Callable[[Scene, int], bool]) -> None:
    """Play the scene once for every request, until there is none of that number."""
    number = 0
    while number < MOST:
        number += 1
        scene = Scene(tmp_path / f"{number}")
        reached = play(scene, number)
        scene.check()
        if not reached:
            break
    assert 5 < number < MOST


def test_between__condemned_while_pushing(tmp_path: Path) -> None:
    """Whatever a push is about to ask, a collector may condemn what it needs right before."""

    def play(scene: Scene, number: int) -> bool:
        reached = scene.at_request(number, scene.collect)
        scene.push(scene.pusher)
        return reached()

    everywhere(tmp_path, play)


def test_between__deleted_while_a_push_sleeps(tmp_path: Path) -> None:
    """Whenever a push sleeps for days, what it wanted to reuse may be condemned and deleted meanwhile."""

    def play(scene: Scene, number: int) -> bool:
        def days() -> None:
            for hours in (0, 50, 50):
                scene.collect(hours=hours)

        reached = scene.at_request(number, days)
        scene.push(scene.pusher)
        return reached()

    everywhere(tmp_path, play)


def test_between__pushed_while_condemning(tmp_path: Path) -> None:
    """Whatever a collector that condemns is about to ask, a push may need it again right before."""

    def play(scene: Scene, number: int) -> bool:
        reached = scene.at_request(number, lambda: scene.push(scene.other))
        scene.collect(scene.pusher)
        return reached()

    everywhere(tmp_path, play)


def test_between__pushed_while_deleting(tmp_path: Path) -> None:
    """Whatever a collector that deletes is about to ask, a push may write the same content right before."""

    def play(scene: Scene, number: int) -> bool:
        scene.collect()
        scene.clock.forward(hours=50)
        reached = scene.at_request(number, lambda: scene.push(scene.other))
        scene.collect(scene.pusher)
        return reached()

    everywhere(tmp_path, play)


def test_between__two_collectors(tmp_path: Path) -> None:
    """Between any two requests of a collector another one may run, and time may pass."""

    def play(scene: Scene, number: int) -> bool:
        scene.collect()
        scene.clock.forward(hours=50)
        reached = scene.at_request(number, lambda: scene.collect(hours=50))
        scene.collect(scene.pusher)
        return reached()

    everywhere(tmp_path, play)


@pytest.mark.parametrize("hours", [150, 170])
def test_between__restored_while_collecting(tmp_path: Path, hours: int) -> None:
    """Whatever a collector is about to ask, somebody may restore a removed version right before, if its window is open."""

    def play(scene: Scene, number: int) -> bool:
        scene.push(scene.other)
        version = max(scene.must)
        content = scene.must.pop(version)
        scene.other.remove(f"n/a:{version}")
        scene.clock.forward(hours=hours)

        def restore() -> None:
            try:
                scene.other.restore(f"n/a:{version}")
            except ConflictError:
                return
            scene.must[version] = content

        reached = scene.at_request(number, restore)
        scene.collect(scene.pusher)
        return reached()

    everywhere(tmp_path, play)


def test_marking__a_listing_that_misses_metas(tmp_path: Path) -> None:
    """A listing of an asset that misses a meta, as a folder may in which others delete, costs no version."""

    class Forgetful(MemoryStore):
        def list_level(self, prefix: str) -> Listing:
            found = super().list_level(prefix)
            return Listing((), ()) if prefix == "n/a" else found

    clock = ManualClock()
    store = Forgetful("forgetful", lambda: clock.now().timestamp())
    repository = repository_on(store, tmp_path, clock)
    for number in range(2):
        repository.push(lay(tmp_path / f"{number}", {"a": bytes([number]) * 9000}), "n/a", layout="packs")
    clock.forward(days=10)
    assert not Collector(repository).run().condemned
