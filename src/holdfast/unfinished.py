"""What a push that does not come to its end says before it goes: that it has ended, so that nobody waits for it.

Its claim and what it sent stay. The same push, run again, opens its record anew and goes on; until then ``repair`` frees the
number within a minute instead of once the push has expired (decision 0030). Killed, a push says nothing, and is waited for.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from holdfast.errors import HoldfastError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from holdfast.catalog.base import Catalog, OpenPush
    from holdfast.transfer.engine import Engine

__all__ = ["closed_if_unfinished"]

#: Seconds in which what is on its way at Ctrl-C must have ended.
_PATIENCE: Final = 5.0


@contextmanager
def closed_if_unfinished(catalog: Catalog, engine: Engine, pushes: Sequence[OpenPush]) -> Iterator[None]:
    """Close the records of these pushes where the block fails or is interrupted.

    Not while anything of theirs is still being sent, for then it could arrive when the number is another's; nor where the store
    did not answer, for then nobody knows what will arrive. Such a push is waited for like one that was killed.
    """
    try:
        yield
    except UnreachableError:
        raise
    except BaseException:
        if pushes and engine.stop(_PATIENCE):
            with suppress(HoldfastError, OSError):
                for push in pushes:
                    catalog.close_push(push)
        raise
