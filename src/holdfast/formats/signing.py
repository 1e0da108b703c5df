"""What a program and a server say to each other when somebody signs it in with a browser. As ``formats.api``.

Routes below ``/api/v1``, for whoever is not signed in::

    POST login/code           CodeRequest      TokenReply     what the browser brought to the program's port, and the verifier
    POST login/device         DeviceRequest    DeviceReply    letters to show
    POST login/device/token   PollRequest      PolledReply    not_allowed where refused or too old; 429 where polled too fast
"""

from __future__ import annotations

from holdfast.formats.api import Reply, Request, TokenReply

__all__ = ["CodeRequest", "DeviceReply", "DeviceRequest", "PollRequest", "PolledReply"]


class CodeRequest(Request, frozen=True):
    """A code, and what its challenge was made of."""

    code: str
    verifier: str
    label: str | None = None


class DeviceRequest(Request, frozen=True):
    """A program that wants to be signed in, and what it calls itself."""

    label: str | None = None


class DeviceReply(Reply, frozen=True):
    """``code`` is the program's secret, ``letters`` are shown, ``page`` is where they are typed; polled every so many seconds."""

    code: str
    letters: str
    page: str
    every: int
    expires: int


class PollRequest(Request, frozen=True):
    """The program's secret."""

    code: str


class PolledReply(Reply, frozen=True):
    """A token, or nothing yet."""

    token: TokenReply | None = None
