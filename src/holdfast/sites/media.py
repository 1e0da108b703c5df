"""A bucket of media on behalf of a deployment: seen, made, marked, filled and proven. What is to be done is decided elsewhere.

Objects are the files as they are, under their paths in the directory; keys of ours (``.holdfast/``) are no media.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from holdfast.catalog.swap import read_or_none
from holdfast.disk import local_errors
from holdfast.errors import AccessError, BucketNotFoundError, IntegrityError, ObjectNotFoundError, UnsupportedError
from holdfast.failpoint import reach
from holdfast.formats.layout import SITE_MARK, media_key
from holdfast.formats.records import stamp
from holdfast.formats.sites import BucketMark, MediaRecord, MediaRow, decode_record, encode_record
from holdfast.model.digest import Hasher, digest_of
from holdfast.sites.buckets import bucket_settings, open_bucket
from holdfast.sites.offload import BucketSeen, Found, Wanted
from holdfast.sites.sides import WHOLE, Half, seen
from holdfast.sites.stores import store_settings
from holdfast.store.base import Bulk
from holdfast.store.settings import bucket_settings as described

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from _typeshed import ReadableBuffer

    from holdfast.repository import Repository
    from holdfast.sites.stores import SiteStore
    from holdfast.store.base import ObjectInfo, Store
    from holdfast.store.settings import BucketSettings

__all__ = ["Media"]

_MD5: Final = re.compile(r"[0-9a-f]{32}\Z")
#: So many small objects on their way at a time.
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
            from holdfast.store.making import make_bucket

            make_bucket(self._described(), self.bucket)

    def mark(self) -> None:
        """Say in it whose it is."""
        mark = BucketMark(1, self.site, self.directory, stamp(self._repository.clock.now()))
        self.store.put(SITE_MARK, encode_record(mark))

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
        self, folder: Path, keys: Sequence[str], wanted: Mapping[str, Wanted], alive: Callable[[], None] = lambda: None
    ) -> int:
        """Write these files of a folder, each as what is wanted, and prove each in the bucket; the bytes sent. ``alive`` stops it by raising.

        Raises:
            IntegrityError: a file is not what is wanted, or an object not what was sent.
        """
        sent: dict[str, _Sent] = {}
        small = [key for key in keys if wanted[key].size <= WHOLE]
        self._fill_small(folder, small, wanted, sent, alive)
        for key in keys:
            if wanted[key].size > WHOLE:
                alive()
                self._fill_large(folder / key, key, wanted[key], sent)
        listed = self.half.listed()
        self._repository.engine.run(lambda key: self._prove(key, sent[key], listed.get(key)), keys)
        return sum(each.size for each in sent.values())

    def _fill_small(
        self,
        folder: Path,
        keys: Sequence[str],
        wanted: Mapping[str, Wanted],
        sent: dict[str, _Sent],
        alive: Callable[[], None],
    ) -> None:
        def read(key: str) -> tuple[str, bytes]:
            alive()
            data = (folder / key).read_bytes()
            md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
            sent[key] = _checked(key, _Sent(md5, digest_of(data), len(data)), wanted[key])
            return key, data

        def drawn() -> Iterator[tuple[str, ReadableBuffer]]:
            for key in keys:
                yield read(key)

        rest = list(keys)
        if isinstance(self.store, Bulk):
            rest = []
            for key, is_sent in self.store.put_many(drawn(), _AT_ONCE):
                reach("site.media-partly")
                if not is_sent:
                    rest.append(key)

        def put(key: str) -> None:
            self.store.put(key, read(key)[1])
            reach("site.media-partly")

        self._repository.engine.run(put, rest)

    def _fill_large(self, path: Path, key: str, wanted: Wanted, sent: dict[str, _Sent]) -> None:
        hasher = Hasher()
        with path.open("rb", buffering=0) as file:
            self.store.put_file(key, file, wanted.size, hasher.update)
        sent[key] = _checked(key, _Sent("", hasher.hexdigest(), wanted.size), wanted)
        reach("site.media-partly")

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
        try:
            found = self.store.get(SITE_MARK)
        except ObjectNotFoundError:
            return None
        return decode_record(found.data, BucketMark, SITE_MARK).site

    def _owner(self) -> str:
        if self.settings.url.startswith("file:"):
            folder = _folder(self.settings.url)
            return "ours" if folder.is_dir() else "nobody"
        if self.settings.url.startswith("s3:"):
            from holdfast.store.making import owner_of

            return owner_of(self._described(), self.bucket)
        try:
            self.store.list_level("")
        except BucketNotFoundError:
            raise UnsupportedError(
                f"{self.settings.url} is not there, and is not made here", subject=self.bucket, hint="make it, private"
            ) from None
        except AccessError:
            return "another"
        return "ours"

    def _described(self) -> BucketSettings:
        settings = store_settings(self.settings)
        return described(self.settings.url, settings.environ, **settings.bucket_options())


def _checked(key: str, sent: _Sent, wanted: Wanted) -> _Sent:
    if (sent.size, sent.digest) != (wanted.size, wanted.digest):
        raise IntegrityError(f"{key} on this machine is not what the backup has", subject=key, hint="run it again")
    return sent


def _folder(url: str) -> Path:
    return Path(unquote(urlsplit(url).path))
