"""What a store's refusal means: one table from answers to our errors (issue: 403 and 404 are different errors).

obstore hands on a status, and the server's error code inside a text; this module reads both and decides. It is pure: a text
and what was being done go in, an error comes out, with a hint that names the setting to look at.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from holdfast.errors import (
    AccessError,
    AlreadyExistsError,
    BucketNotFoundError,
    ChangedError,
    HoldfastError,
    ObjectNotFoundError,
    UnreachableError,
    UnsupportedError,
    UsageError,
)

__all__ = ["BROKE_OFF", "Answer", "Deed", "Place", "explain", "read_answer"]

_NO_BUCKET: Final = {
    "NoSuchBucket",
    "ContainerNotFound",
    "AccountNotFound",
    "ContainerBeingDeleted",
    "InvalidBucketName",
}
_BAD_CREDENTIALS: Final = {
    "AuthenticationFailed",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidAuthenticationInfo",
    "InvalidSecurity",
    "InvalidToken",
    "NoAuthenticationInformation",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
}
_BAD_CLOCK: Final = {"RequestTimeTooSkewed"}
_BAD_REGION: Final = {"AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect"}
_SLOW: Final = {429, 500, 502, 503, 504}
#: What the message says where the body of an answer ended early, which a caller may want to ask for again.
BROKE_OFF: Final = "the answer broke off"
#: What the client's own account of a failure without an answer holds, and what to tell of it; the first that fits.
_CAUSES: Final = (
    ("ConnectionRefused", "connection refused"),
    ("dns error", "its host name cannot be looked up"),
    ("InvalidContentType", "it does not speak TLS"),
    ("InvalidCertificate", "its certificate is not trusted"),
    ("body error", BROKE_OFF),
    ("Timeout", "timed out"),
    ("error sending request", "no connection"),
)
_STATUS: Final = re.compile(r"status code: (\d{3})|\(code: (\d{3})\)")
#: A server that answered a range past the end with something else than 416 (Azurite); the client noticed.
_PAST_END: Final = re.compile(r"Wanted range starting at \d+, but object was only")
_CODE: Final = re.compile(r"<Code>(\w+)</Code>")
_MESSAGE: Final = re.compile(r"<Message>([^<\n]{1,300})")


@dataclass(frozen=True, slots=True)
class Place:
    """What an error names: the store, its bucket and endpoint, and the settings that say where and who."""

    url: str
    bucket: str
    endpoint: str
    endpoint_setting: str
    credentials_setting: str


@dataclass(frozen=True, slots=True)
class Deed:
    """What was being done: a verb (get, head, list, put, create, replace, delete, copy, sign) and to which key."""

    verb: str
    key: str

    @property
    def words(self) -> str:
        """As it reads in a message."""
        return f"{self.verb} {self.key}" if self.key else self.verb


@dataclass(frozen=True, slots=True)
class Answer:
    """What could be read from a failure: status and code are None where no answer came, then there may be a cause."""

    status: int | None
    code: str | None
    text: str
    cause: str | None = None


def read_answer(error: BaseException) -> Answer:
    """The status, the server's code and a short text; without a status, the cause."""
    text, _, account = str(error).partition("\n\nDebug source")
    status, code, message = _STATUS.search(text), _CODE.search(text), _MESSAGE.search(text)
    short = " ".join(text.split("<?xml")[0].split()).rstrip(": ")
    if message:
        short = message[1].strip()
    number = 416 if _PAST_END.search(text) else int(status[1] or status[2]) if status else None
    cause = (
        next((words for mark, words in _CAUSES if mark in text or mark in account), None) if number is None else None
    )
    return Answer(number, code[1] if code else None, short, cause)


def explain(answer: Answer, deed: Deed, place: Place) -> HoldfastError:
    """The error to raise for this answer."""
    if "performing token request" in answer.text:
        # The failure, and its status, are of the service that hands out tokens, not of the store.
        return _no_credentials(answer, place)
    if answer.status is None:
        return _no_status(answer, deed, place)
    if answer.code in _BAD_CREDENTIALS or answer.status == 401:
        return _bad_credentials(answer, deed, place)
    if answer.code in _BAD_REGION or answer.status == 301:
        message = f"{place.bucket} is not in the region asked ({answer.code or 'redirected'})"
        return AccessError(message, subject=place.url, hint=f"look at AWS_REGION and {place.endpoint_setting}")
    if answer.code in _BAD_CLOCK:
        message = f"{place.endpoint} refuses what is signed at this machine's time ({answer.code})"
        return AccessError(
            message, subject=place.url, hint="set the clock: timedatectl set-ntp true, or chronyc makestep"
        )
    if answer.status == 404:
        return _missing(answer, deed, place)
    if answer.status == 403:
        return _refused(deed, place)
    if answer.status in (409, 412):
        return _lost(answer, deed, place)
    return _other(answer, deed, place)


def _no_status(answer: Answer, deed: Deed, place: Place) -> HoldfastError:
    if "non-partial response" in answer.text:
        message = f"{place.endpoint} answers a request for a range with the whole object"
        return UnsupportedError(
            message, subject=deed.key, hint="use another way to this store, or a server in front of it"
        )
    if "invalid path" in answer.text:
        # One such key, put there by another program, makes the client refuse the whole listing.
        message = f"{place.url} holds an object whose key no store here can name: {answer.text}"
        return UnsupportedError(message, subject=deed.key, hint="rename or remove it with another tool")
    if answer.cause:
        return UnreachableError(
            f"{place.endpoint} did not answer to {deed.words}: {answer.cause}",
            subject=place.url,
            hint=f"look at {place.endpoint_setting}, or the endpoint in the settings, and the network",
        )
    return HoldfastError(f"cannot {deed.words} in {place.url}: {answer.text}", subject=deed.key)


def _no_credentials(answer: Answer, place: Place) -> HoldfastError:
    why = answer.cause or f"status {answer.status}"
    message = f"no credentials for {place.url} are set, and the service that hands them out gave none ({why})"
    return AccessError(message, subject=place.url, hint=f"look at {place.credentials_setting}")


def _bad_credentials(answer: Answer, deed: Deed, place: Place) -> HoldfastError:
    message = f"{place.endpoint} does not accept the credentials for {place.bucket} ({answer.code or answer.status})"
    return AccessError(message, subject=deed.key or place.url, hint=f"look at {place.credentials_setting}")


def _missing(answer: Answer, deed: Deed, place: Place) -> HoldfastError:
    if answer.code in _NO_BUCKET or deed.verb == "list":
        message = f"no bucket {place.bucket} at {place.endpoint}"
        hint = f"look at the store's URL and {place.endpoint_setting}"
        return BucketNotFoundError(message, subject=place.url, hint=hint)
    if deed.verb == "replace":
        return ChangedError(f"{deed.key} is gone", subject=deed.key)
    return ObjectNotFoundError(f"no object {deed.key} in {place.url}", subject=deed.key)


def _refused(deed: Deed, place: Place) -> HoldfastError:
    message = f"{place.url} refused to {deed.words}"
    hint = f"look at {place.credentials_setting} and the rights that they have"
    if deed.verb in ("get", "head"):
        hint += "; or the object is missing: without list permission the store does not tell"
    return AccessError(message, subject=deed.key or place.url, hint=hint)


def _lost(answer: Answer, deed: Deed, place: Place) -> HoldfastError:
    if deed.verb == "create":
        return AlreadyExistsError(f"{deed.key} exists in {place.url}", subject=deed.key)
    if answer.status == 412 or deed.verb == "replace":
        return ChangedError(f"{deed.key} is another version by now", subject=deed.key)
    return _busy(answer, deed, place)


def _other(answer: Answer, deed: Deed, place: Place) -> HoldfastError:
    if answer.status in _SLOW:
        return _busy(answer, deed, place)
    if answer.status in (405, 501):
        message = f"{place.endpoint} cannot {deed.words} ({answer.code or answer.status})"
        return UnsupportedError(message, subject=deed.key, hint="put a server in front of this store, or use another")
    if answer.code in ("KeyTooLongError", "InvalidURI", "InvalidUri", "InvalidResourceName", "OutOfRangeInput"):
        return UsageError(f"{place.url} takes no key {deed.key!r} ({answer.code})", subject=deed.key)
    message = f"cannot {deed.words} in {place.url}: {answer.status} {answer.code or ''}: {answer.text}"
    return HoldfastError(message, subject=deed.key)


def _busy(answer: Answer, deed: Deed, place: Place) -> HoldfastError:
    message = f"{place.endpoint} was too busy to {deed.words} ({answer.code or answer.status}), also after retries"
    return UnreachableError(message, subject=deed.key or place.url, hint="try again later, with fewer jobs")
