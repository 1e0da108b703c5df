"""Errors as answers: the status that ``errors.KINDS`` gives a kind, and an ErrorReply; never a traceback, never a secret.

An error that nobody raised on purpose is logged under a number, and the answer holds that number and nothing else.
"""

from __future__ import annotations

import logging
import secrets
import sqlite3
from typing import TYPE_CHECKING, Any, Final

from litestar.exceptions import HTTPException
from litestar.response import Response
from sqlalchemy.exc import DataError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from holdfast.errors import KINDS, AccessError, BucketNotFoundError, HoldfastError, LocalError, UnreachableError
from holdfast.formats.api import ErrorBody, ErrorReply, encode
from holdfast.formats.messages import NotOfItsTypeError
from holdfast.server.access import NotSignedInError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from litestar import Request

__all__ = ["HANDLERS", "failure"]

_log: Final = logging.getLogger("holdfast.server")
_KIND_OF_STATUS: Final = {401: "not_allowed", 403: "not_allowed", 404: "not_found", 409: "conflict", 503: "unreachable"}
#: Of these, a refusal of the server's own has no cause.
_STORES: Final = (AccessError, BucketNotFoundError, UnreachableError)
_WORDS: Final = {404: "no such route", 405: "no such method here", 413: "the request is too large"}
#: What the framework says where a client goes before its request is whole.
_WENT: Final = "client disconnected prematurely"
#: Where a commit is too large: in every layout but packs the meta lists all files.
_LONG_META: Final = "the version has too many files to be listed in its meta: push it with --layout packs"


def failure(status: int, body: ErrorBody, headers: Mapping[str, str] | None = None) -> Response[bytes]:
    """The answer of a failure."""
    return Response(
        encode(ErrorReply(body)), status_code=status, media_type="application/json", headers=dict(headers or {})
    )


def _ours(_request: Request[Any, Any, Any], error: HoldfastError) -> Response[bytes]:
    where = "on the server: " if _is_of_its_machine(error) else ""
    body = ErrorBody(error.kind, f"{where}{error.message}", error.hint, error.subject, type(error).__name__)
    status, headers = KINDS[error.kind][1], {}
    if isinstance(error, NotSignedInError):
        status, headers = 401, {"WWW-Authenticate": "Bearer"}
    retry = getattr(error, "retry_after", None)
    if retry is not None:
        status, headers = 429, {"Retry-After": str(int(retry) + 1)}
    return failure(status, body, headers)


def _is_of_its_machine(error: HoldfastError) -> bool:
    """Whether it is of the server's disk, clock, network or keys: whoever reads it has all of these, too. What a store says has a cause."""
    return isinstance(error, LocalError) or (isinstance(error, _STORES) and error.__cause__ is not None)


def _http(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """What the framework refuses by itself: no such route, an argument that is missing or of another type."""
    status = error.status_code
    if status >= 500:
        if error.detail == _WENT:  # nobody is there to read this; it is counted
            return failure(499, ErrorBody("interrupted", "the client went before its request was whole"))
        wrong = error.__cause__
        if not isinstance(wrong, NotOfItsTypeError):
            return _unknown(request, error)
        # A field with the name of something that handlers are given: the framework takes it for the server's own fault.
        return failure(400, ErrorBody("usage", f"the request is not as it must be: {wrong}"))
    kind = _KIND_OF_STATUS.get(status, "usage")
    message = _WORDS.get(status) or _told(error)
    hint = _LONG_META if status == 413 and request.scope["path"].endswith("/publish") else None
    headers = {"Allow": error.headers["Allow"]} if status == 405 and error.headers and "Allow" in error.headers else {}
    return failure(status, ErrorBody(kind, message, hint), headers)


def _told(error: HTTPException) -> str:
    extra = error.extra if isinstance(error.extra, list) else []
    details = [f"{each.get('key', 'body')}: {each.get('message')}" for each in extra if isinstance(each, dict)]
    return f"the request is not as it must be: {'; '.join(details) or error.detail}"


def _database(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The database is gone or busy: nothing is lost, and trying again is right."""
    if isinstance(error, DataError):
        _log.warning("the database cannot hold what is asked in %s %s", request.method, request.scope["path"])
        return failure(400, ErrorBody("usage", "the request holds what the server's database cannot"))
    if isinstance(error, DBAPIError) and type(error).__name__ not in ("OperationalError", "InterfaceError"):
        return _unknown(request, error)
    wrong = getattr(error, "orig", None) or error  # what the driver says, without the statement and its values
    _log.error("the database does not answer: %s", str(wrong).partition("\n")[0])
    return failure(503, ErrorBody("unreachable", "the server's database does not answer", "try again later"))


def _unknown(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    if isinstance(error, RecursionError):
        return failure(400, ErrorBody("usage", "the request is nested too deeply"))
    number = secrets.token_hex(8)
    _log.error("error %s in %s %s", number, request.method, request.scope["path"], exc_info=error)
    return failure(500, ErrorBody("failed", f"the server failed; its log has more under {number}"))


#: What the application answers to each class of error, the nearest class first.
HANDLERS: Final[dict[Any, Any]] = {
    HoldfastError: _ours,
    HTTPException: _http,
    DBAPIError: _database,
    sqlite3.OperationalError: _database,
    PoolTimeoutError: _database,
    Exception: _unknown,
}
