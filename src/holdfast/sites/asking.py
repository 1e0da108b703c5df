"""Questions to a store that may be silent: asked in a thread, and waited for no longer than a moment.

Example::

    record = within(10.0, lambda: deployment_of(repository, site), "the site's store")
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from holdfast.errors import HoldfastError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PATIENCE", "Question", "within"]

#: Seconds within which a store answers a small question, or is taken to be away.
PATIENCE: Final = 10.0
Answer = TypeVar("Answer")


class Question(Generic[Answer]):
    """A question under way; ``whom`` is what the error names. A thread that waits for a silent store ends with its own timeouts."""

    def __init__(self, ask: Callable[[], Answer], whom: str) -> None:
        self._ask, self._whom = ask, whom
        self._answers: list[Answer] = []
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="question", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._answers.append(self._ask())
        except Exception as error:  # noqa: BLE001 - it is raised again where the answer is wanted
            self._error = error

    def answer(self, seconds: float) -> Answer:
        """The answer, within so many seconds.

        Raises:
            UnreachableError: there is none by then.
            HoldfastError: what the store said.
        """
        self._thread.join(seconds)
        if self._error is not None:
            raise self._error
        if not self._answers:
            raise UnreachableError(f"{self._whom} does not answer within {seconds:g} s", subject=self._whom)
        return self._answers[0]

    def problem(self, seconds: float) -> HoldfastError | None:
        """Why there is no answer; None where there is one."""
        try:
            self.answer(seconds)
        except HoldfastError as error:
            return error
        return None


def within(seconds: float, ask: Callable[[], Answer], whom: str) -> Answer:
    """The answer to one question. Raises as :meth:`Question.answer`."""
    return Question(ask, whom).answer(seconds)
