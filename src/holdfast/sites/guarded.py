"""Progress that stops a transfer once the lease under which it is made is lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from holdfast.model.result import Progress
    from holdfast.sites.lease import Lease

__all__ = ["Guarded"]

#: One in so many steps of a transfer asks whether the lease is still held.
_ASKED: Final = 64


@dataclass
class Guarded:
    """Progress that stops a transfer once the lease is lost."""

    progress: Progress
    lease: Lease | None = None
    _calls: int = 0

    def start(self, what: str, total: int | None, files: int) -> None:
        """See :class:`holdfast.model.result.Progress`."""
        self.progress.start(what, total, files)

    def advance(self, count: int) -> None:
        """As well, while the lease is held: it is called for every file, so not every call asks."""
        self._calls += 1
        if self.lease is not None and not self._calls % _ASKED:
            self.lease.check()
        self.progress.advance(count)

    def warn(self, message: str) -> None:
        """As well."""
        self.progress.warn(message)

    def finish(self) -> None:
        """As well."""
        self.progress.finish()
