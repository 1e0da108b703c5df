"""S3, Google Cloud Storage and Azure Blob Storage behind the seam, by obstore.

Owns what each verb asks of a bucket, and its conditions. Leaves requests and their failures to ``exchange``, cutting files to
``parts``, finding out what the server keeps to ``probe``, and every decision about names to the callers.

A version is the store's own: the ETag on S3 and Azure (writing the *same* bytes again may leave it as it was, for S3's tag is
an MD5), the generation on GCS. ``modified`` in the answer to a put is our clock's, for the server's answer does not tell its own.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from holdfast.errors import (
    AlreadyExistsError,
    ChangedError,
    HoldfastError,
    IntegrityError,
    ObjectNotFoundError,
    UnsupportedError,
    UsageError,
)
from holdfast.formats.layout import probe_key
from holdfast.store.base import (
    CREATE,
    OVERWRITE,
    SMALL,
    Listing,
    Object,
    ObjectInfo,
    Promises,
    PutMode,
    Replace,
    SignedUpload,
)
from holdfast.store.clients import sign, sign_many
from holdfast.store.direct import Direct
from holdfast.store.exchange import ETAG, Exchange, PastEndError, quoted
from holdfast.store.keys import checked_key

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from _typeshed import ReadableBuffer

    from holdfast.store.base import UploadWish
    from holdfast.store.multipart import Multipart
    from holdfast.store.presign import Presigner
    from holdfast.store.probe import Conditions
    from holdfast.store.settings import BucketSettings

__all__ = ["BucketStore"]


class BucketStore:
    """One bucket and prefix. Nothing is sent, and no credentials are looked for, before the first verb.

    ``probe_cache`` is where the probe's answer is kept for a day; without it every store object probes for itself.
    """

    def __init__(
        self, settings: BucketSettings, *, probe_cache: Path | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._settings = settings
        self._probe_cache = probe_cache
        self._clock = clock
        self._exchange = Exchange(settings, clock)
        self._lock = threading.Lock()
        self._conditions: Conditions | None = None
        self._shortcut: Direct | None = None
        self._presigner: Presigner | None = None

    @property
    def url(self) -> str:
        """The store's URL; it never holds credentials."""
        return self._settings.url

    def promises(self) -> Promises:
        """What the probe found (design §3); it writes a scratch key the first time."""
        found = self._probed()
        return Promises(found.create, found.replace, self._exchange.clients().can_sign, self._reason(found))

    def get(self, key: str) -> Object:
        """The whole object."""
        return self._exchange.read(key, {})

    def get_range(self, key: str, start: int, length: int, *, version: str | None = None) -> Object:
        """Up to ``length`` bytes from ``start``, of this version where one is given."""
        if start < 0 or length < 0:
            raise UsageError(f"no range {start}+{length}", subject=key)
        if length == 0:
            return self._nothing(key, version)
        try:
            return self._exchange.read(key, self._pinned(version) | {"range": (start, start + length)})
        except PastEndError:
            return self._nothing(key, version)
        except ObjectNotFoundError:
            if version is None or not self._exchange.generations:
                raise
        # A generation that was asked for by number and is no longer there: changed, unless all of the object is gone.
        self.head(key)
        raise _changed(key)

    def get_range_into(self, key: str, start: int, view: memoryview, *, version: str | None = None) -> Object:
        """As :meth:`get_range`; straight into the view where there is a direct way to the bucket."""
        direct = self._direct()
        if direct is not None and view:
            info = direct.read_into(key, start, view, None if version is None else quoted(version))
            if info is not None:
                return Object(view[: info.size - start], info)
        return self.get_range(key, start, len(view), version=version)

    def get_range_to(
        self, key: str, start: int, length: int, descriptor: int, offset: int, *, version: str | None = None
    ) -> ObjectInfo | None:
        """By the direct way, where there is one."""
        direct = self._direct() if length > 0 else None
        if direct is None:
            return None
        return direct.read_to(key, start, length, descriptor, offset, None if version is None else quoted(version))

    def get_many(self, keys: Iterable[str], at_once: int) -> Iterator[tuple[str, Object | None]]:
        """Whole objects by the direct way, where there is one."""
        direct = self._direct()
        return ((key, None) for key in keys) if direct is None else direct.get_many(keys, at_once)

    def head(self, key: str) -> ObjectInfo:
        """What is known of the object."""
        return self._exchange.head(key)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Every object below the prefix, page by page as it is iterated."""
        return self._pages(prefix, None)

    @property
    def lists_in_order(self) -> bool:
        """But on Azure, whose listings begin at their beginning."""
        return self._exchange.settings.scheme != "az"

    def list_after(self, prefix: str, after: str) -> Iterator[ObjectInfo]:
        """As :meth:`list`, from there on."""
        return self._pages(prefix, self._exchange.after(after))

    def _pages(self, prefix: str, offset: str | None) -> Iterator[ObjectInfo]:
        exchange = self._exchange
        with exchange.mapped("list", prefix):
            pages = iter(exchange.clients().quick.list(exchange.below(prefix), offset=offset, chunk_size=1000))
        while True:
            with exchange.mapped("list", prefix):
                page = next(pages, None)
            if page is None:
                return
            yield from (exchange.info(meta, listed=True) for meta in page)

    def list_level(self, prefix: str) -> Listing:
        """One level below the prefix."""
        exchange = self._exchange
        with exchange.mapped("list", prefix):
            found = exchange.clients().quick.list_with_delimiter(exchange.below(prefix))
        objects = tuple(exchange.info(meta, listed=True) for meta in found["objects"])
        return Listing(objects, tuple(exchange.key(path) for path in found["common_prefixes"]))

    def put(self, key: str, data: ReadableBuffer, mode: PutMode = OVERWRITE) -> ObjectInfo:
        """Write an object of at most 64 MiB."""
        checked_key(key)
        size = memoryview(data).nbytes
        if size > SMALL:
            raise UsageError(
                f"{key} has {size} bytes, more than put takes", subject=key, hint="put_file takes any size"
            )
        if mode is OVERWRITE:
            return self._exchange.put(key, data, size, "put", "overwrite")
        found = self._probed()
        if not (found.create if mode is CREATE else found.replace):
            message = f"{self.url} cannot promise this write: {self._reason(found)}"
            raise UnsupportedError(
                message, subject=key, hint="push through a server, or to a store that keeps conditions"
            )
        if isinstance(mode, Replace):
            condition = self._condition(key, mode.version, quotes=found.etag_quotes)
            return self._exchange.put(key, data, size, "replace", condition)
        return self._exchange.put(key, data, size, "create", "create")

    def put_many(
        self, items: Iterable[tuple[str, ReadableBuffer]], at_once: int, md5_of: Callable[[str], str] | None = None
    ) -> Iterator[tuple[str, bool]]:
        """Overwrite objects by the direct way, where there is one."""
        direct = self._direct()
        if direct is None or not direct.writes:
            return ((key, False) for key, _ in items)
        return direct.put_many(items, at_once, md5_of)

    def put_file(self, key: str, source: BinaryIO, size: int, seen: Callable[[ReadableBuffer], None]) -> ObjectInfo:
        """Write a large object in parts, a few in flight; what ``source`` or ``seen`` raises aborts the upload.

        Raises:
            SourceChangedError: the source is shorter or longer than ``size``.
            IntegrityError: the store says that the object has another size than was sent.
        """
        from holdfast.store.parts import Feed, blocks, part_plan

        path, plan = self._exchange.path(key), part_plan(size)
        feed = Feed(blocks(source, size, plan.size, seen, key))
        if plan.count <= 1:
            return self._exchange.put(key, b"".join(feed), size, "put", "overwrite")
        self._exchange.knock(key)
        try:
            with self._exchange.mapped("put", key):
                patient = self._exchange.clients().patient
                patient.put(path, feed, chunk_size=plan.size, max_concurrency=plan.at_once, use_multipart=True)
        except HoldfastError:
            if feed.failure is not None:
                raise feed.failure from None
            raise
        # RGW's answer to a finished multipart upload has no ETag, so the version is asked for; the size is checked with it.
        info = self.head(key)
        if info.size != size:
            raise IntegrityError(f"{key} has {info.size} bytes in {self.url}, {size} were sent", subject=key)
        return info

    def delete(self, key: str) -> None:
        """Remove the object, if it is there."""
        try:
            with self._exchange.mapped("delete", key):
                self._exchange.clients().quick.delete(self._exchange.path(key))
        except ObjectNotFoundError:
            return

    def copy(self, source: str, target: str) -> None:
        """Copy inside the store, by the server; S3 copies objects of up to 5 GiB this way."""
        exchange = self._exchange
        with exchange.mapped("copy", source):
            # Patient, because a server copies the whole object before it answers.
            exchange.clients().patient.copy(exchange.path(source), exchange.path(target), overwrite=True)

    def sweep(self, seconds: float) -> int:  # noqa: ARG002  the protocol's
        """Nothing that could be reached: obstore lists no unfinished multipart uploads."""
        return 0

    def sign(self, key: str, method: str, seconds: int) -> str:
        """A URL with which anybody may GET or PUT the object for so long."""
        clients = self._exchange.clients()
        if method not in {"GET", "PUT"}:
            raise UsageError(f"URLs are signed for GET and PUT, not {method!r}", subject=key)
        presigner = self._signer()
        if presigner is not None:
            return presigner.url(method, self._exchange.path(key), seconds)
        if not clients.can_sign:
            raise UnsupportedError(f"the credentials for {self.url} cannot sign URLs", subject=key)
        with self._exchange.mapped("sign", key):
            return sign(clients.quick, method, self._exchange.path(key), seconds)

    @property
    def signs_uploads(self) -> bool:
        """On S3, and on Google with a key to sign by, where the condition that is signed along is kept, and a write needs nothing else."""
        presigner = self._signer()
        return presigner is not None and presigner.site.plain and self._probed().create

    def sign_downloads(self, keys: Sequence[str], seconds: int) -> builtins.list[str | None]:
        """URLs to GET the objects; on Azure, none for keys that obstore signs wrongly: those that are spelled otherwise in a URL."""
        clients, paths = self._exchange.clients(), [self._exchange.path(key) for key in keys]
        presigner = self._signer()
        if presigner is not None:
            return [presigner.url("GET", path, seconds) for path in paths]
        if not clients.can_sign:
            raise UnsupportedError(f"the credentials for {self.url} cannot sign URLs", subject=self.url)
        plain = [path for path in paths if not clients.signs_plain_only or quote(path, safe="/~") == path]
        with self._exchange.mapped("sign", self.url):
            urls = dict(zip(plain, sign_many(clients.quick, plain, seconds), strict=True))
        return [urls.get(path) for path in paths]

    def sign_uploads(self, wishes: Sequence[UploadWish], seconds: int) -> builtins.list[SignedUpload]:
        """URLs to create objects of one length each."""
        presigner = self._signer()
        if presigner is None or not self.signs_uploads:
            raise UnsupportedError(f"{self.url} cannot sign a PUT that only creates", subject=self.url)
        signed = []
        for wish in wishes:
            headers = presigner.site.creating(wish.size)
            if wish.md5 is not None:
                headers["content-md5"] = wish.md5
            url = presigner.url("PUT", self._exchange.path(wish.key), seconds, headers)
            signed.append(SignedUpload(url, headers))
        return signed

    def begin_parts(self, key: str) -> str:
        """On S3."""
        return self._multipart().begin(self._exchange.path(key))

    def sign_parts(
        self, key: str, upload: str, parts: Sequence[tuple[int, int]], seconds: int
    ) -> builtins.list[SignedUpload]:
        """Each of one length."""
        path, url = self._exchange.path(key), self._multipart().presigner.url
        signed = []
        for number, size in parts:
            headers = {"content-length": str(size)}
            query = {"partNumber": str(number), "uploadId": upload}
            signed.append(SignedUpload(url("PUT", path, seconds, headers, query), headers))
        return signed

    def complete_parts(self, key: str, upload: str, tags: Sequence[str]) -> ObjectInfo:
        """Where an object is there, its tag tells whether it is this one."""
        from holdfast.store.multipart import tag_of

        try:
            found = self.head(key)
        except ObjectNotFoundError:
            self._multipart().complete(self._exchange.path(key), upload, tags)
            return self.head(key)
        if found.etag != tag_of(tags):
            raise AlreadyExistsError(f"{key} exists", subject=key)
        return found

    def _multipart(self) -> Multipart:
        from holdfast.store.multipart import Multipart
        from holdfast.store.presign import Site

        presigner = self._signer()
        if presigner is None or not isinstance(presigner.site, Site) or not presigner.site.plain:
            raise UnsupportedError(f"{self.url} cannot sign parts of an upload", subject=self.url)
        return Multipart(presigner, self._settings)

    def checksums(self, key: str) -> dict[str, str]:
        """On S3, by a HEAD that asks for them."""
        from holdfast.store.checksums import checksums
        from holdfast.store.presign import Site

        presigner = self._signer()
        if presigner is None or not isinstance(presigner.site, Site):
            return {}
        return checksums(presigner, self._exchange.path(key), self._settings)

    def _signer(self) -> Presigner | None:
        from holdfast.store.presign import Presigner

        with self._lock:
            site = self._exchange.clients().site
            if self._presigner is None and site is not None:
                self._presigner = Presigner(site)
            return self._presigner

    def _direct(self) -> Direct | None:
        with self._lock:
            route = self._exchange.clients().route
            if self._shortcut is None and route is not None:
                self._shortcut = Direct(route, self._settings, self._exchange.path)
            return self._shortcut

    def _nothing(self, key: str, version: str | None) -> Object:
        """An empty range: the client and the servers refuse to ask for one, so the object is only looked at."""
        info = self.head(key)
        if version is not None and version not in (info.version, f"{ETAG}{info.etag}"):
            raise _changed(key)
        return Object(b"", info)

    def _pinned(self, version: str | None) -> dict[str, Any]:
        if version is None:
            return {}
        if self._exchange.generations and not version.startswith(ETAG):
            return {"version": version}
        return {"if_match": quoted(version.removeprefix(ETAG))}

    def _condition(self, key: str, version: str, *, quotes: bool) -> dict[str, str]:
        """The condition of a replace, as the client wants it."""
        if not self._exchange.generations:
            return {"e_tag": quoted(version) if quotes else version}
        if not version.startswith(ETAG):
            return {"version": version}
        try:
            info = self.head(key)
        except ObjectNotFoundError as error:
            raise _changed(key) from error
        if version != f"{ETAG}{info.etag}":
            raise _changed(key)
        return {"version": info.version}

    def _probed(self) -> Conditions:
        with self._lock:
            if self._conditions is None:
                self._conditions = self._probe()
            return self._conditions

    def _probe(self) -> Conditions:
        import secrets

        from holdfast.store import probe

        place = f"{self._exchange.clients().endpoint} {self._settings.scheme}://{self._settings.bucket}"
        now = self._clock()
        found = probe.remembered(self._probe_cache, place, now)
        if found is None:
            found = probe.probe(_Scratch(self._exchange, self._condition, probe_key(secrets.token_hex(12))))
            probe.remember(self._probe_cache, place, now, found)
        return found

    def _reason(self, found: Conditions) -> str | None:
        return found.reason and f"{self._exchange.clients().endpoint} does not keep {found.reason}"


class _Scratch:
    """The probe's writer: puts on one key that ask for no promise first."""

    def __init__(self, exchange: Exchange, condition: Callable[..., dict[str, str]], key: str) -> None:
        self._exchange = exchange
        self._condition = condition
        self._key = key

    def create(self) -> str:
        """Create-only; the version written."""
        return self._write("create", "create")

    def replace(self, version: str, *, quotes: bool) -> str:
        """Replace this version; the version written."""
        return self._write("replace", self._condition(self._key, version, quotes=quotes))

    def read(self) -> str:
        """The version that is there now."""
        return self._exchange.head(self._key).version

    def delete(self) -> None:
        """Remove the scratch key."""
        with self._exchange.mapped("delete", self._key):
            self._exchange.clients().quick.delete(self._exchange.path(self._key))

    def _write(self, verb: str, mode: Any) -> str:
        # Other bytes each time: an ETag that is an MD5 must change with every write.
        data = os.urandom(16)
        return self._exchange.put(self._key, data, len(data), verb, mode).version


def _changed(key: str) -> ChangedError:
    return ChangedError(f"{key} is another version by now, or gone", subject=key)
