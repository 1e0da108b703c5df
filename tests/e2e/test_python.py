"""What the client API takes from Python: options that there are, with values that can be meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import holdfast
from holdfast.errors import UsageError
from tests.e2e.driver import flat, lay

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.repository import Repository

CONTENT = {"a.txt": b"a", "b.json": b"{}", "sub/t.tmp": b"t"}


class Place:
    """A repository over a store in a folder, and a directory to push."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("store", "assets"):
            (folder / name).mkdir()
        self.source = lay(folder / "source", CONTENT)
        self.repository: Repository = holdfast.open((folder / "store").as_uri(), assets_dir=folder / "assets")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A new store in a folder."""
    return Place(tmp_path)


@pytest.mark.parametrize(
    ("options", "subject", "hint"),
    [
        ({"dryrun": True}, "dryrun", "'dry_run'"),
        ({"verson": "7.0"}, "verson", "'version'"),
        ({"only": "bogus"}, "only", None),
        ({"version": 1.0}, "version", None),
        ({"major": 1}, "major", None),
        ({"dry_run": "no"}, "dry_run", None),
        ({"labels": ["a=b"]}, "labels", "labels={"),
        ({"labels": {"a": 1}}, "labels", "labels={"),
        ({"inputs": [1]}, "inputs", None),
        ({"exclude": 1}, "exclude", None),
        ({"layout": "zip"}, None, None),
    ],
)
def test_push__unknown_option(place: Place, options: dict, subject: str | None, hint: str | None) -> None:
    """An option that a push does not have, or not with this value, is refused by name, and nothing is pushed."""
    with pytest.raises(UsageError) as caught:
        place.repository.push(place.source, "n/a", **options)
    assert subject is None or caught.value.subject == subject
    assert hint is None or hint in str(caught.value.hint)
    assert place.repository.list() == []


@pytest.mark.parametrize(
    ("options", "subject", "hint"),
    [
        ({"foce": True}, "foce", "'force'"),
        ({"exclude": "*.tmp"}, "exclude", "'include'"),
        ({"include": [b"*"]}, "include", None),
        ({"force": "no"}, "force", None),
    ],
)
def test_fetch__unknown_option(place: Place, options: dict, subject: str, hint: str | None) -> None:
    """An option that a fetch does not have, or not with this value, is refused by name, and nothing is fetched."""
    place.repository.push(place.source, "n/a")
    for fetch in (place.repository.fetch, place.repository.fetch_info):
        with pytest.raises(UsageError) as caught:
            fetch("n/a", **options)
        assert caught.value.subject == subject
        assert hint is None or hint in str(caught.value.hint)
    assert list((place.folder / "assets").iterdir()) == []


@pytest.mark.parametrize("layout", ["packs", "tree"])
def test_push__one_text(place: Place, layout: str) -> None:
    """One text for several patterns or inputs is that one pattern or input, and not its letters."""
    place.repository.push(place.source, "n/a", exclude="*.tmp", inputs="n/b:1", layout=layout)
    assert [entry.path for entry in place.repository.files("n/a") if entry.kind == "file"] == ["a.txt", "b.json"]
    assert place.repository.show("n/a").inputs == ("n/b:1",)
    found = place.repository.push(place.source, "n/a", exclude=None, inputs=None, labels=None, layout=layout)
    assert found.files == len(CONTENT)


def test_fetch__one_text(place: Place) -> None:
    """One text for the patterns of a fetch is that one pattern."""
    place.repository.push(place.source, "n/a")
    assert flat(place.repository.fetch("n/a", include="*.json")) == {"b.json": b"{}"}
    place.repository.fetch("n/a", include="*.json", to=place.folder / "to")
    assert flat(place.folder / "to") == {"b.json": b"{}"}


def test_fetch__force_offline(place: Place) -> None:
    """Nothing can be downloaded again without asking a store: that is refused, but for a folder that is to be replaced."""
    place.repository.push(place.source, "n/a")
    place.repository.fetch("n/a")
    with pytest.raises(UsageError, match="offline"):
        place.repository.fetch("n/a", force=True, offline=True)
    place.repository.fetch("n/a", to=place.folder / "to")
    place.repository.fetch("n/a", to=place.folder / "to", force=True, offline=True)
