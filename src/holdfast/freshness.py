"""Whether a push may still trust what it read before it published (design §3 'Collect', the half-grace rule).

A push reads the condemned lists, and then writes its meta. A list that is written in between names what this push relies on
only after a grace, and the mark after that grace sees the meta, *if it is there by then*. A push whose machine slept, or whose
request hung, cannot know. So it measures, by a clock that counts sleep, from before the reading to after the answer::

    freshness = Freshness(grace=record.grace, limit=push.limit, clock=clock.since_boot)
    freshness.start()                                  # right before the re-read
    if needed & read_condemned(store): …               # write them again under a new salt, and re-read
    …                                                  # root, claim re-read
    if freshness.is_late: …                            # right before the meta: read again
    catalog.publish(push, version, meta)
    if freshness.is_late and not stands(store, catalog, push, version, packs=root.packs, pages=root.objects):
        …                                              # it was withdrawn: begin again, under another number
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.catalog.condemned import read_condemned
from holdfast.clock import since_boot
from holdfast.errors import IntegrityError, ObjectNotFoundError
from holdfast.formats import layout
from holdfast.formats.root import decode_root
from holdfast.model.digest import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from typing import Any

    from holdfast.catalog.base import Catalog, OpenPush
    from holdfast.formats.convention import Meta
    from holdfast.store.base import Store

__all__ = ["Freshness", "is_doubtful", "needs_of", "stands"]


class Freshness:
    """How long ago the condemned lists were read, by a clock that goes on while the machine sleeps.

    Args:
        grace: the store's, in seconds, as read when the push began.
        limit: the limit of this push, in seconds; the shorter of it and half the grace counts, for a push that is this old
            is not waited for by collectors whose store's limits were lowered meanwhile.
        clock: seconds from some moment on; :func:`holdfast.clock.since_boot` unless told.
    """

    def __init__(self, *, grace: float, limit: float, clock: Callable[[], float] = since_boot) -> None:
        self.window = min(grace / 2, limit)
        self._clock = clock
        self._started: float | None = None

    def start(self) -> None:
        """Call right before the condemned lists are read, each time that they are."""
        self._started = self._clock()

    @property
    def is_late(self) -> bool:
        """Whether more time has passed since :meth:`start` than a collector waits for; late too where nothing was started."""
        return self._started is None or self._clock() - self._started > self.window


def needs_of(store: Store, name: str, version: str, meta: Meta) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The packs and pages objects that a version needs, as its root tells; none in the other layouts.

    Raises:
        IntegrityError: the root is missing, cannot be read, or is not the one that the meta names.
    """
    if meta.layout != "packs":
        return (), ()
    key = layout.data_key(name, version)
    try:
        data = store.get(key).data
    except ObjectNotFoundError:
        hint = f"nothing is collected while a version is damaged; to give it up: asset remove {name}:{version}"
        raise IntegrityError(f"{name}:{version} has no root, {key}", subject=key, hint=hint) from None
    if digest_of(data) != meta.root:
        raise IntegrityError(f"{key} is not the root that its meta names", subject=key)
    root = decode_root(data, key)
    return root.packs, root.objects


def is_doubtful(
    store: Store, packs: Collection[str], pages: Collection[str], run: Callable[..., Iterable[Any]] = map
) -> bool:
    """Whether a version that is whole by its meta may lack something: any of its objects is condemned.

    To be asked before somebody relies on a version that nobody has acknowledged: an unlisted one of another, killed push.

    Raises:
        IntegrityError: a condemned list cannot be read.
    """
    return not read_condemned(store, run).isdisjoint((*packs, *pages))


def stands(
    store: Store,
    catalog: Catalog,
    push: OpenPush,
    version: str,
    *,
    packs: Collection[str] = (),
    pages: Collection[str] = (),
    run: Callable[..., Iterable[Any]] = map,
) -> bool:
    """Whether a version whose meta came late may stay; if not, it is withdrawn, and the push must begin again.

    Call it with every name that the version's root tells, reused or written by this push, and with none for the other layouts.
    It may not stay if the claim is another's by now (``repair`` deletes the data of expired pushes), or if any of its packs
    and pages objects is condemned. Looking whether they are still there would not do, for their deletion may be under way; what
    stands in no list now can come to stand in one only whose second mark sees the meta, which is there already.

    Raises:
        IntegrityError: a condemned list cannot be read.
    """
    claim = catalog.claim_of(push.name, version)
    lost = claim is None or claim.push != push.id
    if not lost and not is_doubtful(store, packs, pages, run):
        return True
    catalog.withdraw(push, version)
    return False
