"""The settings that exist: name, environment variables, default, and what a value may be.

Pure: a value comes in as text (environment, command line) or as a TOML value, and goes out checked and typed, or as a
:class:`UsageError` that says what it should have been. ``KEYS`` is the one list; the command line and the documents
follow it.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

from holdfast.config.schemes import third_party
from holdfast.errors import UsageError, nearest
from holdfast.model.version import scheme_named

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ALIASES", "BUCKET_SCHEMES", "KEYS", "Key", "key_named", "parse_mounts", "parse_size"]

#: Schemes of stores in a bucket, as they stand in URLs; ``gcs`` is read as ``gs``.
BUCKET_SCHEMES: Final = ("s3", "gs", "az")
_SCHEMES: Final = (*BUCKET_SCHEMES, "gcs", "file", "memory", "http", "https")

_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(I?B)?\s*\Z", re.IGNORECASE)
_UNITS: Final = " KMGT"
_LONGEST: Final = 1e9


@dataclass(frozen=True, slots=True)
class Key:
    """One setting: ``parse`` checks and types a value, ``environment`` names its variables, strongest first."""

    name: str
    summary: str
    parse: Callable[[object], object]
    environment: tuple[str, ...] = ()
    default: object = None
    secret: bool = False

    @property
    def attribute(self) -> str:
        """The name of the field of ``Settings`` that holds it."""
        return self.name.replace(".", "_")

    def check(self, value: object, origin: str | None = None) -> object:
        """The value, checked and typed.

        Raises:
            UsageError: it is not what this setting takes; the message names the setting and, where given, the origin.
        """
        try:
            return self.parse(value)
        except UsageError as error:
            where = f" (from {origin})" if origin else ""
            raise UsageError(
                f"setting {self.name!r}{where}: {error.message}", subject=self.name, hint=error.hint
            ) from None


def parse_size(value: object) -> int:
    """Bytes: ``10G`` and ``10GiB`` count by 1024, ``10GB`` by 1000, a plain number is bytes.

    Raises:
        UsageError: not a size, or negative.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _SIZE.match(value) if isinstance(value, str) else None
    if match is None:
        raise UsageError(f"{value!r} is not a size", hint="sizes read like 500M, 20G or 20GB")
    number, unit, ending = match.groups()
    base = 1000 if (ending or "").upper() == "B" and unit else 1024
    return int(float(number) * base ** _UNITS.index(unit.upper() or " "))


def parse_mounts(value: object) -> dict[str, str]:
    """Bucket URL → absolute path, from a table, a JSON object, or the seed's spelling ``"s3://b":"/mnt/b"``.

    Raises:
        UsageError: not such a table, not a bucket's URL, or a path that is not absolute.
    """
    table = _mounts_table(value) if isinstance(value, str) else value
    if not isinstance(table, dict):
        raise UsageError(f"{value!r} is not a table of bucket URL and path", hint=_MOUNTS_HINT)
    return dict(parse_mount(url, path) for url, path in table.items())


_MOUNTS_HINT: Final = """it reads like '"s3://bucket":"/mnt/bucket"'"""


def _mounts_table(text: str) -> object:
    body = text.strip()
    try:
        return json.loads(body if body.startswith("{") else f"{{{body}}}")
    except ValueError:
        raise UsageError(f"{text!r} is not JSON", hint=_MOUNTS_HINT) from None


def parse_mount(url: object, path: object) -> tuple[str, str]:
    """One mounted bucket: its URL in normal form, and where it is mounted.

    Raises:
        UsageError: not a bucket's URL, or a path that is not absolute.
    """
    if not isinstance(url, str) or not isinstance(path, str):
        raise UsageError(f"{url!r}: {path!r} is not a bucket URL and a path", hint=_MOUNTS_HINT)
    scheme, separator, rest = url.rstrip("/").partition("://")
    scheme = "gs" if scheme == "gcs" else scheme
    if not separator or scheme not in BUCKET_SCHEMES or not rest:
        raise UsageError(f"{url!r} is not a bucket's URL", hint="it starts with s3://, gs:// or az://")
    expanded = os.path.expanduser(path)
    if not os.path.isabs(expanded):
        raise UsageError(f"the mount path {path!r} is not absolute", hint="give the path from / on")
    return f"{scheme}://{rest}", os.path.normpath(expanded)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise UsageError(f"{value!r} is not a text of printable characters")
    return value.strip()


def _path(value: object) -> str:
    text = value if isinstance(value, str) else os.fspath(value) if isinstance(value, os.PathLike) else None
    if not text or not isinstance(text, str) or "\0" in text:
        raise UsageError(f"{value!r} is not a path")
    return os.path.abspath(os.path.expanduser(text))


def _folders(value: object) -> tuple[str, ...]:
    pieces = value.split(":") if isinstance(value, str) else value
    if not isinstance(pieces, list | tuple) or not pieces or not all(isinstance(piece, str) for piece in pieces):
        raise UsageError(f"{value!r} is not a list of folders", hint="it reads like /usr/bin:/opt/bin")
    for piece in pieces:
        if not os.path.isabs(piece):
            raise UsageError(f"the folder {piece!r} is not absolute", hint="give the path from / on")
    return tuple(os.path.normpath(piece) for piece in pieces)


def _store(value: object) -> str:
    text = _text(os.fspath(value) if isinstance(value, os.PathLike) else value)
    scheme, separator, rest = text.partition("://")
    if not separator:
        if not text.startswith(("/", ".", "~")) and not os.path.isabs(text):  # s3:/bucket is no folder named "s3:"
            hint = "it reads like s3://bucket/prefix; a folder starts with / or ./"
            raise UsageError(f"{text!r} is not a store URL", hint=hint)
        return _folder_url(_path(text))
    if scheme not in _SCHEMES:
        known = [*_SCHEMES, *third_party()]
        if scheme in known:
            return text.rstrip("/")
        hint = nearest(scheme, known) or f"schemes: {', '.join(f'{each}://' for each in known)}"
        raise UsageError(f"{text!r} is not a store URL: unknown scheme {scheme!r}", hint=hint)
    if not rest.strip("/") and scheme not in ("file", "memory"):
        raise UsageError(f"{text!r} is not a store URL: no bucket or host", hint="it reads like s3://bucket/prefix")
    if scheme == "file" and not rest.startswith("/"):
        raise UsageError(f"{text!r} is not a store URL: its path is not absolute", hint="three slashes: file:///path")
    if scheme == "file":
        return _folder_url(unquote(rest))
    scheme = "gs" if scheme == "gcs" else scheme
    bucket, _, prefix = rest.partition("/")
    return f"{scheme}://{bucket}/{prefix.strip('/')}".rstrip("/") if scheme != "memory" else text


def _folder_url(path: str) -> str:
    return "file://" + quote(str(Path(path)))


def _address(value: object) -> str:
    text = _text(value)
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in ("http", "https") or not rest.strip("/"):
        raise UsageError(f"{text!r} is not an address", hint="it starts with http:// or https://")
    return text.rstrip("/")


def _project(value: object) -> str:
    text = _text(value)
    if "/" in text or text.startswith("."):
        raise UsageError(f"{text!r} is not a project's name", hint="it is one piece, without '/'")
    return text


def _seconds(value: object) -> float:
    try:
        seconds = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else -1.0
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < _LONGEST:
        raise UsageError(f"{value!r} is not a number of seconds")
    return seconds


def _patience(value: object) -> float:
    seconds = _seconds(value)
    if not seconds:
        raise UsageError(f"{value!r} is too short: nothing answers at once")
    return seconds


def _switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else ""
    if word in ("true", "yes", "on", "1"):
        return True
    if word in ("false", "no", "off", "0"):
        return False
    raise UsageError(f"{value!r} is neither on nor off", hint="true or false")


def _checksum(value: object) -> str:
    name = _text(value).upper()
    if name not in ("SHA256", "CRC64NVME", "NONE"):
        raise UsageError(f"{value!r} is not a checksum", hint="SHA256, CRC64NVME or none")
    return name


def _scheme(value: object) -> str:
    return scheme_named(_text(value)).name


_KEYS = (
    Key(
        "store",
        "The store: s3://bucket/prefix, gs://…, az://…, file:///…, or a server's project.",
        _store,
        ("HOLDFAST_STORE",),
    ),
    Key("server", "The asset server.", _address, ("ASSET_SERVER_URL",)),
    Key("project", "A project on the server; where no store is set, it is the store.", _project, ("ASSET_PROJECT",)),
    Key("token", "The token for that server, and for no other.", _text, ("HOLDFAST_TOKEN",), secret=True),
    Key(
        "assets_dir",
        "Where fetched versions lie; by default assets in the user's cache folder.",
        _path,
        ("HOLDFAST_ASSETS_DIR", "MODELKIT_ASSETS_DIR", "ASSETS_DIR"),
    ),
    Key(
        "cache.max_size",
        "How large the fetched versions may grow; a fetch beyond it removes the longest unused.",
        parse_size,
        ("HOLDFAST_CACHE_MAX_SIZE",),
    ),
    Key(
        "cache.keep_free",
        "How much of the disk fetches leave free; by default a fiftieth of it, and no more than 1 GiB.",
        parse_size,
        ("HOLDFAST_CACHE_KEEP_FREE",),
    ),
    Key(
        "cache.timeout",
        "Seconds to wait for another process that is fetching the same version.",
        _seconds,
        ("MODELKIT_ASSETS_TIMEOUT_S",),
        default=3600.0,
    ),
    Key(
        "versioning",
        "The version scheme of new assets: major_minor, simple_date, or a registered one.",
        _scheme,
        ("HOLDFAST_VERSIONING", "MODELKIT_ASSETS_VERSIONING_SYSTEM"),
        default="major_minor",
    ),
    Key(
        "endpoint",
        "Where the bucket's service answers, if not at the cloud's own address.",
        _address,
        (
            *("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "S3_ENDPOINT"),
            *("GOOGLE_BASE_URL", "AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
        ),
    ),
    Key("region", "The bucket's region.", _text, ("AWS_REGION", "AWS_DEFAULT_REGION")),
    Key("s3.profile", "The profile in the files of the AWS tools.", _text, ("AWS_PROFILE", "AWS_DEFAULT_PROFILE")),
    Key("s3.kms_key", "The KMS key that encrypts what is pushed.", _text, ("AWS_KMS_KEY_ID", "AWS_SSE_KMS_KEY_ID")),
    Key(
        "s3.checksum",
        "What the store checks uploads by: SHA256, CRC64NVME or none; clones of S3 differ in what they take.",
        _checksum,
        ("AWS_CHECKSUM_ALGORITHM",),
    ),
    Key(
        "s3.path_style",
        "Whether the bucket stands in the path of the address instead of its host.",
        _switch,
        ("S3_FORCE_PATH_STYLE", "AWS_S3_FORCE_PATH_STYLE"),
    ),
    Key(
        "store_timeout",
        "Seconds that a bucket's service may say nothing while it is asked something.",
        _patience,
        ("HOLDFAST_STORE_TIMEOUT",),
        default=10.0,
    ),
    Key("mounts", "Mounted buckets: bucket URL and path.", parse_mounts, ("ASSET_BUCKET_MT_CONFIG",)),
    Key(
        "mount_atomic",
        "Whether file systems of mounts create a file only if it is absent, for all their clients; not set: known by their type.",
        _switch,
        ("HOLDFAST_MOUNT_ATOMIC",),
    ),
    Key(
        "mount_timeout",
        "Seconds that a call below a mount may take.",
        _seconds,
        ("HOLDFAST_MOUNT_TIMEOUT",),
        default=60.0,
    ),
    Key(
        "mount_path",
        "Folders in which the programs that mount live buckets are looked for; by default the system's.",
        _folders,
        ("HOLDFAST_MOUNT_PATH",),
    ),
)

#: Every setting by name, in the order in which they are shown.
KEYS: Final[dict[str, Key]] = {key.name: key for key in _KEYS}

#: Other spellings that are understood: the seed's, and those of Python attributes.
ALIASES: Final[dict[str, str]] = {
    "asset-server-url": "server",
    "asset_server_url": "server",
    "bucket_mt_config": "mounts",
    "bucket-mt-config": "mounts",
} | {key.attribute: key.name for key in _KEYS if key.attribute != key.name}


def key_named(name: str) -> Key:
    """The setting of this name or alias.

    Raises:
        UsageError: no such setting; the hint names the nearest.
    """
    key = KEYS.get(ALIASES.get(name, name))
    if key is None:
        hint = nearest(name, [*KEYS, *ALIASES]) or f"settings: {', '.join(KEYS)}"
        raise UsageError(f"unknown setting {name!r}", subject=name, hint=hint)
    return key
