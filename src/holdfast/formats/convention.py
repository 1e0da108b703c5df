"""The seed's convention: ``.versions`` and ``.meta`` objects, byte-compatible with modelkit 0.1.3 (FORMAT.md §3 and §4).

Meta carries the seed's keys and one of ours, ``holdfast``, which modelkit passes through; ``.versions`` never has a key of
ours, because modelkit drops it. Keys that we do not know are kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from holdfast.errors import IntegrityError
from holdfast.formats.decoding import convert, from_json
from holdfast.formats.manifest import decode_entries, encode_entries, is_digest
from holdfast.model.digest import PREFIX
from holdfast.model.manifest import Entry, Manifest

__all__ = ["LAYOUTS", "META_FORMAT", "Meta", "decode_meta", "decode_versions", "encode_meta", "encode_versions"]

#: The newest format of our part of a meta; a larger one is refused.
META_FORMAT: Final = 1
LAYOUTS: Final = ("file", "tree", "tar.gz", "packs")


@dataclass(frozen=True, slots=True)
class Meta:
    """One version as its meta tells it.

    ``raw`` is the JSON as read, for those who want every key. ``manifest`` is None where a foreign meta does not list its
    files (an archive), and in layout ``packs``, where ``root`` is the digest (hex) of the object that lists
    them. ``files`` and ``size`` in bytes are None where it does not tell. ``push`` is the id of the push that made it, None for another program's. ``hash`` is the content hash.
    """

    pushed: datetime
    layout: str
    is_directory: bool
    hash: str | None = None
    manifest: Manifest | None = None
    root: str | None = None
    files: int | None = field(default=None, compare=False)
    size: int | None = field(default=None, compare=False)
    push: str | None = None
    listed: bool = True
    message: str | None = None
    who: str | None = None
    parent: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    raw: dict[str, Any] = field(default_factory=dict, compare=False)

    @property
    def file_name(self) -> str | None:
        """The own name of a file asset."""
        return self.manifest.entries[0].path if self.manifest is not None and self.manifest.single else None


def encode_versions(versions: list[str]) -> bytes:
    """The ``.versions`` object: exactly one key."""
    return msgspec.json.encode({"versions": versions})


def decode_versions(data: bytes | bytearray | memoryview, key: str) -> list[str]:
    """The listed versions as they stand, duplicates dropped.

    Raises:
        IntegrityError: not JSON, or not an object with a list of texts under ``versions``.
    """
    value = _decode_object(data, key)
    versions = value.get("versions")
    if not isinstance(versions, list) or not all(isinstance(version, str) for version in versions):
        raise IntegrityError(f"{key}: no list of versions under the key 'versions'", subject=key)
    return list(dict.fromkeys(versions))


def encode_meta(meta: Meta) -> bytes:
    """The ``.meta`` object: the seed's keys, then ours.

    ``contents`` stands only in layout ``tree``: modelkit fetches exactly the objects that it lists.
    """
    value: dict[str, Any] = {"push_date": meta.pushed.astimezone(UTC).isoformat(), "is_directory": meta.is_directory}
    if meta.hash is not None:
        value["hash"] = meta.hash
    if meta.layout == "tree" and meta.manifest is not None:
        value["contents"] = [entry.path for entry in meta.manifest.files]
    ours: dict[str, Any] = {"format": META_FORMAT, "layout": meta.layout, "push": meta.push}
    if meta.manifest is not None:
        ours |= {"files": len(meta.manifest.files), "bytes": meta.manifest.size}
        ours |= encode_entries(meta.manifest.entries)
    elif meta.root is not None:
        ours |= {"files": meta.files, "bytes": meta.size, "root": meta.root}
    optional = {"message": meta.message, "who": meta.who, "parent": meta.parent, "labels": meta.labels}
    ours |= {key: item for key, item in optional.items() if item}
    if meta.inputs:
        ours["inputs"] = list(meta.inputs)
    if not meta.listed:
        ours["listed"] = False
    return msgspec.json.encode(value | {"holdfast": ours})


def decode_meta(data: bytes | bytearray | memoryview, key: str) -> Meta:
    """Read a meta, ours or modelkit's.

    Without our part: ``contents`` means tree, ``is_directory`` without it tar.gz, else file (design §2).

    Raises:
        IntegrityError: not JSON, a key of the wrong kind, an unsafe path, or a hash that does not fit the entries.
    """
    value = _decode_object(data, key)
    ours = value.get("holdfast")
    is_directory = value.get("is_directory")
    if not isinstance(is_directory, bool):
        raise IntegrityError(f"{key}: 'is_directory' is not true or false", subject=key)
    pushed = _date(value.get("push_date"), key)
    try:
        if ours is None:
            return _foreign(value, pushed, is_directory=is_directory)
        return _own(value, convert(ours, _Own), pushed, is_directory=is_directory)
    except IntegrityError as error:
        raise IntegrityError(f"{key}: {error.message}", subject=key) from None
    except (msgspec.ValidationError, ValueError, TypeError) as error:
        raise IntegrityError(f"{key}: {error}", subject=key) from None


class _Own(msgspec.Struct):
    format: int
    layout: str
    push: str | None = None
    files: int | None = None
    bytes: int | None = None
    entries: Any = None
    entries_zstd: str | None = None
    root: str | None = None
    listed: bool = True
    message: str | None = None
    who: str | None = None
    parent: str | None = None
    labels: dict[str, str] = {}
    inputs: list[str] = []


def _own(value: dict[str, Any], ours: _Own, pushed: datetime, *, is_directory: bool) -> Meta:
    if ours.format > META_FORMAT:
        raise IntegrityError(f"format {ours.format} is newer than this program reads ({META_FORMAT}): upgrade it")
    if ours.layout not in LAYOUTS or (ours.layout == "file") == is_directory:
        raise IntegrityError(f"layout {ours.layout!r} does not fit is_directory {is_directory}")
    manifest = None
    if ours.layout == "packs" and (not is_digest(ours.root or "") or ours.entries is not None or ours.files is None):
        raise IntegrityError("layout packs without its root, or with entries")
    if ours.entries is not None or ours.entries_zstd is not None:
        manifest = Manifest(decode_entries(ours.entries, ours.entries_zstd), single=not is_directory)
    content_hash = _text(value.get("hash"))
    if manifest is not None and content_hash is not None and manifest.content_hash not in (None, content_hash):
        raise IntegrityError(f"the hash {content_hash} does not fit the entries ({manifest.content_hash})")
    return Meta(
        pushed=pushed,
        layout=ours.layout,
        is_directory=is_directory,
        hash=content_hash,
        manifest=manifest,
        root=ours.root if ours.layout == "packs" else None,
        files=len(manifest.files) if manifest is not None else ours.files,
        size=manifest.size if manifest is not None else ours.bytes,
        push=ours.push,
        listed=ours.listed,
        message=ours.message,
        who=ours.who,
        parent=ours.parent,
        labels=ours.labels,
        inputs=tuple(ours.inputs),
        raw=value,
    )


def _foreign(value: dict[str, Any], pushed: datetime, *, is_directory: bool) -> Meta:
    contents = value.get("contents")
    content_hash = _text(value.get("hash"))
    if content_hash is not None and not content_hash.startswith(PREFIX):
        content_hash = None
    if not is_directory:
        return Meta(pushed, "file", is_directory, content_hash, raw=value)
    if contents is None:
        return Meta(pushed, "tar.gz", is_directory, content_hash, raw=value)
    if not isinstance(contents, list) or not all(isinstance(path, str) for path in contents):
        raise IntegrityError("'contents' is not a list of paths")
    manifest = Manifest.of(Entry(path, size=-1) for path in dict.fromkeys(contents))
    files = len(manifest.files)
    return Meta(pushed, "tree", is_directory, content_hash, manifest, files=files, raw=value)


def _date(value: object, key: str) -> datetime:
    if not isinstance(value, str):
        raise IntegrityError(f"{key}: no 'push_date'", subject=key)
    try:
        date = datetime.fromisoformat(value)
    except ValueError:
        raise IntegrityError(f"{key}: 'push_date' {value!r} is no ISO date", subject=key) from None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _decode_object(data: bytes | bytearray | memoryview, key: str) -> dict[str, Any]:
    try:
        value = from_json(data, Any)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise IntegrityError(f"{key} is not JSON: {error}", subject=key) from None
    if not isinstance(value, dict):
        raise IntegrityError(f"{key} is not a JSON object", subject=key)
    return value
