"""Several live mounts as one directory, united by mergerfs: its arguments, and what is known of a branch. Pure.

A file that is there is opened, renamed and removed on the branch on which it lies, so that what is written over never ends on two. A new
file goes to a branch by chance, because buckets tell no free space by which to choose; the capacity of all of them is used then. A file that takes the
place of another by renaming stays on its own branch, and mergerfs removes the other's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from holdfast.mount.live.options import chosen
from holdfast.mount.live.templates import Call, Program

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from holdfast.mount.live.options import Choices

__all__ = ["ALWAYS", "MERGERFS", "SHOWS", "UNION", "Branch", "call", "permitted", "words_of"]

#: The kind of such a mount.
UNION: Final = "mergerfs"
MERGERFS: Final = Program(UNION, "--version", (2, 33), "older ones were never tried")
#: How mergerfs shows what is below it, whatever that is, where nobody chose otherwise.
SHOWS: Final[dict[str, str | None]] = {
    "category.search": "ff",
    "category.action": "epall",
    "cache.files": "partial",  # what another server wrote is seen at the next open
    "cache.attr": "1",
    "cache.entry": "1",
    "inodecalc": "path-hash",
}
#: And in any case.
ALWAYS: Final[dict[str, str | None]] = {
    "minfreespace": "0",  # mounters make up what is free
    "moveonenospc": "false",  # the disk of a cache that is full is no reason to move a file
    "security_capability": "false",
    "xattr": "nosys",
    "nosuid": None,
    "nodev": None,
    "default_permissions": None,
}


@dataclass(frozen=True, slots=True)
class Branch:
    """A live mount that is united with others: where it is, what is mounted there, and the object by which it is known.

    ``mark`` is a key of a JSON object, which must have the values of ``says``.
    """

    dir: str
    source: str
    mark: str
    says: dict[str, Any] = field(default_factory=dict)


def call(branches: Sequence[Branch], directory: str, choices: Choices) -> Call:
    """How mergerfs is called.

    Raises:
        UsageError: an option is one that the mount sets itself.
    """
    fixed = ALWAYS | permitted(choices) | {"fsname": f"union-of-{len(branches)}"}
    fixed["nonempty"] = None  # the directory was looked at; what is found in it later is told, and hidden
    template = {"category.create": "rand"} | SHOWS
    options = chosen(template, choices, (*fixed, "allow_other", "ro", "branches"), dash="_") | fixed
    places = ":".join(f"{branch.dir}={'RO' if choices.read_only else 'RW'}" for branch in branches)
    return Call(("-f", "-o", words_of(options), places, directory))


def permitted(choices: Choices) -> dict[str, str | None]:
    """What may be done with what is shown, and by whom."""
    given = {"noexec": not choices.executable, "ro": choices.read_only, "allow_other": choices.allow_other}
    return dict.fromkeys(name for name, is_given in given.items() if is_given)


def words_of(options: Mapping[str, str | None]) -> str:
    """Options as one word of a command line."""
    return ",".join(name if value is None else f"{name}={value}" for name, value in options.items())
