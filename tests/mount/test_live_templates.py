"""How each mounter is called: options, argument vectors, and where credentials go."""

from __future__ import annotations

import pytest

from holdfast.config import load
from holdfast.errors import UnsupportedError, UsageError
from holdfast.mount.live.bucket import bucket_of
from holdfast.mount.live.options import Choices
from holdfast.mount.live.templates import MOUNTERS, Bucket, Call, Place

PLACE = Place("/srv/media", "/state/private", "/state/cache", 33, 34)
BUCKET = Bucket(
    "media", "images", "https://s3.example", "eu-1", "ACCESSKEY", "SECRETKEY", path_style=True, environment={}
)


def called(mounter: str, *options: str, bucket: Bucket = BUCKET) -> Call:
    """The call of a mounter with these options."""
    return MOUNTERS[mounter].call(bucket, PLACE, Choices.parse(options))


def values(call: Call) -> dict[str, str | None]:
    """The options of a call by name, those after ``-o`` too."""
    words = [word for word in call.arguments if word not in ("-o", "-f")]
    pairs = [word.lstrip("-").partition("=") for word in words]
    return {name: value if equals else None for name, equals, value in pairs}


VECTORS = {
    "rclone": [
        "mount", "live:media/images", "/srv/media", "--vfs-cache-mode=full", "--vfs-cache-max-size=20G",
        "--vfs-cache-max-age=90h", "--vfs-cache-min-free-space=1G", "--vfs-cache-poll-interval=10s", "--vfs-write-back=1s",
        "--vfs-read-ahead=64M", "--buffer-size=16M", "--dir-cache-time=10s", "--poll-interval=0", "--attr-timeout=1s",
        "--contimeout=5s", "--timeout=10s", "--low-level-retries=2", "--umask=022", "--file-perms=0644", "--dir-perms=0755",
        "--config=/state/private/rclone.conf", "--cache-dir=/state/cache", "--devname=s3://media/images",
        "--default-permissions", "--allow-non-empty", "--uid=33", "--gid=34",
    ],
    "s3fs": [
        "media:/images", "/srv/media", "-f", "-o", "max_stat_cache_size=10000", "-o", "stat_cache_expire=10",
        "-o", "connect_timeout=5", "-o", "readwrite_timeout=10", "-o", "retries=2", "-o", "umask=0022",
        "-o", "complement_stat", "-o", "dbglevel=err", "-o", "url=https://s3.example", "-o", "tmpdir=/state/cache",
        "-o", "uid=33", "-o", "gid=34", "-o", "fsname=s3://media/images", "-o", "nosuid", "-o", "nodev",
        "-o", "default_permissions", "-o", "noexec", "-o", "nonempty", "-o", "endpoint=eu-1", "-o", "use_path_request_style",
        "-o", "passwd_file=/state/private/s3fs.passwd",
    ],
    "goofys": [
        "-f", "-o", "nosuid", "-o", "nodev", "-o", "default_permissions", "-o", "noexec", "--stat-cache-ttl=10s",
        "--type-cache-ttl=10s", "--uid=33", "--gid=34", "--file-mode=0644", "--dir-mode=0755",
        "--endpoint=https://s3.example", "--region=eu-1", "media:images", "/srv/media",
    ],
    "geesefs": [
        "-f", "-o", "nosuid", "-o", "nodev", "-o", "default_permissions", "-o", "noexec", "--stat-cache-ttl=10s",
        "--memory-limit=1000", "--max-flushers=16", "--max-parallel-parts=8", "--no-specials", "--uid=33", "--gid=34",
        "--file-mode=0644", "--dir-mode=0755", "--endpoint=https://s3.example", "--region=eu-1", "media:images", "/srv/media",
    ],
    "mount-s3": [
        "media", "/srv/media", "--metadata-ttl=10", "--max-cache-size=20480", "--allow-delete", "--allow-overwrite",
        "--foreground", "--cache=/state/cache", "--uid=33", "--gid=34", "--file-mode=0644", "--dir-mode=0755",
        "--prefix=images/", "--endpoint-url=https://s3.example", "--region=eu-1", "--force-path-style",
    ],
}  # fmt: skip


@pytest.mark.parametrize("mounter", MOUNTERS)
def test_call__argument_vector(mounter: str) -> None:
    """A mounter is called with its template's options, in the foreground, for whoever mounts."""
    assert list(called(mounter).arguments) == VECTORS[mounter]


@pytest.mark.parametrize("mounter", MOUNTERS)
@pytest.mark.parametrize("token", [None, "SESSIONTOKEN"])
def test_call__credentials_are_no_arguments(mounter: str, token: str | None) -> None:
    """Credentials are in a file or in the environment, and never among a mounter's arguments."""
    from dataclasses import replace

    call = called(mounter, bucket=replace(BUCKET, session_token=token))
    secrets = ["ACCESSKEY", "SECRETKEY", *([token] if token else [])]
    assert [word for word in call.arguments for secret in secrets if secret in word] == []
    elsewhere = " ".join([*call.files.values(), *call.environment.values()])
    assert [secret for secret in secrets if secret not in elsewhere] == []


@pytest.mark.parametrize("mounter", ["rclone", "s3fs", "mount-s3"])
def test_call__without_keys(mounter: str) -> None:
    """Without keys a mounter looks where AWS's own tools look; without any credentials the bucket is read as everybody may."""
    found = called(mounter, bucket=Bucket("media"))
    assert all("key" not in text for text in found.files.values())
    marks = {"rclone": "env_auth = true", "s3fs": "iam_role=auto", "mount-s3": ""}
    assert marks[mounter] in " ".join([*found.files.values(), *found.arguments])
    open_to_all = called(mounter, bucket=Bucket("media", anonymous=True))
    assert "env_auth" not in str(open_to_all.files)
    assert {"s3fs": "public_bucket", "mount-s3": "no-sign-request"}.get(mounter, "config") in values(open_to_all)


def test_call__goofys_wants_credentials() -> None:
    """goofys and geesefs, which cannot do without credentials, say so."""
    for mounter in ("goofys", "geesefs"):
        with pytest.raises(UnsupportedError, match="without credentials"):
            called(mounter, bucket=Bucket("media", anonymous=True))


@pytest.mark.parametrize("mounter", MOUNTERS)
def test_call__allow_other_only_when_asked(mounter: str) -> None:
    """Others may enter a mount only where that was asked for; it can be read-only, and owned by somebody else."""
    names = {"allow_other", "allow-other"}
    assert not names & values(called(mounter)).keys()
    asked = values(called(mounter, "allow_other,ro", "uid=1000"))
    assert names & asked.keys()
    assert {"ro", "read-only"} & asked.keys()
    assert asked["uid"] == "1000"
    assert not {"allow-delete", "allow-overwrite"} & asked.keys()


@pytest.mark.parametrize(
    ("mounter", "option", "name", "value"),
    [
        ("rclone", "vfs-cache-max-size=1G", "vfs-cache-max-size", "1G"),
        ("rclone", "vfs_write_back=2s", "vfs-write-back", "2s"),
        ("rclone", "use-server-modtime", "use-server-modtime", None),
        ("s3fs", "stat_cache_expire=60", "stat_cache_expire", "60"),
        ("s3fs", "kernel-cache", "kernel_cache", None),
        ("geesefs", "memory-limit=4000", "memory-limit", "4000"),
    ],
)
def test_options__win_over_the_template(mounter: str, option: str, name: str, value: str | None) -> None:
    """A mounter's own option wins over the template, in its own spelling or with the other dash."""
    found = values(called(mounter, option))
    assert name in found
    assert found[name] == value


def test_options__taken_out() -> None:
    """An option of the template can be taken out."""
    assert "complement_stat" not in values(called("s3fs", "!complement_stat"))
    assert "vfs-read-ahead" not in values(called("rclone", "!vfs-read-ahead,!umask"))


@pytest.mark.parametrize(
    "option",
    [
        *("", "=", "=1", "a b", "--config=x", "x=", "x=\n", "../x", "-"),
        *("suid", "dev", "nonempty", "allow-root", "daemon", "allow-non-empty"),
        *("s3-sse-customer-key=x", "s3-sse-customer-key-base64=x", "rc-pass=x", "header-download=Authorization: x"),
        *("s3-secret-access-key=x", "passwd_file=/x", "s3-session-token=x", "password-command=x", "s3-access-key-id=x"),
        *(
            "ro=1",
            "uid=x",
            "uid=-1",
            "uid",
            "gid=99999999999",
            "needs=fly",
            "canary=/etc/passwd",
            "canary=../x",
            "canary",
        ),
        *("deadline=0", "deadline=x", "deadline=1e9"),
    ],
)
def test_options__that_cannot_be(option: str) -> None:
    """An option that cannot be, shows a secret, or takes away what every mount promises, is refused by name."""
    with pytest.raises(UsageError):
        Choices.parse([option])


@pytest.mark.parametrize(
    ("mounter", "option"),
    [
        ("rclone", "config=/x"),
        ("rclone", "cache_dir=/x"),
        ("rclone", "rc"),
        ("s3fs", "tmpdir=/x"),
        ("s3fs", "url=http://elsewhere"),
        ("s3fs", "ensure_diskfree=100"),
        ("goofys", "endpoint=http://elsewhere"),
        ("geesefs", "shared-config=/x"),
        ("mount-s3", "cache=/x"),
        ("mount-s3", "profile=x"),
    ],
)
def test_options__that_the_mount_sets(mounter: str, option: str) -> None:
    """What a mount sets itself cannot be chosen: its cache, its files, its bucket."""
    with pytest.raises(UsageError, match="not one to choose"):
        called(mounter, option)


def test_options__needs() -> None:
    """What the use needs is said once or twice, and counts once."""
    assert Choices.parse(["needs=rename+append"], ["append", "read-after-write"]).needs == (
        "rename",
        "append",
        "read_after_write",
    )


def test_bucket__from_the_settings() -> None:
    """Endpoint, region and credentials are found as for every store; without keys a mounter is led to where they are."""
    keys = {"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "S", "AWS_ENDPOINT_URL": "http://h:1", "AWS_REGION": "r"}
    found = bucket_of("s3://media/a/b/", load({}, {**keys, "HOME": "/h", "SECRET": "x"}))
    assert (found.name, found.prefix, found.endpoint, found.region, found.path_style) == (
        "media",
        "a/b",
        "http://h:1",
        "r",
        True,
    )
    assert (found.access_key, found.secret_key, dict(found.environment)) == ("A", "S", {})
    chain = bucket_of("s3://media", load({}, {"HOME": "/h", "AWS_PROFILE": "work", "https_proxy": "p", "SECRET": "x"}))
    assert (chain.access_key, chain.endpoint, chain.path_style) == (None, None, False)
    assert dict(chain.environment) == {"HOME": "/h", "AWS_PROFILE": "work", "https_proxy": "p"}


@pytest.mark.parametrize(
    "source", ["", "media", "gs://media", "s3://", "s3:///x", "s3://a,b", "file:///x", "nlp/bert:1"]
)
def test_bucket__that_is_none(source: str) -> None:
    """A source that is no bucket on S3 is refused."""
    with pytest.raises(UsageError):
        bucket_of(source, load({}, {}))
