"""modelkit's retry policy, for drivers of one's own: the keyword arguments of tenacity's ``retry``, made without tenacity.

The built-in drivers do not use it: their stores retry what may pass, and never "not found".
"""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING, Any, Final

from holdfast.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["log_after_retry", "retry_policy"]

_ATTEMPTS: Final = 5
_SHORTEST, _LONGEST = 4.0, 10.0

logger = logging.getLogger(__name__)


def log_after_retry(retry_state: Any) -> None:
    """Note an attempt that failed."""
    name = getattr(retry_state.fn, "__name__", "a call")
    logger.info("attempt %s of %s failed", retry_state.attempt_number, name)


def retry_policy(type_error: type[BaseException] | tuple[type[BaseException], ...] | None = None) -> dict[str, Any]:
    """Five attempts, four to ten seconds apart, at errors of these types and at broken transfers; never at "not found"."""
    return {
        "wait": _wait,
        "stop": lambda retry_state: retry_state.attempt_number >= _ATTEMPTS,
        "retry": _eligible(type_error or ()),
        "after": log_after_retry,
        "reraise": True,
    }


def _wait(retry_state: Any) -> float:
    longest = min(_LONGEST, max(_SHORTEST, 2.0**retry_state.attempt_number))
    return random.uniform(_SHORTEST, longest)  # noqa: S311 - jitter, no secret


def _eligible(types: type[BaseException] | tuple[type[BaseException], ...]) -> Callable[[Any], bool]:
    def is_eligible(retry_state: Any) -> bool:
        error = retry_state.outcome.exception() if retry_state.outcome.failed else None
        if error is None or isinstance(error, NotFoundError):
            return False
        # By name: the error is of a library that need not be here.
        return isinstance(error, types) or type(error).__name__ == "ChunkedEncodingError"

    return is_eligible
