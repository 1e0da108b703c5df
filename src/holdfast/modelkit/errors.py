"""modelkit's tree of errors, each of them also the error of :mod:`holdfast.errors` that it is.

So ``except`` clauses written for either find it, with exit code, hint and cause::

    StorageDriverError                       StorageConfigurationError, StorageAccessError, StorageUnreachableError,
    │                                        StorageUnsupportedError, BucketDoesNotExistError
    └── ObjectDoesNotExistError              VersionDoesNotExistError, RemoteAssetDoesNotExistError
    AssetsManagerError                       AssetConflictError, AssetSourceChangedError, AssetUsageError
    ├── AssetAlreadyExistsError
    ├── AssetDoesNotExistError               RemoteAssetDoesNotExistError
    ├── AssetMajorVersionDoesNotExistError
    ├── InvalidAssetSpecError
    │   ├── InvalidVersionError
    │   └── InvalidNameError
    ├── LocalAssetDoesNotExistError
    └── UnknownAssetsVersioningSystemError
    AssetFetchError                          AssetIntegrityError, AssetLockTimeoutError (also TimeoutError)
    UnknownDriverError, DriverNotInstalledError, NoConfiguredProviderError (in ``remote``)

Those on the right are ours, and so is ModelkitError, the base of them all. Signatures on the left are modelkit's; a message that is a sentence already is not wrapped again.
The local disk's refusals stay :class:`holdfast.errors.LocalError`, which is an OSError.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from holdfast import errors as core

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_WORD: Final = re.compile(r"\S*\Z")
Made = TypeVar("Made", bound=core.HoldfastError)


class ModelkitError(core.HoldfastError):
    """Base of all errors here. May be raised without a message, as modelkit's may, and pickles whatever its signature is."""

    def __init__(self, message: str = "", *, subject: str | None = None, hint: str | None = None) -> None:
        super().__init__(message or type(self).__name__, subject=subject, hint=hint)

    def __reduce__(self) -> tuple[object, ...]:
        return _made, (type(self), self.message, self.subject, self.hint)


class StorageDriverError(ModelkitError):
    """A store could not do what was asked."""


class ObjectDoesNotExistError(StorageDriverError, core.ObjectNotFoundError):
    """No object of this name in the bucket."""

    def __init__(self, driver: object, bucket: str, object_name: str) -> None:
        super().__init__(f"no object {object_name} in {bucket} ({driver})", subject=object_name)


class AssetsManagerError(ModelkitError):
    """The assets do not allow it."""


class AssetAlreadyExistsError(AssetsManagerError, core.AlreadyExistsError):
    """The asset, or this version of it, exists; what exists is never overwritten."""

    def __init__(self, name: str) -> None:
        super().__init__(_worded(name, "asset {} exists"), subject=name, hint="push a new version of it with update")


class AssetDoesNotExistError(AssetsManagerError, core.AssetNotFoundError):
    """No asset of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(_worded(name, "no asset {}"), subject=name, hint="push the first version of it with new")


class AssetMajorVersionDoesNotExistError(AssetsManagerError, core.VersionNotFoundError):
    """The asset has no version of this major."""

    def __init__(self, name: str, major: str) -> None:
        super().__init__(f"no version {major}.* of {name}", subject=f"{name}:{major}")


class InvalidAssetSpecError(AssetsManagerError, core.InvalidSpecError):
    """The text is no spec."""

    def __init__(self, spec: str) -> None:
        super().__init__(_worded(spec, "invalid asset spec {!r}: it reads name[:version][[sub/part]]"), subject=spec)


class InvalidVersionError(InvalidAssetSpecError, core.InvalidVersionError):
    """The text is no version of the versioning system."""

    def __init__(self, version: str) -> None:
        ModelkitError.__init__(self, _worded(version, "invalid asset version {!r}"), subject=version)


class InvalidNameError(InvalidAssetSpecError, core.InvalidNameError):
    """The text is no name."""

    def __init__(self, name: str) -> None:
        ModelkitError.__init__(self, _worded(name, "invalid asset name {!r}"), subject=name)


class LocalAssetDoesNotExistError(AssetsManagerError, core.VersionNotFoundError):
    """This version is not in the assets folder; the message lists those that are."""

    def __init__(self, name: str, version: str | None, local_versions: Iterable[str]) -> None:
        there = ", ".join(local_versions) or "none"
        wanted = f"{name}:{version}" if version else name
        super().__init__(f"no local version {wanted}; local versions of {name}: {there}", subject=wanted)


class UnknownAssetsVersioningSystemError(AssetsManagerError, core.UsageError):
    """No versioning system of this name is built in or registered."""


class AssetFetchError(ModelkitError):
    """A fetched asset is not what it must be, or has not the part asked for."""


# Ours: what modelkit hides in one of the above, or lets through raw.


class StorageConfigurationError(StorageDriverError, core.UsageError):
    """The settings of the store make no sense; the setting is named."""


class BucketDoesNotExistError(StorageDriverError, core.BucketNotFoundError):
    """There is no such bucket, container or folder."""


class StorageAccessError(StorageDriverError, core.AccessError):
    """Refused; never taken for "does not exist" (fault W16)."""


class StorageUnreachableError(StorageDriverError, core.UnreachableError):
    """No answer."""


class StorageUnsupportedError(StorageDriverError, core.UnsupportedError):
    """The store cannot promise what a safe push needs."""


class RemoteAssetDoesNotExistError(ObjectDoesNotExistError, AssetDoesNotExistError):
    """No such asset in the store: what modelkit calls a missing object on a fetch, and a missing asset on an update."""

    def __init__(self, name: str) -> None:
        ModelkitError.__init__(self, _worded(name, "no asset {} in the store"), subject=name)


class VersionDoesNotExistError(ObjectDoesNotExistError, core.VersionNotFoundError):
    """The asset is in the store; this version is not."""


class AssetConflictError(AssetsManagerError, core.ConflictError):
    """Another program came between."""


class AssetSourceChangedError(AssetsManagerError, core.SourceChangedError):
    """What was pushed changed under way; nothing was published."""


class AssetUsageError(AssetsManagerError, core.UsageError):
    """The request cannot be met whatever the state of the store."""


class AssetIntegrityError(AssetFetchError, core.IntegrityError):
    """The store's bytes are not what was pushed; they were not used."""


class AssetLockTimeoutError(AssetFetchError, core.BusyError, TimeoutError):
    """Another process is fetching the same version, and the timeout passed."""


#: Ours to modelkit's, most special first.
_TABLE: Final[tuple[tuple[type[core.HoldfastError], type[core.HoldfastError]], ...]] = (
    (core.InvalidNameError, InvalidNameError),
    (core.InvalidVersionError, InvalidVersionError),
    (core.InvalidSpecError, InvalidAssetSpecError),
    (core.UsageError, AssetUsageError),
    (core.BucketNotFoundError, BucketDoesNotExistError),
    (core.AssetNotFoundError, RemoteAssetDoesNotExistError),
    (core.VersionNotFoundError, VersionDoesNotExistError),
    (core.ObjectNotFoundError, ObjectDoesNotExistError),
    (core.AlreadyExistsError, AssetAlreadyExistsError),
    (core.ConflictError, AssetConflictError),
    (core.IntegrityError, AssetIntegrityError),
    (core.AccessError, StorageAccessError),
    (core.UnreachableError, StorageUnreachableError),
    (core.UnsupportedError, StorageUnsupportedError),
    (core.SourceChangedError, AssetSourceChangedError),
    (core.BusyError, AssetLockTimeoutError),
)


@contextmanager
def translated(*, usage: type[core.HoldfastError] | None = None) -> Iterator[None]:
    """Raise errors of :mod:`holdfast.errors` as the ones here that they are; ``usage`` is for mere usage errors."""
    try:
        yield
    except (ModelkitError, core.LocalError):
        raise
    except core.HoldfastError as error:
        kind = next((ours for theirs, ours in _TABLE if isinstance(error, theirs)), None)
        if usage is not None and kind is AssetUsageError:
            kind = usage
        if kind is None:
            raise
        raise saying(kind, error) from error


def saying(kind: type[Made], error: core.HoldfastError) -> Made:
    """An error of this kind that says what another one says."""
    return _made(kind, error.message, error.subject, error.hint)


def _made(kind: type[Made], message: str, subject: str | None, hint: str | None) -> Made:
    made = kind.__new__(kind)
    core.HoldfastError.__init__(made, message, subject=subject, hint=hint)
    return made


def _worded(text: str, pattern: str) -> str:
    """The pattern around a word; a sentence stays as it is."""
    return pattern.format(text) if _WORD.match(text) else text
