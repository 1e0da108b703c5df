"""How each mounter is called: arguments, environment, and files with credentials, from a bucket and what was chosen. Pure.

A template is a table of the mounter's own options that ``-o`` may change. Credentials go into files that the mounter's user alone may
read, or into its environment, never into its arguments. All stay in the foreground, so that their end is seen at once. How fresh a
listing is, is bounded by ten seconds everywhere, and what a mounter waits for its store is less than what it may be silent for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from holdfast.errors import UnsupportedError
from holdfast.mount.live.options import chosen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from holdfast.mount.live.options import Choices

__all__ = ["MOUNTERS", "REMOTE", "Bucket", "Call", "Mounter", "Place", "Program", "holding"]

#: What rclone's own file calls the bucket's service; its cache goes by this name, so it never changes.
REMOTE: Final = "live"


@dataclass(frozen=True, slots=True)
class Bucket:
    """What is mounted. Without keys, and not ``anonymous``, the mounter finds credentials by itself, from ``environment``."""

    name: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None
    access_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    anonymous: bool = False
    path_style: bool = False
    kms_key: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Place:
    """Where: the directory, the folder of files with credentials, the mount's own cache folder, and whose it is."""

    directory: str
    private: str
    cache: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Call:
    """A mounter's arguments without its program, what its environment has more, and files for the private folder by name."""

    arguments: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Program:
    """Somebody's program: its name, how it tells its version, and from which on it is used. ``why`` says why not before."""

    name: str
    version_argument: str
    oldest: tuple[int, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Mounter(Program):
    """An established mounter, and how it is called."""

    call: Callable[[Bucket, Place, Choices], Call]


def _rclone(bucket: Bucket, place: Place, choices: Choices) -> Call:
    template: dict[str, str | None] = {
        "vfs-cache-mode": "full",
        "vfs-cache-max-size": "20G",
        "vfs-cache-max-age": "90h",
        "vfs-cache-min-free-space": "1G",
        "vfs-cache-poll-interval": "10s",
        "vfs-write-back": "1s",  # what is replaced and deleted before it was sent comes back (docs/mounts.md)
        "vfs-read-ahead": "64M",
        "buffer-size": "16M",
        "dir-cache-time": "10s",
        "poll-interval": "0",  # S3 cannot be asked what changed
        "attr-timeout": "1s",
        "contimeout": "5s",
        "timeout": "10s",
        "low-level-retries": "2",
        "umask": "022",
        "file-perms": "0644",
        "dir-perms": "0755",
    }
    fixed: dict[str, str | None] = {
        "config": f"{place.private}/rclone.conf",
        "cache-dir": place.cache,
        "devname": f"s3://{_path(bucket)}",
        "default-permissions": None,
        "allow-non-empty": None,  # the directory was looked at; what is found in it later is told, and hidden
        "uid": str(_owner(place, choices)[0]),
        "gid": str(_owner(place, choices)[1]),
    }
    fixed |= dict.fromkeys(("allow-other",) if choices.allow_other else ())
    fixed |= dict.fromkeys(("read-only",) if choices.read_only else ())
    banned = (*fixed, "log-file", "option", "fuse-flag", "rc", "allow-other", "read-only")
    options = chosen(template, choices, banned, dash="-") | fixed
    remote = f"{REMOTE}:{_path(bucket)}"
    return Call(("mount", remote, place.directory, *_long(options)), {}, {"rclone.conf": _rclone_file(bucket)})


def _rclone_file(bucket: Bucket) -> str:
    values: dict[str, str | None] = {
        "type": "s3",
        "provider": "Other" if bucket.endpoint else "AWS",
        "endpoint": bucket.endpoint,
        "region": bucket.region,
        "access_key_id": bucket.access_key,
        "secret_access_key": bucket.secret_key,
        "session_token": bucket.session_token,
        "env_auth": None if bucket.access_key or bucket.anonymous else "true",
        "force_path_style": "true" if bucket.path_style else "false",
        "no_check_bucket": "true",
        "server_side_encryption": "aws:kms" if bucket.kms_key else None,
        "sse_kms_key_id": bucket.kms_key,
    }
    return f"[{REMOTE}]\n" + "".join(f"{name} = {value}\n" for name, value in values.items() if value is not None)


def _s3fs(bucket: Bucket, place: Place, choices: Choices) -> Call:
    uid, gid = _owner(place, choices)
    template: dict[str, str | None] = {
        "max_stat_cache_size": "10000",
        "stat_cache_expire": "10",
        "connect_timeout": "5",
        "readwrite_timeout": "10",
        "retries": "2",
        "umask": "0022",
        "complement_stat": None,  # what other programs uploaded has no mode
        "dbglevel": "err",
    }
    fixed: dict[str, str | None] = {"url": bucket.endpoint or "https://s3.amazonaws.com", "tmpdir": place.cache}
    fixed |= {"uid": str(uid), "gid": str(gid), "fsname": f"s3://{_path(bucket)}"} | _flags(choices)
    fixed["nonempty"] = None  # the directory was looked at; what is found in it later is told, and hidden
    fixed |= {"endpoint": bucket.region} if bucket.region else {}
    fixed |= {"use_path_request_style": None} if bucket.path_style else {}
    fixed |= {"use_sse": f"kmsid:{bucket.kms_key}"} if bucket.kms_key else {}
    banned = (*fixed, "ro", "allow_other", "del_cache", "use_cache", "ensure_diskfree", "f", "d")
    environment, files = {}, {}
    if bucket.anonymous:
        fixed["public_bucket"] = "1"
    elif bucket.session_token:
        fixed["use_session_token"] = None
        names = ("AWSACCESSKEYID", "AWSSECRETACCESSKEY", "AWSSESSIONTOKEN")
        environment = dict(zip(names, (bucket.access_key, bucket.secret_key, bucket.session_token), strict=True))
    elif bucket.access_key:
        fixed["passwd_file"] = f"{place.private}/s3fs.passwd"
        files["s3fs.passwd"] = f"{bucket.access_key}:{bucket.secret_key}\n"
    else:
        fixed["iam_role"] = "auto"
    options = chosen(template, choices, banned, dash="_") | fixed
    words = [name if value is None else f"{name}={value}" for name, value in options.items()]
    named = f"{bucket.name}:/{bucket.prefix}" if bucket.prefix else bucket.name
    kept = {name: value for name, value in environment.items() if value}
    return Call((named, place.directory, "-f", *(each for word in words for each in ("-o", word))), kept, files)


def _goofys(bucket: Bucket, place: Place, choices: Choices) -> Call:
    template: dict[str, str | None] = {"stat-cache-ttl": "10s", "type-cache-ttl": "10s"}
    return _like_goofys(bucket, place, choices, template)


def _geesefs(bucket: Bucket, place: Place, choices: Choices) -> Call:
    template: dict[str, str | None] = {
        "stat-cache-ttl": "10s",
        "memory-limit": "1000",
        "max-flushers": "16",
        "max-parallel-parts": "8",
        "no-specials": None,
    }
    return _like_goofys(bucket, place, choices, template)


def _like_goofys(bucket: Bucket, place: Place, choices: Choices, template: dict[str, str | None]) -> Call:
    """The two have one command line: geesefs came from goofys."""
    uid, gid = _owner(place, choices)
    fixed: dict[str, str | None] = {"uid": str(uid), "gid": str(gid), "file-mode": "0644", "dir-mode": "0755"}
    fixed |= {"endpoint": bucket.endpoint} if bucket.endpoint else {}
    fixed |= {"region": bucket.region} if bucket.region else {}
    fixed |= {"sse-kms": bucket.kms_key} if bucket.kms_key else {}
    if bucket.anonymous:
        raise UnsupportedError(
            "goofys and geesefs are not called without credentials", hint="use --with rclone or s3fs"
        )
    banned = (*fixed, "f", "o", "profile", "cache", "endpoint", "region", "shared-config", "log-file", "pprof")
    flags = [each for name in _flags(choices) for each in ("-o", name)]
    options = chosen(template, choices, banned, dash="-") | fixed
    named = f"{bucket.name}:{bucket.prefix}" if bucket.prefix else bucket.name
    return Call(("-f", *flags, *_long(options), named, place.directory), *_shared_credentials(bucket, place))


def _mount_s3(bucket: Bucket, place: Place, choices: Choices) -> Call:
    uid, gid = _owner(place, choices)
    template: dict[str, str | None] = {
        "metadata-ttl": "10",
        "max-cache-size": "20480",
        "allow-delete": None,
        "allow-overwrite": None,
    }
    fixed: dict[str, str | None] = {"foreground": None, "cache": place.cache, "uid": str(uid), "gid": str(gid)}
    fixed |= {"file-mode": "0644", "dir-mode": "0755"}
    fixed |= {"prefix": f"{bucket.prefix}/"} if bucket.prefix else {}
    fixed |= {"endpoint-url": bucket.endpoint} if bucket.endpoint else {}
    fixed |= {"region": bucket.region} if bucket.region else {}
    fixed |= {"force-path-style": None} if bucket.path_style else {}
    fixed |= {"no-sign-request": None} if bucket.anonymous else {}
    fixed |= {"sse": "aws:kms", "sse-kms-key-id": bucket.kms_key} if bucket.kms_key else {}
    fixed |= {"allow-other": None} if choices.allow_other else {}
    fixed |= {"read-only": None} if choices.read_only else {}
    banned = (*fixed, "allow-other", "read-only", "profile", "log-directory", "prefix", "endpoint-url", "region")
    options = chosen(template, choices, banned, dash="-") | fixed
    if choices.read_only:
        options = {name: value for name, value in options.items() if name not in ("allow-delete", "allow-overwrite")}
    return Call((bucket.name, place.directory, *_long(options)), *_shared_credentials(bucket, place))


def _shared_credentials(bucket: Bucket, place: Place) -> tuple[dict[str, str], dict[str, str]]:
    """Keys as a file of AWS's own form, and the variable that names it."""
    if not bucket.access_key:
        return {}, {}
    lines = [f"aws_access_key_id = {bucket.access_key}", f"aws_secret_access_key = {bucket.secret_key}"]
    lines += [f"aws_session_token = {bucket.session_token}"] if bucket.session_token else []
    file = f"{place.private}/credentials"
    return {"AWS_SHARED_CREDENTIALS_FILE": file}, {"credentials": "\n".join(["[default]", *lines, ""])}


def _flags(choices: Choices) -> dict[str, str | None]:
    """What libfuse is told of every mount."""
    words = ["nosuid", "nodev", "default_permissions"]
    words += [] if choices.executable else ["noexec"]
    words += ["ro"] if choices.read_only else []
    words += ["allow_other"] if choices.allow_other else []
    return dict.fromkeys(words)


def _owner(place: Place, choices: Choices) -> tuple[int, int]:
    """Who mounts, unless another was chosen."""
    return (
        place.uid if choices.uid is None else choices.uid,
        place.gid if choices.gid is None else choices.gid,
    )


def _path(bucket: Bucket) -> str:
    return f"{bucket.name}/{bucket.prefix}".rstrip("/")


def _long(options: Mapping[str, str | None]) -> list[str]:
    return [f"--{name}" if value is None else f"--{name}={value}" for name, value in options.items()]


#: Options of a mounter with which it keeps readers waiting while its store is away, until its mount is cut off, instead of telling them at once.
_HOLDING: Final = {"rclone": ("low-level-retries=30",), "s3fs": ("retries=10",)}


def holding(mounter: str) -> tuple[str, ...]:
    """What a branch of a union is mounted with: a program that unites takes an error for files that are not there."""
    return _HOLDING.get(mounter, ())


#: The mounters by the name that ``--with`` takes.
MOUNTERS: Final[dict[str, Mounter]] = {
    each.name: each
    for each in (
        Mounter("rclone", "version", (1, 65, 1), "older ones can damage what they cache, or cannot speak S3", _rclone),
        Mounter("s3fs", "--version", (1, 90), "older ones were never tried", _s3fs),
        Mounter("goofys", "--version", (0, 24), "older ones were never tried", _goofys),
        Mounter("geesefs", "--version", (0, 40), "older ones were never tried", _geesefs),
        Mounter("mount-s3", "--version", (1, 10), "older ones lack what it is told", _mount_s3),
    )
}
