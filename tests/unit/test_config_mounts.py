"""Bucket URLs to paths below mounts, and back."""

from __future__ import annotations

import pytest

from holdfast.config.mounts import mount_of, normal_url, url_of
from holdfast.errors import UsageError


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
def test_both_ways(scheme):
    """A path below a mount is its bucket URL, and the URL that path."""
    mounts = {f"{scheme}://bucket": "/mnt/bucket"}
    assert url_of("/mnt/bucket/a/b", mounts) == f"{scheme}://bucket/a/b"
    assert mount_of(f"{scheme}://bucket/a/b", mounts).folder == "/mnt/bucket/a/b"
    assert url_of("/mnt/bucket", mounts) == f"{scheme}://bucket"
    assert mount_of(f"{scheme}://bucket/", mounts).folder == "/mnt/bucket"


def test_path_borders():
    """A mount of s3://a covers neither s3://ab nor /mnt/ab (AMA 6.1.3)."""
    mounts = {"s3://a": "/mnt/a"}
    assert mount_of("s3://ab/c", mounts) is None
    assert url_of("/mnt/ab/c", mounts) is None
    assert mount_of("gs://a/c", mounts) is None


@pytest.mark.parametrize("order", [1, -1])
def test_longest_first(order):
    """Of several mounts the longest covers, in whatever order they were set (AMA 6.1.3)."""
    mounts = dict([("s3://a", "/mnt/a"), ("s3://a/b", "/mnt/a/b"), ("s3://a/b/c", "/other")][::order])
    assert mount_of("s3://a/b/x", mounts).folder == "/mnt/a/b/x"
    assert mount_of("s3://a/b/c/x", mounts).folder == "/other/x"
    assert mount_of("s3://a/bc", mounts).folder == "/mnt/a/bc"
    assert url_of("/mnt/a/b/x", mounts) == "s3://a/b/x"
    assert url_of("/other/x", mounts) == "s3://a/b/c/x"


def test_no_state_between_urls():
    """A bucket without a mount has none, whatever was asked before (AMA 6.1.4)."""
    mounts = {"s3://a": "/mnt/a"}
    assert mount_of("s3://a/x", mounts) is not None
    assert mount_of("s3://b/x", mounts) is None


def test_repeated_text():
    """Only the mount itself is replaced, not the same text further down (AMA 6.1.5)."""
    mounts = {"s3://b": "/data/x"}
    assert url_of("/data/x/data/x/y", mounts) == "s3://b/data/x/y"
    assert mount_of("s3://b/data/x/y", mounts).folder == "/data/x/data/x/y"


def test_colons_and_ports():
    """Further colons in a URL or a path are part of it (AMA 6.1.6)."""
    mounts = {"s3://host:9000/b": "/mnt/with:colon", "az://account": "/mnt/az"}
    assert mount_of("s3://host:9000/b/x:y", mounts).folder == "/mnt/with:colon/x:y"
    assert url_of("/mnt/with:colon/x:y", mounts) == "s3://host:9000/b/x:y"


def test_gcs_is_gs():
    """``gcs://`` is ``gs://``, in the mount and in what is asked for."""
    assert mount_of("gcs://b/x", {"gs://b": "/mnt/b"}).url == "gs://b/x"
    assert mount_of("gs://b/x", {"gcs://b/": "/mnt/b"}).folder == "/mnt/b/x"
    assert url_of("/mnt/b/x", {"gcs://b": "/mnt/b"}) == "gs://b/x"


@pytest.mark.parametrize("url", ["s3://b/../../etc", "s3://b/a//c", "s3://b/./a", "s3://b/.."])
def test_no_way_out(url):
    """A URL whose pieces would leave the mount is refused, and one that no mount covers is left to others."""
    with pytest.raises(UsageError):
        mount_of(url, {"s3://b": "/mnt/b"})
    assert mount_of(url, {"s3://c": "/mnt/c"}) is None


@pytest.mark.parametrize("url", ["https://host/p", "file:///mnt/b", "memory://x", "s3://", "s3:/b", "nonsense"])
def test_other_urls(url):
    """What is no bucket's URL is covered by no mount."""
    assert normal_url(url) is None
    assert mount_of(url, {"s3://b": "/mnt/b"}) is None


def test_a_bucket_at_the_root():
    """A mount may lie at the root of a file system."""
    assert url_of("/a/b", {"s3://b": "/"}) == "s3://b/a/b"
    assert mount_of("s3://b/a", {"s3://b": "/"}).folder == "/a"
