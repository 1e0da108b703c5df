"""Versions of one asset in all stores of a site: put into the first that lets us, copied to the others, proven, and removed by the rules.

A store that did not answer is not asked again by the same run, and one that a version could not be copied to because either of the two was
silent gets no other before the new one: each question to one that is silent takes tens of seconds, in which others wait for the lease. What
it missed by that, the next run brings to it. A version that cannot be copied for another reason keeps no other from a store. One that lacks
any is not ok, and its report tells why; but what no rule keeps goes from every store that has the new one, proven.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeVar

from holdfast.errors import AccessError, BusyError, HoldfastError, NotFoundError, UnreachableError, UnsupportedError
from holdfast.failpoint import reach
from holdfast.sites.proof import prove_version
from holdfast.sites.retention import plan_retention
from holdfast.sites.stores import versions_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.model.result import Pushed
    from holdfast.repository import Repository
    from holdfast.sites.guarded import Guarded
    from holdfast.sites.stores import SiteStore, Stores

__all__ = ["StoreReport", "Versions"]

Outcome = TypeVar("Outcome")
#: What another store may do better.
_ELSEWHERE: Final = (AccessError, NotFoundError, UnreachableError, UnsupportedError)

#: So many of the versions that a store lacks are named to people, the newest.
_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class StoreReport:
    """One store: whether it has the version, proven, and each older one; what was sent to it, and what went from it by the rules.

    ``lacks`` are the versions that it has not, or of which it gives not every byte back, as far as was found; ``message`` and ``kind``
    tell why not the new one, or else the first of the others.
    """

    url: str
    ok: bool
    message: str = ""
    kind: str = ""
    uploaded_bytes: int = 0
    uploaded_objects: int = 0
    removed: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()

    @property
    def problem(self) -> str:
        """What is wrong, for people."""
        more = f" and {len(self.lacks) - _NAMED} more" if len(self.lacks) > _NAMED else ""
        return f"lacks {', '.join(self.lacks[-_NAMED:])}{more}: {self.message}" if self.lacks else self.message


class Versions:
    """Those of the asset ``name``; ``guard`` knows the lease, without which nothing is copied. What became of each store is in :meth:`reports`."""

    def __init__(self, stores: Stores, name: str, guard: Guarded) -> None:
        self.name = name
        self._all = stores.all
        self._guard = guard
        self._reports: dict[str, StoreReport] = {}
        self._away: dict[str, HoldfastError] = {}
        self._new: str | None = None
        self._older: dict[str, dict[str, HoldfastError]] = {}
        self._unseen: dict[str, HoldfastError] = {}

    def reports(self) -> tuple[StoreReport, ...]:
        """One for each store of which there is something to tell, in the order of the settings."""
        return tuple(self._report(store.place) for store in self._all if store.place in self._reports)

    def has(self, store: SiteStore) -> bool:
        """Whether the new version is there, as far as was found; whichever of the older ones are."""
        return store.place in self._reports and self._reports[store.place].ok

    def somewhere(self, work: Callable[[SiteStore], Outcome]) -> tuple[SiteStore, Outcome]:
        """Do it in the first store that lets us; those that did not are told of.

        Raises:
            BusyError: it is being done by another.
            HoldfastError: what the first store said, where none lets us.
        """
        first: HoldfastError | None = None
        for store in self._all:
            if store.place in self._away:
                first = first or self._away[store.place]
                continue
            try:
                return store, work(store)
            except BusyError:
                raise
            except _ELSEWHERE as error:
                first = first or error
                self._failed(store, error)
        assert first is not None  # noqa: S101 - a plan has at least one store
        raise first

    def ask_again(self) -> None:
        """Ask those, too, that did not answer before."""
        self._away.clear()

    def spread(self, first: SiteStore, pushed: Pushed) -> None:
        """Prove what was pushed to one store, then copy it to all others, and prove it there."""
        self._new = pushed.version
        self._sent(first, pushed.uploaded_bytes, pushed.uploaded_objects)
        self._prove(first, pushed.version)
        reach("site.proven")
        for store in self._all:
            if store is first or store.place in self._away:
                continue
            error = self._copy(first, store, pushed.version)
            if error is not None:
                self._told(store, error)
            self._prove(store, pushed.version)

    def heal(self) -> None:
        """Bring every version to every store: those that one missed while it did not answer.

        It comes before a new one, so that whichever store that goes to knows all numbers, and what the newest content is.
        """
        there, removed = self._looked() if len(self._all) > 1 else ({}, set())
        silent: dict[str, HoldfastError] = {}
        for version in sorted(set().union(*there.values()) - removed):
            having = [store for store in self._all if version in there.get(store.place, ())]
            for store in self._all:
                if store.place not in there or store in having:
                    continue
                error = silent.get(store.place) or self._bring(having, store, version)
                if error is not None:
                    self._older.setdefault(store.place, {})[version] = error
                if isinstance(error, UnreachableError):
                    silent[store.place] = error

    def _looked(self) -> tuple[dict[str, set[str]], set[str]]:
        """The versions in each store that answers, and what was removed from any of them."""
        there: dict[str, set[str]] = {}
        removed: set[str] = set()
        for store in self._all:
            if store.place in self._away:
                continue
            try:
                versions = set(versions_of(store.repository, self.name))
                removed |= store.repository.catalog.record(self.name).tombstones.keys()
            except HoldfastError as error:
                self._failed(store, error)
                self._unseen[store.place] = error
            else:
                there[store.place] = versions
        return there, removed

    def take_back(self, version: str) -> None:
        """Remove one again from every store that has it."""
        for store in filter(self.has, self._all):
            store.repository.remove(f"{self.name}:{version}")

    def retain(self, rules: dict[str, int]) -> None:
        """Remove what no rule keeps, from every store that has the new version, which is none the worse where that fails."""
        for store in filter(self.has, self._all):
            try:
                doomed = _doomed(store.repository, self.name, rules)
                if doomed:
                    store.repository.catalog.remove(self.name, doomed)
                self._reports[store.place] = replace(self._reports[store.place], removed=tuple(doomed))
            except HoldfastError as error:
                self._guard.warn(f"{store.url}: old backups could not be removed: {error.message}")

    def _prove(self, store: SiteStore, version: str) -> None:
        """Read it back; what is wrong is told of the store."""
        if not self.has(store):
            return
        try:
            prove_version(store.repository, self.name, version)
        except HoldfastError as error:
            self._failed(store, error)

    def _bring(self, having: list[SiteStore], store: SiteStore, version: str) -> HoldfastError | None:
        """Copy a version to a store, from the first of those having it that can give it; None, or why it is not there."""
        first: HoldfastError | None = None
        for source in having:
            error = self._copy(source, store, version)
            if error is None or isinstance(error, UnreachableError):
                return error
            first = first or error
        return first

    def _copy(self, source: SiteStore, store: SiteStore, version: str) -> HoldfastError | None:
        """Copy a version to a store; None, or why it is not there. What fails counts against the store, though it may be the other that went away."""
        from holdfast import replicate  # the most common site has one store, and starts sooner without it

        try:
            copied = replicate.copy(source.repository, store.repository, f"{self.name}:{version}")
        except HoldfastError as error:
            if self._guard.lease is not None:
                self._guard.lease.check()
            return error
        self._sent(store, copied.uploaded_bytes, copied.uploaded_objects)
        return None

    def _report(self, place: str) -> StoreReport:
        """What is known of the new version there, and of the older ones."""
        told = self._reports[place]
        older = {version: why for version, why in self._older.get(place, {}).items() if version != self._new}
        if not told.ok:
            return replace(told, lacks=(*older, *((self._new,) if self._new is not None else ())))
        wrong = self._unseen.get(place) or next(iter(older.values()), None)
        if wrong is None:
            return told
        return replace(told, ok=False, message=wrong.message, kind=wrong.kind, lacks=tuple(older))

    def _sent(self, store: SiteStore, sent: int, objects: int) -> None:
        told = self._reports.get(store.place) or StoreReport(store.url, ok=True)
        sent, objects = told.uploaded_bytes + sent, told.uploaded_objects + objects
        self._reports[store.place] = StoreReport(store.url, ok=True, uploaded_bytes=sent, uploaded_objects=objects)

    def _failed(self, store: SiteStore, error: HoldfastError) -> None:
        if isinstance(error, UnreachableError):
            self._away[store.place] = error
        self._told(store, error)

    def _told(self, store: SiteStore, error: HoldfastError) -> None:
        told = self._reports.get(store.place) or StoreReport(store.url, ok=False)
        self._reports[store.place] = replace(told, ok=False, message=error.message, kind=error.kind)


def _doomed(repository: Repository, name: str, rules: dict[str, int]) -> list[str]:
    """The versions that no rule keeps."""
    record = repository.catalog.record(name)
    return plan_retention(versions_of(repository, name), rules, {*record.aliases.values(), *record.holds})[0]
