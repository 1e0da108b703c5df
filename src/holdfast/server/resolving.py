"""Which version a spec names, from the database's copy: the one question that is asked all the time.

A copy that was checked longer ago than ``freshness`` is compared with the bucket first, by one request of many that wait for it. What
is decided is :class:`holdfast.resolve.Resolver`'s word over a catalog that reads the copy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from holdfast.catalog.bucket import BucketCatalog
from holdfast.errors import IntegrityError
from holdfast.model.name import check_readable
from holdfast.model.spec import AssetSpec
from holdfast.server import reading

if TYPE_CHECKING:
    from holdfast.catalog.base import Clock, Listed, Published
    from holdfast.formats.records import AssetRecord
    from holdfast.server.access import OpenProject
    from holdfast.server.copies import Copies, Row, State

__all__ = ["Answer", "Resolving"]

#: Answers with larger metas are made anew each time.
_SMALL: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """Name, full version and meta."""

    name: str
    version: str
    published: Published


class Resolving:
    """Resolves specs of all projects over their copies."""

    def __init__(self, copies: Copies, clock: Clock, freshness: float) -> None:
        self._copies = copies
        self._clock = clock
        self._freshness = freshness

    def ready(self, project: OpenProject, text: str) -> Answer | None:
        """The answer, if it is here and fresh: one short read of the database. None: ask :meth:`resolve`."""
        name = AssetSpec.parse(text).name
        row = self._copies.row(project.id, name)
        state = None if row is None else self._copies.known(project.id, name, row)
        if row is None or state is None or not self._is_fresh(row, state, self._now()):
            return None
        answer: Answer | None = state.answers.get(text)
        return answer

    def resolve(self, project: OpenProject, text: str) -> Answer:
        """The answer; the bucket is asked for what the copy does not have, or not freshly.

        Raises:
            UsageError: it is no spec.
            NotFoundError: there is no such asset or version, or it was removed.
        """
        spec = AssetSpec.parse(text)
        with self._copies.turn(project.id, spec.name):
            state = self._state(project, spec.name)
        if state.problem is not None and state.listed.token is None and not state.listed.unknown:
            raise IntegrityError(state.problem, subject=spec.name)
        catalog = _CopiedCatalog(project, self._clock, self._copies, spec.name, state)
        answer = Answer(*reading.resolve(project.store, catalog, text))
        if len(answer.published.data) <= _SMALL and state.row is not None:
            state.remember(text, answer)
        return answer

    def state(self, project: OpenProject, name: str) -> State:
        """An asset's list and record, as fresh as an answer is.

        Raises:
            UsageError: a name that cannot be one.
        """
        with self._copies.turn(project.id, check_readable(name)):
            return self._state(project, name)

    def _state(self, project: OpenProject, name: str) -> State:
        now = self._now()
        state = self._copies.load(project.id, name)
        if state is not None and state.row is not None and self._is_fresh(state.row, state, now):
            return state
        return self._copies.refresh(project.id, project.catalog, name, now)

    def _is_fresh(self, row: Row, state: State, now: float) -> bool:
        """A moment that is still to come was told by a clock that has been set back since: nobody knows how long ago it was."""
        return self._freshness > 0 and any(abs(now - at) <= self._freshness for at in (row.checked, state.checked))

    def _now(self) -> float:
        return self._clock.now().timestamp()


class _CopiedCatalog(BucketCatalog):
    """A project's catalog whose list, record and metas of one asset come from the copy. For reading alone."""

    def __init__(self, project: OpenProject, clock: Clock, copies: Copies, name: str, state: State) -> None:
        super().__init__(project.store, clock, project.principal.name)
        self._copies = copies
        self._name = name
        self._state = state

    def listed(self, name: str) -> Listed:
        """From the state."""
        return self._state.listed if name == self._name else super().listed(name)

    def record(self, name: str) -> AssetRecord:
        """From the state."""
        return self._state.record if name == self._name else super().record(name)

    def published(self, name: str, version: str) -> Published:
        """From the copy; from the bucket where it is not there, and then copied."""
        row = self._state.row
        if row is None or name != self._name:
            return super().published(name, version)
        found = self._copies.published(row.id, name, version)
        if found is None:
            found = super().published(name, version)
            self._copies.keep(row, [(version, None, found)])
        return found
