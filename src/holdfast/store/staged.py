"""A mounted bucket with a server: read below the mount, written there to a place of the push's own, from where the server takes it.

A mount cannot promise that a file appears whole under its name, and only if nothing is there: s3fs copies to rename, mount-s3 cannot
rename, rclone uploads after the file was closed. So what a push writes goes to ``.holdfast/staged/<push>/``, is closed, and never touched again. ``settle``
then asks the server to take it: that waits until the bucket shows each object with its length and checksum, and copies it inside the
store to its key, if nothing is there.

No request leaves for the bucket, and no URL is asked to be signed.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
import time
from typing import TYPE_CHECKING, Final

from holdfast.config.mounts import normal_url
from holdfast.errors import (
    AccessError,
    AlreadyExistsError,
    IntegrityError,
    SourceChangedError,
    UnreachableError,
    UnsupportedError,
    UsageError,
)
from holdfast.formats import layout
from holdfast.formats.api import BATCH, Staged, TakeReply, TakeRequest
from holdfast.formats.records import StoreRecord, decode, moment
from holdfast.store.base import OVERWRITE, SMALL, ObjectInfo, Promises, PutMode, Replace
from holdfast.store.copying import steps, write_all
from holdfast.store.keys import checked_key
from holdfast.store.mount import MountStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import BinaryIO

    from _typeshed import ReadableBuffer

    from holdfast.formats.api import StoreReply
    from holdfast.remote import Remote
    from holdfast.store.base import Store
    from holdfast.store.far import Far
    from holdfast.store.mountpoint import MountPoint

__all__ = ["StagedStore", "prove"]

#: A store's record that is younger than this (in seconds) need not show in the mount yet: mounts remember folders for minutes.
_YOUNG: Final = 900.0
#: The server waits so long for an object before it says that it is still waiting.
_WAIT: Final = 20.0
#: How long nothing may come of what was staged before the push gives up, in the measure of one call's deadline.
_PATIENCE: Final = 5
_PAUSE: Final = 0.2
_STEP: Final = 1024 * 1024


class StagedStore(MountStore):
    """A :class:`~holdfast.store.mount.MountStore` that also writes, with :class:`~holdfast.store.base.Settles`.

    ``remote`` gives the project on the server; ``authority`` is its store.
    """

    def __init__(
        self,
        mount: MountPoint,
        authority: Far[Store],
        remote: Callable[[], Remote],
        prove: Callable[[MountStore], None] | None = None,
    ) -> None:
        super().__init__(mount, authority, prove)
        self._far = authority
        self._remote = remote
        self._staged: dict[str, dict[str, Staged]] = {}
        self._staging = threading.Lock()

    def promises(self) -> Promises:
        """What the server can promise with the store behind it."""
        return self._far.ask(lambda store: store.promises())

    # writing

    def put(self, key: str, data: ReadableBuffer, mode: PutMode = OVERWRITE) -> ObjectInfo:
        """Prepare an object, which is created by ``settle``; whether its key is free turns out there."""
        view = memoryview(data).cast("B")
        checked_key(key)
        if isinstance(mode, Replace):
            raise UnsupportedError(f"cannot replace {key} through a mount", subject=key, hint="the server does that")
        if view.nbytes > SMALL:
            hint = "put_file takes any size"
            raise UsageError(f"{key} has {view.nbytes} bytes, more than put takes", subject=key, hint=hint)
        return self._stage(key, (view[at : at + _STEP] for at in range(0, view.nbytes, _STEP)), view.nbytes)

    def put_file(self, key: str, source: BinaryIO, size: int, seen: Callable[[ReadableBuffer], None]) -> ObjectInfo:
        """Prepare a large object."""
        info = self._stage(checked_key(key), steps(source, size, seen), size)
        if source.read(1):
            raise SourceChangedError("the source is longer than it was")
        return info

    def settle(self, alive: Callable[[], None]) -> None:
        """The server takes everything that was prepared, at most a thousand objects a request."""
        with self._staging:
            staged, self._staged = self._staged, {}
        for push, objects in staged.items():
            self._taken(push, objects, alive)

    def _stage(self, key: str, pieces: Iterable[memoryview], size: int) -> ObjectInfo:
        self._ready()
        push = self._remote().pushes.of(key)
        if push is None:
            raise UnsupportedError(f"cannot write {key} without a push", subject=key)
        piece = secrets.token_hex(12)
        path = f"{self.mount.folder}/{layout.staged_key(push, piece)}"
        digest = self._written(key, path, pieces)
        with self._staging:
            self._staged.setdefault(push, {})[piece] = Staged(piece, key, size, digest)
        return ObjectInfo(key, size, "", time.time())

    def _written(self, key: str, path: str, pieces: Iterable[memoryview]) -> str:
        """Write a file to its end, close it, and never touch it again; the MD5 of what was written."""
        call, hasher = self.mount.call, hashlib.md5(usedforsecurity=False)
        size = 0
        self._check_still_mounted()  # else the folders made below are on the disk under it
        with self._refusals(key):
            call(lambda: os.makedirs(os.path.dirname(path), exist_ok=True))
            file = call(lambda: open(path, "xb", buffering=0))  # noqa: SIM115 - closed below, with a deadline
            try:
                for piece in pieces:
                    data = bytes(piece)  # a call that comes back late reads what it was given
                    hasher.update(data)
                    call(lambda data=data: write_all(file, data), len(data))  # type: ignore[misc]
                    size += len(data)
                call(lambda: os.fsync(file.fileno()), size)
            finally:
                call(file.close, size)
        return hasher.hexdigest()

    # taking

    def _taken(self, push: str, objects: dict[str, Staged], alive: Callable[[], None]) -> None:
        """Ask until everything is under its key; the deadline begins anew whenever something is."""
        patience = self.mount.seconds * _PATIENCE
        left, deadline = dict(objects), time.monotonic() + patience
        while left:
            alive()
            batch = list(left.values())[:BATCH]
            reply = self._ask(push, TakeRequest(batch, wait=min(_WAIT, patience)))
            for piece in reply.taken:
                if left.pop(piece, None) is not None:
                    deadline = time.monotonic() + patience
            if left and time.monotonic() > deadline:
                raise self._unseen(next(iter(left.values())), patience)
            if left and not reply.taken:
                time.sleep(_PAUSE)

    def _ask(self, push: str, body: TakeRequest) -> TakeReply:
        try:
            return self._remote().ask("POST", f"pushes/{push}/take", TakeReply, body=body)
        except AlreadyExistsError as error:
            if error.subject is not None and error.subject.startswith(f"{layout.OWN}/"):
                raise IntegrityError(
                    error.message, subject=error.subject, hint="asset verify --all tells more"
                ) from error
            raise

    def _unseen(self, staged: Staged, seconds: float) -> UnreachableError:
        mount = self.mount
        return UnreachableError(
            f"what was written for {staged.key} below the mount at {mount.root} has not come to {mount.url} in {seconds:.0f} s",
            subject=mount.root,
            hint="does the mount upload, and to that bucket? The setting mount_timeout says how long it is waited for",
        )


def prove(store: MountStore, told: Callable[[], StoreReply]) -> None:
    """See that what is mounted is the bucket that the server means, by the id in the store's own record.

    Raises:
        UnreachableError: it is another one.
    """
    try:
        reply = told()
    except (UnreachableError, AccessError):
        return  # nobody to compare it with; every byte is verified all the same
    mount, known = store.mount, normal_url(reply.url)
    if known != mount.url:
        raise mount.broken(f"the server says that the store is {reply.url}", hint="open the store again")
    if reply.record is None:
        return
    data = store.read_near(layout.STORE)
    if data is None:
        created = moment(reply.record.created, layout.STORE).timestamp()
        if reply.now - created > _YOUNG:
            raise mount.broken(
                f"it shows no store {reply.record.id}, which the server has there: is it another bucket?"
            )
        return
    found = decode(data, StoreRecord, layout.STORE)
    if found.id != reply.record.id:
        raise mount.broken(
            f"it shows the store {found.id} where the server has {reply.record.id}: it is another bucket"
        )
