"""AssetSpec and the versioning systems of the drop-in (features F1 to F9)."""

from __future__ import annotations

import time

import pytest

from holdfast.model import version
from holdfast.modelkit import errors
from holdfast.modelkit.settings import AssetSpec
from holdfast.modelkit.versioning import AssetsVersioningSystem, register, versioning
from holdfast.modelkit.versioning.major_minor import (
    InvalidMajorVersionError,
    MajorMinorAssetsVersioningSystem,
    MajorVersionDoesNotExistError,
)
from holdfast.modelkit.versioning.simple_date import SimpleDateAssetsVersioningSystem
from tests.unit.modelkit_cases import *  # noqa: F403 - fixtures


@pytest.fixture
def clean_registry(monkeypatch):
    """Systems that a test registers are known to no other test."""
    monkeypatch.setattr(version, "_third_party", {})
    monkeypatch.setattr(versioning, "_systems", {})


class Letters(AssetsVersioningSystem):
    """Versions a to z."""

    @classmethod
    def get_initial_version(cls):
        return "a"

    @classmethod
    def check_version_valid(cls, version):
        if len(version) != 1 or not version.islower():
            raise errors.InvalidVersionError(version)

    @classmethod
    def sort_versions(cls, version_list):
        return sorted(version_list, reverse=True)

    @classmethod
    def increment_version(cls, version_list=None, params=None):  # noqa: ARG003
        return chr(ord(max(version_list)) + 1)

    @classmethod
    def get_update_cli_params(cls, **kwargs):  # noqa: ARG003
        return {"display": "", "params": {}}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("name", ("name", None, None)),
        ("a/b/c", ("a/b/c", None, None)),
        ("Some/Name.ext:1", ("Some/Name.ext", "1", None)),
        ("a/b:1.10", ("a/b", "1.10", None)),
        ("a/b[sub/part]", ("a/b", None, "sub/part")),
        ("a/b:1.2[/sub/part]", ("a/b", "1.2", "/sub/part")),
        ("/abs/path", ("/abs/path", None, None)),
        ("C:\\some\\path", ("C:\\some\\path", None, None)),
    ],
)
def test_from_string(text, parts):
    """Every form of a spec reads as modelkit reads it, with names that are local paths too (F1, F2)."""
    spec = AssetSpec.from_string(text)
    assert (spec.name, spec.version, spec.sub_part) == parts


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", errors.InvalidNameError),
        ("_a", errors.InvalidNameError),
        ("a_", errors.InvalidNameError),
        ("./a", errors.InvalidNameError),
        ("a b", errors.InvalidNameError),
        ("é", errors.InvalidNameError),
        ("a/../../b", errors.InvalidNameError),
        ("a:", errors.InvalidVersionError),
        ("a:x", errors.InvalidVersionError),
        ("a:1.2.3", errors.InvalidVersionError),
        ("a:1:2", errors.InvalidVersionError),
        ("a:1.0[]", errors.InvalidAssetSpecError),
        ("a:1.0[b", errors.InvalidAssetSpecError),
        ("a:1.0]", errors.InvalidAssetSpecError),
        ("a[../b]", errors.InvalidAssetSpecError),
    ],
)
def test_from_string__refused(text, kind):
    """A malformed spec is a typed error, and always an InvalidAssetSpecError (F3)."""
    with pytest.raises(kind) as caught:
        AssetSpec.from_string(text)
    assert isinstance(caught.value, errors.InvalidAssetSpecError)


def test_from_string__linear():
    """A long sub-part costs linear time (fault W15: four times as long for every two letters)."""
    begun = time.monotonic()
    with pytest.raises(errors.InvalidAssetSpecError):
        AssetSpec.from_string(f"a[{'x' * 100_000}\x01]")
    AssetSpec.from_string(f"{'a/' * 50_000}b")
    assert time.monotonic() - begun < 1


def test_spec__values():
    """Specs are equal by name, version and part, can be keys, and show what they are (F5, fault W26)."""
    one, other = AssetSpec("a", version="1.0"), AssetSpec.from_string("a:1.0")
    assert one == other
    assert len({one, other, AssetSpec("a")}) == 2
    assert "a:1.0" in repr(one)
    assert one != "a:1.0"


def test_spec__versioning(monkeypatch):
    """The system is that of the argument, else of the environment, else major_minor (F5)."""
    assert isinstance(AssetSpec("a").versioning, MajorMinorAssetsVersioningSystem)
    monkeypatch.setenv("MODELKIT_ASSETS_VERSIONING_SYSTEM", "simple_date")
    assert isinstance(AssetSpec("a").versioning, SimpleDateAssetsVersioningSystem)
    assert isinstance(AssetSpec("a", "major_minor").versioning, MajorMinorAssetsVersioningSystem)
    with pytest.raises(errors.UnknownAssetsVersioningSystemError, match="nope"):
        AssetSpec("a", versioning="nope")


def test_spec__own_versioning_system(clean_registry):
    """A versioning system of one's own is selected by its name or by its class (F8; fault W25: neither)."""
    register("letters", Letters)
    assert AssetSpec("a", versioning="letters", version="c").is_version_complete()
    assert isinstance(AssetSpec("a", versioning=Letters, version="c").versioning, Letters)
    with pytest.raises(errors.InvalidVersionError):
        AssetSpec("a", versioning="letters", version="1.0")


def test_own_versioning_system__pushes_and_fetches(clean_registry, manager, provider, tree, monkeypatch):
    """A system of one's own decides about pushes and fetches, chosen by setting or by the spec (F8)."""
    provider.new(str(tree), "cat/dotted", "0.0")
    register("letters", Letters)
    monkeypatch.setenv("MODELKIT_ASSETS_VERSIONING_SYSTEM", "letters")
    provider.new(str(tree), "cat/name", "a")
    provider.update(str(tree), "cat/name", "c")
    provider.update(str(tree), "cat/name", "b")
    assert provider.get_versions_info("cat/name") == ["c", "b", "a"]
    assert manager.fetch_asset("cat/name").endswith("cat/name/c")
    monkeypatch.delenv("MODELKIT_ASSETS_VERSIONING_SYSTEM")
    assert manager.fetch_asset(AssetSpec("cat/name", versioning=Letters, version="a")).endswith("cat/name/a")
    assert manager.fetch_asset("cat/dotted").endswith("cat/dotted/0.0")
    with pytest.raises(errors.InvalidVersionError):
        provider.update(str(tree), "cat/name", "1.0")


def test_spec__methods(tmp_path):
    """The methods that others call answer as modelkit's, and fill in the version only where asked to."""
    for found in ("0.1", "0.10", "0.9", "10.0", "junk"):
        (tmp_path / found).mkdir()
    spec = AssetSpec("a")
    assert spec.get_local_versions(str(tmp_path)) == ["10.0", "0.10", "0.9", "0.1"]
    assert spec.get_local_versions(str(tmp_path / "nothing")) == []
    assert not spec.is_version_complete()
    partial = AssetSpec("a", version="0")
    partial.set_latest_version(["10.0", "0.10", "0.9"])
    assert partial.version == "0.10"


def test_major_minor():
    """major_minor starts at 0.0, sorts by number, knows full and partial versions, and increments (F6)."""
    system = MajorMinorAssetsVersioningSystem
    assert system.get_initial_version() == "0.0"
    assert system.sort_versions(["0.9", "0.10", "1", "1.1"]) == ["1.1", "1", "0.10", "0.9"]
    assert [system.is_version_complete(text) for text in ("1.2", "1")] == [True, False]
    assert [system().is_version_valid(text) for text in ("1.2", "1", "a", "1.2.3", "1.")] == [True, True, *[False] * 3]
    assert system.increment_version(["0.1", "1.3"], {"bump_major": False, "major": None}) == "1.4"
    assert system.increment_version(["0.1", "1.3"], {"bump_major": False, "major": "0"}) == "0.2"
    assert system.increment_version(["0.1", "1.3"], {"bump_major": True, "major": "0"}) == "2.0"
    with pytest.raises(MajorVersionDoesNotExistError, match=r"7"):
        system.increment_version(["0.1"], {"bump_major": False, "major": "7"})
    with pytest.raises(InvalidMajorVersionError):
        system.filter_versions(["0.1"], "x")


def test_major_minor__partial():
    """A major stands for its own versions and for no other's (F9; fault W6: 1 found 10.3)."""
    system = MajorMinorAssetsVersioningSystem
    versions = ["10.3", "1.2", "1.1"]
    assert system.get_latest_partial_version("1", versions) == "1.2"
    assert system.filter_versions(versions, "1") == ["1.2", "1.1"]
    assert system.increment_version(versions, {"bump_major": False, "major": "1"}) == "1.3"
    with pytest.raises(MajorVersionDoesNotExistError):
        system.get_latest_partial_version("2", versions)


def test_major_minor__update_params():
    """The display tells the versions by major, the parameters go to increment_version."""
    found = MajorMinorAssetsVersioningSystem.get_update_cli_params(
        version="1", version_list=["10.0", "1.1", "1.0"], bump_major=False
    )
    assert "- 1: 1.1, 1.0" in found["display"]
    assert found["params"] == {"bump_major": False, "major": "1"}


def test_simple_date():
    """simple_date starts now, sorts as text, has no partial versions (F7)."""
    system = SimpleDateAssetsVersioningSystem
    first = system.get_initial_version()
    assert system().is_version_valid(first)
    assert not system().is_version_valid("2021")
    assert system.is_version_complete(first)
    assert system.sort_versions(["2020-01-01T00-00-00Z", "2021-01-01T00-00-00Z"])[0].startswith("2021")
    assert first in system.get_update_cli_params(version_list=[first])["display"]


def test_simple_date__two_in_a_second():
    """Two versions within one second are two (fault W25: they collide)."""
    system = SimpleDateAssetsVersioningSystem
    first = system.get_initial_version()
    assert system.increment_version([first], {}) > first
