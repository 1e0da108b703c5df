"""Manifests: whoever holds one may lay it out below any directory; and the content hash over them."""

from __future__ import annotations

import os
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import IntegrityError, VersionNotFoundError
from holdfast.model.digest import digest_of
from holdfast.model.manifest import Entry, Manifest, check_link

ZERO = digest_of(b"")


def link(path, target):
    """A symlink."""
    return Entry(path, "link", target=target)


def file(path, **fields):
    """A file."""
    return Entry(path, digest=ZERO, **fields)


@pytest.mark.parametrize(
    "path", ["", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/..", "./a", "a/./b", "a\0b", "\udcff", "/"]
)
def test_manifest__unsafe_path(path):
    """A path that could lead out, or that no file system can hold, is refused."""
    with pytest.raises(IntegrityError):
        Manifest((file(path),))


@pytest.mark.parametrize(
    "entries",
    [
        (file("a"), file("a")),
        (file("b"), file("a")),
        (file("a"), file("a/b")),
        (file("a"), file("a.b"), file("a/b")),
        (link("a", "b"), file("a/x"), file("b")),
        (Entry("a", "dir"), file("a")),
        (Entry("a", digest=ZERO, target="b"),),
    ],
)
def test_manifest__collisions(entries):
    """Twice the same path, a file below a file or a symlink, and entries out of order are refused."""
    with pytest.raises(IntegrityError):
        Manifest(entries)


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("l", "a"), ("l", "a/b"), ("d/l", "../a"), ("d/e/l", "../../a/b"), ("l", "./a"), ("l", "a//b"), ("l", ".")
    ],
)  # fmt: skip
def test_check_link(path, target):
    """A link may climb as far as the root, and then descend."""
    assert check_link(path, target) == target


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("l", ".."), ("l", "../a"), ("d/l", "../../a"), ("l", "/etc"), ("l", ""), ("l", "a/../../b"), ("l", "a/.."),
        ("d/l", "../x/../../y"), ("l", "a\0b"), ("d/l", "./../../x"),
    ],
)  # fmt: skip
def test_check_link__leads_out(path, target):
    """One that leads out, or could through another link, is refused."""
    with pytest.raises(IntegrityError, match="leads outside"):
        check_link(path, target)


PIECE = st.sampled_from(["a", "b", "c", ".", "..", ""])
TARGETS = st.lists(PIECE, min_size=1, max_size=5).map("/".join)
PATHS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3).map("/".join)


@settings(derandomize=True, deadline=None)
@given(st.lists(st.tuples(PATHS, TARGETS), min_size=1, max_size=6))
def test_manifest__links_never_lead_out(tmp_path_factory, links):
    """Whatever chain of links is accepted, no path below it resolves to outside."""
    accepted = []
    for path, target in links:
        try:
            Manifest.of([*accepted, link(path, target)])
        except IntegrityError:
            continue
        accepted.append(link(path, target))
    root = tmp_path_factory.mktemp("links")
    for entry in accepted:
        (root / entry.path).parent.mkdir(parents=True, exist_ok=True)
        os.symlink(entry.target, root / entry.path)
    for one, other in product("abc", repeat=2):
        if not (root / one).is_symlink() and not (root / one / other).is_symlink():
            (root / one / other).mkdir(parents=True, exist_ok=True)
    for entry, below in product(accepted, ("", "a", "b/c", "c/a/b")):
        try:
            found = Path(os.path.realpath(root / entry.path / below, strict=True))
        except OSError:
            continue  # a loop, or nothing there
        assert found.is_relative_to(root.resolve())


def test_content_hash__covers():
    """The content hash covers path, kind, executable bit, digest and target; not time, owner or other bits."""
    base = Manifest.of([file("a", mode=0o644, mtime=1), link("l", "a")])
    same = Manifest.of([file("a", mode=0o600, mtime=2), link("l", "a")])
    assert base.content_hash == same.content_hash
    others = [
        Manifest.of([file("b", mode=0o644), link("l", "a")]),
        Manifest.of([file("a", mode=0o755), link("l", "a")]),
        Manifest.of([file("a"), link("l", "b")]),
        Manifest.of([Entry("a", digest=digest_of(b"x")), link("l", "a")]),
        Manifest.of([file("a")]),
        Manifest.of([file("a"), link("l", "a"), Entry("empty", "dir")]),
    ]
    assert len({manifest.content_hash for manifest in [base, *others]}) == 7


def test_content_hash__implied_directories():
    """A directory that has files in it is implied; an empty one counts."""
    assert Manifest.of([Entry("d", "dir"), file("d/a")]).content_hash == Manifest.of([file("d/a")]).content_hash


def test_content_hash__own_name_of_a_file():
    """A file asset's own name is no content."""
    assert Manifest((file("x"),), single=True).content_hash == Manifest((file("y"),), single=True).content_hash
    assert Manifest((file("x"),), single=True).content_hash != Manifest((file("x"),)).content_hash


def test_content_hash__unknown_digest():
    """Without every digest there is none."""
    assert Manifest((Entry("a"),)).content_hash is None


def test_manifest__single():
    """A file asset has exactly one file."""
    for entries in ((), (file("a"), file("b")), (Entry("d", "dir"),)):
        with pytest.raises(IntegrityError):
            Manifest(entries, single=True)


def test_below():
    """A sub-path takes itself and what is below it, not what only begins alike; one that is not there names the nearest."""
    manifest = Manifest.of([file("a/b"), file("a/bc"), file("a/b.d"), file("z/b")])
    assert [entry.path for entry in manifest.below("a/b").entries] == ["a/b"]
    assert [entry.path for entry in manifest.below("a").entries] == ["a/b", "a/b.d", "a/bc"]
    with pytest.raises(VersionNotFoundError) as caught:
        manifest.below("a/bb")
    assert "a/b" in caught.value.hint


def test_only():
    """Wanted files come with the directories above them."""
    manifest = Manifest.of([Entry("d", "dir"), file("d/a"), Entry("e", "dir"), file("e/b")])
    assert [entry.path for entry in manifest.only(lambda path: path == "d/a").entries] == ["d", "d/a"]
