"""Uploads in parts on S3 whose parts others send: begun and completed here, by requests that are signed like any URL.

Owns these two requests and what their answers mean. That nothing is there already is the caller's to see to, for not every server
keeps the condition on a completion; it is sent along for those that do.
"""

from __future__ import annotations

import re
from hashlib import md5
from typing import TYPE_CHECKING, Final

from holdfast.errors import (
    AccessError,
    AlreadyExistsError,
    ConflictError,
    HoldfastError,
    IntegrityError,
    UnreachableError,
    UsageError,
)
from holdfast.store.calls import call, text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.store.presign import Presigner
    from holdfast.store.settings import BucketSettings

__all__ = ["Multipart", "tag_of"]

_SECONDS: Final = 300
_TAG: Final = re.compile(r'"?([0-9a-f]{32})"?\Z')
_CREATE_ONLY: Final = {"if-none-match": "*"}


def tag_of(tags: Sequence[str]) -> str:
    """The tag that S3 gives an object of these parts.

    Raises:
        UsageError: one of them is no tag of a part.
    """
    joined = b"".join(bytes.fromhex(_checked(tag)) for tag in tags)
    return f"{md5(joined, usedforsecurity=False).hexdigest()}-{len(tags)}"


class Multipart:
    """Begins and completes uploads in one bucket."""

    def __init__(self, presigner: Presigner, settings: BucketSettings) -> None:
        self.presigner = presigner
        self._settings = settings

    def begin(self, path: str) -> str:
        """The id of a new upload to this path of the bucket."""
        url = self.presigner.url("POST", path, _SECONDS, query={"uploads": ""})
        upload = text_of(self._post(url, b"", {}, path), "UploadId")
        if not upload:
            raise IntegrityError(f"the answer to a new upload of {path} has no id", subject=path)
        return upload

    def complete(self, path: str, upload: str, tags: Sequence[str]) -> None:
        """Make one object of the parts.

        Raises:
            ConflictError: the upload is gone, or a part is not there.
            AlreadyExistsError: an object is there, where the server looks.
        """
        rows = [
            f'<Part><PartNumber>{number}</PartNumber><ETag>"{_checked(tag)}"</ETag></Part>'
            for number, tag in enumerate(tags, 1)
        ]
        body = f"<CompleteMultipartUpload>{''.join(rows)}</CompleteMultipartUpload>".encode()
        url = self.presigner.url("POST", path, _SECONDS, _CREATE_ONLY, {"uploadId": upload})
        answer = self._post(url, body, _CREATE_ONLY, path)
        if text_of(answer, "Code"):  # a failure may come after the 200
            raise _failure(500, answer, path)

    def _post(self, url: str, body: bytes, headers: dict[str, str], path: str) -> bytes:
        seconds = self._settings.upload_timeout
        answer = call("POST", url, self._settings, body=body, headers=headers, seconds=seconds)
        if answer.status != 200:
            raise _failure(answer.status, answer.data, path)
        return answer.data


def _failure(status: int, answer: bytes, path: str) -> HoldfastError:
    code = text_of(answer, "Code") or str(status)
    if code in ("NoSuchUpload", "InvalidPart", "InvalidPartOrder", "EntityTooSmall"):
        hint = "begin the upload again"
        return ConflictError(f"the upload of {path} in parts cannot be completed ({code})", subject=path, hint=hint)
    if status == 412 or code == "PreconditionFailed":
        return AlreadyExistsError(f"{path} exists", subject=path)
    if status in (401, 403):
        return AccessError(f"the store refused an upload of {path} in parts ({code})", subject=path)
    return UnreachableError(f"the store failed at an upload of {path} in parts ({code})", subject=path)


def _checked(tag: str) -> str:
    found = _TAG.match(tag)
    if found is None:
        raise UsageError(f"{tag[:64]!r} is no tag of a part", subject="tags")
    return found[1]
