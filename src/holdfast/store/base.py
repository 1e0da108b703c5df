"""The seam for bytes under keys: what every store must promise. No key is spelled here.

Keys are relative to the store's prefix, pieces joined by ``/``. The verbs are those of object stores (style.md lesson 3):
get whole or a range, put with a mode, head, list by prefix on path borders, delete, copy, sign. A put is seen whole or not at
all. What a store cannot promise it refuses with :class:`UnsupportedError`; nothing is imitated.

Errors, the same from every store: :class:`ObjectNotFoundError` and :class:`BucketNotFoundError` (a missing object and a missing
bucket), :class:`AccessError` (refused), :class:`UnreachableError` (no answer, after the store's own retries),
:class:`AlreadyExistsError` and :class:`ChangedError` (a conditional put that lost), :class:`UnsupportedError`.

An answer to a conditional put may be lost: after ANY error of a conditional put the object may or may not have been written.
Callers settle that by reading (design §3).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import BinaryIO

    from _typeshed import ReadableBuffer

__all__ = [
    "CREATE",
    "OVERWRITE",
    "SMALL",
    "Bulk",
    "Expects",
    "FillsFiles",
    "Listing",
    "ListsInOrder",
    "Object",
    "ObjectInfo",
    "OpensFiles",
    "Promises",
    "PutMode",
    "Replace",
    "Settles",
    "SignedUpload",
    "SignsUploads",
    "Store",
    "TakesPieces",
    "TellsChecksums",
    "UploadWish",
    "UploadsParts",
]

#: The largest object put with a condition, in bytes (design §3).
SMALL: Final = 64 * 1024 * 1024


class _Mode(Enum):
    CREATE = "create"
    OVERWRITE = "overwrite"


@dataclass(frozen=True, slots=True)
class Replace:
    """Put only if the object is still this version (an :attr:`ObjectInfo.version` that was read)."""

    version: str


CREATE: Final = _Mode.CREATE
OVERWRITE: Final = _Mode.OVERWRITE
PutMode = _Mode | Replace


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store tells of an object: size in bytes, modified in seconds since the epoch.

    ``version`` is an opaque text for :class:`Replace` and pinned reads; it changes whenever the bytes do (where it is an ETag,
    writing the same bytes again may keep it). ``modified`` is by the store's clock, but for the answer to a put, which tells none.
    ``etag`` is the store's own tag without quotes, where it has one; it may be an MD5 of the bytes.
    """

    key: str
    size: int
    version: str
    modified: float
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class Object:
    """Bytes and what they are of: the whole object, or the range asked for (``info.size`` is always the whole).

    ``foreign`` is what another program wrote over a swapped key past the store's own order (POSIX mirrors only, design §3): to
    be merged by the next Replace of ``info.version``.
    """

    data: ReadableBuffer
    info: ObjectInfo
    foreign: bytes | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """One level below a prefix: the objects directly there, and the prefixes one piece longer (no trailing slash)."""

    objects: tuple[ObjectInfo, ...]
    prefixes: tuple[str, ...]

    @classmethod
    def of(cls, below: Iterable[ObjectInfo], start: int) -> Listing:
        """The level, from everything below a prefix of ``start`` characters, its slash included."""
        objects: list[ObjectInfo] = []
        prefixes: dict[str, None] = {}
        for info in below:
            piece, slash, _ = info.key[start:].partition("/")
            if slash:
                prefixes[info.key[:start] + piece] = None
            else:
                objects.append(info)
        return cls(tuple(objects), tuple(prefixes))


@dataclass(frozen=True, slots=True)
class Promises:
    """What a store can do beyond plain reads and writes; a reason where it cannot."""

    create: bool
    replace: bool
    sign: bool = False
    reason: str | None = None


class Store(Protocol):
    """Bytes under keys. Safe to use from several threads."""

    @property
    def url(self) -> str:
        """The store's URL without credentials, as shown to people and used as its identity."""

    def promises(self) -> Promises:
        """What the store can promise, found out by a probe on scratch keys where that is the only way (design §3)."""

    def get(self, key: str) -> Object:
        """The whole object. Meant for small ones."""

    def get_range(self, key: str, start: int, length: int, *, version: str | None = None) -> Object:
        """Up to ``length`` bytes from ``start`` (fewer at the end of the object; none of an empty object).

        Raises:
            ChangedError: ``version`` is given and the object is another version by now.
        """

    def head(self, key: str) -> ObjectInfo:
        """What is known of the object."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Every object whose key starts with ``prefix`` and a slash (all, for ``""``), in the order of keys as bytes or not."""

    def list_level(self, prefix: str) -> Listing:
        """One level below the prefix."""

    def put(self, key: str, data: ReadableBuffer, mode: PutMode = OVERWRITE) -> ObjectInfo:
        """Write an object of at most :data:`SMALL` bytes.

        Raises:
            AlreadyExistsError: mode CREATE and the key exists.
            ChangedError: mode Replace and the object is another version, or gone.
        """

    def put_file(self, key: str, source: BinaryIO, size: int, seen: Callable[[ReadableBuffer], None]) -> ObjectInfo:
        """Write a large object from a file, in parts, several at a time; overwrites. A failed part is sent again alone.

        ``seen`` is given every byte once, in order, before the object can become visible; what it raises stops the
        upload and leaves nothing visible. Reads exactly ``size`` bytes or fails.
        """

    def delete(self, key: str) -> None:
        """Remove the object; one that is not there is no error."""

    def copy(self, source: str, target: str) -> None:
        """Copy inside the store, overwriting."""

    def sweep(self, seconds: float) -> int:
        """Remove what writers that were killed left unfinished this long ago, by the store's clock; how many.

        Unfinished multipart uploads of a bucket are out of reach here: a lifecycle rule of the bucket removes them.
        """

    def sign(self, key: str, method: str, seconds: int) -> str:
        """A URL with which anybody may GET or PUT the object for so long."""


@runtime_checkable
class OpensFiles(Protocol):
    """What a store of files on this machine offers beside, so that the kernel can copy large ones."""

    def open_file(self, key: str) -> tuple[BinaryIO, ObjectInfo]:
        """The object as an unbuffered file, which stays what it was when another takes its name; and what is known of it."""


@runtime_checkable
class ListsInOrder(Protocol):
    """What a store offers beside that can begin a listing anywhere."""

    @property
    def lists_in_order(self) -> bool:
        """Whether what comes before costs nothing; False where it is asked for and passed over."""

    def list_after(self, prefix: str, after: str) -> Iterator[ObjectInfo]:
        """Objects below ``prefix`` whose keys come after ``after``, in the order of keys as bytes, found as they are iterated."""


@runtime_checkable
class TakesPieces(Protocol):
    """What a store offers beside, where an object need not be in one piece of memory to be put."""

    def put_pieces(self, key: str, pieces: Sequence[ReadableBuffer], mode: PutMode) -> ObjectInfo:
        """``put`` of these pieces one behind the other."""


@runtime_checkable
class FillsFiles(Protocol):
    """What a store offers beside, where the kernel alone can bring an object's bytes into a file: nothing passes through here."""

    def get_range_to(
        self, key: str, start: int, length: int, descriptor: int, offset: int, *, version: str | None = None
    ) -> ObjectInfo | None:
        """The bytes of ``get_range`` into an open file at ``offset``; None where that cannot be, or was not, done in full.

        Then ``get_range`` says why, and what stands in the file there is undefined. Nobody has looked at the bytes yet.
        """


@runtime_checkable
class Bulk(Protocol):
    """What a store that is far away offers beside: ways to move much at little cost. What they leave, the store's verbs do."""

    def get_range_into(self, key: str, start: int, view: memoryview, *, version: str | None = None) -> Object:
        """As ``get_range`` of the view's length; the data are a part of the view where that saves copying."""

    def get_many(self, keys: Iterable[str], at_once: int) -> Iterator[tuple[str, Object | None]]:
        """Whole small objects, each of a different key, as they come; None for one that is to be asked for by ``get``."""

    def put_many(
        self, items: Iterable[tuple[str, ReadableBuffer]], at_once: int, md5_of: Callable[[str], str] | None = None
    ) -> Iterator[tuple[str, bool]]:
        """Overwrite small objects, each of a different key, as they go; False for one that is to be written by ``put``.

        ``md5_of`` tells the MD5 (hex) of the bytes under a key that was drawn, where the caller knows them all: it may save other digests.
        """


@runtime_checkable
class Expects(Protocol):
    """What a store offers beside that must ask for leave to read: it then asks for many keys at once, ahead of their use."""

    def expect(self, keys: Iterable[str]) -> None:
        """These keys will be read soon, in about this order, besides those that were told before."""


@runtime_checkable
class Settles(Protocol):
    """What a store offers beside whose puts are only prepared: nothing may rely on them before this was called."""

    def settle(self, alive: Callable[[], None]) -> None:
        """Everything that was put is under its key now. ``alive`` is called while it waits, and stops it by raising.

        Raises:
            AlreadyExistsError: something else is there under a key.
            UnreachableError: it has not come about within its deadline.
        """


@dataclass(frozen=True, slots=True)
class UploadWish:
    """An object to be: its length, and the MD5 of its bytes in base64 where it is known."""

    key: str
    size: int
    md5: str | None = None


@dataclass(frozen=True, slots=True)
class SignedUpload:
    """A URL to PUT to, with headers that are part of the signature and must be sent as they are."""

    url: str
    headers: dict[str, str]


@runtime_checkable
class SignsUploads(Protocol):
    """What a store offers beside that signs in batches, on this machine, without asking anybody."""

    @property
    def signs_uploads(self) -> bool:
        """Whether a PUT can be signed that creates and never overwrites, of one length."""

    def sign_downloads(self, keys: Sequence[str], seconds: int) -> list[str | None]:
        """URLs with which anybody may GET the objects for so long; None for a key that the store cannot sign."""

    def sign_uploads(self, wishes: Sequence[UploadWish], seconds: int) -> list[SignedUpload]:
        """URLs with which anybody may create each object once, with bytes of just that length, within so long.

        Raises:
            UnsupportedError: the store cannot, see ``signs_uploads``.
        """


@runtime_checkable
class TellsChecksums(Protocol):
    """What a store offers beside that keeps checksums of its objects."""

    def checksums(self, key: str) -> dict[str, str]:
        """The checksums that the store keeps of an object, by algorithm, as it writes them; none where it has none."""


@runtime_checkable
class UploadsParts(Protocol):
    """What a store offers beside whose large objects others may send, in parts. All raise UnsupportedError where it cannot."""

    def begin_parts(self, key: str) -> str:
        """The id of a new upload."""

    def sign_parts(self, key: str, upload: str, parts: Sequence[tuple[int, int]], seconds: int) -> list[SignedUpload]:
        """URLs to PUT parts, by number and length."""

    def complete_parts(self, key: str, upload: str, tags: Sequence[str]) -> ObjectInfo:
        """The object of all the parts; asked again for what is there already, the same. The caller has seen that nothing else is.

        Raises:
            ConflictError: the upload is gone, or a part is missing.
            AlreadyExistsError: another object is there.
        """
