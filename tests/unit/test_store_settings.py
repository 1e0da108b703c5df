"""Settings of buckets from an environment, a URL and overrides."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.errors import UsageError
from holdfast.store.settings import bucket_settings, split_url

KEYS = {"AWS_ACCESS_KEY_ID": "ak", "AWS_SECRET_ACCESS_KEY": "sk"}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("s3://b", ("s3", "b", "")),
        ("s3://b/p/q/", ("s3", "b", "p/q")),
        ("gcs://b/p", ("gs", "b", "p")),
        ("az://c/p", ("az", "c", "p")),
    ],
)
def test_split_url(url, expected):
    """A URL is scheme, bucket and prefix; other spellings of a scheme are made one."""
    assert split_url(url) == expected


@pytest.mark.parametrize("url", ["b/p", "s3:/b", "s3://", "s3:///p", "file:///p", "http://b/p"])
def test_split_url__no_bucket(url):
    """What names no bucket is refused."""
    with pytest.raises(UsageError):
        split_url(url)


def test_url__is_normalised():
    """The URL loses what does not change its meaning, so that it serves as an identity."""
    assert bucket_settings("gcs://b/p/", {}).url == "gs://b/p"
    assert bucket_settings("s3://b/", {}).url == "s3://b"


def test_secrets__not_in_repr():
    """A repr, which ends up in logs, holds no secret."""
    settings = bucket_settings("s3://b", {"AWS_ACCESS_KEY_ID": "ak", "AWS_SECRET_ACCESS_KEY": "hush"})
    assert settings.secret_key == "hush"
    assert "hush" not in repr(settings)


def test_aws__order_of_endpoints():
    """The variable for S3 alone is stronger than AWS's general one, and that than the one of other tools."""
    names = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "S3_ENDPOINT"]
    environ = {name: f"http://{number}" for number, name in enumerate(names)}
    for number, name in enumerate(names):
        assert bucket_settings("s3://b", environ).endpoint == f"http://{number}"
        del environ[name]
    assert bucket_settings("s3://b", environ).endpoint is None


def test_aws__session_token():
    """Temporary keys come with their token; half a pair of keys is none."""
    settings = bucket_settings("s3://b", {**KEYS, "AWS_SESSION_TOKEN": "st", "AWS_DEFAULT_REGION": "eu-west-1"})
    assert (settings.access_key, settings.session_token, settings.region) == ("ak", "st", "eu-west-1")
    assert bucket_settings("s3://b", {"AWS_ACCESS_KEY_ID": "ak", "AWS_SESSION_TOKEN": "st"}).session_token is None


def test_aws__profile_on_purpose():
    """A profile given as an override is stronger than keys in the environment, one in the environment is not."""
    assert bucket_settings("s3://b", KEYS, profile="work").access_key is None
    assert bucket_settings("s3://b", {**KEYS, "AWS_PROFILE": "work"}).access_key == "ak"


@pytest.mark.parametrize(
    ("environ", "path_style"),
    [
        ({}, None),
        ({"AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true"}, False),
        ({"S3_FORCE_PATH_STYLE": "1"}, True),
    ],
)
def test_aws__path_style(environ, path_style):
    """The style of requests follows its variables, and is left open without them."""
    assert bucket_settings("s3://b", environ).path_style is path_style


def test_aws__config_file():
    """The file of profiles is where the environment says, or in its home."""
    assert bucket_settings("s3://b", {"HOME": "/h"}).config_file == Path("/h/.aws/config")
    assert bucket_settings("s3://b", {"HOME": "/h", "AWS_CONFIG_FILE": "/c"}).config_file == Path("/c")


@pytest.mark.parametrize(("text", "expected"), [("sha256", "SHA256"), ("CRC64NVME", "CRC64NVME"), ("none", None)])
def test_aws__checksum(text, expected):
    """A checksum is named in any case, and can be turned off."""
    assert bucket_settings("s3://b", {"AWS_CHECKSUM_ALGORITHM": text}).checksum == expected


def test_bad_values():
    """A checksum or endpoint that no client could use is refused by name."""
    with pytest.raises(UsageError, match="MD5"):
        bucket_settings("s3://b", {"AWS_CHECKSUM_ALGORITHM": "md5"})
    with pytest.raises(UsageError, match="localhost:9000"):
        bucket_settings("s3://b", {"AWS_ENDPOINT_URL": "localhost:9000"})


def test_allow_http__only_as_the_endpoint_says():
    """Requests without TLS are allowed by an endpoint without it, and by nothing else."""
    assert bucket_settings("s3://b", {"AWS_ENDPOINT_URL": "http://h"}).allow_http
    assert not bucket_settings("s3://b", {"AWS_ENDPOINT_URL": "https://h"}).allow_http
    assert not bucket_settings("s3://b", {}).allow_http


def test_azure__connection_string():
    """A connection string gives account, key (which may hold '=') and endpoint; single variables win over it."""
    text = "DefaultEndpointsProtocol=http;AccountName=dev;AccountKey=a2V5==;BlobEndpoint=http://h:1/dev;"
    settings = bucket_settings("az://c", {"AZURE_STORAGE_CONNECTION_STRING": text})
    assert (settings.azure_account, settings.azure_key, settings.endpoint) == ("dev", "a2V5==", "http://h:1/dev")
    environ = {"AZURE_STORAGE_CONNECTION_STRING": text, "AZURE_STORAGE_ACCOUNT_KEY": "b3RoZXI="}
    assert bucket_settings("az://c", environ).azure_key == "b3RoZXI="


def test_azure__other_cloud():
    """A connection string of another Azure cloud names its endpoint by a suffix."""
    text = "AccountName=acc;AccountKey=a2V5;EndpointSuffix=core.chinacloudapi.cn"
    settings = bucket_settings("az://c", {"AZURE_STORAGE_CONNECTION_STRING": text})
    assert settings.endpoint == "https://acc.blob.core.chinacloudapi.cn"


def test_google__emulator():
    """Google's variable for an emulator makes an endpoint that is spoken to without credentials."""
    settings = bucket_settings("gs://b", {"STORAGE_EMULATOR_HOST": "h:4443"})
    assert (settings.endpoint, settings.anonymous) == ("http://h:4443", True)


def test_overrides__win_unless_none():
    """An explicit value wins over the environment; None is no value."""
    settings = bucket_settings("s3://b", {"AWS_REGION": "r", "AWS_ENDPOINT_URL": "http://e"}, region="x", endpoint=None)
    assert (settings.region, settings.endpoint) == ("x", "http://e")
