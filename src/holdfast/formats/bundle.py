"""Bundles: versions in one file, a tar of objects under their keys with a list of them at its end (FORMAT.md §10).

The tar is read by code of our own, for tarfile believes whatever length a header tells. Nothing is ever unpacked by its name.
"""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from holdfast.errors import HoldfastError, IntegrityError
from holdfast.formats.decoding import from_json
from holdfast.model.manifest import check_path
from holdfast.model.name import check_readable
from holdfast.model.version import check_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

__all__ = [
    "END",
    "RECORD",
    "BundleRecord",
    "BundleVersion",
    "Found",
    "Member",
    "Other",
    "decode_record",
    "encode_record",
    "header",
    "padding",
    "walk",
]

#: The name of the last member.
RECORD: Final = ".holdfast/bundle.json"
_FORMAT: Final = 1
_BLOCK: Final = 512
#: What ends a tar.
END: Final = bytes(2 * _BLOCK)
#: The longest list of members, and the longest header of one, in bytes.
_LARGEST: Final = 256 * 1024 * 1024
_LONGEST: Final = 64 * 1024


class BundleVersion(msgspec.Struct, frozen=True, omit_defaults=True):
    """A version in a bundle; ``hash`` is None where its meta tells none."""

    name: str
    version: str
    hash: str | None = None
    aliases: tuple[str, ...] = ()


class Member(msgspec.Struct, frozen=True):
    """An object in a bundle: its key, length and digest (hex)."""

    key: str
    size: int
    blake3: str


class Other(msgspec.Struct, frozen=True, omit_defaults=True):
    """An object that is not in the tar: the same bytes are ``at`` another key, in the bundle, or in the target as part of ``of``."""

    key: str
    at: str
    size: int
    of: str | None = None


class BundleRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """The last member: what the bundle holds, in the order of the tar, and what it needs besides."""

    format: int
    at: str
    who: str
    store: str
    versions: tuple[BundleVersion, ...] = ()
    members: tuple[Member, ...] = ()
    others: tuple[Other, ...] = ()


class Found(NamedTuple):
    """A member as a walk meets it: where its bytes begin, and how many they are."""

    key: str
    offset: int
    size: int


def encode_record(record: BundleRecord) -> bytes:
    """The last member."""
    return msgspec.json.format(msgspec.json.encode(record), indent=1)


def decode_record(data: bytes, subject: str) -> BundleRecord:
    """Read the last member.

    Raises:
        IntegrityError: no record of a bundle, of a later format, or with names, versions or keys that cannot be.
    """
    try:
        record = from_json(data, BundleRecord)
        if record.format > _FORMAT:
            raise IntegrityError(
                f"{subject} has format {record.format}, this program reads up to {_FORMAT}: upgrade it", subject=subject
            )
        for version in record.versions:
            check_readable(version.name)
            check_text(version.version)
        for other in record.others:
            check_path(other.key)
            check_path(other.at)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise IntegrityError(f"{subject}: {error}", subject=subject) from None
    except HoldfastError as error:
        raise IntegrityError(f"{subject}: {error.message}", subject=subject) from None
    return record


def header(key: str, size: int) -> bytes:
    """What stands before the bytes of a member."""
    info = tarfile.TarInfo(key)
    info.size = size
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def padding(size: int) -> bytes:
    """What stands behind them."""
    return bytes(-size % _BLOCK)


def walk(file: BinaryIO, subject: str) -> Iterator[Found]:
    """The members of a bundle in order; the caller may read each from the file before it asks for the next.

    Raises:
        IntegrityError: truncated, no tar as we write it, or a member whose name leads out or appears twice.
    """
    length = file.seek(0, 2)
    at, seen = 0, set[str]()
    while True:
        info, at, override = _next_header(file, at, subject)
        if info is None:
            break
        key, size = override.get("path", info.name), _number(override.get("size", info.size), subject)
        check = _checked(key, subject)
        if check in seen:
            raise IntegrityError(f"{subject}: {key!r} appears twice", subject=subject)
        if not 0 <= size <= length - at:
            raise IntegrityError(f"{subject} is truncated in {key!r}", subject=subject)
        seen.add(key)
        yield Found(key, at, size)
        at += size + len(padding(size))
    file.seek(at)
    if length != at + _BLOCK or any(file.read(_BLOCK)):
        raise IntegrityError(f"{subject} does not end as a bundle does", subject=subject)


def _next_header(file: BinaryIO, at: int, subject: str) -> tuple[tarfile.TarInfo | None, int, dict[str, str]]:
    """The header of the next regular member, where its bytes begin, and what an extended header says instead."""
    override: dict[str, str] = {}
    while True:
        file.seek(at)
        block = file.read(_BLOCK)
        at += len(block)
        if len(block) == _BLOCK and not any(block):
            return None, at, {}
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
        except (tarfile.TarError, ValueError) as error:
            raise IntegrityError(f"{subject} is truncated, or no bundle: {error}", subject=subject) from None
        if info.type in (tarfile.REGTYPE, tarfile.AREGTYPE):
            return info, at, override
        if info.type != tarfile.XHDTYPE or override or not 0 <= info.size <= _LONGEST:
            raise IntegrityError(f"{subject}: {info.name!r} is no regular file", subject=subject)
        override = _extended(file.read(info.size), subject)
        at += info.size + len(padding(info.size))


def _extended(data: bytes, subject: str) -> dict[str, str]:
    """The records of an extended header: ``<length> <key>=<value>`` and a newline each."""
    found: dict[str, str] = {"": ""}
    while data:
        digits, _, _ = data.partition(b" ")
        length = int(digits) if digits.isdigit() and len(digits) < 8 else 0
        text, data = data[len(digits) + 1 : length], data[length:]
        key, equals, value = text.partition(b"=")
        if not length or not equals or not value.endswith(b"\n"):
            raise IntegrityError(f"{subject}: an extended header that cannot be read", subject=subject)
        try:
            found[key.decode()] = value[:-1].decode()
        except UnicodeDecodeError:
            raise IntegrityError(f"{subject}: an extended header that is not UTF-8", subject=subject) from None
    return found


def _number(text: str | int, subject: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise IntegrityError(f"{subject}: {text!r} is no length", subject=subject) from None


def _checked(key: str, subject: str) -> str:
    try:
        return check_path(key)
    except IntegrityError as error:
        raise IntegrityError(f"{subject}: {error.message}", subject=subject) from None
