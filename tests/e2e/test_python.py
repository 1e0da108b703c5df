"""What the client API takes from Python: options that there are, with values that can be meant."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import holdfast
from holdfast.errors import UsageError
from holdfast.model.spec import AssetSpec
from tests.e2e.driver import flat, lay

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = {"a.txt": b"a", "b.json": b"{}", "sub/t.tmp": b"t"}


class Place:
    """A repository over a store in a folder, and a directory to push."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("store", "assets"):
            (folder / name).mkdir()
        self.source = lay(folder / "source", CONTENT)
        self.repository = holdfast.open((folder / "store").as_uri(), assets_dir=folder / "assets")


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


def test_upkeep(place: Place) -> None:
    """From Python a store is verified, repaired and collected by methods that return what the commands print."""
    repository = place.repository
    repository.push(place.source, "n/a")
    assert isinstance(repository, holdfast.Repository)
    for spec in (None, "n/a", AssetSpec("n/a", "0.0")):
        assert [(found.subject, found.ok) for found in repository.verify(spec, deep=True)] == [("n/a:0.0", True)]
    with pytest.raises(UsageError):
        repository.verify("n/a:0.0[sub]")
    assert repository.repair(dry_run=True) == repository.repair("n/a") == []
    repository.remove("n/a:0.0")
    would, did = repository.collect(dry_run=True), repository.collect()
    assert (would.dry_run, did.dry_run, would.versions, bool(did.deleted)) == (True, False, 1, False)
    (pages,) = (path.name for path in (place.folder / "store/.holdfast/pages").rglob("*") if path.is_file())
    assert repository.explain(pages[:12]).hash == pages
    assert repository.restore("n/a:0.0", dry_run=True) == "n/a:0.0"
    assert repository.list()[0].latest is None
    assert repository.restore("n/a:0.0") == "n/a:0.0"
    assert repository.list()[0].latest == "0.0"


def test_copy__export__import(place: Place) -> None:
    """From Python versions go to another store directly or in a file; each call answers once it is done."""
    repository, bundle = place.repository, place.folder / "bundle"
    repository.push(place.source, "n/a", alias="good")
    others = []
    for name in ("one", "two"):
        (place.folder / name).mkdir()
        others.append(holdfast.open((place.folder / name).as_uri(), assets_dir=place.folder / "assets"))
    one, two = others
    assert repository.copy("n/a", to=one, dry_run=True).created
    assert repository.copy("n/a", to=one, aliases=True).aliases == ("good",)
    assert not repository.copy("n/a:0.0", to=one).created
    with pytest.raises(UsageError, match="to= takes a repository"):
        repository.copy("n/a", to=(place.folder / "two").as_uri())  # type: ignore[arg-type]
    expected = repository.export("n/a", bundle, dry_run=True).bytes
    assert repository.export("n/a", bundle).bytes == expected == bundle.stat().st_size
    assert [copied.spec for copied in two.import_(bundle, dry_run=True)] == ["n/a:0.0"]
    assert two.list() == []
    assert [copied.created for copied in two.import_(str(bundle), aliases=True)] == [True]
    assert two.versions("n/a").aliases == one.versions("n/a").aliases == {"good": "0.0"}
    lay(place.source, {"new": b"new"})
    repository.push(place.source, "n/a")
    (more,) = two.import_(repository.export(["n/a"], place.folder / "more", base=bundle, have="n/a:0.0").file)
    assert (more.spec, two.show("n/a").hash) == ("n/a:0.1", repository.show("n/a").hash)


def test_import__stays_light() -> None:
    """What looks after stores is loaded when it is first called, and not with the client API."""
    program = "import sys, holdfast; holdfast.open; print([m for m in sys.modules if m in sys.argv[1:]])"
    heavy = [f"holdfast.{name}" for name in ("verify", "maintain", "collect", "replicate", "copying", "exporting")]
    done = subprocess.run([sys.executable, "-c", program, *heavy], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
