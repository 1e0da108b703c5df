"""A small object store in memory that speaks the XML API which S3 and GCS share.

Whole puts, ranges, HEAD, listing (version 2), single and bulk delete, copy, multipart uploads. What differs between the
two doubles built on it, who is let in and the conditions that a write may carry, is :class:`Dialect`.
"""

from __future__ import annotations

import hashlib
import itertools
import threading
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, ClassVar, Final
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BUCKET", "Bucket", "Dialect", "Handler", "Object", "RefusedError", "serve"]

BUCKET: Final = "holdfast"


class RefusedError(Exception):
    """An answer other than success."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


@dataclass(frozen=True)
class Object:
    """One version of an object; ``generation`` never repeats within a server."""

    data: bytes
    generation: int
    kind: str = "application/octet-stream"
    modified: float = field(default_factory=time.time)

    @property
    def etag(self) -> str:
        """The quoted ETag, which changes with every write, also of equal bytes."""
        return f'"{hashlib.md5(self.data).hexdigest()}-{self.generation}"'


class Bucket:
    """Objects by key, and open uploads; every change is made under ``lock``."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.objects: dict[str, Object] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self._generations = itertools.count(int(time.time() * 1e6))

    def next_generation(self) -> int:
        """A number above all earlier ones."""
        return next(self._generations)


class Dialect:
    """What one kind of store does with signatures, and with conditions on writes; this one ignores them."""

    def admit(self, method: str, target: str, headers: dict[str, str]) -> None:
        """Raise :class:`RefusedError` if whoever sends a request for this target, as it is on the wire, may not."""

    def refuse_write(self, headers: dict[str, str], current: Object | None) -> None:
        """Raise :class:`RefusedError` if a write with these headers must not replace ``current``; called under the lock."""


class Handler(BaseHTTPRequestHandler):
    """One connection; the path is ``/bucket/key``, and there is one bucket, named :data:`BUCKET`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    bucket: ClassVar[Bucket]
    dialect: ClassVar[Dialect]

    def handle_one(self) -> None:
        """Answer one request."""
        parts = urlsplit(self.path)
        self.query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        name, _, self.key = unquote(parts.path).lstrip("/").partition("/")
        self.lower = {name.lower(): value for name, value in self.headers.items()}
        self.body = self.rfile.read(int(self.lower.get("content-length", 0)))
        try:
            if name != BUCKET:
                raise RefusedError(404, "NoSuchBucket")  # noqa: TRY301
            self.dialect.admit(self.command, self.path, self.lower)
            getattr(self, f"serve_{self.command.lower()}")()
        except RefusedError as refusal:
            text = f"<Error><Code>{refusal.code}</Code><Message>{refusal.code}</Message></Error>"
            self.answer(refusal.status, text.encode(), kind="application/xml")

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_one  # noqa: N815  http.server's names

    def serve_get(self) -> None:
        """An object, a range of it, or a listing."""
        if not self.key:
            self.answer(200, self.listing(), kind="application/xml")
            return
        found = self.bucket.objects.get(self.key)
        if found is None:
            raise RefusedError(404, "NoSuchKey")
        self.check_read(found)
        data, status, extra = found.data, 200, {}
        if "range" in self.lower:
            first, last = _range(self.lower["range"], len(data))
            status, extra = 206, {"Content-Range": f"bytes {first}-{last}/{len(data)}"}
            data = data[first : last + 1]
        self.answer(status, data, found, kind=found.kind, extra=extra)

    serve_head = serve_get

    def check_read(self, found: Object) -> None:
        """The conditions of a read, which both kinds of store know."""
        wanted, known = self.lower.get("if-match"), self.lower.get("if-none-match")
        generation = self.query.get("generation", str(found.generation))
        if generation != str(found.generation):
            raise RefusedError(404, "NoSuchKey")
        if wanted is not None and wanted not in ("*", found.etag):
            raise RefusedError(412, "PreconditionFailed")
        if known is not None and known in ("*", found.etag):
            raise RefusedError(304, "NotModified")

    def serve_put(self) -> None:
        """A part, a copy or a whole object."""
        if not self.key:
            self.answer(200)
            return
        if "uploadId" in self.query:
            self.open_upload()[int(self.query["partNumber"])] = self.body
            self.answer(200, extra={"ETag": f'"{hashlib.md5(self.body).hexdigest()}"'})
            return
        source = self.lower.get("x-amz-copy-source") or self.lower.get("x-goog-copy-source")
        if source is None:
            self.answer(200, made=self.write(self.body))
            return
        copied = self.bucket.objects.get(unquote(source).lstrip("/").partition("/")[2])
        if copied is None:
            raise RefusedError(404, "NoSuchKey")
        made = self.write(copied.data)
        text = f"<CopyObjectResult><ETag>{made.etag}</ETag></CopyObjectResult>"
        self.answer(200, text.encode(), made, kind="application/xml")

    def write(self, data: bytes) -> Object:
        """Make ``data`` the object's content, if the dialect lets it."""
        bucket = self.bucket
        with bucket.lock:
            self.dialect.refuse_write(self.lower, bucket.objects.get(self.key))
            kind = self.lower.get("content-type", Object.kind)
            made = bucket.objects[self.key] = Object(data, bucket.next_generation(), kind)
        return made

    def serve_post(self) -> None:
        """Begin or finish an upload, or delete many."""
        if "uploads" in self.query:
            upload = str(self.bucket.next_generation())
            self.bucket.uploads[upload] = {}
            tags = f"<Bucket>b</Bucket><Key>{escape(self.key)}</Key><UploadId>{upload}</UploadId>"
            self.answer_xml(f"<InitiateMultipartUploadResult>{tags}</InitiateMultipartUploadResult>")
        elif "uploadId" in self.query:
            parts = self.open_upload()
            numbers = [int(element.text or 0) for element in self.elements() if _is(element, "PartNumber")]
            made = self.write(b"".join(parts[number] for number in numbers))
            del self.bucket.uploads[self.query["uploadId"]]
            text = f"<Key>{escape(self.key)}</Key><ETag>{escape(made.etag)}</ETag>"
            self.answer_xml(f"<CompleteMultipartUploadResult>{text}</CompleteMultipartUploadResult>", made)
        elif "delete" in self.query:
            keys = [element.text or "" for element in self.elements() if _is(element, "Key")]
            with self.bucket.lock:
                for key in keys:
                    self.bucket.objects.pop(key, None)
            deleted = "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
            self.answer_xml(f"<DeleteResult>{deleted}</DeleteResult>")
        else:
            raise RefusedError(400, "InvalidRequest")

    def serve_delete(self) -> None:
        """Delete an object or give up an upload."""
        if "uploadId" in self.query:
            self.bucket.uploads.pop(self.query["uploadId"], None)
        else:
            with self.bucket.lock:
                self.bucket.objects.pop(self.key, None)
        self.answer(204)

    def elements(self) -> Iterator[ET.Element]:
        """The elements of the request's XML text."""
        return ET.fromstring(self.body).iter()  # noqa: S314  what tests send is trusted

    def open_upload(self) -> dict[int, bytes]:
        """The parts of the upload that the request names."""
        try:
            return self.bucket.uploads[self.query["uploadId"]]
        except KeyError:
            raise RefusedError(404, "NoSuchUpload") from None

    def listing(self) -> bytes:
        """One page of keys (ListObjectsV2); pages and common prefixes count alike towards ``max-keys``."""
        prefix, delimiter = self.query.get("prefix", ""), self.query.get("delimiter", "")
        after = max(self.query.get("start-after", ""), self.query.get("continuation-token", ""))
        most = min(int(self.query.get("max-keys") or 1000), 1000)
        with self.bucket.lock:
            objects = sorted(item for item in self.bucket.objects.items() if item[0].startswith(prefix))
        rows: dict[str, str] = {}
        for key, found in objects:
            head, cut, _ = key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            name = prefix + head + cut if cut else key
            if name <= after or name in rows:
                continue
            if len(rows) == most:
                last = escape(max(rows))
                more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{last}</NextContinuationToken>"
                break
            rows[name] = (
                f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" if cut else _row(key, found)
            )
        else:
            more = "<IsTruncated>false</IsTruncated>"
        counts = f"<Prefix>{escape(prefix)}</Prefix><KeyCount>{len(rows)}</KeyCount>"
        return f"<ListBucketResult>{counts}{more}{''.join(rows.values())}</ListBucketResult>".encode()

    def answer_xml(self, text: str, made: Object | None = None) -> None:
        """Send success with an XML text."""
        self.answer(200, text.encode(), made, kind="application/xml")

    def answer(
        self,
        status: int,
        data: bytes = b"",
        made: Object | None = None,
        *,
        kind: str = "text/plain",
        extra: dict[str, str] | None = None,
    ) -> None:
        """Send an answer, with what identifies the object."""
        headers = {"Content-Type": kind, **(extra or {})}
        if made is not None:
            headers["ETag"] = made.etag
            headers["x-goog-generation"] = str(made.generation)
            headers["Last-Modified"] = formatdate(made.modified, usegmt=True)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD" and status not in (204, 304):
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


def _is(element: ET.Element, name: str) -> bool:
    return element.tag.rpartition("}")[2] == name


def _row(key: str, found: Object) -> str:
    modified = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(found.modified))
    tags = f"<Key>{escape(key)}</Key><LastModified>{modified}</LastModified><ETag>{escape(found.etag)}</ETag>"
    return f"<Contents>{tags}<Size>{len(found.data)}</Size><StorageClass>STANDARD</StorageClass></Contents>"


def _range(header: str, size: int) -> tuple[int, int]:
    """First and last byte of a range header."""
    first, _, last = header.removeprefix("bytes=").partition("-")
    begin = int(first) if first else max(0, size - int(last))
    end = min(int(last), size - 1) if first and last else size - 1
    if begin > end:
        raise RefusedError(416, "InvalidRange")
    return begin, end


class _Server(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True


def serve(host: str, port: int, dialect: Dialect) -> None:
    """Serve one empty bucket until the process ends."""
    handler = type("BoundHandler", (Handler,), {"bucket": Bucket(), "dialect": dialect})
    with _Server((host, port), handler) as server:
        server.serve_forever()
