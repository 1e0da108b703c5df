"""What a web server does to be like the others: from what it last agreed to, what lies on its disk, and what all say. Pure.

:func:`decide` is given the *base* (the change of each path that this disk held when it was last looked at), the disk now, and the
newest change of each path in the logs of all servers. It answers what is to be published, what is to be laid on the disk, and what is
only to be noted. Nothing depends on the order in which messages come: servers that know the same changes want the same tree.

A file and a folder of one name cannot both be: the one whose newest change is older goes, and is kept (:func:`clashes`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from holdfast.model.manifest import parents
from holdfast.sites.changes import Change, Content, deletion, edit, first, newest, succeeds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["HELD_FILES", "HELD_SHARE", "Author", "Deed", "Disk", "Outcome", "clashes", "decide", "join"]

#: More deletions than so many files, and than this share of all files, are held back until somebody agrees to them.
HELD_FILES: Final = 50
HELD_SHARE: Final = 0.2


@dataclass(frozen=True, slots=True)
class Author:
    """This server: its name, the time by the store's clock and that of its last look at the disk, in microseconds.

    ``joining`` until it has agreed with the others once. ``complete`` where every log could be read. ``accept_deletes``: somebody
    agreed to however many.
    """

    node: str
    now: int
    since: int = 0
    joining: bool = False
    complete: bool = True
    accept_deletes: bool = False


@dataclass(frozen=True, slots=True)
class Disk:
    """What lies below the webroot, when each path was changed there in microseconds, and of which paths nothing is known."""

    entries: Mapping[str, Content]
    changed: Mapping[str, int] = field(default_factory=dict)
    unknown: Callable[[str], bool] = lambda _: False


@dataclass(frozen=True, slots=True)
class Deed:
    """A change to be laid on the disk over ``there``, which is to be kept where that says so."""

    change: Change
    there: Content | None
    keep: bool


@dataclass(slots=True)
class Outcome:
    """By path: changes for this server's own log; changes that the disk shows already; what is to be done; deletions held back."""

    publish: dict[str, Change] = field(default_factory=dict)
    accept: dict[str, Change] = field(default_factory=dict)
    apply: dict[str, Deed] = field(default_factory=dict)
    held: list[str] = field(default_factory=list)


def join(logs: Iterable[Mapping[str, Change]]) -> dict[str, Change]:
    """The newest change of each path."""
    joined: dict[str, Change] = {}
    for log in logs:
        for path, change in log.items():
            there = joined.get(path)
            joined[path] = change if there is None else newest((there, change)) or change
    return joined


def decide(base: Mapping[str, Change], disk: Disk, winners: Mapping[str, Change], author: Author) -> Outcome:
    """What this server does now; nothing, where all files are gone at once: that is rather a disk that is not there."""
    outcome = Outcome()
    if not author.accept_deletes and _is_emptied(base, disk):
        outcome.held = sorted(path for path, each in base.items() if each.content is not None)
        return outcome
    deletes: dict[str, Change] = {}
    entries = disk.entries
    for path in base.keys() | entries.keys() | winners.keys():
        known, winner = base.get(path), winners.get(path)
        if known is winner and known is not None and _same(entries.get(path), known.content):
            continue  # nearly all of them, nearly always
        if not disk.unknown(path):
            _decide(path, known, disk, winner, author, outcome, deletes)
    if not author.accept_deletes and _too_many(base, deletes):
        outcome.held = sorted(deletes)
    else:
        outcome.publish.update(deletes)
        outcome.accept.update(deletes)
    if outcome.publish or outcome.accept or outcome.apply:  # else it was settled before
        _part(disk, winners, author, outcome)
    return outcome


def _decide(
    path: str,
    base: Change | None,
    disk: Disk,
    winner: Change | None,
    author: Author,
    outcome: Outcome,
    deletes: dict[str, Change],
) -> None:
    there = disk.entries.get(path)
    if _same(there, base.content if base is not None else None):
        _follow(path, base, there, winner, author, outcome)
    elif winner is not None and _same(there, winner.content) and (base is None or winner.rank >= base.rank):
        outcome.accept[path] = winner
    else:
        _offer(path, base, there, winner, disk, author, outcome, deletes)


def _follow(
    path: str, base: Change | None, there: Content | None, winner: Change | None, author: Author, outcome: Outcome
) -> None:
    """Nobody touched it here: what the others say, or what only this server still knows."""
    if base is not None and (winner is None or winner.rank < base.rank):
        if author.complete:
            outcome.publish[path] = base
    elif winner is not None and (base is None or winner.rank > base.rank):
        if _same(there, winner.content):
            outcome.accept[path] = winner
        else:
            keep = winner.clash or (base is not None and not succeeds(winner, base))
            outcome.apply[path] = Deed(winner, there, keep and _worth(there, winner))


def _offer(
    path: str,
    base: Change | None,
    there: Content | None,
    winner: Change | None,
    disk: Disk,
    author: Author,
    outcome: Outcome,
    deletes: dict[str, Change],
) -> None:
    """It was changed here: that is published, unless what the others say is newer; then it is kept."""
    if there is not None:
        if author.joining and base is None:
            mine = first(there)
        else:
            own = winner.stamp if winner is not None and winner.node == author.node else 0
            when = min(max(disk.changed.get(path, author.now), author.since), author.now)
            mine = edit(there, base, node=author.node, when=when, after=own)
    else:
        assert base is not None  # noqa: S101 - else the disk would be as the base says
        mine = deletion(base, when=author.now)
    if winner is not None and winner.rank > mine.rank:
        outcome.apply[path] = Deed(winner, there, _worth(there, winner))
    elif there is None:
        deletes[path] = mine
    else:
        outcome.publish[path] = outcome.accept[path] = mine


def _part(disk: Disk, winners: Mapping[str, Change], author: Author, outcome: Outcome) -> None:
    """Settle what cannot be side by side, by deletions that every server comes to by itself."""
    for path, change in clashes({**winners, **outcome.publish}, author.now).items():
        there = disk.entries.get(path)
        outcome.accept.pop(path, None)
        outcome.apply.pop(path, None)
        outcome.publish[path] = change
        if there is None:
            outcome.accept[path] = change
        elif not disk.unknown(path):
            outcome.apply[path] = Deed(change, there, _worth(there, change))


def clashes(winners: Mapping[str, Change], when: int) -> dict[str, Change]:
    """Deletions of what cannot be beside something newer: a file above others, or all that is below a newer file."""
    below: dict[str, list[str]] = {}
    for path, change in winners.items():
        if change.content is not None:
            for parent in parents(path):
                above = winners.get(parent)
                if above is not None and above.content is not None and above.content.kind != "dir":
                    below.setdefault(parent, []).append(path)
    gone: dict[str, Change] = {}
    for parent, paths in sorted(below.items()):
        if parent in gone:
            continue
        alive = [path for path in paths if path not in gone]
        if alive and max(winners[path].rank for path in alive) > winners[parent].rank:
            gone[parent] = deletion(winners[parent], when=when, clash=True)
        else:
            gone.update({path: deletion(winners[path], when=when, clash=True) for path in alive})
    return gone


def _too_many(base: Mapping[str, Change], deletes: Mapping[str, Change]) -> bool:
    files = sum(1 for change in base.values() if _is_leaf(change.content))
    going = sum(1 for path in deletes if _is_leaf(base[path].content))
    return going > HELD_FILES and going > HELD_SHARE * files


def _is_emptied(base: Mapping[str, Change], disk: Disk) -> bool:
    if any(_is_leaf(content) for content in disk.entries.values()):
        return False
    return any(_is_leaf(change.content) and not disk.unknown(path) for path, change in base.items())


def _is_leaf(content: Content | None) -> bool:
    return content is not None and content.kind != "dir"


def _same(one: Content | None, other: Content | None) -> bool:
    if one is None or other is None:
        return one is other
    return (
        one.digest == other.digest and one.mode == other.mode and one.kind == other.kind and one.target == other.target
    )


def _worth(there: Content | None, change: Change) -> bool:
    """Whether something would be lost: a folder holds nothing by itself, and equal bytes stay."""
    return there is not None and there.kind != "dir" and not there.same_bytes(change.content)
