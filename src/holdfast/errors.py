"""Every error that Holdfast raises on purpose, grouped by what the caller does next.

    HoldfastError
    ├── UsageError               the request itself is wrong: change it               (also ValueError)
    │   ├── InvalidSpecError
    │   ├── InvalidNameError
    │   └── InvalidVersionError
    ├── NotFoundError            nothing there: look at the names offered             (also LookupError)
    │   ├── ObjectNotFoundError      one key in a store
    │   ├── BucketNotFoundError      the bucket or container itself
    │   ├── AssetNotFoundError       a name
    │   └── VersionNotFoundError     a version, major, alias or sub-path of a name
    ├── ConflictError            somebody else was first: read again, decide
    │   ├── AlreadyExistsError       a create-only write found the key, a version is taken
    │   └── ChangedError             a replace found another version of the object
    ├── IntegrityError           bytes are not what they must be: do not use them
    ├── AccessError              not allowed, or not signed in: look at the credentials
    ├── UnreachableError         no answer: look at the endpoint and the network
    ├── UnsupportedError         the store cannot promise what the step needs
    ├── SourceChangedError       a file changed, or went, while it was pushed
    ├── BusyError                another process holds it, and the deadline passed
    └── LocalError               the local disk refused (full, read-only, missing)     (also OSError)

An error carries a stable ``kind``, the subject (key, path or spec), a hint, and its cause. How it is shown is the
command line's business. ``KINDS`` is the one table that maps a kind to exit code, HTTP status and errno.
"""

from __future__ import annotations

import errno

__all__ = [
    "KINDS",
    "AccessError",
    "AlreadyExistsError",
    "AssetNotFoundError",
    "BucketNotFoundError",
    "BusyError",
    "ChangedError",
    "ConflictError",
    "HoldfastError",
    "IntegrityError",
    "InvalidNameError",
    "InvalidSpecError",
    "InvalidVersionError",
    "LocalError",
    "NotFoundError",
    "ObjectNotFoundError",
    "SourceChangedError",
    "UnreachableError",
    "UnsupportedError",
    "UsageError",
    "VersionNotFoundError",
    "nearest",
    "raised_elsewhere",
]

#: kind -> (exit code, HTTP status, errno). Kinds are append-only.
KINDS: dict[str, tuple[int, int, int]] = {
    "failed": (1, 500, errno.EIO),
    "usage": (2, 400, errno.EINVAL),
    "not_found": (3, 404, errno.ENOENT),
    "conflict": (4, 409, errno.EBUSY),
    "already_exists": (4, 409, errno.EEXIST),
    "integrity": (5, 502, errno.EBADMSG),
    "not_allowed": (6, 403, errno.EACCES),
    "unreachable": (7, 503, errno.EHOSTUNREACH),
    "unsupported": (1, 501, errno.EOPNOTSUPP),
    "source_changed": (1, 409, errno.ESTALE),
    "busy": (1, 503, errno.EAGAIN),
    "local": (1, 500, errno.EIO),
    "interrupted": (130, 499, errno.EINTR),
}


class HoldfastError(Exception):
    """Base of all errors here: a message that says what happened to what, and a hint that says what to do."""

    kind = "failed"

    def __init__(self, message: str, *, subject: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.subject = subject
        self.hint = hint

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.subject, self.hint)

    @property
    def exit_code(self) -> int:
        """The exit code of a command that ends with this error."""
        return KINDS[self.kind][0]


def _rebuild(cls: type[HoldfastError], message: str, subject: str | None, hint: str | None) -> HoldfastError:
    return cls(message, subject=subject, hint=hint)


class UsageError(HoldfastError, ValueError):
    """The request is wrong whatever the state of the store; nothing was done."""

    kind = "usage"


class InvalidSpecError(UsageError):
    """A spec does not read as ``name[:version][[sub/path]]``."""


class InvalidNameError(UsageError):
    """A name breaks a rule of design §2."""


class InvalidVersionError(UsageError):
    """A version is not one of the asset's scheme."""


class NotFoundError(HoldfastError, LookupError):
    """What was asked for is not there."""

    kind = "not_found"


class ObjectNotFoundError(NotFoundError):
    """No object under this key (or, without the right to list, perhaps none)."""


class BucketNotFoundError(NotFoundError):
    """The bucket, container or root directory of the store does not exist."""


class AssetNotFoundError(NotFoundError):
    """No asset of this name in the store."""


class VersionNotFoundError(NotFoundError):
    """The asset is there; this version, major, alias or sub-path of it is not."""


class ConflictError(HoldfastError):
    """The state of the store does not allow it: somebody else came first."""

    kind = "conflict"


class AlreadyExistsError(ConflictError):
    """It exists, and what exists is never overwritten."""

    kind = "already_exists"


class ChangedError(ConflictError):
    """The object is not the version that was to be replaced."""


class IntegrityError(HoldfastError):
    """Bytes do not match their digest, length or format; they were not used."""

    kind = "integrity"


class AccessError(HoldfastError):
    """Refused: wrong or missing credentials, or rights that do not suffice."""

    kind = "not_allowed"


class UnreachableError(HoldfastError):
    """The store or server did not answer in time."""

    kind = "unreachable"


class UnsupportedError(HoldfastError):
    """The store cannot promise what this needs, and imitating it would lose data."""

    kind = "unsupported"


class SourceChangedError(HoldfastError):
    """A file was changed, replaced or removed while it was being pushed; no version was published."""

    kind = "source_changed"


class BusyError(HoldfastError):
    """Another process holds what is needed and the deadline passed."""

    kind = "busy"


class LocalError(HoldfastError, OSError):
    """The local file system refused: full, read-only, missing, or not what is needed."""

    kind = "local"


def nearest(wanted: str, known: list[str], *, most: int = 3) -> str | None:
    """A hint that names the nearest of the known words, or None where nothing is near."""
    from difflib import get_close_matches

    close = get_close_matches(wanted, known, n=most, cutoff=0.5)
    return f"did you mean {' or '.join(repr(word) for word in close)}?" if close else None


def raised_elsewhere(
    kind: str, message: str, *, name: str | None = None, subject: str | None = None, hint: str | None = None
) -> HoldfastError:
    """An error that a server told of, again: of the class of this name where that has this kind, else of the kind's first."""
    known = _classes(HoldfastError)
    cls = next((each for each in known if each.__name__ == name and each.kind == kind), None)
    return (cls or next((each for each in known if each.kind == kind), HoldfastError))(
        message, subject=subject, hint=hint
    )


def _classes(cls: type[HoldfastError]) -> list[type[HoldfastError]]:
    """A class and those below it, in this module."""
    below = [each for sub in cls.__subclasses__() if sub.__module__ == __name__ for each in _classes(sub)]
    return [cls, *below]
