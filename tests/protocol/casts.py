"""The configurations that are explored: small stores in which much is about to go wrong."""

from __future__ import annotations

from holdfast.collecting import PushSeen
from tests.protocol.actors import (
    collector,
    foreign_push,
    lowerer,
    overwriter,
    passing,
    pusher,
    remover,
    repairer,
    restorer,
)
from tests.protocol.explore import Cast
from tests.protocol.model import Rules, World


def _removed_long_ago(rules: Rules) -> World:
    """Version 0 was removed, and its undo window is over: what it alone needs is garbage, which a push may want to reuse."""
    world = World(rules)
    world.put_version("0", "old", "a0")
    world.put_version("1", "new", "b0")
    world.put_tombstone("0", 1000)
    return world


def reuse(rules: Rules) -> Cast:
    """A push, perhaps suspended, reuses what is garbage, while collectors run twice and time passes."""
    world = _removed_long_ago(rules)
    collectors = [("collector", collector(world)) for _ in range(2)]
    return Cast(world, [("push", pusher(world, "p", "a", ("a0", "b0"))), *collectors, ("time", passing(world, 50))])


def soon(rules: Rules) -> Cast:
    """The same within the window of a push."""
    world = _removed_long_ago(rules)
    collectors = [("collector", collector(world)) for _ in range(2)]
    return Cast(world, [("push", pusher(world, "p", "ac", ("a0", "b0"))), *collectors, ("time", passing(world, 20))])


def lowered(rules: Rules) -> Cast:
    """The store's limits are lowered while a push is under way that goes by the old ones."""
    world = _removed_long_ago(rules)
    collectors = [("collector", collector(world)) for _ in range(2)]
    others = [("admin", lowerer(world)), ("time", passing(world, 3))]
    return Cast(world, [("push", pusher(world, "p", "a", ("a0",))), *others, *collectors])


def killed(rules: Rules) -> Cast:
    """A push is killed anywhere, and perhaps run again; another program overwrites the list."""
    world = World(rules)
    world.put_version("0", "old", "b0")
    heirs = {"push": lambda: pusher(world, "p", "ab", ("b0",), resumes=_claimed(world, "p"))}
    others = [("list", overwriter(world)), ("time", passing(world, 50)), ("time", passing(world, 50))]
    collectors = [("collector", collector(world)) for _ in range(2)]
    push = ("push", pusher(world, "p", "ab", ("b0",)))
    return Cast(world, [push, *others, *collectors], frozenset({"push", "collector"}), heirs)


def unreadable(rules: Rules) -> Cast:
    """A version's meta cannot be read by this release."""
    world = World(rules)
    world.put_version("0", "later release", "a0", readable=False)
    times = [("time", passing(world, 50))]
    return Cast(world, [*times, ("collector", collector(world)), ("collector", collector(world))])


def pushed_anew(rules: Rules) -> Cast:
    """Another program pushes under a removed number, before its undo window is over."""
    world = World(rules)
    world.put_version("0", "old", "a0")
    world.put_version("1", "new", "b0")
    world.put_tombstone("0", 100)
    times = [("time", passing(world, 50)) for _ in range(3)]
    collectors = [("collector", collector(world)) for _ in range(2)]
    return Cast(world, [("foreign", foreign_push(world, "0")), *times, *collectors])


def restored(rules: Rules) -> Cast:
    """Somebody restores a version at the last moment, which another one needs nothing of."""
    world = World(rules)
    world.put_version("0", "old", "a0")
    world.put_tombstone("0", 160)
    times = [("time", passing(world, 50)) for _ in range(2)]
    collectors = [("collector", collector(world)) for _ in range(2)]
    return Cast(world, [("restore", restorer(world, "0")), *times, *collectors], frozenset({"collector"}))


def numbers(rules: Rules) -> Cast:
    """The newest version is collected, and the next push must not get its number."""
    world = World(rules)
    world.put_version("0", "old", "a0")
    world.put_tombstone("0", 1000)
    collectors = [("collector", collector(world)) for _ in range(2)]
    return Cast(world, [*collectors, ("time", passing(world, 50)), ("push", pusher(world, "p", "b", ()))])


def two_pushes(rules: Rules) -> Cast:
    """Two pushes want the same garbage; the answers to one are lost."""
    world = _removed_long_ago(rules)
    pushes = [(f"push {each}", pusher(world, each, "a", ("a0",), unsure=each == "q")) for each in "pq"]
    collectors = [("collector", collector(world)) for _ in range(2)]
    return Cast(world, [*pushes, *collectors, ("time", passing(world, 50))])


def repaired(rules: Rules) -> Cast:
    """A push, perhaps suspended, whose number is freed, and another one that takes the next."""
    world = World(rules)
    pushes = [(f"push {each}", pusher(world, each, "a", ())) for each in "pq"]
    return Cast(world, [*pushes, ("repair", repairer(world, "0")), ("time", passing(world, 50))])


def freed(rules: Rules) -> Cast:
    """A suspended push wakes up while its number is freed."""
    world = World(rules)
    return Cast(
        world, [("push", pusher(world, "p", "a", ())), ("repair", repairer(world, "0")), ("time", passing(world, 50))]
    )


def _interrupted(rules: Rules) -> World:
    """A push had sent all that it needs, claimed a number and written its root, was interrupted, and said so."""
    world = World(rules)
    world.create_object("a0")
    world.create_claim("0", "p")
    world.create_root("0", "p")
    world.pushes["p"] = PushSeen("p", "n", "p", world.now, 0.0, world.limits.push_limit, closed=True)
    return world


def interrupted(rules: Rules) -> Cast:
    """It is run again while its number is freed."""
    world = _interrupted(rules)
    return Cast(world, [("push", pusher(world, "p", "a", (), resumes="0")), ("repair", repairer(world, "0"))])


def collected(rules: Rules) -> Cast:
    """It is run again at some time while collectors run, to which what it sent is garbage once it is old."""
    world = _interrupted(rules)
    others = [
        ("collector", collector(world)),
        ("collector", collector(world)),
        ("time", passing(world, 50)),
        ("time", passing(world, 50)),
    ]
    return Cast(world, [("push", pusher(world, "p", "a", ("a0",), resumes="0")), *others])


def everybody(rules: Rules) -> Cast:
    """All of them at once: for random schedules only."""
    world = _removed_long_ago(rules)
    world.put_version("2", "newest", "b0", "c0")
    known = ("a0", "b0", "c0")
    heirs = {
        name: (lambda name=name, letters=letters: pusher(world, name, letters, known, resumes=_claimed(world, name)))
        for name, letters in (("p", "ac"), ("q", "cd"))
    }
    actors = [
        ("p", pusher(world, "p", "ac", known)),
        ("q", pusher(world, "q", "cd", known, unsure=True)),
        ("r", pusher(world, "r", "ad", known)),
        *(("collector", collector(world)) for _ in range(4)),
        ("other collector", collector(world)),
        *(("time", passing(world, hours)) for hours in (1, 23, 50, 10, 50, 120, 50)),
        ("remove", remover(world, "2")),
        ("restore", restorer(world, "2")),
        ("list", overwriter(world)),
        ("repair", repairer(world, "3")),
        ("foreign", foreign_push(world, "2")),
    ]
    return Cast(world, actors, frozenset({"p", "q", "collector", "other collector"}), heirs)


def _claimed(world: World, push: str) -> str | None:
    """The number in the journal of a push that was killed."""
    return next((version for version, holder in world.claims.items() if holder == push), None)


#: Configuration → the budget of preemptions within which every schedule is tried in ``make test``, and in ``make soak``.
SMALL = {
    numbers: (1, 2),
    unreadable: (2, 3),
    lowered: (1, 2),
    two_pushes: (1, 2),
    pushed_anew: (1, 2),
    repaired: (1, 2),
    interrupted: (3, 4),
    collected: (1, 2),
    freed: (2, 3),
    reuse: (2, 3),
    soon: (1, 2),
    restored: (2, 3),
    killed: (1, 2),
}
