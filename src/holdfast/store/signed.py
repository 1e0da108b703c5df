"""The store of a project on a server: bytes go directly to and from the bucket by URLs that the server signs, or else through it.

What a push may do here, and nothing more: read, list, and create what is not there yet. Replacing, deleting and copying are the
server's to do, by the verbs of its catalog. Who asks for leave, and when, is :mod:`~holdfast.store.grants`; requests are
:mod:`~holdfast.store.granted`; large objects are sent by :mod:`~holdfast.store.uploading`.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeVar

from holdfast.errors import AccessError, AlreadyExistsError, ObjectNotFoundError, UnsupportedError, UsageError
from holdfast.formats.api import BATCH, MetadataReply, MetadataRequest, ObjectsReply, ObjectStat, StoreReply, Upload
from holdfast.store.base import CREATE, OVERWRITE, SMALL, Listing, Object, ObjectInfo, Promises, PutMode, Replace
from holdfast.store.granted import Granted
from holdfast.store.grants import Grants
from holdfast.store.keys import checked_key, checked_prefix
from holdfast.store.uploading import Uploading

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import BinaryIO

    from _typeshed import ReadableBuffer

    from holdfast.formats.api import Grant, MetadataRow
    from holdfast.remote import Remote
    from holdfast.store.grants import Leave

__all__ = ["SignedStore"]

#: Small objects that wait together for leave to be written: their number, and their bytes.
_GATHERED: Final = 256
_GATHERED_BYTES: Final = 16 * 1024 * 1024

Result = TypeVar("Result")


class SignedStore:
    """A :class:`holdfast.store.base.Store`, with its ``Bulk``, ``FillsFiles`` and ``Expects``, over one project of a server.

    ``streamed``: nothing is asked to be signed, and what is read comes through the server.
    """

    def __init__(self, remote: Remote, *, streamed: bool = False) -> None:
        self._remote = remote
        self._grants = Grants(remote)
        self._grants.streams = streamed
        self._granted = Granted(remote.server.ca)

    @property
    def url(self) -> str:
        """The project's URL."""
        return self._remote.url

    @cached_property
    def told(self) -> StoreReply:
        """What the server tells of the store behind the project, asked once."""
        return self._remote.ask("GET", "store", StoreReply)

    def promises(self) -> Promises:
        """What the server can promise with the store behind it; itself, it signs nothing."""
        return Promises(self.told.create, self.told.replace, sign=False, reason=self.told.reason)

    # leave to read

    def offer(self, grants: Sequence[Grant], now: float) -> None:
        """Grants that came with an answer of the catalog."""
        self._grants.offer(grants, now)

    def expect(self, keys: Iterable[str]) -> None:
        """Keys that will be read soon: leave for them is asked for a thousand at a time."""
        self._grants.expect(keys)

    def _read(self, key: str, read: Callable[[Leave], Result]) -> Result:
        """What is read with leave; a refusal may mean that it has expired, so once more with new leave."""
        leave = self._grants.of(key)
        try:
            return read(leave)
        except AccessError:
            if leave.streamed and not self._remote.server.is_signed_in_anew(leave.headers):
                raise
        return read(self._grants.renewed(key))

    # reading

    def get(self, key: str) -> Object:
        """The whole object."""
        found = self._read(checked_key(key), self._granted.get)
        assert found is not None  # noqa: S101 - no range was asked for
        return found

    def get_range(self, key: str, start: int, length: int, *, version: str | None = None) -> Object:
        """Up to ``length`` bytes from ``start``, of this version where one is given."""
        if start < 0 or length < 0:
            raise UsageError(f"no range {start}+{length}", subject=key)
        checked_key(key)
        if length:
            span = (start, start + length)
            found = self._read(key, lambda leave: self._granted.get(leave, span, version))
            if found is not None:
                return found
        return self._nothing(key, version)

    def _nothing(self, key: str, version: str | None) -> Object:
        """An empty range: the object is looked at by its first byte, for only a GET is granted and tells its version."""
        first = self._read(key, lambda leave: self._granted.get(leave, (0, 1), version))
        if first is None:  # no bytes at all
            first = self._read(key, lambda leave: self._granted.get(leave, None, version))
            assert first is not None  # noqa: S101 - no range was asked for
        return Object(b"", first.info)

    def get_range_into(self, key: str, start: int, view: memoryview, *, version: str | None = None) -> Object:
        """As :meth:`get_range`, straight into the view."""
        if view and start >= 0:
            info = self._granted.read_into(self._grants.of(checked_key(key)), start, view, version)
            if info is not None:
                return Object(view[: info.size - start], info)
        return self.get_range(key, start, len(view), version=version)

    def get_range_to(
        self, key: str, start: int, length: int, descriptor: int, offset: int, *, version: str | None = None
    ) -> ObjectInfo | None:
        """By the quick way."""
        if start < 0 or length <= 0:
            return None
        return self._granted.read_to(self._grants.of(checked_key(key)), start, length, descriptor, offset, version)

    def get_many(self, keys: Iterable[str], at_once: int) -> Iterator[tuple[str, Object | None]]:
        """Whole objects side by side, where the bucket, or the server in its place, is spoken to without TLS."""
        return self._granted.get_many((self._grants.of(checked_key(key)) for key in keys), at_once)

    def head(self, key: str) -> ObjectInfo:
        """What is known of the object, by the metadata route."""
        body = MetadataRequest([f"{self.told.url.rstrip('/')}/{checked_key(key)}"])
        row = self._remote.ask("POST", "metadata", MetadataReply, body=body).objects[0]
        if not row.found:
            raise ObjectNotFoundError(f"no object {key}", subject=key)
        return _row_info(key, row)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Every object below the prefix, page by page as it is iterated."""
        for page in self._pages(prefix, level=False):
            yield from map(_info, page.objects)

    def list_level(self, prefix: str) -> Listing:
        """One level below the prefix."""
        objects: builtins.list[ObjectInfo] = []
        prefixes: dict[str, None] = {}
        for page in self._pages(prefix, level=True):
            objects += map(_info, page.objects)
            prefixes |= dict.fromkeys(page.prefixes)
        return Listing(tuple(objects), tuple(prefixes))

    def _pages(self, prefix: str, *, level: bool) -> Iterator[ObjectsReply]:
        checked_prefix(prefix)
        after: str | None = None
        while True:
            query = {"prefix": prefix, "level": level, "after": after, "limit": BATCH}
            page = self._remote.ask("GET", "list", ObjectsReply, query=query)
            yield page
            if page.next is None or page.next == after:
                return
            after = page.next

    # writing

    def put(self, key: str, data: ReadableBuffer, mode: PutMode = OVERWRITE) -> ObjectInfo:
        """Create an object. An overwrite creates, too: what is there already is kept if it is the same, and else refused."""
        view = memoryview(data).cast("B")
        checked_key(key)
        if isinstance(mode, Replace):
            raise self._refused("replace", key)
        if view.nbytes > SMALL:
            hint = "put_file takes any size"
            raise UsageError(f"{key} has {view.nbytes} bytes, more than put takes", subject=key, hint=hint)
        try:
            return self._created(key, view)
        except AlreadyExistsError:
            if mode is CREATE:
                raise
        return self._uploading.kept(key, view)

    def _created(self, key: str, data: memoryview) -> ObjectInfo:
        """Once more where the server took the token no more, and there is a new one."""
        leave = self._leave_to_write(key, data)
        try:
            return self._granted.put(leave, data)
        except AccessError:
            if not (leave.streamed and self._remote.server.is_signed_in_anew(leave.headers)):
                raise
        return self._granted.put(self._leave_to_write(key, data), data)

    def put_many(
        self, items: Iterable[tuple[str, ReadableBuffer]], at_once: int, md5_of: Callable[[str], str] | None = None
    ) -> Iterator[tuple[str, bool]]:
        """Create small objects; leave for them is asked for many at a time."""
        del md5_of  # leave is asked for with an MD5 in any case
        if not self.told.signs_put:
            yield from ((key, False) for key, _ in items)
            return
        for batch in _gathered(iter(items)):
            by_push: dict[str, builtins.list[tuple[str, ReadableBuffer]]] = {}
            for key, data in batch:
                by_push.setdefault(self._push(checked_key(key)), []).append((key, data))
            for push, those in by_push.items():
                leaves = self._grants.to_write(push, [_upload(key, data) for key, data in those])
                pairs = [(leave, data) for leave, (_, data) in zip(leaves, those, strict=True)]
                yield from self._granted.put_many(pairs, at_once)

    def put_file(self, key: str, source: BinaryIO, size: int, seen: Callable[[ReadableBuffer], None]) -> ObjectInfo:
        """Create a large object, in parts where the server signs them, else through the server; the same one is kept.

        Raises:
            AlreadyExistsError: another one is there.
            SourceChangedError: the source is shorter or longer than ``size``.
        """
        return self._uploading.send(checked_key(key), source, size, seen)

    @cached_property
    def _uploading(self) -> Uploading:
        return Uploading(self, self._remote, self._grants, self._granted, signs=self.told.signs_put)

    def _leave_to_write(self, key: str, data: ReadableBuffer) -> Leave:
        push = self._push(key)
        if not self.told.signs_put:
            return self._grants.through_server(key, push)
        return self._grants.to_write(push, [_upload(key, data)])[0]

    def _push(self, key: str) -> str:
        push = self._remote.pushes.of(key)
        if push is None:
            raise self._refused("write without a push", key)
        return push

    # what is the server's to do

    def delete(self, key: str) -> None:
        """Refused."""
        raise self._refused("delete", key)

    def copy(self, source: str, target: str) -> None:
        """Refused."""
        del target
        raise self._refused("copy", source)

    def sweep(self, seconds: float) -> int:
        """Nothing: a server's client leaves nothing unfinished that it could remove."""
        del seconds
        return 0

    def sign(self, key: str, method: str, seconds: int) -> str:
        """Refused: the server signs."""
        del method, seconds
        raise self._refused("sign", key)

    def _refused(self, verb: str, key: str) -> UnsupportedError:
        return UnsupportedError(
            f"cannot {verb} {key} through the server {self._remote.server.url}",
            subject=key,
            hint="what maintains a store is done with credentials for its bucket: --store s3://BUCKET/PREFIX",
        )


def _upload(key: str, data: ReadableBuffer) -> Upload:
    digest = hashlib.md5(data, usedforsecurity=False).digest()
    return Upload(key, memoryview(data).nbytes, base64.b64encode(digest).decode())


def _gathered(items: Iterator[tuple[str, Any]]) -> Iterator[list[tuple[str, Any]]]:
    """Items in batches, none of which holds much memory."""
    batch: list[tuple[str, Any]] = []
    held = 0
    for key, data in items:
        batch.append((key, data))
        held += memoryview(data).nbytes
        if len(batch) == _GATHERED or held >= _GATHERED_BYTES:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def _info(stat: ObjectStat) -> ObjectInfo:
    return ObjectInfo(stat.key, stat.size, stat.version, stat.modified, stat.etag)


def _row_info(key: str, row: MetadataRow) -> ObjectInfo:
    return ObjectInfo(key, row.size or 0, row.version or row.etag or "", row.modified or 0.0, row.etag)
