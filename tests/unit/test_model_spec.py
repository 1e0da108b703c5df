"""Specs: ``name[:version][[sub/path]]``."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import InvalidNameError, InvalidSpecError, InvalidVersionError, UsageError
from holdfast.model.spec import AssetSpec


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a", ("a", None, None)),
        ("nlp/bert", ("nlp/bert", None, None)),
        ("nlp/bert:1", ("nlp/bert", "1", None)),
        ("nlp/bert:1.20", ("nlp/bert", "1.20", None)),
        ("nlp/bert:stable", ("nlp/bert", "stable", None)),
        ("a:2024-01-01T00-00-00Z", ("a", "2024-01-01T00-00-00Z", None)),
        ("a:1.0[x/y.txt]", ("a", "1.0", "x/y.txt")),
        ("a[x]", ("a", None, "x")),
        ("a:1[/x//y/]", ("a", "1", "x/y")),
        ("a:1[with [brackets]]", ("a", "1", "with [brackets]")),
        ("a:1[x:y]", ("a", "1", "x:y")),
        ("a_b-c.d/E9", ("a_b-c.d/E9", None, None)),
    ],
)
def test_parse(text, parts):
    """A spec is read into name, version and sub-path."""
    spec = AssetSpec.parse(text)
    assert (spec.name, spec.version, spec.sub_path) == parts
    assert AssetSpec.parse(str(spec)) == spec


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", InvalidNameError),
        (":1", InvalidNameError),
        ("a:", InvalidSpecError),
        ("a:1:2", InvalidSpecError),
        ("a:1[", InvalidSpecError),
        ("a:1]", InvalidSpecError),
        ("a:1[]", InvalidSpecError),
        ("a:1[x]y", InvalidSpecError),
        ("a:1[../x]", InvalidSpecError),
        ("a:1[x/./y]", InvalidSpecError),
        ("a:1[x\0y]", InvalidSpecError),
        ("a:1/2", InvalidVersionError),
        ("a:..", InvalidVersionError),
        ("a:1.0.meta", InvalidVersionError),
        ("a: 1", InvalidVersionError),
        ("../a", InvalidNameError),
        ("/a", InvalidNameError),
        ("a//b", InvalidNameError),
        ("a/", InvalidNameError),
        ("a b", InvalidNameError),
        ("a\n", InvalidNameError),
        ("a:1\n", InvalidVersionError),
        ("é", InvalidNameError),
        ("a%2Fb", InvalidNameError),
        ("a" * 201, InvalidNameError),
    ],
)
def test_parse__malformed(text, error):
    """What is malformed is refused by a typed error of exit code 2, which names the part."""
    with pytest.raises(error) as caught:
        AssetSpec.parse(text)
    assert caught.value.exit_code == 2
    assert isinstance(caught.value, ValueError)


@settings(derandomize=True, deadline=None)
@given(st.text(max_size=60))
def test_parse__any_text(text):
    """Any text is read or refused, and what is read reads back."""
    try:
        spec = AssetSpec.parse(text)
    except UsageError:
        return
    assert AssetSpec.parse(str(spec)) == spec


def test_parse__linear_time():
    """A long hostile spec takes no longer than its length (modelkit's expression took exponential time)."""
    begun = time.monotonic()
    for text in ("a/" * 100_000, "a" * 200_000 + "!", "a:" + "1." * 100_000, "a[" + "x/" * 100_000 + "]"):
        with pytest.raises(UsageError):
            AssetSpec.parse(text + "\0")
    assert time.monotonic() - begun < 1
