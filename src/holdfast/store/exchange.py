"""One request to a bucket and its answer: paths, retries that obstore does not do, and failures made ours.

Below :mod:`~holdfast.store.bucket`, which decides what to ask; above ``clients``, which holds the connections. Owns two things
worth knowing: a large body is sent by the patient client, after the quick one has found out that anybody is there; and a 404
to a HEAD has no body, so only a GET tells a missing object from a missing bucket.

Versions are the ETag on S3 and Azure, and the generation on GCS, whose listings do not tell it: there ``etag:...`` stands for it.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from holdfast.errors import HoldfastError, IntegrityError, ObjectNotFoundError, UnreachableError, UsageError
from holdfast.store.base import Object, ObjectInfo
from holdfast.store.clients import FAILURES, Clients, open_clients
from holdfast.store.failures import BROKE_OFF, Deed, Place, explain, read_answer
from holdfast.store.keys import checked_key, checked_prefix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from _typeshed import ReadableBuffer
    from obstore import ObjectMeta, PutResult

    from holdfast.store.settings import BucketSettings

__all__ = ["ETAG", "Exchange", "PastEndError", "quoted"]

#: Begins the version of an object on GCS that was only seen in a listing.
ETAG: Final = "etag:"
#: Above this, a body goes by the patient client: a slow line may need longer for it than a live server needs to answer.
_BIG: Final = 1024 * 1024
#: How often a read is begun anew whose body broke off, after the client's own resumptions.
_READS: Final = 3
#: How often a conditional put is sent again that met another one at the same moment (409, not 412).
_MEETINGS: Final = 5
_SETTINGS: Final = {
    "s3": ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"),
    "gs": ("GOOGLE_BASE_URL", "GOOGLE_APPLICATION_CREDENTIALS"),
    "az": ("AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_CONNECTION_STRING or AZURE_STORAGE_ACCOUNT_KEY"),
}


class PastEndError(HoldfastError):
    """The range begins at or after the end of the object (416); never leaves the store."""


class Exchange:
    """The bucket's connection: opened at the first request, shared by threads."""

    def __init__(self, settings: BucketSettings, clock: Callable[[], float]) -> None:
        self.settings = settings
        self.generations = settings.scheme == "gs"
        self._is_azure = settings.scheme == "az"
        self._clock = clock
        self._prefix = checked_prefix(settings.prefix)
        self._lock = threading.Lock()
        self._opened: Clients | None = None
        # True once any answer proved that the endpoint lives and the bucket is there.
        self._known = False

    def clients(self) -> Clients:
        """The opened clients."""
        with self._lock:
            if self._opened is None:
                self._opened = open_clients(self.settings)
            return self._opened

    def path(self, key: str) -> str:
        """The key as the bucket spells it.

        Raises:
            UsageError: the key is none that this kind of store keeps as it is.
        """
        if self._is_azure and "\\" in key:
            # Azure takes it for a slash, silently: another key would be written.
            raise UsageError(f"key {key!r} has a backslash, which Azure does not keep", subject=key)
        return self._prefix + checked_key(key)

    def below(self, prefix: str) -> str | None:
        """The prefix to list, as the bucket spells it; None for all of it."""
        return self._prefix + checked_prefix(prefix) or None

    def after(self, key: str) -> str | None:
        """Where to begin a listing, as the bucket spells it: any text, for other programs wrote keys that are none of ours."""
        return self._prefix + key if key else None

    def key(self, path: str) -> str:
        """The key of a path in this store."""
        return path.removeprefix(self._prefix)

    @contextmanager
    def mapped(self, verb: str, key: str) -> Iterator[None]:
        """The one place where the client's failures become ours."""
        try:
            yield
        except HoldfastError:
            raise
        except FAILURES as error:
            answer = read_answer(error)
            if answer.status == 416:
                raise PastEndError(key) from error
            failure = self.clients().failure() or explain(answer, Deed(verb, key), self._place())
            if isinstance(failure, ObjectNotFoundError) and verb != "head":
                self._known = True
            raise failure from error
        self._known = True

    def head(self, key: str) -> ObjectInfo:
        """A HEAD; of a missing object, the first of a store is followed by a GET that names what is missing."""
        try:
            with self.mapped("head", key):
                meta = self.clients().quick.head(self.path(key))
        except ObjectNotFoundError:
            if not self._known:
                self.read(key, {"range": (0, 1)})
            raise
        return self.info(meta)

    def read(self, key: str, options: Mapping[str, Any]) -> Object:
        """A GET; one whose body broke off is asked for again, whole, which is never more than the range asked for."""
        path = self.path(key)
        for tries_left in reversed(range(_READS)):
            try:
                with self.mapped("get", key):
                    result = self.clients().quick.get(path, options=options)  # type: ignore[arg-type]
                    if "range" not in options:
                        self._check_whole(key, result.meta["size"])
                    data = result.bytes()
            except UnreachableError as error:
                if BROKE_OFF not in error.message or not tries_left:
                    raise
                continue
            start, end = result.range
            if len(data) == end - start:
                return Object(data, self.info(result.meta))
        raise IntegrityError(f"{self.settings.url} sent fewer bytes of {key} than it announced", subject=key)

    def _check_whole(self, key: str, size: int) -> None:
        most = self.settings.whole
        if most is not None and size > most:
            raise IntegrityError(f"{key} has {size} bytes, more than the {most} that are read at once", subject=key)

    def put(self, key: str, data: ReadableBuffer, size: int, verb: str, mode: Any) -> ObjectInfo:
        """A PUT in the client's mode; ``modified`` is our clock's, for the answer does not tell the store's."""
        path, clients = self.path(key), self.clients()
        if size > _BIG:
            self.knock(key)
        client = clients.patient if size > _BIG else clients.quick
        result = self._meeting(lambda: client.put(path, data, mode=mode, use_multipart=False), verb, key)
        etag = _unquoted(result["e_tag"])
        version = result["version"] if self.generations else etag
        return ObjectInfo(key, size, version, self._clock(), etag) if version else self.head(key)

    def knock(self, key: str) -> None:
        """Before the first large body: let the quick client find out whether anybody is there at all."""
        if self._known:
            return
        try:
            self.head(key)
        except ObjectNotFoundError:
            return
        except HoldfastError as error:
            # A writer may have no right to read; what else is wrong, the upload would only say later.
            if error.kind != "not_allowed":
                raise

    def info(self, meta: ObjectMeta, *, listed: bool = False) -> ObjectInfo:
        """What the client tells of an object, as ours."""
        etag = _unquoted(meta["e_tag"])
        version = etag or ""
        if self.generations:
            version = f"{ETAG}{etag}" if listed or not meta["version"] else meta["version"]
        return ObjectInfo(self.key(meta["path"]), meta["size"], version, meta["last_modified"].timestamp(), etag)

    def _meeting(self, send: Callable[[], PutResult], verb: str, key: str) -> PutResult:
        """Send a put; where it met another conditional write in the middle (409, AWS), send it again after a moment."""
        for _ in range(_MEETINGS):
            try:
                with self.mapped(verb, key):
                    return send()
            except HoldfastError as error:
                if "ConditionalRequestConflict" not in str(error.__cause__):
                    raise
            time.sleep(0.05 + os.urandom(1)[0] / 1000)
        with self.mapped(verb, key):
            return send()

    def _place(self) -> Place:
        endpoint_setting, credentials_setting = _SETTINGS[self.settings.scheme]
        endpoint = self.clients().endpoint
        return Place(self.settings.url, self.settings.bucket, endpoint, endpoint_setting, credentials_setting)


def quoted(etag: str) -> str:
    """The tag as HTTP spells it."""
    return etag if etag.startswith("W/") else f'"{etag}"'


def _unquoted(etag: str | None) -> str | None:
    return etag.strip('"') if etag and not etag.startswith("W/") else etag or None
