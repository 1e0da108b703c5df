"""A bucket of media on behalf of a deployment: seen, made, marked, filled and proven. What is to be done is decided elsewhere.

Objects are the files as they are, under their paths in the directory; keys of ours (``.holdfast/``) are no media.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from holdfast.catalog.swap import read_or_none
from holdfast.disk import local_errors
from holdfast.errors import (
    AccessError,
    BucketNotFoundError,
    HoldfastError,
    IntegrityError,
    ObjectNotFoundError,
    UnsupportedError,
)
from holdfast.failpoint import reach
from holdfast.formats.layout import BRANCH_MARKS, SITE_MARK, branch_mark, media_key
from holdfast.formats.records import stamp
from holdfast.formats.sites import BranchMark, BucketMark, MediaRecord, MediaRow, decode_record, encode_record
from holdfast.model.digest import Hasher, digest_of
from holdfast.sites.buckets import bucket_settings, open_bucket
from holdfast.sites.offload import BucketSeen, Found, Wanted
from holdfast.sites.sides import WHOLE, Half, seen
from holdfast.sites.stores import store_settings
from holdfast.store.base import Bulk
from holdfast.store.settings import bucket_settings as described
from holdfast.transfer.plan import in_flight
from holdfast.transfer.relay import Pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import BinaryIO

    from _typeshed import ReadableBuffer

    from holdfast.repository import Repository
    from holdfast.sites.stores import SiteStore
    from holdfast.sites.streamed import Streamed
    from holdfast.store.base import ObjectInfo, Store
    from holdfast.store.making import NewBucket

__all__ = ["Media"]

_MD5: Final = re.compile(r"[0-9a-f]{32}\Z")
#: So many small objects on their way at a time, each by a thread.
_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class _Sent:
    md5: str
    digest: str
    size: int


class Media:
    """One bucket, at the provider of a site's store."""

    def __init__(self, store: SiteStore, site: str, bucket: str, directory: str) -> None:
        self.site = site
        self.bucket = bucket
        self.directory = directory
        self.settings = bucket_settings(store.settings, bucket)
        self._repository: Repository = store.repository
        self._opened: Store | None = None

    @property
    def store(self) -> Store:
        """The bucket as a store."""
        if self._opened is None:
            self._opened = open_bucket(self.settings)
        return self._opened

    @property
    def half(self) -> Half:
        """The bucket as one that nobody else writes to now."""
        return Half(self.store, self._repository.engine, shared=False)

    def look(self, wanted: Mapping[str, Wanted], *, is_ours: bool = False) -> BucketSeen:
        """The bucket as it is; objects whose digest is not known are read where that can matter.

        ``is_ours``: whose it is was found out by a deployment, and takes rights that a web server need not have.
        """
        owner = "ours" if is_ours else self._owner()
        if owner != "ours":
            return BucketSeen(self.bucket, self.directory, owner)
        listed = self.half.listed()
        listed = {key: info for key, info in listed.items() if not key.endswith("/")}
        known = self._known()

        def found(key: str) -> Found:
            info, row = listed[key], known.get(key)
            if row is not None and (row.size, row.tag) == (info.size, seen(info).tag):
                return Found(info.size, row.digest)
            if key not in wanted or wanted[key].size != info.size:
                return Found(info.size)
            return Found(info.size, self.half.digest(key, info))

        digests = self._repository.engine.run(found, listed)
        return BucketSeen(self.bucket, self.directory, owner, self._mark(), dict(zip(listed, digests, strict=True)))

    def recorded(self) -> MediaRecord | None:
        """What the last deployment put into it, as the site's store tells."""
        key = media_key(self.site, self.bucket)
        found = read_or_none(self._repository.store, key)
        return decode_record(found.data, MediaRecord, key) if found is not None else None

    def last_write(self) -> float:
        """When the youngest of its objects was written, in seconds by the store's clock; 0 where there is none."""
        return max((info.modified for info in self.half.listed().values()), default=0.0)

    def make(self) -> None:
        """Make it, private."""
        if self.settings.url.startswith("file:"):
            folder = _folder(self.settings.url)
            with local_errors(folder.parent):
                folder.mkdir(mode=0o700, exist_ok=True)
        elif self.settings.url.startswith("s3:"):
            self._new.make()

    def mark(self) -> None:
        """Say in it whose it is."""
        mark = BucketMark(1, self.site, self.directory, stamp(self._repository.clock.now()))
        self.store.put(SITE_MARK, encode_record(mark))

    def mark_branch(self, number: int, count: int) -> None:
        """Say in it which branch of its directory it is, counted from 1, and of how many."""
        mark = BranchMark(1, self.site, self.directory, number, count, stamp(self._repository.clock.now()))
        self.store.put(branch_mark(number), encode_record(mark))

    def branches(self) -> list[BranchMark]:
        """What it says of that, of any site."""
        listed = self.store.list(BRANCH_MARKS.rpartition("/")[0])
        keys = sorted(info.key for info in listed if info.key.startswith(BRANCH_MARKS))
        return [decode_record(self.store.get(key).data, BranchMark, key) for key in keys]

    def marked_for(self) -> str | None:
        """The directory of which its mark says that it is the bucket; None without a mark."""
        found = self._bucket_mark()
        return None if found is None else found.directory

    def fetch(self, target: Path) -> int:
        """Bring every object to a folder, each read whole; how many there were.

        Raises:
            IntegrityError: a key is no path below a folder.
        """
        from holdfast.model.manifest import Entry, Manifest

        listed = {key: info for key, info in self.half.listed().items() if not key.endswith("/")}
        Manifest.of([Entry(key, "file") for key in listed], single=False)

        def one(key: str) -> None:
            place = target / key
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("xb") as file:
                for piece in self.half.pieces(key, listed[key]):
                    file.write(piece)

        self._repository.engine.run(one, listed)
        return len(listed)

    def fill(
        self,
        source: Streamed,
        keys: Sequence[str],
        wanted: Mapping[str, Wanted],
        alive: Callable[[], None] = lambda: None,
    ) -> int:
        """Write these files of a backup, each as what is wanted, and prove each in the bucket; the bytes sent. ``alive`` stops it by raising.

        Raises:
            IntegrityError: a file is not what is wanted, or an object not what was sent.
        """
        sent: dict[str, _Sent] = {}
        small = [key for key in keys if wanted[key].size <= WHOLE]
        self._fill_small(source, small, wanted, sent, alive)
        large = [key for key in keys if wanted[key].size > WHOLE]
        sources = source.sources(large)
        for key in large:
            sent[key] = self._fill_large(sources, key, wanted[key], alive)
        listed = self.half.listed()
        self._repository.engine.run(lambda key: self._prove(key, sent[key], listed.get(key)), keys)
        return sum(each.size for each in sent.values())

    def _fill_small(
        self,
        source: Streamed,
        keys: Sequence[str],
        wanted: Mapping[str, Wanted],
        sent: dict[str, _Sent],
        alive: Callable[[], None],
    ) -> None:
        def read(key: str, data: ReadableBuffer) -> tuple[str, ReadableBuffer, _Sent]:
            md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
            made = _Sent(md5, digest_of(data), memoryview(data).nbytes)
            return key, data, _checked(key, made, wanted[key])

        def drawn() -> Iterator[tuple[str, ReadableBuffer]]:
            for key, data, made in source.whole(keys, read):
                alive()
                sent[key] = made
                yield key, data

        with self._repository.engine.beside(self._put, _AT_ONCE) as give:
            if isinstance(self.store, Bulk):
                largest = max((wanted[key].size for key in keys), default=0)
                lines = self._repository.engine.bound(in_flight(largest))
                self._put_in_bulk(self.store, drawn(), lines, lambda key: sent[key].md5, give)
            else:
                for item in drawn():
                    give(item)

    def _put(self, item: tuple[str, ReadableBuffer]) -> None:
        self.store.put(*item)
        reach("site.media-partly")

    @staticmethod
    def _put_in_bulk(
        store: Bulk,
        items: Iterator[tuple[str, ReadableBuffer]],
        lines: int,
        md5_of: Callable[[str], str],
        give: Callable[[tuple[str, ReadableBuffer]], None],
    ) -> None:
        """Write objects in bulk; what cannot be so written is given away."""
        flying: dict[str, ReadableBuffer] = {}

        def noted() -> Iterator[tuple[str, ReadableBuffer]]:
            for key, data in items:
                flying[key] = data
                yield key, data

        for key, is_sent in store.put_many(noted(), lines, md5_of):
            reach("site.media-partly")
            data = flying.pop(key)
            if not is_sent:
                give((key, data))

    def _fill_large(
        self,
        sources: Sequence[Callable[[str], Iterator[memoryview]]],
        key: str,
        wanted: Wanted,
        alive: Callable[[], None],
    ) -> _Sent:
        """From the first store that gives it; what a try that failed has sent is never seen."""
        last: HoldfastError | None = None
        for opened in sources:
            alive()
            try:
                return self._try_large(Pieces(opened(key)), key, wanted)
            except HoldfastError as error:
                last = error
        assert last is not None  # noqa: S101 - there is at least one store
        raise last

    def _try_large(self, pieces: Pieces, key: str, wanted: Wanted) -> _Sent:
        """Write what is wanted; other bytes are refused while the object is not there yet."""
        hasher, total = Hasher(), 0
        sent = _Sent("", wanted.digest, wanted.size)

        def seen(piece: ReadableBuffer) -> None:
            nonlocal total
            hasher.update(piece)
            total += memoryview(piece).nbytes
            if total == wanted.size:
                _checked(key, _Sent("", hasher.hexdigest(), total), wanted)

        stream: BinaryIO = pieces  # type: ignore[assignment]
        self.store.put_file(key, stream, wanted.size, seen)
        reach("site.media-partly")
        return sent

    def _prove(self, key: str, sent: _Sent, info: ObjectInfo | None) -> None:
        """By the store's own MD5, else by reading it back."""
        if info is None or info.size != sent.size:
            raise IntegrityError(f"{key} did not arrive whole in {self.bucket}", subject=key, hint="run it again")
        by_tag = info.etag is not None and _MD5.match(info.etag) and info.etag == sent.md5
        if not by_tag and self.half.digest(key, info) != sent.digest:
            raise IntegrityError(f"{key} in {self.bucket} is not what was sent", subject=key, hint="run it again")

    def remove(self, keys: Sequence[str], alive: Callable[[], None] = lambda: None) -> None:
        """Delete these objects. ``alive`` stops it by raising."""

        def one(key: str) -> None:
            alive()
            self.store.delete(key)

        self._repository.engine.run(one, keys)

    def record(self, spec: str, wanted: Mapping[str, Wanted], others: list[list[str]]) -> None:
        """Note what is in it now, in the site's store."""
        listed = self.half.listed()
        rows = {
            key: MediaRow(info.size, seen(info).tag, wanted[key].digest)
            for key, info in listed.items()
            if key in wanted and wanted[key].size == info.size
        }
        record = MediaRecord(1, self.bucket, spec, stamp(self._repository.clock.now()), rows, others)
        self._repository.store.put(media_key(self.site, self.bucket), encode_record(record))

    def _known(self) -> dict[str, MediaRow]:
        record = self.recorded()
        return record.objects if record is not None else {}

    def _mark(self) -> str | None:
        found = self._bucket_mark()
        return None if found is None else found.site

    def _bucket_mark(self) -> BucketMark | None:
        try:
            found = self.store.get(SITE_MARK)
        except ObjectNotFoundError:
            return None
        return decode_record(found.data, BucketMark, SITE_MARK)

    def _owner(self) -> str:
        if self.settings.url.startswith("file:"):
            folder = _folder(self.settings.url)
            return "ours" if folder.is_dir() else "nobody"
        if self.settings.url.startswith("s3:"):
            return self._new.owner()
        try:
            self.store.list_level("")
        except BucketNotFoundError:
            raise UnsupportedError(
                f"{self.settings.url} is not there, and is not made here", subject=self.bucket, hint="make it, private"
            ) from None
        except AccessError:
            return "another"
        return "ours"

    @cached_property
    def _new(self) -> NewBucket:
        """The bucket on S3, for what is asked before it is there."""
        from holdfast.store.making import NewBucket

        settings = store_settings(self.settings)
        return NewBucket(described(self.settings.url, settings.environ, **settings.bucket_options()))


def _checked(key: str, sent: _Sent, wanted: Wanted) -> _Sent:
    if (sent.size, sent.digest) != (wanted.size, wanted.digest):
        raise IntegrityError(
            f"{key} is not what the manifest of the backup says", subject=key, hint="asset site drill tells more"
        )
    return sent


def _folder(url: str) -> Path:
    return Path(unquote(urlsplit(url).path))
