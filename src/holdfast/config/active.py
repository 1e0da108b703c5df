"""Which project on a server this program works with: for a block of one thread, or for the whole process and what it starts.

``project`` is a context variable and touches nothing else. ``activate`` is the seed's ``project.activate``: it sets the variables by
which subprocesses and plug-ins find server, mounts and project, and puts back what was there, whatever happens. Both take the
settings in before anything could be asked of a server; neither asks one.

Example::

    with holdfast.project("p"):
        holdfast.open().fetch("nlp/bert:1")
"""

from __future__ import annotations

import json
import os
import threading
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from holdfast.config.keys import KEYS
from holdfast.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType
    from typing import Self

    from holdfast.config.settings import Settings

__all__ = ["Activation", "activate", "chosen", "deactivate", "environment_of", "project"]

_VARIABLES: Final = ("ASSET_SERVER_URL", "ASSET_BUCKET_MT_CONFIG", "ASSET_PROJECT", "HOLDFAST_STORE")

_project: ContextVar[tuple[str, str | None] | None] = ContextVar("holdfast_project", default=None)
_lock = threading.RLock()
_active: Activation | None = None


def chosen() -> tuple[str, str | None] | None:
    """The project that was chosen in Python, and its server where that was chosen, too."""
    found = _project.get()
    if found is None and _active is not None:
        return _active.name, _active.server
    return found


@contextmanager
def project(name: str, *, server: str | None = None) -> Iterator[str]:
    """Within the block, and in this thread alone, what is opened without a store is this project on the server of the settings.

    Args:
        name: the project.
        server: its server, else that of the settings.

    Raises:
        UsageError: it is no project's name, or no address.
    """
    checked = str(KEYS["project"].check(name))
    address = None if server is None else str(KEYS["server"].check(server))
    token = _project.set((checked, address))
    try:
        yield checked
    finally:
        _project.reset(token)


class Activation:
    """A project that is active in the process: a context manager, which ends it; see :func:`activate`."""

    def __init__(self, name: str, server: str, variables: Mapping[str, str | None]) -> None:
        self.name = name
        self.server = server
        self._variables = variables
        self._before: dict[str, str | None] = {}
        self.depth = 0

    def enter(self) -> None:
        """Set the variables, keeping what they were."""
        for name, value in self._variables.items():
            self._before[name] = os.environ.get(name)
            _set(name, value)

    def leave(self) -> None:
        """Put back what was there, but for what somebody has changed since."""
        for name, value in self._before.items():
            if os.environ.get(name) == self._variables[name]:
                _set(name, value)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _end(self)


def activate(name: str, *, server: str | None = None, profile: str | None = None) -> Activation:
    """Make a project the one that this process and its subprocesses work with, until ``deactivate`` or the block's end.

    Args:
        name: the project.
        server: its server, else that of the settings.
        profile: the profile of the settings.

    Raises:
        UsageError: no server is set, or a name that is none; nothing has changed then.
        ConflictError: another project is active already.
    """
    from holdfast.config.settings import load

    global _active  # noqa: PLW0603 - the environment is the process's, and so is this
    with _lock:
        settings = load({"project": name, "server": server}, profile=profile)
        assert settings.project is not None  # noqa: S101 - it was given
        assert settings.server is not None  # noqa: S101 - or the settings would have been refused
        if _active is not None and (_active.name, _active.server) != (settings.project, settings.server):
            raise ConflictError(
                f"the project {_active.name} on {_active.server} is active in this process",
                subject=settings.project,
                hint="end it first: holdfast.deactivate()",
            )
        if _active is None:
            variables = dict.fromkeys(_VARIABLES) | environment_of(settings)
            made = Activation(settings.project, settings.server, variables)
            made.enter()
            _active = made
        _active.depth += 1
        return _active


def deactivate() -> bool:
    """End what ``activate`` began, however often; whether anything was active."""
    with _lock:
        found = _active
        if found is None:
            return False
        found.depth = 1
        _end(found)
        return True


def _end(activation: Activation) -> None:
    global _active  # noqa: PLW0603 - as above
    with _lock:
        if _active is not activation:
            return  # ended already
        activation.depth -= 1
        if activation.depth == 0:
            _active = None
            activation.leave()


def environment_of(settings: Settings) -> dict[str, str]:
    """The variables by which another program finds what these settings name."""
    mounts = json.dumps(dict(settings.mounts)) if settings.mounts else None
    values = dict(zip(_VARIABLES, (settings.server, mounts, settings.project, settings.store), strict=True))
    return {name: value for name, value in values.items() if value is not None}


def _set(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
