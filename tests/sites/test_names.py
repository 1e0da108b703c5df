"""Buckets have the original's names, or are refused with one that would do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.sites.names import alternative, bucket_of, site_of, why_illegal

SITE = "www-example-com"


@pytest.mark.parametrize(
    ("directory", "branch", "bucket"),
    [
        ("images", None, "www-example-com-assets-images"),
        ("media/videos", None, "www-example-com-assets-media-videos"),
        ("wp-content/uploads", None, "www-example-com-assets-wp-content-uploads"),
        ("images", 3, "www-example-com-assets-images3"),
        ("/var/www/private", None, "www-example-com-assets-var-www-private"),
        ("webroot", None, "www-example-com-assets-webroot"),
    ],
)
def test_bucket__is_the_originals(directory, branch, bucket):
    """A directory's bucket has the name that the original gave it."""
    assert bucket_of(SITE, directory, branch) == bucket
    assert why_illegal(bucket) is None


@pytest.mark.parametrize(
    ("url", "site"),
    [
        ("www.example.com", SITE),
        ("https://www.example.com/", SITE),
        ("Example.com", None),
        ("", None),
        ("a b", None),
        ("../x", None),
    ],
)
def test_site__is_the_host(url, site):
    """The site's name is its host with hyphens for dots; what is no host name is none."""
    assert site_of(url) == site


@pytest.mark.parametrize(
    ("directory", "why"),
    [("Images", "capital"), ("my_uploads", "underscore"), ("x" * 80, "characters"), ("ä", "letters")],
)
def test_bucket__illegal(directory, why):
    """Capital letters, underscores, length and strange signs are each named."""
    assert why in (why_illegal(bucket_of(SITE, directory)) or "")


@given(st.text(min_size=1, max_size=100), st.sampled_from([SITE, "a" * 60]))
def test_alternative__is_legal_and_stays(directory, site):
    """The name offered instead is legal whatever the directory, and always the same."""
    assert why_illegal(alternative(site, directory)) is None
    assert alternative(site, directory) == alternative(site, directory)
    assert alternative(site, directory) != alternative(site, directory + "x")
