"""Proves versions of layout ``packs``: root, pages, and the packs that they need, against each other and against their digests.

A :class:`Prover` reads each object of a store once in its life, however many versions need it: pages objects whole, packs by their
tables or, if ``deep``, whole. What it must remember of them lies in a file without a name, so memory is bounded by two packs.
What is found wrong is collected, object by object, with the files that need it; nothing is raised for it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from holdfast.errors import IntegrityError
from holdfast.formats import layout as keys
from holdfast.formats.container import PACK, PAGES, decode_table
from holdfast.model.digest import PREFIX, Hasher
from holdfast.model.manifest import HEADER, Manifest
from holdfast.transfer.manifests import opened
from holdfast.transfer.objects import Spool, prove, read_container, read_tail, unfolded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import Self

    from holdfast.formats.container import Piece
    from holdfast.formats.root import Page, Root
    from holdfast.model.chunk import Chunk, Placed
    from holdfast.store.base import Store
    from holdfast.transfer.engine import Engine

__all__ = ["Damage", "Prover"]

#: Tables that are kept decoded, and packs whose bytes are kept.
_DECODED: Final = 32
_HELD: Final = 2
#: What is read of a pack that was proven before and is not held any more.
_WINDOW: Final = 4 * 1024 * 1024
#: So many of the files that are lost with an object are named.
_NAMED: Final = 5
_DIR: Final = ord("d")


@dataclass(slots=True)
class Damage:
    """One object that is not what it must be: why, and the paths of the files that need it, as far as they are known."""

    key: str
    problem: str
    files: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        if not self.files:
            return self.problem
        count = len(self.files)
        named = ", ".join(map(repr, self.files[:_NAMED]))
        return f"{self.problem}; {'1 file needs' if count == 1 else f'{count} files need'} it, first {named}"


class Prover:
    """Proves versions of one store. ``folder`` is where it may write; used in a ``with`` block."""

    def __init__(self, store: Store, engine: Engine, folder: Path, *, deep: bool = False) -> None:
        self._store = store
        self._engine = engine
        self._deep = deep
        self._spool = Spool(folder)
        self._bad: dict[str, str] = {}
        self._rows: OrderedDict[str, dict[int, Piece]] = OrderedDict()
        self._held: OrderedDict[str, memoryview] = OrderedDict()
        self._window: tuple[str, int, memoryview] = ("", 0, memoryview(b""))
        self._files: set[bytes] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._spool.close()

    def check(self, root: Root, content_hash: str | None) -> list[Damage]:
        """What is wrong with a version of this root; nothing where every byte of it is there (as far as ``deep`` looks).

        Raises:
            IntegrityError: the entries themselves cannot be: an unsafe path, or one below a file.
        """
        check = _Check(self, root)
        if not self._deep:
            self._engine.run(lambda name: self._known(keys.pack_key(name), PACK), root.packs)
        occupied: set[bytes] = set()
        hasher = Hasher()
        hasher.update(HEADER)
        for entries in check.pages():
            _check_paths(entries)
            occupied.update(above for entry in entries for above in _parents(entry.path))
            check.entries(entries)
        check.packs()
        if not check.damages:
            for entries in check.pages():
                hasher.update(_canonical(entries, occupied))
            found = PREFIX + hasher.hexdigest()
            if content_hash is not None and found != content_hash:
                check.add("", f"its manifest has the content hash {found}, and not that of its meta")
        return list(check.damages.values())

    def page(self, page: Page) -> list[Placed]:
        """The entries of a page, from the store.

        Raises:
            IntegrityError: its object is damaged or another one, or lacks it.
        """
        key = keys.pages_key(page.object)
        piece = self._table(key, PAGES).get(page.offset)
        if piece is None or (piece.stored, piece.raw, piece.digest) != (page.stored, page.raw, page.digest):
            raise IntegrityError(f"{key} has no page at {page.offset} such as the root names", subject=key)
        return opened(page, self._spool.get(page.digest) or b"")

    def pack(self, name: str) -> None:
        """Raise IntegrityError unless the pack (hex name) is there and in order."""
        self._table(keys.pack_key(name), PACK)

    def file(self, entry: Placed) -> None:
        """Look at a file whose bytes are not in its page; if ``deep``, at the digest of its chunks together, too.

        Raises:
            IntegrityError: a chunk is no piece of its pack, or the digest is another.
        """
        assert not isinstance(entry.content, bytes)  # noqa: S101 - as the caller knows
        hasher = Hasher() if self._deep and len(entry.content) > 1 and entry.digest not in self._files else None
        for chunk in entry.content:
            self._chunk(chunk)
            if hasher is not None:
                hasher.update(self._raw(chunk))
        if hasher is not None:
            if hasher.digest() != entry.digest:
                path = entry.path.decode()
                raise IntegrityError(f"the chunks of {path!r} do not have its digest together", subject=path)
            self._files.add(entry.digest)

    def _chunk(self, chunk: Chunk) -> None:
        key = keys.pack_key(chunk.pack.hex())
        piece = self._table(key, PACK).get(chunk.offset)
        if piece is None or (piece.stored, piece.raw, piece.codec, piece.digest) != chunk[2:]:
            raise IntegrityError(f"{key} has no chunk at {chunk.offset} such as the manifest names", subject=key)

    def forget(self, key: str) -> None:
        """Look at an object that was damaged once more when it is needed: it was put back."""
        self._bad.pop(key, None)

    # the objects

    def _table(self, key: str, magic: bytes) -> dict[int, Piece]:
        """The pieces of an object by offset."""
        rows = self._rows.get(key)
        if rows is None:
            self._known(key, magic)
            if key in self._bad:
                raise IntegrityError(self._bad[key], subject=key)
            record = self._spool.get(key.encode()) or b""
            table = decode_table(record[8:], int.from_bytes(record[:8], "little"), magic, key)
            rows = self._rows[key] = {piece.offset: piece for piece in table.pieces}
            if len(self._rows) > _DECODED:
                self._rows.popitem(last=False)
        else:
            self._rows.move_to_end(key)
        return rows

    def _known(self, key: str, magic: bytes) -> None:
        """Look at an object, if that was not done before: its table goes to the spool, or what is wrong is noted."""
        if key in self._bad or self._spool.get(key.encode()) is not None:
            return
        try:
            if self._deep or magic == PAGES:
                size, tail = self._whole(key, magic)
            else:
                size, tail = read_tail(self._store, key, magic)
                decode_table(tail, size, magic, key)
        except IntegrityError as error:
            self._bad[key] = error.message
        else:
            self._spool.put(key.encode(), size.to_bytes(8, "little") + tail)

    def _whole(self, key: str, magic: bytes) -> tuple[int, bytes]:
        while len(self._held) >= _HELD:
            self._held.popitem(last=False)
        data = read_container(self._store, self._engine, key)
        table = prove(data, key, magic)
        if magic == PAGES:
            for piece in table.pieces:
                self._spool.put(piece.digest, data[piece.offset : piece.offset + piece.stored])
        else:
            self._held[key] = data
        return len(data), bytes(data[table.size :])

    def _raw(self, chunk: Chunk) -> memoryview:
        """The bytes of a chunk: from a pack that is held, else by a window that others of its file will be in, too."""
        key, end = keys.pack_key(chunk.pack.hex()), chunk.offset + chunk.stored
        held = self._held.get(key)
        if held is not None:
            stored = held[chunk.offset : end]
        else:
            name, start, data = self._window
            if name != key or not start <= chunk.offset <= end <= start + len(data):
                start = chunk.offset
                found = self._store.get_range(key, start, max(_WINDOW, chunk.stored))
                data = memoryview(found.data).cast("B")
                self._window = key, start, data
            stored = data[chunk.offset - start : end - start]
        return unfolded(stored, chunk, f"{key} at {chunk.offset}")


class _Check:
    """One version under proof."""

    def __init__(self, prover: Prover, root: Root) -> None:
        self._prover = prover
        self._root = root
        self._named = frozenset(map(bytes.fromhex, root.packs))
        self.damages: dict[str, Damage] = {}

    def add(self, key: str, problem: str, *files: str) -> None:
        """Note what is wrong with an object, and who needs it."""
        damage = self.damages.setdefault(key, Damage(key, problem))
        damage.files.extend(files)

    def pages(self) -> Iterator[list[Placed]]:
        """The entries page by page; pages that cannot be read are noted."""
        for page in self._root.pages:
            try:
                yield self._prover.page(page)
            except IntegrityError as error:
                first, last = page.first.decode(errors="replace"), page.last.decode(errors="replace")
                lost = f"; with it go the entries from {first!r} to {last!r}"
                self.add(keys.pages_key(page.object), error.message + lost)

    def packs(self) -> None:
        """Look at every pack that the root names, whether a file needs it or not."""
        for name in self._root.packs:
            try:
                self._prover.pack(name)
            except IntegrityError as error:
                self.damages.setdefault(keys.pack_key(name), Damage(keys.pack_key(name), error.message))

    def entries(self, entries: Iterable[Placed]) -> None:
        """Look at the files."""
        named = self._named
        for entry in entries:
            if isinstance(entry.content, bytes):
                continue
            path = entry.path.decode()
            try:
                self._prover.file(entry)
            except IntegrityError as error:
                self.add(error.subject or "", error.message, path)
            if not named.issuperset(chunk.pack for chunk in entry.content):
                self.add("", f"{path!r} needs packs that the root does not name")


def _check_paths(entries: list[Placed]) -> None:
    try:
        Manifest(tuple([entry.entry for entry in entries]))
    except UnicodeDecodeError as error:
        raise IntegrityError(f"path {error.object!r} in a manifest is not UTF-8") from None


def _parents(path: bytes) -> Iterator[bytes]:
    while path := path.rpartition(b"/")[0]:
        yield path


def _canonical(entries: Iterable[Placed], occupied: set[bytes]) -> bytes:
    texts = []
    for entry in entries:
        if entry.path not in occupied:
            texts.append(entry.canonical())
        elif entry.kind != _DIR:
            path = entry.path.decode()
            raise IntegrityError(f"something lies below {path!r}, which is no directory", subject=path)
    return b"".join(texts)
