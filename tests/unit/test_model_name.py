"""Names: what can be looked up, and what a new asset may be called."""

from __future__ import annotations

import pytest

from holdfast.errors import InvalidNameError
from holdfast.formats.layout import encode_name
from holdfast.model.name import LONGEST, check_new, check_readable


@pytest.mark.parametrize("name", ["a", "A9", "nlp/bert", "a.b_c-d/e", "1", "a/b/c/d", "a/.hidden/b", "x" * LONGEST])
def test_check_readable(name):
    """Names in the convention's characters can be looked up."""
    assert check_readable(name) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/..", "../a", "a/./b", "a//b", "/a", "a/", "-a", "a-", ".a", "a b", "a\\b", "a\tb", "a:b", "ä"],
)
def test_check_readable__refused(name):
    """What could leave a folder, or names nothing, cannot."""
    with pytest.raises(InvalidNameError):
        check_readable(name)


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("a/1.0", "reads as a version"),
        ("a/1.0/b", "reads as a version"),
        ("2024-01-01T00-00-00Z", "reads as a version"),
        ("a.versions", "ends in"),
        ("a/b.meta/c", "ends in"),
        ("a.json", "ends in"),
        ("a/.holdfast/b", "starts with"),
    ],
)
def test_check_new__refused(name, rule):
    """A new name has no piece that collides in a store with versions, metas and lists; the message says which rule."""
    assert check_readable(name) == name
    with pytest.raises(InvalidNameError, match=rule):
        check_new(name)


@pytest.mark.parametrize("name", ["a/1", "v1.0", "a/1.0.0", "versions", "meta/json"])
def test_check_new(name):
    """What only resembles them may be."""
    assert check_new(name) == name


def test_check_new__fits_a_file_name():
    """Every new name fits, encoded, into one file name of 255 bytes, with a version after it."""
    for character in "./_-":
        name = (f"a{character}" * LONGEST)[: LONGEST - 1] + "a"
        try:
            check_new(name)
        except InvalidNameError:
            continue
        assert len(encode_name(name)) <= 255
