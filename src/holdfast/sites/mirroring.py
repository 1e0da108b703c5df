"""This server's log in the site's other stores, for the web servers that have one of those as their first.

Each region reads the store that is nearest to it, so a log must be in every one. Packs go there before the head that names them, as in
the first store; a store that is away gets what it missed when it is back. Only a server's own log is brought anywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.catalog.swap import create_once, swap
from holdfast.errors import HoldfastError, IntegrityError
from holdfast.failpoint import reach
from holdfast.formats import layout
from holdfast.formats.sync import decode_head, encode_head

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.formats.sync import Head
    from holdfast.repository import Repository
    from holdfast.sites.logs import Logs
    from holdfast.store.base import Object

__all__ = ["Mirror"]


class Mirror:
    """One other store. ``target`` opens it when it is first needed."""

    def __init__(self, logs: Logs, node: str, url: str, target: Callable[[], Repository]) -> None:
        self.url = url
        self._logs = logs
        self._node = node
        self._open = target
        self._done: Head | None = None

    def bring(self) -> str | None:
        """Make the log there what it is here; why it could not be done, or None."""
        log = self._logs.known.get(self._node)
        if log is None or log.head == self._done:
            return None
        try:
            self._bring(log.head)
        except HoldfastError as error:
            return error.message
        self._done = log.head
        return None

    def _bring(self, head: Head) -> None:
        repository, site = self._open(), self._logs.site
        prefix = layout.sync_packs(site, self._node)
        there = {info.key.rpartition("/")[2]: info.size for info in repository.store.list(prefix)}
        for pack in head.packs:
            if there.get(pack.name) != pack.size:
                key = layout.sync_pack_key(site, self._node, pack.name)
                create_once(repository.store, repository.clock, key, bytes(memoryview(self._logs.store.get(key).data)))
        reach("sync.mirrored")
        swap(
            repository.store, repository.clock, layout.sync_head_key(site, self._node), lambda found: _next(found, head)
        )
        for name in there.keys() - {pack.name for pack in head.packs}:
            repository.store.delete(layout.sync_pack_key(site, self._node, name))


def _next(found: Object | None, head: Head) -> bytes | None:
    """The head that is to be there; None where it is. One that is damaged there is written over: it is ours, and whole here."""
    if found is not None:
        try:
            if decode_head(found.data, "") == head:
                return None
        except IntegrityError:
            return encode_head(head)
    return encode_head(head)
