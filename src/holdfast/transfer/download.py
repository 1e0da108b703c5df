"""Brings the files of one version into a directory in the making, every byte checked before it counts.

Whatever an earlier, killed run left there is checked like anything else and kept where it is right: a file that is whole costs
one read of the local disk, the start of a large one goes on where it ends.
"""

from __future__ import annotations

import hashlib
import os
import threading
import zlib
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from holdfast.cache.tree import file_mode, finish_copy, prepare_copy, umask_now
from holdfast.cache.work import sweep
from holdfast.disk import local_errors, refusal
from holdfast.errors import ChangedError, IntegrityError, ObjectNotFoundError, SourceChangedError
from holdfast.failpoint import reach
from holdfast.model.digest import Hasher, digest_of
from holdfast.model.manifest import PERMISSIONS, Entry, Manifest, parents
from holdfast.store.base import Bulk, Object, OpensFiles
from holdfast.store.copying import copy_shown, write_all
from holdfast.transfer.plan import PART
from holdfast.transfer.ranging import IN_FLIGHT, Ranges

if TYPE_CHECKING:
    import tarfile
    from collections.abc import Callable, Iterable, Iterator
    from typing import BinaryIO

    from _typeshed import ReadableBuffer

    from holdfast.model.result import Verified
    from holdfast.store.base import Store
    from holdfast.transfer.engine import Engine
    from holdfast.transfer.plan import ObjectPlan, TransferPlan

__all__ = ["Download", "Outcome", "unpack_archive"]

_TRIES: Final = 2
#: How many large objects are fetched side by side; they share a window of ranges.
_LARGE_AT_ONCE: Final = 4
_STEP: Final = 4 * 1024 * 1024
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL


@dataclass(slots=True)
class Outcome:
    """What a download found: bytes that came over the wire, digests of files (by path), and the weakest proof of them."""

    bytes: int = 0
    digests: dict[str, str] = field(default_factory=dict)
    verified: Verified = "digest"
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, path: str, digest: str, proof: Verified) -> None:
        """Note one file."""
        with self._lock:
            self.digests[path] = digest
            if proof != self.verified and _STRENGTH.index(proof) > _STRENGTH.index(self.verified):
                self.verified = proof

    def moved(self, count: int) -> None:
        """Note bytes."""
        with self._lock:
            self.bytes += count


_STRENGTH: Final[tuple[Verified, ...]] = ("digest", "etag", "length")


class Download:
    """One version's objects into ``copy`` (a file or a directory to be), with ``scratch`` for an archive."""

    def __init__(self, store: Store, engine: Engine, copy: Path, scratch: Path) -> None:
        self._store = store
        self._engine = engine
        self._copy = copy
        self._scratch = scratch
        self._root: str | None = None  # of the files, where they are several
        self._resumed = True  # whether an earlier run may have left some of them
        self._large_at_once = 1
        self._made: dict[int, bool] = {}  # whether a new file of this recorded mode gets the mode that it should have
        self._finished: set[str] = set()  # files that have their modes and times
        self.outcome = Outcome()

    def files(self, plan: TransferPlan, manifest: Manifest) -> None:
        """Fetch a file asset or the files of a tree, then set links, modes and times."""
        entries = manifest.entries
        with local_errors(self._copy):
            self._resumed = sweep(self._copy, manifest)
            if not manifest.single:
                self._copy.mkdir(exist_ok=True)
                prepare_copy(str(self._copy), entries)
                self._root = str(self._copy)
        missing = (item for item in plan.small if not self._is_there(item))
        rest = self._got_in_bulk(missing, plan.lines)
        self._engine.pipe(rest, self._asked, self._keep, at_once=plan.at_once)
        self._large_at_once = max(1, min(_LARGE_AT_ONCE, len(plan.large)))
        self._engine.run(lambda item: self._retried(item, self._large), plan.large, at_once=self._large_at_once)
        with local_errors(self._copy):
            if manifest.single:
                finish_copy(str(self._copy.parent), [replace(entries[0], path=self._copy.name)])
            else:
                finish_copy(str(self._copy), [entry for entry in entries if entry.path not in self._finished])

    def archive(self, item: ObjectPlan, manifest: Manifest | None) -> Manifest:
        """Fetch a tar.gz and unpack it; with a manifest, only what it lists, each file checked against it."""
        self._retried(item, self._large)
        self.outcome.digests.clear()
        with local_errors(self._copy):
            sweep(self._copy, manifest or Manifest(()))
            self._copy.mkdir(exist_ok=True)
            entries = list(unpack_archive(self._scratch, self._copy, item.key, manifest))
        found = manifest or Manifest.of(entries)
        missing = {e.path for e in found.files} - {e.path for e in entries}
        if missing:
            raise IntegrityError(f"{item.key}: the archive lacks {min(missing)!r}", subject=item.key)
        with local_errors(self._copy):
            finish_copy(str(self._copy), found.entries)
        self._scratch.unlink(missing_ok=True)
        return found

    def _target(self, item: ObjectPlan) -> Path:
        return Path(self._target_text(item))

    def _target_text(self, item: ObjectPlan) -> str:
        """Where the object goes, as a text, for thousands of paths cost time."""
        if item.entry is None:
            return str(self._scratch)
        return str(self._copy) if self._root is None else f"{self._root}/{item.entry.path}"

    def _retried(self, item: ObjectPlan, fetch: Callable[[ObjectPlan, Path], None]) -> None:
        """A file that comes out wrong is fetched once more from nothing: the wire may be to blame; then the object is."""
        target = self._target(item)
        for attempt in range(_TRIES):
            try:
                with local_errors(target):
                    fetch(item, target)
            except (IntegrityError, ChangedError) as error:
                target.unlink(missing_ok=True)
                if attempt == _TRIES - 1:
                    raise IntegrityError(str(error), subject=item.key, hint=error.hint) from error
            except ObjectNotFoundError as error:
                raise IntegrityError(
                    f"{item.key} is missing, though its version is published",
                    subject=item.key,
                    hint="the store has lost data: asset verify tells what else is missing",
                ) from error
            else:
                reach("fetch.data-partly")
                return

    def _got_in_bulk(self, missing: Iterable[ObjectPlan], lines: int) -> Iterator[ObjectPlan]:
        """Fetch what the store gives in bulk; what is left."""
        if not isinstance(self._store, Bulk):
            yield from missing
            return
        on_the_way: dict[str, ObjectPlan] = {}

        def drawn() -> Iterator[str]:
            for item in missing:
                on_the_way[item.key] = item
                yield item.key

        for key, found in self._store.get_many(drawn(), self._engine.bound(lines)):
            item = on_the_way.pop(key)
            if found is None:
                yield item
            else:
                self._keep((item, found))

    def _asked(self, item: ObjectPlan) -> tuple[ObjectPlan, Object | None]:
        """The bytes of a small object; None for what is asked for once more, and then judged."""
        try:
            return item, self._store.get(item.key)
        except (IntegrityError, ChangedError, ObjectNotFoundError):
            return item, None

    def _keep(self, answer: tuple[ObjectPlan, Object | None]) -> None:
        item, found = answer
        if found is not None and self._kept(item, found):
            return
        self._retried(item, lambda item, target: self._small(item, target, self._store.get(item.key)))

    def _kept(self, item: ObjectPlan, found: Object) -> bool:
        """Check and write what came; False where it is wrong, and nothing was written."""
        target = self._target_text(item)
        try:
            self._small(item, target, found)
        except (IntegrityError, ChangedError):
            return False
        except OSError as error:
            raise refusal(error, self._copy) from error
        reach("fetch.data-partly")
        return True

    def _small(self, item: ObjectPlan, target: Path | str, found: Object) -> None:
        data = memoryview(found.data)
        self._arrived(data.nbytes)
        digest = digest_of(data)
        proof = _check(item, digest, data.nbytes, found, lambda: hashlib.md5(data, usedforsecurity=False).hexdigest())
        self._write_new(target, data, item.entry)
        self._note(item, digest, proof)

    def _write_new(self, target: Path | str, data: memoryview, entry: Entry | None) -> None:
        """Write a file, with mode and time where that takes no further call; what an earlier, killed run left there goes first."""
        recorded = entry.mode if entry is not None else None
        asked = 0o666 if recorded is None else file_mode(recorded, 0)
        try:
            descriptor = os.open(target, _NEW, asked)
        except FileExistsError:
            os.unlink(target)
            descriptor = os.open(target, _NEW, asked)
        try:
            view = data.cast("B")
            while view:
                view = view[os.write(descriptor, view) :]
            if entry is not None and recorded is not None and self._gets_mode(descriptor, recorded):
                if entry.mtime is not None:
                    os.utime(descriptor, ns=(entry.mtime, entry.mtime))
                self._finished.add(entry.path)
        finally:
            os.close(descriptor)

    def _gets_mode(self, descriptor: int, recorded: int) -> bool:
        """Whether a new file has the mode at once that it should have: not where a default ACL stands in for the umask."""
        known = self._made.get(recorded)
        if known is None:
            found = os.fstat(descriptor).st_mode & PERMISSIONS
            known = self._made[recorded] = found == file_mode(recorded, umask_now())
        return known

    def _is_there(self, item: ObjectPlan) -> bool:
        """Whether an earlier run left the file whole."""
        if not self._resumed or item.entry is None or item.entry.digest is None:
            return False
        target = self._target(item)
        with local_errors(target):
            if not target.is_file() or target.stat().st_size != item.size:
                return False
            if digest_of(target.read_bytes()) != item.entry.digest:
                return False
        self._note(item, item.entry.digest, "digest")
        self._engine.progress.advance(item.size)
        return True

    def _large(self, item: ObjectPlan, target: Path) -> None:
        md5 = hashlib.md5(usedforsecurity=False)
        known = item.entry is not None and item.entry.digest is not None

        def digest_piece(piece: memoryview) -> None:
            hasher.update(piece)
            if not known:
                md5.update(piece)

        _make_writable(target)
        with open(target, "r+b" if target.exists() else "w+b", buffering=0) as file:
            start, hasher = self._resume(file, item) if known else (0, Hasher())
            os.truncate(file.fileno(), start)
            file.seek(start)
            receive = self._copied if isinstance(self._store, OpensFiles) else self._received
            first = receive(item, file, digest_piece)
            got = file.tell()
        digest = hasher.hexdigest()
        self._note(item, digest, _check(item, digest, got, first, md5.hexdigest))

    def _copied(self, item: ObjectPlan, file: BinaryIO, digest_piece: Callable[[memoryview], None]) -> Object:
        """The rest of an object that is a file of this machine."""
        assert isinstance(self._store, OpensFiles)  # noqa: S101 - for the type checker; the caller looked
        source, info = self._store.open_file(item.key)

        def seen(piece: ReadableBuffer) -> None:
            data = memoryview(piece)
            digest_piece(data)
            self._arrived(data.nbytes)

        with source:
            _check_size(item, info.size)
            source.seek(file.tell())
            try:
                copy_shown(source, file, info.size - file.tell(), seen)
            except SourceChangedError as error:
                raise ChangedError(f"{item.key} changed while it was read", subject=item.key) from error
        return Object(b"", info)

    def _received(self, item: ObjectPlan, file: BinaryIO, digest_piece: Callable[[memoryview], None]) -> Object | None:
        """The rest of an object by ranges; the first of them."""
        start = file.tell()
        if start == item.size > 0:
            return None
        found = Ranges(self._store, self._engine, item.key, start, self._large_at_once)
        _check_size(item, found.first.info.size)
        found.save(file, digest_piece, self._arrived)
        return found.first

    def _resume(self, file: BinaryIO, item: ObjectPlan) -> tuple[int, Hasher]:
        """Hash what an earlier run left, up to a border of parts before which nothing lacks; the rest is fetched."""
        length, hasher = os.fstat(file.fileno()).st_size, Hasher()
        if length > item.size:
            return 0, hasher
        start = max(0, length - IN_FLIGHT) // PART * PART
        self._hash(file, hasher, start)
        if length == item.size:
            whole = hasher.copy()
            self._hash(file, whole, length - start)
            if item.entry is not None and whole.hexdigest() == item.entry.digest:
                start, hasher = length, whole
        self._engine.progress.advance(start)
        return start, hasher

    @staticmethod
    def _hash(file: BinaryIO, hasher: Hasher, length: int) -> None:
        while length:
            data = file.read(min(_STEP, length))
            hasher.update(data)
            length -= len(data)

    def _arrived(self, count: int) -> None:
        self.outcome.moved(count)
        self._engine.moved(count)

    def _note(self, item: ObjectPlan, digest: str, proof: Verified) -> None:
        self.outcome.add(item.entry.path if item.entry else "", digest, proof)


def _check_size(item: ObjectPlan, size: int) -> None:
    if item.size >= 0 and size != item.size:
        raise IntegrityError(f"{item.key} has {size} bytes instead of {item.size}", subject=item.key)


def _check(item: ObjectPlan, digest: str, count: int, found: Object | None, md5: Callable[[], str]) -> Verified:
    """What proves these bytes right: our digest, else the store's MD5 tag, else their number."""
    _check_size(item, count)
    expected = item.entry.digest if item.entry else None
    if expected is not None:
        if digest != expected:
            raise IntegrityError(
                f"{item.key} does not match its digest",
                subject=item.key,
                hint="asset verify tells what else is damaged",
            )
        return "digest"
    if found is not None and count != found.info.size:
        raise IntegrityError(f"{item.key} has {count} bytes instead of {found.info.size}", subject=item.key)
    tag = found.info.etag if found is not None else None
    return "etag" if tag is not None and len(tag) == 32 and tag.lower() == md5() else "length"


def unpack_archive(archive: Path, target: Path, key: str, manifest: Manifest | None = None) -> Iterator[Entry]:
    """Write the files of a tar.gz below a folder, and yield every entry; links are left to ``finish_copy``.

    Names are checked before anything is written, devices and the like are refused.

    Raises:
        IntegrityError: it cannot be read, leads out of the folder, or is not what the manifest says.
    """
    import tarfile  # here, for trees need nothing of it

    wanted = {entry.path: entry for entry in manifest.entries} if manifest is not None else None
    made: dict[str, Entry] = {}
    try:
        with tarfile.open(archive, mode="r:gz") as members:
            for member in members:
                path = member.name.removeprefix("./").rstrip("/")
                if not path or path == ".":
                    continue
                made[path] = entry = _entry_of(member, path, key, wanted)
                Manifest((entry,))
                if any(above in made and made[above].kind != "dir" for above in parents(path)):
                    raise IntegrityError(f"{key}: {path!r} lies below something that is no directory", subject=key)
                prepare_copy(str(target), [entry])
                if entry.kind == "file":
                    made[path] = entry = _unpack_file(members, member, target, entry, key, checked=wanted is not None)
                yield entry
            while members.fileobj.read(_STEP):
                pass  # to the very end, where gzip's own check of all that was read stands
    except (tarfile.TarError, zlib.error, EOFError, KeyError, ValueError, OverflowError) as error:
        raise IntegrityError(f"{key} is no readable tar.gz: {error}", subject=key) from error
    except OSError as error:
        if error.errno is None:  # gzip's own complaints (bad checksum, not a gzip file)
            raise IntegrityError(f"{key} is no readable tar.gz: {error}", subject=key) from error
        raise


def _entry_of(member: tarfile.TarInfo, path: str, key: str, wanted: dict[str, Entry] | None) -> Entry:
    if wanted is not None:
        if path not in wanted:
            raise IntegrityError(f"{key}: the archive has {path!r}, which the manifest has not", subject=key)
        return wanted[path]
    mtime = int(member.mtime * 1_000_000_000)
    if abs(mtime) >= 1 << 63:
        raise IntegrityError(f"{key}: {path!r} has a time that no file can have", subject=key)
    if member.isdir():
        return Entry(path, "dir", mode=member.mode & 0o777, mtime=mtime)
    if member.issym():
        return Entry(path, "link", mtime=mtime, target=member.linkname)
    if member.isfile() or member.islnk():
        return Entry(path, "file", size=-1 if member.islnk() else member.size, mode=member.mode & 0o777, mtime=mtime)
    raise IntegrityError(f"{key}: {path!r} is a device, fifo or the like", subject=key)


def _unpack_file(
    members: tarfile.TarFile, member: tarfile.TarInfo, target: Path, entry: Entry, key: str, *, checked: bool
) -> Entry:
    source = members.extractfile(member)
    if source is None:
        raise IntegrityError(f"{key}: {entry.path!r} has no content", subject=key)
    hasher, total = Hasher(), 0
    _make_writable(target / entry.path)
    with open(target / entry.path, "wb", buffering=0) as file:
        while data := source.read(_STEP):
            total += len(data)
            if checked and total > entry.size:
                break
            hasher.update(data)
            write_all(file, memoryview(data))
    if checked and (total != entry.size or hasher.hexdigest() != entry.digest):
        raise IntegrityError(f"{key}: {entry.path!r} in the archive does not match its digest", subject=key)
    return replace(entry, size=total, digest=hasher.hexdigest())


def _make_writable(target: Path) -> None:
    """A run that was killed late has given its files their modes already, which may forbid to write them."""
    with suppress(FileNotFoundError):
        target.chmod(0o600)
